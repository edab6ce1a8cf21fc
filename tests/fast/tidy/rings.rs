//! Import rings between the folders of `src`: who names whom, and the order in which nobody names a folder behind it.
//! Test code may look wherever it likes.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// (folder, a folder that it names) with one place where it does.
pub(crate) type Edges = BTreeMap<(String, String), String>;

/// Folders of which each is one room for itself: in `storage` and `kv` their folders and files are the rooms.
const HOUSES: &[&str] = &["kv", "storage"];

pub(crate) fn edges(sources: &[Source]) -> Edges {
    let is_program = |source: &&Source| source.path.starts_with("src/") && !source.path.ends_with("_tests.rs");
    let sources: Vec<&Source> = sources.iter().filter(is_program).collect();
    let rooms = Rooms::of(&sources);
    let mut edges = Edges::new();
    for source in sources.iter().filter(|source| source.file_name() != "mod.rs" && source.path != "src/lib.rs") {
        let here = rooms.room(&source.module_path());
        for (line, path) in paths(source) {
            let there = rooms.room(&path.iter().map(String::as_str).collect::<Vec<_>>());
            if there != here {
                edges
                    .entry((here.clone(), there))
                    .or_insert_with(|| format!("{}:{}: {}", source.path, line + 1, path.join("::")));
            }
        }
    }
    edges
}

struct Rooms {
    /// `kv/table`, `kv/errors` …
    inside: BTreeSet<String>,
    /// `storage::Entry` -> `sqlite`: what a house passes on from a room.
    passed_on: BTreeMap<(String, String), String>,
}

impl Rooms {
    fn of(sources: &[&Source]) -> Rooms {
        let (mut inside, mut passed_on) = (BTreeSet::new(), BTreeMap::new());
        for source in sources {
            let module = source.module_path();
            match module[..] {
                [house, room, ..] if HOUSES.contains(&house) => drop(inside.insert(format!("{house}/{room}"))),
                [house] if HOUSES.contains(&house) => {
                    for uses in source.code.split("pub use ").skip(1) {
                        let mut found = Vec::new();
                        spread(&[], uses, &mut found);
                        for path in found.into_iter().filter(|path| path.len() > 1) {
                            let name = path.last().expect("more than one").clone();
                            passed_on.insert((house.to_owned(), name), path[0].clone());
                        }
                    }
                }
                _ => {}
            }
        }
        Rooms { inside, passed_on }
    }

    /// The room of a module's path. `main.rs`, `serve.rs` and the other files beside the folders are one: the program.
    fn room(&self, module: &[&str]) -> String {
        match *module {
            [house, name, ..] if HOUSES.contains(&house) => {
                let passed_on = self.passed_on.get(&(house.to_owned(), name.to_owned()));
                let room = format!("{house}/{}", passed_on.map_or(name, |room| room));
                if self.inside.contains(&room) { room } else { house.to_owned() }
            }
            [] | ["serve" | "backup" | "emptyserver", ..] => "program".to_owned(),
            [first, ..] => first.to_owned(),
        }
    }
}

/// Every path before the tests that begins with `crate`, `emptyserver` or `super`, from the crate's root on, with its line.
fn paths(source: &Source) -> Vec<(usize, Vec<String>)> {
    let program: String = source.program_lines().map(|(_, line)| format!("{line}\n")).collect();
    let module = source.module_path();
    let mut found = Vec::new();
    for start in ["crate::", "emptyserver::", "super::"] {
        for (at, _) in program.match_indices(start) {
            let before = program[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
                continue;
            }
            let mut rest = &program[at..];
            let mut base: Vec<String> = Vec::new();
            if start == "super::" {
                let climbs = rest.split("super::").take_while(|piece| piece.is_empty()).count();
                rest = &rest[climbs * start.len()..];
                base.extend(module[..module.len().saturating_sub(climbs)].iter().map(|part| (*part).to_owned()));
            } else {
                rest = &rest[start.len()..];
            }
            let mut spread_out = Vec::new();
            spread(&base, rest, &mut spread_out);
            let line = program[..at].matches('\n').count();
            found.extend(spread_out.into_iter().map(|path| (line, path)));
        }
    }
    found
}

/// `a::{b, c::d}` gives `a::b` and `a::c::d`, each behind `base`. Returns what stands behind it.
fn spread<'a>(base: &[String], text: &'a str, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = base.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            rest = group.trim_start();
            while !rest.starts_with('}') && !rest.is_empty() {
                rest = spread(&path, rest, found).trim_start();
                if let Some(alias) = rest.strip_prefix("as ") {
                    rest =
                        alias.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_').trim_start();
                }
                match rest.strip_prefix(',') {
                    Some(more) => rest = more.trim_start(),
                    None => break,
                }
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let length = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(length);
        if !name.is_empty() && name != "self" {
            path.push(name.to_owned());
        }
        match behind.strip_prefix("::") {
            Some(more) if !name.is_empty() => rest = more.trim_start(),
            _ => {
                found.push(path);
                return behind.strip_prefix('*').unwrap_or(behind);
            }
        }
    }
}

/// The folders, each behind all that it names, as far as that goes; and the rings: folders that name one another in the end.
pub(crate) fn order(edges: &Edges) -> (Vec<String>, Vec<Vec<String>>) {
    let mut left: BTreeSet<&String> = edges.keys().flat_map(|(from, to)| [from, to]).collect();
    let (mut order, mut rings) = (Vec::new(), Vec::new());
    while !left.is_empty() {
        let names_nobody_left = |room: &String| !edges.keys().any(|(from, to)| from == room && left.contains(to));
        if let Some(room) = left.iter().copied().find(|room| names_nobody_left(room)) {
            order.push(room.clone());
            left.remove(room);
            continue;
        }
        // Everybody left names somebody left: the smallest set that is closed under naming is a ring.
        let ring = left.iter().map(|room| closure(room, &left, edges)).min_by_key(BTreeSet::len).expect("not empty");
        left.retain(|room| !ring.contains(*room));
        rings.push(ring.iter().cloned().collect());
        order.extend(ring);
    }
    (order, rings)
}

fn closure(start: &str, among: &BTreeSet<&String>, edges: &Edges) -> BTreeSet<String> {
    let (mut reached, mut fresh) = (BTreeSet::from([start.to_owned()]), vec![start.to_owned()]);
    while let Some(room) = fresh.pop() {
        for (_, to) in edges.keys().filter(|(from, to)| *from == room && among.contains(to)) {
            if reached.insert(to.clone()) {
                fresh.push(to.clone());
            }
        }
    }
    reached
}
