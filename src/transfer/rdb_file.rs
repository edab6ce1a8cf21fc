//! An RDB file from its beginning to its checksum, key by key.
//!
//! ```text
//! REDIS and four digits: the version             (VALKEY and three digits, from version 80 on)
//! f3 a slot that is being moved: a name, count, and for each two lengths
//! f4 a slot: three lengths            f5 a library of functions: a string        f7 what a module keeps beside keys
//! f8 idle time: a length              f9 how often it is used: a byte            fa a setting: two strings
//! fb how many keys: two lengths       fc time in ms: 8 bytes                     fd time in s: 4 bytes, little endian
//! fe a database: a length             ff the end, and from version 5 on 8 bytes: the checksum, or 0
//! else a type of values: a string, which is the key, and the value
//! ```

use std::io::Read;

use super::bytes::Bytes;
use super::fault::{Fault, Result};
use super::report::causes;
use crate::kv::formats::rdb::{
    Element, RestoreError, Source, ValueKind, ValueType, read_length, read_over_module_data, read_string,
};

const SLOT_IMPORT: u8 = 0xf3;
const SLOT_INFO: u8 = 0xf4;
const FUNCTION: u8 = 0xf5;
const MODULE_DATA: u8 = 0xf7;
const IDLE: u8 = 0xf8;
const FREQUENCY: u8 = 0xf9;
const SETTING: u8 = 0xfa;
const SIZES: u8 = 0xfb;
const EXPIRES_AT_MS: u8 = 0xfc;
const EXPIRES_AT_SECONDS: u8 = 0xfd;
const DATABASE: u8 = 0xfe;
const END: u8 = 0xff;

/// Versions of Redis, and of Valkey. What is newer may have parts that nobody here has heard of, which is found where they are met.
const VERSIONS: [std::ops::RangeInclusive<u16>; 2] = [1..=79, 80..=999];
const CHECKSUM_SINCE: u16 = 5;

/// A key in front of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKey<'a> {
    pub database: u64,
    pub name: &'a [u8],
    pub expires_at_ms: Option<i64>,
    pub of: ValueType,
    pub kind: ValueKind,
}

/// What is shown of a file, in its order.
pub trait Visitor {
    fn begin(&mut self, key: &FileKey<'_>) -> Result<()>;

    /// Of values of modules there are none.
    fn element(&mut self, element: Element<'_>) -> Result<()>;

    /// The key's value is complete: it had so many elements. `encoded`: the value as the file has it, unless it is large.
    fn end(&mut self, elements: u64, encoded: Option<&[u8]>) -> Result<()>;

    /// The code of a library of functions.
    fn library(&mut self, code: &[u8]) -> Result<()>;

    /// Something that no destination takes: what it is, and its name.
    fn unmoved(&mut self, what: &str, name: &[u8]);

    /// So many bytes are read.
    fn at(&mut self, position: u64) -> Result<()>;
}

/// A file that is being read.
#[derive(Debug)]
pub struct RdbFile<R> {
    bytes: Bytes<R>,
    version: u16,
    bytes_max: u64,
}

/// What was read on the way to the next key.
#[derive(Default)]
struct Attributes {
    database: u64,
    expires_at_ms: Option<i64>,
}

impl<R: Read> RdbFile<R> {
    /// Reads the first bytes. Strings of more than `bytes_max` bytes are an error where they are met.
    ///
    /// # Errors
    /// It is no such file.
    pub fn open(input: R, bytes_max: u64) -> Result<Self> {
        let mut bytes = Bytes::new(input);
        let head: [u8; 9] =
            bytes.array().map_err(|fault| not_a_file(fault, "is empty, or cut within its first bytes"))?;
        let digits = match &head {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => &digits[..],
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => digits,
            _ => return Err(Fault::Input("is no RDB file: it does not begin with REDIS".to_owned())),
        };
        let version = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        if !VERSIONS.iter().any(|versions| versions.contains(&version)) {
            return Err(Fault::Input(format!("is no RDB file: its version is {}", digits.escape_ascii())));
        }
        Ok(Self { bytes, version, bytes_max })
    }

    /// Shows all of it, and checks the checksum at its end.
    ///
    /// # Errors
    /// What is wrong with the file, with the place; or what the visitor says.
    pub fn read(&mut self, visitor: &mut impl Visitor) -> Result<()> {
        let mut before = self.bytes.position();
        let mut key = Vec::new();
        let mut attributes = Attributes::default();
        loop {
            let read = self.part(&mut attributes, &mut key, visitor);
            match read.map_err(|fault| self.placed(fault, before, &key))? {
                true => before = self.bytes.position(),
                false => return self.check(),
            }
        }
    }

    /// What comes behind the file, if there is anything: the commands of an append-only file.
    pub fn into_bytes(self) -> Bytes<R> {
        self.bytes
    }

    /// False: that was the end.
    fn part(&mut self, attributes: &mut Attributes, key: &mut Vec<u8>, visitor: &mut impl Visitor) -> Result<bool> {
        let Self { bytes, bytes_max, version } = self;
        let [code] = bytes.array()?;
        match code {
            END => return Ok(false),
            DATABASE => {
                attributes.database = read_length(bytes)?;
                visitor.at(bytes.position())?;
            }
            SIZES => lengths(bytes, 2)?,
            SLOT_INFO => lengths(bytes, 3)?,
            SLOT_IMPORT => {
                read_string(bytes, *bytes_max, key)?;
                let ranges = read_length(bytes)?;
                (0..ranges).try_for_each(|_| lengths(bytes, 2))?;
            }
            SETTING => (0..2).try_for_each(|_| read_string(bytes, *bytes_max, key))?,
            FUNCTION => {
                read_string(bytes, *bytes_max, key)?;
                visitor.library(key)?;
            }
            MODULE_DATA => {
                visitor.unmoved(causes::MODULE_DATA, read_over_module_data(bytes, *bytes_max)?.as_bytes());
            }
            IDLE => lengths(bytes, 1)?,
            FREQUENCY => drop(bytes.take(1)?),
            EXPIRES_AT_MS => attributes.expires_at_ms = Some(i64::from_le_bytes(bytes.array()?)),
            EXPIRES_AT_SECONDS => {
                attributes.expires_at_ms = Some(i64::from(i32::from_le_bytes(bytes.array()?)) * 1000);
            }
            number => {
                let of = ValueType::new(number, *version);
                let kind = of.kind().ok_or_else(|| Fault::Input(format!("a type that is not known here, {number}")))?;
                read_string(bytes, *bytes_max, key)?;
                let expires_at_ms = attributes.expires_at_ms.take();
                visitor.begin(&FileKey { database: attributes.database, name: key, expires_at_ms, of, kind })?;
                bytes.keep();
                let elements = of.read(bytes, *bytes_max, &mut |element| visitor.element(element))?;
                visitor.end(elements, bytes.kept())?;
                visitor.at(bytes.position())?;
            }
        }
        key.clear();
        Ok(true)
    }

    fn check(&mut self) -> Result<()> {
        if self.version < CHECKSUM_SINCE {
            return Ok(());
        }
        let expected = self.bytes.checksum();
        let found = self.bytes.array().map_err(|fault| not_a_file(fault, "is cut within the checksum at its end"))?;
        match u64::from_le_bytes(found) {
            // It was written without one.
            0 => Ok(()),
            found if found == expected => Ok(()),
            _ => Err(Fault::Input("is damaged: the checksum at its end is another than that of its bytes".to_owned())),
        }
    }

    fn placed(&self, fault: Fault, before: u64, key: &[u8]) -> Fault {
        let what = match fault {
            Fault::Input(text) => text,
            Fault::Value(RestoreError::TooLong) => "a string longer than EMPTYSERVER_VALUE_BYTES_MAX".to_owned(),
            Fault::Value(_) => "something that can't be understood".to_owned(),
            other => return other,
        };
        let of = if key.is_empty() { String::new() } else { format!(", with {}", shown(key)) };
        Fault::Input(format!(
            "is cut or damaged at byte {}, in what begins at {before}{of}: {what}",
            self.bytes.position()
        ))
    }
}

fn lengths<S: Source>(source: &mut S, count: usize) -> std::result::Result<(), S::Error> {
    (0..count).try_for_each(|_| read_length(source).map(drop))
}

fn not_a_file(fault: Fault, what: &str) -> Fault {
    match fault {
        Fault::Input(_) => Fault::Input(what.to_owned()),
        other => other,
    }
}

/// A key for people.
pub(super) fn shown(key: &[u8]) -> String {
    const BYTES_MAX: usize = 60;
    let more = if key.len() > BYTES_MAX { "..." } else { "" };
    format!("\"{}\"{more}", key[..key.len().min(BYTES_MAX)].escape_ascii())
}
