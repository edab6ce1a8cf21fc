//! What a worker looks at about twenty times a second.

use super::{KvService, holding};
use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::publishing;
use crate::kv::sessions::tracking;
use crate::server::{Counter, Effects};
use crate::sys::clock;

impl KvService {
    pub(super) fn look_around(&mut self, effects: &mut Effects) {
        publishing::tell_numbers(&mut self.worker, effects);
        publishing::forget_what_came(&mut self.worker);
        publishing::count_channels(&mut self.worker);
        self.worker.clock.refresh();
        tracking::look_around(&mut self.worker, effects);
        self.worker.sampler.tick(&self.worker.totals, clock::uptime_ms());
        self.worker
            .statistics
            .raise(Counted::MemoryBytesMax, self.worker.context.scoreboard.sum(Counter::AnonymousBytes));
        let clients = self.worker.clients.values();
        let (mut blocked, mut watching, mut watched) = (0, 0, 0);
        let mut subscribers = 0;
        for client in clients {
            if client.is_subscriber() {
                subscribers += 1;
                holding::look_at_subscriber(&self.worker, client, effects);
            }
            blocked += u64::from(client.is_blocked.get());
            watching += u64::from(client.watched.get() > 0);
            watched += client.watched.get() as u64;
        }
        let (keys, bytes) = self.cache.size();
        self.worker.statistics.set(Counted::CacheKeys, keys as u64);
        self.worker.statistics.set(Counted::CacheBytes, bytes as u64);
        self.worker.statistics.set(Counted::Monitors, self.worker.monitors.len() as u64);
        self.worker.statistics.set(Counted::BlockedClients, blocked);
        self.worker.statistics.set(Counted::Subscribers, subscribers);
        self.worker.statistics.set(Counted::WatchingClients, watching);
        self.worker.statistics.set(Counted::WatchedKeys, watched);
    }
}
