//! What the commands on sketches do beside what transcripts say: strings that are no sketches, the time when the key ends, bounds.

use crate::kv::errors;
use crate::kv::fixture::Fixture;
use crate::kv::formats::hyperloglog::{SKETCH_BYTES_MAX, Sketch};
use crate::resp::Reply;
use crate::storage::Expiry;

#[test]
fn a_sketch_keeps_the_time_when_its_key_ends() {
    let mut fixture = Fixture::new();
    fixture.transcript(
        "> PFADD a x
         :1
         > EXPIRE a 100
         :1
         > PFADD a y
         :1
         > PFMERGE a
         OK
         > PFDEBUG TODENSE a
         :1
         > TTL a
         :100
         > PFCOUNT a
         :2
         > STRLEN a
         :12304",
    );
}

#[test]
fn counting_changes_nothing() {
    let mut fixture = Fixture::new();
    fixture.run("PFADD a x y z");
    let before = fixture.run("GET a");
    let changes = fixture.changes();
    assert_eq!(fixture.run("PFCOUNT a"), Reply::Integer(3));
    assert_eq!(fixture.run("PFADD a x"), Reply::Integer(0));
    assert_eq!((fixture.run("GET a"), fixture.changes()), (before, changes));
}

#[test]
fn what_no_sketch_can_be_is_not_read() {
    let mut fixture = Fixture::new();
    let put = |fixture: &mut Fixture, bytes: &[u8]| {
        fixture.write(|keyspace| keyspace.put_string(b"a", bytes, Expiry::Clear).unwrap());
    };
    let mut long = Sketch::empty().bytes().to_vec();
    long.resize(SKETCH_BYTES_MAX + 1, 0x80);
    put(&mut fixture, &long);
    for call in ["PFADD a x", "PFCOUNT a", "PFCOUNT a b", "PFMERGE b a", "PFMERGE a", "PFDEBUG GETREG a"] {
        assert_eq!(fixture.run(call), Reply::Error(errors::CORRUPTED_SKETCH.into()), "{call}");
    }
    // Values behind the last register: counting finds them, merging leaves them out, as in Redis.
    let mut behind = Sketch::empty().bytes().to_vec();
    behind.push(0x80);
    behind[15] |= 0x80;
    put(&mut fixture, &behind);
    assert_eq!(fixture.run("PFCOUNT a"), Reply::Error(errors::CORRUPTED_SKETCH.into()));
    assert_eq!(fixture.run("PFCOUNT a b"), Reply::Integer(0));
    assert_eq!(fixture.run("EXISTS b"), Reply::Integer(0));
}

#[test]
fn sketches_with_any_bytes_end_no_call() {
    let mut fixture = Fixture::new();
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        (state >> 33) as u8
    };
    for round in 0..200 {
        let mut bytes = Sketch::empty().bytes()[..16].to_vec();
        bytes.extend((0..round).map(|_| random()));
        fixture.write(|keyspace| keyspace.put_string(b"a", &bytes, Expiry::Clear).unwrap());
        for call in
            ["PFCOUNT a", "PFCOUNT a b", "PFDEBUG DECODE a", "PFMERGE b a", "PFADD a x y z", "PFDEBUG TODENSE a"]
        {
            fixture.run(call);
        }
    }
}
