//! Messages that another worker had sent when a client subscribed, and that had not come yet. They were sent for others, and the client gets
//! none of them: a later one of the same publisher may have been sent to nobody, because just then nobody was subscribed, and the client
//! would see a gap.

use std::collections::HashMap;
use std::rc::Rc;

use crate::kv::sessions::subscriptions::Subscribable;

/// By worker: the number of the last message that was on its way from there; 0: none was.
pub type Sent = Rc<[u64]>;

/// The kind of a channel or pattern, as a number, and its name.
type Key = (u8, Box<[u8]>);

/// By channel or pattern, who has subscribed behind what. Empty most of the time.
#[derive(Default)]
pub struct OnTheirWay(HashMap<Key, Vec<(u64, Sent)>>);

impl OnTheirWay {
    /// The client of this number has subscribed behind these.
    pub fn add(&mut self, what: Subscribable, name: &[u8], client: u64, sent: Sent) {
        self.0.entry((what.number(), name.into())).or_default().push((client, sent));
    }

    /// Whether the client has subscribed behind the message of this number from this worker.
    #[must_use]
    pub fn passes_over(&self, what: Subscribable, name: &[u8], client: u64, (from, number): (usize, u64)) -> bool {
        let behind = if self.0.is_empty() { None } else { self.0.get(&(what.number(), name.into())) };
        behind.is_some_and(|clients| clients.iter().any(|(of, sent)| *of == client && number <= sent[from]))
    }

    /// Forgets what has come, by the number of the last message that was heard of each worker.
    pub fn forget(&mut self, heard: impl Fn(usize) -> u64) {
        let is_on_its_way = |sent: &Sent| sent.iter().enumerate().any(|(from, number)| heard(from) < *number);
        self.0.retain(|_, clients| {
            clients.retain(|(_, sent)| is_on_its_way(sent));
            !clients.is_empty()
        });
    }
}
