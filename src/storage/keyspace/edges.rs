//! Where sorted sets begin and end that are popped from. Rows that were popped stay in memory as deleted ones until they are merged, so a
//! walk from the start would pass all of them each time.

use std::ops::ControlFlow;

use super::keyspace::{Keyspace, Store};
use super::sorted_rows::OwnedOrdered;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::Direction;

type OwnedPlace = (u64, Vec<u8>);

/// Of the sets that were popped from last. Only the writer has any, and what it undoes it forgets all of them for.
#[derive(Debug, Default)]
pub(super) struct Edges(Vec<Edge>);

#[derive(Debug)]
struct Edge {
    id: i64,
    direction: Direction,
    /// No row lies before it in this direction.
    place: OwnedPlace,
}

const EDGES_MAX: usize = 32;

impl Edges {
    pub(super) fn find(&self, id: i64, direction: Direction) -> Option<&OwnedPlace> {
        self.0.iter().find(|edge| edge.id == id && edge.direction == direction).map(|edge| &edge.place)
    }

    /// No row lies before the place any more.
    pub(super) fn set(&mut self, id: i64, direction: Direction, place: OwnedPlace) {
        match self.0.iter().position(|edge| edge.id == id && edge.direction == direction) {
            Some(at) => self.0[at].place = place,
            None => {
                self.0.truncate(EDGES_MAX - 1);
                self.0.insert(0, Edge { id, direction, place });
            }
        }
    }

    /// A row comes.
    pub(super) fn widen(&mut self, id: i64, order: u64, tail: &[u8]) {
        for edge in self.0.iter_mut().filter(|edge| edge.id == id) {
            let (here, new) = ((edge.place.0, edge.place.1.as_slice()), (order, tail));
            let is_beyond = match edge.direction {
                Direction::Forward => new < here,
                Direction::Backward => new > here,
            };
            if is_beyond {
                edge.place = (order, tail.to_vec());
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<S: Store> Keyspace<S> {
    /// The lowest rows of a sorted set's order, or backwards the highest: so many.
    pub(super) fn edge_rows(
        &self,
        id: i64,
        length: u64,
        count: u64,
        direction: Direction,
    ) -> Result<Vec<OwnedOrdered>> {
        let place = match self.edges.find(id, direction) {
            Some(place) => place.clone(),
            None => {
                let first = if direction == Direction::Forward { 0 } else { length.saturating_sub(1) };
                let row = self.ordered_at(id, first)?;
                (row.order, row.tail)
            }
        };
        let mut rows = Vec::new();
        self.each_ordered::<StorageError>(id, (place.0, &place.1), direction, &mut |row| {
            rows.push(row.to_owned());
            Ok(if (rows.len() as u64) < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(rows)
    }
}
