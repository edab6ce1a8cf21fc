//! What workers ask and tell each other over the bus, and how each answers for its own clients.

use crate::kv::desk::Desk;
use crate::kv::monitor;
use crate::kv::session::{Outcome, Polled, SessionCall, Wait};
use crate::kv::slowlog;
use crate::server::counters::SERVING;
use crate::server::{Counter, Effects, Slot};

/// News for all workers.
pub enum Notice {
    /// A line for the monitors.
    Monitored(Vec<u8>),
    /// The pause of clients has ended: whoever waits for it looks again.
    Unpaused,
}

impl Notice {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Notice::Monitored(line) => [b"M", &line[..]].concat(),
            Notice::Unpaused => b"U".to_vec(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Notice> {
        match bytes.split_first()? {
            (b'M', line) => Some(Notice::Monitored(line.to_vec())),
            (b'U', []) => Some(Notice::Unpaused),
            _ => None,
        }
    }
}

/// News has come from another worker.
pub fn hear(desk: &mut Desk, notice: &[u8], effects: &mut Effects) {
    match Notice::decode(notice) {
        Some(Notice::Monitored(line)) => monitor::show(desk, &line, effects),
        Some(Notice::Unpaused) => desk.clients.values().for_each(|client| effects.wake(client.id)),
        None => tracing::error!("news from another worker can't be read"),
    }
}

/// What every worker is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The newest entries of its slow log, at most so many.
    SlowLog { count: u32 },
    SlowLogLength,
    SlowLogReset,
}

impl Question {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Question::SlowLog { count } => [b"S", &count.to_le_bytes()[..]].concat(),
            Question::SlowLogLength => b"L".to_vec(),
            Question::SlowLogReset => b"R".to_vec(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Question> {
        match bytes.split_first()? {
            (b'S', rest) => Some(Question::SlowLog { count: u32::from_le_bytes(rest.try_into().ok()?) }),
            (b'L', []) => Some(Question::SlowLogLength),
            (b'R', []) => Some(Question::SlowLogReset),
            _ => None,
        }
    }
}

/// This worker's answer to a question.
pub fn answer(desk: &mut Desk, question: &[u8], _effects: &mut Effects) -> Vec<u8> {
    match Question::decode(question) {
        Some(Question::SlowLog { count }) => slowlog::encode(desk.slow_log.entries.iter().take(count as usize)),
        Some(Question::SlowLogLength) => (desk.slow_log.entries.len() as u64).to_le_bytes().to_vec(),
        Some(Question::SlowLogReset) => {
            desk.slow_log.entries.clear();
            Vec::new()
        }
        None => {
            tracing::error!("a question of another worker can't be read");
            Vec::new()
        }
    }
}

/// Asks all workers, this one too; the answers that came in time become the command's outcome.
pub fn ask_all(
    call: &mut SessionCall<'_>,
    question: Question,
    mut finish: impl FnMut(&mut SessionCall<'_>, Vec<(Slot, Vec<u8>)>) -> Outcome + 'static,
) -> Outcome {
    let (own, board) = (call.desk.context.slot, call.desk.context.board);
    let encoded = question.encode();
    let own_answer = answer(call.desk, &encoded, call.effects);
    // One that is absent now has no news, and nobody would say that it is gone.
    let others = board.workers().filter(|&slot| slot != own && board.read(slot, Counter::State) == SERVING);
    let connection = call.session.client.id;
    let (number, deadline) = call.desk.gathers.ask(connection, (own, own_answer), others, &encoded, call.effects);
    if let Some(answers) = call.desk.gathers.take_complete(number) {
        return finish(call, answers);
    }
    let poll = move |call: &mut SessionCall<'_>| match call.desk.gathers.take_complete(number) {
        Some(answers) => Polled::Ready(finish(call, answers)),
        None => Polled::Pending(Some(deadline)),
    };
    Outcome::Wait(Wait { until: Some(deadline), poll: Box::new(poll) })
}
