//! The rows of a table in a generation, one after another.

use super::directory::KeyWalk;
use super::list::{ListWalk, StretchWalk};
use super::node::Node;
use super::slot::{Lost, Slot};
use crate::storage::rows::{RowKey, Stretch, Table};

#[derive(Clone)]
pub(super) enum Cursor {
    Keys(Box<KeyWalk>),
    List(ListWalk),
    Stretch(StretchWalk),
}

impl Cursor {
    /// Rows from `first`, or one shortly before it, to the last one whose fields are not beyond `last`: of keys those of one space.
    pub(super) fn within(slot: &Slot<'_>, first: RowKey<'_>, last: u128) -> Result<Self, Lost> {
        Ok(match first.table() {
            Table::Key => Self::Keys(Box::new(KeyWalk::within(slot, first.fields(), last)?)),
            _ => Self::List(ListWalk::from(slot, first, last)?),
        })
    }

    /// Rows of a stretch, from a place of it on.
    pub(super) fn along(slot: &Slot<'_>, stretch: &Stretch<'_>, begin: RowKey<'_>) -> Result<Self, Lost> {
        Ok(Self::Stretch(StretchWalk::of(slot, stretch, begin)?))
    }

    pub(super) fn all(slot: &Slot<'_>, table: Table) -> Result<Self, Lost> {
        Ok(match table {
            Table::Key => Self::Keys(Box::new(KeyWalk::all(slot))),
            _ => Self::List(ListWalk::from(slot, RowKey::new(table, 0, &[]), u128::MAX)?),
        })
    }

    pub(super) fn next(&mut self, slot: &Slot<'_>) -> Result<Option<Node>, Lost> {
        match self {
            Self::Keys(walk) => walk.next(slot),
            Self::List(walk) => walk.next(slot),
            Self::Stretch(walk) => walk.next(slot),
        }
    }
}
