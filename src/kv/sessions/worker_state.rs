//! What one worker's loop has at hand for all its sessions: who they are, what the service knows, whom to ask.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::kv::metrics::sampler::Sampler;
use crate::kv::metrics::statistics::{Statistics, Totals};
use crate::kv::sessions::acl_log::AclLog;
use crate::kv::sessions::publishing::Publishing;
use crate::kv::sessions::scatter_gather::ScatterGathers;
use crate::kv::sessions::session::Client;
use crate::kv::sessions::slow_log::SlowLog;
use crate::kv::sessions::subscriptions::Subscriptions;
use crate::kv::sessions::tracking::{self, Tracking};
use crate::kv::shared::Shared;
use crate::kv::shared::time::CoarseClock;
use crate::kv::shared::users_view::UsersView;
use crate::kv::users::Vocabulary;
use crate::server::counters::{DRAINING, SERVING};
use crate::server::{Counter, Slot, WorkerContext};

pub struct WorkerState {
    pub context: WorkerContext,
    pub shared: Arc<Shared>,
    pub statistics: Statistics,
    pub totals: Totals,
    /// This worker's clients by their number.
    pub clients: BTreeMap<u64, Rc<Client>>,
    /// Those of them that are monitors.
    pub monitors: Vec<Rc<Client>>,
    pub subscriptions: Subscriptions,
    pub publishing: Publishing,
    pub tracking: Tracking,
    pub gathers: ScatterGathers,
    pub clock: CoarseClock,
    pub slow_log: SlowLog,
    pub acl_log: AclLog,
    pub users: UsersView,
    pub sampler: Sampler,
}

impl WorkerState {
    #[must_use]
    pub fn new(context: &WorkerContext, shared: Arc<Shared>, vocabulary: &'static Vocabulary) -> WorkerState {
        let clock = CoarseClock::default();
        clock.refresh();
        let publishing = Publishing::begin(context, &shared);
        let worker = WorkerState {
            context: context.clone(),
            shared,
            statistics: Statistics::new(context.scoreboard, context.slot),
            totals: Totals(context.scoreboard),
            clients: BTreeMap::new(),
            monitors: Vec::new(),
            subscriptions: Subscriptions::default(),
            publishing,
            tracking: Tracking::default(),
            gathers: ScatterGathers::default(),
            clock,
            slow_log: SlowLog::default(),
            acl_log: AclLog::default(),
            users: UsersView::new(vocabulary),
            sampler: Sampler::default(),
        };
        tracking::start(&worker);
        worker
    }

    /// Whether a worker has clients: one that is absent, or not ready yet, has none.
    #[must_use]
    pub fn has_clients(&self, slot: Slot) -> bool {
        slot == self.context.slot || matches!(self.context.scoreboard.read(slot, Counter::State), SERVING | DRAINING)
    }
}
