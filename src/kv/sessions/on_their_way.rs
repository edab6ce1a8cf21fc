//! Messages that another worker had sent when a client subscribed, and that had not come yet. They were sent for others, and the client gets
//! none of them: a later one of the same publisher may have been sent to nobody, because just then nobody was subscribed, and the client
//! would see a gap.

use std::collections::HashMap;

use crate::kv::sessions::subscriptions::Subscribable;
use crate::server::Slot;

/// A message of another worker: which it is, and the message's number there.
pub type Sent = (Slot, u64);

/// A client that has subscribed behind some.
pub struct Late {
    client: u64,
    /// By worker: the number of the last message that was on its way from there; 0: none was.
    last: Box<[u64]>,
}

/// The kind of a channel or pattern, as a number, and its name.
type Key = (u8, Box<[u8]>);

/// Who has subscribed late, by channel or pattern. Empty most of the time.
#[derive(Default)]
pub struct OnTheirWay(HashMap<Key, Vec<Late>>);

impl Late {
    /// Whether the message is none of this client's.
    #[must_use]
    pub fn passes_over(&self, client: u64, (from, number): Sent) -> bool {
        self.client == client && number <= self.last[from.0]
    }
}

impl OnTheirWay {
    /// The client of this number has subscribed behind these.
    pub fn add(&mut self, what: Subscribable, name: &[u8], client: u64, last: Box<[u64]>) {
        self.0.entry((what.number(), name.into())).or_default().push(Late { client, last });
    }

    /// Those of a channel or pattern.
    #[must_use]
    pub fn late(&self, what: Subscribable, name: &[u8]) -> &[Late] {
        let late = if self.0.is_empty() { None } else { self.0.get(&(what.number(), name.into())) };
        late.map_or(&[], Vec::as_slice)
    }

    /// Forgets what has come, by the number of the last message that was heard of each worker.
    pub fn forget(&mut self, heard: impl Fn(usize) -> u64) {
        let lacks = |late: &Late| late.last.iter().enumerate().any(|(from, number)| heard(from) < *number);
        self.0.retain(|_, late| {
            late.retain(lacks);
            !late.is_empty()
        });
    }
}
