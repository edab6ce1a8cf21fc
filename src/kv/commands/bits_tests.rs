//! Bits on a keyspace. The replies are those of redis-server 7.0.15 to the same calls.

use crate::kv::commands::lookup::PIECE_BYTES;
use crate::kv::errors;
use crate::kv::fixture::{Fixture, show};

#[test]
fn setbit_answers_the_old_bit_and_grows_the_string() {
    Fixture::new().transcript(
        "> setbit k 7 1
         :0
         > setbit k 7 1
         :1
         > getbit k 7
         :1
         > getbit k 6
         :0
         > getbit k 100
         :0
         > setbit k 23 0
         :0
         > strlen k
         :3
         > setbit fresh 8 0
         :0
         > strlen fresh
         :2
         > getbit missing 5
         :0
         > setbit k 0 2
         -ERR bit is not an integer or out of range
         > setbit k 0 x
         -ERR bit is not an integer or out of range
         > setbit k -1 1
         -ERR bit offset is not an integer or out of range
         > setbit k 4294967296 1
         -ERR bit offset is not an integer or out of range
         > getbit k x
         -ERR bit offset is not an integer or out of range",
    );
}

#[test]
fn a_bit_that_is_already_so_is_no_change() {
    let mut fixture = Fixture::new();
    fixture.run("setbit k 7 1");
    let before = fixture.changes();
    fixture.run("setbit k 7 1");
    fixture.run("setbit k 6 0");
    assert_eq!(fixture.changes(), before);
    fixture.run("setbit k 8 0");
    assert!(fixture.changes() > before, "the string grew");
}

#[test]
fn bitcount_counts_in_bytes_or_bits() {
    Fixture::new().transcript(
        "> set k foobar
         OK
         > bitcount k
         :26
         > bitcount k 0 0
         :4
         > bitcount k 1 1 byte
         :6
         > bitcount k 5 30 BIT
         :17
         > bitcount k -1 -2
         :0
         > bitcount k -1 -2 foo
         :0
         > bitcount k 0 -1 foo
         -ERR syntax error
         > bitcount k 0
         -ERR syntax error
         > bitcount k 0 1 bit more
         -ERR syntax error
         > bitcount k 0 x
         -ERR value is not an integer or out of range
         > bitcount missing 0 x foo
         :0",
    );
}

#[test]
fn bitpos_knows_when_the_end_was_given() {
    Fixture::new().transcript(
        "> setrange k 2 a
         :3
         > bitpos k 1
         :17
         > bitpos k 1 -1
         :17
         > bitpos k 0 2 -1
         :16
         > bitpos k 1 17 17 bit
         :17
         > bitpos k 1 0 1
         :-1
         > setbit ones 0 1
         :0
         > bitfield ones set u8 0 255
         [:128]
         > bitpos ones 0
         :8
         > bitpos ones 0 0
         :8
         > bitpos ones 0 0 -1
         :-1
         > bitpos ones 0 1
         :-1
         > bitpos ones 0 -1 -2
         :-1
         > bitpos missing 0
         :0
         > bitpos missing 1 x
         :-1
         > bitpos missing 2
         -ERR The bit argument must be 1 or 0.
         > bitpos ones 1 0 x foo
         -ERR syntax error
         > bitpos ones 1 x
         -ERR value is not an integer or out of range",
    );
}

#[test]
fn bitop_makes_the_longest_length_and_removes_an_empty_result() {
    Fixture::new().transcript(
        "> mset a foobar b abcdef c \u{7f}
         OK
         > bitop and d a b
         :6
         > get d
         `bc`ab
         > bitop or d a c
         :6
         > get d
         \\x7foobar
         > bitop and d a missing
         :6
         > get d
         \\x00\\x00\\x00\\x00\\x00\\x00
         > bitop xor d a a
         :6
         > bitop not a c
         :1
         > get a
         \\x80
         > bitop not d a b
         -ERR BITOP NOT must be called with a single source key.
         > bitop foo d a b
         -ERR syntax error
         > bitop or d missing
         :0
         > exists d
         :0",
    );
}

#[test]
fn bitfield_runs_its_operations_in_order() {
    Fixture::new().transcript(
        "> bitfield k incrby i5 100 1 get u4 0
         [:1 :0]
         > bitfield k set u8 #1 255 get u8 #1 incrby u8 #1 1
         [:0 :255 :0]
         > bitfield k overflow sat incrby u2 100 5 overflow fail incrby u2 100 1 get u2 100
         [:3 (nil) :3]
         > bitfield fresh overflow fail set u2 0 10
         [(nil)]
         > strlen fresh
         :1
         > bitfield k
         []
         > bitfield missing get u8 0
         [:0]
         > exists missing
         :0
         > bitfield_ro k get u2 100 get i2 100
         [:3 :-1]
         > bitfield_ro k set u8 0 1
         -ERR BITFIELD_RO only supports the GET subcommand
         > bitfield k get u64 0
         -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
         > bitfield k get u8 #-1
         -ERR bit offset is not an integer or out of range
         > bitfield k overflow x
         -ERR Invalid OVERFLOW type specified
         > bitfield k get u8
         -ERR syntax error",
    );
}

#[test]
fn a_bitfield_with_an_error_behind_a_write_writes_nothing() {
    let mut fixture = Fixture::new();
    assert_eq!(show(&fixture.run("bitfield k set u8 0 1 set u8 0 x")), format!("-{}", errors::NOT_AN_INTEGER));
    assert_eq!(show(&fixture.run("exists k")), ":0");
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let mut fixture = Fixture::new();
    fixture.make_list("list");
    for call in [
        "getbit list 0",
        "setbit list 0 1",
        "bitcount list 0 x",
        "bitpos list 1 x",
        "bitop and d k list",
        "bitfield list get u8 0",
        "bitfield list set u8 0 1",
        "bitfield list",
        "bitfield_ro list",
        "bitfield_ro list get u8 0",
    ] {
        assert_eq!(show(&fixture.run(call)), format!("-{}", errors::WRONG_TYPE), "{call}");
    }
    assert_eq!(show(&fixture.run("bitop or list missing")), ":0", "the destination may hold anything");
    assert_eq!(show(&fixture.run("exists list")), ":0");
}

#[test]
fn bits_of_a_big_value_are_read_in_pieces() {
    let mut fixture = Fixture::new();
    let last = PIECE_BYTES * 8 * 2 + 12_345;
    for bit in [3, PIECE_BYTES * 8 - 1, PIECE_BYTES * 8, last] {
        assert_eq!(show(&fixture.run(&format!("setbit k {bit} 1"))), ":0");
    }
    let boundary = PIECE_BYTES * 8;
    for (call, reply) in [
        ("bitcount k".to_owned(), 4),
        (format!("bitcount k 4 {} bit", boundary - 1), 1),
        (format!("bitcount k {} {last} bit", boundary + 1), 1),
        ("bitpos k 1 1".to_owned(), boundary - 1),
        (format!("bitpos k 1 {} -1 bit", boundary + 1), last),
        (format!("getbit k {last}"), 1),
        ("bitop not d k".to_owned(), last / 8 + 1),
        ("bitop and d d k".to_owned(), last / 8 + 1),
        ("bitcount d".to_owned(), 0),
    ] {
        assert_eq!(show(&fixture.run(&call)), format!(":{reply}"), "{call}");
    }
}
