//! What each write tells of its keys, as testdata/events.txt has it.

use std::collections::BTreeSet;

use crate::kv::call::{Class, Event};
use crate::kv::commands::table::{self, Command, Handler};
use crate::kv::fixture::Fixture;
use crate::resp::Reply;

const TABLE: &str = include_str!("testdata/events.txt");

/// The words of a call, where `<dump>` stands for the dump of `a`.
fn call(fixture: &mut Fixture, line: &str) -> Reply {
    let dump = match fixture.run("DUMP a") {
        Reply::Bulk(dump) => dump,
        _ => Vec::new(),
    };
    let words: Vec<&[u8]> = line
        .split(' ')
        .map(|word| match word {
            "<dump>" => &dump[..],
            "''" => b"",
            word => word.as_bytes(),
        })
        .collect();
    fixture.events.clear();
    fixture.call(&words)
}

fn shown(event: &Event) -> String {
    let class = match event.class {
        Class::Generic => 'g',
        Class::String => '$',
        Class::Hash => 'h',
        Class::List => 'l',
        Class::Set => 's',
        Class::SortedSet => 'z',
        Class::Stream => 't',
        Class::Expired => 'x',
        Class::New => 'n',
        other => panic!("{other:?}"),
    };
    let database = if event.database == 0 { String::new() } else { format!("@{}", event.database) };
    format!("{class} {} {}{database}", event.name, event.key.escape_ascii())
}

#[test]
fn every_write_tells_what_redis_tells() {
    let mut fixture = Fixture::new();
    let mut lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    while let Some(line) = lines.next() {
        let Some(line) = line.strip_prefix("> ") else {
            fixture = Fixture::new();
            continue;
        };
        let reply = call(&mut fixture, line);
        let told: Vec<String> = fixture.events.iter().map(shown).collect();
        let told = if told.is_empty() { "-".to_owned() } else { told.join(", ") };
        assert_eq!(told, lines.next().unwrap(), "{line} {reply:?}");
    }
}

#[test]
fn every_write_is_in_the_table() {
    let calls = TABLE.lines().filter_map(|line| line.strip_prefix("> "));
    let called: BTreeSet<String> = calls
        .flat_map(|call| {
            let mut words = call.split(' ').map(str::to_lowercase);
            let (name, subcommand) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            [format!("{name}|{subcommand}"), name]
        })
        .collect();
    let is_write = |row: &Command| match row.handler {
        Handler::Write(_) | Handler::Either(_) => true,
        Handler::Wait(wait) => wait.read.is_none(),
        _ => false,
    };
    for row in table::named_rows().iter().filter(|row| is_write(row) && row.name != "testwait") {
        assert!(called.contains(row.name), "{}", row.name);
    }
}
