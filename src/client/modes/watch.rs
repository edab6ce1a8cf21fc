//! `--watch KEY`: the key's value whenever it has changed, whatever its type. It asks again and again, so that it works
//! without any setting of the service; changes between two looks are seen as one.

use std::io::Write;
use std::time::Duration;

use crate::client::clock;
use crate::client::connection::Connection;
use crate::client::failure::{Failure, Outcome};
use crate::client::interrupt::{Interrupts, Woken};
use crate::client::print::{Style, print, shape_of, tabulate};
use crate::resp::Reply;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Of a collection so much is shown.
const ITEMS_MAX: &str = "100";

/// Until Ctrl-C, or until it was shown so often.
pub(crate) fn watch(
    mut connection: Connection,
    key: &[u8],
    style: Style,
    interval: Option<Duration>,
    samples: Option<u64>,
) -> Result<Outcome, Failure> {
    let interrupts = Interrupts::heeded_by(&mut connection)?;
    let mut shown: Option<Reply> = None;
    let mut changes = 0;
    loop {
        let (command, value) = look(&mut connection, key)?;
        if shown.as_ref() != Some(&value) {
            let text = drawn(&command, &value, style);
            let mut out = std::io::stdout().lock();
            out.write_all(&text).and_then(|()| out.flush()).map_err(|error| Failure::of_output(&error))?;
            shown = Some(value);
            changes += 1;
            if samples.is_some_and(|samples| changes >= samples) {
                return Ok(Outcome::Ok);
            }
        }
        match interrupts.pause(interval.unwrap_or(LOOK_EVERY)) {
            Ok(Woken::Interrupted) => return Ok(Outcome::Ok),
            Ok(_) => {}
            Err(error) => return Err(Failure::Usage(error.to_string())),
        }
    }
}

/// The value, and the command that shows it: that says how it is drawn.
fn look(connection: &mut Connection, key: &[u8]) -> Result<(Vec<Vec<u8>>, Reply), Failure> {
    let kind = match connection.call(&[b"TYPE", key])? {
        Reply::Simple(kind) => kind.into_owned(),
        Reply::Bulk(kind) => String::from_utf8_lossy(&kind).into_owned(),
        Reply::Error(text) => return Err(Failure::Server(text.into_owned())),
        _ => String::new(),
    };
    let words: &[&str] = match kind.as_str() {
        "string" => &["GET", "KEY"],
        "list" => &["LRANGE", "KEY", "0", "99"],
        "set" => &["SSCAN", "KEY", "0", "COUNT", ITEMS_MAX],
        "hash" => &["HGETALL", "KEY"],
        "zset" => &["ZRANGE", "KEY", "0", "99", "WITHSCORES"],
        "stream" => &["XREVRANGE", "KEY", "+", "-", "COUNT", ITEMS_MAX],
        // A key that is not there is nil; a type of a module has no general way to be shown.
        _ => return Ok((Vec::new(), if kind == "none" { Reply::Null } else { Reply::Simple(kind.into()) })),
    };
    let command: Vec<Vec<u8>> =
        words.iter().map(|word| if *word == "KEY" { key.to_vec() } else { word.as_bytes().to_vec() }).collect();
    let value = match connection.call(&command)? {
        // SSCAN: cursor and members.
        Reply::Array(mut items) if kind == "set" => items.pop().unwrap_or(Reply::Null),
        value => value,
    };
    Ok((command, value))
}

/// At a terminal with the time, and collections as tables; elsewhere as the format says.
fn drawn(command: &[Vec<u8>], value: &Reply, style: Style) -> Vec<u8> {
    if style != Style::Quoted {
        return print(value, style);
    }
    let seconds = clock::wall().as_secs();
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{hour:02}:{minute:02}:{second:02} UTC\n").into_bytes();
    match tabulate(value, shape_of(command)) {
        Some(table) => text.extend_from_slice(table.as_bytes()),
        None => text.extend_from_slice(&print(value, style)),
    }
    text
}
