//! The rules for Rust files: each takes one file and says what is wrong with it, as `path:line: what`.

use super::source::Source;

pub(crate) type Rule = fn(&Source, &mut Vec<String>);

pub(crate) const RULES: &[Rule] = &[
    imports_respect_the_layers,
    storage_keeps_its_inner_walls,
    libraries_stay_in_their_layers,
    the_core_uses_socketpairs,
    the_core_has_no_product_names,
    the_clock_is_read_in_one_place,
    the_environment_is_read_in_one_place,
    files_and_functions_are_short,
    files_say_what_they_are,
    mod_files_only_list,
    nothing_is_put_off,
    nothing_is_dropped_silently,
    names_say_what_things_are,
];

/// What each layer may name of ours. `main` and `config` see everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("server", &["server", "sys"]),
    ("sys", &["sys"]),
    ("resp", &["resp", "sys"]),
    ("storage", &["storage", "sys"]),
    ("kv", &["kv", "server", "resp", "storage", "sys"]),
    (
        "admin",
        &[
            "admin",
            "kv::metrics",
            "kv::commands::table",
            "kv::shared",
            "server::counters",
            "server::LogLimit",
            "server::tls",
            "sys",
        ],
    ),
    ("client", &["client", "resp", "sys", "kv::table", "kv::commands::table"]),
    (
        "transfer",
        &[
            "transfer",
            "client",
            "kv::errors",
            "kv::formats",
            "kv::sources",
            "kv::stream_parts",
            "resp",
            "storage",
            "sys",
        ],
    ),
    ("logging", &["logging", "sys"]),
];

fn imports_respect_the_layers(source: &Source, wrong: &mut Vec<String>) {
    let module = source.module_path();
    let Some((_, allowed)) =
        LAYERS.iter().find(|(layer, _)| source.path.starts_with("src/") && module.first() == Some(layer))
    else {
        return;
    };
    for (line, path) in crate_paths(&source.code) {
        if !allowed.iter().any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}::"))) {
            report(wrong, source, line, &format!("`{}` must not know `{path}`", module[0]));
        }
    }
    for (line, code) in source.lines() {
        let depth = module.len() + usize::from(line >= source.tests_from && source.tests_from > 0);
        if code.contains(&"super::".repeat(depth)) {
            report(wrong, source, line, "`super` leads out of the layer");
        }
        if has_word(code, "emptyserver::") {
            report(wrong, source, line, "the library does not name itself");
        }
    }
}

/// What a folder of `storage` may name of ours: rows know nothing else, and a keyspace is a matter of rows. Tests may look further.
const INNER_WALLS: &[(&str, &[&str])] = &[
    ("src/storage/rows/", &["storage::rows", "storage::error"]),
    ("src/storage/journal/", &["storage::journal", "storage::rows", "storage::error"]),
    // What breaks a rule for the simulator stands where the rule is.
    ("src/storage/keyspace/", &["storage::keyspace", "storage::rows", "storage::error", "storage::broken"]),
    ("src/storage/memtable/", &["storage::memtable", "storage::rows", "storage::broken", "storage::points", "sys"]),
];

fn storage_keeps_its_inner_walls(source: &Source, wrong: &mut Vec<String>) {
    let Some((folder, allowed)) = INNER_WALLS.iter().find(|(folder, _)| source.path.starts_with(folder)) else {
        return;
    };
    let is_program = |line: usize| line < source.tests_from;
    // `pub(in crate::storage)` names nobody.
    let is_name = |(line, path): &(usize, String)| is_program(*line) && path != "storage";
    for (line, path) in crate_paths(&source.code).into_iter().filter(is_name) {
        if !allowed.iter().any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}::"))) {
            report(wrong, source, line, &format!("{folder} must not know `{path}`"));
        }
    }
    for (line, code) in source.lines().filter(|(line, _)| is_program(*line)) {
        if code.contains("super::super::") {
            report(wrong, source, line, &format!("`super` leads out of {folder}"));
        }
    }
}

/// Every path of the code that begins with `crate::`, groups spread out: at most three names each, with the line.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count();
        spread("", &code[at + "crate::".len()..], &mut |path| paths.push((line, path)));
    }
    paths
}

/// `a::{b, c::d::e}` gives `a::b` and `a::c::d`. Returns nothing about where it ended: paths are short.
fn spread(prefix: &str, rest: &str, found: &mut dyn FnMut(String)) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        for item in group_items(group) {
            spread(prefix, item, found);
        }
        return;
    }
    let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}::{name}") };
    match rest[name.len()..].strip_prefix("::") {
        Some(more) if path.matches("::").count() < 2 => spread(&path, more, found),
        _ => found(path),
    }
}

/// The items up to the closing brace, split at the commas of this level.
fn group_items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => {
                items.push(&group[start..at]);
                break;
            }
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

/// (word, where it may stand)
const HOMES: &[(&str, &[&str])] = &[
    ("unsafe", &["src/sys/", "src/storage/sqlite/vfs/"]),
    ("libc::", &["src/sys/"]),
    ("rusqlite::", &["src/storage/sqlite/"]),
    ("libsqlite3_sys::", &["src/storage/sqlite/"]),
    ("tokio::", &["src/admin/"]),
    ("axum::", &["src/admin/"]),
    ("hyper::", &["src/admin/"]),
    ("hyper_util::", &["src/admin/"]),
    ("clap::", &["src/client/", "src/main.rs"]),
    ("rustyline::", &["src/client/repl/"]),
    ("indicatif::", &["src/client/"]),
    ("rustls::", &["src/client/", "src/server/tls/"]),
    ("ring::", &["src/client/", "src/server/tls/", "src/kv/users/", "src/kv/scripts/"]),
    ("tokio_rustls::", &["src/admin/"]),
    ("envy::", &["src/config/"]),
];

fn libraries_stay_in_their_layers(source: &Source, wrong: &mut Vec<String>) {
    if !source.path.starts_with("src/") {
        return;
    }
    let is_home = |homes: &[&str]| homes.iter().any(|home| source.path.starts_with(home));
    for (word, homes) in HOMES.iter().filter(|(_, homes)| !is_home(homes)) {
        lines_with(source, source.lines(), &[word], &format!("`{word}` belongs to {}", homes.join(" and ")), wrong);
    }
}

fn the_core_uses_socketpairs(source: &Source, wrong: &mut Vec<String>) {
    if source.path.starts_with("src/server/") {
        let words = ["eventfd", "EventFd", "pipe", "pipe2"];
        lines_with(source, source.lines(), &words, "threads and processes talk through socketpairs", wrong);
    }
}

/// Also not in comments and texts.
fn the_core_has_no_product_names(source: &Source, wrong: &mut Vec<String>) {
    if !source.path.starts_with("src/server/") {
        return;
    }
    for (line, text) in source.text.lines().enumerate() {
        let text = text.to_lowercase();
        if text.contains("redis") || text.contains("sqlite") {
            report(wrong, source, line, "the core knows no protocol and no database");
        }
    }
}

/// The service's, and the client's, which must not know the service.
const CLOCKS: &[&str] = &["src/sys/clock.rs", "src/client/clock.rs"];

fn the_clock_is_read_in_one_place(source: &Source, wrong: &mut Vec<String>) {
    if source.path.starts_with("src/") && !CLOCKS.contains(&source.path.as_str()) {
        let words = ["Instant::now", "SystemTime::now", "clock_gettime", ".elapsed()"];
        lines_with(source, source.program_lines(), &words, "time comes from sys::clock", wrong);
    }
}

fn the_environment_is_read_in_one_place(source: &Source, wrong: &mut Vec<String>) {
    if source.path.starts_with("src/") && !source.path.starts_with("src/config") {
        let words = ["env::var", "env::vars", "env::var_os", "env::vars_os", "env::set_var", "env::remove_var"];
        // A test may be told how long it has.
        lines_with(source, source.program_lines(), &words, "only config reads the environment", wrong);
    }
}

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

fn files_and_functions_are_short(source: &Source, wrong: &mut Vec<String>) {
    let count = source.text.lines().count();
    if count > FILE_LINES_MAX {
        report(wrong, source, FILE_LINES_MAX, &format!("the file has {count} lines"));
    }
    let lines: Vec<&str> = source.program_lines().map(|(_, line)| line).collect();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| has_word(line, "fn") && !line.contains("fn(")) {
        // rustfmt closes a function at the column where it began.
        let indent = line.len() - line.trim_start().len();
        let body =
            lines[start..].iter().position(|line| line.ends_with('{') || line.ends_with(';') || line.ends_with('}'));
        let Some(body) = body.filter(|body| lines[start + body].ends_with('{')) else { continue };
        let is_end = |line: &&str| line.len() == indent + 1 && line.ends_with('}');
        let length = lines[start + body..].iter().position(is_end).map_or(0, |end| body + end + 1);
        if length > FUNCTION_LINES_MAX {
            report(wrong, source, start, &format!("the function has {length} lines"));
        }
    }
}

fn files_say_what_they_are(source: &Source, wrong: &mut Vec<String>) {
    if !source.text.starts_with("//! ") && source.file_name() != "tests.rs" {
        report(wrong, source, 0, "the file does not begin with `//!` and what it is");
    }
}

fn mod_files_only_list(source: &Source, wrong: &mut Vec<String>) {
    if source.file_name() != "mod.rs" {
        return;
    }
    let statements: String =
        source.code.lines().filter(|line| !line.trim().starts_with('#')).collect::<Vec<_>>().join("\n");
    for statement in statements.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        let words = statement
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(in crate::storage) ")
            .trim_start_matches("pub(super) ")
            .trim_start_matches("pub ");
        let is_listing = words.starts_with("mod ") || (words.starts_with("use ") && words != statement);
        if !is_listing {
            let first = statement.lines().next().unwrap_or_default();
            report(wrong, source, 0, &format!("a mod.rs has `mod` and `pub use` only, not `{first}`"));
        }
    }
}

/// Words for work that is put off, in two halves so that this file has none.
const PUT_OFF: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")];

fn nothing_is_put_off(source: &Source, wrong: &mut Vec<String>) {
    for (first, second) in PUT_OFF {
        let word = format!("{first}{second}");
        for (line, text) in source.text.lines().enumerate() {
            if has_word(text, &word) {
                report(wrong, source, line, &format!("{word}: do it or leave it"));
            }
        }
    }
}

/// A dropped value needs its reason, beside it or in the line above.
fn nothing_is_dropped_silently(source: &Source, wrong: &mut Vec<String>) {
    let texts: Vec<&str> = source.text.lines().collect();
    for (line, _) in source.program_lines().filter(|(_, code)| code.contains("let _ =")) {
        let above = line.checked_sub(1).map_or("", |above| texts[above].trim());
        let is_explained = above.starts_with("// ") || texts[line].contains("// ");
        if !is_explained && !above.starts_with("#[expect") {
            report(wrong, source, line, "`let _ =` without a reason");
        }
    }
}

const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "manager"];

fn names_say_what_things_are(source: &Source, wrong: &mut Vec<String>) {
    if source.module_path().iter().any(|part| EMPTY_NAMES.contains(part)) {
        report(wrong, source, 0, "the file's name says nothing");
    }
    for (line, code) in source.program_lines() {
        if code.contains("fn get_") {
            report(wrong, source, line, "no `get_` prefix");
        }
    }
}

fn lines_with<'a>(
    source: &Source,
    lines: impl Iterator<Item = (usize, &'a str)>,
    words: &[&str],
    what: &str,
    wrong: &mut Vec<String>,
) {
    for (line, code) in lines {
        if words.iter().any(|word| has_word(code, word)) {
            report(wrong, source, line, what);
        }
    }
}

/// True exactly when `word` stands there and not as a part of a longer one.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(is_word) && word.starts_with(is_word);
        let after = text[at + word.len()..].chars().next().is_some_and(is_word) && word.ends_with(is_word);
        !before && !after
    })
}

fn report(wrong: &mut Vec<String>, source: &Source, line: usize, what: &str) {
    wrong.push(format!("{}:{}: {what}", source.path, line + 1));
}
