//! Where sorted sets begin and end that are popped from. Rows that were popped stay in memory as deleted ones until they are merged, so a
//! walk from the start would pass all of them each time. Who pops again finds the rows that follow, and where they are counted, without a
//! search: also where others came before them.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::counted::CountPlaces;
use super::keyspace::{Keyspace, Store};
use super::sorted_rows::{Ordered, OwnedOrdered};
use super::walks::{OwnedPlace, Place};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::Direction;

/// Of the sets that were popped from last. Only the writer has any, and what it undoes it forgets all of them for.
#[derive(Debug, Default)]
pub(super) struct Edges(Vec<Edge>);

#[derive(Debug)]
pub(super) struct Edge {
    id: i64,
    direction: Direction,
    /// The rows of a sorted set that lie before `until` in this direction, in their order.
    pub(super) ahead: VecDeque<OwnedOrdered>,
    /// From there on nothing is known, and no other row lies before it. Of a group of a stream: none at all.
    until: OwnedPlace,
    /// What lies at this place is ahead as well, or gone.
    is_until_known: bool,
    /// Where the next row is counted. What counts it is changed while it has rows, or is gone.
    pub(super) counts: Option<CountPlaces>,
}

const EDGES_MAX: usize = 32;
/// Rows that are read at once where a set is popped from again.
const AHEAD_ROWS: u64 = 32;
/// Rows that are known of one edge, though more of them came.
const AHEAD_MAX: usize = if cfg!(test) { 36 } else { 256 };

impl Edge {
    fn new(id: i64, direction: Direction, until: OwnedPlace) -> Self {
        Self { id, direction, ahead: VecDeque::new(), until, is_until_known: false, counts: None }
    }

    fn until(&self) -> Place<'_> {
        (self.until.0, &self.until.1)
    }

    /// Whether a row of this place is ahead, if there is one.
    fn knows(&self, place: Place<'_>) -> bool {
        is_before(self.direction, place, self.until()) || self.is_until_known && place == self.until()
    }

    /// Where a row of this place is ahead, or belongs.
    fn search(&self, place: Place<'_>) -> std::result::Result<usize, usize> {
        let at = self.ahead.partition_point(|row| is_before(self.direction, row.place(), place));
        if self.ahead.get(at).is_some_and(|row| row.place() == place) { Ok(at) } else { Err(at) }
    }

    fn comes(&mut self, row: OwnedOrdered) {
        match self.search(row.place()) {
            Ok(at) => self.ahead[at] = row,
            Err(at) => {
                self.ahead.insert(at, row);
                if at == 0 {
                    self.counts = None;
                }
            }
        }
        if self.ahead.len() > AHEAD_MAX
            && let Some(last) = self.ahead.pop_back()
        {
            (self.until, self.is_until_known) = ((last.order, last.tail), false);
        }
    }
}

fn is_before(direction: Direction, a: Place<'_>, b: Place<'_>) -> bool {
    match direction {
        Direction::Forward => a < b,
        Direction::Backward => a > b,
    }
}

impl Edges {
    /// The place before which a group of a stream has no row.
    pub(super) fn find(&self, id: i64, direction: Direction) -> Option<&OwnedPlace> {
        self.0.iter().find(|edge| edge.id == id && edge.direction == direction).map(|edge| &edge.until)
    }

    fn take(&mut self, id: i64, direction: Direction) -> Option<Edge> {
        let at = self.0.iter().position(|edge| edge.id == id && edge.direction == direction)?;
        Some(self.0.remove(at))
    }

    /// The newest one; the oldest may go.
    pub(super) fn keep(&mut self, edge: Edge) {
        if self.0.len() == EDGES_MAX {
            self.0.remove(0);
        }
        self.0.push(edge);
    }

    /// A group of a stream has no row before the place any more.
    pub(super) fn set(&mut self, id: i64, direction: Direction, place: OwnedPlace) {
        self.take(id, direction);
        self.keep(Edge::new(id, direction, place));
    }

    /// A row of a group of a stream comes.
    pub(super) fn widen(&mut self, id: i64, place: Place<'_>) {
        for edge in self.0.iter_mut().filter(|edge| edge.id == id) {
            if is_before(edge.direction, place, edge.until()) {
                edge.until = (place.0, place.1.to_vec());
            }
        }
    }

    /// A row of a sorted set comes, or says something else than before.
    pub(super) fn comes(&mut self, id: i64, row: Ordered<'_>) {
        for edge in self.0.iter_mut().filter(|edge| edge.id == id) {
            if edge.knows(row.place()) {
                edge.comes(row.to_owned());
            }
        }
    }

    /// A row of a sorted set goes.
    pub(super) fn goes(&mut self, id: i64, place: Place<'_>) {
        for edge in self.0.iter_mut().filter(|edge| edge.id == id) {
            if let Ok(at) = edge.search(place) {
                edge.ahead.remove(at);
            }
        }
    }

    /// Rows are counted elsewhere than before.
    pub(super) fn forget_counts(&mut self, id: i64) {
        self.0.iter_mut().filter(|edge| edge.id == id).for_each(|edge| edge.counts = None);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<S: Store> Keyspace<S> {
    /// The edge of a sorted set's order with so many rows ahead, or more, or all that there are. Whoever takes rows away keeps it again.
    pub(super) fn take_edge(&mut self, id: i64, length: u64, count: u64, direction: Direction) -> Result<Edge> {
        let (mut edge, rows_max) = match self.edges.take(id, direction) {
            Some(edge) if edge.ahead.len() as u64 >= count => return Ok(edge),
            Some(edge) => (edge, count.max(AHEAD_ROWS)),
            None => {
                let first = if direction == Direction::Forward { 0 } else { length.saturating_sub(1) };
                let row = self.ordered_at(id, first)?;
                (Edge::new(id, direction, (row.order, row.tail)), count)
            }
        };
        let known = edge.is_until_known.then(|| edge.until.clone());
        let mut ahead = std::mem::take(&mut edge.ahead);
        self.each_ordered::<StorageError>(id, edge.until(), direction, &mut |row| {
            if known.as_ref().is_none_or(|(order, tail)| row.place() != (*order, tail.as_slice())) {
                ahead.push_back(row.to_owned());
            }
            let is_enough = ahead.len() as u64 >= rows_max;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        // Where none was found, what is known reaches as far as before.
        if let Some(last) = ahead.back().filter(|last| !edge.knows(last.place())) {
            (edge.until, edge.is_until_known) = ((last.order, last.tail.clone()), true);
        }
        edge.ahead = ahead;
        Ok(edge)
    }
}
