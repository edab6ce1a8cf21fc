//! A typed line in colours: the command, its options, quoted words, and secrets as stars. Same width, always.

use super::dictionary::Dictionary;
use super::grammar::{expected, open_after};
use crate::client::words::words_of;
use crate::kv::table::is_secret_argument;

pub(super) const RESET: &str = "\x1b[0m";
pub(super) const DIM: &str = "\x1b[2m";
pub(super) const RED: &str = "\x1b[31m";
const COMMAND: &str = "\x1b[1;36m";
const OPTION: &str = "\x1b[34m";
const QUOTED: &str = "\x1b[33m";
const KEY: &str = "\x1b[32m";

/// `is_coloured`: false hides secrets and does nothing else.
pub(super) fn coloured(line: &str, dictionary: &Dictionary, is_coloured: bool) -> String {
    let words = words_of(line);
    let texts: Vec<Vec<u8>> = words.iter().map(|word| word.text.clone()).collect();
    let args: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    let entry = dictionary.find(&texts);
    let (mut out, mut end) = (String::with_capacity(line.len() + 32), 0);
    for (index, word) in words.iter().enumerate() {
        out.push_str(&line[end..word.span.start]);
        end = word.span.end;
        let shown = &line[word.span.clone()];
        if is_secret_argument(&args, index) {
            out.extend(shown.chars().map(|_| '*'));
            continue;
        }
        let colour = match entry {
            Some((_, _, count)) if index < count => Some(COMMAND),
            // A name that may still become one is not wrong.
            None if index == 0 && dictionary.names_with(shown).next().is_none() && !shown.starts_with([':', '?']) => {
                (!is_of_the_prompt(shown)).then_some(RED)
            }
            Some((_, entry, count)) => {
                let arguments = entry.arguments();
                let may_be = open_after(&arguments, &texts[count..index]).map(|open| expected(&open));
                let is_token = |tokens: &[String]| tokens.iter().any(|token| token.eq_ignore_ascii_case(shown));
                match may_be {
                    Some(may_be) if is_token(&may_be.tokens) => Some(OPTION),
                    Some(may_be) if may_be.is_key => Some(KEY),
                    _ if shown.starts_with(['"', '\'']) => Some(QUOTED),
                    _ => None,
                }
            }
            None => None,
        };
        match colour.filter(|_| is_coloured) {
            Some(colour) => out.extend([colour, shown, RESET]),
            None => out.push_str(shown),
        }
    }
    out.push_str(&line[end..]);
    out
}

fn is_of_the_prompt(word: &str) -> bool {
    ["help", "exit", "quit", "clear"].iter().any(|name| name.starts_with(&word.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_colour_of_what_they_are() {
        let shown = |line: &str| coloured(line, &Dictionary::built_in(), true);
        assert_eq!(shown("get a"), "\x1b[1;36mget\x1b[0m \x1b[32ma\x1b[0m");
        assert_eq!(
            shown("set a 'b c' nx"),
            "\x1b[1;36mset\x1b[0m \x1b[32ma\x1b[0m \x1b[33m'b c'\x1b[0m \x1b[34mnx\x1b[0m"
        );
        assert_eq!(shown("nonsense a"), "\x1b[31mnonsense\x1b[0m a");
        assert_eq!(shown("stre"), "\x1b[31mstre\x1b[0m");
        assert_eq!(shown("he"), "he");
    }

    #[test]
    fn secrets_are_stars_with_colours_and_without() {
        assert_eq!(coloured("auth pw", &Dictionary::built_in(), false), "auth **");
        assert!(coloured("hello 3 AUTH ann \"p w\"", &Dictionary::built_in(), true).ends_with(" *** *****"));
    }
}
