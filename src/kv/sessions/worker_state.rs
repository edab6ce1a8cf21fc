//! What one worker's loop has at hand for all its sessions: who they are, what the service knows, whom to ask.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::kv::metrics::sampler::Sampler;
use crate::kv::metrics::statistics::{Statistics, Totals};
use crate::kv::sessions::scatter_gather::ScatterGathers;
use crate::kv::sessions::session::Client;
use crate::kv::sessions::slow_log::SlowLog;
use crate::kv::shared::Shared;
use crate::kv::shared::time::CoarseClock;
use crate::server::WorkerContext;

pub struct WorkerState {
    pub context: WorkerContext,
    pub shared: Arc<Shared>,
    pub statistics: Statistics,
    pub totals: Totals,
    /// This worker's clients by their number.
    pub clients: BTreeMap<u64, Rc<Client>>,
    /// Those of them that are monitors.
    pub monitors: Vec<Rc<Client>>,
    pub gathers: ScatterGathers,
    pub clock: CoarseClock,
    pub slow_log: SlowLog,
    pub sampler: Sampler,
}

impl WorkerState {
    #[must_use]
    pub fn new(context: &WorkerContext, shared: Arc<Shared>) -> WorkerState {
        let clock = CoarseClock::default();
        clock.refresh();
        WorkerState {
            context: context.clone(),
            shared,
            statistics: Statistics::new(context.scoreboard, context.slot),
            totals: Totals(context.scoreboard),
            clients: BTreeMap::new(),
            monitors: Vec::new(),
            gathers: ScatterGathers::default(),
            clock,
            slow_log: SlowLog::default(),
            sampler: Sampler::default(),
        }
    }
}
