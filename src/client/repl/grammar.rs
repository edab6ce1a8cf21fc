//! A half-typed command against its syntax: what may still follow, as text for the hint and as words for completion.
//! It takes the words one by one and keeps the arguments that are still open; a word that fits nowhere ends its knowledge.

use crate::kv::table::{Argument, ArgumentKind};

/// What may stand where the cursor is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Words that are written as they stand.
    pub(super) tokens: Vec<String>,
    pub(super) is_key: bool,
}

/// The arguments that are open after these words. `None`: the words do not fit.
pub(super) fn open_after<'a>(arguments: &[Argument<'a>], words: &[Vec<u8>]) -> Option<Vec<Argument<'a>>> {
    let mut open = arguments.to_vec();
    for word in words {
        open = after_word(&open, word)?;
    }
    Some(open)
}

fn after_word<'a>(open: &[Argument<'a>], word: &[u8]) -> Option<Vec<Argument<'a>>> {
    for (index, argument) in open.iter().enumerate() {
        if let Some(follows) = take(argument, word) {
            // Options may come in any order: those that were passed over stay open, values without a token do not.
            let passed = open[..index].iter().filter(|passed| begins_with_token(passed)).cloned();
            let (tail, rest) = (open[index + 1..].iter().cloned(), passed);
            // What must follow at once does; then the options that are left.
            let is_unfinished = follows.first().is_some_and(|next| !next.is_optional);
            return Some(if is_unfinished {
                follows.into_iter().chain(rest).chain(tail).collect()
            } else {
                rest.chain(follows).chain(tail).collect()
            });
        }
        if !argument.is_optional {
            return None;
        }
    }
    None
}

/// What follows a word that this argument begins with. `None`: it begins with something else.
fn take<'a>(argument: &Argument<'a>, word: &[u8]) -> Option<Vec<Argument<'a>>> {
    let mut follows = take_once(argument, word)?;
    if argument.is_multiple {
        follows.push(once_more(argument));
    }
    Some(follows)
}

/// The name of a block that repeats what was typed already.
const AGAIN: &str = "...";

fn once_more<'a>(argument: &Argument<'a>) -> Argument<'a> {
    if argument.name == AGAIN {
        return argument.clone();
    }
    let keeps_token = argument.is_multiple_token || argument.kind == ArgumentKind::PureToken;
    let token = argument.token.filter(|_| keeps_token);
    let once = Argument { token, is_optional: false, is_multiple: false, ..argument.clone() };
    Argument {
        name: AGAIN.into(),
        kind: ArgumentKind::Block,
        token: None,
        is_optional: true,
        is_multiple: true,
        is_multiple_token: false,
        arguments: vec![once],
    }
}

fn take_once<'a>(argument: &Argument<'a>, word: &[u8]) -> Option<Vec<Argument<'a>>> {
    if let Some(token) = argument.token {
        let is_it = word.eq_ignore_ascii_case(token.as_bytes());
        let value = Argument { token: None, is_optional: false, is_multiple: false, ..argument.clone() };
        return is_it.then(|| if argument.kind == ArgumentKind::PureToken { Vec::new() } else { vec![value] });
    }
    match argument.kind {
        ArgumentKind::PureToken => None,
        ArgumentKind::OneOf => {
            let (tokens, values): (Vec<_>, Vec<_>) =
                argument.arguments.iter().partition(|part| begins_with_token(part));
            tokens.into_iter().chain(values).find_map(|part| take(part, word))
        }
        ArgumentKind::Block => after_word(&argument.arguments, word),
        ArgumentKind::Integer | ArgumentKind::UnixTime => is_number(word).then(Vec::new),
        _ => Some(Vec::new()),
    }
}

/// Cursors and the like have signs that are no digits, a name never begins with one.
fn is_number(word: &[u8]) -> bool {
    word.first().is_some_and(|first| !first.is_ascii_alphabetic())
}

fn begins_with_token(argument: &Argument<'_>) -> bool {
    argument.token.is_some()
        || match argument.kind {
            ArgumentKind::OneOf => argument.arguments.iter().all(begins_with_token),
            ArgumentKind::Block => argument.arguments.first().is_some_and(begins_with_token),
            _ => false,
        }
}

/// What the next word may be.
pub(super) fn expected(open: &[Argument<'_>]) -> Expected {
    let mut expected = Expected::default();
    for argument in open {
        note(argument, &mut expected);
        if !argument.is_optional {
            break;
        }
    }
    expected
}

fn note(argument: &Argument<'_>, expected: &mut Expected) {
    match (argument.token, argument.kind) {
        (Some(token), _) => expected.tokens.push(token.to_owned()),
        (None, ArgumentKind::OneOf) => argument.arguments.iter().for_each(|part| note(part, expected)),
        (None, ArgumentKind::Block) => {
            let inner = self::expected(&argument.arguments);
            expected.tokens.extend(inner.tokens);
            expected.is_key |= inner.is_key;
        }
        (None, ArgumentKind::Key) => expected.is_key = true,
        _ => {}
    }
}

/// As the reference pages write it.
pub(super) fn rendered(arguments: &[Argument<'_>]) -> String {
    arguments.iter().map(render).collect::<Vec<_>>().join(" ")
}

fn render(argument: &Argument<'_>) -> String {
    let parts = |separator: &str| argument.arguments.iter().map(render).collect::<Vec<_>>().join(separator);
    let core = match argument.kind {
        ArgumentKind::PureToken => argument.token.unwrap_or_default().to_owned(),
        ArgumentKind::OneOf if argument.is_optional && argument.token.is_none() => parts(" | "),
        ArgumentKind::OneOf => format!("<{}>", parts(" | ")),
        ArgumentKind::Block => parts(" "),
        _ => argument.name.clone().into_owned(),
    };
    let once = match argument.token {
        Some(token) if argument.kind != ArgumentKind::PureToken => format!("{token} {core}"),
        _ => core.clone(),
    };
    let again = if argument.is_multiple_token { &once } else { &core };
    match (argument.is_multiple, argument.is_optional) {
        (false, false) => once,
        (false, true) => format!("[{once}]"),
        (true, false) => format!("{once} [{again} ...]"),
        (true, true) if argument.name == AGAIN => format!("[{core} ...]"),
        (true, true) => format!("[{once} [{again} ...]]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::table::parse_syntax;

    fn hint(syntax: &str, typed: &str) -> Option<String> {
        let arguments = parse_syntax(syntax).unwrap();
        let words: Vec<Vec<u8>> = typed.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        open_after(&arguments, &words).map(|open| rendered(&open))
    }

    const SET: &str = "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]";

    #[test]
    fn the_hint_shrinks_with_every_word() {
        let cases = [
            (SET, "", SET),
            ("key", "a", ""),
            ("key value [NX | XX] [GET]", "a b", "[NX | XX] [GET]"),
            ("key value [NX | XX] [GET]", "a b get", "[NX | XX]"),
            ("key value [GET] [EX seconds | PX milliseconds]", "a b ex", "seconds [GET]"),
            ("key value [GET] [EX seconds | PX milliseconds]", "a b ex 10", "[GET]"),
            ("key [key ...]", "a", "[key ...]"),
            ("key [key ...]", "a b", "[key ...]"),
            ("key value [key value ...]", "a", "value [key value ...]"),
            ("key value [key value ...]", "a 1 b", "value [key value ...]"),
            ("cursor [MATCH pattern] [COUNT count] [TYPE type]", "0 count 10", "[MATCH pattern] [TYPE type]"),
        ];
        for (syntax, typed, expected) in cases {
            assert_eq!(hint(syntax, typed).as_deref(), Some(expected), "{syntax}: {typed}");
        }
    }

    #[test]
    fn words_that_fit_nowhere_end_the_hint() {
        assert_eq!(hint("key", "a b"), None);
        assert_eq!(hint("key value [NX | XX]", "a b nonsense"), None);
    }

    #[test]
    fn keys_and_options_are_expected_where_they_may_stand() {
        let at = |syntax: &str, typed: &str| {
            let arguments = parse_syntax(syntax).unwrap();
            let words: Vec<Vec<u8>> = typed.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
            expected(&open_after(&arguments, &words).unwrap())
        };
        assert!(at("key [key ...]", "").is_key && at("key [key ...]", "a").is_key);
        assert!(!at("key value", "a").is_key);
        assert_eq!(at("key value [NX | XX] [GET]", "a b").tokens, ["NX", "XX", "GET"]);
        assert_eq!(at("cursor [MATCH pattern] [COUNT count]", "0").tokens, ["MATCH", "COUNT"]);
    }

    #[test]
    fn every_row_of_the_table_reads_back_as_it_is_written() {
        for row in crate::kv::commands::table::named_rows().iter().filter(|row| !row.syntax.is_empty()) {
            let read = parse_syntax(row.syntax).unwrap();
            let written = rendered(&read);
            assert_eq!(parse_syntax(&written).as_ref(), Ok(&read), "{}: {} / {written}", row.name, row.syntax);
        }
    }
}
