//! What Tab offers: commands, subcommands, options, and the names of keys that are there. Keys come by SCAN on a second
//! connection, so that neither a transaction nor a subscription is disturbed; looking ends after a moment.

use std::cell::RefCell;
use std::time::Duration;

use super::dictionary::Dictionary;
use super::grammar::{expected, open_after};
use super::line::COMMANDS_OF_OURS;
use crate::client::clock;
use crate::client::connection::{Connection, Patience};
use crate::client::target::Target;
use crate::client::words::{Word, quoted_if_needed, words_of};
use crate::resp::Reply;

const PATIENCE: Patience = Patience { connect: Duration::from_millis(500), read: Some(Duration::from_millis(500)) };
const LOOK_AT_MOST: Duration = Duration::from_millis(300);
const KEYS_MAX: usize = 100;

/// Where in the line the candidates go, and what they are, ready to be typed.
pub(super) fn complete(
    line: &str,
    dictionary: &Dictionary,
    keys: impl FnOnce(&[u8]) -> Vec<Vec<u8>>,
) -> (usize, Vec<String>) {
    let mut words = words_of(line);
    let current = match words.last() {
        Some(word) if word.span.end == line.len() => words.pop().expect("there is a last one"),
        _ => Word { span: line.len()..line.len(), text: Vec::new(), open_quote: None },
    };
    let typed = String::from_utf8_lossy(&current.text).into_owned();
    let texts: Vec<Vec<u8>> = words.into_iter().map(|word| word.text).collect();
    let start = current.span.start;
    if let [only] = texts.as_slice()
        && only.eq_ignore_ascii_case(b"help")
    {
        return (start, dictionary.names_with(&typed).map(|name| in_case_of(&typed, name)).collect());
    }
    let names = names(&texts, &typed, dictionary);
    if !names.is_empty() || texts.is_empty() {
        return (start, names);
    }
    let Some((_, entry, count)) = dictionary.find(&texts) else { return (start, Vec::new()) };
    let arguments = entry.arguments();
    let Some(open) = open_after(&arguments, &texts[count..]) else { return (start, Vec::new()) };
    let may_be = expected(&open);
    let is_so = |token: &&String| token.to_ascii_lowercase().starts_with(&typed.to_ascii_lowercase());
    let mut candidates: Vec<String> =
        may_be.tokens.iter().filter(is_so).map(|token| in_case_of(&typed, token)).collect();
    if may_be.is_key {
        candidates.extend(keys(&current.text).iter().map(|key| quoted_if_needed(key)));
    }
    (start, candidates)
}

/// Of commands where the first word stands, of subcommands where the second does.
fn names(before: &[Vec<u8>], typed: &str, dictionary: &Dictionary) -> Vec<String> {
    match before {
        [] => {
            let ours = COMMANDS_OF_OURS.iter().map(|(name, _)| *name).filter(|name| name.starts_with(typed));
            dictionary.names_with(typed).map(|name| in_case_of(typed, name)).chain(ours.map(str::to_owned)).collect()
        }
        [container] => {
            let container = String::from_utf8_lossy(container).into_owned() + " ";
            let prefix = container.clone() + typed;
            dictionary.names_with(&prefix).map(|name| in_case_of(&prefix, &name[container.len()..])).collect()
        }
        _ => Vec::new(),
    }
}

/// Who types small letters wants small letters.
fn in_case_of(typed: &str, name: &str) -> String {
    if typed.chars().any(|letter| letter.is_ascii_lowercase()) {
        name.to_ascii_lowercase()
    } else {
        name.to_ascii_uppercase()
    }
}

/// Finds keys by their beginning.
#[derive(Default)]
pub(super) struct KeyFinder {
    /// With what it was made for: the database may have changed since.
    connection: RefCell<Option<(Target, Connection)>>,
}

impl KeyFinder {
    /// In order; not all of them, if there are many. Nothing where the service does not say.
    pub(super) fn find(&self, target: &Target, prefix: &[u8]) -> Vec<Vec<u8>> {
        let mut held = self.connection.borrow_mut();
        if held.as_ref().is_none_or(|(made_for, _)| made_for != target) {
            *held = Connection::connect(target, PATIENCE).ok().map(|connection| (target.clone(), connection));
        }
        let Some((_, connection)) = held.as_mut() else { return Vec::new() };
        match scan(connection, prefix) {
            Some(keys) => keys,
            None => {
                *held = None;
                Vec::new()
            }
        }
    }
}

/// `None`: the connection is of no more use.
fn scan(connection: &mut Connection, prefix: &[u8]) -> Option<Vec<Vec<u8>>> {
    let pattern = [&pattern_of(prefix)[..], b"*"].concat();
    let end = clock::monotonic() + LOOK_AT_MOST;
    let (mut cursor, mut found) = (b"0".to_vec(), Vec::new());
    loop {
        let command: [&[u8]; 6] = [b"SCAN", &cursor, b"MATCH", &pattern, b"COUNT", b"1000"];
        let Reply::Array(items) = connection.call(&command).ok()? else { break };
        let Ok([Reply::Bulk(next), Reply::Array(keys)]) = <[Reply; 2]>::try_from(items) else { break };
        found.extend(keys.into_iter().filter_map(|key| match key {
            Reply::Bulk(key) => Some(key),
            _ => None,
        }));
        cursor = next;
        if cursor == b"0" || found.len() >= KEYS_MAX || clock::monotonic() >= end {
            break;
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(KEYS_MAX);
    Some(found)
}

/// A pattern that means these bytes.
fn pattern_of(bytes: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::new();
    for &byte in bytes {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> (usize, Vec<String>) {
        let keys = |prefix: &[u8]| {
            let known = [&b"user:1"[..], b"user 2"];
            known.iter().filter(|key| key.starts_with(prefix)).map(|key| key.to_vec()).collect()
        };
        complete(line, &Dictionary::built_in(), keys)
    }

    #[test]
    fn commands_subcommands_options_and_keys_are_offered_where_they_belong() {
        assert_eq!(completed("getra"), (0, vec!["getrange".to_owned()]));
        assert_eq!(completed("GETRA"), (0, vec!["GETRANGE".to_owned()]));
        assert_eq!(completed("config re"), (7, vec!["resetstat".to_owned(), "rewrite".to_owned()]));
        assert_eq!(completed("set a b EXA"), (8, vec!["EXAT".to_owned()]));
        assert_eq!(completed("get use"), (4, vec!["user:1".to_owned(), "\"user 2\"".to_owned()]));
        assert_eq!(completed("get \"user "), (4, vec!["\"user 2\"".to_owned()]));
        assert_eq!(completed("set user:1 "), (11, vec![]));
        assert_eq!(completed("help getra"), (5, vec!["getrange".to_owned()]));
        assert_eq!(completed(":tim"), (0, vec![":timing".to_owned()]));
    }

    #[test]
    fn a_prefix_with_signs_of_patterns_means_itself() {
        assert_eq!(pattern_of(b"a*[b]?\\"), b"a\\*\\[b\\]\\?\\\\");
    }
}
