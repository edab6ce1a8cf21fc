//! What consumers of a group do: they are given entries, acknowledge them, and claim those of others.

use std::ops::ControlFlow;

use super::keyspace::{Keyspace, Lookup, Store};
use super::stream_entries::with_entry_key;
use super::stream_fields::Fields;
use super::stream_groups::{Consumer, NoGroup, OpenedGroup};
use super::stream_pending::{Consumers, Pending};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Direction, Part, StreamId};

/// Which entries a consumer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Those that the group has not been given yet.
    New,
    /// Those behind this one that it has already, and has not acknowledged.
    Behind(StreamId),
}

/// How a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRead {
    pub asked: Asked,
    /// At most so many.
    pub count: u64,
    /// New ones are pending until they are acknowledged.
    pub is_acknowledged: bool,
    /// Where there is nothing for it, nothing is changed.
    pub changes_only_served: bool,
}

/// What a reading call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupGot {
    /// There was something for it, if only what has been deleted since.
    pub is_served: bool,
    pub is_new_consumer: bool,
}

/// How pending entries change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Only what was delivered so long ago.
    pub idle_ms_min: i64,
    /// When it counts as delivered.
    pub delivered_ms: i64,
    /// How often; `None`: once more, or as often as before.
    pub deliveries: Option<u64>,
    pub counts_as_delivery: bool,
    /// Entries that are not pending are to be.
    pub is_forced: bool,
}

/// What a claiming call did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    pub is_new_consumer: bool,
    /// Where to go on; 0-0: all was seen.
    pub next: StreamId,
    /// What was pending and is not there any more, nor pending.
    pub deleted: Vec<StreamId>,
}

/// Is shown an entry; None: it is there no more.
type ShowEntry<'a, E> = &'a mut dyn FnMut(StreamId, Option<Fields<'_>>) -> std::result::Result<(), E>;

/// Entries that are given at once.
const PORTION_ENTRIES: u64 = 256;
/// XAUTOCLAIM looks at so many times more than it may claim.
const LOOKS_PER_CLAIM: u64 = 10;

impl<S: Store> Keyspace<S> {
    /// Gives entries to a consumer, which is there from now on, and shows them.
    pub fn group_read<E: From<StorageError>>(
        &mut self,
        key: &[u8],
        (group, consumer): (&[u8], &[u8]),
        read: &GroupRead,
        show: ShowEntry<'_, E>,
    ) -> std::result::Result<Lookup<std::result::Result<GroupGot, NoGroup>>, E> {
        let mut opened = match self.open_group(key, group)? {
            Lookup::Found(Ok(opened)) => opened,
            other => return Ok(other.map(|found| found.map(|_| unreachable!("there is no group")))),
        };
        let is_served = match read.asked {
            Asked::Behind(_) => true,
            Asked::New => self.has_new(&opened)?,
        };
        if !is_served && read.changes_only_served {
            return Ok(Lookup::Found(Ok(GroupGot { is_served, is_new_consumer: false })));
        }
        self.begin_quiet_change(&mut opened.stream)?;
        let (mut consumer, is_new_consumer) = self.consumer_for(&mut opened, consumer)?;
        consumer.seen_ms = self.now_ms;
        let mut consumers = Consumers::default();
        let number = consumer.number();
        consumers.insert(consumer);
        match read.asked {
            Asked::Behind(after) => self.give_again(&opened, (number, after), read.count, show)?,
            Asked::New if is_served => self.give_new(&mut opened, &mut consumers, number, read, show)?,
            Asked::New => {}
        }
        self.close_consumers(&opened, &consumers)?;
        Ok(Lookup::Found(Ok(GroupGot { is_served, is_new_consumer })))
    }

    /// Whether there is an entry that the group has not been given.
    fn has_new(&self, opened: &OpenedGroup<'_>) -> Result<bool> {
        let Some(next) = opened.group.delivered.next() else { return Ok(false) };
        Ok(self.next_entry(&opened.stream.head, next, Direction::Forward)?.is_some())
    }

    /// The consumer of this name, and whether it is new.
    fn consumer_for(&mut self, opened: &mut OpenedGroup<'_>, name: &[u8]) -> Result<(Consumer, bool)> {
        match self.consumer_named(&opened.group, name)? {
            Some(consumer) => Ok((consumer, false)),
            None => Ok((self.add_consumer(opened, name)?, true)),
        }
    }

    fn give_new<E: From<StorageError>>(
        &mut self,
        opened: &mut OpenedGroup<'_>,
        consumers: &mut Consumers,
        number: u64,
        read: &GroupRead,
        show: ShowEntry<'_, E>,
    ) -> std::result::Result<(), E> {
        let mut left = read.count;
        while left > 0 {
            let Some(first) = opened.group.delivered.next() else { return Ok(()) };
            let (mut ids, wanted) = (Vec::new(), left.min(PORTION_ENTRIES) as usize);
            let range = (first, StreamId::MAX);
            self.walk_entries::<E>(&opened.stream.head, range, Direction::Forward, &mut |id, row| {
                self.with_fields(row, u64::MAX, |fields| show(id, Some(fields)))??;
                ids.push(id);
                Ok(if ids.len() < wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(()) };
            // Only an XGROUP SETID can have brought entries back that were given before.
            let known = match read.is_acknowledged {
                true => self.pending_from(&opened.group, (*first, *last), usize::MAX)?,
                false => Vec::new(),
            };
            for (id, pending) in known {
                self.delete_pending(&mut opened.group, id, &pending)?;
                self.consumer_of(consumers, &opened.group, pending.consumer)?.loses(1);
            }
            for id in &ids {
                opened.count_read(*id);
            }
            if read.is_acknowledged {
                let pending = Pending { consumer: number, delivered_ms: self.now_ms, deliveries: 1 };
                for id in &ids {
                    self.put_both(opened.group.id, *id, &pending, false)?;
                }
                opened.group.pending += ids.len() as u64;
                let now_ms = self.now_ms;
                let consumer = self.consumer_of(consumers, &opened.group, number)?;
                consumer.pending += ids.len() as u64;
                consumer.active_ms = Some(now_ms);
            }
            left -= ids.len() as u64;
            if ids.len() < wanted {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Shows a consumer what it has already, which counts as a delivery.
    fn give_again<E: From<StorageError>>(
        &mut self,
        opened: &OpenedGroup<'_>,
        (number, after): (u64, StreamId),
        count: u64,
        show: ShowEntry<'_, E>,
    ) -> std::result::Result<(), E> {
        let (mut next, mut left) = (after.next(), count);
        while let Some(first) = next.filter(|_| left > 0) {
            let wanted = left.min(PORTION_ENTRIES) as usize;
            let ids = self.owned_from(opened.group.id, number, first, wanted)?;
            next = ids.last().filter(|_| ids.len() == wanted).and_then(|last| last.next());
            left -= ids.len() as u64;
            for id in ids {
                if !self.show_entry(opened, id, show)? {
                    show(id, None)?;
                } else if let Some(pending) = self.pending(&opened.group, id)? {
                    let deliveries = pending.deliveries.saturating_add(1);
                    let again = Pending { delivered_ms: self.now_ms, deliveries, ..pending };
                    self.put_pending(opened.group.id, id, &again)?;
                }
            }
        }
        Ok(())
    }

    /// Shows an entry; false: it is not there.
    fn show_entry<E: From<StorageError>>(
        &self,
        opened: &OpenedGroup<'_>,
        id: StreamId,
        show: ShowEntry<'_, E>,
    ) -> std::result::Result<bool, E> {
        let head = &opened.stream.head;
        if head.length == 0 || id < head.first || id > head.last {
            return Ok(false);
        }
        let shown = with_entry_key(head.id, id, |key| {
            self.view().row(key, Part::Whole, |row| {
                self.with_fields(row.of_element(), u64::MAX, |fields| show(id, Some(fields)))
            })
        })?;
        match shown {
            None => Ok(false),
            Some(shown) => {
                shown??;
                Ok(true)
            }
        }
    }

    /// Entries are done with. Returns how many of them were pending.
    pub fn group_acknowledge(
        &mut self,
        key: &[u8],
        group: &[u8],
        ids: &[StreamId],
    ) -> Result<Lookup<std::result::Result<u64, NoGroup>>> {
        let mut opened = match self.open_group(key, group)? {
            Lookup::Found(Ok(opened)) => opened,
            other => return Ok(other.map(|found| found.map(|_| 0))),
        };
        let (mut count, mut consumers) = (0, Consumers::default());
        for id in ids {
            let Some(pending) = self.pending(&opened.group, *id)? else { continue };
            if count == 0 {
                self.begin_quiet_change(&mut opened.stream)?;
            }
            self.delete_pending(&mut opened.group, *id, &pending)?;
            self.consumer_of(&mut consumers, &opened.group, pending.consumer)?.loses(1);
            count += 1;
        }
        if count > 0 {
            self.close_consumers(&opened, &consumers)?;
        }
        Ok(Lookup::Found(Ok(count)))
    }

    /// Gives these entries to a consumer, which is there from now on, and shows those that it got. `last`: the group has read up to there at
    /// least.
    pub fn group_claim<E: From<StorageError>>(
        &mut self,
        key: &[u8],
        (group, consumer): (&[u8], &[u8]),
        (ids, claim, last): (&[StreamId], &Claim, StreamId),
        show: ShowEntry<'_, E>,
    ) -> std::result::Result<Lookup<std::result::Result<Claimed, NoGroup>>, E> {
        let mut opened = match self.open_group(key, group)? {
            Lookup::Found(Ok(opened)) => opened,
            other => return Ok(other.map(|found| found.map(|_| Claimed::default()))),
        };
        self.begin_quiet_change(&mut opened.stream)?;
        opened.group.delivered = opened.group.delivered.max(last);
        let (mut consumer, is_new_consumer) = self.consumer_for(&mut opened, consumer)?;
        consumer.seen_ms = self.now_ms;
        let (mut consumers, number) = (Consumers::default(), consumer.number());
        consumers.insert(consumer);
        let mut claimed = Claimed { is_new_consumer, ..Claimed::default() };
        for id in ids {
            let pending = self.pending(&opened.group, *id)?;
            self.claim_one(&mut opened, &mut consumers, (*id, pending, number), claim, &mut claimed, show)?;
        }
        self.close_consumers(&opened, &consumers)?;
        Ok(Lookup::Found(Ok(claimed)))
    }

    /// The same for what is pending from an id on, at most so many.
    pub fn group_claim_from<E: From<StorageError>>(
        &mut self,
        key: &[u8],
        (group, consumer): (&[u8], &[u8]),
        (first, count): (StreamId, u64),
        claim: &Claim,
        show: ShowEntry<'_, E>,
    ) -> std::result::Result<Lookup<std::result::Result<Claimed, NoGroup>>, E> {
        let mut opened = match self.open_group(key, group)? {
            Lookup::Found(Ok(opened)) => opened,
            other => return Ok(other.map(|found| found.map(|_| Claimed::default()))),
        };
        self.begin_quiet_change(&mut opened.stream)?;
        let (mut consumer, is_new_consumer) = self.consumer_for(&mut opened, consumer)?;
        consumer.seen_ms = self.now_ms;
        let (mut consumers, number) = (Consumers::default(), consumer.number());
        consumers.insert(consumer);
        let mut claimed = Claimed { is_new_consumer, ..Claimed::default() };
        let (mut next, mut left) = (Some(first), count);
        let mut looks = count.saturating_mul(LOOKS_PER_CLAIM);
        let mut is_first = first == StreamId::MIN;
        // One row more than may be looked at: that is where to go on.
        while let Some(from) = next {
            let wanted = (looks.min(PORTION_ENTRIES - 1) + 1) as usize;
            let portion = self.pending_from(&opened.group, (from, StreamId::MAX), wanted)?;
            if let (true, Some((id, _))) = (std::mem::take(&mut is_first), portion.first()) {
                self.note_first_pending(opened.group.id, *id);
            }
            next = None;
            let is_last = portion.len() < wanted;
            for (index, (id, pending)) in portion.iter().enumerate() {
                if looks == 0 || left == 0 {
                    claimed.next = *id;
                    break;
                }
                if index + 1 == wanted && !is_last {
                    next = Some(*id);
                    break;
                }
                looks -= 1;
                let one = (*id, Some(*pending), number);
                let takes = self.claim_one(&mut opened, &mut consumers, one, claim, &mut claimed, show)?;
                left -= u64::from(takes);
            }
        }
        self.close_consumers(&opened, &consumers)?;
        Ok(Lookup::Found(Ok(claimed)))
    }

    /// True if it was claimed, or is gone.
    fn claim_one<E: From<StorageError>>(
        &mut self,
        opened: &mut OpenedGroup<'_>,
        consumers: &mut Consumers,
        (id, pending, number): (StreamId, Option<Pending>, u64),
        claim: &Claim,
        claimed: &mut Claimed,
        show: ShowEntry<'_, E>,
    ) -> std::result::Result<bool, E> {
        if !self.has_entry(&opened.stream.head, id)? {
            let Some(pending) = pending else { return Ok(false) };
            self.delete_pending(&mut opened.group, id, &pending)?;
            self.consumer_of(consumers, &opened.group, pending.consumer)?.loses(1);
            claimed.deleted.push(id);
            return Ok(true);
        }
        let before = match pending {
            Some(pending) if claim.idle_ms_min > 0 && pending.idle_ms(self.now_ms) < claim.idle_ms_min => {
                return Ok(false);
            }
            None if !claim.is_forced => return Ok(false),
            other => other,
        };
        // As Redis has it, one that was not pending counts as delivered once before.
        let old_count = before.map_or(1, |before| before.deliveries);
        let deliveries = claim.deliveries.unwrap_or(old_count.saturating_add(u64::from(claim.counts_as_delivery)));
        let new = Pending { consumer: number, delivered_ms: claim.delivered_ms, deliveries };
        self.put_pending(opened.group.id, id, &new)?;
        if before.is_none_or(|before| before.consumer != number) {
            match before {
                Some(before) => {
                    self.delete_owned(opened.group.id, before.consumer, id)?;
                    self.consumer_of(consumers, &opened.group, before.consumer)?.loses(1);
                }
                None => opened.group.pending += 1,
            }
            self.put_owned(opened.group.id, number, id)?;
            self.consumer_of(consumers, &opened.group, number)?.pending += 1;
        }
        self.show_entry(opened, id, show)?;
        let now_ms = self.now_ms;
        self.consumer_of(consumers, &opened.group, number)?.active_ms = Some(now_ms);
        Ok(true)
    }
}

impl OpenedGroup<'_> {
    /// The group is given this entry.
    fn count_read(&mut self, id: StreamId) {
        let (head, group) = (&self.stream.head, &mut self.group);
        match group.read {
            Some(read) if !head.has_deleted_from(id) => group.read = Some(read.saturating_add(1)),
            _ if head.added > 0 => group.read = head.ordinal(id),
            _ => {}
        }
        group.delivered = id;
    }
}

impl Consumer {
    fn loses(&mut self, count: u64) {
        self.pending = self.pending.saturating_sub(count);
    }

    fn number(&self) -> u64 {
        self.number
    }
}
