//! The rules for command rows, which are read as text from src/kv/commands: every one has a transcript, and every one
//! whose answer is fixed by design is in docs/compatibility.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::rules::has_word;
use super::source::Source;

/// What a row says of itself, as far as these rules care.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Flagged `Flags::FIXED`: the answer does not depend on anything.
    pub(crate) is_fixed: bool,
    /// Only its subcommands run.
    pub(crate) is_container: bool,
}

/// The rows of all families: `name: "get",` and what follows up to the next name.
pub(crate) fn rows(sources: &[Source]) -> Vec<Row> {
    let families = sources.iter().filter(|source| source.path.starts_with("src/kv/commands/"));
    families.flat_map(|source| rows_of(&program_text(source))).collect()
}

fn program_text(source: &Source) -> String {
    source.text.lines().take(source.tests_from).collect::<Vec<_>>().join("\n")
}

pub(crate) fn rows_of(text: &str) -> Vec<Row> {
    // The table of a family, and rows beside it that a table names.
    let begins = |line: &str| line.contains("const COMMANDS") || line.ends_with(": Command = Command {");
    let mut is_within = false;
    let rows = text.lines().filter(|line| {
        is_within = (is_within || begins(line)) && !matches!(*line, "];" | "};");
        is_within
    });
    let pieces = rows.fold(Vec::<String>::new(), |mut pieces, line| {
        let name = line.trim().strip_prefix("name: \"").and_then(|rest| rest.split('"').next());
        match (name, pieces.last_mut()) {
            (Some(name), _) => pieces.push(format!("{name}\n")),
            (None, Some(piece)) => *piece += &format!("{line}\n"),
            (None, None) => {}
        }
        pieces
    });
    let row = |piece: &String| Row {
        name: piece.lines().next().unwrap_or_default().to_owned(),
        is_fixed: piece.contains("Flags::FIXED"),
        is_container: piece.contains("Handler::Container"),
    };
    pieces.iter().map(row).collect()
}

/// The commands that the transcripts cover: every word of their lines `# covers: get set object|encoding` that is also
/// sent in the same file.
pub(crate) fn covered(transcripts: &Path) -> BTreeSet<String> {
    let mut covered = BTreeSet::new();
    for entry in fs::read_dir(transcripts).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            covered.append(&mut self::covered(&path));
        } else if let Ok(text) = fs::read_to_string(&path) {
            covered.extend(covered_by(&text));
        }
    }
    covered
}

pub(crate) fn covered_by(transcript: &str) -> Vec<String> {
    let transcript = transcript.to_lowercase();
    let sent: Vec<&str> = transcript.lines().filter(|line| !line.starts_with('#')).collect();
    let is_sent = |name: &str| name.split('|').all(|word| sent.iter().any(|line| has_word(line, word)));
    let named = transcript.lines().filter_map(|line| line.strip_prefix("# covers:")).flat_map(str::split_whitespace);
    named.filter(|name| is_sent(name)).map(str::to_owned).collect()
}

/// Rows without a transcript, transcripts without a row, and entries of `known` that are covered by now.
pub(crate) fn check_coverage(rows: &[Row], covered: &BTreeSet<String>, known: &[&str], wrong: &mut Vec<String>) {
    for row in rows.iter().filter(|row| !row.is_container) {
        match (covered.contains(&row.name), known.contains(&row.name.as_str())) {
            (false, false) => {
                wrong.push(format!("the command `{}` has no transcript: `# covers: {}`", row.name, row.name));
            }
            (true, true) => wrong.push(format!("the command `{}` is covered: take it off the list", row.name)),
            _ => {}
        }
    }
    for name in covered.iter().map(String::as_str).chain(known.iter().copied()) {
        if !rows.iter().any(|row| row.name == name) {
            wrong.push(format!("there is no command `{name}` to cover"));
        }
    }
}

/// The first cells (`` `module list` ``) of the table below the heading "Fixed answers".
pub(crate) fn documented_as_fixed(compatibility: &str) -> BTreeSet<String> {
    let section = compatibility.split("\n## ").find(|section| section.starts_with("Fixed answers")).unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(|cell| cell.to_lowercase().replace(' ', "|")).collect()
}

pub(crate) fn check_fixed(rows: &[Row], documented: &BTreeSet<String>, wrong: &mut Vec<String>) {
    let fixed: BTreeSet<String> = rows.iter().filter(|row| row.is_fixed).map(|row| row.name.clone()).collect();
    for name in fixed.difference(documented) {
        wrong.push(format!("docs/compatibility.md does not say that the answer of `{name}` is fixed"));
    }
    for name in documented.difference(&fixed) {
        wrong.push(format!(
            "docs/compatibility.md calls the answer of `{name}` fixed, and the row does not (Flags::FIXED)"
        ));
    }
}
