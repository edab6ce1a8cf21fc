//! Where sorted sets begin and end that are popped from. Rows that were popped stay in memory as deleted ones until they are merged, so a
//! walk from the start would pass all of them each time. Who pops again finds the rows that follow, and where they are counted, without a
//! search.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::counted::CountPlaces;
use super::keyspace::{Keyspace, Store};
use super::sorted_rows::OwnedOrdered;
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
    /// No row lies before it in this direction.
    pub(super) place: OwnedPlace,
    /// The rows of a sorted set from there on: none is missing between them.
    pub(super) ahead: VecDeque<OwnedOrdered>,
    /// Where the next row is counted. What counts it is changed while it has rows, or is gone.
    pub(super) counts: Option<CountPlaces>,
}

const EDGES_MAX: usize = 32;
/// Rows that are read at once where a set is popped from again.
const AHEAD_ROWS: u64 = 32;

impl Edge {
    fn new(id: i64, direction: Direction, place: OwnedPlace) -> Self {
        Self { id, direction, place, ahead: VecDeque::new(), counts: None }
    }

    fn is_before(&self, a: Place<'_>, b: Place<'_>) -> bool {
        match self.direction {
            Direction::Forward => a < b,
            Direction::Backward => a > b,
        }
    }
}

impl Edges {
    pub(super) fn find(&self, id: i64, direction: Direction) -> Option<&OwnedPlace> {
        self.0.iter().find(|edge| edge.id == id && edge.direction == direction).map(|edge| &edge.place)
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

    /// No row lies before the place any more.
    pub(super) fn set(&mut self, id: i64, direction: Direction, place: OwnedPlace) {
        self.take(id, direction);
        self.keep(Edge::new(id, direction, place));
    }

    /// A row comes.
    pub(super) fn widen(&mut self, id: i64, order: u64, tail: &[u8]) {
        let new = (order, tail);
        self.touch(id, new);
        for edge in self.0.iter_mut().filter(|edge| edge.id == id) {
            if edge.is_before(new, (edge.place.0, &edge.place.1)) {
                edge.place = (order, tail.to_vec());
                edge.counts = None;
            }
        }
    }

    /// A row comes or goes.
    pub(super) fn touch(&mut self, id: i64, place: Place<'_>) {
        for edge in self.0.iter_mut().filter(|edge| edge.id == id) {
            if edge.ahead.back().is_some_and(|last| !edge.is_before(last.place(), place)) {
                edge.ahead.clear();
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
        edge.ahead.clear();
        let (order, tail) = &edge.place;
        self.each_ordered::<StorageError>(id, (*order, tail), direction, &mut |row| {
            edge.ahead.push_back(row.to_owned());
            let is_enough = edge.ahead.len() as u64 >= rows_max;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(edge)
    }
}
