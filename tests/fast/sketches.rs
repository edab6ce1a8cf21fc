//! The bytes of HyperLogLog (src/kv/formats/hyperloglog), compared with those of a redis-server where one is installed: random elements,
//! unions, corrupted strings, on the way from sparse to dense.

use std::collections::HashMap;

use emptyserver::kv::formats::hyperloglog::{Encoding, Registers, Sketch};

use crate::support::{Connection, Redis};

const ROUNDS: u64 = 60;

/// A sequence that is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % limit
    }

    /// Of any length up to 20 bytes.
    fn element(&mut self) -> Vec<u8> {
        let length = self.below(21);
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// The string at a key without what PFCOUNT of Redis has left in the header.
fn stored(redis: &mut Connection, key: &str) -> Vec<u8> {
    redis.call(&["GET", key]).bytes().unwrap().to_vec()
}

fn call(redis: &mut Connection, name: &str, key: &str, elements: &[Vec<u8>]) -> String {
    let mut words = vec![name.as_bytes().to_vec(), key.as_bytes().to_vec()];
    words.extend_from_slice(elements);
    redis.call(&words).to_string()
}

#[test]
fn sketches_have_the_bytes_and_estimates_of_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut redis = redis.connect();
    let mut random = Random(1);
    for round in 0..ROUNDS {
        // Small limits are met sooner.
        let sparse_bytes_max = [20, 100, 700, 3000, 20_000][random.below(5) as usize];
        redis.call(&["CONFIG", "SET", "hll-sparse-max-bytes", &sparse_bytes_max.to_string()]);
        redis.call(&["FLUSHALL"]);
        let mut sketches: HashMap<&str, Sketch> = HashMap::new();
        for _ in 0..30 {
            let key = ["a", "b", "c"][random.below(3) as usize];
            let count = [0, 1, 3, 40, 400][random.below(5) as usize];
            let elements: Vec<Vec<u8>> = (0..count).map(|_| random.element()).collect();
            let is_new = !sketches.contains_key(key);
            let sketch = sketches.entry(key).or_insert_with(Sketch::empty);
            let is_changed = elements
                .iter()
                .fold(is_new, |changed, element| sketch.add(element, sparse_bytes_max).unwrap() || changed);
            if is_changed {
                sketch.outdate();
            }
            assert_eq!(call(&mut redis, "PFADD", key, &elements), format!(":{}", u8::from(is_changed)));
            assert_eq!(stored(&mut redis, key), sketch.bytes(), "round {round}");
        }
        let mut union = Registers::zeros();
        let mut merged = Sketch::empty();
        for sketch in sketches.values() {
            sketch.unite_into(&mut union).unwrap();
            if sketch.encoding() == Encoding::Dense {
                merged.make_dense().unwrap();
            }
        }
        for (index, value) in union.values().iter().enumerate().filter(|(_, value)| **value > 0) {
            merged.raise(index, *value, sparse_bytes_max).unwrap();
        }
        merged.outdate();
        redis.call(&["PFMERGE", "merged", "a", "b", "c"]);
        assert_eq!(stored(&mut redis, "merged"), merged.bytes(), "round {round}");
        for (key, sketch) in sketches.iter().chain([(&"merged", &merged)]) {
            assert_eq!(redis.call(&["PFCOUNT", key]).to_string(), format!(":{}", sketch.cardinality().unwrap()));
        }
    }
}

#[test]
fn what_is_corrupted_is_corrupted_for_redis_too() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut redis = redis.connect();
    let mut random = Random(2);
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..2000 {
        let mut sketch = Sketch::empty();
        for _ in 0..random.below(12) {
            sketch.add(&random.element(), 3000).unwrap();
        }
        sketch.outdate();
        let mut bytes = sketch.bytes().to_vec();
        for _ in 0..random.below(3) {
            let at = 16 + random.below(bytes.len() as u64 - 16) as usize;
            bytes[at] = random.below(256) as u8;
        }
        bytes.truncate(bytes.len() - random.below(2) as usize);
        // A long run of zeros whose second byte is missing: Redis reads what lies behind its string.
        if bytes[bytes.len() - 1] >> 6 == 1 {
            continue;
        }
        let sketch = Sketch::of(bytes.clone()).unwrap();
        redis.call(&[b"SET".to_vec(), b"a".to_vec(), bytes]);
        let count = redis.call(&["PFCOUNT", "a"]).to_string();
        match sketch.cardinality() {
            Ok(cardinality) => assert_eq!(count, format!(":{cardinality}")),
            Err(_) => assert_eq!(count, "-INVALIDOBJ Corrupted HLL object detected"),
        }
        let union = redis.call(&["PFCOUNT", "a", "b"]).to_string();
        let is_united = sketch.unite_into(&mut Registers::zeros()).is_ok();
        assert_eq!(union.starts_with(':'), is_united, "{union}");
        *if is_united { &mut taken } else { &mut refused } += 1;
    }
    assert!(refused > 100 && taken > 100, "{refused} {taken}");
}
