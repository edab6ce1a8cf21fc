//! Groups of a stream and their consumers. A group's row has its counters, and the id of all that belongs to it: so a group goes at once, however
//! much that is, and the sweeper takes the rest. No change of what belongs to a group comes without one of its row.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::element_rows::{Home, Rows, Wanted};
use super::keyspace::{Keyspace, Lookup, Store};
use super::packed::damaged;
use super::stream_head::{StreamHead, number};
use super::stream_reads::Stream;
use super::streams::OpenedStream;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Apart, Batch, ElementRow, Name, Origin, Part, StreamId, Table};

/// What a group's row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamGroup {
    /// Entries up to this one were delivered.
    pub delivered: StreamId,
    /// So many of all ever added have been read, where that is known.
    pub read: Option<u64>,
    /// Entries that were delivered and are not acknowledged.
    pub pending: u64,
    pub consumers: u64,
    /// Consumers that there ever were: their numbers are not given twice.
    pub(super) numbers: u64,
    /// Of its consumers and pending entries.
    pub(super) id: i64,
    pub(super) name_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// When it last asked for something, and got it.
    pub seen_ms: i64,
    pub active_ms: Option<i64>,
    pub pending: u64,
    pub name: Vec<u8>,
    pub(super) number: u64,
}

/// A group of a stream, opened for changes.
pub(super) struct OpenedGroup<'k> {
    pub(super) stream: OpenedStream<'k>,
    home: Home<'k>,
    pub(super) group: StreamGroup,
}

/// Why there is no group to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoGroup {
    NoKey,
    NoGroup,
}

/// Of a new group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Where the stream ends.
    Last,
    At(StreamId),
}

impl StreamGroup {
    fn read_row(row: &ElementRow<'_>) -> Result<Self> {
        let parsed = || {
            let mut words = std::str::from_utf8(row.value).ok()?.split(' ');
            let delivered = StreamId::parse(words.next()?)?;
            let read = match words.next()? {
                "-" => None,
                digits => Some(number(digits)?),
            };
            let mut count = || number(words.next()?);
            let Apart { id, name_bytes, .. } = row.apart?;
            Some(Self { delivered, read, pending: count()?, consumers: count()?, numbers: count()?, id, name_bytes })
        };
        parsed().ok_or_else(damaged)
    }

    fn write(&self) -> String {
        let Self { delivered, read, pending, consumers, numbers, .. } = self;
        let read = read.map_or("-".to_owned(), |read| read.to_string());
        format!("{delivered} {read} {pending} {consumers} {numbers}")
    }
}

impl Consumer {
    fn read(number_of: u64, value: &[u8]) -> Result<Self> {
        let parsed = || {
            let mut parts = value.splitn(4, |byte| *byte == b' ');
            let mut word = || std::str::from_utf8(parts.next()?).ok();
            let seen_ms = word()?.parse().ok()?;
            let active_ms = match word()? {
                "-" => None,
                digits => Some(digits.parse().ok()?),
            };
            let pending = number(word()?)?;
            Some(Self { seen_ms, active_ms, pending, name: parts.next()?.to_vec(), number: number_of })
        };
        parsed().ok_or_else(damaged)
    }

    fn write(&self) -> Vec<u8> {
        let active = self.active_ms.map_or("-".to_owned(), |active| active.to_string());
        let mut out = format!("{} {active} {} ", self.seen_ms, self.pending).into_bytes();
        out.extend_from_slice(&self.name);
        out
    }
}

fn group_rows(stream: i64) -> Rows {
    Rows { table: Table::StreamGroup, id: stream }
}

fn consumer_rows(group: i64) -> Rows {
    Rows { table: Table::StreamConsumer, id: group }
}

fn name_rows(group: i64) -> Rows {
    Rows { table: Table::StreamConsumerName, id: group }
}

fn numbered(number: u64) -> Home<'static> {
    Home { position: number, name: Cow::Borrowed(&[]) }
}

/// Consumers that a copy has in memory at once.
const PORTION_CONSUMERS: usize = 256;

impl<S: Store> Keyspace<S> {
    pub(super) fn group(&self, head: &StreamHead, name: &[u8]) -> Result<Option<StreamGroup>> {
        if head.groups == 0 {
            return Ok(None);
        }
        let key = self.home(name);
        self.view()
            .row(group_rows(head.id).row(&key), Part::Whole, |row| StreamGroup::read_row(&row.of_element()))?
            .transpose()
    }

    /// All groups with their names, by name. `TooLarge`: the names have more bytes than that.
    pub(super) fn groups(&self, head: &StreamHead, bytes_max: u64) -> Result<Vec<(Vec<u8>, StreamGroup)>> {
        let mut found = Vec::new();
        if head.groups == 0 {
            return Ok(found);
        }
        let (mut outcome, mut bytes_left) = (Ok(()), bytes_max);
        self.view().scan(group_rows(head.id).all(), &mut |name, row| {
            let Name::Element(element) = name.name() else { return ControlFlow::Continue(()) };
            let read = StreamGroup::read_row(&row.of_element()).and_then(|group| {
                let bytes = group.name_bytes.max(element.name.len() as u64);
                bytes_left = bytes_left.checked_sub(bytes).ok_or(StorageError::TooLarge)?;
                let apart = Apart { id: group.id, name_bytes: group.name_bytes, value_bytes: 0 };
                Ok((self.apart_name(apart)?.unwrap_or_else(|| element.name.to_vec()), group))
            });
            match read {
                Ok(group) => found.push(group),
                Err(error) => {
                    outcome = Err(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        outcome?;
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    pub(super) fn consumer(&self, group: &StreamGroup, number: u64) -> Result<Option<Consumer>> {
        let key = numbered(number);
        self.element_value(consumer_rows(group.id).row(&key), u64::MAX, |value| Consumer::read(number, value))?
            .transpose()
    }

    pub(super) fn consumer_named(&self, group: &StreamGroup, name: &[u8]) -> Result<Option<Consumer>> {
        let key = self.home(name);
        let found = self.element_value(name_rows(group.id).row(&key), u64::MAX, |value| {
            std::str::from_utf8(value).ok().and_then(number).ok_or_else(damaged)
        })?;
        match found.transpose()? {
            Some(number) => self.consumer(group, number)?.map(Some).ok_or_else(damaged),
            None => Ok(None),
        }
    }

    /// The consumers with numbers from one on, at most so many. `TooLarge`: they have more bytes than that.
    fn consumers_from(&self, group: i64, first: u64, count_max: usize, bytes_max: u64) -> Result<Vec<Consumer>> {
        let (mut found, mut bytes_left) = (Vec::new(), bytes_max);
        let range = consumer_rows(group).range(first, i64::MAX.cast_unsigned());
        let wanted = Wanted::NamesAndValues { bytes_max };
        self.scan_elements::<StorageError>(range, wanted, &mut |number, _, value| {
            let consumer = Consumer::read(number, value)?;
            bytes_left = bytes_left.checked_sub(consumer.name.len() as u64).ok_or(StorageError::TooLarge)?;
            found.push(consumer);
            Ok(if found.len() < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// All consumers of a group, by name. `TooLarge`: the names have more bytes than that.
    pub(super) fn consumers(&self, group: &StreamGroup, bytes_max: u64) -> Result<Vec<Consumer>> {
        let mut found = self.consumers_from(group.id, 0, usize::MAX, bytes_max)?;
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// A group for changes.
    pub(super) fn open_group<'k>(
        &self,
        key: &'k [u8],
        name: &'k [u8],
    ) -> Result<Lookup<std::result::Result<OpenedGroup<'k>, NoGroup>>> {
        let stream = match self.open_stream_there(key)? {
            Lookup::Found(stream) => stream,
            Lookup::Absent => return Ok(Lookup::Found(Err(NoGroup::NoKey))),
            other => return Ok(other.map(|_| Err(NoGroup::NoKey))),
        };
        Ok(Lookup::Found(match self.group(&stream.head, name)? {
            Some(group) => Ok(OpenedGroup { stream, home: self.home(name), group }),
            None => Err(NoGroup::NoGroup),
        }))
    }

    /// Writes the group's row after changes. The key's row is the same as before.
    pub(super) fn close_group(&mut self, opened: &OpenedGroup<'_>) -> Result<()> {
        self.put_group(opened.stream.head.id, &opened.home, &opened.group)
    }

    pub(super) fn put_group(&mut self, stream: i64, home: &Home<'_>, group: &StreamGroup) -> Result<()> {
        let apart = Apart { id: group.id, name_bytes: group.name_bytes, value_bytes: 0 };
        let value = group.write();
        self.put_element_row(group_rows(stream), home, ElementRow { value: value.as_bytes(), apart: Some(apart) }, None)
    }

    pub(super) fn put_consumer(&mut self, group: &StreamGroup, consumer: &Consumer) -> Result<()> {
        let (rows, home) = (consumer_rows(group.id), numbered(consumer.number));
        let old = self.element_row(rows.row(&home))?.flatten();
        self.put_element(rows, &home, (&[], &consumer.write()), old, None)
    }

    /// A consumer that is not there yet. Returns it; its row is not written.
    pub(super) fn add_consumer(&mut self, opened: &mut OpenedGroup<'_>, name: &[u8]) -> Result<Consumer> {
        self.number_consumer(&mut opened.group, name)
    }

    /// The same of a group that may be on its way to a key.
    pub(super) fn number_consumer(&mut self, group: &mut StreamGroup, name: &[u8]) -> Result<Consumer> {
        let number = group.numbers;
        (group.numbers, group.consumers) = (number + 1, group.consumers + 1);
        let home = self.home(name);
        self.put_element(name_rows(group.id), &home, (name, number.to_string().as_bytes()), None, None)?;
        Ok(Consumer { seen_ms: self.now_ms, active_ms: None, pending: 0, name: name.to_vec(), number })
    }

    /// Adds a group. `makes_stream`: where there is no key, an empty stream is one. False: there is such a group already.
    pub fn group_create(
        &mut self,
        key: &[u8],
        name: &[u8],
        (start, read): (Start, Option<u64>),
        makes_stream: bool,
    ) -> Result<Lookup<GroupCreated>> {
        let mut opened = match self.open_stream(key)? {
            Lookup::Found(opened) if opened.is_new && !makes_stream => return Ok(Lookup::Absent),
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| unreachable!("it is not found"))),
        };
        if self.group(&opened.head, name)?.is_some() {
            return Ok(Lookup::Found(GroupCreated { is_new_stream: false, is_done: false }));
        }
        self.begin_stream_change(&mut opened)?;
        let (id, name_bytes) = self.group_id(name)?;
        let delivered = match start {
            Start::Last => opened.head.last,
            Start::At(id) => id,
        };
        let group = StreamGroup { delivered, read, pending: 0, consumers: 0, numbers: 0, id, name_bytes };
        let home = self.home(name);
        self.put_group(opened.head.id, &home, &group)?;
        opened.head.groups += 1;
        self.close_stream(&opened)?;
        Ok(Lookup::Found(GroupCreated { is_new_stream: opened.is_new, is_done: true }))
    }

    /// The id of a new group, and how many bytes of its name lie under it.
    pub(super) fn group_id(&mut self, name: &[u8]) -> Result<(i64, u64)> {
        let id = self.fresh_id()?;
        let name_bytes = if name.len() > self.layout.name_bytes_max { name.len() as u64 } else { 0 };
        if name_bytes > 0 {
            self.write_chunks(id, 0, name)?;
        }
        Ok((id, name_bytes))
    }

    /// Sets up to which entry a group has read.
    pub fn group_set_id(
        &mut self,
        key: &[u8],
        name: &[u8],
        (start, read): (Start, Option<u64>),
    ) -> Result<Lookup<std::result::Result<(), NoGroup>>> {
        let mut opened = match self.open_group(key, name)? {
            Lookup::Found(Ok(opened)) => opened,
            other => return Ok(other.map(|found| found.map(drop))),
        };
        self.begin_quiet_change(&mut opened.stream)?;
        opened.group.delivered = match start {
            Start::Last => opened.stream.head.last,
            Start::At(id) => id,
        };
        opened.group.read = read;
        self.close_group(&opened)?;
        Ok(Lookup::Found(Ok(())))
    }

    /// Removes a group, at once whatever belongs to it. False: there is none.
    pub fn group_destroy(&mut self, key: &[u8], name: &[u8]) -> Result<Lookup<bool>> {
        let mut opened = match self.open_group(key, name)? {
            Lookup::Found(Ok(opened)) => opened,
            Lookup::Found(Err(NoGroup::NoKey)) => return Ok(Lookup::Absent),
            other => return Ok(other.map(|_| false)),
        };
        self.begin_stream_change(&mut opened.stream)?;
        let OpenedGroup { mut stream, home, group } = opened;
        self.give_up_value(Some(group.id))?;
        self.batch.delete(group_rows(stream.head.id).row(&home), Origin::Blind)?;
        stream.head.groups -= 1;
        self.close_stream(&stream)?;
        Ok(Lookup::Found(true))
    }

    /// Adds a consumer to a group. False: there is such a one.
    pub fn consumer_create(
        &mut self,
        key: &[u8],
        group: &[u8],
        name: &[u8],
    ) -> Result<Lookup<std::result::Result<bool, NoGroup>>> {
        let mut opened = match self.open_group(key, group)? {
            Lookup::Found(Ok(opened)) => opened,
            other => return Ok(other.map(|found| found.map(|_| false))),
        };
        if self.consumer_named(&opened.group, name)?.is_some() {
            return Ok(Lookup::Found(Ok(false)));
        }
        self.begin_quiet_change(&mut opened.stream)?;
        let consumer = self.add_consumer(&mut opened, name)?;
        self.put_consumer(&opened.group, &consumer)?;
        self.close_group(&opened)?;
        Ok(Lookup::Found(Ok(true)))
    }

    /// Removes a consumer and what it has not acknowledged. How many entries that were; `None`: there is no such consumer.
    pub fn consumer_delete(
        &mut self,
        key: &[u8],
        group: &[u8],
        name: &[u8],
    ) -> Result<Lookup<std::result::Result<Option<u64>, NoGroup>>> {
        let mut opened = match self.open_group(key, group)? {
            Lookup::Found(Ok(opened)) => opened,
            other => return Ok(other.map(|found| found.map(|_| None))),
        };
        let Some(consumer) = self.consumer_named(&opened.group, name)? else { return Ok(Lookup::Found(Ok(None))) };
        self.begin_quiet_change(&mut opened.stream)?;
        self.drop_owned(&mut opened.group, &consumer)?;
        let (row, home) = (consumer_rows(opened.group.id), numbered(consumer.number));
        let apart = self.element_row(row.row(&home))?.flatten();
        self.delete_element(row.row(&home), apart)?;
        let home = self.home(name);
        let row = name_rows(opened.group.id).row(&home);
        let apart = self.element_row(row)?.flatten();
        self.delete_element(row, apart)?;
        opened.group.consumers -= 1;
        self.close_group(&opened)?;
        Ok(Lookup::Found(Ok(Some(consumer.pending))))
    }

    /// Gives the groups of a stream to another id of it.
    pub(super) fn move_groups(&mut self, from: i64, to: i64) -> Result<()> {
        for (home, group) in self.group_homes(from)? {
            self.put_group(to, &home, &group)?;
            self.batch.delete(group_rows(from).row(&home), Origin::Blind)?;
        }
        Ok(())
    }

    /// Gives the groups of a stream to another stream as well, with all that belongs to them.
    pub(super) fn copy_groups(&mut self, from: i64, to: i64) -> Result<()> {
        for (home, group) in self.group_homes(from)? {
            let is_ahead = self.is_copied_ahead(group.pending.saturating_add(group.consumers));
            let id = match group.name_bytes {
                0 if is_ahead => self.begin_ahead()?,
                0 => self.fresh_id()?,
                bytes => self.copy_chunks(group.id, bytes, is_ahead)?,
            };
            let copy = StreamGroup { id, ..group };
            self.copy_consumers(group.id, &copy, is_ahead)?;
            self.copy_pending(group.id, id, is_ahead)?;
            self.put_group(to, &home, &copy)?;
        }
        Ok(())
    }

    fn copy_consumers(&mut self, from: i64, to: &StreamGroup, is_ahead: bool) -> Result<()> {
        let (mut next, mut ahead) = (Some(0), is_ahead.then(Batch::default));
        while let Some(first) = next {
            let portion = self.consumers_from(from, first, PORTION_CONSUMERS, u64::MAX)?;
            next = portion.last().filter(|_| portion.len() == PORTION_CONSUMERS).map(|last| last.number + 1);
            for consumer in portion {
                let home = self.home(&consumer.name);
                let number = consumer.number.to_string();
                self.put_element(name_rows(to.id), &home, (&consumer.name, number.as_bytes()), None, ahead.as_mut())?;
                self.put_element(
                    consumer_rows(to.id),
                    &numbered(consumer.number),
                    (&[], &consumer.write()),
                    None,
                    ahead.as_mut(),
                )?;
            }
            if let Some(ahead) = &mut ahead {
                self.write_out(ahead)?;
            }
        }
        Ok(())
    }

    fn group_homes(&self, stream: i64) -> Result<Vec<(Home<'static>, StreamGroup)>> {
        let (mut found, mut outcome) = (Vec::new(), Ok(()));
        self.view().scan(group_rows(stream).all(), &mut |name, row| {
            let Name::Element(element) = name.name() else { return ControlFlow::Continue(()) };
            let home = Home { position: element.position, name: Cow::Owned(element.name.to_vec()) };
            match StreamGroup::read_row(&row.of_element()) {
                Ok(group) => found.push((home, group)),
                Err(error) => {
                    outcome = Err(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        outcome.map(|()| found)
    }
}

/// What XGROUP CREATE did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupCreated {
    pub is_new_stream: bool,
    /// False: there is such a group already.
    pub is_done: bool,
}

impl<S: Store> Stream<'_, S> {
    pub fn group(&self, name: &[u8]) -> Result<Option<StreamGroup>> {
        self.keyspace.group(&self.head, name)
    }

    /// All groups with their names, by name.
    pub fn groups(&self) -> Result<Vec<(Vec<u8>, StreamGroup)>> {
        self.keyspace.groups(&self.head, self.value_bytes_max)
    }

    /// All consumers of a group, by name.
    pub fn consumers(&self, group: &StreamGroup) -> Result<Vec<Consumer>> {
        self.keyspace.consumers(group, self.value_bytes_max)
    }

    pub fn consumer(&self, group: &StreamGroup, name: &[u8]) -> Result<Option<Consumer>> {
        self.keyspace.consumer_named(group, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_groups_and_consumers_are_read_as_they_were_written() {
        let group = StreamGroup {
            delivered: StreamId { ms: 5, seq: 6 },
            read: None,
            pending: 2,
            consumers: 1,
            numbers: 3,
            id: 9,
            name_bytes: 300,
        };
        for group in [group, StreamGroup { read: Some(7), ..group }] {
            let apart = Some(Apart { id: 9, name_bytes: 300, value_bytes: 0 });
            let value = group.write();
            assert_eq!(StreamGroup::read_row(&ElementRow { value: value.as_bytes(), apart }).unwrap(), group);
        }
        assert_eq!(group.write(), "5-6 - 2 1 3");
        let consumer = Consumer { seen_ms: 5, active_ms: None, pending: 1, name: b"a name \xff".to_vec(), number: 4 };
        for consumer in [consumer.clone(), Consumer { active_ms: Some(-1), name: Vec::new(), ..consumer }] {
            assert_eq!(Consumer::read(4, &consumer.write()).unwrap(), consumer);
        }
        assert!(Consumer::read(4, b"5 - 1").is_err() && Consumer::read(4, b"5 x 1 a").is_err());
    }
}
