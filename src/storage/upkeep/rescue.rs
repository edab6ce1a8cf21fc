//! What is done once the files are lost: whatever was acknowledged is copied into the data file, through the descriptors that are open.

use std::path::Path;

use crate::storage::error::Result;
use crate::storage::{Keyspace, Options, files};

pub struct Rescue {
    /// The data file still has its name.
    has_data: bool,
    has_foreign_wal: bool,
    is_over: bool,
}

impl Rescue {
    /// `changed`: the suffixes of the names that mean other files now.
    pub fn begin(base: &Keyspace, changed: &[&str], directory: &Path) -> Rescue {
        let names: Vec<String> = changed.iter().map(|suffix| format!("data.db{suffix}")).collect();
        let names = names.join(", ");
        tracing::error!(
            names,
            directory = %directory.display(),
            "the data files were deleted, replaced or moved away: nothing is written until the service is started again"
        );
        if let Err(error) = base.leave_files() {
            tracing::error!(%error, "what has the names of the data files may be deleted at the end");
        }
        Rescue { has_data: !changed.contains(&""), has_foreign_wal: changed.contains(&"-wal"), is_over: false }
    }

    /// Between two pauses, until it is done. Nothing is opened by its name any more. `now_ms` is a part of the name of what is set aside.
    ///
    /// # Errors
    /// Those of a checkpoint.
    pub fn go_on(&mut self, base: &mut Keyspace, options: &Options, now_ms: i64) -> Result<()> {
        if self.is_over || !base.restart_wal()? {
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
        let aside = if self.has_foreign_wal { files::set_aside_wal(options, now_ms) } else { Ok(None) };
        match aside {
            Ok(None) => {}
            Ok(Some(file)) => tracing::warn!(file = %file.display(), "a -wal that is not the service's is set aside"),
            Err(error) => tracing::error!(%error, "remove data.db-wal before the next start: it is not the service's"),
        }
        tracing::warn!("all that was acknowledged is in data.db now: start the service again");
        Ok(())
    }
}
