//! What a loop reads from the memtable: the newest versions of keys that the tables do not have yet. Knows nothing of versions, epoch and
//! time: what it finds is a key's row only if these say so before and after.

use super::record::{Asked, Learned};
use crate::storage::memtable::{Memory, Scratch, Window};
use crate::storage::rows::{Homes, Part, Row, RowKey};

pub(super) struct Unmerged {
    memory: Memory,
    /// Of the file, once the writer has said its seed.
    homes: Option<Homes>,
    scratch: Scratch,
}

impl Unmerged {
    pub(super) fn new(memory: Memory) -> Self {
        Self { memory, homes: None, scratch: Scratch::default() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.memory.is_on()
    }

    /// The window of this moment; `None`: nothing can be found.
    pub(super) fn window(&mut self) -> Option<Window> {
        if !self.memory.is_on() {
            return None;
        }
        let window = self.memory.unmerged();
        if window.is_empty() {
            return None;
        }
        if self.homes.is_none() {
            self.homes = self.memory.seed().map(Homes::new);
        }
        self.homes.is_some().then_some(window)
    }

    fn key<'k>(&self, database: u8, key: &'k [u8]) -> Option<RowKey<'k>> {
        let space = self.memory.space(database);
        let homes = self.homes.as_ref().filter(|_| space != 0)?;
        Some(RowKey::key(space, homes.position(key), key))
    }

    /// Appends what the window has of a key, as seen at `version`. False when it has nothing, or is no more.
    pub(super) fn find(&mut self, window: &Window, asked: Asked<'_>, version: u64, out: &mut Learned) -> bool {
        let Some(key) = self.key(asked.database, asked.key) else { return false };
        let Ok(Some(seen)) = self.memory.find(key, Part::Whole, window, &mut self.scratch) else { return false };
        match seen.row {
            None => out.push(asked, version, None, None),
            Some(Row::Key(row)) => {
                // What has an id lies elsewhere, and its row has at most a note of that.
                let value = row.value.filter(|_| row.head.id.is_none());
                out.push(asked, version, Some(&row.head), value);
            }
            Some(_) => return false,
        }
        true
    }

    /// Fetches what `find` touches first; a second time what it touches then.
    pub(super) fn prefetch(&self, window: &Window, database: u8, key: &[u8], is_second: bool) {
        if let Some(key) = self.key(database, key) {
            self.memory.prefetch(key, window, is_second);
        }
    }
}
