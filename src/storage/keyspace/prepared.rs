//! A change that was made beside the writer, on a view of its own, and what the writer's group takes over of it: the rows in its batch. Those
//! that went ahead of it are in the tables by then.

use std::sync::{Arc, Mutex};

use super::changes::{Change, ChangeHook};
use super::keyspace::{Keyspace, Store};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Batch, Name, Origin};

/// What a call has changed, for `Keyspace::adopt`. It holds for a group to which all that the call has read is as it was.
#[derive(Debug, Default)]
pub struct Prepared {
    batch: Batch,
    /// The keys that it changes, with their databases.
    changes: Vec<(u8, Vec<u8>)>,
    /// The ids that were given for it, which are orphans until a group takes it.
    ids: Vec<i64>,
}

/// Hears of the changes of a keyspace that prepares.
#[derive(Clone, Default)]
pub(in crate::storage) struct Announced(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    keys: Vec<(u8, Vec<u8>)>,
    /// Something else was changed than keys.
    is_more: bool,
}

impl Prepared {
    /// The keys that it changes, with their databases.
    pub fn keys(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.changes.iter().map(|(database, key)| (*database, key.as_slice()))
    }
}

impl Announced {
    pub(in crate::storage) fn hook(&self) -> ChangeHook {
        let announced = self.clone();
        Box::new(move |change| announced.hear(change))
    }

    fn hear(&self, change: Change<'_>) {
        let Ok(mut heard) = self.0.lock() else { return };
        match change {
            Change::Key { database, key } => heard.keys.push((database, key.to_vec())),
            Change::Quiet { .. } | Change::Flush { .. } | Change::Swap { .. } => heard.is_more = true,
        }
    }

    pub(in crate::storage) fn forget(&self) {
        drop(self.take());
    }

    /// `None`: what was changed can't be prepared.
    fn take(&self) -> Option<Vec<(u8, Vec<u8>)>> {
        let heard = std::mem::take(&mut *self.0.lock().ok()?);
        (!heard.is_more).then_some(heard.keys)
    }
}

impl<S: Store> Keyspace<S> {
    /// A change of so many elements begins: `TakesLong` where the caller has asked to hear of that before anything is done.
    pub fn begin_long(&self, elements: u64) -> Result<()> {
        if self.defers_long && elements > self.layout.long_elements_min { Err(StorageError::TakesLong) } else { Ok(()) }
    }

    /// Until it is said otherwise, a call that would hold up others for long fails with `TakesLong`.
    pub fn defer_long(&mut self, defers_long: bool) {
        self.defers_long = defers_long;
    }

    /// Takes what was changed since the view began. `None`: of this the writer's group can't know whether it still holds.
    pub(in crate::storage) fn take_prepared(&mut self, announced: &Announced, ids: Vec<i64>) -> Option<Prepared> {
        let changes = announced.take()?;
        let batch = std::mem::take(&mut self.batch);
        let is_of_keys = batch.each(|changed| match changed.key.name() {
            Name::Database(_) => Err(()),
            _ => Ok(()),
        });
        is_of_keys.ok().map(|()| Prepared { batch, changes, ids })
    }

    /// Makes a prepared change one of the group. It can be undone as any other.
    pub fn adopt(&mut self, prepared: &Prepared) -> Result<()> {
        for (database, key) in &prepared.changes {
            self.mark(Change::Key { database: *database, key })?;
        }
        // Those that it has given up are among the orphans of its batch.
        for id in &prepared.ids {
            self.store.take_from_orphans(*id)?;
            self.write_ahead_under(*id);
        }
        // It knows of no row that this keyspace has since.
        self.edges.clear();
        prepared.batch.in_order(|changed| {
            let origin = match changed.key.name() {
                // A row whose time had passed may have been swept since.
                Name::Key { .. } => Origin::of(self.view().head(changed.key)?.as_ref()),
                _ => changed.origin,
            };
            match changed.row {
                Some(row) => self.batch.put(changed.key, row, origin),
                None => self.batch.delete(changed.key, origin),
            }
        })
    }
}
