//! The bodies of the fuzz targets of RESTORE and LZF (`fuzz/`), beside the parsers that they feed; the tests below run them too.
//! Each panics where a parser breaks a promise: what was dumped comes back, what is restored stays within its bound, and LZF
//! means what a decoder of a few lines makes of it.

use super::{lzf, rdb};

/// Small, so that a short payload reaches it.
const VALUE_BYTES_MAX: u64 = 1 << 16;

/// `data` as a payload, as what a payload encloses, and as a value.
pub fn fuzz_restore(data: &[u8]) {
    // A checksum that holds by chance is not to be expected: the second gets past it.
    for payload in [data.to_vec(), rdb::seal(data.to_vec(), 10)] {
        if let Ok(value) = rdb::restore_string(&payload, VALUE_BYTES_MAX) {
            let length = value.len() as u64;
            assert!(length <= VALUE_BYTES_MAX, "a value of {length} bytes");
            assert_eq!(rdb::restore_string(&payload, length).as_ref(), Ok(&value), "the bound changes the value");
            assert_eq!(rdb::restore_string(&rdb::dump_string(&value), length), Ok(value));
        }
    }
    let payload = rdb::dump_string(data);
    assert_eq!(rdb::restore_string(&payload, data.len() as u64).as_deref(), Ok(data), "it does not come back");
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

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
