//! Runs one call on a keyspace, for every lane alike: the database, the handler, the count, the slow log. A panic of a
//! handler ends here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::kv::cache::{Learning, asked};
use crate::kv::commands::lookup::check_answer;
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::jobs::job::{Call, Job, Kind, SlowCall};
use crate::kv::metrics::statistics::{Counted, Statistics, Totals};
use crate::kv::metrics::tally::Tally;
use crate::kv::sessions::slow_log;
use crate::kv::shared::Shared;
use crate::kv::shared::latency::Event;
use crate::kv::shared::runtime::Knob;
use crate::kv::shared::versions::Versions;
use crate::kv::table::flags::Flags;
use crate::kv::table::look::{Look, Shape, Told, part};
use crate::kv::table::{Command, Handler};
use crate::resp::encode;
use crate::resp::reply::{Reply, Version};
use crate::server::{ExecutorContext, Scoreboard};
use crate::storage::{Entry, Keyspace, Lookup, StorageError};
use crate::sys::clock;

pub struct Calls {
    pub shared: Arc<Shared>,
    pub statistics: Statistics,
    scoreboard: Scoreboard,
    tally: Tally,
    /// When the last call ended, which is when the next one begins.
    ended: Instant,
}

/// Slow calls of one job that are told of, at least.
const SLOW_CALLS_MAX: usize = 256;
/// What the replies of an EXEC leave for the errors in place of others: a value of the largest size has room nevertheless, since the
/// output limit is at least 64 KiB larger.
const LEFT_FOR_ERRORS_BYTES: usize = 32 << 10;
/// Replies up to this are small.
const SMALL_BYTES: usize = 128;

/// What became of a call.
pub enum Ran<T> {
    /// Answered; an error reply has left nothing behind.
    Reply(T),
    /// The storage failed: in a group of changes what the call did has to be undone, or all of the group where the disk failed
    /// (`StorageError::is_of_the_call`).
    Failed(StorageError),
    /// The handler panicked: what it did has to be undone.
    Panicked,
    /// It was not run: a read of more than it may read here.
    TooHeavy,
}

/// How much a read may read here of its strings; `None`: all of them.
pub type Weight = Option<u64>;

impl Calls {
    #[must_use]
    pub fn new(shared: Arc<Shared>, context: &ExecutorContext) -> Calls {
        let statistics = Statistics::new(context.scoreboard, context.slot);
        Calls {
            shared,
            statistics,
            scoreboard: context.scoreboard,
            tally: Tally::new(statistics),
            ended: clock::monotonic(),
        }
    }

    /// A batch begins. Each call's time counts from the end of the one before.
    pub fn begin(&mut self) {
        self.ended = clock::monotonic();
    }

    /// Between transactions: reads through a map while the file fits into memory, together with all else. One that may not be
    /// mapped at all stays as it is.
    pub fn fit_map(&self, keyspace: &mut Keyspace, may_map: bool) -> Result<(), StorageError> {
        let data_bytes = Totals(self.scoreboard).max(Counted::DataBytes);
        keyspace.set_mapped(may_map && data_bytes <= self.shared.settings.memory_bytes / 2)
    }

    /// What the reply to a job's next call may have, behind so many bytes of replies. A reply is never larger than the output limit of
    /// a client, and the replies of an EXEC together are not; a small one always fits, so that the client knows what was done.
    #[must_use]
    pub fn answer_bytes_max(&self, job: &Job, before: usize) -> usize {
        let output_bytes_max = self.shared.settings.output_bytes_max;
        match job.kind {
            Kind::Run | Kind::Watch => output_bytes_max,
            Kind::Exec(_) => output_bytes_max.saturating_sub(before + LEFT_FOR_ERRORS_BYTES).max(SMALL_BYTES),
        }
    }

    /// When the last call ended, or the batch began.
    pub fn ended(&self) -> Instant {
        self.ended
    }

    /// What was counted becomes visible: before the replies leave.
    pub fn settle(&mut self) {
        self.tally.settle();
    }

    /// Runs a call, in the writer; its reply is a value.
    pub fn run(
        &mut self,
        keyspace: &mut Keyspace,
        weight: Weight,
        call: &Call<'_>,
        slow: &mut Vec<SlowCall>,
    ) -> Ran<Reply> {
        self.guard(keyspace, call, slow, |keyspace| {
            let reply = match call.command().handler {
                Handler::Look(look) => look_as_value(keyspace, &look, weight, &call.args),
                Handler::Read(handler) => {
                    weigh(keyspace, weight, call)?;
                    let reply = handler(keyspace, &call.args)?;
                    check_answer(keyspace, reply.bytes_len())?;
                    Ok(reply)
                }
                Handler::Write(handler) => handler(keyspace, &call.args),
                _ => Err(errors::INTERNAL.into()),
            }?;
            let is_miss = is_miss(&reply);
            Ok((reply, is_miss))
        })
    }

    /// Runs a call that only reads; its reply goes to `out`, and what was seen of its keys to `learning`. An error leaves
    /// nothing in `out`, but for an error reply.
    #[expect(clippy::too_many_arguments, reason = "all of it belongs to this one call")]
    pub fn read(
        &mut self,
        keyspace: &mut Keyspace,
        weight: Weight,
        call: &Call<'_>,
        version: Version,
        learning: &mut Learning<'_>,
        out: &mut Vec<u8>,
        slow: &mut Vec<SlowCall>,
    ) -> Ran<()> {
        let begin = out.len();
        let versions = self.shared.versions.clone();
        let ran = self.guard(keyspace, call, slow, |keyspace| match call.command().handler {
            Handler::Look(look) => {
                let is_miss = read_keys(keyspace, &look, weight, call, version, learning, &versions, out)?;
                Ok((Reply::Ok, is_miss))
            }
            Handler::Read(handler) => {
                weigh(keyspace, weight, call)?;
                let reply = handler(keyspace, &call.args)?;
                check_answer(keyspace, reply.bytes_len())?;
                let is_miss = is_miss(&reply);
                match reply {
                    Reply::Raw(bytes) if out.is_empty() => *out = bytes,
                    reply => encode::encode(&reply, version, out),
                }
                Ok((Reply::Ok, is_miss))
            }
            _ => Err(errors::INTERNAL.into()),
        });
        match ran {
            Ran::Reply(Reply::Error(text)) => {
                out.truncate(begin);
                encode::error(&text, out);
                Ran::Reply(())
            }
            Ran::Reply(_) => Ran::Reply(()),
            Ran::Failed(error) => {
                out.truncate(begin);
                Ran::Failed(error)
            }
            Ran::Panicked => {
                out.truncate(begin);
                Ran::Panicked
            }
            Ran::TooHeavy => {
                out.truncate(begin);
                Ran::TooHeavy
            }
        }
    }

    /// The reply to a call of SET that need not be run.
    pub fn answer_unseen(&mut self, call: &Call<'_>, slow: &mut Vec<SlowCall>) -> Reply {
        self.count(call, &Ran::Reply(Reply::Ok), false, 0, slow);
        Reply::Ok
    }

    /// `run` gives the reply, and whether that says that there is no such key.
    fn guard(
        &mut self,
        keyspace: &mut Keyspace,
        call: &Call<'_>,
        slow: &mut Vec<SlowCall>,
        run: impl FnOnce(&mut Keyspace) -> Result<(Reply, bool), CommandError>,
    ) -> Ran<Reply> {
        if keyspace.database() != call.database {
            keyspace.select(call.database);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| run(keyspace)));
        let now = clock::monotonic();
        let duration_us = u64::try_from((now - self.ended).as_micros()).unwrap_or(u64::MAX);
        self.ended = now;
        let (ran, is_miss) = match outcome {
            Ok(Ok((reply, is_miss))) => (Ran::Reply(reply), is_miss),
            Ok(Err(CommandError::Reply(text))) => (Ran::Reply(Reply::Error(text)), false),
            Ok(Err(CommandError::Storage(error))) => (Ran::Failed(error), false),
            // It is counted where it is run.
            Ok(Err(CommandError::TooHeavy)) => return Ran::TooHeavy,
            Err(_) => (Ran::Panicked, false),
        };
        self.count(call, &ran, is_miss, duration_us, slow);
        ran
    }

    fn count(&mut self, call: &Call<'_>, ran: &Ran<Reply>, is_miss: bool, duration_us: u64, slow: &mut Vec<SlowCall>) {
        let error = match ran {
            Ran::Reply(Reply::Error(text)) => Some(text.clone()),
            Ran::Reply(_) => None,
            Ran::Failed(error) => Some(errors::storage_text(error)),
            Ran::Panicked | Ran::TooHeavy => Some(errors::INTERNAL.into()),
        };
        self.tally.called(call.row, 1, duration_us, error.is_some());
        if let Some(text) = error {
            self.statistics.error_replied(&text);
        } else if call.command().flags.has(Flags::READONLY) {
            self.tally.read(is_miss);
        }
        self.shared.latency.consider(event_of(call.command()), duration_us);
        let threshold_us = self.shared.runtime.read(Knob::SlowlogUs) as i64;
        if threshold_us >= 0 && duration_us >= threshold_us as u64 && !call.command().flags.has(Flags::SKIP_SLOWLOG) {
            // Of a job with many only the newest would stay in the log: older ones are not kept until then.
            let kept = SLOW_CALLS_MAX.min(self.shared.runtime.read(Knob::SlowlogEntriesMax) as usize);
            if slow.len() >= 2 * kept {
                slow.drain(..slow.len() - kept);
            }
            slow.push(SlowCall {
                started_us: clock::wall_us() - duration_us as i64,
                duration_us,
                args: slow_log::cut(call.command().name, &call.args),
            });
        }
    }
}

/// As INFO counts misses.
fn is_miss(reply: &Reply) -> bool {
    matches!(reply, Reply::Null | Reply::Integer(-2))
}

/// A call that reads its first key's whole string is refused where that is too long.
fn weigh(keyspace: &Keyspace, weight: Weight, call: &Call<'_>) -> Result<(), CommandError> {
    if let Some(bytes_max) = weight
        && call.command().flags.has(Flags::BY_SIZE)
        && let Lookup::Found(length) = keyspace.string_length(call.args[1])?
        && length > bytes_max
    {
        return Err(CommandError::TooHeavy);
    }
    Ok(())
}

/// What stands around a string of a reply, or in its place.
const AROUND_BYTES: usize = 6;

/// Looks at each key of a call, as long as the answers, each with so many bytes `around` it, are no larger than the reply may be;
/// `tell` gets the key's number and the answer for it with the bytes of a `Told::Part`, and what it follows from.
fn look_at_keys(
    keyspace: &Keyspace,
    look: &Look,
    weight: Weight,
    args: &[&[u8]],
    around: usize,
    mut tell: impl FnMut(usize, Told, &[u8], Option<&Entry>, Option<&[u8]>),
) -> Result<(), CommandError> {
    let now_ms = keyspace.now_ms();
    let mut answer_left = keyspace.answer_bytes_max();
    let mut bytes_left = weight.unwrap_or(u64::MAX);
    for (number, key) in look.keys(args).iter().enumerate() {
        let elsewhere = keyspace.with_entry(key, |entry, value| {
            let told = (look.answer)(args, entry, now_ms)?;
            if look.shape != Shape::Sum {
                let bytes = around.saturating_add(told.bytes_len());
                answer_left = answer_left.checked_sub(bytes).ok_or(errors::REPLY_TOO_LARGE)?;
            }
            match (&told, value) {
                (Told::Part(range), None) if !range.is_empty() => return Ok(Some((told, entry.copied()))),
                (Told::Part(range), Some(value)) => tell(number, told.clone(), part(value, range), entry, Some(value)),
                _ => tell(number, told, &[], entry, value),
            }
            Ok::<_, CommandError>(None)
        })??;
        if let Some((Told::Part(range), entry)) = elsewhere {
            bytes_left = bytes_left.checked_sub(range.end - range.start).ok_or(CommandError::TooHeavy)?;
            let bytes = crate::kv::commands::lookup::bytes(keyspace, key, range.clone())?;
            tell(number, Told::Part(range), &bytes, entry.as_ref(), None);
        }
    }
    Ok(())
}

/// The reply as a value.
pub fn look_as_value(keyspace: &Keyspace, look: &Look, weight: Weight, args: &[&[u8]]) -> CommandResult {
    let mut replies = Vec::new();
    look_at_keys(keyspace, look, weight, args, size_of::<Reply>(), |_, told, bytes, _, _| {
        replies.push(told.reply(bytes.to_vec()));
    })?;
    Ok(match look.shape {
        Shape::One => replies.swap_remove(0),
        Shape::Array => Reply::Array(replies),
        Shape::Sum => {
            let one = |reply: &Reply| if let Reply::Integer(value) = reply { *value } else { 0 };
            Reply::Integer(replies.iter().map(one).sum())
        }
    })
}

/// The same into `out`. Returns whether it counts as a miss.
#[expect(clippy::too_many_arguments, reason = "all of it belongs to this one call")]
fn read_keys(
    keyspace: &Keyspace,
    look: &Look,
    weight: Weight,
    call: &Call<'_>,
    version: Version,
    learning: &mut Learning<'_>,
    versions: &Versions,
    out: &mut Vec<u8>,
) -> Result<bool, CommandError> {
    learning.begin(look.keys_to_keep(&call.args).map_or(0, <[_]>::len));
    if look.shape == Shape::Array {
        encode::array_header(look.keys(&call.args).len(), out);
    }
    let (mut sum, mut is_miss) = (0, false);
    look_at_keys(keyspace, look, weight, &call.args, AROUND_BYTES, |number, told, bytes, entry, value| {
        let key = look.keys(&call.args)[number];
        learning.keep(number, || asked(versions, call.database, key), entry, value);
        match (look.shape, &told) {
            (Shape::Sum, Told::Integer(value)) => sum += value,
            _ => told.encode(bytes, version, out),
        }
        is_miss = look.shape == Shape::One && told.is_miss();
    })?;
    if look.shape == Shape::Sum {
        encode::integer(sum, out);
    }
    Ok(is_miss)
}

/// What the latency monitor calls a call of this command.
#[must_use]
pub fn event_of(command: &Command) -> Event {
    if command.flags.has(Flags::FAST) { Event::FastCommand } else { Event::Command }
}
