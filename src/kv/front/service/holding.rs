//! What a client makes its worker keep, and what the operator is told where it is too much.

use std::sync::atomic::Ordering;

use super::ServedClient;
use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::session::{Awaits, Client, Running, Session};
use crate::kv::sessions::worker_state::WorkerState;
use crate::server::{Account, Excess, Global, Kept, LogLimit, Wire};

/// Unsent replies over which a client is closed that has yet to log in: all that it can be told is short.
const UNAUTHENTICATED_OUTPUT_BYTES_MAX: usize = 64 << 10;

/// What the client's worker keeps beside buffers, for CLIENT LIST to show and for the bound over all clients.
pub(super) fn account(worker: &WorkerState, served: &ServedClient, kept: &Kept) -> Account {
    let (session, client) = (&served.session, &served.session.client);
    let bytes = served.parser.bytes_kept() + session.bytes_kept();
    client.kept.set(*kept);
    client.bytes_kept.set(kept.input + kept.output + kept.job + bytes);
    let is_stranger = !session.is_authenticated && worker.shared.runtime.has_password();
    Account {
        bytes,
        output_bytes_max: if is_stranger { UNAUTHENTICATED_OUTPUT_BYTES_MAX } else { usize::MAX },
        may_be_closed: !client.no_evict.get(),
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
            Awaits::Request | Awaits::PauseEnd | Awaits::Event(_) => 0,
        };
        let names: usize = names.iter().map(|name| name.borrow().capacity()).sum();
        names + client.queued_bytes.get() + client.watched_bytes.get() + awaits
    }
}

impl Running {
    fn bytes_kept(&self) -> usize {
        self.rest.bytes_kept() + self.riders.bytes_kept()
    }
}

/// The client is about to be closed: counts it, and says so, with the setting that decides.
pub(super) fn tell(worker: &WorkerState, client: &Client, excess: Excess) {
    let (peer, settings) = (client.address, &worker.shared.settings);
    match excess {
        Excess::Output { bytes } => {
            worker.statistics.add(Counted::OutputLimitTotal, 1);
            static OUTPUT: LogLimit = LogLimit::new();
            if let Some(left_out) = OUTPUT.admit() {
                let (command, limit) = (client.last_command.get(), settings.output_bytes_max);
                tracing::warn!(
                    %peer, command, bytes, limit, left_out,
                    "a client that does not read its replies is closed: more wait than EMPTYSERVER_OUTPUT_BYTES_MAX allows"
                );
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
