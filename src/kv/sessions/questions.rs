//! What workers ask and tell each other over the bus, and how each answers for its own clients.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::kv::sessions::clients::{self, Selection};
use crate::kv::sessions::monitors;
use crate::kv::sessions::scatter_gather::{self, MessageKind};
use crate::kv::sessions::session::{Outcome, Polled, SessionCall, Wait};
use crate::kv::sessions::subscriptions::ChannelKind;
use crate::kv::sessions::tracking;
use crate::kv::sessions::wire;
use crate::kv::sessions::worker_state::WorkerState;
use crate::server::{Effects, Slot};
use crate::sys::clock;

/// What one worker asks all others.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// What is there to tell of these clients? Answered as `clients::list`.
    ListClients(Selection),
    /// How many of these clients are there? They are closed. Answered with the number (u64).
    KillClients(Selection),
    /// The newest entries of the slow log, at most so many. Answered as `SlowLog::newest`.
    SlowLog { count: u32 },
    /// Answered with the number of entries (u64).
    SlowLogLength,
    /// Answered with nothing.
    SlowLogReset,
    /// What this worker's clients were refused. Answered as `AclLog::encoded`.
    AclLog,
    /// Answered with nothing.
    AclLogReset,
    /// Which channels of that kind that match the pattern, if there is one, have subscribers? Answered with their names.
    Channels { is_shard: bool, pattern: Option<Vec<u8>> },
    /// Is this client there? Invalidations of others' keys will be sent to it. Answered with the number of the worker (u64), or with nothing.
    RedirectTarget(u64),
}

/// Asks all workers, this one included, and answers with what `finish` makes of what came within the time: this worker's
/// answer first.
pub fn ask(
    call: &mut SessionCall<'_>,
    question: &Question,
    finish: impl FnOnce(&mut SessionCall<'_>, Vec<Vec<u8>>) -> Outcome + 'static,
) -> Outcome {
    let mut asking = Asking { question: wire::encode(question), is_waiting: false, asked: None, finish: Some(finish) };
    match asking.poll(call) {
        Polled::Ready(outcome) => outcome,
        Polled::Pending(until) => {
            // The other workers' answers are due within a moment.
            Outcome::Wait(Wait { until, is_blocking: false, poll: Box::new(move |call| asking.poll(call)) })
        }
    }
}

/// A question of a client.
struct Asking<F> {
    question: Vec<u8>,
    /// True while others' questions come first.
    is_waiting: bool,
    /// The number of its gathering, and until when that lasts.
    asked: Option<(u64, Instant)>,
    finish: Option<F>,
}

impl<F: FnOnce(&mut SessionCall<'_>, Vec<Vec<u8>>) -> Outcome> Asking<F> {
    fn poll(&mut self, call: &mut SessionCall<'_>) -> Polled {
        let connection = call.session.client.id;
        let (number, deadline) = match self.asked {
            Some(asked) => asked,
            None if !call.worker.gathers.admits(connection, &mut self.is_waiting, call.effects) => {
                // It is woken when it is its turn.
                return Polled::Pending(Some(clock::monotonic() + scatter_gather::ANSWER_WITHIN));
            }
            None => *self.asked.insert(self.begin(call)),
        };
        match call.worker.gathers.take_complete(number, call.effects) {
            None => Polled::Pending(Some(deadline)),
            Some(answers) => {
                let answers = answers.into_iter().map(|(_, answer)| answer).collect();
                Polled::Ready(self.finish.take().expect("a gathering is complete once")(call, answers))
            }
        }
    }

    fn begin(&self, call: &mut SessionCall<'_>) -> (u64, Instant) {
        let (slot, scoreboard) = (call.worker.context.slot, call.worker.context.scoreboard);
        let own = (slot, answer(call.worker, &self.question, call.effects));
        let worker = &mut *call.worker;
        let others: Vec<Slot> =
            scoreboard.workers().filter(|other| *other != slot && worker.has_clients(*other)).collect();
        worker.gathers.ask(call.session.client.id, own, others, &self.question, call.effects)
    }
}

/// Tells all workers, this one included.
pub fn tell(worker: &mut WorkerState, notice: &Notice, effects: &mut Effects) {
    let notice = wire::encode(notice);
    for slot in worker.context.scoreboard.workers().filter(|slot| *slot != worker.context.slot) {
        effects.send(slot, scatter_gather::message(MessageKind::Notice, 0, &notice));
    }
    hear(worker, &notice, effects);
}

/// News for all workers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// A line for the monitors.
    Monitored(Vec<u8>),
    /// The pause of clients has ended: whoever waits for it looks again.
    Unpaused,
    /// For a client that is told of keys in another's place: these have changed, or all.
    Invalidated { target: u64, keys: Option<Vec<Vec<u8>>> },
    /// Such a client is gone.
    RedirectGone(u64),
    /// It was gone when it was to be told of a change.
    Undelivered(u64),
}

/// News has come from another worker.
pub fn hear(worker: &mut WorkerState, notice: &[u8], effects: &mut Effects) {
    match wire::decode(notice) {
        Some(Notice::Monitored(line)) => monitors::show(worker, &line, effects),
        Some(Notice::Unpaused) => {
            let blocked = worker.clients.values().filter(|client| client.is_blocked.get());
            blocked.for_each(|client| effects.wake(client.id));
        }
        Some(Notice::Invalidated { target, keys }) => {
            tracking::hear_redirected(worker, target, keys.as_deref(), effects);
        }
        Some(Notice::RedirectGone(target)) => tracking::redirect_gone(worker, target),
        Some(Notice::Undelivered(target)) => tracking::undelivered(worker, target, effects),
        None => tracing::error!("news from another worker can't be read"),
    }
}

/// This worker's answer to a question.
pub fn answer(worker: &mut WorkerState, question: &[u8], effects: &mut Effects) -> Vec<u8> {
    match wire::decode(question) {
        Some(Question::ListClients(selection)) => clients::list(worker, &selection),
        Some(Question::KillClients(selection)) => clients::kill(worker, &selection, effects).to_le_bytes().to_vec(),
        Some(Question::SlowLog { count }) => worker.slow_log.newest(count as usize),
        Some(Question::SlowLogLength) => (worker.slow_log.count() as u64).to_le_bytes().to_vec(),
        Some(Question::RedirectTarget(number)) => match worker.clients.get(&number) {
            Some(client) => {
                client.tracking.is_redirect_target.set(true);
                (worker.context.slot.0 as u64).to_le_bytes().to_vec()
            }
            None => Vec::new(),
        },
        Some(Question::AclLog) => worker.acl_log.encoded(),
        Some(Question::AclLogReset) => {
            worker.acl_log.clear();
            Vec::new()
        }
        Some(Question::SlowLogReset) => {
            worker.slow_log.clear();
            Vec::new()
        }
        Some(Question::Channels { is_shard, pattern }) => {
            let kind = if is_shard { ChannelKind::Shard } else { ChannelKind::Plain };
            wire::encode(&worker.subscriptions.channels_matching(kind, pattern.as_deref()))
        }
        None => {
            tracing::error!("a question of another worker can't be read");
            Vec::new()
        }
    }
}

/// The sum of answers that are numbers.
#[must_use]
pub fn sum(answers: &[Vec<u8>]) -> u64 {
    answers.iter().filter_map(|answer| answer.first_chunk()).map(|number| u64::from_le_bytes(*number)).sum()
}
