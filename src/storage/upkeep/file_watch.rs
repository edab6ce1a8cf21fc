//! Whether the files of the data are still those that the writer has open. Once they are not, nothing may be acknowledged any more until
//! the service is started again: what is written then may be in files that nobody will ever open again, and a process that opens the
//! names anew would mix two of them.

use std::time::{Duration, Instant};

use crate::storage::Options;
use crate::storage::files::{self, Identities};

pub struct FileWatch {
    options: Options,
    opened: Identities,
    looked_at: Instant,
    /// Looks, one after the other, that found other files.
    missing: u32,
}

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// So many looks have to say the same.
const LOOKS: u32 = 2;

impl FileWatch {
    /// The writer has opened the files. `has_inodes`: their inode numbers stay what they are.
    pub fn start(options: &Options, has_inodes: bool, now: Instant) -> FileWatch {
        let opened = files::identities(options).unwrap_or_default();
        // A name that means nothing yet is not watched: a data file that is a link has its others elsewhere.
        let opened = opened.map(|identity| if identity != 0 && !has_inodes { files::ANY } else { identity });
        FileWatch { options: options.clone(), opened, looked_at: now, missing: 0 }
    }

    /// What others are to compare with; see `files::changed`.
    pub fn opened(&self) -> Identities {
        self.opened
    }

    /// Between two groups. The suffixes of the names that mean other files now, once it is certain that they do.
    pub fn look(&mut self, now: Instant) -> Option<Vec<&'static str>> {
        if now.duration_since(self.looked_at) < LOOK_EVERY {
            return None;
        }
        self.looked_at = now;
        let changed = files::changed(&self.options, &self.opened);
        self.missing = if changed.is_empty() { 0 } else { self.missing + 1 };
        (self.missing >= LOOKS).then_some(changed)
    }
}
