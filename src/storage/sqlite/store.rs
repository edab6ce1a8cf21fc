//! What a keyspace asks of the base besides rows.

use super::base::Base;
use super::chunks::place;
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::Store;
use crate::storage::rows::{Batch, ElementRow, Head, Name, Row, RowKey};

impl Store for Base {
    fn is_in_transaction(&self) -> bool {
        Base::is_in_transaction(self)
    }

    fn check_writing(&self) -> Result<()> {
        Base::check_writing(self)
    }

    fn counts(&self, space: u64) -> Result<(u64, u64)> {
        self.space_counts(space)
    }

    fn may_have_keys(&self, space: u64) -> Result<bool> {
        Ok(self.space_counts(space)?.0 > 0)
    }

    fn unmerged(&self, _: RowKey<'_>) -> Result<Option<Option<Head>>> {
        Ok(None)
    }

    fn fresh_id(&mut self) -> Result<i64> {
        self.take_id()
    }

    fn write_ahead(&mut self, id: i64, number: u64, bytes: &[u8]) -> Result<()> {
        self.check_writing()?;
        self.insert_chunk(place(id, number), bytes)
    }

    fn write_element_ahead(&mut self, name: RowKey<'_>, row: ElementRow<'_>) -> Result<()> {
        self.check_writing()?;
        match name.name() {
            Name::Element(element) => self.put_element(&element, &row),
            other => Err(StorageError::Internal(format!("{other:?} is no element"))),
        }
    }

    fn write_elements_ahead(&mut self, rows: &mut Batch) -> Result<()> {
        if self.is_filling {
            self.check_writing()?;
            self.insert_elements(rows)?;
        } else {
            rows.in_order(|changed| match changed.row {
                Some(Row::Element(row)) => self.write_element_ahead(changed.key, row),
                _ => Ok(()),
            })?;
        }
        rows.clear();
        Ok(())
    }

    fn take_from_orphans(&mut self, id: i64) -> Result<()> {
        self.check_writing()?;
        self.delete_orphan(id)
    }

    fn is_preparing(&self) -> bool {
        false
    }

    fn refuses_twice(&self) -> bool {
        self.is_filling
    }
}
