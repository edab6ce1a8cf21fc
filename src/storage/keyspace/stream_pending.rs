//! What a group's consumers have been given and not acknowledged: a row by the entry's id, which says whose it is, and one by the consumer. Found,
//! walked, given, taken away.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::element_rows::Rows;
use super::keyspace::{Keyspace, Store};
use super::packed::damaged;
use super::stream_groups::{Consumer, OpenedGroup, StreamGroup};
use super::stream_head::number;
use super::stream_reads::Stream;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Direction, ElementRow, Name, Origin, Part, Row, RowKey, StreamId, Stretch, Table};

/// An entry that is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The number of the consumer that has it.
    pub(super) consumer: u64,
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// Is shown what is pending; says whether to go on.
type ShowPending<'a, E> = &'a mut dyn FnMut(StreamId, Pending) -> std::result::Result<ControlFlow<()>, E>;

/// The consumers of a group that a call has looked at: their rows are written once, at its end.
#[derive(Default)]
pub(super) struct Consumers(BTreeMap<u64, Consumer>);

/// The consumers of a group by what they have pending. The last one is kept: it has more in a row, as a rule.
pub struct Owners<'s, S> {
    keyspace: &'s Keyspace<S>,
    group: &'s StreamGroup,
    last: Option<Consumer>,
}

/// Rows that a copy has in memory at once.
const PORTION_PENDING: usize = 256;

impl Pending {
    fn read_row(row: &ElementRow<'_>) -> Result<Self> {
        let parsed = || {
            let mut words = std::str::from_utf8(row.value).ok()?.split(' ');
            let consumer = number(words.next()?)?;
            let delivered_ms = words.next()?.parse().ok()?;
            Some(Self { consumer, delivered_ms, deliveries: number(words.next()?)? })
        };
        parsed().ok_or_else(damaged)
    }

    fn write(&self) -> String {
        format!("{} {} {}", self.consumer, self.delivered_ms, self.deliveries)
    }

    #[must_use]
    pub fn idle_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.delivered_ms)
    }
}

fn pending_rows(group: i64) -> Rows {
    Rows { table: Table::StreamPending, id: group }
}

fn with_pending_key<R>(group: i64, id: StreamId, with: impl FnOnce(RowKey<'_>) -> R) -> R {
    with(RowKey::element(Table::StreamPending, group, id.ms, &id.tail()))
}

fn with_owned_key<R>(group: i64, consumer: u64, id: StreamId, with: impl FnOnce(RowKey<'_>) -> R) -> R {
    with(RowKey::element(Table::StreamOwned, group, consumer, &id.bytes()))
}

impl<S: Store> Keyspace<S> {
    pub(super) fn pending(&self, group: &StreamGroup, id: StreamId) -> Result<Option<Pending>> {
        with_pending_key(group.id, id, |key| {
            self.view().row(key, Part::Whole, |row| Pending::read_row(&row.of_element()))
        })?
        .transpose()
    }

    /// Shows what is pending of a group, from `first` to `last`, or backwards, until `show` fails or breaks off.
    pub(super) fn walk_pending<E: From<StorageError>>(
        &self,
        group: i64,
        (first, last): (StreamId, StreamId),
        direction: Direction,
        show: ShowPending<'_, E>,
    ) -> std::result::Result<(), E> {
        // Rows that went are passed by where it is known that they lie before all others.
        let edge = self.edges.find(group, Direction::Forward).filter(|_| direction == Direction::Forward);
        let first = edge.and_then(|(ms, tail)| StreamId::of_row(*ms, tail)).map_or(first, |edge| first.max(edge));
        self.walk_ids(pending_rows(group), (first, last), direction, &mut |id, row| show(id, Pending::read_row(&row)?))
    }

    /// So many that are pending from an id on.
    pub(super) fn pending_from(
        &self,
        group: &StreamGroup,
        range: (StreamId, StreamId),
        count_max: usize,
    ) -> Result<Vec<(StreamId, Pending)>> {
        let mut found = Vec::new();
        // Where all have been found that there are, rows that went need not be passed.
        let count_max = count_max.min(usize::try_from(group.pending).unwrap_or(usize::MAX));
        if count_max == 0 {
            return Ok(found);
        }
        self.walk_pending::<StorageError>(group.id, range, Direction::Forward, &mut |id, pending| {
            found.push((id, pending));
            Ok(if found.len() < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// So many ids that a consumer has pending, from one on.
    pub(super) fn owned_from(
        &self,
        group: i64,
        consumer: u64,
        first: StreamId,
        count_max: usize,
    ) -> Result<Vec<StreamId>> {
        let (mut found, begin) = (Vec::new(), first.bytes());
        if count_max == 0 {
            return Ok(found);
        }
        let stretch = Stretch {
            table: Table::StreamOwned,
            id: group,
            begin: (consumer, &begin),
            end: consumer,
            direction: Direction::Forward,
        };
        let mut is_damaged = false;
        self.view().walk(stretch, &mut |name, _| {
            let Name::Element(element) = name.name() else { return ControlFlow::Continue(()) };
            match StreamId::of_bytes(element.name) {
                Some(id) => found.push(id),
                None => is_damaged = true,
            }
            if found.len() < count_max && !is_damaged { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if is_damaged { Err(damaged()) } else { Ok(found) }
    }

    /// It is pending from now on, or otherwise than before.
    pub(super) fn put_pending(&mut self, group: i64, id: StreamId, pending: &Pending) -> Result<()> {
        self.edges.widen(group, (id.ms, &id.tail()));
        let value = pending.write();
        let row = Row::Element(ElementRow { value: value.as_bytes(), apart: None });
        with_pending_key(group, id, |key| self.batch.put(key, row, Origin::Blind))
    }

    pub(super) fn put_owned(&mut self, group: i64, consumer: u64, id: StreamId) -> Result<()> {
        let row = Row::Element(ElementRow { value: &[], apart: None });
        with_owned_key(group, consumer, id, |key| self.batch.put(key, row, Origin::Blind))
    }

    pub(super) fn delete_owned(&mut self, group: i64, consumer: u64, id: StreamId) -> Result<()> {
        with_owned_key(group, consumer, id, |key| self.batch.delete(key, Origin::Blind))
    }

    /// It is not pending any more.
    pub(super) fn delete_pending(&mut self, group: &mut StreamGroup, id: StreamId, pending: &Pending) -> Result<()> {
        with_pending_key(group.id, id, |key| self.batch.delete(key, Origin::Blind))?;
        self.delete_owned(group.id, pending.consumer, id)?;
        group.pending = group.pending.saturating_sub(1);
        Ok(())
    }

    /// All that a consumer has pending goes.
    pub(super) fn drop_owned(&mut self, group: &mut StreamGroup, consumer: &Consumer) -> Result<()> {
        let pending = Pending { consumer: consumer.number, delivered_ms: 0, deliveries: 0 };
        let mut next = Some(StreamId::MIN).filter(|_| consumer.pending > 0);
        while let Some(first) = next {
            let portion = self.owned_from(group.id, consumer.number, first, PORTION_PENDING)?;
            next = portion.last().filter(|_| portion.len() == PORTION_PENDING).and_then(|last| last.next());
            for id in portion {
                self.delete_pending(group, id, &pending)?;
            }
        }
        Ok(())
    }

    pub(super) fn copy_pending(&mut self, from: i64, to: i64, is_ahead: bool) -> Result<()> {
        let mut next = Some(StreamId::MIN);
        while let Some(first) = next {
            let mut portion = Vec::new();
            let range = (first, StreamId::MAX);
            self.walk_pending::<StorageError>(from, range, Direction::Forward, &mut |id, pending| {
                portion.push((id, pending));
                let is_full = portion.len() == PORTION_PENDING;
                Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            next = portion.last().filter(|_| portion.len() == PORTION_PENDING).and_then(|(last, _)| last.next());
            for (id, pending) in portion {
                self.put_both(to, id, &pending, is_ahead)?;
            }
        }
        Ok(())
    }

    /// Both rows of an entry that is pending, of a group that is being built.
    pub(super) fn put_both(&mut self, group: i64, id: StreamId, pending: &Pending, is_ahead: bool) -> Result<()> {
        if !is_ahead {
            self.put_pending(group, id, pending)?;
            return self.put_owned(group, pending.consumer, id);
        }
        let value = pending.write();
        let row = |value| ElementRow { value, apart: None };
        with_pending_key(group, id, |key| self.store.write_element_ahead(key, row(value.as_bytes())))?;
        with_owned_key(group, pending.consumer, id, |key| self.store.write_element_ahead(key, row(&[])))
    }

    /// Where the first that is pending lies: walks go on from there.
    pub(super) fn note_first_pending(&mut self, group: i64, first: StreamId) {
        self.edges.set(group, Direction::Forward, (first.ms, first.tail().to_vec()));
    }

    pub(super) fn consumer_of<'c>(
        &self,
        consumers: &'c mut Consumers,
        group: &StreamGroup,
        number: u64,
    ) -> Result<&'c mut Consumer> {
        use std::collections::btree_map::Entry;
        match consumers.0.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(self.consumer(group, number)?.ok_or_else(damaged)?)),
        }
    }

    /// Writes the rows of the consumers, and of the group.
    pub(super) fn close_consumers(&mut self, opened: &OpenedGroup<'_>, consumers: &Consumers) -> Result<()> {
        for consumer in consumers.0.values() {
            self.put_consumer(&opened.group, consumer)?;
        }
        self.close_group(opened)
    }
}

impl Consumers {
    pub(super) fn insert(&mut self, consumer: Consumer) {
        self.0.insert(consumer.number, consumer);
    }
}

impl<S: Store> Stream<'_, S> {
    /// Shows what is pending of a group with ids from `first` to `last`, until `show` fails or breaks off.
    pub fn pending<E: From<StorageError>>(
        &self,
        group: &StreamGroup,
        range: (StreamId, StreamId),
        show: ShowPending<'_, E>,
    ) -> std::result::Result<(), E> {
        if group.pending == 0 {
            return Ok(());
        }
        self.keyspace.walk_pending(group.id, range, Direction::Forward, show)
    }

    /// The same of one consumer.
    pub fn pending_of<E: From<StorageError>>(
        &self,
        group: &StreamGroup,
        consumer: &Consumer,
        (first, last): (StreamId, StreamId),
        show: ShowPending<'_, E>,
    ) -> std::result::Result<(), E> {
        let mut next = Some(first).filter(|_| consumer.pending > 0);
        while let Some(first) = next {
            let portion = self.keyspace.owned_from(group.id, consumer.number, first, PORTION_PENDING)?;
            next = portion.last().filter(|_| portion.len() == PORTION_PENDING).and_then(|last| last.next());
            for id in portion {
                if id > last {
                    return Ok(());
                }
                let pending = self.keyspace.pending(group, id)?.ok_or_else(damaged)?;
                if show(id, pending)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The first and the last id that is pending of a group.
    pub fn pending_bounds(&self, group: &StreamGroup) -> Result<Option<(StreamId, StreamId)>> {
        let bound = |direction| {
            let mut found = None;
            self.keyspace.walk_pending::<StorageError>(group.id, StreamId::ALL, direction, &mut |id, _| {
                found = Some(id);
                Ok(ControlFlow::Break(()))
            })?;
            Ok::<_, StorageError>(found)
        };
        if group.pending == 0 {
            return Ok(None);
        }
        let (first, last) = (bound(Direction::Forward)?, bound(Direction::Backward)?);
        first.zip(last).map(Some).ok_or_else(damaged)
    }

    /// For who asks for the names of those that have what is pending.
    pub fn owners<'s>(&'s self, group: &'s StreamGroup) -> Owners<'s, S> {
        Owners { keyspace: self.keyspace, group, last: None }
    }
}

impl<S: Store> Owners<'_, S> {
    /// The name of the consumer that has it.
    pub fn name(&mut self, pending: &Pending) -> Result<&[u8]> {
        let consumer = match self.last.take().filter(|last| last.number == pending.consumer) {
            Some(last) => last,
            None => self.keyspace.consumer(self.group, pending.consumer)?.ok_or_else(damaged)?,
        };
        Ok(&self.last.insert(consumer).name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_row_is_read_as_it_was_written() {
        let pending = Pending { consumer: 3, delivered_ms: -1, deliveries: u64::MAX };
        let value = pending.write();
        assert_eq!(Pending::read_row(&ElementRow { value: value.as_bytes(), apart: None }).unwrap(), pending);
        assert!(Pending::read_row(&ElementRow { value: b"3 1", apart: None }).is_err());
    }
}
