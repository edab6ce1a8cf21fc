//! What came over, by kind, and what did not, with some names.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::rdb_file::shown;
use crate::kv::formats::rdb::ValueKind;

/// So many keys are named of each thing that does not come over.
const NAMES_MAX: usize = 5;
/// Causes that are told apart: servers have any number of words for them.
const CAUSES_MAX: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    moved: BTreeMap<&'static str, Moved>,
    libraries: u64,
    unmoved: BTreeMap<String, Unmoved>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moved {
    keys: u64,
    elements: u64,
}

/// What did not come over for one cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmoved {
    pub count: u64,
    /// Of what there is no harm done: exit codes leave it out.
    pub is_harmless: bool,
    names: Vec<String>,
}

impl Report {
    pub fn moved(&mut self, kind: ValueKind, elements: u64) {
        let moved = self.moved.entry(words(kind)).or_default();
        moved.keys += 1;
        moved.elements += elements;
    }

    /// A library of functions.
    pub fn library(&mut self) {
        self.libraries += 1;
    }

    /// Something did not come over, or not as it was: why, and of which key.
    pub fn unmoved(&mut self, why: &str, key: &[u8]) {
        self.note(why, key, false);
    }

    /// The same of what nobody misses.
    pub fn left_out(&mut self, why: &str, key: &[u8]) {
        self.note(why, key, true);
    }

    fn note(&mut self, why: &str, key: &[u8], is_harmless: bool) {
        let is_known = self.unmoved.contains_key(why);
        let why = if is_known || self.unmoved.len() < CAUSES_MAX { why } else { causes::OTHER };
        if !self.unmoved.contains_key(why) {
            self.unmoved.insert(why.to_owned(), Unmoved { is_harmless, ..Unmoved::default() });
        }
        let Some(unmoved) = self.unmoved.get_mut(why) else { return };
        unmoved.count += 1;
        if unmoved.names.len() < NAMES_MAX && !key.is_empty() {
            unmoved.names.push(shown(key));
        }
    }

    /// With what came over by another way.
    pub fn add(&mut self, other: Report) {
        for (kind, Moved { keys, elements }) in other.moved {
            let moved = self.moved.entry(kind).or_default();
            (moved.keys, moved.elements) = (moved.keys + keys, moved.elements + elements);
        }
        self.libraries += other.libraries;
        for (why, unmoved) in other.unmoved {
            let known = self.unmoved.entry(why).or_insert_with(|| Unmoved { count: 0, ..unmoved.clone() });
            known.count += unmoved.count;
        }
    }

    /// Only what did not come over.
    #[must_use]
    pub fn without_moved(self) -> Report {
        Report { unmoved: self.unmoved, ..Report::default() }
    }

    /// How many keys came over.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.moved.values().map(|moved| moved.keys).sum()
    }

    /// True exactly when all came over that anybody may miss.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unmoved.values().all(|unmoved| unmoved.is_harmless)
    }

    /// In lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let write = |out: &mut String, arguments: fmt::Arguments<'_>| out.write_fmt(arguments).unwrap_or_default();
        for (kind, Moved { keys, elements }) in &self.moved {
            let elements = if *kind == "strings" { String::new() } else { format!(", with {elements} elements") };
            write(&mut out, format_args!("{keys:>12} {kind}{elements}\n"));
        }
        write(&mut out, format_args!("{:>12} keys in all\n", self.keys()));
        if self.libraries > 0 {
            write(&mut out, format_args!("{:>12} libraries of functions\n", self.libraries));
        }
        for (why, Unmoved { count, names, .. }) in &self.unmoved {
            let more = if *count > names.len() as u64 { ", ..." } else { "" };
            let names = if names.is_empty() { String::new() } else { format!(": {}{more}", names.join(", ")) };
            write(&mut out, format_args!("not moved: {count} {why}{names}\n"));
        }
        out
    }
}

fn words(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::String => "strings",
        ValueKind::List => "lists",
        ValueKind::Set => "sets",
        ValueKind::SortedSet => "sorted sets",
        ValueKind::Hash => "hashes",
        ValueKind::Stream => "streams",
        ValueKind::Module => "values of modules",
    }
}

/// What is said of what does not come over.
pub(super) mod causes {
    pub(in crate::transfer) const MODULE: &str = "values of modules";
    pub(in crate::transfer) const MODULE_DATA: &str = "what modules keep beside keys";
    pub(in crate::transfer) const UNCLAIMED: &str =
        "large streams with deleted entries that are pending: all is there but these";
    pub(in crate::transfer) const OTHER: &str = "things for other causes";
    pub(in crate::transfer) const ENDED: &str = "keys whose time has passed";
    pub(in crate::transfer) const EMPTY: &str = "keys without elements";
    pub(in crate::transfer) const DATABASE: &str = "keys of a database above 15";
    pub(in crate::transfer) const DATABASE_COMMANDS: &str = "commands about a database above 15";
    pub(in crate::transfer) const FIELD_TIMES: &str =
        "hashes with times to live of single fields: the fields are there, and stay";
    pub(in crate::transfer) const ENDED_FIELDS: &str = "hashes with single fields whose time has passed: these fields";
    pub(in crate::transfer) const BUSY: &str = "keys that are there already (--replace overwrites them)";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_some_and_counts_all() {
        let mut report = Report::default();
        report.moved(ValueKind::List, 3);
        report.moved(ValueKind::List, 4);
        report.moved(ValueKind::String, 1);
        report.left_out(causes::ENDED, b"old\n");
        report.library();
        assert!(report.is_whole());
        (0..7).for_each(|number| report.unmoved(causes::MODULE, format!("s{number}").as_bytes()));
        assert!(!report.is_whole());
        assert_eq!(
            report.text(),
            "           2 lists, with 7 elements\n           1 strings\n           3 keys in all\n           1 libraries of functions\n\
             not moved: 1 keys whose time has passed: \"old\\n\"\n\
             not moved: 7 values of modules: \"s0\", \"s1\", \"s2\", \"s3\", \"s4\", ...\n"
        );
    }
}
