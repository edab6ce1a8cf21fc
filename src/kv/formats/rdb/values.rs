//! Values as they are encoded, from memory or from a file of any length: shown element by element, so that a value of any size takes no
//! more memory than its longest string and the blob that it lies in.

use super::lists::{NODE_PACKED, NODE_PLAIN};
use super::payload::{
    RestoreError, TYPE_HASH, TYPE_HASH_LISTPACK, TYPE_HASH_ZIPLIST, TYPE_HASH_ZIPMAP, TYPE_LIST, TYPE_LIST_QUICKLIST,
    TYPE_LIST_QUICKLIST_2, TYPE_LIST_ZIPLIST, TYPE_SET, TYPE_SET_INTSET, TYPE_SET_LISTPACK, TYPE_SORTED_SET,
    TYPE_SORTED_SET_LISTPACK, TYPE_SORTED_SET_OF_TEXTS, TYPE_SORTED_SET_ZIPLIST, TYPE_STREAM, TYPE_STREAM_2,
    TYPE_STREAM_3, TYPE_STRING,
};
use super::streams::{self, StreamPart};
use super::strings::{Text, read_length, read_string};
use super::{ending_fields, intset, listpack, modules, scores, ziplist, zipmap};

/// Where encoded bytes come from.
pub trait Source {
    type Error: From<RestoreError>;

    /// The next so many bytes. They are there until the next call.
    fn take(&mut self, length: usize) -> Result<&[u8], Self::Error>;

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Self::Error> {
        let bytes = self.take(N)?;
        Ok(std::array::from_fn(|at| bytes[at]))
    }
}

/// A part of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element<'a> {
    /// All of a string.
    Value(&'a [u8]),
    Item(&'a [u8]),
    Member(&'a [u8]),
    Scored(&'a [u8], f64),
    Field(&'a [u8], &'a [u8]),
    /// A field that ends by itself, at a time in milliseconds.
    EndingField(&'a [u8], &'a [u8], i64),
    /// Of a stream, in the order in which a payload has them.
    Stream(StreamPart<'a>),
}

/// What a type of value is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
    /// Of a module of Redis; read over, and not shown.
    Module,
}

/// A value's type in a file or payload of a version: 80 and more are Valkey's, who gives some numbers another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueType {
    pub(super) number: u8,
    pub(super) version: u16,
}

/// The first version of Valkey's own.
const VALKEY_VERSION: u16 = 80;

impl ValueType {
    #[must_use]
    pub fn new(number: u8, version: u16) -> Self {
        Self { number, version }
    }

    /// As files and payloads have it.
    #[must_use]
    pub fn number(self) -> u8 {
        self.number
    }

    /// Of the file or payload that it is in.
    #[must_use]
    pub fn version(self) -> u16 {
        self.version
    }

    pub(super) fn is_of_valkey(self) -> bool {
        self.version >= VALKEY_VERSION
    }

    /// None: there is no such type, as far as is known here.
    #[must_use]
    pub fn kind(self) -> Option<ValueKind> {
        Some(match self.number {
            TYPE_STRING => ValueKind::String,
            TYPE_LIST | TYPE_LIST_ZIPLIST | TYPE_LIST_QUICKLIST | TYPE_LIST_QUICKLIST_2 => ValueKind::List,
            TYPE_SET | TYPE_SET_INTSET | TYPE_SET_LISTPACK => ValueKind::Set,
            TYPE_SORTED_SET | TYPE_SORTED_SET_OF_TEXTS | TYPE_SORTED_SET_ZIPLIST | TYPE_SORTED_SET_LISTPACK => {
                ValueKind::SortedSet
            }
            TYPE_HASH | TYPE_HASH_ZIPMAP | TYPE_HASH_ZIPLIST | TYPE_HASH_LISTPACK => ValueKind::Hash,
            _ if ending_fields::is_hash(self) => ValueKind::Hash,
            TYPE_STREAM | TYPE_STREAM_2 | TYPE_STREAM_3 => ValueKind::Stream,
            modules::TYPE_MODULE => ValueKind::Module,
            _ => return None,
        })
    }

    /// True exactly when a payload of this type is taken by RESTORE.
    #[must_use]
    pub fn is_restorable(self) -> bool {
        !matches!(self.kind(), None | Some(ValueKind::Module)) && !ending_fields::is_hash(self)
    }

    /// Shows a value's elements until `show` fails. Those before that were shown. How many there were, of a stream its entries: 0 is a
    /// value that Redis skips, unless it is a stream.
    pub fn read<S: Source>(
        self,
        source: &mut S,
        bytes_max: u64,
        show: &mut impl FnMut(Element<'_>) -> Result<(), S::Error>,
    ) -> Result<u64, S::Error> {
        let mut reading = Reading { source, bytes_max, first: Vec::new(), second: Vec::new(), count: 0 };
        match self.kind().ok_or(RestoreError::Format)? {
            ValueKind::String => {
                let Reading { source, first, .. } = &mut reading;
                read_string(*source, bytes_max, first)?;
                show(Element::Value(first))?;
                return Ok(1);
            }
            ValueKind::List => reading.list(self.number, show)?,
            ValueKind::Set => reading.set(self.number, show)?,
            ValueKind::SortedSet => reading.sorted_set(self.number, show)?,
            ValueKind::Hash if ending_fields::is_hash(self) => {
                return ending_fields::read(self, source, bytes_max, show);
            }
            ValueKind::Hash => reading.hash(self.number, show)?,
            ValueKind::Stream => {
                return streams::each_part(self.number, source, bytes_max, &mut |part| show(Element::Stream(part)));
            }
            ValueKind::Module => return modules::read_over_value(source, bytes_max),
        }
        Ok(reading.count)
    }
}

/// A collection that is being read.
struct Reading<'s, S> {
    source: &'s mut S,
    bytes_max: u64,
    first: Vec<u8>,
    second: Vec<u8>,
    count: u64,
}

impl<S: Source> Reading<'_, S> {
    fn list<F: FnMut(Element<'_>) -> Result<(), S::Error>>(
        &mut self,
        number: u8,
        show: &mut F,
    ) -> Result<(), S::Error> {
        match number {
            TYPE_LIST => {
                for _ in 0..read_length(self.source)? {
                    self.first()?;
                    self.count += 1;
                    show(Element::Item(&self.first))?;
                }
                Ok(())
            }
            TYPE_LIST_ZIPLIST => self.ziplist_items(show),
            TYPE_LIST_QUICKLIST => (0..read_length(self.source)?).try_for_each(|_| self.ziplist_items(show)),
            _ => (0..read_length(self.source)?).try_for_each(|_| self.node(show)),
        }
    }

    fn ziplist_items<F: FnMut(Element<'_>) -> Result<(), S::Error>>(&mut self, show: &mut F) -> Result<(), S::Error> {
        self.first()?;
        let mut entries = ziplist::Entries::new(&self.first)?;
        while let Some(item) = entries.next()? {
            self.count += 1;
            show(Element::Item(item.as_bytes()))?;
        }
        Ok(())
    }

    fn node<F: FnMut(Element<'_>) -> Result<(), S::Error>>(&mut self, show: &mut F) -> Result<(), S::Error> {
        let container = read_length(self.source)?;
        self.first()?;
        match container {
            NODE_PLAIN if !self.first.is_empty() => {
                self.count += 1;
                show(Element::Item(&self.first))
            }
            NODE_PACKED => {
                let mut entries = listpack::Entries::new(&self.first)?;
                while let Some(item) = entries.next()? {
                    self.count += 1;
                    show(Element::Item(item.as_bytes()))?;
                }
                Ok(())
            }
            _ => Err(RestoreError::Format.into()),
        }
    }

    fn set<F: FnMut(Element<'_>) -> Result<(), S::Error>>(&mut self, number: u8, show: &mut F) -> Result<(), S::Error> {
        match number {
            TYPE_SET => {
                for _ in 0..read_length(self.source)? {
                    self.first()?;
                    self.count += 1;
                    show(Element::Member(&self.first))?;
                }
            }
            TYPE_SET_INTSET => {
                self.first()?;
                for value in intset::read(&self.first)? {
                    self.count += 1;
                    show(Element::Member(itoa::Buffer::new().format(value).as_bytes()))?;
                }
            }
            _ => {
                self.first()?;
                let mut entries = listpack::Entries::new(&self.first)?;
                while let Some(member) = entries.next()? {
                    self.count += 1;
                    show(Element::Member(member.as_bytes()))?;
                }
            }
        }
        Ok(())
    }

    fn hash<F: FnMut(Element<'_>) -> Result<(), S::Error>>(
        &mut self,
        number: u8,
        show: &mut F,
    ) -> Result<(), S::Error> {
        if number == TYPE_HASH {
            for _ in 0..read_length(self.source)? {
                self.first()?;
                read_string(self.source, self.bytes_max, &mut self.second)?;
                self.count += 1;
                show(Element::Field(&self.first, &self.second))?;
            }
            return Ok(());
        }
        self.first()?;
        let count = &mut self.count;
        let mut show = |field: &[u8], value: &[u8]| {
            *count += 1;
            show(Element::Field(field, value))
        };
        match number {
            TYPE_HASH_ZIPMAP => {
                let mut entries = zipmap::Entries::new(&self.first)?;
                pairs(&mut show, || Ok(entries.next()?.map(Text::Borrowed)))
            }
            TYPE_HASH_ZIPLIST => {
                let mut entries = ziplist::Entries::new(&self.first)?;
                pairs(&mut show, || entries.next())
            }
            _ => {
                let mut entries = listpack::Entries::new(&self.first)?;
                pairs(&mut show, || entries.next())
            }
        }
    }

    /// In a listpack and in a ziplist members are in their order.
    fn sorted_set<F>(&mut self, number: u8, show: &mut F) -> Result<(), S::Error>
    where
        F: FnMut(Element<'_>) -> Result<(), S::Error>,
    {
        if matches!(number, TYPE_SORTED_SET | TYPE_SORTED_SET_OF_TEXTS) {
            for _ in 0..read_length(self.source)? {
                self.first()?;
                let score = match number {
                    TYPE_SORTED_SET => f64::from_le_bytes(self.source.array()?),
                    _ => scores::read_text(self.source)?,
                };
                self.count += 1;
                show(Element::Scored(&self.first, scores::checked(score)?))?;
            }
            return Ok(());
        }
        self.first()?;
        let (count, mut order) = (&mut self.count, scores::Order::default());
        let mut show = |member: &[u8], text: &[u8]| {
            *count += 1;
            show(Element::Scored(member, order.next(member, text)?))
        };
        if number == TYPE_SORTED_SET_ZIPLIST {
            let mut entries = ziplist::Entries::new(&self.first)?;
            return pairs(&mut show, || entries.next());
        }
        let mut entries = listpack::Entries::new(&self.first)?;
        pairs(&mut show, || entries.next())
    }

    fn first(&mut self) -> Result<(), S::Error> {
        read_string(self.source, self.bytes_max, &mut self.first)
    }
}

/// Elements that alternate: a field, its value.
fn pairs<'a, E: From<RestoreError>>(
    show: &mut impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    mut next: impl FnMut() -> Result<Option<Text<'a>>, RestoreError>,
) -> Result<(), E> {
    while let Some(field) = next()? {
        let value = next()?.ok_or(RestoreError::Format)?;
        show(field.as_bytes(), value.as_bytes())?;
    }
    Ok(())
}
