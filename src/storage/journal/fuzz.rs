//! The body of the fuzz target of the journal (`fuzz/`), beside the parser that it feeds; the tests below run it too. It panics
//! where the parser breaks its promise: whatever is understood is written in the same bytes again, and all else is an error.

use super::{Encoder, Group, head_of};

/// `data` as a group, as it is and with the head that it should have.
pub fn fuzz_journal(data: &[u8]) {
    look(data);
    if data.len() >= super::HEAD_BYTES {
        let mut mended = data.to_vec();
        mended[..4].copy_from_slice(b"emJ1");
        mended[8..16].copy_from_slice(&(data.len() as u64).to_be_bytes());
        look(&mended);
        // Lengths that can't be true, which must not be believed.
        mended[4..8].fill(0);
        look(&mended);
    }
}

fn look(data: &[u8]) {
    let Ok(group) = Group::parse(data) else { return };
    assert_eq!(head_of(data), Ok(Some((group.head, data.len() as u64))), "its length changes");
    let Ok(changes) = group.changes().collect::<Result<Vec<_>, _>>() else { return };
    assert_eq!(changes.len() as u64, group.changes_count(), "a wrong number of changes is not noticed");
    let mut again = Vec::new();
    let mut encoder = Encoder::new(&mut again, &group.head, &group.tickets().collect::<Vec<_>>());
    changes.iter().for_each(|change| encoder.change(change.key, change.row, change.origin));
    encoder.finish();
    assert_eq!(again, data, "the same has two ways to be written");
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;
    use crate::storage::journal::{Head, encode};
    use crate::storage::rows::{Batch, End, Head as KeyHead, KeyRow, Kind, Origin, Row, RowKey};

    #[derive(Clone, Debug)]
    struct Written {
        table: u8,
        numbers: (u64, u64),
        bytes: (Vec<u8>, Option<Vec<u8>>),
        origin: Origin,
        head: KeyHead,
        is_put: bool,
    }

    impl Written {
        fn key(&self) -> RowKey<'_> {
            let (first, second) = self.numbers;
            match self.table {
                0 => RowKey::database(first as u8),
                1 if second.is_multiple_of(2) => RowKey::orphan_value(first.cast_signed()),
                1 => RowKey::orphan_items(first.cast_signed(), End::Back),
                2 => RowKey::chunk(first.cast_signed(), second),
                _ => RowKey::key(first as _, second, &self.bytes.0),
            }
        }

        fn row(&self) -> Option<Row<'_>> {
            self.is_put.then(|| match self.table {
                0 => Row::Database(self.numbers.1 as _),
                1 if self.numbers.1.is_multiple_of(2) => Row::Orphan,
                1 => Row::OrphanItems(self.numbers.1),
                2 => Row::Chunk(&self.bytes.0),
                _ => Row::Key(KeyRow { head: self.head, value: self.bytes.1.as_deref() }),
            })
        }
    }

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![0..20i64, any::<i64>()]
    }

    fn origin() -> impl Strategy<Value = Origin> {
        prop_oneof![
            Just(Origin::Blind),
            Just(Origin::Absent),
            (option::of(number()), option::of(number()))
                .prop_map(|(id, expires_at_ms)| Origin::Present { id, expires_at_ms })
        ]
    }

    fn head() -> impl Strategy<Value = KeyHead> {
        let kind = select(&[Kind::String, Kind::List, Kind::Set, Kind::SortedSet, Kind::Hash]);
        (kind, option::of(number()), option::of(number()), any::<u64>())
            .prop_map(|(kind, id, expires_at_ms, length)| KeyHead { kind, id, expires_at_ms, length })
    }

    fn written() -> impl Strategy<Value = Written> {
        let bytes = || prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 100..300)];
        let numbers = (number(), number()).prop_map(|(a, b)| (a.cast_unsigned(), b.cast_unsigned()));
        (0..4u8, numbers, (bytes(), option::of(bytes())), origin(), head(), any::<bool>()).prop_map(
            |(table, numbers, bytes, origin, head, is_put)| Written { table, numbers, bytes, origin, head, is_put },
        )
    }

    fn batch(rows: &[Written]) -> Batch {
        let mut batch = Batch::default();
        for row in rows {
            match row.row() {
                Some(put) => batch.put(row.key(), put, row.origin),
                None => batch.delete(row.key(), row.origin),
            }
            .unwrap();
        }
        batch
    }

    const HEAD: Head = Head { generation: 3, seq: u64::MAX, boot: 1 << 40 };

    fn encoded(rows: &[Written], tickets: &[(u64, u64)]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        encode(&mut out, &HEAD, tickets, &batch(rows));
        out.split_off(6)
    }

    #[test]
    fn the_format_never_changes_because_it_lies_in_files() {
        let mut batch = Batch::default();
        let head = KeyHead { kind: Kind::String, id: None, expires_at_ms: Some(5), length: 1 };
        batch.put(RowKey::key(1, 2, b"k"), Row::Key(KeyRow { head, value: Some(b"v") }), Origin::Blind).unwrap();
        batch.delete(RowKey::key(1, 3, b""), Origin::Present { id: Some(9), expires_at_ms: None }).unwrap();
        batch.put(RowKey::chunk(1, 0), Row::Chunk(b"c"), Origin::Absent).unwrap();
        let mut out = Vec::new();
        encode(&mut out, &Head { generation: 7, seq: 8, boot: 9 }, &[(1, 2)], &batch);
        let mut expected = b"emJ1\0\0\0\x01".to_vec();
        expected.extend([out.len() as u64, 7, 8, 9, 3].iter().flat_map(|word| word.to_be_bytes()));
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        expected.extend(words(&[1, 2]));
        expected.extend(b"\x20\x01\x07\x02\0\0\0\0\0\x01\x01k\x1b\x01\x06");
        expected.extend(words(&[0, 5, 1]));
        expected.extend(b"v\x20\x0c\x07\x03\0\0\0\0\0\x01");
        expected.extend(words(&[9]));
        expected.extend(b"\0\x03\x03\x09\0\0\0\0\0\0\0\0\x01\0\x01c");
        assert_eq!(out, expected);
    }

    #[test]
    fn where_no_group_is_there_is_none_or_an_error() {
        assert_eq!(head_of(b""), Ok(None));
        assert_eq!(head_of(b"\0\0"), Ok(None));
        assert_eq!(head_of(b"\0\0\0\0what was there before"), Ok(None));
        assert!(head_of(b"emJ1 and not enough").is_err());
        assert!(head_of(&[1; 100]).is_err());
        assert!(Group::parse(b"").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_group_comes_back_as_it_was(
            rows in vec(written(), 0..12), tickets in vec((any::<u64>(), any::<u64>()), 0..4)
        ) {
            let bytes = encoded(&rows, &tickets);
            fuzz_journal(&bytes);
            let group = Group::parse(&bytes).unwrap();
            prop_assert_eq!(group.head, HEAD);
            prop_assert_eq!(group.tickets().collect::<Vec<_>>(), tickets);
            let mut changes = group.changes();
            batch(&rows).each(|changed| {
                let change = changes.next().unwrap().unwrap();
                assert_eq!((change.key, change.row, change.origin), (changed.key, changed.row, changed.origin));
                Ok::<_, ()>(())
            }).unwrap();
            prop_assert!(changes.next().is_none());
        }

        #[test]
        fn bytes_with_a_fault_are_an_error_or_another_group(
            rows in vec(written(), 0..5), faults in vec((any::<Index>(), any::<u8>()), 1..4), cut in option::of(any::<Index>())
        ) {
            let mut bytes = encoded(&rows, &[(1, 1)]);
            let length = bytes.len();
            faults.iter().for_each(|(at, byte)| bytes[at.index(length)] = *byte);
            bytes.truncate(cut.map_or(length, |cut| cut.index(length)));
            fuzz_journal(&bytes);
        }

        #[test]
        fn any_bytes_are_an_error_or_a_group(data in vec(prop_oneof![any::<u8>(), 0..33u8], 0..200)) {
            fuzz_journal(&data);
        }
    }
}
