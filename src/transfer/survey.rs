//! The first reading of a file: nothing is written. What is there is counted; whether it is whole is told by its end.

use super::fault::Result;
use super::rdb_file::{FileKey, Visitor};
use super::report::{Report, causes};
use crate::kv::formats::rdb::{Element, ValueKind};
use crate::storage::keyspace::DATABASES;

/// Asks whether to go on, and shows how far it is.
pub type Watch<'w> = &'w mut dyn FnMut(u64) -> Result<()>;

pub struct Survey<'w> {
    tally: Tally,
    watch: Watch<'w>,
}

/// What comes over of the keys that are met, whatever the destination.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) report: Report,
    kind: Option<ValueKind>,
    name: Vec<u8>,
    now_ms: i64,
    /// Keys come over whose time has passed.
    keeps_ended: bool,
    ending_fields: u64,
    ended_fields: u64,
}

/// What becomes of a field that ends by itself.
pub(super) enum FieldFate {
    Kept,
    Ended,
}

impl Tally {
    pub(super) fn new(now_ms: i64) -> Self {
        Self { now_ms, ..Self::default() }
    }

    /// Of keys whose times are looked at later.
    pub(super) fn keeping_ended(now_ms: i64) -> Self {
        Self { now_ms, keeps_ended: true, ..Self::default() }
    }

    /// False: the key does not come over.
    pub(super) fn begin(&mut self, key: &FileKey<'_>) -> bool {
        (self.ending_fields, self.ended_fields) = (0, 0);
        self.kind = None;
        let why = match key.kind {
            ValueKind::Module => causes::MODULE,
            _ if key.database >= DATABASES as u64 => causes::DATABASE,
            _ if !self.keeps_ended && key.expires_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms) => {
                self.report.left_out(causes::ENDED, key.name);
                return false;
            }
            _ => {
                self.kind = Some(key.kind);
                self.name.clear();
                self.name.extend_from_slice(key.name);
                return true;
            }
        };
        self.report.unmoved(why, key.name);
        false
    }

    pub(super) fn ending_field(&mut self, ends_at_ms: i64) -> FieldFate {
        if ends_at_ms <= self.now_ms {
            self.ended_fields += 1;
            return FieldFate::Ended;
        }
        self.ending_fields += 1;
        FieldFate::Kept
    }

    /// What is to be said with `moved` once it is there; None: it does not come over, or had no elements, or none any more.
    pub(super) fn end(&mut self, elements: u64) -> Option<(ValueKind, u64)> {
        let kind = self.kind.take()?;
        if self.ending_fields > 0 {
            self.report.unmoved(causes::FIELD_TIMES, &self.name);
        }
        if self.ended_fields > 0 {
            self.report.left_out(causes::ENDED_FIELDS, &self.name);
        }
        if elements == self.ended_fields && kind != ValueKind::Stream {
            self.report.left_out(causes::EMPTY, &self.name);
            return None;
        }
        Some((kind, elements - self.ended_fields))
    }

    /// It does not come over: the destination has said why.
    pub(super) fn refused(&mut self, text: &str) {
        self.report.unmoved(&format!("keys that were refused ({text})"), &self.name);
    }

    /// It has come over, but for what is pending of deleted entries.
    pub(super) fn unclaimed(&mut self) {
        self.report.unmoved(causes::UNCLAIMED, &self.name);
    }

    /// The key that `begin` was told last.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }
}

impl<'w> Survey<'w> {
    pub fn new(now_ms: i64, watch: Watch<'w>) -> Self {
        Self { tally: Tally::new(now_ms), watch }
    }

    /// From nothing, for what is to be read once more.
    #[must_use]
    pub fn again(self) -> Self {
        Self { tally: Tally::new(self.tally.now_ms), ..self }
    }

    #[must_use]
    pub fn into_report(self) -> Report {
        self.tally.report
    }
}

impl Visitor for Survey<'_> {
    fn begin(&mut self, key: &FileKey<'_>) -> Result<()> {
        self.tally.begin(key);
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<()> {
        if let Element::EndingField(_, _, ends_at_ms) = element {
            self.tally.ending_field(ends_at_ms);
        }
        Ok(())
    }

    fn end(&mut self, elements: u64, _: Option<&[u8]>) -> Result<()> {
        if let Some((kind, elements)) = self.tally.end(elements) {
            self.tally.report.moved(kind, elements);
        }
        Ok(())
    }

    fn library(&mut self, _: &[u8]) -> Result<()> {
        self.tally.report.library();
        Ok(())
    }

    fn unmoved(&mut self, what: &str, name: &[u8]) {
        self.tally.report.unmoved(what, name);
    }

    fn at(&mut self, position: u64) -> Result<()> {
        (self.watch)(position)
    }
}
