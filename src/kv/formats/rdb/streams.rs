//! Streams: entries in nodes, each a listpack under the id that it begins with, then counters, groups, and what their consumers have not
//! acknowledged. Written is type 19, which Redis 7.0 reads; 15 lacks counters, 21 knows when a consumer last got something.
//!
//! ```text
//! count, nodes           a string of 16 bytes, the id that the differences below are from; a string that is a listpack
//! listpack               entries, deleted, fields, their names, 0; then each entry:
//!                        flags (1 deleted, 2 with these fields), differences of both numbers, [fields], [name] value ..., elements
//! counters               length, last id; not in 15: first id, greatest deleted id, entries added
//! count, groups          name, last id, [entries read, not in 15], pending entries, consumers
//! pending entry          16 bytes, 8 bytes of time, deliveries
//! consumer               name, 8 bytes of time, [8 more in 21], count, 16 bytes each
//! ```

use super::listpack;
use super::payload::{RestoreError, TYPE_STREAM, TYPE_STREAM_2, TYPE_STREAM_3, VERSION_WRITTEN, seal};
use super::strings::{put_length, put_string, read_length, read_string};
use super::values::Source;
use crate::kv::formats::lzf;

/// Time and number of an id.
type Id = (u64, u64);

/// A part of a stream, in the order in which a payload has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamPart<'a> {
    /// `begins`: with it a node begins. Names and values take turns.
    Entry {
        id: Id,
        begins: bool,
        parts: &'a [&'a [u8]],
    },
    /// Behind all entries.
    Counters {
        last: Id,
        max_deleted: Id,
        added: u64,
    },
    /// `read`: `None` where the payload does not tell, `Some(None)` where nobody knows.
    Group {
        name: &'a [u8],
        delivered: Id,
        read: Option<Option<u64>>,
    },
    /// Of the group before it. Whose it is the consumers say.
    Pending {
        id: Id,
        delivered_ms: i64,
        deliveries: u64,
    },
    Consumer {
        name: &'a [u8],
        seen_ms: i64,
        active_ms: Option<i64>,
    },
    /// Of the consumer before it.
    Owned {
        id: Id,
    },
    /// Behind the last consumer of a group.
    GroupEnd,
}

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
const ID_BYTES: usize = 16;

/// A payload that grows part by part behind what a buffer has.
#[derive(Debug)]
pub struct StreamDump<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    compressor: lzf::Compressor,
    /// Entries of the node at hand.
    node: Vec<(Id, Vec<Vec<u8>>)>,
    node_bytes: usize,
}

impl<'a> StreamDump<'a> {
    /// Of so many nodes.
    pub fn new(out: &'a mut Vec<u8>, nodes: u64) -> Self {
        let begin = out.len();
        out.push(TYPE_STREAM_2);
        Self { begin, ..Self::value(out, nodes) }
    }

    /// Without type and footer: a value in a file.
    pub fn value(out: &'a mut Vec<u8>, nodes: u64) -> Self {
        let begin = out.len();
        put_length(nodes, out);
        Self { out, begin, compressor: lzf::Compressor::default(), node: Vec::new(), node_bytes: 0 }
    }

    /// How many bytes the buffer has.
    #[must_use]
    pub fn written(&self) -> usize {
        self.out.len()
    }

    /// What the buffer has so far leaves it, where the value is not to be in memory as a whole.
    pub fn take_written(&mut self) -> Vec<u8> {
        self.begin = 0;
        std::mem::take(self.out)
    }

    /// How many bytes it has so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.out.len() - self.begin + self.node_bytes
    }

    pub fn entry(&mut self, id: Id, begins: bool, parts: &[&[u8]]) {
        if begins {
            self.end_node();
        }
        self.node_bytes += parts.iter().map(|part| part.len()).sum::<usize>();
        self.node.push((id, parts.iter().map(|part| part.to_vec()).collect()));
    }

    fn end_node(&mut self) {
        let node = std::mem::take(&mut self.node);
        self.node_bytes = 0;
        let Some((master, first)) = node.first() else { return };
        let mut listpack = listpack::Writer::new();
        let names = |parts: &[Vec<u8>]| parts.iter().step_by(2).cloned().collect::<Vec<_>>();
        let fields = names(first);
        push_number(&mut listpack, node.len() as u64);
        push_number(&mut listpack, 0);
        push_number(&mut listpack, fields.len() as u64);
        fields.iter().for_each(|name| listpack.push(name));
        push_number(&mut listpack, 0);
        for (id, parts) in &node {
            let has_same = names(parts) == fields;
            listpack.push(if has_same { b"2" } else { b"0" });
            push_number(&mut listpack, id.0.wrapping_sub(master.0));
            push_number(&mut listpack, id.1.wrapping_sub(master.1));
            let count = parts.len() as u64 / 2;
            if has_same {
                parts.iter().skip(1).step_by(2).for_each(|value| listpack.push(value));
                push_number(&mut listpack, count + 3);
            } else {
                push_number(&mut listpack, count);
                parts.iter().for_each(|part| listpack.push(part));
                push_number(&mut listpack, 2 * count + 4);
            }
        }
        put_length(ID_BYTES as u64, self.out);
        self.put_id(*master);
        put_string(&listpack.finish(), &mut self.compressor, self.out);
    }

    /// Behind all entries.
    pub fn counters(&mut self, length: u64, [last, first, max_deleted]: [Id; 3], added: u64, groups: u64) {
        self.end_node();
        put_length(length, self.out);
        for number in [last.0, last.1, first.0, first.1, max_deleted.0, max_deleted.1, added, groups] {
            put_length(number, self.out);
        }
    }

    /// `pending` follows so many times.
    pub fn group(&mut self, name: &[u8], delivered: Id, read: Option<u64>, pending: u64) {
        put_string(name, &mut self.compressor, self.out);
        for number in [delivered.0, delivered.1, read.unwrap_or(u64::MAX), pending] {
            put_length(number, self.out);
        }
    }

    pub fn pending(&mut self, id: Id, delivered_ms: i64, deliveries: u64) {
        self.put_id(id);
        self.out.extend_from_slice(&delivered_ms.to_le_bytes());
        put_length(deliveries, self.out);
    }

    /// `consumer` follows so many times.
    pub fn consumers(&mut self, count: u64) {
        put_length(count, self.out);
    }

    /// `owned` follows so many times.
    pub fn consumer(&mut self, name: &[u8], seen_ms: i64, pending: u64) {
        put_string(name, &mut self.compressor, self.out);
        self.out.extend_from_slice(&seen_ms.to_le_bytes());
        put_length(pending, self.out);
    }

    pub fn owned(&mut self, id: Id) {
        self.put_id(id);
    }

    pub fn finish(self) {
        seal(self.out, self.begin, VERSION_WRITTEN);
    }

    fn put_id(&mut self, id: Id) {
        self.out.extend_from_slice(&id.0.to_be_bytes());
        self.out.extend_from_slice(&id.1.to_be_bytes());
    }
}

/// As Redis writes numbers: one without a sign as if it had one.
fn push_number(listpack: &mut listpack::Writer, number: u64) {
    listpack.push(itoa::Buffer::new().format(number.cast_signed()).as_bytes());
}

/// Shows the parts of a stream until `show` fails. How many entries there were.
pub(super) fn each_part<S: Source>(
    kind: u8,
    source: &mut S,
    bytes_max: u64,
    show: &mut dyn FnMut(StreamPart<'_>) -> Result<(), S::Error>,
) -> Result<u64, S::Error> {
    let mut entries = 0;
    let (mut key, mut blob) = (Vec::new(), Vec::new());
    for _ in 0..read_length(source)? {
        read_string(source, bytes_max, &mut key)?;
        read_string(source, bytes_max, &mut blob)?;
        let master = id_of(&key).ok_or(RestoreError::Format)?;
        entries += each_entry(master, &blob, show)?;
    }
    let length = read_length(source)?;
    if length != entries {
        return Err(RestoreError::Format.into());
    }
    let last = read_id(source)?;
    let (max_deleted, added) = match kind {
        TYPE_STREAM => ((0, 0), length),
        _ => {
            // Which entry is the first one is seen by the entries.
            let _first = read_id(source)?;
            (read_id(source)?, read_length(source)?)
        }
    };
    show(StreamPart::Counters { last, max_deleted, added })?;
    for _ in 0..read_length(source)? {
        one_group(kind, source, bytes_max, show)?;
    }
    Ok(entries)
}

fn one_group<S: Source>(
    kind: u8,
    source: &mut S,
    bytes_max: u64,
    show: &mut dyn FnMut(StreamPart<'_>) -> Result<(), S::Error>,
) -> Result<(), S::Error> {
    let mut name = Vec::new();
    read_string(source, bytes_max, &mut name)?;
    let delivered = read_id(source)?;
    let read = match kind {
        TYPE_STREAM => None,
        _ => Some(Some(read_length(source)?).filter(|read| *read <= i64::MAX.cast_unsigned())),
    };
    show(StreamPart::Group { name: &name, delivered, read })?;
    for _ in 0..read_length(source)? {
        let id = take_id(source)?;
        let delivered_ms = i64::from_le_bytes(source.array()?);
        show(StreamPart::Pending { id, delivered_ms, deliveries: read_length(source)? })?;
    }
    for _ in 0..read_length(source)? {
        read_string(source, bytes_max, &mut name)?;
        let seen_ms = i64::from_le_bytes(source.array()?);
        let active_ms = match kind {
            TYPE_STREAM_3 => Some(i64::from_le_bytes(source.array()?)).filter(|active| *active != -1),
            // Redis takes the one for the other.
            _ => Some(seen_ms),
        };
        show(StreamPart::Consumer { name: &name, seen_ms, active_ms })?;
        for _ in 0..read_length(source)? {
            show(StreamPart::Owned { id: take_id(source)? })?;
        }
    }
    show(StreamPart::GroupEnd)
}

/// Shows the entries of a node that are not deleted. Returns how many.
fn each_entry<E: From<RestoreError>>(
    master: Id,
    blob: &[u8],
    show: &mut dyn FnMut(StreamPart<'_>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut elements = listpack::Entries::new(blob)?;
    let mut next = || elements.next()?.ok_or(RestoreError::Format);
    let number = |text: super::strings::Text<'_>| {
        crate::resp::number::parse_integer(text.as_bytes()).ok_or(RestoreError::Format)
    };
    let (valid, deleted) = (number(next()?)?, number(next()?)?);
    let count = usize::try_from(number(next()?)?).map_err(|_| RestoreError::Format)?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(next()?);
    }
    next()?;
    let mut shown = 0;
    for _ in 0..valid.checked_add(deleted).ok_or(RestoreError::Format)? {
        let flags = number(next()?)?;
        let id = (
            master.0.wrapping_add(number(next()?)?.cast_unsigned()),
            master.1.wrapping_add(number(next()?)?.cast_unsigned()),
        );
        let mut texts = Vec::new();
        if flags & SAME_FIELDS != 0 {
            for _ in 0..count {
                texts.push(next()?);
            }
        } else {
            for _ in 0..number(next()?)? {
                texts.extend([next()?, next()?]);
            }
        }
        next()?;
        if flags & DELETED != 0 {
            continue;
        }
        let parts: Vec<&[u8]> = match flags & SAME_FIELDS != 0 {
            true => names.iter().zip(&texts).flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect(),
            false => texts.iter().map(|text| text.as_bytes()).collect(),
        };
        if parts.is_empty() {
            return Err(RestoreError::Format.into());
        }
        show(StreamPart::Entry { id, begins: shown == 0, parts: &parts })?;
        shown += 1;
    }
    if elements.next()?.is_some() || i64::try_from(shown) != Ok(valid) {
        return Err(RestoreError::Format.into());
    }
    Ok(shown)
}

/// As two lengths.
fn read_id<S: Source>(source: &mut S) -> Result<Id, S::Error> {
    Ok((read_length(source)?, read_length(source)?))
}

/// As 16 bytes.
fn take_id<S: Source>(source: &mut S) -> Result<Id, S::Error> {
    Ok((u64::from_be_bytes(source.array()?), u64::from_be_bytes(source.array()?)))
}

fn id_of(bytes: &[u8]) -> Option<Id> {
    let (ms, seq) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*ms), u64::from_be_bytes(seq.try_into().ok()?)))
}
