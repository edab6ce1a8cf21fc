//! The bodies of the fuzz targets of RESTORE, LZF and HyperLogLog (`fuzz/`), beside the parsers that they feed; the tests below run them too.
//! Each panics where a parser breaks a promise: what was dumped comes back, what is restored stays within its bound, LZF means what a
//! decoder of a few lines makes of it, and a sketch keeps what it was shown, whatever its string held before.

use std::collections::HashSet;

use super::hyperloglog::{Registers, SKETCH_BYTES_MAX, Sketch};
use super::lzf;
use super::number::parse_double;
use super::rdb::{self, Holds, ListDump, Payload, RestoreError, TableDump};
use crate::resp::number::{DoubleText, parse_integer};

/// Small, so that a short payload reaches it.
const VALUE_BYTES_MAX: u64 = 1 << 16;

/// `data` as a payload, as what a payload encloses, and as a value.
pub fn fuzz_restore(data: &[u8]) {
    // A checksum that holds by chance is not to be expected: the second gets past it.
    for payload in [data.to_vec(), rdb::sealed(10, data)] {
        let Ok(elements) = restored(&payload, VALUE_BYTES_MAX) else { continue };
        let length = elements.iter().map(Vec::len).max().unwrap_or(0) as u64;
        assert!(length <= VALUE_BYTES_MAX, "a value of {length} bytes");
        let bounded = restored(&payload, length);
        assert!(bounded.as_ref() == Ok(&elements) || bounded == Err(RestoreError::TooLong), "{bounded:?}");
        let holds = Payload::open(&payload, length).and_then(|payload| payload.holds()).expect("it was restored");
        for dumped in dumps(holds, &elements) {
            // A bound of one is also that of the blob that they lie in.
            let again = restored(&dumped, VALUE_BYTES_MAX << 1);
            match holds {
                Holds::List => assert_eq!(again.as_ref(), Ok(&elements), "it does not come back"),
                _ => assert_eq!(again.map(sorted), Ok(sorted(elements.clone())), "it does not come back"),
            }
        }
    }
    let payload = rdb::dump_string(data);
    assert_eq!(rdb::restore_string(&payload, data.len() as u64).as_deref(), Ok(data), "it does not come back");
}

/// The string; the members of a set; the fields of a hash with their values behind them; the members of a sorted set with their scores.
fn restored(payload: &[u8], bytes_max: u64) -> Result<Vec<Vec<u8>>, RestoreError> {
    let payload = Payload::open(payload, bytes_max)?;
    let (mut names, mut elements) = (HashSet::new(), Vec::new());
    match payload.holds()? {
        Holds::String => elements.push(payload.string()?),
        Holds::List => payload.each_item(|item| {
            elements.push(item.to_vec());
            Ok::<_, RestoreError>(())
        })?,
        Holds::Set => payload.each_member(|member| {
            elements.push(member.to_vec());
            Ok::<_, RestoreError>(names.insert(member.to_vec()))
        })?,
        Holds::Hash => payload.each_field(|field, value| {
            elements.extend([field.to_vec(), value.to_vec()]);
            Ok::<_, RestoreError>(names.insert(field.to_vec()))
        })?,
        Holds::SortedSet => payload.each_scored(|member, score| {
            assert!(!score.is_nan(), "a score is a number");
            elements.extend([member.to_vec(), DoubleText::new(score).as_bytes().to_vec()]);
            Ok::<_, RestoreError>(names.insert(member.to_vec()))
        })?,
        // It may have no entries, and so is compared with nothing.
        Holds::Stream => {
            payload.each_part(|_| Ok::<_, RestoreError>(()))?;
            return Err(RestoreError::Format);
        }
    }
    assert!(!elements.is_empty(), "what is empty is no value");
    Ok(elements)
}

/// In every encoding that it can be dumped in.
fn dumps(holds: Holds, elements: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut dump = match holds {
        Holds::String => return vec![rdb::dump_string(&elements[0])],
        Holds::Set => TableDump::set(&mut out, elements.len() as u64),
        Holds::Hash => TableDump::hash(&mut out, elements.len() as u64 / 2),
        Holds::SortedSet => return scored_dumps(elements),
        Holds::List => return list_dumps(elements),
        Holds::Stream => return Vec::new(),
    };
    elements.iter().for_each(|element| dump.add(element));
    dump.finish();
    let small = match holds {
        Holds::Hash => Some(rdb::dump_listpack_hash(elements.iter().map(Vec::as_slice))),
        _ => elements
            .iter()
            .map(|member| parse_integer(member))
            .collect::<Option<Vec<i64>>>()
            .map(|mut members| rdb::dump_intset(&mut members)),
    };
    [Some(out), small].into_iter().flatten().collect()
}

/// As nodes, and where that makes no large one as one of them.
fn list_dumps(items: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let bytes: usize = items.iter().map(|item| item.len() + 16).sum();
    [false, true]
        .into_iter()
        .filter(|is_one_node| !is_one_node || bytes as u64 <= VALUE_BYTES_MAX)
        .map(|is_one_node| {
            let mut out = Vec::new();
            let mut dump = ListDump::new(&mut out, is_one_node);
            items.iter().for_each(|item| dump.add(item));
            dump.finish();
            out
        })
        .collect()
}

fn scored_dumps(elements: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let score = |text: &[u8]| parse_double(text).expect("a score was a number");
    let mut members: Vec<(&[u8], f64)> = elements.chunks(2).map(|pair| (&pair[0][..], score(&pair[1]))).collect();
    let mut out = Vec::new();
    let mut dump = TableDump::sorted_set(&mut out, members.len() as u64);
    members.iter().for_each(|(member, score)| dump.add_scored(member, *score));
    dump.finish();
    members.sort_by(|(a, a_score), (b, b_score)| (a_score + 0.0).total_cmp(&(b_score + 0.0)).then(a.cmp(b)));
    vec![out, rdb::dump_listpack_sorted_set(members)]
}

/// An intset has an order of its own.
fn sorted(mut elements: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    elements.sort();
    elements
}

/// `data` as compressed bytes, and as what is compressed.
pub fn fuzz_lzf(data: &[u8]) {
    let expected = decompressed(data);
    let length = expected.as_ref().map_or(data.len(), Vec::len) as u64;
    assert_eq!(lzf::decompress(data, length), expected, "it means something else");
    for wrong in [length + 1, length.wrapping_sub(1), u64::MAX] {
        assert!(lzf::decompress(data, wrong).is_none(), "{wrong} bytes instead of {length}");
    }
    if let Some(compressed) = lzf::compress(data, data.len()) {
        assert!(compressed.len() <= data.len(), "it grew");
        assert_eq!(lzf::decompress(&compressed, data.len() as u64).as_deref(), Some(data), "it does not come back");
    }
}

/// What LZF says, byte by byte. None: it ends in the middle, or refers to what is before its beginning.
fn decompressed(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut next = || {
        let (first, rest) = input.split_first()?;
        input = rest;
        Some(usize::from(*first))
    };
    let mut output = Vec::new();
    while let Some(control) = next() {
        if control < 0x20 {
            for _ in 0..=control {
                output.push(next()? as u8);
            }
            continue;
        }
        let count = if control >> 5 == 7 { 9 + next()? } else { 2 + (control >> 5) };
        let back = ((control & 0x1f) << 8) + next()? + 1;
        for _ in 0..count {
            output.push(*output.get(output.len().checked_sub(back)?)?);
        }
    }
    Some(output)
}

/// `data` as a string that may be a sketch, and its last bytes as elements that it is shown.
pub fn fuzz_sketch(data: &[u8]) {
    const SPARSE_BYTES_MAX: usize = 3000;
    let header = Sketch::empty().bytes()[..16].to_vec();
    for bytes in [data.to_vec(), [&header, data].concat()] {
        let Some(mut sketch) = Sketch::of(bytes) else { continue };
        let is_valid = sketch.unite_into(&mut Registers::zeros()).is_ok();
        let says = (sketch.cardinality().is_ok(), sketch.runs().is_some());
        assert!(is_valid || says != (true, false), "a dense one is never corrupted");
        for element in data.rchunks(4).take(8) {
            let is_added = sketch.add(element, SPARSE_BYTES_MAX).is_ok();
            assert!(is_added || !is_valid, "adding fails");
            assert!(!is_valid || sketch.add(element, SPARSE_BYTES_MAX) == Ok(false), "it is not kept");
        }
        assert!(sketch.bytes().len() <= data.len().max(SKETCH_BYTES_MAX) + 16, "it grew");
        let (mut union, mut again) = (Registers::zeros(), Registers::zeros());
        let is_valid = is_valid && sketch.unite_into(&mut union) == Ok(());
        assert_eq!(sketch.make_dense().is_ok() && sketch.unite_into(&mut again) == Ok(()), is_valid, "adding corrupts");
        assert!(!is_valid || union.values() == again.values(), "dense is something else");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    /// What compresses, what does not, and numbers.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec("[ab]{1,9}", 0..100).prop_map(|words| words.concat().into_bytes()),
            vec(any::<u8>(), 0..300),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        ]
    }

    /// With some bytes changed, and cut off somewhere.
    fn mutated(mut bytes: Vec<u8>, changes: &[(Index, u8)], cut: Option<Index>) -> Vec<u8> {
        let length = bytes.len();
        if length > 0 {
            changes.iter().for_each(|(at, byte)| bytes[at.index(length)] = *byte);
            bytes.truncate(cut.map_or(length, |cut| cut.index(length)));
        }
        bytes
    }

    fn changes() -> impl Strategy<Value = Vec<(Index, u8)>> {
        // Control bytes and lengths of every kind, rather than any byte.
        vec(
            (any::<Index>(), prop_oneof![any::<u8>(), proptest::sample::select(&[0, 0x20, 0x81, 0xc0, 0xc3, 0xff])]),
            0..4,
        )
    }

    /// Bodies of every encoding, small, some of them whole.
    fn collection() -> impl Strategy<Value = Vec<u8>> {
        let text = || prop_oneof![value(), "[0-9]{1,6}".prop_map(String::into_bytes)];
        let texts = vec(text(), 1..6);
        (texts, 0..14usize).prop_map(|(texts, form)| {
            let blob =
                |kind: u8, blob: Vec<u8>| [&[kind, 0x80], &(blob.len() as u32).to_be_bytes()[..], &blob].concat();
            let mut fields: Vec<Vec<u8>> = texts.iter().flat_map(|text| [text.clone(), b"v".to_vec()]).collect();
            let without_footer = |mut payload: Vec<u8>| {
                payload.truncate(payload.len() - 10);
                payload
            };
            match form {
                0 => without_footer(dumps(Holds::Set, &texts).swap_remove(0)),
                1 => without_footer(dumps(Holds::Hash, &fields).swap_remove(0)),
                2 => without_footer(dumps(Holds::Hash, &fields).swap_remove(1)),
                3 => {
                    let mut members: Vec<i64> = texts.iter().map(|text| text.len() as i64 * 77_777).collect();
                    members.dedup();
                    without_footer(rdb::dump_intset(&mut members))
                }
                4 => {
                    let zipmap = fields.chunks(2).flat_map(|pair| {
                        let (field, value) = (&pair[0][..pair[0].len().min(250)], &pair[1]);
                        [&[field.len() as u8], field, &[value.len() as u8, 1], value, b"?"].concat()
                    });
                    blob(9, [&[texts.len() as u8][..], &zipmap.collect::<Vec<u8>>(), b"\xff"].concat())
                }
                5 | 6 => {
                    let scored = fields.iter().step_by(2).zip(1..).flat_map(|(member, score)| {
                        [member.clone(), (f64::from(score) / 2.0).to_string().into_bytes()]
                    });
                    without_footer(scored_dumps(&scored.collect::<Vec<_>>()).swap_remove(form - 5))
                }
                7 => {
                    let scored = fields.iter().step_by(2).flat_map(|member| {
                        let score = member.len().to_string();
                        [
                            &[member.len().min(60) as u8],
                            &member[..member.len().min(60)],
                            &[score.len() as u8],
                            score.as_bytes(),
                        ]
                        .concat()
                    });
                    [&[3, texts.len() as u8][..], &scored.collect::<Vec<u8>>()].concat()
                }
                10 => without_footer(list_dumps(&texts).swap_remove(0)),
                11 => {
                    let items = texts
                        .iter()
                        .flat_map(|text| [&[text.len().min(63) as u8], &text[..text.len().min(63)]].concat());
                    [&[1, texts.len() as u8][..], &items.collect::<Vec<u8>>()].concat()
                }
                12 => {
                    fields.iter_mut().for_each(|text| text.truncate(63));
                    blob(10, ziplist(&fields))
                }
                13 => {
                    // A node that is empty, and one of items.
                    fields.iter_mut().for_each(|text| text.truncate(63));
                    let nodes = [ziplist(&[]), ziplist(&fields)];
                    let nodes =
                        nodes.iter().flat_map(|node| [&[0x80][..], &(node.len() as u32).to_be_bytes(), node].concat());
                    [&[14, 2][..], &nodes.collect::<Vec<u8>>()].concat()
                }
                8 => {
                    fields.iter_mut().for_each(|text| text.truncate(63));
                    blob(13, ziplist(&fields))
                }
                // A set's listpack has what a hash's has: take it for one.
                _ => {
                    let mut body = without_footer(rdb::dump_listpack_hash(fields.iter().map(Vec::as_slice)));
                    body[0] = 20;
                    body
                }
            }
        })
    }

    /// Of texts of up to 63 bytes.
    fn ziplist(texts: &[Vec<u8>]) -> Vec<u8> {
        let (mut before, mut tail, mut blob) = (0, 10, vec![0; 10]);
        for text in texts {
            tail = blob.len() as u32;
            blob.extend_from_slice(&[&[before, text.len() as u8], &text[..]].concat());
            before = text.len() as u8 + 2;
        }
        blob.push(0xff);
        let header =
            [(blob.len() as u32).to_le_bytes(), tail.to_le_bytes(), (texts.len() as u32).to_le_bytes()].concat();
        blob[..10].copy_from_slice(&header[..10]);
        blob
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn restoring_keeps_its_promises_for_collections_with_a_fault(
            body in collection(), changes in changes(), cut in proptest::option::of(any::<Index>())
        ) {
            fuzz_restore(&body);
            fuzz_restore(&mutated(body, &changes, cut));
        }

        #[test]
        fn restoring_keeps_its_promises_for_any_bytes(data in vec(any::<u8>(), 0..100)) {
            fuzz_restore(&data);
        }

        #[test]
        fn restoring_keeps_its_promises_for_payloads_with_a_fault(
            value in value(), changes in changes(), cut in proptest::option::of(any::<Index>())
        ) {
            let payload = rdb::dump_string(&value);
            fuzz_restore(&mutated(payload.clone(), &changes, cut));
            // Without its footer, which the body adds again.
            fuzz_restore(&mutated(payload[..payload.len() - 10].to_vec(), &changes, cut));
        }

        #[test]
        fn sketches_keep_their_promises_for_any_bytes(data in vec(any::<u8>(), 0..60)) {
            fuzz_sketch(&data);
        }

        #[test]
        fn sketches_keep_their_promises_with_a_fault(
            elements in vec(any::<u16>(), 0..40), changes in changes(), cut in proptest::option::of(any::<Index>())
        ) {
            let mut sketch = Sketch::empty();
            for element in elements {
                assert!(sketch.add(&element.to_le_bytes(), 3000).is_ok());
            }
            fuzz_sketch(&mutated(sketch.bytes().to_vec(), &changes, cut));
            fuzz_sketch(&mutated(sketch.bytes()[16..].to_vec(), &changes, cut));
        }

        #[test]
        fn lzf_means_what_it_says_for_any_bytes(data in vec(any::<u8>(), 0..100)) {
            fuzz_lzf(&data);
        }

        #[test]
        fn lzf_means_what_it_says_with_a_fault(
            value in value(), changes in changes(), cut in proptest::option::of(any::<Index>())
        ) {
            let compressed = lzf::compress(&value, value.len()).unwrap_or(value);
            fuzz_lzf(&mutated(compressed, &changes, cut));
        }
    }
}
