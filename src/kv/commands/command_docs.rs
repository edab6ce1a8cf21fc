//! The replies of COMMAND DOCS: a row as a map, its arguments read from its syntax.

use crate::kv::commands::table::Command;
use crate::kv::table::syntax::{self, Argument, ArgumentKind};
use crate::resp::reply::Reply;

type Pairs = Vec<(Reply, Reply)>;

/// All that the table says of a command and its subcommands.
pub(super) fn docs_of(command: &Command) -> Reply {
    let mut pairs: Pairs = vec![
        (bulk("summary"), bulk(command.summary)),
        (bulk("since"), bulk(command.since)),
        (bulk("group"), bulk(command.group.name())),
        (bulk("complexity"), bulk(command.complexity)),
    ];
    if let Some(deprecated) = command.deprecated {
        pairs.push((bulk("doc_flags"), Reply::Set(vec![Reply::Simple("deprecated".into())])));
        pairs.push((bulk("deprecated_since"), bulk(deprecated.since)));
        pairs.push((bulk("replaced_by"), bulk(deprecated.replaced_by)));
    }
    if !command.history.is_empty() {
        let changes = command.history.iter().map(|(version, change)| Reply::Array(vec![bulk(version), bulk(change)]));
        pairs.push((bulk("history"), Reply::Set(changes.collect())));
    }
    let arguments = syntax::parse(command.syntax).expect("every row's syntax is tested");
    if !arguments.is_empty() {
        let mut keys = KeySpecs { next: 0, count: command.keys.specs().len() };
        pairs.push((bulk("arguments"), all_of(&arguments, &mut keys)));
    }
    if !command.subcommands.is_empty() {
        let subcommands = command.subcommands.iter().map(|command| (bulk(command.name), docs_of(command)));
        pairs.push((bulk("subcommands"), Reply::Map(subcommands.collect())));
    }
    Reply::Map(pairs)
}

/// Which key spec the next key belongs to: they are in the order of the keys, the last one may span several.
struct KeySpecs {
    next: usize,
    count: usize,
}

impl KeySpecs {
    /// `None`: the command has no keys, whatever it calls its arguments; that of CLUSTER KEYSLOT is only counted with.
    fn take(&mut self) -> Option<Reply> {
        let index = self.next.min(self.count.checked_sub(1)?);
        self.next += 1;
        Some(Reply::Integer(i64::try_from(index).unwrap_or(i64::MAX)))
    }
}

fn all_of(arguments: &[Argument<'_>], keys: &mut KeySpecs) -> Reply {
    Reply::Array(arguments.iter().map(|argument| argument_of(argument, keys)).collect())
}

fn argument_of(argument: &Argument<'_>, keys: &mut KeySpecs) -> Reply {
    let is_group = matches!(argument.kind, ArgumentKind::OneOf | ArgumentKind::Block);
    let key_spec = if argument.kind == ArgumentKind::Key { keys.take() } else { None };
    let kind = match argument.kind {
        ArgumentKind::Key if key_spec.is_none() => ArgumentKind::String,
        kind => kind,
    };
    let mut pairs: Pairs = vec![(bulk("name"), bulk(&argument.name)), (bulk("type"), bulk(kind.name()))];
    if !is_group {
        pairs.push((bulk("display_text"), bulk(&argument.name)));
    }
    if let Some(key_spec) = key_spec {
        pairs.push((bulk("key_spec_index"), key_spec));
    }
    if let Some(token) = argument.token {
        pairs.push((bulk("token"), bulk(token)));
    }
    let flags = [
        (argument.is_optional, "optional"),
        (argument.is_multiple, "multiple"),
        (argument.is_multiple_token, "multiple_token"),
    ];
    if flags.iter().any(|(is_set, _)| *is_set) {
        let names = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| Reply::Simple((*name).into()));
        pairs.push((bulk("flags"), Reply::Set(names.collect())));
    }
    if is_group {
        pairs.push((bulk("arguments"), all_of(&argument.arguments, keys)));
    }
    Reply::Map(pairs)
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}
