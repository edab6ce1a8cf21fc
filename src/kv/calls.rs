//! Runs one call on a keyspace, for every lane alike: the database, the handler, the count, the slow log. A panic of a
//! handler ends here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::kv::application::Shared;
use crate::kv::errors::{self, CommandError};
use crate::kv::flags::Flags;
use crate::kv::job::{Call, SlowCall};
use crate::kv::latency::Event;
use crate::kv::runtime::Knob;
use crate::kv::slowlog;
use crate::kv::statistics::{Counted, Statistics};
use crate::kv::table::{self, Command, Handler};
use crate::resp::reply::Reply;
use crate::server::ExecutorContext;
use crate::server::sys::clock;
use crate::storage::{Keyspace, StorageError};

pub struct Calls {
    pub shared: Arc<Shared>,
    pub statistics: Statistics,
}

/// What became of a call.
pub enum Ran {
    /// Answered; an error reply has left nothing behind.
    Reply(Reply),
    /// The storage failed: in a group of changes nothing of the group can stand.
    Failed(StorageError),
    /// The handler panicked: what it did has to be undone.
    Panicked,
}

/// Which handlers may run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl Calls {
    #[must_use]
    pub fn new(shared: Arc<Shared>, context: &ExecutorContext) -> Calls {
        Calls { shared, statistics: Statistics::new(context.board, context.slot) }
    }

    pub fn run(&self, keyspace: &mut Keyspace, access: Access, call: &Call<'_>, slow: &mut Vec<SlowCall>) -> Ran {
        if keyspace.database() != call.database {
            keyspace.select(call.database);
        }
        let begun = clock::monotonic();
        let outcome = catch_unwind(AssertUnwindSafe(|| match (call.command.handler, access) {
            (Handler::Read(handler), _) => handler(keyspace, &call.args),
            (Handler::Write(handler), Access::Write) => handler(keyspace, &call.args),
            _ => Err(errors::INTERNAL.into()),
        }));
        let duration_us = u64::try_from(clock::monotonic().duration_since(begun).as_micros()).unwrap_or(u64::MAX);
        let ran = match outcome {
            Ok(Ok(reply)) => Ran::Reply(reply),
            Ok(Err(CommandError::Reply(text))) => Ran::Reply(Reply::Error(text)),
            Ok(Err(CommandError::Storage(error))) => Ran::Failed(error),
            Err(_) => Ran::Panicked,
        };
        self.count(call, &ran, duration_us, slow);
        ran
    }

    fn count(&self, call: &Call<'_>, ran: &Ran, duration_us: u64, slow: &mut Vec<SlowCall>) {
        let error = match ran {
            Ran::Reply(Reply::Error(text)) => Some(text.clone()),
            Ran::Reply(_) => None,
            Ran::Failed(error) => Some(errors::storage_text(error)),
            Ran::Panicked => Some(errors::INTERNAL.into()),
        };
        self.statistics.called(table::number(call.command), duration_us, error.is_some());
        if let Some(text) = error {
            self.statistics.error_replied(&text);
        } else if call.command.flags.has(Flags::READONLY) {
            let is_miss = matches!(ran, Ran::Reply(Reply::Null | Reply::Integer(-2)));
            self.statistics.add(if is_miss { Counted::KeyMissesTotal } else { Counted::KeyHitsTotal }, 1);
        }
        self.shared.latency.consider(event_of(call.command), duration_us);
        let threshold_us = self.shared.runtime.read(Knob::SlowlogUs) as i64;
        if threshold_us >= 0 && duration_us >= threshold_us as u64 && !call.command.flags.has(Flags::SKIP_SLOWLOG) {
            slow.push(SlowCall {
                started_us: clock::wall_us() - duration_us as i64,
                duration_us,
                args: slowlog::cut(call.command, &call.args),
            });
        }
    }
}

/// What the latency monitor calls a call of this command.
#[must_use]
pub fn event_of(command: &Command) -> Event {
    if command.flags.has(Flags::FAST) { Event::FastCommand } else { Event::Command }
}
