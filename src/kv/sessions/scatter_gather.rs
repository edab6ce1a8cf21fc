//! Questions to all workers: what speaks for the whole service asks every worker over the bus, answers its own part at once,
//! and is ready when all have answered, are gone, or the deadline is over.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::server::{ConnectionId, Effects, Slot};
use crate::sys::clock;

/// A worker that is stopped is not waited for longer than this.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(1000);

/// Gatherings of one worker's clients that are open at a time: answers may be large, and are kept until the last one is there.
const OPEN_MAX: usize = 16;

/// The first byte of a message between workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Number of the gathering (u64), then the question.
    Question = 1,
    /// Number of the gathering (u64), then the answer.
    Answer = 2,
    /// News that nobody answers.
    Notice = 3,
    /// Number of the message (u64), then what was published.
    Published = 4,
    /// The number of the last message (u64): who has not got it has missed some.
    Numbered = 5,
}

/// The gatherings that this worker's clients wait for.
#[derive(Default)]
pub struct ScatterGathers {
    next: u64,
    open: HashMap<u64, ScatterGather>,
    /// Connections whose question waits for its turn, oldest first.
    waiting: VecDeque<ConnectionId>,
}

/// One question and its answers so far.
pub struct ScatterGather {
    /// The connection to wake when it is complete.
    connection: ConnectionId,
    missing: Vec<Slot>,
    /// In the order in which they came, this worker's own first.
    answers: Vec<(Slot, Vec<u8>)>,
    deadline: Instant,
}

impl ScatterGathers {
    /// Whether a question of this connection may be asked now. Otherwise it `is_waiting`, and is woken when it may.
    pub fn admits(&mut self, connection: ConnectionId, is_waiting: &mut bool, effects: &mut Effects) -> bool {
        let is_next = self.waiting.front().is_none_or(|first| *first == connection);
        if self.open.len() < OPEN_MAX && is_next {
            self.waiting.pop_front();
            if self.open.len() + 1 < OPEN_MAX {
                self.wake_next(effects);
            }
            return true;
        }
        if !std::mem::replace(is_waiting, true) {
            self.waiting.push_back(connection);
        }
        false
    }

    fn wake_next(&self, effects: &mut Effects) {
        if let Some(next) = self.waiting.front() {
            effects.wake(*next);
        }
    }

    /// Asks `others`; `own` is this worker's own answer. Returns the number to ask for the result with.
    pub fn ask(
        &mut self,
        connection: ConnectionId,
        own: (Slot, Vec<u8>),
        others: Vec<Slot>,
        question: &[u8],
        effects: &mut Effects,
    ) -> (u64, Instant) {
        self.next += 1;
        for &slot in &others {
            effects.send(slot, message(MessageKind::Question, self.next, question));
        }
        let deadline = clock::monotonic() + ANSWER_WITHIN;
        self.open.insert(self.next, ScatterGather { connection, missing: others, answers: vec![own], deadline });
        (self.next, deadline)
    }

    /// The answers, once there is nothing more to wait for. The gathering is over then.
    pub fn take_complete(&mut self, number: u64, effects: &mut Effects) -> Option<Vec<(Slot, Vec<u8>)>> {
        let gathering = self.open.get(&number)?;
        if gathering.missing.is_empty() || clock::monotonic() >= gathering.deadline {
            self.wake_next(effects);
            return self.open.remove(&number).map(|gathering| gathering.answers);
        }
        None
    }

    /// An answer has come. Late ones, whose gathering is over, are dropped.
    pub fn answered(&mut self, from: Slot, number: u64, answer: &[u8], effects: &mut Effects) {
        let Some(gathering) = self.open.get_mut(&number) else { return };
        if let Some(place) = gathering.missing.iter().position(|&slot| slot == from) {
            gathering.missing.swap_remove(place);
            gathering.answers.push((from, answer.to_vec()));
            if gathering.missing.is_empty() {
                effects.wake(gathering.connection);
            }
        }
    }

    /// A worker is gone: nobody waits for it any more.
    pub fn lost(&mut self, slot: Slot, effects: &mut Effects) {
        for gathering in self.open.values_mut() {
            gathering.missing.retain(|&missing| missing != slot);
            if gathering.missing.is_empty() {
                effects.wake(gathering.connection);
            }
        }
    }

    /// Forgets what a client that is gone had asked.
    pub fn forget(&mut self, connection: ConnectionId, effects: &mut Effects) {
        let waiting = self.waiting.len();
        self.open.retain(|_, gathering| gathering.connection != connection);
        self.waiting.retain(|waiting| *waiting != connection);
        if waiting > 0 {
            self.wake_next(effects);
        }
    }
}

#[must_use]
pub fn message(kind: MessageKind, number: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + body.len());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The parts of `message`.
#[must_use]
pub fn parse(message: &[u8]) -> Option<(MessageKind, u64, &[u8])> {
    let (&kind, rest) = message.split_first()?;
    let (number, body) = rest.split_first_chunk()?;
    let kind = match kind {
        1 => MessageKind::Question,
        2 => MessageKind::Answer,
        3 => MessageKind::Notice,
        4 => MessageKind::Published,
        5 => MessageKind::Numbered,
        _ => return None,
    };
    Some((kind, u64::from_le_bytes(*number), body))
}
