//! An RDB file of version 10, which Redis 7.0 loads and all that are newer: key by key from a snapshot, element by element. Small
//! collections are written as the blobs that they are in Redis.

use std::io::Write;

use super::fault::{Fault, Result};
use super::rdb_file::{FileKey, Visitor};
use super::report::Report;
use super::survey::{Tally, Watch};
use crate::kv::formats::lzf;
use crate::kv::formats::rdb::{
    self, Element, ListDump, StreamDump, TYPE_BYTES, ValueKind, ValueType, crc64, plain_type, put_length, put_string,
    without_footer,
};
use crate::kv::stream_parts;
use crate::resp::number::parse_integer;
use crate::storage::keyspace::DATABASES;
use crate::storage::{Direction, Elements, Encoding, Entry, Keyspace, Kind, List, Lookup, SortedSet, Stream};

/// What Redis 7.0 writes.
const VERSION: u16 = 10;
/// From here on versions are Valkey's, whose files begin otherwise.
const VALKEY_VERSION: u16 = 80;
const LIBRARY: u8 = 0xf5;
const SETTING: u8 = 0xfa;
const SIZES: u8 = 0xfb;
const EXPIRES_AT_MS: u8 = 0xfc;
const DATABASE: u8 = 0xfe;
const END: u8 = 0xff;

/// Redis' name for whose format it is.
const SERVER: (&str, &str) = ("redis-ver", "7.0.15");
const KEYS_A_STEP: usize = 512;
/// What is written at once.
const BYTES_AT_ONCE: usize = 1 << 20;
/// More elements are written one by one: as one blob they would be in memory twice.
const BLOB_ELEMENTS_MAX: u64 = 4096;

/// A file that is being written.
struct Exporting<'o, W> {
    out: &'o mut W,
    /// What is not written yet.
    bytes: Vec<u8>,
    checksum: u64,
    compressor: lzf::Compressor,
    report: Report,
}

/// Writes all that the keyspace's present snapshot has. `show` is told how many keys are written, and says whether to go on.
///
/// # Errors
/// The data or the file.
pub fn export(
    keyspace: &mut Keyspace,
    now_ms: i64,
    out: &mut impl Write,
    mut show: impl FnMut(u64) -> Result<()>,
) -> Result<Report> {
    let mut exporting = Exporting::begin(out, now_ms, VERSION);
    for library in keyspace.libraries()? {
        exporting.library(&library.code);
    }
    for database in 0..DATABASES as u8 {
        keyspace.select(database);
        let (keys, expires) = (keyspace.key_count()?, keyspace.expires_count()?);
        if keys == 0 {
            continue;
        }
        exporting.bytes.push(DATABASE);
        put_length(u64::from(database), &mut exporting.bytes);
        exporting.bytes.push(SIZES);
        put_length(keys, &mut exporting.bytes);
        put_length(expires, &mut exporting.bytes);
        let mut cursor = 0;
        loop {
            let mut found: Vec<(Vec<u8>, Entry)> = Vec::new();
            cursor = keyspace.scan(cursor, KEYS_A_STEP, &mut |key, head| found.push((key.to_vec(), *head)))?;
            for (key, head) in &found {
                exporting.key(keyspace, key, head)?;
            }
            show(exporting.report.keys())?;
            if cursor == 0 {
                break;
            }
        }
    }
    exporting.end()?;
    Ok(exporting.report)
}

impl<'o, W: Write> Exporting<'o, W> {
    fn begin(out: &'o mut W, now_ms: i64, version: u16) -> Self {
        let head = if version < VALKEY_VERSION { format!("REDIS{version:04}") } else { format!("VALKEY{version:03}") };
        let (bytes, compressor) = (head.into_bytes(), lzf::Compressor::default());
        let mut exporting = Self { out, bytes, checksum: 0, compressor, report: Report::default() };
        exporting.setting(SERVER.0, SERVER.1);
        exporting.setting("redis-bits", "64");
        exporting.setting("ctime", &(now_ms / 1000).to_string());
        exporting
    }

    fn expires_at(&mut self, expires_at_ms: Option<i64>) {
        if let Some(at_ms) = expires_at_ms {
            self.bytes.push(EXPIRES_AT_MS);
            self.bytes.extend_from_slice(&at_ms.to_le_bytes());
        }
    }

    fn library(&mut self, code: &[u8]) {
        self.report.library();
        self.bytes.push(LIBRARY);
        self.text(code);
    }

    fn setting(&mut self, name: &str, value: &str) {
        self.bytes.push(SETTING);
        self.text(name.as_bytes());
        self.text(value.as_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        put_string(text, &mut self.compressor, &mut self.bytes);
    }

    fn key(&mut self, keyspace: &Keyspace, key: &[u8], head: &Entry) -> Result<()> {
        self.expires_at(head.expires_at_ms);
        match head.kind {
            Kind::String => {
                self.begin_key(ValueKind::String, key);
                let found = keyspace.with_string(key, |value| self.text(value))?;
                if !matches!(found, Lookup::Found(())) {
                    return Err(lost(key));
                }
                self.report.moved(ValueKind::String, 1);
            }
            Kind::List => {
                let Lookup::Found(list) = keyspace.list(key)? else { return Err(lost(key)) };
                self.list(key, &list)?;
            }
            Kind::Stream => {
                let Lookup::Found(stream) = keyspace.stream(key)? else { return Err(lost(key)) };
                self.stream(key, &stream)?;
            }
            Kind::Hash | Kind::Set | Kind::SortedSet => {
                let elements = keyspace.collection(key)?.ok_or_else(|| lost(key))?;
                self.collection(key, elements)?;
            }
        }
        self.write_if_much()
    }

    fn begin_key(&mut self, kind: ValueKind, key: &[u8]) {
        self.bytes.push(plain_type(kind));
        self.text(key);
    }

    /// A value in the form of DUMP's.
    fn blob(&mut self, key: &[u8], payload: &[u8]) {
        let body = without_footer(payload);
        self.bytes.extend_from_slice(&body[..TYPE_BYTES]);
        self.text(key);
        self.bytes.extend_from_slice(&body[TYPE_BYTES..]);
    }

    fn list(&mut self, key: &[u8], list: &List<'_>) -> Result<()> {
        self.report.moved(ValueKind::List, list.len());
        if list.encoding() == Encoding::Listpack && list.len() <= BLOB_ELEMENTS_MAX {
            let mut payload = Vec::new();
            let mut dump = ListDump::new(&mut payload, true);
            list.each::<Fault>(0, list.len(), |item| {
                dump.add(item);
                Ok(())
            })?;
            dump.finish();
            self.blob(key, &payload);
            return Ok(());
        }
        self.begin_key(ValueKind::List, key);
        put_length(list.len(), &mut self.bytes);
        list.each(0, list.len(), |item| {
            self.text(item);
            self.write_if_much()
        })
    }

    fn collection(&mut self, key: &[u8], elements: Elements<'_>) -> Result<()> {
        let (count, is_small) = (elements.len(), elements.len() <= BLOB_ELEMENTS_MAX);
        match (elements.kind(), elements.encoding()) {
            (Kind::SortedSet, _) => {
                let set = SortedSet::of(elements).ok_or_else(|| lost(key))?;
                self.sorted_set(key, &set)
            }
            (Kind::Set, Encoding::Intset) if is_small => {
                self.report.moved(ValueKind::Set, count);
                let mut numbers = Vec::new();
                elements.each_name::<Fault>(|member| {
                    numbers.push(parse_integer(member).ok_or_else(|| lost(key))?);
                    Ok(())
                })?;
                self.blob(key, &rdb::dump_intset(&mut numbers));
                Ok(())
            }
            (Kind::Hash, Encoding::Listpack) if is_small => {
                self.report.moved(ValueKind::Hash, count);
                let mut texts = Vec::new();
                elements.each::<Fault>(|field, value| {
                    texts.extend([field.to_vec(), value.to_vec()]);
                    Ok(())
                })?;
                self.blob(key, &rdb::dump_listpack_hash(texts.iter().map(Vec::as_slice)));
                Ok(())
            }
            (kind, _) => {
                let is_hash = kind == Kind::Hash;
                let kind = if is_hash { ValueKind::Hash } else { ValueKind::Set };
                self.report.moved(kind, count);
                self.begin_key(kind, key);
                put_length(count, &mut self.bytes);
                elements.each(|name, value| {
                    self.text(name);
                    if is_hash {
                        self.text(value);
                    }
                    self.write_if_much()
                })
            }
        }
    }

    fn sorted_set(&mut self, key: &[u8], set: &SortedSet<'_>) -> Result<()> {
        let count = set.len();
        self.report.moved(ValueKind::SortedSet, count);
        if set.elements().encoding() == Encoding::Listpack && count <= BLOB_ELEMENTS_MAX {
            let mut scored = Vec::new();
            set.each_from::<Fault>(0, count, Direction::Forward, |member, score| {
                scored.push((member.to_vec(), score));
                Ok(())
            })?;
            let scored = scored.iter().map(|(member, score)| (member.as_slice(), *score));
            self.blob(key, &rdb::dump_listpack_sorted_set(scored));
            return Ok(());
        }
        self.begin_key(ValueKind::SortedSet, key);
        put_length(count, &mut self.bytes);
        set.each_from(0, count, Direction::Backward, |member, score| {
            self.text(member);
            self.bytes.extend_from_slice(&score.to_le_bytes());
            self.write_if_much()
        })
    }

    fn stream(&mut self, key: &[u8], stream: &Stream<'_>) -> Result<()> {
        self.report.moved(ValueKind::Stream, stream.head().length);
        self.begin_key(ValueKind::Stream, key);
        let Self { out, bytes, checksum, .. } = self;
        let mut dump = StreamDump::value(bytes, stream.head().nodes);
        stream_parts::dump::<Fault>(stream, &mut dump, &mut |dump| {
            if dump.written() >= BYTES_AT_ONCE {
                let bytes = dump.take_written();
                *checksum = crc64(*checksum, &bytes);
                out.write_all(&bytes)?;
            }
            Ok(())
        })
    }

    fn write_if_much(&mut self) -> Result<()> {
        if self.bytes.len() < BYTES_AT_ONCE { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<()> {
        self.checksum = crc64(self.checksum, &self.bytes);
        self.out.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.bytes.push(END);
        self.write()?;
        self.out.write_all(&self.checksum.to_le_bytes())?;
        Ok(self.out.flush()?)
    }
}

/// An RDB file of what a running server shows key by key: values as it has them, so the file is of its version.
pub struct Copying<'w, W> {
    out: Option<&'w mut W>,
    /// From the first key on, which tells the version.
    exporting: Option<Exporting<'w, W>>,
    /// Codes of libraries, until there is a file.
    libraries: Vec<Vec<u8>>,
    now_ms: i64,
    tally: Tally,
    database: Option<u64>,
    expires_at_ms: Option<i64>,
    of: Option<ValueType>,
    watch: Watch<'w>,
}

impl<'w, W: Write> Copying<'w, W> {
    pub fn new(out: &'w mut W, now_ms: i64, watch: Watch<'w>) -> Self {
        Self {
            out: Some(out),
            exporting: None,
            libraries: Vec::new(),
            now_ms,
            tally: Tally::new(now_ms),
            database: None,
            expires_at_ms: None,
            of: None,
            watch,
        }
    }

    /// # Errors
    /// The file can't be written.
    pub fn finish(mut self) -> Result<Report> {
        if let Some(exporting) = self.exporting(VERSION) {
            exporting.end()?;
        }
        Ok(self.tally.report)
    }

    fn exporting(&mut self, version: u16) -> Option<&mut Exporting<'w, W>> {
        if let Some(out) = self.out.take() {
            let mut exporting = Exporting::begin(out, self.now_ms, version.max(VERSION));
            self.libraries.drain(..).for_each(|code| exporting.library(&code));
            self.exporting = Some(exporting);
        }
        self.exporting.as_mut()
    }
}

impl<W: Write> Visitor for Copying<'_, W> {
    fn begin(&mut self, key: &FileKey<'_>) -> Result<()> {
        self.of = None;
        if self.tally.begin(key) {
            (self.of, self.expires_at_ms) = (Some(key.of), key.expires_at_ms);
        }
        if self.of.is_some() && self.database != Some(key.database) {
            self.database = Some(key.database);
            if let Some(exporting) = self.exporting(key.of.version()) {
                exporting.bytes.push(DATABASE);
                put_length(key.database, &mut exporting.bytes);
            }
        }
        Ok(())
    }

    fn element(&mut self, _: Element<'_>) -> Result<()> {
        Ok(())
    }

    fn end(&mut self, elements: u64, encoded: Option<&[u8]>) -> Result<()> {
        let (Some(of), Some((kind, elements)), Some(encoded)) = (self.of, self.tally.end(elements), encoded) else {
            return Ok(());
        };
        self.tally.report.moved(kind, elements);
        let Some(exporting) = &mut self.exporting else { return Ok(()) };
        exporting.expires_at(self.expires_at_ms);
        exporting.bytes.push(of.number());
        exporting.text(self.tally.name());
        exporting.bytes.extend_from_slice(encoded);
        exporting.write_if_much()
    }

    fn library(&mut self, code: &[u8]) -> Result<()> {
        self.tally.report.library();
        match &mut self.exporting {
            Some(exporting) => exporting.library(code),
            None => self.libraries.push(code.to_vec()),
        }
        Ok(())
    }

    fn unmoved(&mut self, what: &str, name: &[u8]) {
        self.tally.report.unmoved(what, name);
    }

    fn at(&mut self, position: u64) -> Result<()> {
        (self.watch)(position)
    }
}

fn lost(key: &[u8]) -> Fault {
    Fault::Input(format!(
        "the data is damaged: the key {} can't be read; emptyserver check says more",
        key.escape_ascii()
    ))
}
