//! What is in the memory, for whoever watches.

use super::memory::Memory;
use super::shape::{BYTES, KEYS, ROWS, USED};

/// Of one generation, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of how many generations.
    pub generations: u64,
    /// Changes of rows.
    pub versions: u64,
    /// Different rows.
    pub rows: u64,
    /// Bytes of the rows and their names.
    pub row_bytes: u64,
    /// Bytes of the arenas that are in use, and that there are.
    pub used_bytes: u64,
    pub arena_bytes: u64,
}

impl Memory {
    /// Of all generations that are not merged.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let (oldest, newest) = (self.merged() + 1, self.newest());
        let mut all = Figures::default();
        for figures in (oldest..=newest).map(|generation| self.figures_of(generation)) {
            all.generations += figures.generations;
            all.versions += figures.versions;
            all.rows += figures.rows;
            all.row_bytes += figures.row_bytes;
            all.used_bytes += figures.used_bytes;
            all.arena_bytes += figures.arena_bytes;
        }
        all
    }

    /// Nothing, of a generation that there is not.
    #[must_use]
    pub fn figures_of(&self, generation: u64) -> Figures {
        let Some(slot) = self.slot(generation).filter(|slot| slot.check().is_ok()) else { return Figures::default() };
        let used_words = slot.word(USED).saturating_sub(slot.layout.arena as u64);
        Figures {
            generations: 1,
            versions: slot.word(ROWS),
            rows: slot.word(KEYS),
            row_bytes: slot.word(BYTES),
            used_bytes: used_words * 8,
            arena_bytes: slot.layout.arena_words() as u64 * 8,
        }
    }
}
