//! The walls that one package does not have by itself (src/ARCHITECTURE.md: who may import whom) and the style that can be checked.
//!
//! Each rule is tried on a small file that breaks it, and then on every file of the package.

mod commands;
mod rings;
mod rules;
mod source;

use std::path::Path;

use rules::RULES;
use source::Source;

/// What breaks a rule today, word for word as it is reported. It only ever gets shorter: an entry that no longer
/// applies fails the test too.
const KNOWN: &[&str] = &[];

/// Commands that have no transcript yet; the same holds.
const KNOWN_WITHOUT_TRANSCRIPT: &[&str] = &[];

/// Imports between folders that close a ring today, as (folder, what it names); the same holds.
const KNOWN_IN_RINGS: &[(&str, &str)] = &[];

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        for rule in RULES {
            rule(source, &mut wrong);
        }
    }
    wrong
}

#[test]
fn every_file_keeps_the_rules() {
    let mut wrong = check(&source::read_all(package()));
    let is_known = |what: &String| KNOWN.contains(&what.as_str());
    let healed: Vec<_> = KNOWN.iter().filter(|known| !wrong.iter().any(|what| what == **known)).collect();
    assert!(healed.is_empty(), "no longer true, take them off the list: {healed:#?}");
    wrong.retain(|what| !is_known(what));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_folders_import_each_other_in_a_ring() {
    let mut edges = rings::edges(&source::read_all(package()));
    for (from, to) in KNOWN_IN_RINGS {
        let known = edges.remove(&((*from).to_owned(), (*to).to_owned()));
        assert!(known.is_some(), "no longer true, take it off the list: {from} names {to}");
    }
    let (order, rings) = rings::order(&edges);
    println!("{} folders and {} imports between them; each may name those before it:", order.len(), edges.len());
    println!("  {}", order.join(" < "));
    let mut wrong = String::new();
    for ring in &rings {
        wrong += &format!("a ring: {}\n", ring.join(", "));
        for ((from, to), place) in edges.iter().filter(|((from, to), _)| ring.contains(from) && ring.contains(to)) {
            wrong += &format!("    {from} names {to}: {place}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_ring_is_found_and_told() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let mut sources = vec![
        source("src/kv/a/x.rs", "//! A.\nuse crate::kv::{b::{self, y}, c};\nuse crate::storage::Entry as E;\n"),
        source("src/kv/b/y.rs", "//! B.\nfn f() { super::super::c::g(); }\n"),
        source("src/kv/c.rs", "//! C.\n#[cfg(test)]\nmod tests {\nuse crate::kv::a::x;\n}\n"),
        source("src/storage/mod.rs", "//! S.\npub use sqlite::rows::{Entry, Kind as K};\n"),
        source("src/storage/sqlite/rows.rs", "//! R.\nuse crate::sys::clock;\n"),
    ];
    let found = rings::order(&rings::edges(&sources));
    let order = ["kv/c", "kv/b", "sys", "storage/sqlite", "kv/a"].map(str::to_owned).to_vec();
    assert_eq!(found, (order, Vec::new()));

    sources.push(source("src/kv/c/z.rs", "//! Z.\npub type X = crate::kv::a::x::X;\n"));
    let (_, rings) = rings::order(&rings::edges(&sources));
    assert_eq!(rings, [["kv/a", "kv/b", "kv/c"].map(str::to_owned).to_vec()]);
}

#[test]
fn every_command_has_a_transcript() {
    let rows = commands::rows(&source::read_all(package()));
    let covered = commands::covered(&package().join("tests/transcripts"));
    let mut wrong = Vec::new();
    commands::check_coverage(&rows, &covered, KNOWN_WITHOUT_TRANSCRIPT, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fixed_answer_is_documented() {
    let rows = commands::rows(&source::read_all(package()));
    let document = std::fs::read_to_string(package().join("docs/compatibility.md")).unwrap();
    let mut wrong = Vec::new();
    commands::check_fixed(&rows, &commands::documented_as_fixed(&document), &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// (path, text, what must be reported, without the path; empty: nothing)
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("src/server/a.rs", "//! A.\nuse crate::kv::table::X;\n", "2: `server` must not know `kv::table::X`"),
    ("src/resp/a.rs", "//! A.\nuse crate::{resp::x, storage};\n", "2: `resp` must not know `storage`"),
    ("src/kv/a.rs", "//! A.\nuse crate::{resp::{x, y}, storage::Z, server, kv};\n", ""),
    ("src/kv/a.rs", "//! A.\nuse crate::config::Settings;\n", "2: `kv` must not know `config::Settings`"),
    ("src/client/a.rs", "//! A.\nuse crate::kv::table::X;\n", ""),
    ("src/client/a.rs", "//! A.\nuse crate::kv::commands::table::named_rows;\n", ""),
    ("src/client/a.rs", "//! A.\nuse crate::kv::commands::keys;\n", "2: `client` must not know `kv::commands::keys`"),
    ("src/client/a.rs", "//! A.\nuse crate::kv::{table, front};\n", "2: `client` must not know `kv::front`"),
    ("src/storage/a.rs", "//! A.\nuse super::super::kv;\n", "2: `super` leads out of the layer"),
    ("src/sys/a.rs", "//! A.\nuse crate::server::waker;\n", "2: `sys` must not know `server::waker`"),
    ("src/kv/a.rs", "//! A.\n// unsafe libc::x\nconst X: &str = \"unsafe rusqlite::\";\n", ""),
    ("src/main.rs", "//! A.\nuse clap::Parser;\n", ""),
    (
        "src/main.rs",
        "//! A.\nfn f() { unsafe { x() } }\n",
        "2: `unsafe` belongs to src/sys/ and src/storage/sqlite/vfs/",
    ),
    (
        "src/kv/a.rs",
        "//! A.\nfn f() { unsafe { x() } }\n",
        "2: `unsafe` belongs to src/sys/ and src/storage/sqlite/vfs/",
    ),
    ("src/storage/sqlite/vfs/a.rs", "//! A.\nfn f() { unsafe { x() } }\n", ""),
    ("src/server/a.rs", "//! A.\nuse libc::c_int;\n", "2: `libc::` belongs to src/sys/"),
    ("src/kv/a.rs", "//! A.\nuse rusqlite::Connection;\n", "2: `rusqlite::` belongs to src/storage/sqlite/"),
    ("src/storage/keyspace/a.rs", "//! A.\nuse rusqlite::Row;\n", "2: `rusqlite::` belongs to src/storage/sqlite/"),
    (
        "src/storage/keyspace/a.rs",
        "//! A.\nuse crate::storage::{rows::Row, sqlite};\n",
        "2: src/storage/keyspace/ must not know `storage::sqlite`",
    ),
    (
        "src/storage/rows/a.rs",
        "//! A.\nuse crate::storage::keyspace::Keyspace;\n",
        "2: src/storage/rows/ must not know `storage::keyspace::Keyspace`",
    ),
    ("src/storage/rows/a.rs", "//! A.\nuse super::super::sqlite;\n", "2: `super` leads out of src/storage/rows/"),
    ("src/storage/keyspace/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\nuse crate::storage::fixture::X;\n}\n", ""),
    ("src/kv/a.rs", "//! A.\nuse tokio::net;\n", "2: `tokio::` belongs to src/admin/"),
    ("src/server/a.rs", "//! A.\nlet fd = pipe2(x);\n", "2: threads and processes talk through socketpairs"),
    ("src/server/a.rs", "//! A.\n// As Redis does.\n", "2: the core knows no protocol and no database"),
    ("src/kv/a.rs", "//! A.\nlet x = Instant::now();\n", "2: time comes from sys::clock"),
    ("src/kv/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\nlet x = Instant::now();\n}\n", ""),
    ("src/sys/clock.rs", "//! A.\nlet x = Instant::now();\n", ""),
    ("src/client/clock.rs", "//! A.\nlet x = Instant::now();\n", ""),
    ("src/client/bench/a.rs", "//! A.\nlet x = t.elapsed();\n", "2: time comes from sys::clock"),
    ("src/kv/a.rs", "//! A.\nstd::env::var_os(x);\n", "2: only config reads the environment"),
    ("src/config/a.rs", "//! A.\nstd::env::vars_os();\n", ""),
    ("src/kv/a.rs", "fn f() {}\n", "1: the file does not begin with `//!` and what it is"),
    ("src/kv/mod.rs", "//! A.\n\npub mod a;\nmod b;\n#[cfg(test)]\nmod c;\npub use a::{\n    X,\n};\n", ""),
    ("src/kv/mod.rs", "//! A.\npub fn f() {}\n", "1: a mod.rs has `mod` and `pub use` only, not `pub fn f() {}`"),
    ("src/kv/mod.rs", "//! A.\nuse a::X;\n", "1: a mod.rs has `mod` and `pub use` only, not `use a::X`"),
    ("src/kv/a.rs", concat!("//! A.\n// TO", "DO: later\n"), concat!("2: TO", "DO: do it or leave it")),
    ("src/kv/a.rs", "//! A.\nlet _ = f();\n", "2: `let _ =` without a reason"),
    ("src/kv/a.rs", "//! A.\n// Nobody is left to tell.\nlet _ = f();\n", ""),
    ("src/kv/helpers.rs", "//! A.\n", "1: the file's name says nothing"),
    ("src/kv/a.rs", "//! A.\nfn get_x() {}\n", "2: no `get_` prefix"),
];

#[test]
fn every_rule_finds_what_breaks_it() {
    for (path, text, expected) in EXAMPLES {
        let wrong = check(&[Source::new(path, text)]).join("\n");
        let expected = if expected.is_empty() { String::new() } else { format!("{path}:{expected}") };
        assert_eq!(wrong, expected, "{text}");
    }
}

#[test]
fn long_files_and_functions_are_found() {
    let long = |lines: usize| format!("//! A.\nfn f() {{\n{}}}\n", "    x();\n".repeat(lines));
    assert!(check(&[Source::new("src/kv/a.rs", &long(68))]).is_empty());
    assert_eq!(check(&[Source::new("src/kv/a.rs", &long(69))]), ["src/kv/a.rs:2: the function has 71 lines"]);
    let file = "//! A.\n".to_owned() + &"// x\n".repeat(800);
    assert_eq!(check(&[Source::new("src/kv/a.rs", &file)]), ["src/kv/a.rs:801: the file has 801 lines"]);
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" 'i' '\\'' r#\"j \" k\"# b\"l\" 'lifetime br\"m\" 'é' \u{e9}n";
    assert_eq!(source::blank(text).split_whitespace().collect::<Vec<_>>(), ["a", "e", "b", "'lifetime", "\u{e9}n"]);
}

#[test]
fn command_rows_are_read_from_the_text() {
    let text = "pub const COMMANDS: &[Command] = &[\n    Command {\n        name: \"get\",\n        arity: 2,\n    },\n    Command {\n        \
                name: \"module\",\n        handler: Handler::Container,\n        subcommands: &[Command {\n            \
                name: \"module|list\",\n            flags: Flags::FIXED,\n        }],\n    },\n];\nlet name: \"x\"";
    let rows = commands::rows_of(text);
    let told: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.is_fixed, row.is_container)).collect();
    assert_eq!(told, [("get", false, false), ("module", false, true), ("module|list", true, false)]);

    let transcript = "# covers: get object|encoding set\n> GET a\n> OBJECT ENCODING a\n< setx\n";
    assert_eq!(commands::covered_by(transcript), ["get", "object|encoding"]);

    let mut wrong = Vec::new();
    let covered = ["module|list", "gone"].map(str::to_owned).into();
    commands::check_coverage(&rows, &covered, &["module|list"], &mut wrong);
    assert_eq!(
        wrong,
        [
            "the command `get` has no transcript: `# covers: get`",
            "the command `module|list` is covered: take it off the list",
            "there is no command `gone` to cover",
        ]
    );
    let documented = commands::documented_as_fixed(
        "# C\n\n## Fixed answers\n\n| command | answer |\n|---|---|\n| `GET` | x |\n\n## Other\n| `a` |\n",
    );
    wrong.clear();
    commands::check_fixed(&rows, &documented, &mut wrong);
    assert_eq!(
        wrong,
        [
            "docs/compatibility.md does not say that the answer of `module|list` is fixed",
            "docs/compatibility.md calls the answer of `get` fixed, and the row does not (Flags::FIXED)",
        ]
    );
}
