//! A small list in its key's own row, under change: the bytes are those of `packed`, in the order of the list.

use std::ops::Range;

use super::list_encoding::{LISTPACK_BYTES, listpack_bytes};
use super::packed::{Encoding, Packed, item, item_bytes, push_item};
use crate::storage::error::Result;
use crate::storage::rows::{End, Kind};

#[derive(Clone, Debug)]
pub(super) struct ListPack {
    bytes: Vec<u8>,
    count: u64,
}

impl ListPack {
    pub(super) fn empty() -> Self {
        Self { bytes: vec![Encoding::Listpack.letter()], count: 0 }
    }

    /// Of so many items, as they lie in a key's row.
    pub(super) fn of(bytes: Vec<u8>, count: u64) -> Self {
        Self { bytes, count }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn set_encoding(&mut self, encoding: Encoding) {
        self.bytes[0] = encoding.letter();
    }

    pub(super) fn items(&self) -> impl Iterator<Item = Result<&[u8]>> {
        Packed::new(Kind::List, &self.bytes).elements().map(|element| Ok(element?.0))
    }

    /// What it would take as a listpack.
    pub(super) fn listpack_bytes(&self) -> Result<u64> {
        self.items().try_fold(LISTPACK_BYTES, |bytes, item| Ok(bytes + listpack_bytes(item?)))
    }

    /// By how many bytes it would grow.
    pub(super) fn growth(value: &[u8]) -> usize {
        item_bytes(value)
    }

    pub(super) fn push(&mut self, end: End, value: &[u8]) {
        if end == End::Back {
            push_item(&mut self.bytes, value);
            self.count += 1;
        } else {
            self.splice(1..1, value);
            self.count += 1;
        }
    }

    /// Before the item that has this index, or behind all.
    pub(super) fn insert(&mut self, index: u64, value: &[u8]) -> Result<()> {
        let at = self.begin_of(index)?;
        self.splice(at..at, value);
        self.count += 1;
        Ok(())
    }

    pub(super) fn replace(&mut self, index: u64, value: &[u8]) -> Result<()> {
        let place = self.place_of(index)?;
        self.splice(place, value);
        Ok(())
    }

    /// How many bytes there would be if the item with this index were another.
    pub(super) fn bytes_with(&self, index: u64, value: &[u8]) -> Result<usize> {
        Ok(self.bytes.len() - self.place_of(index)?.len() + item_bytes(value))
    }

    /// Keeps so many items from this index on.
    pub(super) fn keep(&mut self, first: u64, count: u64) -> Result<()> {
        let (begin, end) = (self.begin_of(first)?, self.begin_of(first + count)?);
        self.bytes.truncate(end);
        self.bytes.drain(1..begin);
        self.count = count;
        Ok(())
    }

    /// Removes the items with these indexes, which rise.
    pub(super) fn remove(&mut self, indexes: &[u64]) -> Result<()> {
        let mut kept = vec![self.bytes[0]];
        let mut gone = indexes.iter().peekable();
        for (index, item) in self.items().enumerate() {
            let item = item?;
            if gone.next_if(|gone| **gone == index as u64).is_none() {
                push_item(&mut kept, item);
            }
        }
        self.bytes = kept;
        self.count -= indexes.len() as u64;
        Ok(())
    }

    fn splice(&mut self, place: Range<usize>, value: &[u8]) {
        let mut new = Vec::with_capacity(item_bytes(value));
        push_item(&mut new, value);
        self.bytes.splice(place, new);
    }

    fn place_of(&self, index: u64) -> Result<Range<usize>> {
        let begin = self.begin_of(index)?;
        Ok(begin..item(&self.bytes, begin)?.end)
    }

    /// Where the item begins, or, behind the last, all end.
    fn begin_of(&self, index: u64) -> Result<usize> {
        let mut at = 1;
        for _ in 0..index {
            at = item(&self.bytes, at)?.end;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_and_go_anywhere() {
        let mut pack = ListPack::empty();
        for (end, value) in [(End::Back, "b"), (End::Back, ""), (End::Front, "a"), (End::Back, "c")] {
            let before = pack.bytes().len();
            pack.push(end, value.as_bytes());
            assert_eq!(pack.bytes().len() - before, ListPack::growth(value.as_bytes()));
        }
        let all = |pack: &ListPack| -> Vec<String> {
            pack.items().map(|item| String::from_utf8(item.unwrap().to_vec()).unwrap()).collect()
        };
        assert_eq!(all(&pack), ["a", "b", "", "c"]);
        pack.insert(1, b"x").unwrap();
        pack.insert(5, b"end").unwrap();
        let bytes = pack.bytes_with(0, b"longer").unwrap();
        pack.replace(0, b"longer").unwrap();
        assert_eq!(pack.bytes().len(), bytes);
        assert_eq!(all(&pack), ["longer", "x", "b", "", "c", "end"]);
        pack.remove(&[0, 3]).unwrap();
        assert_eq!((all(&pack), pack.count()), (["x", "b", "c", "end"].map(String::from).to_vec(), 4));
        pack.keep(1, 2).unwrap();
        assert_eq!(pack.bytes(), b"l1:b1:c");
        assert_eq!(pack.listpack_bytes().unwrap(), 7 + 3 + 3);
        assert!(pack.replace(2, b"").is_err());
    }
}
