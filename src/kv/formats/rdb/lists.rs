//! Payloads of lists as Redis 7 writes them: nodes of a quicklist, each a listpack of up to 8 KiB, or a single item that is huge.

use super::listpack;
use super::payload::{TYPE_LIST_QUICKLIST_2, VERSION_WRITTEN, seal};
use super::strings::{put_length, put_string};
use crate::kv::formats::lzf;

pub(super) const NODE_PLAIN: u64 = 1;
pub(super) const NODE_PACKED: u64 = 2;

/// What a node has at most, by the default of `list-max-listpack-size`, and what an item is taken to need beside its bytes.
const NODE_BYTES_MAX: usize = 8192;
const ITEM_BYTES_BESIDE: usize = 8;
/// An item of so many bytes is a node of its own.
const PLAIN_BYTES_MIN: usize = 1 << 30;

/// A payload that grows item by item behind what a buffer has.
#[derive(Debug)]
pub struct ListDump<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    /// All items are in one node, as those of a list whose encoding is "listpack".
    is_one_node: bool,
    nodes: u64,
    node: Option<listpack::Writer>,
    compressor: lzf::Compressor,
}

impl<'a> ListDump<'a> {
    pub fn new(out: &'a mut Vec<u8>, is_one_node: bool) -> Self {
        let begin = out.len();
        out.push(TYPE_LIST_QUICKLIST_2);
        Self { out, begin, is_one_node, nodes: 0, node: None, compressor: lzf::Compressor::default() }
    }

    pub fn add(&mut self, item: &[u8]) {
        if item.len() >= PLAIN_BYTES_MIN {
            self.end_node();
            self.put_node(NODE_PLAIN, item);
            return;
        }
        let is_full = |node: &listpack::Writer| node.bytes_len() + item.len() + ITEM_BYTES_BESIDE > NODE_BYTES_MAX;
        if !self.is_one_node && self.node.as_ref().is_some_and(is_full) {
            self.end_node();
        }
        self.node.get_or_insert_with(listpack::Writer::new).push(item);
    }

    fn end_node(&mut self) {
        if let Some(node) = self.node.take() {
            self.put_node(NODE_PACKED, &node.finish());
        }
    }

    fn put_node(&mut self, container: u64, bytes: &[u8]) {
        put_length(container, self.out);
        put_string(bytes, &mut self.compressor, self.out);
        self.nodes += 1;
    }

    /// How many bytes it has so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.out.len() - self.begin + self.node.as_ref().map_or(0, listpack::Writer::bytes_len)
    }

    pub fn finish(mut self) {
        self.end_node();
        let mut count = Vec::new();
        put_length(self.nodes, &mut count);
        let at = self.begin + 1;
        self.out.splice(at..at, count);
        seal(self.out, self.begin, VERSION_WRITTEN);
    }
}
