//! A worker's clients that watch by MONITOR, and that others know of them.

use std::rc::Rc;

use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::session::Client;
use crate::kv::sessions::worker_state::WorkerState;
use crate::server::Effects;

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

/// Writes a line to this worker's monitors.
pub fn show(worker: &WorkerState, line: &[u8], effects: &mut Effects) {
    for monitor in &worker.monitors {
        effects.write(monitor.id, line.to_vec());
    }
}
