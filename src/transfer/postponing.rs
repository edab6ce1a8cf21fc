//! Times to live while commands are brought in that were given long ago: SET with an end, and a later end before that one has come. By the
//! clock of today the key would have ended in between. So until all is there every end is put off, and then brought back.

use super::fault::Result;
use super::rdb_file::{FileKey, Visitor};
use crate::kv::formats::rdb::Element;
use crate::resp::number::parse_integer;

/// Later than any end that anybody means: some 35,000 years.
pub const POSTPONED_MS: i64 = 1 << 50;

pub(super) fn postponed(at_ms: i64) -> i64 {
    at_ms.saturating_add(POSTPONED_MS)
}

/// What number says when a key ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    Seconds,
    Milliseconds,
    AtSeconds,
    AtMilliseconds,
}

impl Time {
    /// An option of SET and GETEX.
    fn of_option(word: &[u8]) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_slice() {
            b"ex" => Self::Seconds,
            b"px" => Self::Milliseconds,
            b"exat" => Self::AtSeconds,
            b"pxat" => Self::AtMilliseconds,
            _ => return None,
        })
    }

    /// The time in milliseconds that is put off, as text.
    fn text(self, number: &[u8], now_ms: i64) -> Option<Vec<u8>> {
        let number = parse_integer(number)?;
        let at_ms = match self {
            Self::Seconds => number.checked_mul(1000)?.checked_add(now_ms)?,
            Self::Milliseconds => number.checked_add(now_ms)?,
            Self::AtSeconds => number.checked_mul(1000)?,
            Self::AtMilliseconds => number,
        };
        Some(postponed(at_ms).to_string().into_bytes())
    }
}

/// The command with its end put off. One that can't be understood stays as it is.
pub(super) fn postpone(mut command: Vec<Vec<u8>>, now_ms: i64) -> Vec<Vec<u8>> {
    // An error of the command is for the service to say.
    postpone_in(&mut command, now_ms).unwrap_or_default();
    command
}

fn postpone_in(command: &mut Vec<Vec<u8>>, now_ms: i64) -> Option<()> {
    let name = command.first()?.to_ascii_lowercase();
    let time = match name.as_slice() {
        b"expire" | b"setex" => Time::Seconds,
        b"pexpire" | b"psetex" => Time::Milliseconds,
        b"expireat" => Time::AtSeconds,
        b"pexpireat" => Time::AtMilliseconds,
        b"set" => return postpone_option(command, 3, now_ms),
        b"getex" => return postpone_option(command, 2, now_ms),
        b"restore" => return postpone_restored(command, now_ms),
        _ => return Some(()),
    };
    let end = time.text(command.get(2)?, now_ms)?;
    if name.ends_with(b"setex") {
        let value = command.get(3)?.clone();
        let key = command[1].clone();
        *command = vec![b"SET".to_vec(), key, value, b"PXAT".to_vec(), end];
    } else {
        command[0] = b"PEXPIREAT".to_vec();
        command[2] = end;
    }
    Some(())
}

fn postpone_option(command: &mut [Vec<u8>], options_from: usize, now_ms: i64) -> Option<()> {
    let mut place = options_from;
    while place + 1 < command.len() {
        if let Some(time) = Time::of_option(&command[place]) {
            command[place + 1] = time.text(&command[place + 1], now_ms)?;
            command[place] = b"PXAT".to_vec();
            place += 1;
        }
        place += 1;
    }
    Some(())
}

fn postpone_restored(command: &mut Vec<Vec<u8>>, now_ms: i64) -> Option<()> {
    if parse_integer(command.get(2)?)? == 0 {
        return Some(());
    }
    let is_time = command.iter().skip(4).any(|option| option.eq_ignore_ascii_case(b"absttl"));
    let time = if is_time { Time::AtMilliseconds } else { Time::Milliseconds };
    command[2] = time.text(&command[2], now_ms)?;
    if !is_time {
        command.push(b"ABSTTL".to_vec());
    }
    Some(())
}

/// Shows a visitor keys whose ends were put off as they are meant.
pub struct Recalling<'v, V> {
    visitor: &'v mut V,
}

impl<'v, V: Visitor> Recalling<'v, V> {
    pub fn new(visitor: &'v mut V) -> Self {
        Self { visitor }
    }
}

impl<V: Visitor> Visitor for Recalling<'_, V> {
    fn begin(&mut self, key: &FileKey<'_>) -> Result<()> {
        let expires_at_ms = key.expires_at_ms.map(|at_ms| at_ms - POSTPONED_MS);
        self.visitor.begin(&FileKey { expires_at_ms, ..*key })
    }

    fn element(&mut self, element: Element<'_>) -> Result<()> {
        self.visitor.element(element)
    }

    fn end(&mut self, elements: u64, encoded: Option<&[u8]>) -> Result<()> {
        self.visitor.end(elements, encoded)
    }

    fn library(&mut self, code: &[u8]) -> Result<()> {
        self.visitor.library(code)
    }

    fn unmoved(&mut self, what: &str, name: &[u8]) {
        self.visitor.unmoved(what, name);
    }

    fn at(&mut self, position: u64) -> Result<()> {
        self.visitor.at(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_when_a_key_ends_is_put_off() {
        let later = |ms: i64| (ms + POSTPONED_MS).to_string();
        let cases = [
            ("PEXPIREAT k 5000 GT", format!("PEXPIREAT k {} GT", later(5000))),
            ("expireat k 5", format!("PEXPIREAT k {}", later(5000))),
            ("EXPIRE k 5", format!("PEXPIREAT k {}", later(105_000))),
            ("PEXPIRE k 5 NX", format!("PEXPIREAT k {} NX", later(100_005))),
            ("SETEX k 5 v", format!("SET k v PXAT {}", later(105_000))),
            ("psetex k 5 ex", format!("SET k ex PXAT {}", later(100_005))),
            ("SET k ex", "SET k ex".to_owned()),
            ("SET ex 5 EX 5 GET", format!("SET ex 5 PXAT {} GET", later(105_000))),
            ("SET k v NX exat 5", format!("SET k v NX PXAT {}", later(5000))),
            ("SET k v KEEPTTL", "SET k v KEEPTTL".to_owned()),
            ("SET k v PXAT x", "SET k v PXAT x".to_owned()),
            ("GETEX k PX 5", format!("GETEX k PXAT {}", later(100_005))),
            ("GETEX k PERSIST", "GETEX k PERSIST".to_owned()),
            ("RESTORE k 0 p REPLACE", "RESTORE k 0 p REPLACE".to_owned()),
            ("RESTORE k 5 p", format!("RESTORE k {} p ABSTTL", later(100_005))),
            ("RESTORE k 5 p absttl", format!("RESTORE k {} p absttl", later(5))),
            ("EXPIRE k", "EXPIRE k".to_owned()),
            ("LPUSH k ex 5", "LPUSH k ex 5".to_owned()),
        ];
        for (given, expected) in cases {
            let command = given.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            let words: Vec<String> =
                postpone(command, 100_000).into_iter().map(|word| String::from_utf8(word).unwrap()).collect();
            assert_eq!(words.join(" "), expected, "{given}");
        }
    }
}
