use super::{
    Holds, ListDump, Payload, RestoreError, TableDump, dump_intset, dump_listpack_hash, dump_listpack_sorted_set,
    sealed,
};

/// Every element, a hash's fields and values in turn.
fn elements(payload: &[u8]) -> Result<Vec<String>, RestoreError> {
    let payload = Payload::open(payload, 1 << 20)?;
    let mut shown: Vec<String> = Vec::new();
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut show = |name: &[u8], value: Option<&[u8]>| {
        if names.iter().any(|known| known == name) {
            return false;
        }
        names.push(name.to_vec());
        shown.extend([Some(name), value].into_iter().flatten().map(|text| text.escape_ascii().to_string()));
        true
    };
    match payload.holds()? {
        Holds::String => panic!("a string"),
        Holds::List => payload.each_item(|item| {
            shown.push(item.escape_ascii().to_string());
            Ok::<_, RestoreError>(())
        })?,
        Holds::Set => payload.each_member(|member| Ok::<_, RestoreError>(show(member, None)))?,
        Holds::Hash => payload.each_field(|field, value| Ok::<_, RestoreError>(show(field, Some(value))))?,
        Holds::SortedSet => payload
            .each_scored(|member, score| Ok::<_, RestoreError>(show(member, Some(score.to_string().as_bytes()))))?,
        Holds::Stream => panic!("a stream"),
    }
    Ok(shown)
}

/// The numbers where a listpack's encodings begin and end.
const NUMBERS: [i64; 20] = [
    0,
    1,
    127,
    128,
    -1,
    -4096,
    4095,
    -4097,
    4096,
    32_767,
    -32_768,
    32_768,
    8_388_607,
    -8_388_608,
    8_388_608,
    2_147_483_647,
    -2_147_483_648,
    2_147_483_648,
    i64::MAX,
    i64::MIN,
];

/// Read from redis-server 7.0.15: HSET h f0 0 f1 1 … of `NUMBERS`.
const HASH_OF_NUMBERS: &[u8] = b"\x10\xc3@\xf4A,\x18,\x01\x00\x00(\x00\x82f0\x03\x00\x01\x82f1\x03\x01\x01\x84f127\x05\x7f`\x07\x198\
\x05\xc0\x80\x02\x83f-1\x04\xdf\xff\x02\x86f-4096\x07\xd0\x00\x02\x85f \t\x025\x06\xcf\xc0\x14\x057\x07\xf1\xff\xef\x03`\x15\x0b6\
\x06\xf1\x00\x10\x03\x86f3276@\x16\x04\x7f\x03\x87f-@\x0c\x048\x08\xf1\x00\x80\xa0\x18\x188\x07\xf2\x00\x80\x00\x04\x88f8388607\t\
\xf2\xff\xff\x7f\x04\x89f-\x80\x0f\x058\n\xf2\x00\x00\x80\xe0\x00\x1e\x028\t\xf3 \x0e\x10\x00\x05\x8bf2147483647\x0c\xf3\xff 2\x03\
\x05\x8cf-\xe0\x00\x13\x018\r &\x01\x00\x80\xe0\x03&\x028\x0c\xf4@\x12 \x03\x18\x00\t\x94f9223372036854775807\x15\xf4 F@\x00\x04\
\x7f\t\x95f-\xe0\t \x018\x16@@@\x00\x02\x80\t\xff\n\x00a\xff\xce(vG\xad\x9a";

fn fields_of_numbers() -> Vec<String> {
    NUMBERS.iter().flat_map(|number| [format!("f{number}"), number.to_string()]).collect()
}

/// Read from redis-server 7.0.15: HSET h x…(63) y…(64) 007 -0.
const HASH_OF_TEXTS: &[u8] =
    b"\x10\xc3 @\x94\x07\x94\x00\x00\x00\x04\x00\xbfx\xe05\x00\x03@\xe0@y\xe06\x00\nB\x83007\x04\x82-0\x03\xff\n\x00\xf5\x8a\xe1)DOc\xc0";

#[test]
fn small_ones_are_dumped_as_redis_7_0_does() {
    let fields = fields_of_numbers();
    assert_eq!(dump_listpack_hash(fields.iter().map(String::as_bytes)), HASH_OF_NUMBERS);
    let (x, y) = (b"x".repeat(63), b"y".repeat(64));
    assert_eq!(dump_listpack_hash([&x[..], &y, b"007", b"-0"]), HASH_OF_TEXTS);
    assert_eq!(
        dump_listpack_hash([&b"a"[..], b"1"]),
        b"\x10\x0c\x0c\x00\x00\x00\x02\x00\x81a\x02\x01\x01\xff\n\x00\x84\xa6\x93\xe8\xaa\x17\xe4\xdb"
    );
    let intsets: [(&mut [i64], &[u8]); 3] = [
        (&mut [3, 1, 2], b"\x0b\x0e\x02\x00\x00\x00\x03\x00\x00\x00\x01\x00\x02\x00\x03\x00\n\x00\xa5\x02\\\xe2mnM\x1b"),
        (
            &mut [1, -32_769, 3],
            b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\xff\x7f\xff\xff\x01\x00\x00\x00\x03\x00\x00\x00\n\x00r#p\xe9\x85\\\xe8\x01",
        ),
        (
            &mut [1, -2_147_483_649, 3],
            b"\x0b \x08\x00\x00\x00\x03\x00\x00\x00\xff\xff\xff\x7f\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\
\x00\x00\x00\x00\n\x00\x00\x86~v\xb0\xb6p\xfe",
        ),
    ];
    for (members, payload) in intsets {
        assert_eq!(dump_intset(members).escape_ascii().to_string(), payload.escape_ascii().to_string());
    }
}

#[test]
fn large_ones_are_dumped_element_by_element_behind_what_the_buffer_has() {
    let mut out = b"before".to_vec();
    let mut dump = TableDump::hash(&mut out, 2);
    [&b"n"[..], b"12", b"field", &b"v".repeat(65)].into_iter().for_each(|text| dump.add(text));
    dump.finish();
    assert_eq!(
        out, b"before\x04\x02\x01n\xc0\x0c\x05field\xc3\t@A\x01vv\xe04\x00\x01vv\n\x00&\xd5\x03y\xb9g\xdc\xe2",
        "as redis-server 7.0.15 does"
    );
    let mut out = Vec::new();
    let mut dump = TableDump::set(&mut out, 3);
    [&b"x".repeat(40)[..], b"12", b"a"].into_iter().for_each(|text| dump.add(text));
    dump.finish();
    assert_eq!(
        out, b"\x02\x03\xc3\t(\x01xx\xe0\x1b\x00\x01xx\xc0\x0c\x01a\n\x00Ce\xf4\x9a\x9b\xd9\x05:",
        "as redis-server 7.0.15 does"
    );
}

/// Read from redis-server 7.0.15: ZADD z 1 a 2.5 b inf c -inf d 0 e -1000 f.
const LISTPACK_SORTED_SET: &[u8] =
    b"\x1100\x00\x00\x00\x0c\x00\x81d\x02\x84-inf\x05\x81f\x02\xdc\x18\x02\x81e\x02\x00\x01\
\x81a\x02\x01\x01\x81b\x02\x832.5\x04\x81c\x02\x83inf\x04\xff\n\x00\xa1\xcd\xf1W*0H-";

/// Read from redis-server 7.0.15: ZADD z 1 a 2.5 b inf c -inf d -0 e 0.1 12, as a skiplist.
const SORTED_SET: &[u8] = b"\x05\x06\x01c\x00\x00\x00\x00\x00\x00\xf0\x7f\x01b\x00\x00\x00\x00\x00\x00\x04@\x01a\x00\x00\x00\
\x00\x00\x00\xf0?\xc0\x0c\x9a\x99\x99\x99\x99\x99\xb9?\x01e\x00\x00\x00\x00\x00\x00\x00\x80\x01d\x00\x00\x00\x00\x00\x00\xf0\
\xff\n\x00\x19\xe8} \xa9\xe0J|";

#[test]
fn sorted_sets_are_dumped_as_by_redis_7_0() {
    const INF: f64 = f64::INFINITY;
    let members: [(&[u8], f64); 6] =
        [(b"d", -INF), (b"f", -1000.0), (b"e", 0.0), (b"a", 1.0), (b"b", 2.5), (b"c", INF)];
    assert_eq!(dump_listpack_sorted_set(members), LISTPACK_SORTED_SET);
    assert_eq!(elements(LISTPACK_SORTED_SET).unwrap().join(" "), "d -inf f -1000 e 0 a 1 b 2.5 c inf");
    let members: [(&[u8], f64); 6] = [(b"c", INF), (b"b", 2.5), (b"a", 1.0), (b"12", 0.1), (b"e", -0.0), (b"d", -INF)];
    let mut out = b"in front".to_vec();
    let mut dump = TableDump::sorted_set(&mut out, 6);
    members.into_iter().for_each(|(member, score)| dump.add_scored(member, score));
    dump.finish();
    assert_eq!(&out[8..], SORTED_SET);
    assert_eq!(elements(SORTED_SET).unwrap().join(" "), "c inf b 2.5 a 1 12 0.1 e -0 d -inf");
}

/// What was dumped, and by whom.
const FOREIGN: &[(&str, &[u8], &str)] = &[
    ("Valkey 9.1, listpack", b"\x10\x0c\x0c\x00\x00\x00\x02\x00\x81a\x02\x01\x01\xffP\x00K\x8cZy4E\x83/", "a 1"),
    ("Valkey 9.1, set listpack", b"\x14\n\n\x00\x00\x00\x01\x00\x81a\x02\xffP\x00Q*\x0b9\xfa\"\xf5\t", "a"),
    (
        "Valkey 9.1, compressed set listpack",
        b"\x14\xc3\x146\x0c6\x00\x00\x00\x03\x00\x81a\x02\x0c\x01\xa8x\xe0\x1e\x00\x01)\xffP\x00\x03\xfb\xdbk\xb8B\xee8",
        "a 12 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ),
    (
        "Valkey 9.1, intset",
        b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\xff\x7f\xff\xff\x01\x00\x00\x00\x03\x00\x00\x00P\x00\xbd\t\xb9x\x1b\x0e\x8f\xf5",
        "-32769 1 3",
    ),
    ("Redis 7.0, table", b"\x02\x01\x01a\n\x00b\x96\xe9~D\xd2\x1am", "a"),
];

/// Values of RDB files of older versions, from Redis' own tests/assets.
const OLD: &[(&str, &[u8], &str)] = &[
    ("hash-zipmap.rdb, version 3", b"\t\x10\x02\x02f1\x02\x00v1\x02f2\x02\x00v2\xff", "f1 v1 f2 v2"),
    (
        "hash-ziplist.rdb, version 9",
        b"\r\x1b\x1b\x00\x00\x00\x16\x00\x00\x00\x04\x00\x00\x02f1\x04\x02v1\x04\x02f2\x04\x02v2\xff",
        "f1 v1 f2 v2",
    ),
    (
        "encodings.rdb, version 4: hash_zipped",
        b"\r  \x00\x00\x00\x1b\x00\x00\x00\x06\x00\x00\x01a\x03\xc0\x01\x00\x04\x01b\x03\xc0\x02\x00\x04\x01c\x03\xc0\x03\x00\xff",
        "a 1 b 2 c 3",
    ),
    (
        "encodings.rdb: hash",
        b"\x04\x0b\x01b\xc0\x02\x02aa\xc0\n\x01c\xc0\x03\x03aaa\xc0d\x02bb\xc0\x14\x02cc\xc0\x1e\x03bbb\xc1\xc8\x00\x03ccc\xc1,\x01\
\x03ddd\xc1\x90\x01\x03eee\n5000000000\x01a\xc0\x01",
        "b 2 aa 10 c 3 aaa 100 bb 20 cc 30 bbb 200 ccc 300 ddd 400 eee 5000000000 a 1",
    ),
    ("zset-ziplist.rdb", b"\x0c\x19\x19\x00\x00\x00\x16\x00\x00\x00\x04\x00\x00\x03one\x05\xf2\x02\x03two\x05\xf3\xff", "one 1 two 2"),
    (
        "encodings.rdb: zset_zipped",
        b"\x0c  \x00\x00\x00\x1b\x00\x00\x00\x06\x00\x00\x01a\x03\xc0\x01\x00\x04\x01b\x03\xc0\x02\x00\x04\x01c\x03\xc0\x03\x00\xff",
        "a 1 b 2 c 3",
    ),
    (
        "encodings.rdb: zset",
        b"\x03\x0c\x02bb\x0220\x02cc\x0230\x03bbb\x03200\x04bbbb\n5000000000\x03ccc\x03300\x04cccc\t123456789\x01a\x011\
\x02aa\x0210\x01b\x012\x03aaa\x03100\x01c\x013\x04aaaa\x041000",
        "bb 20 cc 30 bbb 200 bbbb 5000000000 ccc 300 cccc 123456789 a 1 aa 10 b 2 aaa 100 c 3 aaaa 1000",
    ),
    ("encodings.rdb: set_zipped_1", b"\x0b\x10\x02\x00\x00\x00\x04\x00\x00\x00\x01\x00\x02\x00\x03\x00\x04\x00", "1 2 3 4"),
    (
        "encodings.rdb: set_zipped_2",
        b"\x0b\x18\x04\x00\x00\x00\x04\x00\x00\x00\xa0\x86\x01\x00@\r\x03\x00\xe0\x93\x04\x00\x80\x1a\x06\x00",
        "100000 200000 300000 400000",
    ),
    (
        "encodings.rdb: set_zipped_3",
        b"\x0b8\x08\x00\x00\x00\x06\x00\x00\x00\x00\xca\x9a;\x00\x00\x00\x00\x00\x945w\x00\x00\x00\x00\x00^\xd0\xb2\x00\x00\x00\x00\
\x00(k\xee\x00\x00\x00\x00\x00\xf2\x05*\x01\x00\x00\x00\x00\xbc\xa0e\x01\x00\x00\x00",
        "1000000000 2000000000 3000000000 4000000000 5000000000 6000000000",
    ),
    (
        "encodings.rdb: set",
        b"\x02\x08\n6000000000\xc2\xa0\x86\x01\x00\x01a\xc0\x01\x01b\xc0\x02\x01c\xc0\x03",
        "6000000000 100000 a 1 b 2 c 3",
    ),
];

#[test]
fn what_other_servers_dump_is_read() {
    assert_eq!(elements(HASH_OF_NUMBERS).unwrap(), fields_of_numbers());
    assert_eq!(elements(HASH_OF_TEXTS).unwrap(), ["x".repeat(63), "y".repeat(64), "007".to_owned(), "-0".to_owned()]);
    for (server, payload, expected) in FOREIGN {
        assert_eq!(elements(payload).map(|all| all.join(" ")), Ok((*expected).to_owned()), "{server}");
    }
    for (file, body, expected) in OLD {
        assert_eq!(elements(&sealed(10, body)).map(|all| all.join(" ")), Ok((*expected).to_owned()), "{file}");
        // With a string's length in front that says one more or less, or another encoding's type.
        for wrong in [
            [&body[..1], &[body[1] + 1], &body[2..]].concat(),
            [&body[..1], &[body[1] - 1], &body[2..body.len() - 1]].concat(),
            body[..body.len() - 1].to_vec(),
        ] {
            let is_table = matches!(body[0], 2..=4);
            let read = elements(&sealed(10, &wrong));
            assert!(read == Err(RestoreError::Format) || is_table, "{file}: {read:?}");
        }
    }
}

/// A ziplist of elements that are written out, each behind the length of the one before it.
fn ziplist(elements: &[&[u8]]) -> Vec<u8> {
    let (mut before, mut tail, mut blob) = (0, 10, vec![0; 10]);
    for element in elements {
        tail = blob.len();
        match before {
            0..=253 => blob.push(before as u8),
            _ => {
                blob.push(0xfe);
                blob.extend_from_slice(&(before as u32).to_le_bytes());
            }
        }
        blob.extend_from_slice(element);
        before = blob.len() - tail;
    }
    blob.push(0xff);
    let bytes = blob.len() as u32;
    blob[..4].copy_from_slice(&bytes.to_le_bytes());
    blob[4..8].copy_from_slice(&(tail as u32).to_le_bytes());
    blob[8..10].copy_from_slice(&(elements.len() as u16).to_le_bytes());
    blob
}

fn body(kind: u8, blob: &[u8]) -> Vec<u8> {
    let length = (0x4000 | blob.len() as u16).to_be_bytes();
    sealed(10, &[&[kind], &length[..], blob].concat())
}

fn list_dump<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = b"in front".to_vec();
    let mut dump = ListDump::new(&mut out, false);
    items.into_iter().for_each(|item| dump.add(item));
    dump.finish();
    out.split_off(8)
}

/// Read from redis-server 7.0.15: RPUSH l 0 1 … of `NUMBERS`.
const LIST_OF_NUMBERS: &[u8] = b"\x12\x01\x02\xc3@c@h\x1fh\x00\x00\x00\x14\x00\x00\x01\x01\x01\x7f\x01\xc0\x80\x02\xdf\xff\x02\xd0\x00\x02\
\xcf\xff\x02\xf1\xff\xef\x03\xf1\x00\x10\x03\x02\xf1\xff\x7f \x07\x11\x80\x03\xf2\x00\x80\x00\x04\xf2\xff\xff\x7f\x04\xf2\x00\x00\x80\x04\
\xf3 \x04\x03\x00\x05\xf3\xff \x10\x00\x05 \x0b\x03\x00\x80\x05\xf4@\x05 \x03\x02\x00\x09\xf4 \x15@\x00\x01\x7f\x09@\x13@\x00\x02\x80\x09\
\xff\x0a\x00\xa7\xe1\xbe\xe1\x98\x1c\xae\xbd";

#[test]
fn lists_are_dumped_as_by_redis_7_0() {
    let small = b"\x12\x01\x02\x15\x15\x00\x00\x00\x03\x00\x01\x01\x83two\x04\x85three\x06\xff\x0a\x00\xa3\xaf\xfb\x05\x14\x8c\x06\xe0";
    assert_eq!(list_dump([&b"1"[..], b"two", b"three"]), small);
    let numbers = NUMBERS.map(|number| number.to_string());
    assert_eq!(list_dump(numbers.iter().map(String::as_bytes)), LIST_OF_NUMBERS);
    assert_eq!(elements(LIST_OF_NUMBERS).unwrap(), numbers);
    // The checksum stands for the rest: RPUSH l (a × 5000) (b × 5000) (c × 5000) (x × 9000) end, and of "item 00000" to "item 00999".
    let large = [vec![b'a'; 5000], vec![b'b'; 5000], vec![b'c'; 5000], vec![b'x'; 9000], b"end".to_vec()];
    let payload = list_dump(large.iter().map(Vec::as_slice));
    assert!(payload.starts_with(b"\x12\x05\x02\xc3") && payload.ends_with(b"\xbe\xf8\x12e\x16\xd2+\x83"));
    assert_eq!(elements(&payload).unwrap().concat().len(), 24_003);
    let many: Vec<String> = (0..1000).map(|number| format!("item {number:05}")).collect();
    let payload = list_dump(many.iter().map(String::as_bytes));
    assert!(payload.len() == 5066 && payload.ends_with(b"\xb3\xb1\x7fD\xae\xa1\x18y"));
    assert_eq!(elements(&payload).unwrap(), many);
}

#[test]
fn every_encoding_of_a_list_is_read() {
    let items: [&[u8]; 3] = [b"\x01a", b"\xf3", b"\x01a"];
    let blob = ziplist(&items);
    assert_eq!(elements(&sealed(10, b"\x01\x03\x01a\xc0\x02\x01a")).unwrap(), ["a", "2", "a"]);
    assert_eq!(elements(&body(10, &blob)).unwrap(), ["a", "2", "a"]);
    let length = [blob.len() as u8];
    let nodes = [&b"\x0e\x03"[..], &length, &blob, &[11], &ziplist(&[]), &length, &blob].concat();
    assert_eq!(elements(&sealed(10, &nodes)).unwrap(), ["a", "2", "a", "a", "2", "a"]);
    let nodes = b"\x12\x03\x01\x04huge\x02\x07\x07\x00\x00\x00\x00\x00\xff\x02\x09\x09\x00\x00\x00\x01\x00\x01\x01\xff";
    assert_eq!(elements(&sealed(10, nodes)).unwrap(), ["huge", "1"]);
    for (what, body) in [
        ("no item", &b"\x01\x00"[..]),
        ("an empty ziplist", b"\x0a\x0b\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff"),
        ("no node", b"\x0e\x00"),
        ("an empty node", b"\x0e\x01\x0b\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff"),
        ("no node of a quicklist 2", b"\x12\x00"),
        ("an empty listpack", b"\x12\x01\x02\x07\x07\x00\x00\x00\x00\x00\xff"),
        ("an empty item", b"\x12\x01\x01\x00"),
        ("a node of an unknown kind", b"\x12\x01\x03\x09\x09\x00\x00\x00\x01\x00\x01\x01\xff"),
        ("more nodes than bytes", b"\x12\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01a"),
        ("fewer nodes than it says", b"\x12\x02\x01\x04huge"),
    ] {
        assert_eq!(elements(&sealed(10, body)), Err(RestoreError::Format), "{what}");
    }
}

#[test]
fn every_encoding_of_a_ziplists_element_is_read() {
    let long = [&[0x41, 0x2c][..], &[b'x'; 300]].concat();
    let longer = [&[0x80, 0, 0, 1, 0x2d][..], &[b'y'; 301]].concat();
    let numbers: [&[u8]; 10] = [
        b"\xf1",
        b"\xfd",
        b"\xfe\x80",
        b"\xc0\xff\x7f",
        b"\xf0\x00\x00\x80",
        b"\xd0\xff\xff\xff\x7f",
        b"\xe0\x00\x00\x00\x00\x00\x00\x00\x80",
        &long,
        &longer,
        b"\x00",
    ];
    let read = elements(&body(13, &ziplist(&numbers))).unwrap();
    assert_eq!(read[..6], ["0", "12", "-128", "32767", "-8388608", "2147483647"]);
    assert_eq!(read[6..], [i64::MIN.to_string(), "x".repeat(300), "y".repeat(301), String::new()]);
}

#[test]
fn long_texts_in_a_listpack_come_back() {
    // Where the texts' lengths, and the lengths behind them, take one byte more.
    for length in [63, 64, 126, 127, 4095, 4096, 16_379, 16_380, 16_383, 20_000, 300_000] {
        let text = vec![b'x'; length];
        let payload = dump_listpack_hash([&text[..], b"1", b"2", &text]);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(elements(&payload).unwrap(), [&text, "1", "2", &text]);
    }
}

#[test]
fn what_is_empty_doubled_or_broken_is_refused() {
    let bodies: [(&str, &[u8]); 36] = [
        ("an empty sorted set", b"\x05\x00"),
        ("an empty sorted set of texts", b"\x03\x00"),
        ("an empty sorted set's listpack", b"\x11\x07\x07\x00\x00\x00\x00\x00\xff"),
        ("a member with two scores", b"\x05\x02\x01a\0\0\0\0\0\0\xf0?\x01a\0\0\0\0\0\0\0\0"),
        ("a score that is no number", b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f"),
        ("half a score", b"\x05\x01\x01a\0\0\0\0"),
        ("a text that says that it is no number", b"\x03\x01\x01a\xfd"),
        ("a score of other text", b"\x03\x01\x01a\x03nan"),
        ("a score of no text", b"\x03\x01\x01a\x00"),
        ("a member without a score", b"\x11\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff"),
        ("a listpack with a score of text", b"\x11\x0d\x0d\x00\x00\x00\x02\x00\x81a\x02\x81b\x02\xff"),
        ("a listpack whose scores go down", b"\x11\x11\x11\x00\x00\x00\x04\x00\x81a\x02\x02\x01\x81b\x02\x01\x01\xff"),
        ("a listpack whose members go down", b"\x11\x11\x11\x00\x00\x00\x04\x00\x81b\x02\x01\x01\x81a\x02\x01\x01\xff"),
        (
            "a ziplist out of order",
            b"\x0c\x19\x19\x00\x00\x00\x16\x00\x00\x00\x04\x00\x00\x03two\x05\xf3\x02\x03one\x05\xf2\xff",
        ),
        ("an empty set", b"\x02\x00"),
        ("an empty hash", b"\x04\x00"),
        ("an empty intset", b"\x0b\x08\x02\x00\x00\x00\x00\x00\x00\x00"),
        ("an empty listpack", b"\x10\x07\x07\x00\x00\x00\x00\x00\xff"),
        ("an empty set listpack", b"\x14\x07\x07\x00\x00\x00\x00\x00\xff"),
        ("an empty ziplist", b"\x0d\x0b\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff"),
        ("an empty zipmap", b"\x09\x02\x00\xff"),
        ("a member twice", b"\x02\x02\x01a\x01a"),
        ("a field twice", b"\x04\x02\x01a\x01b\x01a\x01c"),
        ("a field twice in a zipmap", b"\x09\x10\x02\x02f1\x02\x00v1\x02f1\x02\x00v2\xff"),
        ("a number twice in a listpack", b"\x14\x0b\x0b\x00\x00\x00\x02\x00\x01\x01\x01\x01\xff"),
        ("a number as a text too", b"\x14\x0c\x0c\x00\x00\x00\x02\x00\x01\x01\x811\x02\xff"),
        ("a field without a value", b"\x10\x09\x09\x00\x00\x00\x01\x00\x01\x01\xff"),
        ("an intset out of order", b"\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x02\x00\x01\x00"),
        ("an intset with a member twice", b"\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x01\x00"),
        ("an intset of an unknown width", b"\x0b\x0b\x03\x00\x00\x00\x01\x00\x00\x00\x01\x00\x01"),
        ("more members than bytes", b"\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a"),
        ("more fields than bytes", b"\x04\x81\x80\x00\x00\x00\x00\x00\x00\x00\x01a\x01b"),
        ("a listpack with a wrong length behind", b"\x14\x09\x09\x00\x00\x00\x01\x00\x01\x02\xff"),
        ("a listpack with fewer than it says", b"\x14\x09\x09\x00\x00\x00\x02\x00\x01\x01\xff"),
        ("a listpack with more than it says", b"\x14\x0b\x0b\x00\x00\x00\x01\x00\x01\x01\x02\x01\xff"),
        ("fields that end by themselves, of Redis 7.4", b"\x19\x01\x01\x01\x01a\x01b"),
    ];
    for (what, body) in bodies {
        assert_eq!(elements(&sealed(10, body)), Err(RestoreError::Format), "{what}");
    }
    // Redis' own: a count that is not known, and what follows the value.
    assert_eq!(elements(&sealed(10, b"\x14\x0b\x0b\x00\x00\x00\xff\xff\x01\x01\x02\x01\xff")).unwrap(), ["1", "2"]);
    assert_eq!(elements(&sealed(10, b"\x02\x01\x01abehind")).unwrap(), ["a"]);
}

#[test]
fn a_string_is_no_set_and_a_set_no_string() {
    let open = |body| Payload::open(Box::leak(sealed(10, body).into_boxed_slice()), 100).unwrap();
    assert_eq!(open(b"\x02\x01\x01a").string(), Err(RestoreError::Format));
    assert_eq!(open(b"\x00\x01a").each_member(|_| Ok::<_, RestoreError>(true)), Err(RestoreError::Format));
    assert_eq!(open(b"\x02\x01\x01a").each_field(|_, _| Ok::<_, RestoreError>(true)), Err(RestoreError::Format));
    assert_eq!(open(b"\x04\x01\x01a\x01b").each_scored(|_, _| Ok::<_, RestoreError>(true)), Err(RestoreError::Format));
}

#[test]
fn what_is_too_long_is_refused_before_it_is_made() {
    let members = vec![b'x'; 101];
    let mut out = Vec::new();
    let mut dump = TableDump::set(&mut out, 1);
    dump.add(&members);
    dump.finish();
    let read = |bytes_max| Payload::open(&out, bytes_max).unwrap().each_member(|_| Ok::<_, RestoreError>(true));
    assert_eq!(read(100), Err(RestoreError::TooLong));
    assert_eq!(read(101), Ok(()));
}
