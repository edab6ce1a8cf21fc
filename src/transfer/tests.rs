use std::fs;
use std::path::Path;

use super::rdb_file::{FileKey, Visitor};
use super::{Fault, RdbFile, Report, Result, Survey, Tables};
use crate::kv::formats::rdb::{Element, StreamDump, crc64};
use crate::kv::sources::Sources;
use crate::storage::filling::Filling;
use crate::storage::{Keyspace, Options};

const EVERY_ENCODING: &[u8] = include_bytes!("../../tests/data/redis-7.0.15-every-encoding.rdb");
const STREAMS: &[u8] = include_bytes!("../../tests/data/redis-7.0.15-streams.rdb");
const NOW_MS: i64 = 1_700_000_000_000;
const BYTES_MAX: u64 = 512 << 20;

/// Every key with its elements, as text.
#[derive(Default)]
struct Shown(Vec<String>);

impl Visitor for Shown {
    fn begin(&mut self, key: &FileKey<'_>) -> Result<()> {
        let ends = key.expires_at_ms.map_or_else(String::new, |at_ms| format!(" until {at_ms}"));
        self.0.push(format!("{} {} {:?}{ends}:", key.database, key.name.escape_ascii(), key.kind));
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<()> {
        let text = match element {
            Element::Value(text) | Element::Item(text) | Element::Member(text) => text.escape_ascii().to_string(),
            // A small sorted set is kept without the sign of a zero.
            Element::Scored(member, score) => format!("{}={}", member.escape_ascii(), score + 0.0),
            Element::Field(field, value) => format!("{}={}", field.escape_ascii(), value.escape_ascii()),
            Element::EndingField(field, value, at_ms) => {
                format!("{}={} until {at_ms}", field.escape_ascii(), value.escape_ascii())
            }
            Element::Stream(part) => format!("{part:?}").replace(' ', ""),
        };
        let key = self.0.last_mut().unwrap();
        *key = format!("{key} {text}");
        Ok(())
    }

    fn end(&mut self, _: u64, _: Option<&[u8]>) -> Result<()> {
        Ok(())
    }

    fn library(&mut self, code: &[u8]) -> Result<()> {
        self.0.push(format!("library: {}", code.escape_ascii()));
        Ok(())
    }

    fn unmoved(&mut self, what: &str, name: &[u8]) {
        self.0.push(format!("unmoved: {what} {}", name.escape_ascii()));
    }

    fn at(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
}

fn shown(file: &[u8]) -> Result<Vec<String>> {
    let mut shown = Shown::default();
    RdbFile::open(file, BYTES_MAX)?.read(&mut shown)?;
    shown.0.sort();
    Ok(shown.0)
}

fn survey(file: &[u8]) -> Result<Report> {
    let mut watch = |_| Ok(());
    let mut survey = Survey::new(NOW_MS, &mut watch);
    RdbFile::open(file, BYTES_MAX)?.read(&mut survey)?;
    Ok(survey.into_report())
}

/// A file that is filled with what an RDB file has.
fn filled(directory: &Path, file: &[u8]) -> Result<Report> {
    let mut watch = |_| Ok(());
    let mut tables = Tables::new(
        Filling::begin(directory, BYTES_MAX, NOW_MS)?,
        Sources::new(Default::default()),
        NOW_MS,
        &mut watch,
    );
    RdbFile::open(file, BYTES_MAX)?.read(&mut tables)?;
    Ok(tables.finish(&mut |_| Ok(()))?.0)
}

fn exported(directory: &Path) -> Vec<u8> {
    let mut keyspace = Keyspace::open_reader(&Options::new(directory)).unwrap();
    keyspace.begin_read(NOW_MS).unwrap();
    let mut file = Vec::new();
    super::export(&mut keyspace, NOW_MS, &mut file, |_| Ok(())).unwrap();
    assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
    file
}

fn with_checksum(body: &[u8]) -> Vec<u8> {
    [body, &crc64(0, body).to_le_bytes()].concat()
}

fn file_of(version: &str, parts: &[&[u8]]) -> Vec<u8> {
    with_checksum(&[format!("REDIS{version}").as_bytes(), &parts.concat(), &[0xff]].concat())
}

fn asset(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/redis-assets").join(name)).unwrap()
}

#[test]
fn the_files_of_redis_own_tests_are_read() {
    let encodings = shown(&asset("encodings.rdb")).unwrap();
    let has = |line: &str| assert!(encodings.iter().any(|found| found == line), "{line}: {encodings:#?}");
    assert_eq!(encodings.len(), 13);
    has("0 number String: 10");
    has("0 list_zipped List: 1 2 3 a b c 100000 6000000000");
    has("0 hash_zipped Hash: a=1 b=2 c=3");
    has("0 set_zipped_3 Set: 1000000000 2000000000 3000000000 4000000000 5000000000 6000000000");
    has("0 zset_zipped SortedSet: a=1 b=2 c=3");
    assert!(encodings.iter().any(|found| found.starts_with("0 zset SortedSet:") && found.contains("bbbb=5000000000")));
    assert_eq!(shown(&asset("hash-zipmap.rdb")).unwrap(), ["0 hash Hash: f1=v1 f2=v2"]);
    assert_eq!(shown(&asset("hash-ziplist.rdb")).unwrap(), ["0 hash Hash: f1=v1 f2=v2"]);
    assert_eq!(shown(&asset("zset-ziplist.rdb")).unwrap(), ["0 zset SortedSet: one=1 two=2"]);
    assert_eq!(shown(&asset("list-quicklist.rdb")).unwrap(), ["0 list List: 7", "0 x String: 7"]);
    let empty = survey(&asset("corrupt_empty_keys.rdb")).unwrap();
    assert_eq!(empty.keys(), 0);
    assert!(empty.is_whole() && empty.text().contains("keys without elements"), "{}", empty.text());
}

#[test]
fn what_is_imported_is_exported_again_element_by_element() {
    let directory = tempfile::tempdir().unwrap();
    let report = filled(directory.path(), EVERY_ENCODING).unwrap();
    assert!(report.is_whole(), "{}", report.text());
    assert_eq!(report.text(), survey(EVERY_ENCODING).unwrap().text());
    let (before, after) = (shown(EVERY_ENCODING).unwrap(), shown(&exported(directory.path())).unwrap());
    assert_eq!(before.len(), after.len());
    // Sets and hash tables have no order.
    let sorted = |lines: &[String]| -> Vec<Vec<String>> {
        let line = |line: &String| {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            if !line.contains(" List:") {
                words.sort();
            }
            words
        };
        lines.iter().map(line).collect()
    };
    for (before, after) in sorted(&before).iter().zip(&sorted(&after)) {
        assert_eq!(before, after);
    }
    assert_eq!(before.iter().filter(|line| line.starts_with("9 ")).count(), 2, "databases");
}

#[test]
fn streams_of_redis_are_exported_as_they_came() {
    let directory = tempfile::tempdir().unwrap();
    let report = filled(directory.path(), STREAMS).unwrap();
    assert!(report.is_whole() && report.text().contains("3 streams, with 127 elements"), "{}", report.text());
    assert_eq!(shown(&exported(directory.path())).unwrap(), shown(STREAMS).unwrap());
}

#[test]
fn a_cut_at_any_byte_and_a_flipped_bit_anywhere_are_clear_errors() {
    for file in [EVERY_ENCODING, STREAMS] {
        survey(file).unwrap();
        let places = || (0..1500).chain((1500..file.len()).step_by(61)).chain(file.len() - 20..file.len());
        for cut in places() {
            let Err(Fault::Input(text)) = survey(&file[..cut]) else { panic!("a cut at {cut} goes unnoticed") };
            assert!(text.contains("cut") || text.contains("is no RDB file"), "{text}");
        }
        let mut changed = file.to_vec();
        for at in places() {
            changed[at] ^= 1 << (at % 8);
            assert!(matches!(survey(&changed), Err(Fault::Input(_))), "a change at {at} goes unnoticed");
            changed[at] = file[at];
        }
    }
}

#[test]
fn a_change_that_the_checksum_covers_is_an_error_or_makes_whole_data() {
    for (number, at) in (0..STREAMS.len() - 8).step_by(47).enumerate() {
        let mut body = STREAMS[..STREAMS.len() - 8].to_vec();
        body[at] ^= 1 << (number % 8);
        let directory = tempfile::tempdir().unwrap();
        if filled(directory.path(), &with_checksum(&body)).is_ok() {
            exported(directory.path());
        }
    }
}

#[test]
fn what_does_not_come_over_is_said() {
    let string = |text: &[u8]| [&[text.len() as u8], text].concat();
    // A module's value: an identifier, a number, a string, a double, the end.
    let module = [
        &[0xfe, 0, 7][..],
        &string(b"graph"),
        &[0x81, 0, 0, 0, 0, 0, 0, 0, 4, 1, 9, 2, 7, 5],
        &string(b"x"),
        &[4],
        &[0; 8],
        &[0],
    ]
    .concat();
    let module_data = [&[0xf7, 0x81, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 5], &string(b"x")[..], &[0]].concat();
    let ended = [&[0xfc][..], &(NOW_MS - 1).to_le_bytes(), &[0], &string(b"old"), &string(b"v")].concat();
    let beyond = [&[0xfe, 16, 0][..], &string(b"k16"), &string(b"v")].concat();
    let slots = [&[0xfe, 0, 0xf4, 1, 1, 0, 0xf8, 9, 0xf9, 7, 0][..], &string(b"kept"), &string(b"v")].concat();
    let file = file_of("0012", &[&module, &module_data, &ended, &beyond, &slots]);
    let report = survey(&file).unwrap();
    assert_eq!(report.keys(), 1);
    assert!(!report.is_whole());
    for what in ["values of modules: \"graph\"", "what modules keep", "\"old\"", "above 15: \"k16\""] {
        assert!(report.text().contains(what), "{what}: {}", report.text());
    }
    let unknown = file_of("0012", &[&[0xfe, 0, 99], &string(b"k"), &string(b"v")]);
    let error = survey(&unknown).unwrap_err().to_string();
    assert!(error.contains("a type that is not known here, 99"), "{error}");
}

#[test]
fn streams_come_and_go_with_their_groups_and_bad_ones_are_errors() {
    let stream = |owned: u64| {
        let mut value = Vec::new();
        let mut dump = StreamDump::value(&mut value, 2);
        for (ms, begins) in [(5, true), (6, false), (7, true), (9, false)] {
            dump.entry((ms, ms + 1), begins, &[b"name", b"Ann", b"age", &b"7".repeat(ms as usize * 20)]);
        }
        dump.counters(4, [(9, 20), (5, 6), (8, 8)], 17, 2);
        dump.group(b"new", (0, 0), None, 0);
        dump.consumers(0);
        dump.group(b"readers", (7, 8), Some(3), 2);
        dump.pending((5, 6), NOW_MS - 7, 2);
        dump.pending((8, 8), NOW_MS - 5, 1);
        dump.consumers(2);
        dump.consumer(b"busy", NOW_MS - 5, 2);
        dump.owned((owned, 6));
        dump.owned((8, 8));
        dump.consumer(b"idle", NOW_MS - 9, 0);
        let mut empty = Vec::new();
        let mut dump = StreamDump::value(&mut empty, 0);
        dump.counters(0, [(3, 1), (0, 0), (3, 1)], 1, 0);
        file_of("0010", &[&[0xfe, 0, 19, 1, b's'], &value, &[19, 1, b'e'], &empty])
    };
    let file = stream(5);
    assert_eq!(survey(&file).unwrap().text(), filled(tempfile::tempdir().unwrap().path(), &file).unwrap().text());
    let directory = tempfile::tempdir().unwrap();
    let report = filled(directory.path(), &file).unwrap();
    assert!(report.is_whole() && report.text().contains("2 streams, with 4 elements"), "{}", report.text());
    assert_eq!(shown(&exported(directory.path())).unwrap(), shown(&file).unwrap());
    assert!(filled(tempfile::tempdir().unwrap().path(), &stream(4)).is_err(), "what nobody has delivered");
}

#[test]
fn libraries_of_functions_come_and_go_and_those_that_fail_are_said() {
    let code = b"#!lua name=ours\nredis.register_function('f', function() return 1 end)";
    let library = |code: &[u8]| [&[0xf5, 0x40, code.len() as u8][..], code].concat();
    let file = file_of("0010", &[&library(code)]);
    let directory = tempfile::tempdir().unwrap();
    assert!(filled(directory.path(), &file).unwrap().is_whole());
    let expected = [format!("library: {}", code.escape_ascii())];
    assert_eq!(shown(&exported(directory.path())).unwrap(), expected);
    let file = file_of("0010", &[&library(code), &library(b"#!lua name=theirs\nfor"), &library(code)]);
    let report = filled(tempfile::tempdir().unwrap().path(), &file).unwrap();
    assert!(!report.is_whole() && report.text().contains("1 libraries of functions"), "{}", report.text());
    assert!(report.text().contains("#!lua name=theirs"), "{}", report.text());
}

#[test]
fn fields_that_end_come_over_without_their_times_and_those_that_have_ended_do_not() {
    let string = |text: &[u8]| [&[text.len() as u8], text].concat();
    let time = |at_ms: i64| at_ms.to_le_bytes();
    let field = |name: &[u8], ends: i64| [string(name), string(b"v"), time(ends).to_vec()].concat();
    let valkey =
        [&[0xfe, 0, 22][..], &string(b"h"), &[3], &field(b"a", -1), &field(b"b", NOW_MS + 5), &field(b"c", NOW_MS - 5)]
            .concat();
    let valkey = with_checksum(&[&b"VALKEY080"[..], &valkey, &[0xff]].concat());
    let redis = [
        &[0xfe, 0, 24][..],
        &string(b"h"),
        &time(NOW_MS - 5),
        &[3, 0],
        &string(b"a"),
        &string(b"v"),
        &[11],
        &string(b"b"),
        &string(b"v"),
        &[1],
        &string(b"c"),
        &string(b"v"),
    ]
    .concat();
    let redis = file_of("0012", &[&redis]);
    for file in [valkey, redis] {
        let expected = format!("0 h Hash: a=v b=v until {} c=v until {}", NOW_MS + 5, NOW_MS - 5);
        assert_eq!(shown(&file).unwrap(), [expected]);
        let directory = tempfile::tempdir().unwrap();
        let report = filled(directory.path(), &file).unwrap();
        assert!(!report.is_whole() && report.text().contains("1 hashes, with 2 elements"), "{}", report.text());
        assert_eq!(shown(&exported(directory.path())).unwrap(), ["0 h Hash: a=v b=v"]);
    }
}

#[test]
fn a_checksum_that_was_switched_off_is_not_looked_at_and_old_files_have_none() {
    let body = [&b"REDIS0010\xfe\x00\x00\x01k\x01v\xff"[..], &[0; 8]].concat();
    assert_eq!(shown(&body).unwrap(), ["0 k String: v"]);
    assert_eq!(
        shown(b"REDIS0003\xfe\x00\xfd\x00\x00\x00\x7f\x00\x01k\x01v\xff").unwrap(),
        ["0 k String until 2130706432000: v"]
    );
    for version in ["0000", "x010", "1000"] {
        assert!(shown(format!("REDIS{version}").as_bytes()).is_err());
    }
}

#[test]
fn a_key_or_an_element_that_is_there_twice_is_an_error_and_nothing_is_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let twice = file_of("0010", &[b"\xfe\x00\x00\x01k\x01v\x00\x01k\x01w"]);
    let error = filled(directory.path(), &twice).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let twice = file_of("0010", &[b"\xfe\x00\x02\x01k\x02\x01m\x01m"]);
    let error = filled(directory.path(), &twice).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
}
