//! What workers ask and tell each other over the bus, and how each answers for its own clients.

use crate::kv::desk::Desk;
use crate::kv::monitor;
use crate::server::Effects;

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

/// This worker's answer to a question.
pub fn answer(_desk: &mut Desk, _question: &[u8], _effects: &mut Effects) -> Vec<u8> {
    Vec::new()
}
