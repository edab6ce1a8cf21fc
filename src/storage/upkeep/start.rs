//! What the writer's process does before it opens the base.

use crate::storage::error::Result;
use crate::storage::sqlite::checkpoint::Checkpointer;
use crate::storage::{Opened, Options, failed_sync, prepare};

/// Leaves a file of the present schema whose `-wal` can be believed. `has_sync_failed`: the caller knows of a failed sync that may not
/// be noted in the directory. There must be no other writer.
///
/// # Errors
/// Those of `prepare`. After a failed sync also those of a whole checkpoint: all of it is copied and synced again, or this process
/// must not serve.
pub fn prepare_to_write(options: &Options, has_sync_failed: bool) -> Result<Opened> {
    let must_checkpoint = has_sync_failed || failed_sync::is_noted(options);
    if must_checkpoint {
        // What was noted as written or copied cannot be believed.
        tracing::warn!("a sync failed before: everything is written and synced again");
        failed_sync::distrust(options)?;
    }
    let opened = prepare(options)?;
    if must_checkpoint {
        Checkpointer::open(options)?.complete()?;
        failed_sync::forget(options)?;
    }
    Ok(opened)
}
