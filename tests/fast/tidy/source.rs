//! A Rust file as the rules see it: its text, the same text with comments and literals blanked, and where tests begin.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Source {
    /// Below the package, with `/`: `src/kv/table/rows.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// `text` with every comment, string and character literal as blanks: same lines, same columns.
    pub(crate) code: String,
    /// From this line on (0-based) everything is test code; the number of lines where nothing is.
    pub(crate) tests_from: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let tests_from = first_test_line(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, tests_from }
    }

    /// The lines of `code` with their numbers (0-based).
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate()
    }

    /// Those before the tests.
    pub(crate) fn program_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().take(self.tests_from)
    }

    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// `["server", "sys", "epoll"]` for src/sys/epoll.rs: where `super` climbs from.
    pub(crate) fn module_path(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
    }
}

/// All Rust files of the package, sorted. Files that a parent declares under `#[cfg(test)]` are test code as a whole.
pub(crate) fn read_all(package: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "fuzz"] {
        collect(&package.join(folder), &mut paths);
    }
    paths.push(package.join("build.rs"));
    paths.sort();
    let mut sources: Vec<Source> = paths
        .iter()
        .filter_map(|path| {
            let name = path.strip_prefix(package).ok()?.to_string_lossy().into_owned();
            fs::read_to_string(path).ok().map(|text| Source::new(&name, &text))
        })
        .collect();
    let test_files: Vec<String> = sources.iter().flat_map(test_children).collect();
    for source in &mut sources {
        if test_files.iter().any(|path| source.path.starts_with(path.as_str())) {
            source.tests_from = 0;
        }
    }
    sources
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// `src/resp/request/tests` (with its end, `.rs` or `/`) for a `#[cfg(test)] mod tests;` in src/resp/request.rs.
fn test_children(parent: &Source) -> Vec<String> {
    let folder = match parent.file_name() {
        "mod.rs" | "lib.rs" | "main.rs" => parent.path.rsplit_once('/').map(|(folder, _)| folder.to_owned()),
        _ => parent.path.strip_suffix(".rs").map(str::to_owned),
    };
    let Some(folder) = folder else { return Vec::new() };
    let lines: Vec<&str> = parent.code.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(test)]")
        .filter_map(|pair| pair[1].strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name))
        .flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")])
        .collect()
}

/// The `#[cfg(test)]` above a module with a body: by convention the end of the file.
fn first_test_line(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    let is_start = |index: &usize| {
        lines[*index].trim() == "#[cfg(test)]"
            && lines[index + 1..].iter().find(|line| !line.trim().starts_with('#')).is_some_and(|line| {
                let line = line.trim();
                line.ends_with('{') && (line.starts_with("mod ") || line.starts_with("pub mod "))
            })
    };
    (0..lines.len()).find(is_start).unwrap_or(lines.len())
}

/// Blanks comments and literals, keeps line ends.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = literal_length(bytes, at);
        let piece = &text[at..at + length.max(char_length(bytes[at]))];
        if length == 0 {
            out.push_str(piece);
        } else {
            out.extend(piece.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        }
        at += piece.len();
    }
    out
}

fn char_length(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

/// How many bytes the comment or literal has that begins here; 0 where none does.
fn literal_length(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins_word = at == 0 || !is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_length(rest),
        [b'"', ..] => quoted_length(rest, b'"'),
        [b'r', b'"' | b'#', ..] if begins_word => raw_string_length(rest, 1),
        [b'b', b'r', b'"' | b'#', ..] if begins_word => raw_string_length(rest, 2),
        // A lifetime or a label has no closing quote two or more bytes on.
        [b'\'', b'\\', ..] => quoted_length(rest, b'\''),
        [b'\'', first, ..] if rest.get(1 + char_length(*first)) == Some(&b'\'') => 2 + char_length(*first),
        _ => 0,
    }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `prefix` bytes before the hashes. 0: a raw identifier.
fn raw_string_length(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [b"\"".as_slice(), &rest[prefix..prefix + hashes]].concat();
    let body = prefix + hashes + 1;
    let found = rest[body..].windows(end.len()).position(|window| window == end);
    found.map_or(rest.len(), |position| body + position + end.len())
}
