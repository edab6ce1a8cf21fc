//! A running server, key by key: SCAN, and DUMP of each key. What changes meanwhile comes over as it was when it was read.

use super::fault::{Fault, Result};
use super::rdb_file::{FileKey, Visitor};
use crate::client::{Connection, Patience, Target};
use crate::kv::formats::rdb::{Payload, RestoreError, restore_functions};
use crate::resp::Reply;
use crate::storage::keyspace::DATABASES;
use crate::sys::clock;

/// Keys of one step; their values are asked for in portions, which are in memory as a whole.
const KEYS: &str = "1000";
const VALUES: usize = 50;

/// Shows all keys of all databases, or of the one that the target names.
///
/// # Errors
/// The server has gone, or refuses what is asked.
pub fn walk(source: &Target, patience: Patience, bytes_max: u64, visitor: &mut impl Visitor) -> Result<()> {
    let mut connection = Connection::connect(source, patience)?;
    let databases = match source.database {
        0 => databases(&mut connection)?,
        one => vec![u64::from(one)],
    };
    // Redis 7.0 says when a key ends; before it one asked how long it lives.
    let time = match connection.call(&["PEXPIRETIME", "emptyserver-import"])? {
        Reply::Error(_) => Time::Left,
        _ => Time::OfTheEnd,
    };
    libraries(&mut connection, source, bytes_max, visitor)?;
    let mut seen = 0;
    for database in databases {
        if let Reply::Error(text) = connection.call(&["SELECT", &database.to_string()])? {
            return Err(refused(source, &text));
        }
        let mut cursor = b"0".to_vec();
        loop {
            let (next, keys) = step(&mut connection, source, &cursor)?;
            for keys in keys.chunks(VALUES) {
                let answers = ask(&mut connection, time, keys)?;
                show(source, database, keys, &answers, bytes_max, visitor)?;
                seen += keys.len() as u64;
                visitor.at(seen)?;
            }
            if next == b"0" {
                break;
            }
            cursor = next;
        }
    }
    Ok(())
}

/// About how many keys a server has.
///
/// # Errors
/// It has gone, or refuses.
pub fn keys_of(source: &Target, patience: Patience) -> Result<u64> {
    let mut connection = Connection::connect(source, patience)?;
    Ok(keyspace(&mut connection)?.into_iter().map(|(_, keys)| keys).sum())
}

fn databases(connection: &mut Connection) -> Result<Vec<u64>> {
    Ok(keyspace(connection)?.into_iter().map(|(database, _)| database).collect())
}

/// The databases that have keys, and how many. What INFO says may be of a moment ago, so those that there always are are asked.
fn keyspace(connection: &mut Connection) -> Result<Vec<(u64, u64)>> {
    let told = told_keyspace(connection)?;
    let mut found: Vec<_> = told.iter().copied().filter(|(database, _)| *database >= DATABASES as u64).collect();
    for database in (0..DATABASES as u64).rev() {
        // A server of a cluster has one.
        if let Reply::Error(_) = connection.call(&["SELECT", &database.to_string()])? {
            continue;
        }
        match connection.call(&["DBSIZE"])? {
            Reply::Integer(keys) if keys > 0 => found.push((database, keys.cast_unsigned())),
            Reply::Integer(_) => {}
            // Then what INFO says has to do.
            Reply::Error(_) => found.extend(told.iter().find(|(of, _)| *of == database)),
            _ => return Err(Fault::Server("DBSIZE answers with something else".to_owned())),
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn told_keyspace(connection: &mut Connection) -> Result<Vec<(u64, u64)>> {
    let text = match connection.call(&["INFO", "keyspace"])? {
        Reply::Bulk(text) | Reply::Verbatim { text, .. } => text,
        Reply::Error(text) => return Err(Fault::Server(format!("INFO is refused: {text}"))),
        _ => return Err(Fault::Server("INFO answers with something else".to_owned())),
    };
    let text = String::from_utf8_lossy(&text);
    let database = |line: &str| {
        let (name, rest) = line.strip_prefix("db")?.split_once(':')?;
        let keys = rest.strip_prefix("keys=")?.split(',').next()?;
        Some((name.parse().ok()?, keys.parse().ok()?))
    };
    Ok(text.lines().filter_map(database).collect())
}

/// Shows what FUNCTION DUMP has, where the server knows it.
fn libraries(connection: &mut Connection, source: &Target, bytes_max: u64, visitor: &mut impl Visitor) -> Result<()> {
    match connection.call(&["FUNCTION", "DUMP"])? {
        Reply::Bulk(payload) => match restore_functions(&payload, bytes_max) {
            Ok(codes) => codes.iter().try_for_each(|code| visitor.library(code)),
            Err(_) => {
                visitor.unmoved("libraries of functions, which can't be understood", b"");
                Ok(())
            }
        },
        // It is older than 7.0 and has none.
        Reply::Error(text) if text.starts_with("ERR unknown command") => Ok(()),
        Reply::Error(text) => {
            visitor.unmoved(&format!("libraries of functions, which the source does not give ({text})"), b"");
            Ok(())
        }
        _ => Err(Fault::Server(format!("{source} answers FUNCTION DUMP with something else"))),
    }
}

fn step(connection: &mut Connection, source: &Target, cursor: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let reply = connection.call(&[b"SCAN", cursor, b"COUNT", KEYS.as_bytes()])?;
    let strange = || Fault::Server(format!("{source} answers SCAN with something else"));
    let bulk = |reply| match reply {
        Reply::Bulk(text) => Ok(text),
        _ => Err(strange()),
    };
    match reply {
        Reply::Error(text) => Err(refused(source, &text)),
        Reply::Array(parts) => match <[Reply; 2]>::try_from(parts) {
            Ok([cursor, Reply::Array(keys)]) => Ok((bulk(cursor)?, keys.into_iter().map(bulk).collect::<Result<_>>()?)),
            _ => Err(strange()),
        },
        _ => Err(strange()),
    }
}

/// What a server says of when a key ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    OfTheEnd,
    Left,
}

/// A key's payload, or why there is none, and when the key ends.
type Answer = (Reply, Option<i64>);

fn ask(connection: &mut Connection, time: Time, keys: &[Vec<u8>]) -> Result<Vec<Answer>> {
    let time_command: &[u8] = if time == Time::Left { b"PTTL" } else { b"PEXPIRETIME" };
    let commands: Vec<[&[u8]; 2]> = keys.iter().flat_map(|key| [[&b"DUMP"[..], key], [time_command, key]]).collect();
    let mut replies = connection.pipeline(&commands)?.into_iter();
    let from_ms = if time == Time::Left { clock::wall_ms() } else { 0 };
    let mut answers = Vec::new();
    while let (Some(payload), Some(ms)) = (replies.next(), replies.next()) {
        answers.push(match ms {
            Reply::Integer(ms) if ms >= 0 => (payload, Some(from_ms + ms)),
            // Without its end it would stay for ever.
            Reply::Error(text) => (Reply::Error(text), None),
            _ => (payload, None),
        });
    }
    Ok(answers)
}

fn show(
    source: &Target,
    database: u64,
    keys: &[Vec<u8>],
    answers: &[Answer],
    bytes_max: u64,
    visitor: &mut impl Visitor,
) -> Result<()> {
    for (key, (payload, ends)) in keys.iter().zip(answers) {
        match payload {
            Reply::Bulk(payload) => show_payload(database, key, *ends, payload, bytes_max, visitor)?,
            // It has ended in between.
            Reply::Null => {}
            Reply::Error(text) => visitor.unmoved(&format!("keys that the source does not give ({text})"), key),
            _ => return Err(Fault::Server(format!("{source} answers DUMP with something else"))),
        }
    }
    Ok(())
}

fn show_payload(
    database: u64,
    name: &[u8],
    expires_at_ms: Option<i64>,
    payload: &[u8],
    bytes_max: u64,
    visitor: &mut impl Visitor,
) -> Result<()> {
    let opened = Payload::open(payload, bytes_max);
    let of = opened.map(|opened| opened.value_type());
    let (Ok(opened), Ok(of)) = (opened, of) else {
        visitor.unmoved("keys whose DUMP has no right checksum", name);
        return Ok(());
    };
    let Some(kind) = of.kind() else {
        visitor.unmoved("keys of a type that is not known here", name);
        return Ok(());
    };
    if let Err(error) = opened.each::<RestoreError>(&mut |_| Ok(())) {
        visitor.unmoved(&format!("keys whose value is wrong ({})", Fault::from(error)), name);
        return Ok(());
    }
    visitor.begin(&FileKey { database, name, expires_at_ms, of, kind })?;
    let elements = opened.each::<Fault>(&mut |element| visitor.element(element))?;
    visitor.end(elements, Some(opened.encoded()))
}

fn refused(source: &Target, text: &str) -> Fault {
    Fault::Server(format!("{source} refuses: {text}"))
}
