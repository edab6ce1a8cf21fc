//! A collection whose elements have rows, read whole and packed as a key's own row would have them: for who keeps it in mind.

use super::keyspace::{Keyspace, Lookup, Store};
use super::packed::{Encoding, item_bytes, push_item};
use super::scores::score_text;
use super::sorted_reads::SortedSet;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Direction, Kind};

/// Elements so far.
struct Gathered {
    bytes: Vec<u8>,
    bytes_max: usize,
    count: u64,
    /// Of the whole collection.
    length: u64,
}

/// By so many elements it shows whether all of them will be too many, about: then no more are read.
const TELLING: u64 = 8;

/// Why they are not all.
enum Stop {
    TooMany,
    Failed(StorageError),
}

impl<S: Store> Keyspace<S> {
    /// All elements of a collection of this kind as `Packed` has them, in the order in which they are read. None: there is no such
    /// collection, or it takes more than so many bytes; no more than that is read then.
    pub fn gathered(&self, key: &[u8], kind: Kind, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let values_max = bytes_max as u64;
        if kind == Kind::List {
            let Lookup::Found(list) = self.list(key)? else { return Ok(None) };
            let list = list.with_values_up_to(values_max);
            let mut gathered = Gathered::begin(list.encoding(), list.len(), bytes_max);
            let read = list.each(0, list.len(), |item| gathered.add(&[item]));
            return gathered.end(read);
        }
        let Lookup::Found(elements) = self.elements(kind, key)? else { return Ok(None) };
        let elements = elements.with_values_up_to(values_max);
        let mut gathered = Gathered::begin(elements.encoding(), elements.len(), bytes_max);
        let read = match kind {
            Kind::SortedSet => {
                let Some(set) = SortedSet::of(elements) else { return Ok(None) };
                set.each_from(0, set.len(), Direction::Forward, |member, score| {
                    gathered.add(&[member, score_text(score).as_bytes()])
                })
            }
            Kind::Hash => elements.each(|field, value| gathered.add(&[field, value])),
            _ => elements.each_name(|member| gathered.add(&[member])),
        };
        gathered.end(read)
    }
}

impl Gathered {
    fn begin(encoding: Encoding, length: u64, bytes_max: usize) -> Self {
        Self { bytes: vec![encoding.letter()], bytes_max, count: 0, length }
    }

    fn add(&mut self, items: &[&[u8]]) -> std::result::Result<(), Stop> {
        let bytes = self.bytes.len() + items.iter().map(|item| item_bytes(item)).sum::<usize>();
        self.count += 1;
        // Those that were not looked at may be a quarter shorter.
        let is_hopeless = self.count == TELLING
            && (bytes as u64 / self.count).saturating_mul(self.length) > self.bytes_max as u64 / 4 * 5;
        if bytes > self.bytes_max || is_hopeless {
            return Err(Stop::TooMany);
        }
        items.iter().for_each(|item| push_item(&mut self.bytes, item));
        Ok(())
    }

    fn end(self, read: std::result::Result<(), Stop>) -> Result<Option<Vec<u8>>> {
        match read {
            Ok(()) => Ok(Some(self.bytes)),
            // A single one is longer than all may be.
            Err(Stop::TooMany | Stop::Failed(StorageError::TooLarge)) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Packed;
    use crate::storage::fixture::{Fixture, NOW_MS};

    #[test]
    fn what_is_gathered_is_what_is_read() {
        let mut fixture = Fixture::new();
        let texts: Vec<String> = (0..40).map(|number| format!("element {number}")).collect();
        let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let numbers: Vec<String> = (0..40).map(|number| (number * 37 % 40).to_string()).collect();
        let numbers: Vec<&[u8]> = numbers.iter().map(String::as_bytes).collect();
        let long = vec![b'x'; 5000];
        fixture.write(|keyspace| {
            keyspace.list_push(b"list", crate::storage::End::Back, &texts, false).unwrap();
            keyspace.set_add(b"set", &texts).unwrap();
            keyspace.set_add(b"numbers", &numbers).unwrap();
            keyspace.hash_set(b"hash", &texts).unwrap();
            keyspace.hash_set(b"with a long value", &[b"a", &long]).unwrap();
            let mut sorted = keyspace.build(Kind::SortedSet);
            for (number, member) in texts.iter().enumerate() {
                keyspace.add_score_to(&mut sorted, member, -0.5 * number as f64).unwrap();
            }
            keyspace.put_built(b"sorted", sorted, crate::storage::Expiry::Clear).unwrap();
        });
        let mut keyspace = fixture.reader();
        keyspace.begin_read(NOW_MS).unwrap();
        let gathered = |key: &str, kind, bytes_max| keyspace.gathered(key.as_bytes(), kind, bytes_max).unwrap();
        let names = |key, kind| -> Vec<Vec<u8>> {
            let bytes = gathered(key, kind, 4096).unwrap();
            Packed::new(kind, &bytes).elements().map(|element| element.unwrap().0.to_vec()).collect()
        };
        assert_eq!(names("list", Kind::List), texts);
        let in_order: Vec<Vec<u8>> = (0..40).map(|number: u8| number.to_string().into_bytes()).collect();
        assert_eq!(names("numbers", Kind::Set), in_order);
        let Lookup::Found(set) = keyspace.set(b"set").unwrap() else { panic!("no set") };
        let mut read = Vec::new();
        set.each_name::<StorageError>(|member| {
            read.push(member.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(names("set", Kind::Set), read);
        let sorted = gathered("sorted", Kind::SortedSet, 4096).unwrap();
        let scores: Result<Vec<_>> = Packed::new(Kind::SortedSet, &sorted).scores().collect();
        let expected: Vec<_> =
            texts.iter().enumerate().rev().map(|(number, member)| (*member, -0.5 * number as f64)).collect();
        assert_eq!(scores.unwrap(), expected);
        let hash = gathered("hash", Kind::Hash, 4096).unwrap();
        assert_eq!(Packed::new(Kind::Hash, &hash).find(texts[6]).unwrap(), Some(texts[7]));
        let whole = gathered("list", Kind::List, 4096).unwrap().len();
        assert!(gathered("list", Kind::List, whole).is_some() && gathered("list", Kind::List, whole - 1).is_none());
        for (key, kind) in [("with a long value", Kind::Hash), ("list", Kind::Set), ("nothing", Kind::List)] {
            assert_eq!(gathered(key, kind, 4096), None, "{key}");
        }
    }
}
