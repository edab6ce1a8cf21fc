//! A stream that is built as a whole, for RESTORE: entries, counters, groups. However many entries come, memory is bounded.

use super::changes::Expiry;
use super::keyspace::{Keyspace, Store};
use super::stream_groups::{Consumer, StreamGroup};
use super::stream_head::StreamHead;
use super::stream_pending::Pending;
use crate::storage::error::Result;
use crate::storage::rows::{Batch, StreamId};

/// A new stream on its way to a key. An undone call takes with it what was built.
#[derive(Debug)]
pub struct StreamBuilding {
    head: StreamHead,
    /// Rows that go ahead of the group's batch, a lot at a time.
    ahead: Option<Box<Batch>>,
    bytes: usize,
    group: Option<GroupBuilding>,
}

#[derive(Debug)]
struct GroupBuilding {
    name: Vec<u8>,
    group: StreamGroup,
    consumer: Option<Consumer>,
}

impl StreamBuilding {
    /// As it is so far.
    #[must_use]
    pub fn head(&self) -> &StreamHead {
        &self.head
    }
}

impl<S: Store> Keyspace<S> {
    pub fn build_stream(&mut self) -> Result<StreamBuilding> {
        let head = StreamHead { id: self.fresh_id()?, ..StreamHead::EMPTY };
        Ok(StreamBuilding { head, ahead: None, bytes: 0, group: None })
    }

    /// Adds an entry behind all others. `begins`: a node of Redis begins with it. False: its id is not greater than theirs.
    pub fn add_to_stream(
        &mut self,
        building: &mut StreamBuilding,
        id: StreamId,
        fields: &[&[u8]],
        begins: bool,
    ) -> Result<bool> {
        let StreamBuilding { head, ahead, bytes, .. } = building;
        if id <= head.last {
            return Ok(false);
        }
        self.check_item_lengths(fields)?;
        *bytes += fields.iter().map(|part| part.len()).sum::<usize>() + super::contents::ROW_BYTES;
        match ahead {
            Some(ahead) if ahead.bytes() >= self.layout.ahead_bytes_min => self.write_out(ahead)?,
            None if self.goes_ahead(*bytes) => {
                *ahead = Some(Box::default());
                self.write_ahead_under(head.id);
            }
            _ => {}
        }
        self.append_entry(head, id, fields, (Some(begins), ahead.as_deref_mut()))?;
        Ok(true)
    }

    /// Behind all entries.
    pub fn set_built_counters(&self, building: &mut StreamBuilding, last: StreamId, max_deleted: StreamId, added: u64) {
        let head = &mut building.head;
        (head.last, head.max_deleted, head.added) = (head.last.max(last), max_deleted, added.max(head.length));
    }

    /// Begins a group. False: there is one of this name.
    pub fn begin_built_group(
        &mut self,
        building: &mut StreamBuilding,
        name: &[u8],
        delivered: StreamId,
        read: Option<u64>,
    ) -> Result<bool> {
        let is_known = self.group(&building.head, name)?.is_some();
        let (id, name_bytes) = self.group_id(name)?;
        let group = StreamGroup { delivered, read, pending: 0, consumers: 0, numbers: 0, id, name_bytes };
        building.group = Some(GroupBuilding { name: name.to_vec(), group, consumer: None });
        Ok(!is_known)
    }

    /// Begins a consumer of the group. False: there is one of this name.
    pub fn begin_built_consumer(
        &mut self,
        building: &mut StreamBuilding,
        name: &[u8],
        (seen_ms, active_ms): (i64, Option<i64>),
    ) -> Result<bool> {
        let Some(building) = &mut building.group else { return Ok(false) };
        self.end_built_consumer(building)?;
        let is_known = self.consumer_named(&building.group, name)?.is_some();
        let consumer = Consumer { seen_ms, active_ms, ..self.number_consumer(&mut building.group, name)? };
        // It is found by its name from here on.
        self.put_consumer(&building.group, &consumer)?;
        building.consumer = Some(consumer);
        Ok(!is_known)
    }

    /// The consumer has not acknowledged this entry. False: another has it.
    pub fn add_built_pending(
        &mut self,
        building: &mut StreamBuilding,
        id: StreamId,
        (delivered_ms, deliveries): (i64, u64),
    ) -> Result<bool> {
        let Some(GroupBuilding { group, consumer: Some(consumer), .. }) = &mut building.group else { return Ok(false) };
        if self.pending(group, id)?.is_some() {
            return Ok(false);
        }
        let pending = Pending { consumer: consumer.number, delivered_ms, deliveries };
        self.put_both(group.id, id, &pending, false)?;
        (group.pending, consumer.pending) = (group.pending + 1, consumer.pending + 1);
        Ok(true)
    }

    pub fn end_built_group(&mut self, building: &mut StreamBuilding) -> Result<()> {
        let Some(mut group) = building.group.take() else { return Ok(()) };
        self.end_built_consumer(&mut group)?;
        let home = self.home(&group.name);
        self.put_group(building.head.id, &home, &group.group)?;
        building.head.groups += 1;
        Ok(())
    }

    fn end_built_consumer(&mut self, group: &mut GroupBuilding) -> Result<()> {
        let Some(consumer) = group.consumer.take() else { return Ok(()) };
        self.put_consumer(&group.group, &consumer)
    }

    /// Gives the key what was built, whatever it held.
    pub fn put_built_stream(&mut self, key: &[u8], building: StreamBuilding, expiry: Expiry) -> Result<()> {
        let StreamBuilding { head, ahead, .. } = building;
        if let Some(mut ahead) = ahead {
            self.write_out(&mut ahead)?;
        }
        // An empty stream is one, too.
        let Some(replaced) = self.begin_replacing(key, 1, Some(head.id), expiry)? else { return Ok(()) };
        self.put_stream_row(replaced.name, replaced.old, &head, replaced.expires_at_ms)
    }
}
