//! What changes a list between its ends: LSET, LINSERT, LREM, LTRIM. Near an end items move up; elsewhere a removed one leaves its position
//! empty, an inserted one takes a position between two others, and from then on items are counted.

use std::ops::ControlFlow;

use super::contents::Removed;
use super::keyspace::{Keyspace, Lookup, Store};
use super::list_counts::CountChanges;
use super::list_encoding::listpack_bytes;
use super::list_items::{Item, Match, PORTION_ITEMS, lacks_items, row_key};
use super::list_reads::{index_of, range_of};
use super::list_window::Window;
use super::lists::{ListForm, ListPlace};
use super::packed::{Encoding, damaged};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::End;

impl<S: Store> Keyspace<S> {
    /// Gives the item with this index, which counts from the end below 0, another value. False when there is no such item.
    pub fn list_set(&mut self, key: &[u8], index: i64, value: &[u8]) -> Result<Lookup<bool>> {
        let mut opened = match self.open_list_there(key)? {
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| false)),
        };
        let Some(index) = index_of(index, opened.list.length()) else { return Ok(Lookup::Found(false)) };
        self.check_item_lengths(&[value])?;
        self.begin_list_change(key)?;
        opened.list.encode_growth(value.len() as u64, 1, self.thresholds.list_max_listpack_size)?;
        if let ListPlace::Packed(pack) = &mut opened.list.place {
            match pack.bytes_with(index, value)? <= self.layout.packed_bytes_max {
                true => pack.replace(index, value)?,
                false => opened.list.place = ListPlace::Rows(self.unpack_list(pack)?),
            }
        }
        if let ListPlace::Rows(window) = &mut opened.list.place {
            let items = self.items_from(window, index, 1)?;
            let item = items.first().ok_or_else(lacks_items)?;
            window.bytes = window.bytes.map(|all| all.saturating_sub(item.listpack_bytes()) + listpack_bytes(value));
            self.put_item((window.id, item.position), value, item.apart, None)?;
        }
        self.encode_loss(&mut opened.list)?;
        self.close_list(opened)?;
        Ok(Lookup::Found(true))
    }

    /// Puts a value before (`Front`) or behind the first item that is `pivot`. How many there are then; `None`: there is no such item.
    pub fn list_insert(&mut self, key: &[u8], side: End, pivot: &[u8], value: &[u8]) -> Result<Lookup<Option<u64>>> {
        let mut opened = match self.open_list_there(key)? {
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| None)),
        };
        self.check_item_lengths(&[value])?;
        let Some(found) = self.first_match(&opened.list, pivot)? else { return Ok(Lookup::Found(None)) };
        let index = if side == End::Front { found } else { found + 1 };
        self.begin_list_change(key)?;
        opened.list.encode_growth(value.len() as u64, 1, self.thresholds.list_max_listpack_size)?;
        self.insert_item(&mut opened.list.place, index, value)?;
        let length = opened.list.length();
        self.close_list(opened)?;
        Ok(Lookup::Found(Some(length)))
    }

    fn first_match(&self, list: &ListForm, value: &[u8]) -> Result<Option<u64>> {
        match &list.place {
            ListPlace::Packed(pack) => {
                for (index, item) in pack.items().enumerate() {
                    if item? == value {
                        return Ok(Some(index as u64));
                    }
                }
                Ok(None)
            }
            ListPlace::Rows(window) => {
                Ok(self.find_matches(window, End::Front, 1, value)?.first().map(|found| found.index))
            }
        }
    }

    /// Items with this value, so many at most, in the order from that end.
    fn find_matches(&self, window: &Window, from: End, count: u64, value: &[u8]) -> Result<Vec<Match>> {
        let mut found = Vec::new();
        self.each_match::<StorageError>(window, from, u64::MAX, value, &mut |item| {
            found.push(item);
            Ok(if (found.len() as u64) < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    fn insert_item(&mut self, place: &mut ListPlace, index: u64, value: &[u8]) -> Result<()> {
        if let ListPlace::Packed(pack) = place {
            if self.has_packed_room(pack, value) {
                return pack.insert(index, value);
            }
            *place = ListPlace::Rows(self.unpack_list(pack)?);
        }
        let ListPlace::Rows(window) = place else { return Err(damaged()) };
        let (before, behind) = (index, window.length - index);
        match (before, behind) {
            (0, _) => self.push_item(place, End::Front, value, None),
            (_, 0) => self.push_item(place, End::Back, value, None),
            _ if !window.is_counted && before.min(behind) <= self.layout.list_moves_max => {
                self.insert_by_moving(window, index, value)
            }
            _ => self.insert_between(window, index, value),
        }
    }

    /// The items between an end and the new one's place go one position outward.
    fn insert_by_moving(&mut self, window: &mut Window, index: u64, value: &[u8]) -> Result<()> {
        let (end, count) = match index <= window.length - index {
            true => (End::Front, index),
            false => (End::Back, window.length - index),
        };
        self.make_room(window, end)?;
        let items = self.items_at(window, end, count)?;
        let mut position = self.enter(window, end)?;
        for item in &items {
            self.put_moved(window.id, position, item)?;
            position = item.position;
        }
        window.length += 1;
        window.bytes = window.bytes.map(|bytes| bytes + listpack_bytes(value));
        // What lay apart of the row that was here has moved with it.
        self.put_item((window.id, position), value, None, None)
    }

    /// The new item takes a position between those of its neighbours; where there is none they move apart.
    fn insert_between(&mut self, window: &mut Window, index: u64, value: &[u8]) -> Result<()> {
        window.is_counted = true;
        let before = self.position_of(window, index - 1)?;
        let behind = self.position_of(window, index)?;
        let full = 2 << self.layout.list.block_bits;
        let middle = before + (behind - before) / 2;
        if middle > before && self.block_count(window, middle)? < full {
            let mut changes = CountChanges::default();
            self.count_item(&mut changes, middle, 1);
            self.write_counts(window.id, changes)?;
            window.length += 1;
            window.bytes = window.bytes.map(|bytes| bytes + listpack_bytes(value));
            return self.put_item((window.id, middle), value, None, None);
        }
        if self.spread(window, before, value)? {
            return Ok(());
        }
        self.renumber(window)?;
        self.insert_between(window, index, value)
    }

    /// Puts a value behind the item at `before`, and gives the items around it new positions: those of a block, or of two, four, … where
    /// that is crowded. False when all are.
    fn spread(&mut self, window: &mut Window, before: u64, value: &[u8]) -> Result<bool> {
        let shape = self.layout.list;
        for level in 0..=shape.sum_bits {
            let bits = shape.stride_bits + shape.block_bits + level;
            let start = before >> bits << bits;
            let (first, last) = (start.max(window.head), (start + ((1 << bits) - 1)).min(window.tail));
            // A block may have half as many more than is regular, so that the next spread is some way off.
            let most = (3 << shape.block_bits << level) / 2;
            let items = self.items_within(window, first, last, most)?;
            let count = items.len() as u64 + 1;
            if count > most || (last - first) / count < 2 {
                continue;
            }
            let place = items.iter().position(|item| item.position == before).ok_or_else(lacks_items)? + 1;
            let positions = evenly(count, (first, last), (first == window.head, last == window.tail));
            self.move_items(window, &items, (place, value), &positions)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Gives items, and a new one among them, these positions.
    fn move_items(
        &mut self,
        window: &mut Window,
        items: &[Item],
        (place, value): (usize, &[u8]),
        positions: &[u64],
    ) -> Result<()> {
        let mut changes = CountChanges::default();
        for item in items {
            self.count_item(&mut changes, item.position, -1);
            // What lies apart of it moves.
            if positions.binary_search(&item.position).is_err() {
                self.delete_element(row_key(window.id, item.position), None)?;
            }
        }
        let mut moved = items.iter();
        for (number, position) in positions.iter().enumerate() {
            self.count_item(&mut changes, *position, 1);
            if number == place {
                self.put_item((window.id, *position), value, None, None)?;
            } else {
                self.put_moved(window.id, *position, moved.next().ok_or_else(lacks_items)?)?;
            }
        }
        window.length += 1;
        window.bytes = window.bytes.map(|bytes| bytes + listpack_bytes(value));
        self.write_counts(window.id, changes)
    }

    /// Removes items with this value: so many from the front, or, below 0, from the back; 0: all.
    pub fn list_remove(&mut self, key: &[u8], count: i64, value: &[u8]) -> Result<Lookup<Removed>> {
        let mut opened = match self.open_list_there(key)? {
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| Removed { count: 0, is_gone: false })),
        };
        let from = if count < 0 { End::Back } else { End::Front };
        let most = if count == 0 { u64::MAX } else { count.unsigned_abs() };
        let removed = match &mut opened.list.place {
            ListPlace::Packed(pack) => {
                let mut indexes = Vec::new();
                for (index, item) in pack.items().enumerate() {
                    if item? == value {
                        indexes.push(index as u64);
                    }
                }
                let kept = usize::try_from(most).unwrap_or(usize::MAX).min(indexes.len());
                let first = if from == End::Front { 0 } else { indexes.len() - kept };
                if kept > 0 {
                    self.begin_list_change(key)?;
                    pack.remove(&indexes[first..first + kept])?;
                }
                kept as u64
            }
            ListPlace::Rows(window) => {
                let mut found = self.find_matches(window, from, most, value)?;
                if from == End::Back {
                    found.reverse();
                }
                if !found.is_empty() {
                    self.begin_list_change(key)?;
                    self.remove_rows(window, &found, value)?;
                }
                found.len() as u64
            }
        };
        if removed == 0 {
            return Ok(Lookup::Found(Removed { count: 0, is_gone: false }));
        }
        self.encode_loss(&mut opened.list)?;
        let is_gone = self.close_list(opened)?;
        Ok(Lookup::Found(Removed { count: removed, is_gone }))
    }

    /// Removes items that are in the order of their indexes. All have this value.
    fn remove_rows(&mut self, window: &mut Window, found: &[Match], value: &[u8]) -> Result<()> {
        let (removed, length) = (found.len() as u64, window.length);
        let (Some(first), Some(last)) = (found.first(), found.last()) else { return Ok(()) };
        let near = self.layout.list_moves_max;
        if removed == length {
            window.length = 0;
            return Ok(());
        }
        if removed >= length - removed {
            // Fewer stay than go: they are written anew, and all rows of before are left to the sweeper.
            let without: Vec<u64> = found.iter().map(|found| found.position).collect();
            let new = self.copy_items(window, &without)?;
            self.give_up_value(Some(window.id))?;
            *window = new;
            return Ok(());
        }
        let may_move = !window.is_counted && removed <= near;
        if may_move && last.index < near + removed {
            self.close_up(window, End::Front, last.index + 1, found)?;
        } else if may_move && length - 1 - first.index < near + removed {
            self.close_up(window, End::Back, length - first.index, found)?;
        } else {
            self.leave_gaps(window, found)?;
        }
        window.bytes = window.bytes.map(|bytes| bytes.saturating_sub(removed * listpack_bytes(value)));
        window.length -= removed;
        Ok(())
    }

    /// Of so many items at an end those that stay move up, away from that end.
    fn close_up(&mut self, window: &mut Window, end: End, count: u64, gone: &[Match]) -> Result<()> {
        let items = self.items_at(window, end, count)?;
        let is_gone = |item: &Item| gone.binary_search_by_key(&item.position, |gone| gone.position).is_ok();
        let mut places = items.iter().rev().map(|item| item.position);
        for item in items.iter().rev() {
            if is_gone(item) {
                self.give_up_value(item.apart.map(|apart| apart.id))?;
                continue;
            }
            let place = places.next().ok_or_else(lacks_items)?;
            if place != item.position {
                self.put_moved(window.id, place, item)?;
            }
        }
        let mut edge = None;
        for place in places {
            edge.get_or_insert(place);
            // What lay apart of it has moved, or is given up.
            self.delete_element(row_key(window.id, place), None)?;
        }
        let (stride, edge) = (self.layout.list.stride(), edge.ok_or_else(lacks_items)?);
        window.set_edge(end, if end == End::Front { edge + stride } else { edge - stride });
        Ok(())
    }

    /// Rows go, and their positions stay empty.
    fn leave_gaps(&mut self, window: &mut Window, gone: &[Match]) -> Result<()> {
        window.is_counted = true;
        // Where the first and the last item will be.
        let front = gone.iter().enumerate().take_while(|(number, gone)| gone.index == *number as u64).count() as u64;
        let from_back = |number: usize| window.length - 1 - number as u64;
        let back = gone.iter().rev().enumerate().take_while(|(number, gone)| gone.index == from_back(*number)).count();
        let head = self.position_of(window, front)?;
        let tail = self.position_of(window, window.length - 1 - back as u64)?;
        let mut changes = CountChanges::default();
        for gone in gone {
            self.count_item(&mut changes, gone.position, -1);
            self.delete_element(row_key(window.id, gone.position), gone.apart)?;
        }
        self.count_positions(&mut changes, window.head, head, 1);
        self.count_positions(&mut changes, tail + 1, window.tail + 1, 1);
        self.write_counts(window.id, changes)?;
        (window.head, window.tail) = (head, tail);
        Ok(())
    }

    /// Keeps the items from one index to another, both included, which count from the end below 0.
    pub fn list_trim(&mut self, key: &[u8], start: i64, stop: i64) -> Result<Lookup<Removed>> {
        let mut opened = match self.open_list_there(key)? {
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| Removed { count: 0, is_gone: false })),
        };
        let length = opened.list.length();
        let (first, kept) = range_of(start, stop, length).unwrap_or((0, 0));
        let removed = length - kept;
        self.begin_list_change(key)?;
        if removed == 0 {
            return Ok(Lookup::Found(Removed { count: 0, is_gone: false }));
        }
        match &mut opened.list.place {
            ListPlace::Packed(pack) => pack.keep(first, kept)?,
            ListPlace::Rows(window) if kept == 0 => window.length = 0,
            ListPlace::Rows(window) => {
                self.trim_end(window, End::Front, first)?;
                let behind = window.length - kept;
                self.trim_end(window, End::Back, behind)?;
                if opened.list.encoding == Encoding::Listpack {
                    self.count_bytes(window, u64::MAX)?;
                }
            }
        }
        self.encode_loss(&mut opened.list)?;
        let is_gone = self.close_list(opened)?;
        Ok(Lookup::Found(Removed { count: removed, is_gone }))
    }

    /// Takes so many items off an end, which are not all.
    fn trim_end(&mut self, window: &mut Window, end: End, count: u64) -> Result<()> {
        if count <= self.layout.list_deletes_max.min(PORTION_ITEMS) {
            let items = self.items_at(window, end, count)?;
            return self.drop_items(window, end, &items);
        }
        let old = *window;
        let index = if end == End::Front { count } else { window.length - 1 - count };
        window.set_edge(end, self.position_of(window, index)?);
        window.length -= count;
        window.bytes = None;
        if window.is_counted {
            self.cut_counts(&old, window)?;
        }
        self.give_up_items(window, end, old.edge(end))
    }
}

/// So many positions within a range, about as far from one another. `fixed`: the first, and the last, is at its end.
fn evenly(count: u64, (first, last): (u64, u64), fixed: (bool, bool)) -> Vec<u64> {
    let step = (last - first) / count;
    let begin = if fixed.0 { first } else { first + step / 2 };
    let end = if fixed.1 { last } else { last - step / 2 };
    let between = (count - 1).max(1);
    (0..count)
        .map(|number| begin + (u128::from(end - begin) * u128::from(number) / u128::from(between)) as u64)
        .collect()
}
