//! The writer's side: fills generations, publishes groups, recycles what is merged.
//!
//! A writer may die at every line. What it was about to link last stands in the place's intent, so that its successor neither takes the
//! place of a row that is linked nor leaves one unused; rows that are there already are left alone when their group is inserted again.

use super::frozen::Frozen;
use super::memory::{Memory, Window};
use super::node::{self, Birth, KEY_LEVELS, Node, ROW_WORDS_MAX};
use super::shape::{
    AHEAD, BYTES, DATABASES, INTENT, KEYS, LEVELS, MERGED, NEWEST, PUBLISHED, ROWS, SEED, SPACES, TOWER, USED,
};
use super::slot::{Link, Lost, OFFSET_MASK, Slot};
use super::{directory, list};
use crate::storage::broken::{self, Variant};
use crate::storage::points::{Point, pass};
use crate::storage::rows::{Origin, Row, RowKey, Table};
use crate::sys::atomic::{Ordering, fence};

/// Why no generation can begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// The place is that of a generation which is not merged: merge.
    Unmerged { generation: u64 },
    /// Somebody reads there: try again soon. After `PATIENCE_MS` of it the place is taken.
    Pinned,
}

/// The room was not made sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How long a reader may hold up the writer.
const PATIENCE_MS: i64 = 20;
/// Levels above the first that a group may have beyond one for two rows.
const SPARE_LEVELS: usize = 16;

pub struct Filler {
    memory: Memory,
    /// What is filled, if it is not the newest one.
    generation: Option<u64>,
    row: Vec<u8>,
    /// Since when a pin is in the way.
    waits_since_ms: Option<i64>,
    /// Twice the levels above the first that nodes may have: each row brings half a level. So the room of a group is known before it.
    half_levels: usize,
    random: u64,
}

impl Filler {
    /// For a writer, before it serves.
    #[must_use]
    pub fn take_over(memory: Memory) -> Self {
        let filler = Self { generation: None, ..Self::of_generation(memory, 0) };
        if let Some(slot) = filler.slot() {
            finish_intent(&slot);
        }
        filler
    }

    /// For a thread that fills this generation alone, which has begun: before anybody reads, and while nobody begins another.
    #[must_use]
    pub fn of_generation(memory: Memory, generation: u64) -> Self {
        let generation = Some(generation);
        Self { memory, generation, row: Vec::new(), waits_since_ms: None, half_levels: 0, random: 0 }
    }

    #[must_use]
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Says where the file stands, in memory that nobody has filled yet, or that belonged to another file: all generations up to `merged`
    /// are in the tables, and the last group of these is `seq`. The next generation is `merged` + 1.
    pub fn start(&mut self, merged: u64, seq: u64, ahead: u64) {
        let layout = self.memory.layout;
        (0..layout.generations).for_each(|place| self.store(layout.nonce(place), 0));
        fence(Ordering::Release);
        // A predecessor may have died in the midst of the same generations: their links would be taken for this life's.
        (0..layout.generations).filter_map(|place| self.memory.slot(place as u64)).for_each(|slot| forget_links(&slot));
        self.store(AHEAD, ahead);
        self.store(MERGED, merged);
        self.store(NEWEST, merged);
        self.store(PUBLISHED, seq);
    }

    /// Whether nothing has been said of any file in this memory.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.memory.newest() == 0 && self.memory.published() == 0
    }

    fn store(&self, at: usize, value: u64) {
        if let Some(word) = self.memory.words.get(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// Where the keys of a database lie from now on: while the epoch of the keys' versions is odd.
    pub fn set_space(&self, database: u8, space: u64) {
        self.store(SPACES + usize::from(database) % DATABASES, space);
        pass(Point::SpaceMoved);
    }

    pub fn set_seed(&self, seed: [u8; 16]) {
        for (number, word) in seed.as_chunks::<8>().0.iter().enumerate() {
            self.store(SEED + number, u64::from_le_bytes(*word));
        }
    }

    /// All that is committed, for the writer itself.
    #[must_use]
    pub fn window(&self) -> Window {
        self.memory.unmerged()
    }

    /// Whether the newest generation has room for so many rows, whose names and bytes come to `bytes`. A row of it that is inserted then
    /// finds its room, also a second time after a death.
    #[must_use]
    pub fn fits(&self, rows: usize, bytes: usize) -> bool {
        let Some(slot) = self.slot() else { return false };
        room(rows, bytes) <= self.memory.layout.place_words.saturating_sub(slot.word(USED) as usize)
    }

    /// Bytes that the newest generation has room for, as `fits` counts them.
    #[must_use]
    pub fn room_left(&self) -> usize {
        let Some(slot) = self.slot() else { return 0 };
        self.memory.layout.place_words.saturating_sub(slot.word(USED) as usize) * 8
    }

    /// Whether an empty generation had room for them.
    #[must_use]
    pub fn fits_empty(&self, rows: usize, bytes: usize) -> bool {
        room(rows, bytes) <= self.memory.layout.arena_words()
    }

    /// The place of what is filled.
    fn slot(&self) -> Option<Slot<'_>> {
        let generation = self.generation.unwrap_or_else(|| self.memory.newest());
        self.memory.slot(generation).filter(|slot| generation > self.memory.merged() && slot.check().is_ok())
    }

    /// Fetches what an insert of the row touches first: of each row of a group, before the first is inserted.
    pub fn prefetch(&self, key: RowKey<'_>) {
        if let (Table::Key, Some(slot)) = (key.table(), self.memory.slot(self.memory.newest())) {
            directory::prefetch(&slot, key);
        }
    }

    /// Inserts a committed group's change of a row into the generation that is filled, unless it is there. Groups come in the order of their
    /// numbers; nobody sees the change before `publish`. `origin` counts for the row's first change in the generation alone.
    ///
    /// # Errors
    /// `Full`: the room was not made sure of.
    pub fn insert(&mut self, key: RowKey<'_>, row: Option<Row<'_>>, origin: Origin, seq: u64) -> Result<(), Full> {
        let mut bytes = std::mem::take(&mut self.row);
        bytes.clear();
        if let Some(row) = row {
            row.write(&mut bytes);
        }
        let levels = self.levels(key);
        let inserted = match self.slot() {
            Some(slot) => insert(&slot, key, row.map(|_| bytes.as_slice()), origin, seq, levels),
            None => Err(Full),
        };
        self.row = bytes;
        inserted.map(|used_levels| self.half_levels -= 2 * (used_levels - 1))
    }

    /// How many levels a new node has: one more with a chance of a quarter each, as far as the group's room allows.
    fn levels(&mut self, key: RowKey<'_>) -> usize {
        self.half_levels = (self.half_levels + 1).min(2 * SPARE_LEVELS);
        if key.table() == Table::Key {
            return 1;
        }
        if self.random == 0 {
            self.random = self.memory.word(SEED) | 1;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let levels = 1 + (self.random >> 20).trailing_zeros() as usize / 2;
        levels.min(LEVELS).min(1 + self.half_levels / 2)
    }

    /// From here on everybody sees the groups up to `seq`, whose rows are inserted.
    pub fn publish(&mut self, seq: u64, ahead: u64) {
        self.store(AHEAD, ahead);
        pass(Point::AheadPublished);
        if let Some(word) = self.memory.words.get(PUBLISHED) {
            let order = if broken::is(Variant::SequenceRelaxed) { Ordering::Relaxed } else { Ordering::Release };
            word.store(seq, order);
        }
    }

    /// After the COMMIT that put the last of these generations' rows into the tables.
    pub fn set_merged(&mut self, generation: u64) {
        self.store(MERGED, generation);
    }

    /// Whether the next generation must wait for a merge.
    #[must_use]
    pub fn is_every_place_taken(&self) -> bool {
        self.unmerged_in_the_way().is_some()
    }

    /// The generation whose place the next one takes, if that is not merged.
    fn unmerged_in_the_way(&self) -> Option<u64> {
        let memory = self.memory;
        let before = (memory.newest() + 1).saturating_sub(memory.layout.generations as u64);
        Some(before).filter(|before| *before > memory.merged())
    }

    /// Begins the next generation, once its place is free. Returns its number.
    ///
    /// # Errors
    /// `Busy`: nothing has changed.
    pub fn begin_generation(&mut self, now_ms: i64) -> Result<u64, Busy> {
        let memory = self.memory;
        let generation = memory.newest() + 1;
        if let Some(generation) = self.unmerged_in_the_way() {
            return Err(Busy::Unmerged { generation });
        }
        let before = generation.saturating_sub(memory.layout.generations as u64);
        // Either who has just pinned sees that it is merged, or its pin is seen here.
        fence(Ordering::SeqCst);
        if before > 0 && memory.is_pinned(before, now_ms) && !broken::is(Variant::PinIgnored) {
            let since_ms = *self.waits_since_ms.get_or_insert(now_ms);
            if (0..PATIENCE_MS).contains(&(now_ms - since_ms)) {
                return Err(Busy::Pinned);
            }
        }
        self.waits_since_ms = None;
        pass(Point::PinsSeen);
        if let Some(slot) = memory.slot(generation) {
            recycle(&slot);
        }
        pass(Point::NonceSet);
        self.store(NEWEST, generation);
        pass(Point::GenerationBegun);
        Ok(generation)
    }

    /// A generation for the merge, up to the last published group.
    #[must_use]
    pub fn frozen(&self, generation: u64) -> Frozen {
        Frozen::new(self.memory, generation, self.memory.published())
    }
}

/// Words that so many rows take at most.
fn room(rows: usize, bytes: usize) -> usize {
    rows * ROW_WORDS_MAX + rows / 2 + SPARE_LEVELS + bytes / 8
}

fn recycle(slot: &Slot<'_>) {
    slot.nonce().store(0, Ordering::Relaxed);
    pass(Point::NonceCleared);
    // Who sees anything of what follows sees that the generation is no more.
    if !broken::is(Variant::RecycledUnfenced) {
        fence(Ordering::Release);
    }
    [INTENT, ROWS, KEYS, BYTES].into_iter().for_each(|at| slot.store(at, 0));
    slot.store(USED, slot.layout.arena as u64);
    directory::clear(slot);
    pass(Point::GenerationCleared);
    slot.nonce().store(slot.generation, Ordering::Release);
}

/// Of a place that has been in use. Memory that was never used stays so, and takes none.
fn forget_links(slot: &Slot<'_>) {
    if slot.word(USED) > 0 {
        (TOWER..slot.layout.arena).for_each(|at| slot.store(at, 0));
    }
}

/// Returns the levels of the row's node, 1 if it is an old one.
fn insert(
    slot: &Slot<'_>,
    key: RowKey<'_>,
    row: Option<&[u8]>,
    origin: Origin,
    seq: u64,
    levels: usize,
) -> Result<usize, Full> {
    // Nobody but this writer recycles, so nothing is lost.
    let torn = |_: Lost| Full;
    let (path, found) = if key.table() == Table::Key {
        (None, directory::find(slot, key).map_err(torn)?)
    } else {
        let path = list::path(slot, key).map_err(torn)?;
        let found = path.node;
        (Some(path), found)
    };
    let at = slot.word(USED) as usize;
    pass(Point::RowAllocated);
    if let Some(node) = found {
        let (newest, newest_seq) = node::newest(slot, node.at).map_err(torn)?;
        if newest_seq >= seq {
            return Ok(1);
        }
        let words = take(slot, at, node::version_words(row))?;
        node::write_version(slot, at, newest, seq, row);
        count(slot, None, row);
        link(slot, node::newest_at(node.at), Link::to(at), words);
        if broken::is(Variant::RenamedIdOrphaned) && origin == Origin::Blind {
            node.forget_origin(slot);
        }
        return Ok(1);
    }
    let levels = if path.is_some() { levels } else { KEY_LEVELS };
    let birth = Birth { key, origin, levels };
    let words = take(slot, at, birth.words() + node::version_words(row))?;
    node::write_version(slot, at + birth.words(), 0, seq, row);
    count(slot, Some(key), row);
    match &path {
        Some(path) => {
            birth.write(slot, at, |level| list::next_word(slot, path, level));
            link(slot, path.links[0], Link::to(at), words);
            list::link_upper(slot, at, levels, path);
        }
        None => {
            let (bucket, new, first) = directory::place(slot, key, at).map_err(torn)?;
            let chained = directory::chain_word(slot, key).map_err(torn)?;
            birth.write(slot, at, |level| if level == 0 { first } else { chained });
            directory::set_bits(slot, key);
            begin_link(slot, bucket, new, words);
            directory::chain(slot, key.fields(), at).map_err(torn)?;
            pass(Point::RowChained);
            slot.store_used(at + words);
        }
    }
    Ok(if path.is_some() { levels } else { 1 })
}

/// So many words from `at` on, if there are.
fn take(slot: &Slot<'_>, at: usize, words: usize) -> Result<usize, Full> {
    if at + words <= slot.layout.place_words { Ok(words) } else { Err(Full) }
}

/// Makes what the link leads to visible by storing it at `from`, and takes its place.
fn link(slot: &Slot<'_>, from: usize, link: Link, words: usize) {
    begin_link(slot, from, link, words);
    slot.store_used(link.at + words);
}

/// The same, but for its place.
fn begin_link(slot: &Slot<'_>, from: usize, link: Link, words: usize) {
    slot.store(INTENT, (words as u64) << 32 | from as u64);
    pass(Point::RowWritten);
    slot.publish(from, slot.link_word(link));
    pass(Point::RowLinked);
}

/// A predecessor that died between the two: its row is linked, so its place is taken. If it is a new key's, its chain has it as well.
fn finish_intent(slot: &Slot<'_>) {
    let (intent, used) = (slot.word(INTENT), slot.word(USED) as usize);
    let (words, from) = ((intent >> 32) as usize, (intent & OFFSET_MASK) as usize);
    if words > 0
        && !broken::is(Variant::PlaceTakenTwice)
        && matches!(slot.root(from), Ok(Some(link)) if link.at == used)
    {
        let is_in_directory = (slot.layout.directory..slot.layout.arena).contains(&from);
        if is_in_directory && let Ok(node) = Node::read(slot, used) {
            // It can't be lost: nobody recycles meanwhile.
            let _chained = directory::chain(slot, node.fields, used);
        }
        slot.store_used(used + words);
    }
}

/// Before the row is linked: a generation with rows that are not counted would be taken for an empty one. A writer that dies in between
/// counts a row twice, which harms nobody.
fn count(slot: &Slot<'_>, new: Option<RowKey<'_>>, row: Option<&[u8]>) {
    slot.add(ROWS, 1);
    slot.add(KEYS, u64::from(new.is_some()));
    let bytes = new.map_or(0, |key| key.tail().len()) + row.map_or(0, <[u8]>::len);
    slot.add(BYTES, bytes as u64);
}
