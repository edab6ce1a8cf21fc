//! Looks ahead in a pipeline, so that the memory which its reads will touch is on its way before it is needed. What a search in a
//! large cache waits for is memory, several times as long as everything else takes; a pipeline lets these waits overlap.
//!
//! It changes nothing that anybody can see, and is right to guess: only the time depends on it.

use super::Conversation;
use crate::kv::cache::Cache;
use crate::kv::commands::table::{self, Handler};
use crate::resp::request::{Limits, Parsed, RequestParser};
use crate::server::Input;

/// Requests that are looked at before the first of them is handled: what they touch has to stay in the processor's first cache.
const AHEAD_MAX: usize = 16;

#[derive(Default)]
pub(super) struct Prefetch {
    parser: RequestParser,
    hashes: Vec<u64>,
    /// Requests that were looked at and not handled yet.
    ahead: usize,
}

impl Prefetch {
    /// New bytes: nothing of them was looked at.
    pub(super) fn begin(&mut self) {
        self.ahead = 0;
    }

    /// A request of so many bytes is about to be handled.
    pub(super) fn go_on(&mut self, talk: &Conversation, input: &Input, length: usize, cache: &Cache, limits: &Limits) {
        if self.ahead == 0 && input.len() > length && cache.is_on() {
            self.look_ahead(talk, input.bytes(), cache, limits);
        }
        self.ahead = self.ahead.saturating_sub(1);
    }

    fn look_ahead(&mut self, talk: &Conversation, mut bytes: &[u8], cache: &Cache, limits: &Limits) {
        self.hashes.clear();
        let database = talk.session.database();
        while self.ahead < AHEAD_MAX {
            let Ok(Parsed::Complete(length)) = self.parser.parse(bytes, limits) else {
                self.parser.restart();
                break;
            };
            self.ahead += 1;
            let args = self.parser.args(bytes);
            if let Some(key) = args.get(1)
                && let Some(Handler::Look(_)) = table::lookup(&args[0]).map(|command| command.handler)
            {
                let hash = cache.hash_of(database, key);
                cache.prefetch(hash);
                self.hashes.push(hash);
            }
            bytes = &bytes[length..];
        }
        self.parser.tidy();
        self.hashes.iter().for_each(|hash| cache.prefetch_records(*hash));
    }
}
