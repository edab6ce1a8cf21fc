//! One row, in the generations of a window.

use super::memory::{Memory, Window};
use super::node::Node;
use super::slot::{Lost, Slot};
use super::{directory, list};
use crate::storage::broken::{self, Variant};
use crate::storage::points::{Point, pass};
use crate::storage::rows::{Origin, Part, Row, RowKey, Table};

/// Where the bytes of a row are copied to; kept from read to read, for its memory.
#[derive(Debug, Default)]
pub struct Scratch(Vec<u8>);

/// The newest version of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    pub generation: u64,
    pub seq: u64,
    /// `None`: it is deleted.
    pub row: Option<Row<'a>>,
    /// What was known below the first version of the row in this generation.
    pub origin: Origin,
}

/// The last group that a window's reader takes a row of.
pub(super) fn seq_max(window: &Window) -> u64 {
    if broken::is(Variant::RowAboveSequenceTaken) { u64::MAX } else { window.seq }
}

pub(super) fn node_of(slot: &Slot<'_>, key: RowKey<'_>) -> Result<Option<Node>, Lost> {
    if key.table() == Table::Key { directory::find(slot, key) } else { list::find(slot, key) }
}

impl Memory {
    /// What the window has of a row; `None`: nothing, look below.
    ///
    /// # Errors
    /// `Lost`: the window's oldest generation is no more.
    pub fn find<'a>(
        &self,
        key: RowKey<'_>,
        part: Part,
        window: &Window,
        scratch: &'a mut Scratch,
    ) -> Result<Option<Seen<'a>>, Lost> {
        scratch.0.clear();
        if window.is_empty() || !self.is_on() {
            return Ok(None);
        }
        let found = self.copy(key, part, window, &mut scratch.0);
        pass(Point::RowCopied);
        // Before the bytes are taken for a row, and whatever was found.
        self.check(window)?;
        let Some((generation, seq, is_deleted, origin)) = found? else { return Ok(None) };
        let row = match is_deleted {
            true => None,
            false => Some(Row::checked_part(key.table(), &scratch.0, part).ok_or(Lost)?),
        };
        Ok(Some(Seen { generation, seq, row, origin }))
    }

    /// Whether the window has anything of a row.
    ///
    /// # Errors
    /// `Lost`: the window's oldest generation is no more.
    pub fn knows(&self, key: RowKey<'_>, window: &Window) -> Result<bool, Lost> {
        let mut scratch = Scratch::default();
        Ok(self.find(key, Part::Head, window, &mut scratch)?.is_some())
    }

    fn copy(
        &self,
        key: RowKey<'_>,
        part: Part,
        window: &Window,
        out: &mut Vec<u8>,
    ) -> Result<Option<(u64, u64, bool, Origin)>, Lost> {
        for generation in (window.oldest..=window.newest).rev() {
            let Some(slot) = self.slot(generation) else { break };
            let Some(node) = node_of(&slot, key)? else { continue };
            let Some(version) = node.version(&slot, seq_max(window))? else { continue };
            pass(Point::RowSeen);
            version.copy(&slot, Row::part_bytes_max(key.table(), part), out)?;
            return Ok(Some((generation, version.seq, version.is_deleted, node.origin(&slot)?)));
        }
        Ok(None)
    }

    /// Whether all that was read of a window before was its own: its oldest generation is recycled first.
    pub(super) fn check(&self, window: &Window) -> Result<(), Lost> {
        if broken::is(Variant::NonceNotCheckedAgain) || broken::is(Variant::NeitherPinNorNonce) {
            return Ok(());
        }
        let first = if broken::is(Variant::NewestNonceChecked) { window.newest } else { window.oldest };
        self.slot(first).map_or(Ok(()), |slot| slot.check())
    }

    /// Fetches what `find` touches first. A second time it fetches what `find` touches then.
    pub fn prefetch(&self, key: RowKey<'_>, window: &Window, is_second: bool) {
        for slot in (window.oldest..=window.newest).filter_map(|generation| self.slot(generation)) {
            if is_second {
                directory::prefetch_node(&slot, key);
            } else {
                directory::prefetch(&slot, key);
            }
        }
    }
}
