//! A file that 0.1.0 left (`tests/data/0.1.0.db`, made by its program) is read, written and swept by this one.

use super::{DATA_FILE, Durability, Expiry, Keyspace, Lookup, Options, backup, inspect, prepare};

/// After the file was made.
const NOW: i64 = 2_000_000_000_000;
const IN_2100: i64 = 4_102_444_800_000;

fn untouched() -> (tempfile::TempDir, Options) {
    let directory = tempfile::tempdir().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/0.1.0.db");
    std::fs::copy(file, directory.path().join(DATA_FILE)).unwrap();
    let options = Options { durability: Durability::Os, ..Options::new(directory.path()) };
    (directory, options)
}

fn open() -> (tempfile::TempDir, Options) {
    let (directory, options) = untouched();
    let opened = prepare(&options).unwrap();
    assert!(!opened.created && opened.migrated_from == Some(1));
    (directory, options)
}

fn found(keyspace: &mut Keyspace, database: u8, key: &str) -> Lookup<Vec<u8>> {
    keyspace.select(database);
    keyspace.string(key.as_bytes()).unwrap()
}

fn text(text: &str) -> Lookup<Vec<u8>> {
    Lookup::Found(text.as_bytes().to_vec())
}

fn check(keyspace: &mut Keyspace) {
    for n in 0..19 {
        assert_eq!(found(keyspace, 0, &format!("key:{n}")), text(&format!("value-{n}")));
    }
    assert_eq!(found(keyspace, 0, "key:19"), Lookup::Absent);
    assert_eq!(found(keyspace, 0, "gone"), Lookup::Absent);
    assert_eq!(found(keyspace, 0, "big"), text(&"0123456789abcdef".repeat(2500)));
    let Lookup::Found(sparse) = found(keyspace, 0, "sparse") else { panic!("no sparse string") };
    assert!(sparse.len() == 100_003 && sparse.ends_with(b"\0end") && sparse[..100_000].iter().all(|byte| *byte == 0));
    assert_eq!(keyspace.entry(b"until-2100").unwrap().unwrap().expires_at_ms, Some(IN_2100));
    assert_eq!((keyspace.key_count().unwrap(), keyspace.expires_count().unwrap()), (23, 1));
    assert_eq!(found(keyspace, 4, "big"), text(&"fedcba9876543210".repeat(1250)));
    assert_eq!(found(keyspace, 4, "third"), text("in 3"));
    assert_eq!(found(keyspace, 5, "flushed"), Lookup::Absent);
    assert_eq!(found(keyspace, 5, "five"), text("after"));
    assert_eq!(found(keyspace, 15, "last"), text("15"));
    let mut shown = 0;
    keyspace.select(0);
    assert_eq!(keyspace.scan(0, 1000, &mut |_, _| shown += 1).unwrap(), 0);
    assert_eq!(shown, 23);
}

#[test]
fn a_file_of_0_1_0_is_read_and_written_as_one_of_today() {
    let (_directory, options) = open();
    let mut keyspace = Keyspace::open_writer(&options, Box::new(|_| {})).unwrap();
    keyspace.begin_write(NOW).unwrap();
    check(&mut keyspace);
    keyspace.select(0);
    keyspace.put_string(b"key:3", b"new", Expiry::At(NOW + 1)).unwrap();
    keyspace.write_string_range(b"big", 39_000, &[b'x'; 9000]).unwrap();
    assert!(keyspace.rename(b"sparse", b"moved").unwrap());
    assert!(keyspace.copy(b"big", 7, b"copy", false).unwrap());
    keyspace.put_string(b"until-2100", b"for ever", Expiry::Clear).unwrap();
    keyspace.select(4);
    keyspace.flush_database().unwrap();
    keyspace.commit().unwrap();

    let mut reader = Keyspace::open_reader(&options).unwrap();
    reader.begin_read(NOW).unwrap();
    assert_eq!(found(&mut reader, 0, "key:3"), text("new"));
    assert_eq!(found(&mut reader, 7, "copy"), found(&mut reader, 0, "big"));
    assert_eq!(found(&mut reader, 0, "sparse"), Lookup::Absent);
    assert_eq!(reader.string_length(b"moved").unwrap(), Lookup::Found(100_003));
    assert_eq!((reader.key_count().unwrap(), reader.expires_count().unwrap()), (23, 1));
    assert_eq!(found(&mut reader, 4, "third"), Lookup::Absent);
    assert_eq!(reader.verify().unwrap().problems, [""; 0]);
    reader.end_read().unwrap();

    keyspace.begin_write(NOW + 2).unwrap();
    while keyspace.sweep_expired(100).unwrap() + keyspace.sweep_orphans(100).unwrap() > 0 {}
    keyspace.commit().unwrap();
    reader.begin_read(NOW + 2).unwrap();
    reader.select(0);
    assert_eq!((reader.key_count().unwrap(), reader.expires_count().unwrap()), (22, 0));
    assert_eq!(reader.orphans_left().unwrap(), 0);
    assert_eq!(reader.verify().unwrap().problems, [""; 0]);
}

#[test]
fn a_file_of_0_1_0_is_checked_and_copied_as_it_is() {
    let (directory, options) = untouched();
    let before = std::fs::read(options.data_path()).unwrap();
    assert!(inspect(&options).unwrap());
    let mut reader = Keyspace::open_reader(&options).unwrap();
    reader.begin_read(NOW).unwrap();
    let report = reader.verify().unwrap();
    assert_eq!(report.problems, [""; 0]);
    assert_eq!((report.databases[0], report.databases[15]), ((23, 1), (1, 0)));
    drop(reader);
    let copy = directory.path().join("copy.db");
    backup::copy(&options.data_path(), &copy, &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(options.data_path()).unwrap(), before);
    std::fs::rename(copy, options.data_path()).unwrap();
    assert_eq!(prepare(&options).unwrap().migrated_from, Some(1));
}
