//! Rows: tables, their keys in order, a batch of changes and a view of it over a snapshot. Knows nothing else: not what a
//! keyspace is, and not where rows rest.

mod batch;
mod home;
mod key;
#[cfg(test)]
pub(super) mod model;
mod row;
mod score;
mod stream_id;
mod view;

pub use batch::{Batch, Changed, Mark, Origin};
#[cfg(test)]
pub use home::{FEW_HOMES_KEYS, crowd_files, files_are_crowded};
pub use home::{HOMES, Homes, POSITION_BITS};
pub use key::{Between, Direction, ElementName, End, Name, Range, RowKey, Stretch, Table};
pub use row::{Apart, ElementRow, Head, KeyRow, Kind, Row};
pub use score::{order_score, score_order};
pub use stream_id::StreamId;
pub use view::{Part, Passing, Snapshot, View, walk_passing};
