//! Streams between a keyspace and the parts that payloads and files have of them. It knows nothing of calls, keys and files.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::kv::formats::rdb::{StreamDump, StreamPart};
use crate::storage::{Keyspace, StorageError, Stream, StreamBuilding, StreamGroup, StreamId};

fn pair(id: StreamId) -> (u64, u64) {
    (id.ms, id.seq)
}

fn id((ms, seq): (u64, u64)) -> StreamId {
    StreamId { ms, seq }
}

/// What is asked after each part, whether to go on: and what was dumped may be taken away.
pub type Look<'a, E> = &'a mut dyn FnMut(&mut StreamDump<'_>) -> Result<(), E>;

/// All of a stream, with nodes as Redis would have them.
///
/// # Errors
/// The data, or what `look` says.
pub fn dump<E: From<StorageError>>(stream: &Stream<'_>, dump: &mut StreamDump<'_>, look: Look<'_, E>) -> Result<(), E> {
    let head = stream.head();
    stream.each_of_nodes::<E>(&mut |id, begins, fields| {
        dump.entry(pair(id), begins, &fields.all()?);
        look(dump)
    })?;
    let ids = [head.last, head.first, head.max_deleted].map(pair);
    dump.counters(head.length, ids, head.added, head.groups);
    for (name, group) in stream.groups()? {
        dump_group(stream, &name, &group, dump, look)?;
    }
    Ok(())
}

fn dump_group<E: From<StorageError>>(
    stream: &Stream<'_>,
    name: &[u8],
    group: &StreamGroup,
    dump: &mut StreamDump<'_>,
    look: Look<'_, E>,
) -> Result<(), E> {
    dump.group(name, pair(group.delivered), group.read, group.pending);
    stream.pending::<E>(group, StreamId::ALL, &mut |id, pending| {
        dump.pending(pair(id), pending.delivered_ms, pending.deliveries);
        look(dump)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let consumers = stream.consumers(group)?;
    dump.consumers(consumers.len() as u64);
    for consumer in &consumers {
        dump.consumer(&consumer.name, consumer.seen_ms, consumer.pending);
        stream.pending_of::<E>(group, consumer, StreamId::ALL, &mut |id, _| {
            dump.owned(pair(id));
            look(dump)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}

/// A stream on its way to a key, part by part.
#[derive(Debug)]
pub struct Restoring {
    building: StreamBuilding,
    /// Of the group at hand, until its consumers say whose they are.
    pending: BTreeMap<StreamId, (i64, u64)>,
}

impl Restoring {
    /// # Errors
    /// The data.
    pub fn begin(keyspace: &mut Keyspace) -> Result<Self, StorageError> {
        Ok(Self { building: keyspace.build_stream()?, pending: BTreeMap::new() })
    }

    /// The part that comes. False: a stream has no such part there.
    ///
    /// # Errors
    /// The data.
    pub fn add(&mut self, keyspace: &mut Keyspace, part: StreamPart<'_>) -> Result<bool, StorageError> {
        let Self { building, pending } = self;
        match part {
            StreamPart::Entry { id: entry, begins, parts } => {
                keyspace.add_to_stream(building, id(entry), parts, begins)
            }
            StreamPart::Counters { last, max_deleted, added } => {
                let is_right = id(last) >= building.head().last;
                keyspace.set_built_counters(building, id(last), id(max_deleted), added);
                Ok(is_right)
            }
            StreamPart::Group { name, delivered, read } => {
                let read = read.unwrap_or_else(|| building.head().ordinal(id(delivered)));
                keyspace.begin_built_group(building, name, id(delivered), read)
            }
            StreamPart::Pending { id: entry, delivered_ms, deliveries } => {
                Ok(pending.insert(id(entry), (delivered_ms, deliveries)).is_none())
            }
            StreamPart::Consumer { name, seen_ms, active_ms } => {
                keyspace.begin_built_consumer(building, name, (seen_ms, active_ms))
            }
            StreamPart::Owned { id: entry } => match pending.remove(&id(entry)) {
                Some(delivery) => keyspace.add_built_pending(building, id(entry), delivery),
                None => Ok(false),
            },
            StreamPart::GroupEnd => {
                keyspace.end_built_group(building)?;
                Ok(pending.is_empty())
            }
        }
    }

    #[must_use]
    pub fn into_building(self) -> StreamBuilding {
        self.building
    }
}
