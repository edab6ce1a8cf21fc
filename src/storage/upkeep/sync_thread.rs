//! Durability `everysec`: a thread that makes the last second's commits durable.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::checkpoint_thread::spawn;
use super::report::{Hooks, Synced};
use crate::storage::Options;
use crate::storage::error::Result;
use crate::storage::sqlite::checkpoint::WalFile;
use crate::sys::clock;

pub(super) struct SyncThread {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

const SYNC_EVERY: Duration = Duration::from_secs(1);

impl SyncThread {
    pub(super) fn start(options: &Options, hooks: &Hooks) -> Result<SyncThread> {
        let (end, ended) = bounded(1);
        // Opened once: its name may come to mean another file.
        let wal = WalFile::open(options)?;
        let (failed, synced) = (Arc::clone(&hooks.failed), Arc::clone(&hooks.synced));
        let thread = spawn("sync", move || {
            while ended.recv_timeout(SYNC_EVERY) == Err(RecvTimeoutError::Timeout) {
                let (begun_ms, begun) = (clock::uptime_ms(), clock::monotonic());
                match wal.sync() {
                    Ok(()) => synced(Synced { begun_ms, duration: clock::monotonic().duration_since(begun) }),
                    Err(error) => {
                        failed(&error);
                        tracing::error!(%error, "the -wal can't be synced");
                    }
                }
            }
        })?;
        Ok(SyncThread { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sync thread panicked");
        }
    }
}
