//! The nodes of Redis: it keeps some hundred entries together, trims `~` by whole nodes, and counts what fits into one. Here entries have rows
//! of their own; which of them would begin a node stands in their rows, so that trimming leaves what it leaves there.

use std::fmt::Write as _;

use super::list_encoding::{LISTPACK_BYTES, listpack_bytes};
use super::stream_head::number;
use crate::storage::rows::StreamId;

/// What fits into a node: Redis' `stream-node-max-bytes` and `stream-node-max-entries`, 0 being no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeLimits {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

/// The last node, as far as it matters for a further entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TailNode {
    /// The id of the entry that it was begun with.
    pub(super) master: StreamId,
    /// Also those that were deleted since.
    pub(super) entries: u64,
    /// Of its listpack.
    pub(super) bytes: u64,
    /// Of the fields that it was begun with: entries with the same ones take less.
    pub(super) digest: u64,
}

/// The first node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrontNode {
    /// Those that there are.
    pub(super) entries: u64,
    pub(super) last: StreamId,
}

/// No node is larger.
const NODE_BYTES_MAX: u64 = 1 << 30;

impl TailNode {
    /// Of one entry; names and values in turns.
    pub(super) fn begin(id: StreamId, fields: &[&[u8]]) -> Self {
        let (pairs, _) = fields.as_chunks::<2>();
        let names = pairs.iter().map(|[name, _]| listpack_bytes(name)).sum::<u64>();
        let counts = [1, 0, pairs.len() as u64, 0].map(number_bytes).iter().sum::<u64>();
        let bytes = LISTPACK_BYTES + counts + names;
        let mut node = Self { master: id, entries: 0, bytes, digest: digest(fields) };
        node.add(id, fields);
        node
    }

    pub(super) fn takes(&self, fields: &[&[u8]], limits: NodeLimits) -> bool {
        let bytes: u64 = fields.iter().map(|part| part.len() as u64).sum();
        let bytes_max = if limits.bytes == 0 { NODE_BYTES_MAX } else { limits.bytes.min(NODE_BYTES_MAX) };
        self.bytes + bytes < bytes_max && (limits.entries == 0 || self.entries < limits.entries)
    }

    pub(super) fn add(&mut self, id: StreamId, fields: &[&[u8]]) {
        let (pairs, _) = fields.as_chunks::<2>();
        let count = pairs.len() as u64;
        let has_same_fields = digest(fields) == self.digest;
        let mut bytes = number_bytes(0)
            + number_bytes(id.ms.wrapping_sub(self.master.ms))
            + number_bytes(id.seq.wrapping_sub(self.master.seq))
            + pairs.iter().map(|[_, value]| listpack_bytes(value)).sum::<u64>();
        if has_same_fields {
            bytes += number_bytes(count + 3);
        } else {
            bytes += pairs.iter().map(|[name, _]| listpack_bytes(name)).sum::<u64>();
            bytes += number_bytes(count) + number_bytes(2 * count + 4);
        }
        self.bytes += bytes;
        self.entries += 1;
    }

    pub(super) fn read(word: &str) -> Option<Self> {
        let mut parts = word.split(',');
        let master = StreamId::parse(parts.next()?)?;
        let mut count = || number(parts.next()?);
        let node = Self { master, entries: count()?, bytes: count()?, digest: count()? };
        parts.next().is_none().then_some(node)
    }

    pub(super) fn write(&self, text: &mut String) {
        write!(text, "{},{},{},{}", self.master, self.entries, self.bytes, self.digest).expect("a string takes it");
    }
}

impl FrontNode {
    pub(super) fn read(word: &str) -> Option<Self> {
        let (entries, last) = word.split_once(',')?;
        Some(Self { entries: number(entries)?, last: StreamId::parse(last)? })
    }

    pub(super) fn write(&self, text: &mut String) {
        write!(text, "{},{}", self.entries, self.last).expect("a string takes it");
    }
}

/// What a number takes in a listpack. Differences that have no sign are written as if they had one.
fn number_bytes(number: u64) -> u64 {
    listpack_bytes(itoa::Buffer::new().format(number.cast_signed()).as_bytes())
}

/// Of the names of fields, how many and in which order: FNV-1a. Two that are taken for the same let a node have some bytes more or less.
fn digest(fields: &[&[u8]]) -> u64 {
    let (pairs, _) = fields.as_chunks::<2>();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    for [name, _] in pairs {
        (name.len() as u64).to_le_bytes().into_iter().for_each(&mut mix);
        name.iter().copied().for_each(&mut mix);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_bytes_of_redis_and_takes_what_fits() {
        let id = |seq| StreamId { ms: 1, seq };
        let mut node = TailNode::begin(id(1), &[b"item", b"1"]);
        // As 7.0.15 says: header 7; 1, 0, 1, "item", 0; flags, two differences, 1, count.
        assert_eq!(node.bytes, 7 + 2 * 4 + 6 + 2 * 5);
        node.add(id(2), &[b"item", b"value"]);
        assert_eq!(node.bytes, 31 + 2 * 4 + 7);
        node.add(id(3), &[b"other", b"1"]);
        assert_eq!(node.bytes, 46 + 2 * 3 + 2 + 7 + 2 + 2);
        let limits = |bytes, entries| NodeLimits { bytes, entries };
        assert!(node.takes(&[b"a", b"b"], limits(0, 0)) && node.takes(&[b"a", b"b"], limits(68, 4)));
        assert!(!node.takes(&[b"a", b"b"], limits(67, 4)) && !node.takes(&[b"a", b"b"], limits(0, 3)));
        let mut text = String::new();
        node.write(&mut text);
        assert_eq!(TailNode::read(&text), Some(node));
        assert_eq!(TailNode::read(&format!("{text},1")), None);
    }
}
