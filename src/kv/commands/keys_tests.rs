//! Key and database commands against a keyspace: replies, error texts and the order of checks, as Redis 7.2 has them.

use crate::kv::fixture::Fixture;

#[test]
fn del_unlink_exists_and_touch_count_keys() {
    let mut fixture = Fixture::new();
    for key in ["a", "b", "c", "d"] {
        fixture.put(key, "1");
    }
    fixture.transcript(
        "
        > EXISTS a a nope b
        :3
        > TOUCH a a nope
        :2
        > DEL a nope a
        :1
        > UNLINK b c b
        :2
        > EXISTS a b c
        :0
        > DBSIZE
        :1
        > DEL
        -ERR wrong number of arguments for 'del' command
        ",
    );
}

#[test]
fn type_names_the_kind() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.transcript("> TYPE a\nstring\n> type nope\nnone");
}

#[test]
fn rename_needs_its_source_and_replaces_its_target() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.put("b", "22");
    fixture.transcript(
        "
        > RENAME nope x
        -ERR no such key
        > RENAME nope nope
        -ERR no such key
        > RENAME a a
        OK
        > RENAMENX nope nope
        -ERR no such key
        > RENAMENX a a
        :0
        > RENAMENX a b
        :0
        > RENAMENX a c
        :1
        > RENAME c b
        OK
        > EXISTS a b c
        :1
        > MEMORY USAGE b
        :34
        ",
    );
}

#[test]
fn rename_takes_the_expiry_along_and_drops_the_targets() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.put("b", "2");
    fixture.put("c", "2");
    fixture.transcript(
        "
        > EXPIRE a 100
        :1
        > EXPIRE c 100
        :1
        > RENAME a b
        OK
        > TTL b
        :100
        > RENAME b d
        OK
        > TTL b
        :-2
        > RENAME d c
        OK
        > TTL c
        :100
        ",
    );
}

#[test]
fn copy_keeps_the_source_and_its_expiry() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.put("b", "2");
    fixture.transcript(
        "
        > EXPIRE a 50
        :1
        > COPY a b
        :0
        > COPY a b REPLACE
        :1
        > TTL b
        :50
        > COPY nope c
        :0
        > COPY a a
        -ERR source and destination objects are the same
        > COPY nope nope db 0
        -ERR source and destination objects are the same
        > COPY a a DB 3
        :1
        > COPY a a DB 3
        :0
        > COPY a a REPLACE DB 3 REPLACE
        :1
        > COPY a b DB
        -ERR syntax error
        > COPY a b DB x
        -ERR value is not an integer or out of range
        > COPY a b DB 16
        -ERR DB index is out of range
        > COPY a b DB -1
        -ERR DB index is out of range
        > COPY a b DB 99999999999
        -ERR value is out of range, value must between -2147483648 and 2147483647
        > COPY a b NOPE
        -ERR syntax error
        ",
    );
    fixture.select(3);
    fixture.transcript("> TTL a\n:50\n> DBSIZE\n:1");
}

#[test]
fn move_changes_the_database_unless_the_key_is_there() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.put("b", "1");
    fixture.transcript(
        "
        > MOVE a 0
        -ERR source and destination objects are the same
        > MOVE a x
        -ERR value is not an integer or out of range
        > MOVE a 16
        -ERR DB index is out of range
        > MOVE a 99999999999
        -ERR value is out of range, value must between -2147483648 and 2147483647
        > MOVE nope 1
        :0
        > EXPIRE a 7
        :1
        > MOVE a 1
        :1
        > EXISTS a b
        :1
        > COPY b a DB 2
        :1
        ",
    );
    fixture.select(1);
    fixture.transcript("> TTL a\n:7\n> MOVE a 2\n:0\n> EXISTS a\n:1");
}

#[test]
fn randomkey_is_nil_without_keys() {
    let mut fixture = Fixture::new();
    fixture.transcript("> RANDOMKEY\n(nil)");
    fixture.put("only", "1");
    fixture.transcript("> RANDOMKEY\nonly");
}

#[test]
fn flush_empties_one_database_or_all() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.select(1);
    fixture.put("b", "1");
    fixture.transcript(
        "
        > FLUSHDB sync async
        -ERR syntax error
        > FLUSHALL nope
        -ERR syntax error
        > DBSIZE
        :1
        > FLUSHDB ASYNC
        OK
        > DBSIZE
        :0
        ",
    );
    fixture.select(0);
    fixture.transcript("> DBSIZE\n:1\n> FLUSHALL sync\nOK\n> DBSIZE\n:0\n> FLUSHALL\nOK");
}

#[test]
fn swapdb_exchanges_databases_and_checks_both_numbers_first() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.transcript(
        "
        > SWAPDB x y
        -ERR invalid first DB index
        > SWAPDB 99 y
        -ERR invalid second DB index
        > SWAPDB 99999999999 1
        -ERR invalid first DB index
        > SWAPDB 0 16
        -ERR DB index is out of range
        > SWAPDB -1 0
        -ERR DB index is out of range
        > SWAPDB 1 1
        OK
        > SWAPDB 0 5
        OK
        > DBSIZE
        :0
        ",
    );
    fixture.select(5);
    fixture.transcript("> EXISTS a\n:1");
}

#[test]
fn object_answers_what_redis_would() {
    let mut fixture = Fixture::new();
    fixture.put("int", "-9223372036854775808");
    fixture.put("long", "9223372036854775808");
    fixture.put("empty", "");
    fixture.put("short", &"x".repeat(44));
    fixture.put("raw", &"x".repeat(45));
    fixture.transcript(
        "
        > OBJECT ENCODING int
        int
        > OBJECT ENCODING long
        embstr
        > OBJECT ENCODING empty
        embstr
        > OBJECT ENCODING short
        embstr
        > OBJECT encoding raw
        raw
        > OBJECT ENCODING nope
        (nil)
        > OBJECT IDLETIME raw
        :0
        > OBJECT IDLETIME nope
        (nil)
        > OBJECT REFCOUNT raw
        :1
        > OBJECT REFCOUNT nope
        (nil)
        > OBJECT FREQ nope
        (nil)
        > OBJECT
        -ERR wrong number of arguments for 'object' command
        > OBJECT ENCODING
        -ERR wrong number of arguments for 'object|encoding' command
        > Object Nope x
        -ERR unknown subcommand 'Nope'. Try OBJECT HELP.
        ",
    );
    let freq = crate::kv::fixture::show(&fixture.run("OBJECT FREQ raw"));
    assert!(freq.starts_with("-ERR An LFU maxmemory policy is not selected, access frequency not tracked."), "{freq}");
    let help = crate::kv::fixture::show(&fixture.run("OBJECT HELP"));
    assert!(
        help.starts_with("[OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are: ENCODING <key>"),
        "{help}"
    );
    assert!(help.ends_with("HELP     Prints this help.]"), "{help}");
}

#[test]
fn memory_usage_counts_key_value_and_row() {
    let mut fixture = Fixture::new();
    fixture.put("key", &"x".repeat(1000));
    fixture.transcript(
        "
        > MEMORY USAGE key
        :1035
        > MEMORY USAGE key SAMPLES 0
        :1035
        > MEMORY USAGE nope
        (nil)
        > MEMORY USAGE nope SAMPLES -1
        -ERR syntax error
        > MEMORY USAGE nope SAMPLES x
        -ERR value is not an integer or out of range
        > MEMORY USAGE nope SAMPLES
        -ERR syntax error
        ",
    );
}
