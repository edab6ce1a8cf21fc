//! The destination of an import where no service runs: a data file that is filled from nothing.

use super::fault::{Fault, Result};
use super::postponing::postponed;
use super::rdb_file::{FileKey, Visitor, shown};
use super::report::Report;
use super::sender::first_line;
use super::survey::{FieldFate, Tally, Watch};
use crate::kv::errors::CommandError;
use crate::kv::formats::rdb::{Element, RestoreError, StreamPart};
use crate::kv::sources::Sources;
use crate::kv::stream_parts::Restoring;
use crate::storage::filling::{Filled, Filling};
use crate::storage::{Building, Expiry, Kind, ListBuilding};

pub struct Tables<'w> {
    filling: Filling,
    /// Whatever is kept of functions is loaded once first.
    sources: Sources,
    tally: Tally,
    value: Value,
    expires_at_ms: Option<i64>,
    is_wanted: bool,
    postpones: bool,
    watch: Watch<'w>,
}

/// What has come of the key's value.
enum Value {
    Nothing,
    /// It is there already.
    String,
    List(ListBuilding),
    Elements(Building),
    Stream(Box<Restoring>),
}

impl<'w> Tables<'w> {
    pub fn new(filling: Filling, sources: Sources, now_ms: i64, watch: Watch<'w>) -> Self {
        let tally = Tally::new(now_ms);
        Self {
            filling,
            sources,
            tally,
            value: Value::Nothing,
            expires_at_ms: None,
            is_wanted: false,
            postpones: false,
            watch,
        }
    }

    /// For what commands will follow: until they are there, keys end later (postponing.rs).
    #[must_use]
    pub fn postponing(self, now_ms: i64) -> Self {
        Self { tally: Tally::keeping_ended(now_ms), postpones: true, ..self }
    }

    /// Writes what waits. The file is complete on the disk then.
    ///
    /// # Errors
    /// The file is of no use.
    pub fn finish(self, show: &mut dyn FnMut(u64) -> Result<()>) -> Result<(Report, Filled)> {
        let mut ended = Ok(());
        let filled = self.filling.finish(|keys| {
            show(keys).map_err(|fault| {
                ended = Err(fault);
                crate::storage::StorageError::TimeLimit
            })
        });
        ended?;
        Ok((self.tally.report, filled?))
    }

    fn building(&mut self, kind: Kind) -> Result<&mut Building> {
        if matches!(self.value, Value::Nothing) {
            self.value = Value::Elements(self.filling.keyspace().build(kind));
        }
        match &mut self.value {
            Value::Elements(building) => Ok(building),
            _ => Err(Fault::Input("a value of two kinds".to_owned())),
        }
    }

    fn add(&mut self, kind: Kind, name: &[u8], value: &[u8]) -> Result<()> {
        self.building(kind)?;
        let Value::Elements(building) = &mut self.value else { return Ok(()) };
        match self.filling.keyspace().add_to(building, name, value)? {
            true => Ok(()),
            false => Err(twice(name)),
        }
    }
}

fn twice(name: &[u8]) -> Fault {
    Fault::Input(format!("an element that is there twice: {}", shown(name)))
}

impl Visitor for Tables<'_> {
    fn begin(&mut self, key: &FileKey<'_>) -> Result<()> {
        self.is_wanted = self.tally.begin(key);
        if self.is_wanted {
            self.filling.select(key.database as u8);
            self.value = Value::Nothing;
            let at_ms = key.expires_at_ms;
            self.expires_at_ms = if self.postpones { at_ms.map(postponed) } else { at_ms };
        }
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<()> {
        if !self.is_wanted {
            return Ok(());
        }
        match element {
            Element::Value(value) => {
                self.value = Value::String;
                Ok(self.filling.put_string(self.tally.name(), value, self.expires_at_ms)?)
            }
            Element::Item(item) => {
                if matches!(self.value, Value::Nothing) {
                    self.value = Value::List(self.filling.keyspace().build_list());
                }
                match &mut self.value {
                    Value::List(building) => Ok(self.filling.keyspace().add_to_list(building, item)?),
                    _ => Err(Fault::Input("a value of two kinds".to_owned())),
                }
            }
            Element::Member(member) => self.add(Kind::Set, member, &[]),
            Element::Field(field, value) => self.add(Kind::Hash, field, value),
            Element::EndingField(field, value, ends_at_ms) => match self.tally.ending_field(ends_at_ms) {
                FieldFate::Kept => self.add(Kind::Hash, field, value),
                FieldFate::Ended => Ok(()),
            },
            Element::Scored(member, score) => {
                self.building(Kind::SortedSet)?;
                let Value::Elements(building) = &mut self.value else { return Ok(()) };
                match self.filling.keyspace().add_score_to(building, member, score)? {
                    true => Ok(()),
                    false => Err(twice(member)),
                }
            }
            Element::Stream(part) => {
                if matches!(self.value, Value::Nothing) {
                    self.value = Value::Stream(Box::new(Restoring::begin(self.filling.keyspace())?));
                }
                let Value::Stream(restoring) = &mut self.value else { return Err(RestoreError::Format.into()) };
                let is_entry = matches!(part, StreamPart::Entry { .. });
                match restoring.add(self.filling.keyspace(), part)? {
                    // What belongs to groups may be more than has room in memory.
                    true if !is_entry => Ok(self.filling.settle()?),
                    true => Ok(()),
                    false => Err(RestoreError::Format.into()),
                }
            }
        }
    }

    fn end(&mut self, elements: u64, _: Option<&[u8]>) -> Result<()> {
        let Some((kind, elements)) = self.tally.end(elements) else { return Ok(()) };
        self.tally.report.moved(kind, elements);
        let expiry = self.expires_at_ms.map_or(Expiry::Clear, Expiry::At);
        let (name, keyspace) = (self.tally.name(), self.filling.keyspace());
        match std::mem::replace(&mut self.value, Value::Nothing) {
            Value::Nothing | Value::String => return Ok(()),
            Value::List(building) => drop(keyspace.put_built_list(name, building, expiry)?),
            Value::Elements(building) => drop(keyspace.put_built(name, building, expiry)?),
            Value::Stream(restoring) => keyspace.put_built_stream(name, restoring.into_building(), expiry)?,
        }
        Ok(self.filling.settle()?)
    }

    fn library(&mut self, code: &[u8]) -> Result<()> {
        match self.sources.load_library(self.filling.keyspace(), code, false) {
            Ok(_) => self.tally.report.library(),
            Err(CommandError::Storage(error)) => return Err(error.into()),
            Err(CommandError::Reply(text)) => {
                let why = format!("libraries of functions that were refused ({text})");
                self.tally.report.unmoved(&why, first_line(code));
            }
            Err(error) => return Err(Fault::Input(format!("a library of functions: {error:?}"))),
        }
        Ok(())
    }

    fn unmoved(&mut self, what: &str, name: &[u8]) {
        self.tally.report.unmoved(what, name);
    }

    fn at(&mut self, position: u64) -> Result<()> {
        (self.watch)(position)
    }
}
