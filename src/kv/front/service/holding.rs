//! What a client makes its worker keep, and what the operator is told where it is too much.

use std::sync::atomic::Ordering;

use super::ServedClient;
use crate::kv::front::admission::Hostile;
use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::session::{Awaits, Client, Running, Session};
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::runtime::Knob;
use crate::server::{Account, Effects, Excess, Global, Kept, LogLimit, Wire};

/// Unsent replies over which a client is closed that has yet to log in: all that it can be told is short.
const UNAUTHENTICATED_OUTPUT_BYTES_MAX: usize = 64 << 10;

/// What the writer keeps of a key that somebody waits for, about, beside the key itself.
const WAITING_KEY_BYTES: usize = 256;

/// What the client's worker keeps beside buffers, for CLIENT LIST to show and for the bound over all clients.
pub(super) fn account(worker: &WorkerState, served: &ServedClient, kept: &Kept) -> Account {
    let (session, client) = (&served.session, &served.session.client);
    let bytes = served.parser.bytes_kept() + session.bytes_kept();
    client.kept.set(*kept);
    client.bytes_kept.set(kept.input + kept.output + kept.transport + kept.job + bytes);
    let is_stranger = !session.is_authenticated && worker.users.needs_login();
    Account {
        bytes,
        output_bytes_max: match is_stranger {
            true => UNAUTHENTICATED_OUTPUT_BYTES_MAX,
            false => client.output_bytes_max(&worker.shared).saturating_sub(client.held.borrow().bytes_kept()),
        },
        may_be_closed: !client.no_evict.get(),
        // These wait for others.
        has_idle_timeout: !client.is_subscriber() && !client.is_monitor.get(),
    }
}

impl Session {
    /// The memory that the session takes beside its own size.
    fn bytes_kept(&self) -> usize {
        let client = &self.client;
        let names = [&client.name, &client.library_name, &client.library_version];
        let awaits = match &self.awaits {
            Awaits::Run(running) => running.bytes_kept(),
            Awaits::RunTurn(running, job) => running.bytes_kept() + job.bytes_kept(),
            Awaits::Exec(execution) | Awaits::ExecTurn(execution) | Awaits::ExecEvent(execution, _) => {
                execution.bytes_kept()
            }
            Awaits::Watch(watches) => size_of_val(watches.as_slice()),
            // In the writer: a copy of its arguments, and a place in the queue of each key.
            Awaits::Waiting(call) => call.arguments * WAITING_KEY_BYTES,
            Awaits::Request | Awaits::PauseEnd | Awaits::Event(_) => 0,
        };
        let names: usize = names.iter().map(|name| name.borrow().capacity()).sum();
        let pushed =
            client.subscribed.borrow().bytes_kept() + client.held.borrow().bytes_kept() + client.tracking.bytes_kept();
        names + client.queued_bytes.get() + client.watched_bytes.get() + pushed + awaits
    }
}

impl Running {
    fn bytes_kept(&self) -> usize {
        self.rest.bytes_kept() + self.riders.bytes_kept()
    }
}

/// The client is closed because of how it began.
pub(super) fn tell_of_hostile(client: &Client, what: Hostile) {
    let peer = &client.address;
    match what {
        Hostile::Browser => {
            static BROWSERS: LogLimit = LogLimit::new();
            if let Some(left_out) = BROWSERS.admit() {
                tracing::warn!(%peer, left_out, "a web browser was made to speak to this service; closed");
            }
        }
        Hostile::Tls => {
            static TLS: LogLimit = LogLimit::new();
            if let Some(left_out) = TLS.admit() {
                tracing::warn!(%peer, left_out, "a client speaks TLS to an address without it; EMPTYSERVER_TLS_LISTEN has those with TLS");
            }
        }
    }
}

/// At each tick: a subscriber that has lagged behind for too long is closed.
pub(super) fn look_at_subscriber(worker: &WorkerState, client: &Client, effects: &mut Effects) {
    let limit = worker.shared.runtime.read(Knob::SubscriberOutputBytesSoft);
    let bytes = client.kept.get().unsent + client.held.borrow().bytes_kept();
    if limit == 0 || (bytes as u64) < limit {
        return client.behind_since_ms.set(0);
    }
    let (now_ms, since_ms) = (worker.clock.now_ms(), client.behind_since_ms.get());
    if since_ms == 0 {
        return client.behind_since_ms.set(now_ms);
    }
    let seconds = worker.shared.runtime.read(Knob::SubscriberOutputSeconds);
    if u64::try_from((now_ms - since_ms) / 1000).is_ok_and(|behind| behind > seconds) {
        effects.close(client.id);
        worker.statistics.add(Counted::OutputLimitTotal, 1);
        static BEHIND: LogLimit = LogLimit::new();
        if let Some(left_out) = BEHIND.admit() {
            let peer = &client.address;
            tracing::warn!(
                %peer, bytes, limit, seconds, left_out,
                "a subscriber is closed: its messages have waited for longer than client-output-buffer-limit allows"
            );
        }
    }
}

/// The client is about to be closed: counts it, and says so, with the setting that decides.
pub(super) fn tell(worker: &WorkerState, client: &Client, excess: Excess) {
    let (peer, settings) = (&client.address, &worker.shared.settings);
    match excess {
        Excess::Output { bytes } => {
            worker.statistics.add(Counted::OutputLimitTotal, 1);
            static OUTPUT: LogLimit = LogLimit::new();
            if let Some(left_out) = OUTPUT.admit() {
                let (command, limit) = (client.last_command.get(), client.output_bytes_max(&worker.shared));
                if limit < settings.output_bytes_max {
                    tracing::warn!(
                        %peer, command, bytes, limit, left_out,
                        "a subscriber that does not read its messages is closed: more wait than EMPTYSERVER_SUBSCRIBER_OUTPUT_BYTES_MAX allows"
                    );
                } else {
                    tracing::warn!(
                        %peer, command, bytes, limit, left_out,
                        "a client that does not read its replies is closed: more wait than EMPTYSERVER_OUTPUT_BYTES_MAX allows"
                    );
                }
            }
        }
        Excess::Input { bytes } => {
            worker.statistics.add(Counted::QueryLimitTotal, 1);
            static INPUT: LogLimit = LogLimit::new();
            if let Some(left_out) = INPUT.admit() {
                let limit = settings.query_bytes_max;
                tracing::warn!(
                    %peer, bytes, limit, left_out,
                    "a client is closed: its request is longer than EMPTYSERVER_QUERY_BYTES_MAX allows"
                );
            }
        }
        Excess::All { bytes, all_bytes } => {
            worker.statistics.add(Counted::EvictedClientsTotal, 1);
            static ALL: LogLimit = LogLimit::new();
            if let Some(left_out) = ALL.admit() {
                let command = client.last_command.get();
                let limit = worker.context.scoreboard.global(Global::ConnectionsBytesMax).load(Ordering::Relaxed);
                tracing::warn!(
                    %peer, command, bytes, all_bytes, limit, left_out,
                    "the client with most memory is closed: all together have more than EMPTYSERVER_CLIENTS_BYTES_MAX allows"
                );
            }
        }
    }
}
