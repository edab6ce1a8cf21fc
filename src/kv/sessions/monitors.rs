//! A worker's clients that watch by MONITOR, and that others know of them.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;

use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::pushes;
use crate::kv::sessions::session::Client;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::table::redaction::{REDACTED, is_secret};
use crate::resp::inline;
use crate::server::Effects;
use crate::sys::clock;

/// Bytes of arguments that a line shows; what is beyond is counted. Each monitor gets a copy, in which a byte may be four, and
/// other workers get it over the bus: whole, one large SET would cost more memory than anything else that a client can send.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// A client becomes a monitor.
pub fn begin(worker: &mut WorkerState, client: &Rc<Client>) {
    client.is_monitor.set(true);
    worker.monitors.push(Rc::clone(client));
    publish(worker);
}

/// A client is a monitor no longer, if it was one.
pub fn end(worker: &mut WorkerState, client: &Client) {
    if client.is_monitor.replace(false) {
        worker.monitors.retain(|monitor| monitor.number != client.number);
        publish(worker);
    }
}

/// Seen by all workers at once: the reply to MONITOR comes after it, so no call that follows is missed.
fn publish(worker: &WorkerState) {
    worker.statistics.set(Counted::Monitors, worker.monitors.len() as u64);
}

/// True when some client of the service watches.
#[must_use]
pub fn is_anybody(worker: &WorkerState) -> bool {
    worker.totals.sum(Counted::Monitors) > 0
}

/// Writes a line to this worker's monitors, between their replies.
pub fn show(worker: &WorkerState, line: &[u8], effects: &mut Effects) {
    if worker.monitors.is_empty() {
        return;
    }
    let line = Bytes::copy_from_slice(line);
    worker.monitors.iter().for_each(|monitor| pushes::push(worker, monitor, &line, effects));
}

/// What a monitor sees of a call of the command of this name: `whose` is its database and its client.
#[must_use]
pub fn line(whose: fmt::Arguments<'_>, name: &str, args: &[&[u8]]) -> Vec<u8> {
    let now_us = clock::wall_us();
    let mut line = format!("+{}.{:06} [{whose}]", now_us / 1_000_000, now_us % 1_000_000).into_bytes();
    let mut left = LINE_BYTES_MAX;
    for (index, arg) in args.iter().enumerate() {
        if left == 0 {
            line.extend_from_slice(format!(" \"... ({} more arguments)\"", args.len() - index).as_bytes());
            break;
        }
        let arg = if is_secret(name, args, index) { REDACTED } else { arg };
        let shown = arg.len().min(left);
        line.extend_from_slice(b" \"");
        inline::escape(&arg[..shown], &mut line);
        if shown < arg.len() {
            line.extend_from_slice(format!("... ({} more bytes)", arg.len() - shown).as_bytes());
        }
        line.push(b'"');
        // An empty one takes room as well.
        left = left.saturating_sub(shown.max(1));
    }
    line.extend_from_slice(b"\r\n");
    line
}
