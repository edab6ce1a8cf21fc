//! A list that is built as a whole, for RESTORE, SORT and COPY: however many items come, memory is bounded.

use super::changes::Expiry;
use super::keyspace::{Keyspace, Store};
use super::list_encoding::NodeLimit;
use super::lists::{ListForm, ListPlace};
use super::packed::Encoding;
use crate::storage::error::Result;
use crate::storage::rows::{Batch, End};

/// A new list on its way to a key: items are added, then the whole takes the place of what the key holds. An undone call takes with it
/// what was built.
#[derive(Debug)]
pub struct ListBuilding {
    list: ListForm,
    /// Rows that go ahead of the group's batch, a lot at a time.
    ahead: Option<Box<Batch>>,
    bytes: usize,
}

impl<S: Store> Keyspace<S> {
    pub fn build_list(&self) -> ListBuilding {
        // Which encoding it has is settled when all is there.
        let list = ListForm { encoding: Encoding::Quicklist, ..ListForm::empty() };
        ListBuilding { list, ahead: None, bytes: 0 }
    }

    /// Adds an item behind all others.
    pub fn add_to_list(&mut self, building: &mut ListBuilding, value: &[u8]) -> Result<()> {
        self.check_item_lengths(&[value])?;
        let ListBuilding { list, ahead, bytes } = building;
        *bytes += value.len() + super::contents::ROW_BYTES;
        if let ListPlace::Rows(window) = &list.place {
            match ahead {
                Some(ahead) if ahead.bytes() >= self.layout.ahead_bytes_min => self.write_out(ahead)?,
                None if self.goes_ahead(*bytes) => {
                    *ahead = Some(Box::default());
                    self.write_ahead_under(window.id);
                }
                _ => {}
            }
        }
        self.push_item(&mut list.place, End::Back, value, ahead.as_deref_mut())
    }

    /// Gives the key what was built, whatever it held; if that is empty, the key goes. Returns how many items it has.
    pub fn put_built_list(&mut self, key: &[u8], building: ListBuilding, expiry: Expiry) -> Result<u64> {
        let ListBuilding { mut list, ahead, .. } = building;
        let length = list.length();
        if let Some(mut ahead) = ahead {
            self.write_out(&mut ahead)?;
        }
        let Some(replaced) = self.begin_replacing(key, length, list.row().0, expiry)? else { return Ok(length) };
        list.set_encoding(Encoding::Quicklist);
        self.encode_within(&mut list, NodeLimit::of(self.thresholds.list_max_listpack_size))?;
        self.put_list_row(replaced.name, replaced.old, &list, replaced.expires_at_ms)?;
        Ok(length)
    }
}
