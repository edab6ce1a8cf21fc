//! `--scan`: the names of the keys, one a line.

use std::io::{IsTerminal, Write};

use super::walk::{Selection, Walk, key_count};
use crate::client::connection::Connection;
use crate::client::failure::{Failure, Outcome};
use crate::client::print::{Style, print};
use crate::client::progress::Progress;
use crate::resp::Reply;

pub(crate) fn scan(mut connection: Connection, selection: Selection, style: Style) -> Result<Outcome, Failure> {
    let stdout = std::io::stdout();
    // Bar and names would overwrite each other.
    let mut progress =
        if stdout.is_terminal() { Progress::hidden() } else { Progress::of_keys(key_count(&mut connection)?) };
    let mut out = std::io::BufWriter::new(stdout.lock());
    let mut walk = Walk::over(selection);
    let mut found = 0;
    while let Some(keys) = walk.next(&mut connection)? {
        found += keys.len() as u64;
        progress.at(found, String::new);
        for key in keys {
            out.write_all(&print(&Reply::Bulk(key), style)).map_err(|error| Failure::of_output(&error))?;
        }
        out.flush().map_err(|error| Failure::of_output(&error))?;
    }
    Ok(Outcome::Ok)
}
