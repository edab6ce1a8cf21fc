//! `--bigkeys`, `--memkeys` and `--keystats`: every key looked at once, the largest of each type, and how sizes are
//! distributed. Ctrl-C ends the walk and not the report.

use std::collections::BTreeMap;
use std::io::Write;

use hdrhistogram::Histogram;

use super::walk::{Selection, Walk, key_count};
use crate::client::connection::{ClientError, Connection};
use crate::client::failure::{Failure, Outcome};
use crate::client::interrupt::Interrupts;
use crate::client::print::{Align, cell, table};
use crate::client::progress::Progress;
use crate::resp::Reply;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SurveyKind {
    Lengths,
    Memory,
    /// Both, with distributions.
    Statistics,
}

/// What the lengths of each type count, and what tells them.
const TYPES: &[(&str, &str, &str)] = &[
    ("string", "bytes", "STRLEN"),
    ("list", "items", "LLEN"),
    ("set", "members", "SCARD"),
    ("zset", "members", "ZCARD"),
    ("hash", "fields", "HLEN"),
    ("stream", "entries", "XLEN"),
];

pub(crate) fn survey(
    mut connection: Connection,
    selection: Selection,
    kind: SurveyKind,
    top: usize,
    is_json: bool,
) -> Result<Outcome, Failure> {
    let interrupts = Interrupts::heeded_by(&mut connection)?;
    let mut progress = Progress::of_keys(key_count(&mut connection)?);
    let mut walk = Walk::over(selection);
    let mut found = Found { kind, top, keys: 0, by_type: BTreeMap::new(), largest: Vec::new(), is_whole: true };
    loop {
        match found.step(&mut walk, &mut connection) {
            Ok(true) if interrupts.take() => found.is_whole = false,
            Ok(true) => {
                progress.at(found.keys, String::new);
                continue;
            }
            Ok(false) => {}
            Err(Failure::Client(ClientError::Interrupted)) => found.is_whole = false,
            Err(failure) => return Err(failure),
        }
        break;
    }
    drop(progress);
    let report = if is_json { found.json().to_string() + "\n" } else { found.text() };
    std::io::stdout().write_all(report.as_bytes()).map_err(|error| Failure::of_output(&error))?;
    Ok(Outcome::Ok)
}

struct Found {
    kind: SurveyKind,
    /// How many of the largest keys are kept.
    top: usize,
    keys: u64,
    by_type: BTreeMap<String, OfType>,
    /// By memory, largest first.
    largest: Vec<(u64, Vec<u8>, String)>,
    /// False exactly when Ctrl-C ended the walk.
    is_whole: bool,
}

#[derive(Default)]
struct OfType {
    keys: u64,
    lengths: Sizes,
    memory: Sizes,
}

/// Sizes of the keys of one type.
#[derive(Default)]
struct Sizes {
    total: u64,
    /// The largest, with its key.
    largest: Option<(u64, Vec<u8>)>,
    distribution: Option<Histogram<u64>>,
}

impl Sizes {
    fn add(&mut self, size: u64, key: &[u8]) {
        self.total += size;
        if self.largest.as_ref().is_none_or(|(largest, _)| size > *largest) {
            self.largest = Some((size, key.to_vec()));
        }
        let distribution =
            self.distribution.get_or_insert_with(|| Histogram::new(3).expect("three digits are allowed"));
        distribution.record(size).expect("it grows by itself");
    }

    fn at(&self, percentile: f64) -> u64 {
        self.distribution.as_ref().map_or(0, |distribution| distribution.value_at_percentile(percentile))
    }
}

impl Found {
    /// False: there are no more keys.
    fn step(&mut self, walk: &mut Walk, connection: &mut Connection) -> Result<bool, Failure> {
        let Some(keys) = walk.next(connection)? else { return Ok(false) };
        self.look_at(connection, keys).map(|()| true)
    }

    fn look_at(&mut self, connection: &mut Connection, keys: Vec<Vec<u8>>) -> Result<(), Failure> {
        let questions: Vec<[&[u8]; 2]> = keys.iter().map(|key| [&b"TYPE"[..], key]).collect();
        let types: Vec<String> = connection.pipeline(&questions)?.into_iter().map(type_of).collect();
        let lengths = match self.kind {
            SurveyKind::Memory => vec![None; keys.len()],
            _ => lengths_of(connection, &keys, &types)?,
        };
        let memory = match self.kind {
            SurveyKind::Lengths => vec![None; keys.len()],
            _ => memory_of(connection, &keys)?,
        };
        for (((key, kind), length), memory) in keys.into_iter().zip(types).zip(lengths).zip(memory) {
            // A key that has gone meanwhile.
            if kind == "none" {
                continue;
            }
            self.keys += 1;
            let of_type = self.by_type.entry(kind.clone()).or_default();
            of_type.keys += 1;
            if let Some(length) = length {
                of_type.lengths.add(length, &key);
            }
            if let Some(memory) = memory {
                of_type.memory.add(memory, &key);
                self.note_large(memory, key, kind);
            }
        }
        Ok(())
    }

    fn note_large(&mut self, memory: u64, key: Vec<u8>, kind: String) {
        let place = self.largest.partition_point(|(other, ..)| *other >= memory);
        if place < self.top {
            self.largest.insert(place, (memory, key, kind));
            self.largest.truncate(self.top);
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        if !self.is_whole {
            out.push_str("(stopped before the end)\n");
        }
        match self.kind {
            SurveyKind::Lengths => out.push_str(&self.largest_of_each(|of_type| &of_type.lengths, unit_of)),
            SurveyKind::Memory => out.push_str(&self.largest_of_each(|of_type| &of_type.memory, |_| "bytes")),
            SurveyKind::Statistics => {
                out.push_str(&self.distribution("memory", |of_type| &of_type.memory, |_| "bytes"));
                out.push('\n');
                out.push_str(&self.distribution("length", |of_type| &of_type.lengths, unit_of));
                let right = |title| (title, Align::Right);
                let rows: Vec<Vec<String>> = self
                    .largest
                    .iter()
                    .map(|(memory, key, kind)| vec![shown(key), kind.clone(), memory.to_string()])
                    .collect();
                out.push('\n');
                out.push_str(&table(&[("largest key", Align::Left), ("type", Align::Left), right("bytes")], &rows));
            }
        }
        out.push_str(&format!("{} keys\n", self.keys));
        out
    }

    fn largest_of_each(&self, sizes: impl Fn(&OfType) -> &Sizes, unit: impl Fn(&str) -> &'static str) -> String {
        let rows = self.by_type.iter().map(|(kind, of_type)| {
            let sizes = sizes(of_type);
            let (largest, key) = sizes.largest.as_ref().map_or((0, String::new()), |(size, key)| (*size, shown(key)));
            let mean = format!("{:.1}", sizes.total as f64 / of_type.keys as f64);
            vec![kind.clone(), of_type.keys.to_string(), mean, largest.to_string(), unit(kind).to_owned(), key]
        });
        let heading = [
            ("type", Align::Left),
            ("keys", Align::Right),
            ("mean", Align::Right),
            ("largest", Align::Right),
            ("of", Align::Left),
            ("key", Align::Left),
        ];
        table(&heading, &rows.collect::<Vec<_>>())
    }

    fn distribution(
        &self,
        title: &str,
        sizes: impl Fn(&OfType) -> &Sizes,
        unit: impl Fn(&str) -> &'static str,
    ) -> String {
        let rows = self.by_type.iter().map(|(kind, of_type)| {
            let sizes = sizes(of_type);
            let mut row = vec![kind.clone(), of_type.keys.to_string(), sizes.total.to_string()];
            row.extend([50.0, 90.0, 99.0, 100.0].map(|percentile| sizes.at(percentile).to_string()));
            row.push(unit(kind).to_owned());
            row
        });
        let right = |title| (title, Align::Right);
        let heading = [
            (title, Align::Left),
            right("keys"),
            right("total"),
            right("p50"),
            right("p90"),
            right("p99"),
            right("max"),
            ("of", Align::Left),
        ];
        table(&heading, &rows.collect::<Vec<_>>())
    }

    fn json(&self) -> serde_json::Value {
        let sizes = |sizes: &Sizes| {
            sizes.largest.as_ref().map(|(size, key)| {
                serde_json::json!({
                    "total": sizes.total, "p50": sizes.at(50.0), "p90": sizes.at(90.0), "p99": sizes.at(99.0),
                    "max": size, "largest": shown(key),
                })
            })
        };
        let types = self.by_type.iter().map(|(kind, of_type)| {
            let value = serde_json::json!({
                "keys": of_type.keys, "length": sizes(&of_type.lengths), "memory": sizes(&of_type.memory),
            });
            (kind.clone(), value)
        });
        let types: serde_json::Map<String, serde_json::Value> = types.collect();
        serde_json::json!({ "keys": self.keys, "is_whole": self.is_whole, "types": types })
    }
}

fn type_of(reply: Reply) -> String {
    match reply {
        Reply::Simple(text) => text.into_owned(),
        Reply::Bulk(text) => String::from_utf8_lossy(&text).into_owned(),
        _ => "none".to_owned(),
    }
}

/// `None` for a type without a length, and for a key that has gone or changed its type meanwhile.
fn lengths_of(connection: &mut Connection, keys: &[Vec<u8>], types: &[String]) -> Result<Vec<Option<u64>>, Failure> {
    let verbs = types.iter().map(|kind| TYPES.iter().find(|(name, ..)| name == kind).map(|(_, _, verb)| *verb));
    let questions: Vec<Option<[&[u8]; 2]>> =
        verbs.zip(keys).map(|(verb, key)| verb.map(|verb| [verb.as_bytes(), key.as_slice()])).collect();
    let sent: Vec<[&[u8]; 2]> = questions.iter().flatten().copied().collect();
    let mut replies = connection.pipeline(&sent)?.into_iter();
    Ok(questions.iter().map(|question| question.and_then(|_| size_of(&replies.next()?))).collect())
}

fn memory_of(connection: &mut Connection, keys: &[Vec<u8>]) -> Result<Vec<Option<u64>>, Failure> {
    let questions: Vec<[&[u8]; 3]> = keys.iter().map(|key| [&b"MEMORY"[..], b"USAGE", key]).collect();
    let replies = connection.pipeline(&questions)?;
    if let Some(Reply::Error(text)) = replies.first() {
        return Err(Failure::Server(text.to_string()));
    }
    Ok(replies.iter().map(size_of).collect())
}

fn size_of(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Integer(size) => u64::try_from(*size).ok(),
        _ => None,
    }
}

fn unit_of(kind: &str) -> &'static str {
    TYPES.iter().find(|(name, ..)| *name == kind).map_or("", |(_, unit, _)| unit)
}

fn shown(key: &[u8]) -> String {
    cell(&Reply::Bulk(key.to_vec()))
}
