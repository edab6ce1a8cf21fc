//! Which calls on the loop go to the slow log.

use crate::kv::commands::table::Command;
use crate::kv::jobs::job::SlowCall;
use crate::kv::sessions::session::Client;
use crate::kv::sessions::slow_log::{cut, remember};
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::runtime::Knob;
use crate::kv::table::flags::Flags;

/// Below this threshold a call is timed by itself even where the cache answers it.
pub const TIMED_ALONE_BELOW_US: i64 = 100;

/// A call on the loop ended: remembered if it was slow.
pub fn consider(
    worker: &mut WorkerState,
    client: &Client,
    command: &Command,
    args: &[&[u8]],
    started_us: i64,
    duration_us: u64,
) {
    let threshold_us = worker.shared.runtime.read(Knob::SlowlogUs) as i64;
    if threshold_us >= 0 && duration_us >= threshold_us as u64 && !command.flags.has(Flags::SKIP_SLOWLOG) {
        remember(worker, client, SlowCall { started_us, duration_us, args: cut(command.name, args) });
    }
}
