//! Payloads of hashes, sets and sorted sets, as Redis 7.0 writes them: an intset or a listpack where its value is one, else element by element.

use super::payload::{
    TYPE_HASH, TYPE_HASH_LISTPACK, TYPE_SET, TYPE_SET_INTSET, TYPE_SORTED_SET, TYPE_SORTED_SET_LISTPACK,
    VERSION_WRITTEN, seal,
};
use super::strings::{put_length, put_string};
use super::{intset, listpack};
use crate::kv::formats::lzf;
use crate::resp::number::DoubleText;

/// A payload that grows element by element behind what a buffer has.
#[derive(Debug)]
pub struct TableDump<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    compressor: lzf::Compressor,
}

impl<'a> TableDump<'a> {
    /// `add` is called for each of so many members.
    pub fn set(out: &'a mut Vec<u8>, members: u64) -> Self {
        Self::new(TYPE_SET, members, out)
    }

    /// `add` is called for each of so many fields, and after each for its value.
    pub fn hash(out: &'a mut Vec<u8>, fields: u64) -> Self {
        Self::new(TYPE_HASH, fields, out)
    }

    /// `add_scored` is called for each of so many members.
    pub fn sorted_set(out: &'a mut Vec<u8>, members: u64) -> Self {
        Self::new(TYPE_SORTED_SET, members, out)
    }

    fn new(kind: u8, count: u64, out: &'a mut Vec<u8>) -> Self {
        let begin = out.len();
        out.push(kind);
        put_length(count, out);
        Self { out, begin, compressor: lzf::Compressor::default() }
    }

    pub fn add(&mut self, text: &[u8]) {
        put_string(text, &mut self.compressor, self.out);
    }

    pub fn add_scored(&mut self, member: &[u8], score: f64) {
        self.add(member);
        self.out.extend_from_slice(&score.to_le_bytes());
    }

    /// How many bytes it has so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.out.len() - self.begin
    }

    pub fn finish(self) {
        seal(self.out, self.begin, VERSION_WRITTEN);
    }
}

/// The payload of a set whose encoding is "intset". Sorts the members.
#[must_use]
pub fn dump_intset(members: &mut [i64]) -> Vec<u8> {
    dump_blob(TYPE_SET_INTSET, &intset::write(members))
}

/// The payload of a hash whose encoding is "listpack": fields and values in turn.
#[must_use]
pub fn dump_listpack_hash<'a>(fields_and_values: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut listpack = listpack::Writer::new();
    fields_and_values.into_iter().for_each(|text| listpack.push(text));
    dump_blob(TYPE_HASH_LISTPACK, &listpack.finish())
}

/// The payload of a sorted set whose encoding is "listpack": members with their scores, from the lowest to the highest.
#[must_use]
pub fn dump_listpack_sorted_set<'a>(members: impl IntoIterator<Item = (&'a [u8], f64)>) -> Vec<u8> {
    let mut listpack = listpack::Writer::new();
    for (member, score) in members {
        listpack.push(member);
        listpack.push(DoubleText::new(score).as_bytes());
    }
    dump_blob(TYPE_SORTED_SET_LISTPACK, &listpack.finish())
}

fn dump_blob(kind: u8, blob: &[u8]) -> Vec<u8> {
    let mut payload = vec![kind];
    put_string(blob, &mut lzf::Compressor::default(), &mut payload);
    seal(&mut payload, 0, VERSION_WRITTEN);
    payload
}
