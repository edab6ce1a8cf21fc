//! A stream as it is read: its counters, and its entries from any id on, either way.

use std::ops::ControlFlow;

use super::keyspace::{Keyspace, Lookup, Store};
use super::stream_fields::Fields;
use super::stream_head::StreamHead;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Direction, Kind, Part, StreamId};

/// A stream that is there; it may have no entries.
pub struct Stream<'a, S> {
    pub(super) keyspace: &'a Keyspace<S>,
    pub(super) head: StreamHead,
    pub(super) value_bytes_max: u64,
}

/// Is shown an entry; says whether to go on.
pub(super) type ShowEntry<'a, E> = &'a mut dyn FnMut(StreamId, Fields<'_>) -> std::result::Result<ControlFlow<()>, E>;

/// A row of an entry takes so many bytes beside its fields, for `memory_bytes`.
const ROW_BYTES: u64 = 24;

impl<S: Store> Keyspace<S> {
    pub fn stream(&self, key: &[u8]) -> Result<Lookup<Stream<'_, S>>> {
        let found = self.view().row(self.name(self.selected, key)?, Part::Whole, |row| {
            let row = row.of_key();
            if !self.is_live(&row.head) {
                return Ok(Lookup::Absent);
            }
            if row.head.kind != Kind::Stream {
                return Ok(Lookup::OtherKind(row.head.kind));
            }
            let head = StreamHead::read(&row)?;
            Ok(Lookup::Found(Stream { keyspace: self, head, value_bytes_max: u64::MAX }))
        })?;
        found.unwrap_or(Ok(Lookup::Absent))
    }
}

impl<S: Store> Stream<'_, S> {
    pub fn head(&self) -> &StreamHead {
        &self.head
    }

    /// The same for who has no room for a longer entry, or for so many names: it is the error `TooLarge`, and a long one is not even read.
    #[must_use]
    pub fn with_values_up_to(self, bytes: u64) -> Self {
        Self { value_bytes_max: bytes, ..self }
    }

    /// Shows the entries with ids from `first` to `last`, or from the last to the first, until `show` fails or breaks off.
    pub fn range<E: From<StorageError>>(
        &self,
        range: (StreamId, StreamId),
        direction: Direction,
        show: ShowEntry<'_, E>,
    ) -> std::result::Result<(), E> {
        self.keyspace.walk_entries(&self.head, range, direction, &mut |id, row| {
            self.keyspace.with_fields(row, self.value_bytes_max, |fields| show(id, fields))?
        })
    }

    pub fn has(&self, id: StreamId) -> Result<bool> {
        self.keyspace.has_entry(&self.head, id)
    }

    /// The id of the last entry, which need not be the last id given.
    pub fn last_entry(&self) -> Result<Option<StreamId>> {
        Ok(self.keyspace.next_entry(&self.head, StreamId::MAX, Direction::Backward)?.map(|entry| entry.id))
    }

    /// Shows entries in the order of their ids, each with whether a node of Redis begins with it.
    pub fn each_of_nodes<E: From<StorageError>>(
        &self,
        show: &mut dyn FnMut(StreamId, bool, Fields<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let all = StreamId::ALL;
        self.keyspace.walk_entries(&self.head, all, Direction::Forward, &mut |id, row| {
            let begins = id == self.head.first || super::stream_entries::Mark::of(&row)?.begins();
            self.keyspace.with_fields(row, self.value_bytes_max, |fields| show(id, begins, fields))??;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// About how many bytes its rows take, by the first `samples` entries; 0 looks at all.
    pub fn memory_bytes(&self, samples: u64) -> Result<u64> {
        let (mut looked, mut bytes) = (0, 0);
        let all = StreamId::ALL;
        self.keyspace.walk_entries::<StorageError>(&self.head, all, Direction::Forward, &mut |_, row| {
            let apart = row.apart.map_or(0, |apart| apart.value_bytes);
            (looked, bytes) = (looked + 1, bytes + row.value.len() as u64 + apart + ROW_BYTES);
            Ok(if looked == samples { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let entries = u128::from(bytes) * u128::from(self.head.length) / u128::from(looked.max(1));
        Ok((entries as u64).saturating_add(self.head.write().len() as u64))
    }
}
