//! What all processes know of the files of the data: which ones the first writer of the service has opened, and whether they are lost
//! (`storage::upkeep::FileWatch` says when, and why).

use std::sync::Arc;

use crate::kv::shared::Shared;
use crate::kv::shared::hand_offs::HandOff;
use crate::storage::files::{self, Identities, SUFFIXES};
use crate::storage::upkeep::FileWatch;
use crate::sys::clock;

/// In shared memory: what the first writer of the service has opened.
const OPENED: [HandOff; SUFFIXES.len()] = [HandOff::DataFile, HandOff::WalFile, HandOff::IndexFile];

/// The writer's watch, which tells the other processes.
pub struct SharedFileWatch {
    shared: Arc<Shared>,
    watch: FileWatch,
}

/// True when a process must not open the files: they are not the service's any more.
#[must_use]
pub fn are_lost(shared: &Shared) -> bool {
    let opened: Identities = OPENED.map(|word| shared.hand_offs.read(word));
    shared.hand_offs.read(HandOff::FilesLost) != 0 || !files::changed(&shared.settings.storage, &opened).is_empty()
}

impl SharedFileWatch {
    /// The writer has opened the files, and `are_lost` was false before. `has_inodes`: their inode numbers stay what they are.
    pub fn start(shared: &Arc<Shared>, has_inodes: bool) -> SharedFileWatch {
        let watch = FileWatch::start(&shared.settings.storage, has_inodes, clock::monotonic());
        OPENED.iter().zip(watch.opened()).for_each(|(word, identity)| shared.hand_offs.set(*word, identity));
        SharedFileWatch { shared: Arc::clone(shared), watch }
    }

    /// Between two groups. The suffixes of the names that mean other files now, once it is certain that they do.
    pub fn look(&mut self) -> Option<Vec<&'static str>> {
        let changed = self.watch.look(clock::monotonic())?;
        self.shared.hand_offs.set(HandOff::FilesLost, 1);
        Some(changed)
    }

    /// The writer closes its connection, perhaps as the last: SQLite may delete two of the files then, and the next writer makes them.
    pub fn end(&self) {
        if !are_lost(&self.shared) {
            OPENED.iter().for_each(|word| self.shared.hand_offs.set(*word, 0));
        }
    }
}
