//! Row keys: a table, the fields that are numbers, and what is left of the key. Their order is that of the tuple, so that
//! changes can be applied, and views merged, in one pass.

/// In the order of their numbers, in which a batch is applied: where the keys of a database lie and what is given up are known
/// before what hangs on them. The numbers are part of the journal's format; elements of values go between chunks and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Database = 1,
    Orphan = 2,
    Chunk = 3,
    HashField = 4,
    SetMember = 5,
    ListItem = 6,
    /// Members of sorted sets, by their homes.
    SortedMember = 7,
    /// The same members by score and then name.
    SortedOrder = 8,
    /// How many rows of an ordered collection lie from a place on, up to the next count's place; and the same of many such counts.
    CountBlock = 9,
    CountSum = 10,
    ListCount = 11,
    /// Entries of streams, by the times and numbers of their ids.
    StreamEntry = 12,
    /// Groups of streams, by the homes of their names. What belongs to a group is named by an id of its own.
    StreamGroup = 13,
    /// Consumers of a group by their numbers, and their numbers by the homes of their names.
    StreamConsumer = 14,
    StreamConsumerName = 15,
    /// What a group waits to be acknowledged, by the ids of the entries, and the same by consumers.
    StreamPending = 16,
    StreamOwned = 17,
    Key = 32,
}

impl Table {
    /// In their order.
    pub const ALL: [Self; 18] = [
        Self::Database,
        Self::Orphan,
        Self::Chunk,
        Self::HashField,
        Self::SetMember,
        Self::ListItem,
        Self::SortedMember,
        Self::SortedOrder,
        Self::CountBlock,
        Self::CountSum,
        Self::ListCount,
        Self::StreamEntry,
        Self::StreamGroup,
        Self::StreamConsumer,
        Self::StreamConsumerName,
        Self::StreamPending,
        Self::StreamOwned,
        Self::Key,
    ];

    /// Whether its rows have names behind their numbers.
    pub(in crate::storage) fn has_names(self) -> bool {
        !matches!(
            self,
            Self::Database | Self::Orphan | Self::Chunk | Self::ListItem | Self::ListCount | Self::StreamConsumer
        )
    }

    /// Whether its rows say how many others they count.
    pub(in crate::storage) fn counts_others(self) -> bool {
        matches!(self, Self::CountBlock | Self::CountSum)
    }

    /// Whether the home of a name is among the numbers of its rows. Elsewhere any number of rows may have the same numbers: members of one
    /// score, entries of one millisecond.
    pub(in crate::storage) fn has_homes(self) -> bool {
        matches!(
            self,
            Self::HashField
                | Self::SetMember
                | Self::SortedMember
                | Self::StreamGroup
                | Self::StreamConsumerName
                | Self::Key
        )
    }
}

/// The name of a row. Compared as (table, numbers, bytes), which is also the order of its bytes once written down big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey<'a> {
    table: Table,
    fields: u128,
    tail: &'a [u8],
}

/// What a row key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// Chunks of a value that nobody can reach any more.
    OrphanValue(i64),
    /// Items of a list that lie beyond one of its ends: the row says up to where.
    OrphanItems {
        id: i64,
        end: End,
    },
    /// Entries of a stream before its first: the row says up to which.
    OrphanEntries(i64),
    Chunk {
        id: i64,
        number: u64,
    },
    /// An element of a collection that has a row for each, or what else is named by a collection, a number and bytes.
    Element(ElementName<'a>),
    /// A key: its home in its space comes first, so that neighbours in this order are neighbours where they rest.
    Key {
        space: u64,
        position: u64,
        key: &'a [u8],
    },
    Database(u8),
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Front = 1,
    Back = 2,
}

/// Which element of which collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementName<'a> {
    /// One of elements.
    pub table: Table,
    /// Of the collection.
    pub id: i64,
    /// The home of the field or member: a hash that does not depend on the collection. In a list its place, in an ordered table the place
    /// of its score (`score_order`), in a stream the time of its id.
    pub position: u64,
    /// The field or member; of a long one its beginning and a digest (`Homes::short_name`), or what puts it in its order, such as the
    /// number of a stream's id. Empty in a list.
    pub name: &'a [u8],
}

/// Rows of a table that lie between two others, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The keys of a space whose homes are from `first` to `last`.
    Keys { space: u64, first: u64, last: u64 },
    /// These chunks of a value.
    Chunks { id: i64, first: u64, last: u64 },
    /// The elements of a collection whose homes are from `first` to `last`.
    Elements { table: Table, id: i64, first: u64, last: u64 },
}

/// Which way rows are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// Rows of a collection from a place on, which may lie between two rows of equal numbers: forwards to the last whose number is not beyond
/// `end`, or backwards to the first whose number is not before it. The row at the place itself is one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// One of elements.
    pub table: Table,
    pub id: i64,
    pub begin: (u64, &'a [u8]),
    pub end: u64,
    pub direction: Direction,
}

/// Rows of a collection from a place up to another one, which is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Between<'a> {
    /// One whose rows are counted, or count others.
    pub table: Table,
    pub id: i64,
    pub begin: (u64, &'a [u8]),
    pub end: (u64, &'a [u8]),
}

/// Behind the ends of a list (`End`).
const ORPHAN_ENTRIES: u128 = 3;
const POSITION_MASK: u128 = (1 << super::POSITION_BITS) - 1;

impl<'a> RowKey<'a> {
    #[must_use]
    pub fn orphan_value(id: i64) -> Self {
        Self::numbers(Table::Orphan, u128::from(id.cast_unsigned()))
    }

    #[must_use]
    pub fn orphan_items(id: i64, end: End) -> Self {
        Self::numbers(Table::Orphan, (end as u128) << 64 | u128::from(id.cast_unsigned()))
    }

    #[must_use]
    pub fn orphan_entries(id: i64) -> Self {
        Self::numbers(Table::Orphan, ORPHAN_ENTRIES << 64 | u128::from(id.cast_unsigned()))
    }

    #[must_use]
    pub fn chunk(id: i64, number: u64) -> Self {
        Self::numbers(Table::Chunk, u128::from(id.cast_unsigned()) << 64 | u128::from(number))
    }

    #[must_use]
    pub fn key(space: u64, position: u64, key: &'a [u8]) -> Self {
        Self { tail: key, ..Self::numbers(Table::Key, at(space, position)) }
    }

    /// `table` is one of elements.
    #[must_use]
    pub fn element(table: Table, id: i64, position: u64, name: &'a [u8]) -> Self {
        Self { tail: name, ..Self::numbers(table, u128::from(id.cast_unsigned()) << 64 | u128::from(position)) }
    }

    #[must_use]
    pub fn database(number: u8) -> Self {
        Self::numbers(Table::Database, u128::from(number))
    }

    pub(in crate::storage) fn new(table: Table, fields: u128, tail: &'a [u8]) -> Self {
        Self { table, fields, tail }
    }

    fn numbers(table: Table, fields: u128) -> Self {
        Self { table, fields, tail: &[] }
    }

    /// From parts that were written down; None where no row has such a key.
    #[must_use]
    pub fn checked(table: Table, fields: u128, tail: &'a [u8]) -> Option<Self> {
        let key = Self::new(table, fields, tail);
        if !(tail.is_empty() || table.has_names()) {
            return None;
        }
        let named = match key.name() {
            Name::OrphanValue(id) => Self::orphan_value(id),
            Name::OrphanItems { id, end } => Self::orphan_items(id, end),
            Name::OrphanEntries(id) => Self::orphan_entries(id),
            Name::Chunk { id, number } => Self::chunk(id, number),
            Name::Element(ElementName { table, id, position, name }) => Self::element(table, id, position, name),
            Name::Key { space, position, key } => Self::key(space, position, key),
            Name::Database(number) => Self::database(number),
        };
        (named == key).then_some(key)
    }

    #[must_use]
    pub fn table(&self) -> Table {
        self.table
    }

    /// The numbers of the key, as they are compared.
    #[must_use]
    pub fn fields(&self) -> u128 {
        self.fields
    }

    #[must_use]
    pub fn tail(&self) -> &'a [u8] {
        self.tail
    }

    #[must_use]
    pub fn name(&self) -> Name<'a> {
        let low = self.fields as u64;
        match self.table {
            Table::Orphan => match (self.fields >> 64) as u64 {
                0 => Name::OrphanValue(low.cast_signed()),
                1 => Name::OrphanItems { id: low.cast_signed(), end: End::Front },
                2 => Name::OrphanItems { id: low.cast_signed(), end: End::Back },
                _ => Name::OrphanEntries(low.cast_signed()),
            },
            Table::Chunk => Name::Chunk { id: ((self.fields >> 64) as u64).cast_signed(), number: low },
            Table::HashField
            | Table::SetMember
            | Table::ListItem
            | Table::ListCount
            | Table::SortedMember
            | Table::SortedOrder
            | Table::CountBlock
            | Table::CountSum
            | Table::StreamEntry
            | Table::StreamGroup
            | Table::StreamConsumer
            | Table::StreamConsumerName
            | Table::StreamPending
            | Table::StreamOwned => Name::Element(ElementName {
                table: self.table,
                id: ((self.fields >> 64) as u64).cast_signed(),
                position: low,
                name: self.tail,
            }),
            Table::Key => Name::Key {
                space: (self.fields >> super::POSITION_BITS) as u64,
                position: (self.fields & POSITION_MASK) as u64,
                key: self.tail,
            },
            Table::Database => Name::Database(low as u8),
        }
    }
}

impl Range {
    /// The value whose rows these are. `None`: they are keys.
    pub(in crate::storage) fn value(&self) -> Option<i64> {
        match *self {
            Self::Keys { .. } => None,
            Self::Chunks { id, .. } | Self::Elements { id, .. } => Some(id),
        }
    }

    /// Table, and the numbers of the first and the last row that there can be.
    pub(in crate::storage) fn bounds(&self) -> (Table, u128, u128) {
        match *self {
            Self::Keys { space, first, last } => (Table::Key, at(space, first), at(space, last)),
            Self::Chunks { id, first, last } => {
                (Table::Chunk, RowKey::chunk(id, first).fields, RowKey::chunk(id, last).fields)
            }
            Self::Elements { table, id, first, last } => {
                let fields = |position| RowKey::element(table, id, position, &[]).fields;
                (table, fields(first), fields(last))
            }
        }
    }
}

impl Direction {
    /// Whether a walk comes to `a` before it comes to `b`.
    #[must_use]
    pub fn is_before(self, a: RowKey<'_>, b: RowKey<'_>) -> bool {
        match self {
            Self::Forward => a < b,
            Self::Backward => a > b,
        }
    }
}

impl<'a> Stretch<'a> {
    /// Where the walk begins.
    #[must_use]
    pub fn first(&self) -> RowKey<'a> {
        RowKey::element(self.table, self.id, self.begin.0, self.begin.1)
    }

    /// The numbers beyond which no row belongs to it.
    pub(in crate::storage) fn last_fields(&self) -> u128 {
        RowKey::element(self.table, self.id, self.end, &[]).fields
    }

    /// All rows with the numbers that it goes over.
    #[must_use]
    pub fn range(&self) -> Range {
        let (first, last) = match self.direction {
            Direction::Forward => (self.begin.0, self.end),
            Direction::Backward => (self.end, self.begin.0),
        };
        Range::Elements { table: self.table, id: self.id, first, last }
    }
}

impl<'a> Between<'a> {
    /// A walk through its rows, which may go beyond them.
    #[must_use]
    pub fn stretch(&self) -> Stretch<'a> {
        let Self { table, id, begin, end } = *self;
        Stretch { table, id, begin, end: end.0, direction: Direction::Forward }
    }

    #[must_use]
    pub fn end_key(&self) -> RowKey<'a> {
        RowKey::element(self.table, self.id, self.end.0, self.end.1)
    }
}

fn at(space: u64, position: u64) -> u128 {
    u128::from(space) << super::POSITION_BITS | u128::from(position) & POSITION_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(table: Table, id: i64, position: u64, name: &[u8]) -> Name<'_> {
        Name::Element(ElementName { table, id, position, name })
    }

    #[test]
    fn a_row_key_names_what_it_was_made_of_and_keeps_the_order_of_its_fields() {
        let keys = [
            (RowKey::database(0), Name::Database(0)),
            (RowKey::orphan_value(1), Name::OrphanValue(1)),
            (RowKey::orphan_items(1, End::Front), Name::OrphanItems { id: 1, end: End::Front }),
            (RowKey::orphan_items(1, End::Back), Name::OrphanItems { id: 1, end: End::Back }),
            (RowKey::orphan_entries(1), Name::OrphanEntries(1)),
            (RowKey::chunk(1, u64::MAX), Name::Chunk { id: 1, number: u64::MAX }),
            (RowKey::chunk(2, 0), Name::Chunk { id: 2, number: 0 }),
            (RowKey::element(Table::HashField, 1, 2, b"f"), element(Table::HashField, 1, 2, b"f")),
            (RowKey::element(Table::SetMember, 1, 3, b""), element(Table::SetMember, 1, 3, b"")),
            (RowKey::element(Table::SetMember, 2, 2, b"m"), element(Table::SetMember, 2, 2, b"m")),
            (RowKey::element(Table::ListItem, 2, u64::MAX, b""), element(Table::ListItem, 2, u64::MAX, b"")),
            (RowKey::key(1, 7, b"b"), Name::Key { space: 1, position: 7, key: b"b" }),
            (RowKey::key(1, 8, b""), Name::Key { space: 1, position: 8, key: b"" }),
            (RowKey::key(1, 8, b"a"), Name::Key { space: 1, position: 8, key: b"a" }),
            (RowKey::key(2, 1, b""), Name::Key { space: 2, position: 1, key: b"" }),
            (RowKey::key(u64::MAX, 1, b""), Name::Key { space: u64::MAX, position: 1, key: b"" }),
        ];
        assert!(keys.iter().all(|(key, name)| key.name() == *name));
        assert!(keys.windows(2).all(|two| two[0].0 < two[1].0));
        let (table, first, last) = Range::Keys { space: 1, first: 8, last: 9 }.bounds();
        let is_within = |key: &RowKey<'_>| key.table == table && (first..=last).contains(&key.fields);
        assert_eq!(keys.iter().filter(|(key, _)| is_within(key)).count(), 2);
    }
}
