//! Sketches beside a model of their registers, and strings that are no sketches. That the bytes are those of Redis: tests/fast/sketches.rs.

use std::collections::HashMap;

use proptest::prelude::*;

use super::sketch::SKETCH_BYTES_MAX;
use super::*;

const SPARSE_BYTES_MAX: usize = 3000;

/// The registers of a sketch that are not 0.
fn registers(sketch: &Sketch) -> HashMap<usize, u8> {
    let mut union = Registers::zeros();
    sketch.unite_into(&mut union).unwrap();
    union.values().iter().copied().enumerate().filter(|(_, value)| *value > 0).collect()
}

fn sketch_of(elements: impl IntoIterator<Item = u32>, sparse_bytes_max: usize) -> Sketch {
    let mut sketch = Sketch::empty();
    for element in elements {
        sketch.add(element.to_string().as_bytes(), sparse_bytes_max).unwrap();
    }
    sketch
}

#[test]
fn the_empty_sketch_has_seen_nothing() {
    let sketch = Sketch::empty();
    assert_eq!(sketch.bytes(), b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
    assert_eq!(sketch.cardinality(), Ok(0));
    assert_eq!(sketch.runs().unwrap(), "Z:16384");
    let mut outdated = sketch;
    outdated.outdate();
    assert_eq!(outdated.cardinality(), Ok(0));
}

#[test]
fn runs_are_split_and_merged() {
    let mut sketch = Sketch::empty();
    let mut raise = |index, value| {
        sketch.raise(index, value, SPARSE_BYTES_MAX).unwrap();
        sketch.runs().unwrap()
    };
    assert_eq!(raise(0, 1), "v:1,1 Z:16383");
    assert_eq!(raise(16_383, 1), "v:1,1 Z:16382 v:1,1");
    assert_eq!(raise(3, 2), "v:1,1 z:2 v:2,1 Z:16379 v:1,1");
    assert_eq!(raise(1, 1), "v:1,2 z:1 v:2,1 Z:16379 v:1,1");
    assert_eq!(raise(2, 1), "v:1,3 v:2,1 Z:16379 v:1,1");
    assert_eq!(raise(1, 2), "v:1,1 v:2,1 v:1,1 v:2,1 Z:16379 v:1,1");
    assert_eq!(raise(2, 2), "v:1,1 v:2,3 Z:16379 v:1,1");
    assert_eq!(raise(2, 1), "v:1,1 v:2,3 Z:16379 v:1,1");
    assert_eq!(raise(70, 32), "v:1,1 v:2,3 Z:66 v:32,1 Z:16312 v:1,1");
    assert_eq!(sketch.encoding(), Encoding::Sparse);
    assert_eq!(sketch.raise(70, 33, SPARSE_BYTES_MAX), Ok(true));
    assert_eq!((sketch.encoding(), sketch.runs()), (Encoding::Dense, None));
    assert_eq!(registers(&sketch), HashMap::from([(0, 1), (1, 2), (2, 2), (3, 2), (70, 33), (16_383, 1)]));
    assert_eq!(sketch.raise(16_383, 63, SPARSE_BYTES_MAX), Ok(true));
    assert_eq!(sketch.raise(16_383, 62, SPARSE_BYTES_MAX), Ok(false));
}

#[test]
fn estimates_are_near_the_truth_in_both_encodings() {
    for count in [1, 10, 100, 1000, 10_000, 100_000] {
        let sketch = sketch_of(0..count, SPARSE_BYTES_MAX);
        let mut dense = sketch.clone();
        dense.make_dense().unwrap();
        let estimate = sketch.cardinality().unwrap();
        assert_eq!(dense.cardinality(), Ok(estimate));
        let (count, error) = (f64::from(count), (estimate as f64 - f64::from(count)).abs());
        assert!(error <= (count * 0.03).max(1.0), "{estimate} for {count}");
    }
}

#[test]
fn the_cardinality_in_the_header_is_taken_while_it_is_up_to_date() {
    let mut bytes = sketch_of(0..10, SPARSE_BYTES_MAX).bytes().to_vec();
    assert_eq!(bytes[8..16], [0, 0, 0, 0, 0, 0, 0, 0x80]);
    bytes[8..16].copy_from_slice(&[1, 2, 0, 0, 0, 0, 0, 0]);
    let mut sketch = Sketch::of(bytes).unwrap();
    assert_eq!(sketch.cardinality(), Ok(513));
    assert_eq!(sketch.add(b"3", SPARSE_BYTES_MAX), Ok(false));
    assert_eq!(sketch.cardinality(), Ok(513));
    assert_eq!(sketch.add(b"one more", SPARSE_BYTES_MAX), Ok(true));
    assert_eq!(sketch.cardinality(), Ok(11));
}

#[test]
fn a_sparse_string_grows_up_to_its_limit() {
    for limit in [18, 20, 100, 3000, SKETCH_BYTES_MAX] {
        let mut sketch = Sketch::empty();
        let mut longest = 0;
        for n in 0..5000u32 {
            sketch.add(&n.to_le_bytes(), limit).unwrap();
            if sketch.encoding() == Encoding::Sparse {
                longest = longest.max(sketch.bytes().len());
            }
        }
        assert!(longest <= limit, "{longest} of {limit}");
        assert_eq!(sketch.encoding() == Encoding::Dense, limit <= 3000);
    }
}

#[test]
fn what_is_no_sketch_is_none() {
    let sketch = Sketch::empty().bytes().to_vec();
    let with = |at: usize, byte: u8| {
        let mut bytes = sketch.clone();
        bytes[at] = byte;
        Sketch::of(bytes)
    };
    assert!(with(0, b'h').is_none() && with(3, 0).is_none() && with(4, 2).is_none() && with(4, 0).is_none());
    assert!(Sketch::of(sketch[..15].to_vec()).is_none());
    assert!(Sketch::of(Vec::new()).is_none());
    // A header alone is one, and corrupted.
    let mut header = Sketch::of(sketch[..16].to_vec()).unwrap();
    assert_eq!(header.add(b"a", SPARSE_BYTES_MAX), Err(Corrupted));
    assert_eq!(header.make_dense(), Err(Corrupted));
    assert_eq!(header.unite_into(&mut Registers::zeros()), Err(Corrupted));
    header.outdate();
    assert_eq!(header.cardinality(), Err(Corrupted));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sketch_has_the_registers_of_a_table(
        changes in proptest::collection::vec((0..REGISTERS, 1..52u8), 0..300),
        near in proptest::collection::vec((0..40usize, 1..4u8), 0..200),
        limit in prop_oneof![Just(40usize), Just(300), Just(3000)],
    ) {
        let (mut sketch, mut table) = (Sketch::empty(), HashMap::new());
        for (index, value) in near.into_iter().chain(changes) {
            let old = table.get(&index).copied().unwrap_or(0);
            prop_assert_eq!(sketch.raise(index, value, limit), Ok(value > old));
            table.insert(index, value.max(old));
        }
        prop_assert_eq!(registers(&sketch), table);
        let estimate = {
            sketch.outdate();
            sketch.cardinality()
        };
        sketch.make_dense().unwrap();
        prop_assert_eq!(sketch.cardinality(), estimate);
    }

    #[test]
    fn a_union_has_seen_what_either_has(
        one in proptest::collection::vec(0..5000u32, 0..400), other in proptest::collection::vec(0..5000u32, 0..400)
    ) {
        let both = sketch_of(one.iter().chain(&other).copied(), SPARSE_BYTES_MAX);
        let mut union = Registers::zeros();
        sketch_of(one, SPARSE_BYTES_MAX).unite_into(&mut union).unwrap();
        sketch_of(other, 100).unite_into(&mut union).unwrap();
        prop_assert_eq!(Histogram::of(union.values().iter().copied()).cardinality(), both.cardinality().unwrap());
    }
}
