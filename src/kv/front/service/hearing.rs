//! What comes from other workers.

use super::KvService;
use crate::kv::sessions::publishing;
use crate::kv::sessions::questions;
use crate::kv::sessions::scatter_gather::{self, MessageKind};
use crate::server::{Effects, Slot};

impl KvService {
    pub(super) fn hear_message(&mut self, from: Slot, message: &[u8], effects: &mut Effects) {
        match scatter_gather::parse(message) {
            Some((MessageKind::Question, number, question)) => {
                let answer = questions::answer(&mut self.worker, question, effects);
                effects.send(from, scatter_gather::message(MessageKind::Answer, number, &answer));
            }
            Some((MessageKind::Answer, number, answer)) => self.worker.gathers.answered(from, number, answer, effects),
            Some((MessageKind::Notice, _, notice)) => questions::hear(&mut self.worker, notice, effects),
            Some((MessageKind::Published, number, body)) => {
                publishing::hear(&mut self.worker, from, number, body, effects);
            }
            Some((MessageKind::Numbered, number, _)) => {
                publishing::hear_number(&mut self.worker, from, number, effects);
            }
            None => tracing::error!(worker = from.0, "a message between workers can't be read"),
        }
    }
}
