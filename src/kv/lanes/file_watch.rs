//! Whether the files of the data are still those that the service has open. Once they are not, nothing is acknowledged any more until
//! the service is started again: what is written then may be in files that nobody will ever open again, and a process that opens the
//! names anew would mix two of them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kv::shared::Shared;
use crate::kv::shared::runtime::Knob;
use crate::storage::files::{self, SUFFIXES};
use crate::storage::{Keyspace, Options, StorageError};
use crate::sys::clock;

/// In shared memory: what the first writer of the service has opened.
const OPENED: [Knob; SUFFIXES.len()] = [Knob::DataFile, Knob::WalFile, Knob::IndexFile];
/// Stands for a file of which only the name counts.
const ANY: u64 = 1;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// So many looks have to say the same.
const LOOKS: u32 = 2;

pub struct FileWatch {
    shared: Arc<Shared>,
    looked_at: Instant,
    /// Looks, one after the other, that found other files.
    missing: u32,
}

/// True when a process must not open the files: they are not the service's any more.
#[must_use]
pub fn are_lost(shared: &Shared) -> bool {
    shared.runtime.read(Knob::FilesLost) != 0 || !changed(shared).is_empty()
}

/// The suffixes of the names that mean other files now, or none.
fn changed(shared: &Shared) -> Vec<&'static str> {
    let now = match files::identities(&shared.settings.storage) {
        Ok(now) => now,
        Err(error) => {
            tracing::warn!(%error, "the data files can't be looked up");
            return Vec::new();
        }
    };
    let is_changed = |index: usize| match shared.runtime.read(OPENED[index]) {
        0 => false,
        ANY => now[index] == 0,
        opened => now[index] != opened,
    };
    SUFFIXES.iter().enumerate().filter(|(index, _)| is_changed(*index)).map(|(_, suffix)| *suffix).collect()
}

impl FileWatch {
    /// The writer has opened the files, and `are_lost` was false before. `has_inodes`: their inode numbers stay what they are.
    pub fn start(shared: &Arc<Shared>, has_inodes: bool) -> FileWatch {
        let opened = files::identities(&shared.settings.storage).unwrap_or_default();
        for (knob, identity) in OPENED.iter().zip(opened) {
            // A name that means nothing yet is not watched: a data file that is a link has its others elsewhere.
            shared.runtime.set(*knob, if identity != 0 && !has_inodes { ANY } else { identity });
        }
        FileWatch { shared: Arc::clone(shared), looked_at: clock::monotonic(), missing: 0 }
    }

    /// Between two groups. The names that mean other files now, once it is certain that they do.
    pub fn look(&mut self) -> Option<Vec<&'static str>> {
        let now = clock::monotonic();
        if now.duration_since(self.looked_at) < LOOK_EVERY {
            return None;
        }
        self.looked_at = now;
        let changed = changed(&self.shared);
        self.missing = if changed.is_empty() { 0 } else { self.missing + 1 };
        if self.missing < LOOKS {
            return None;
        }
        self.shared.runtime.set(Knob::FilesLost, 1);
        Some(changed)
    }

    /// The writer closes its connection, perhaps as the last: SQLite may delete two of the files then, and the next writer makes them.
    pub fn end(&self) {
        if !are_lost(&self.shared) {
            OPENED.iter().for_each(|knob| self.shared.runtime.set(*knob, 0));
        }
    }
}

/// What is done once the files are lost: whatever was acknowledged is copied into the data file, through the descriptors that are open.
pub struct Rescue {
    /// The data file still has its name.
    has_data: bool,
    has_foreign_wal: bool,
    is_over: bool,
}

impl Rescue {
    pub fn begin(keyspace: &Keyspace, changed: &[&str], directory: &Path) -> Rescue {
        let names: Vec<String> = changed.iter().map(|suffix| format!("data.db{suffix}")).collect();
        let names = names.join(", ");
        tracing::error!(
            names,
            directory = %directory.display(),
            "the data files were deleted, replaced or moved away: nothing is written until the service is started again"
        );
        if let Err(error) = keyspace.leave_files() {
            tracing::error!(%error, "what has the names of the data files may be deleted at the end");
        }
        Rescue { has_data: !changed.contains(&""), has_foreign_wal: changed.contains(&"-wal"), is_over: false }
    }

    /// Between two pauses, until it is done. Nothing is opened by its name any more.
    ///
    /// # Errors
    /// Those of a checkpoint.
    pub fn go_on(&mut self, keyspace: &mut Keyspace, options: &Options) -> Result<(), StorageError> {
        if self.is_over || !keyspace.restart_wal()? {
            return Ok(());
        }
        self.is_over = true;
        if !self.has_data {
            tracing::error!(
                "the data is in a file that has lost its name: move it back, or save it with BACKUP START and restore that backup"
            );
            return Ok(());
        }
        // The next start would take what is there for the data file's own.
        let aside = if self.has_foreign_wal { files::set_aside_wal(options, clock::wall_ms()) } else { Ok(None) };
        match aside {
            Ok(None) => {}
            Ok(Some(file)) => tracing::warn!(file = %file.display(), "a -wal that is not the service's is set aside"),
            Err(error) => tracing::error!(%error, "remove data.db-wal before the next start: it is not the service's"),
        }
        tracing::warn!("all that was acknowledged is in data.db now: start the service again");
        Ok(())
    }
}
