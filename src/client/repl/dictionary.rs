//! The commands that the prompt knows: the rows of our table, and what else the service's COMMAND DOCS has.

use std::collections::BTreeMap;

use crate::kv::commands::table;
use crate::kv::table::{Argument, parse_syntax};
use crate::resp::Reply;

/// By lower-case name; a subcommand's is two words: "config get".
#[derive(Default)]
pub(super) struct Dictionary {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) summary: String,
    pub(super) since: String,
    pub(super) group: String,
    pub(super) complexity: String,
    /// What follows the name, as the reference pages write it.
    pub(super) syntax: String,
    /// True for a name that only has subcommands.
    pub(super) is_container: bool,
}

impl Entry {
    /// None where the syntax cannot be read, which ours can.
    pub(super) fn arguments(&self) -> Vec<Argument<'_>> {
        if self.syntax.is_empty() { Vec::new() } else { parse_syntax(&self.syntax).unwrap_or_default() }
    }
}

impl Dictionary {
    pub(super) fn built_in() -> Self {
        let entries = table::named_rows().iter().map(|row| {
            let entry = Entry {
                summary: row.summary.to_owned(),
                since: row.since.to_owned(),
                group: row.group.name().to_owned(),
                complexity: row.complexity.to_owned(),
                syntax: row.syntax.to_owned(),
                is_container: !row.subcommands.is_empty(),
            };
            (row.name.replace('|', " "), entry)
        });
        Self { entries: entries.collect() }
    }

    /// Adds what COMMAND DOCS has and we have not; anything else than its reply adds nothing.
    pub(super) fn add_docs(&mut self, docs: &Reply) {
        for (name, doc) in fields(docs) {
            self.add_doc(&name, doc);
        }
    }

    fn add_doc(&mut self, name: &str, doc: &Reply) {
        let (mut entry, mut is_known) = (Entry::default(), false);
        for (field, value) in fields(doc) {
            match field.as_str() {
                "summary" => {
                    entry.summary = text(value);
                    is_known = true;
                }
                "since" => entry.since = text(value),
                "group" => entry.group = text(value),
                "complexity" => entry.complexity = text(value),
                "arguments" => entry.syntax = syntax_of(items(value), " "),
                "subcommands" => {
                    entry.is_container = true;
                    for (full_name, doc) in fields(value) {
                        self.add_doc(&full_name.replace('|', " "), doc);
                    }
                }
                _ => {}
            }
        }
        if is_known {
            self.entries.entry(name.to_ascii_lowercase()).or_insert(entry);
        }
    }

    /// The entry of the command that these words begin with, its name, and how many words that has.
    pub(super) fn find(&self, words: &[Vec<u8>]) -> Option<(&str, &Entry, usize)> {
        let word = |index: usize| words.get(index).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase());
        let first = word(0)?;
        let of_two = word(1).and_then(|second| self.entries.get_key_value(&format!("{first} {second}")));
        let (entry, count) = match of_two {
            Some(found) => (found, 2),
            None => (self.entries.get_key_value(&first)?, 1),
        };
        Some((entry.0, entry.1, count))
    }

    /// All names that begin so, those of subcommands only behind their container's.
    pub(super) fn names_with(&self, prefix: &str) -> impl Iterator<Item = &str> + use<'_> {
        let prefix = prefix.to_ascii_lowercase();
        let depth = prefix.matches(' ').count();
        let first = prefix.clone();
        self.entries
            .range(first..)
            .map(|(name, _)| name.as_str())
            .take_while(move |name| name.starts_with(&prefix))
            .filter(move |name| name.matches(' ').count() == depth)
    }

    pub(super) fn groups(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, entry) in self.entries.iter().filter(|(name, _)| !name.contains(' ')) {
            groups.entry(entry.group.as_str()).or_default().push(name);
        }
        groups
    }
}

/// The arguments of COMMAND DOCS as the reference pages write them.
fn syntax_of(arguments: &[Reply], separator: &str) -> String {
    arguments.iter().map(argument_syntax).collect::<Vec<_>>().join(separator)
}

fn argument_syntax(argument: &Reply) -> String {
    let (mut name, mut kind, mut token, mut flags, mut parts) = (String::new(), String::new(), None, Vec::new(), None);
    for (field, value) in fields(argument) {
        match field.as_str() {
            "name" if name.is_empty() => name = text(value),
            "display_text" => name = text(value),
            "type" => kind = text(value),
            "token" => token = Some(text(value)),
            "flags" => flags = items(value).iter().map(text).collect(),
            "arguments" => parts = Some(items(value)),
            _ => {}
        }
    }
    let has = |flag: &str| flags.iter().any(|other| other == flag);
    let parts = parts.unwrap_or_default();
    let core = match kind.as_str() {
        "pure-token" => token.take().unwrap_or(name),
        "oneof" if has("optional") && token.is_none() => syntax_of(parts, " | "),
        "oneof" => format!("<{}>", syntax_of(parts, " | ")),
        "block" => syntax_of(parts, " "),
        // A word in capitals would be a token.
        _ => name.to_ascii_lowercase().replace(' ', "-"),
    };
    let once = token.as_ref().map_or_else(|| core.clone(), |token| format!("{token} {core}"));
    let whole = match (has("multiple"), has("multiple_token")) {
        (false, _) => once,
        (true, true) => format!("{once} [{once} ...]"),
        (true, false) => format!("{once} [{core} ...]"),
    };
    if has("optional") { format!("[{whole}]") } else { whole }
}

/// Name and value of a map, or of an array that alternates.
fn fields(reply: &Reply) -> Vec<(String, &Reply)> {
    match reply {
        Reply::Map(pairs) => pairs.iter().map(|(name, value)| (text(name), value)).collect(),
        Reply::Array(items) => items.chunks_exact(2).map(|pair| (text(&pair[0]), &pair[1])).collect(),
        _ => Vec::new(),
    }
}

fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) | Reply::Set(items) => items,
        _ => &[],
    }
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) | Reply::Verbatim { text: bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Simple(text) => text.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.into())
    }

    fn map(pairs: Vec<(&str, Reply)>) -> Reply {
        Reply::Array(pairs.into_iter().flat_map(|(name, value)| [bulk(name), value]).collect())
    }

    #[test]
    fn a_command_is_found_by_one_word_or_two() {
        let dictionary = Dictionary::built_in();
        let found = |line: &str| dictionary.find(&words(line)).map(|(name, _, count)| (name.to_owned(), count));
        assert_eq!(found("GET a"), Some(("get".to_owned(), 1)));
        assert_eq!(found("Config GET a"), Some(("config get".to_owned(), 2)));
        assert_eq!(found("config nonsense"), Some(("config".to_owned(), 1)));
        assert_eq!(found("nonsense"), None);
        assert!(dictionary.names_with("CONFIG ").any(|name| name == "config get"));
        assert!(dictionary.names_with("conf").eq(["config"]));
    }

    #[test]
    fn the_service_adds_what_we_do_not_have() {
        let pure = |token: &str| map(vec![("name", bulk(token)), ("type", bulk("pure-token")), ("token", bulk(token))]);
        let optional = || Reply::Array(vec![bulk("optional")]);
        let arguments = Reply::Array(vec![
            map(vec![("name", bulk("key")), ("type", bulk("key"))]),
            map(vec![
                ("name", bulk("condition")),
                ("type", bulk("oneof")),
                ("flags", optional()),
                ("arguments", Reply::Array(vec![pure("NX"), pure("XX")])),
            ]),
            map(vec![
                ("name", bulk("data")),
                ("type", bulk("block")),
                ("flags", Reply::Array(vec![bulk("multiple")])),
                (
                    "arguments",
                    Reply::Array(vec![
                        map(vec![("name", bulk("score")), ("type", bulk("double"))]),
                        map(vec![("name", bulk("member")), ("type", bulk("string"))]),
                    ]),
                ),
            ]),
        ]);
        let doc = map(vec![("summary", bulk("Adds members")), ("group", bulk("sorted-set")), ("arguments", arguments)]);
        let mut dictionary = Dictionary::default();
        dictionary.add_docs(&map(vec![("zadd", doc)]));
        let (_, entry, _) = dictionary.find(&words("ZADD")).unwrap();
        assert_eq!(entry.syntax, "key [NX | XX] score member [score member ...]");
        assert_eq!(entry.arguments().len(), 3);
    }
}
