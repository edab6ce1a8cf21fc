//! Reads that the loop answers by itself, from its cache and the memtable.

use std::time::Instant;

use super::{KvService, Run};
use crate::kv::cache::Record;
use crate::kv::call::{Class, Notifications};
use crate::kv::commands::table::{self, Command};
use crate::kv::errors::CommandError;
use crate::kv::front::slowlog;
use crate::kv::sessions::monitors;
use crate::kv::sessions::session::{ReplyMode, Session};
use crate::kv::shared::runtime::Knob;
use crate::kv::table::flags::Flags;
use crate::kv::table::look::{self, Look, Said, Shape};
use crate::resp::{ReplyWriter, Version, encode};
use crate::server::{Effects, Outbox};
use crate::sys::clock;

/// Calls of one command, one behind the other, that the cache has answered. They take well under a microsecond each, so
/// their time is measured together, with the reading of their requests.
pub(super) struct HitRun {
    command: u16,
    calls: u32,
    begun: Instant,
}

/// What an answer from the cache came to.
enum Answer {
    Replied {
        is_miss: bool,
        /// Bytes of packed elements that were passed for it, at most.
        passed: usize,
    },
    /// A value is needed that the cache does not have.
    Unknown,
}

impl KvService {
    /// Looks a call's keys up in the cache, and answers it if they are known and nothing goes before it. Otherwise `found` has
    /// what to ask with.
    #[expect(clippy::too_many_arguments, reason = "what a request is made of")]
    pub(super) fn look(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        look: &Look,
        args: &[&[u8]],
        run: Option<&Run>,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> bool {
        let (Some(keys), true) = (look.keys_to_keep(args), self.cache.is_on()) else { return false };
        let begun = self.times_each.then(clock::monotonic);
        let clock = &self.worker.shared.clock;
        // The key was hashed where it was read ahead.
        let is_first = keys.first().is_some_and(|key| std::ptr::eq(*key, args[1]));
        self.found.hash = if is_first { self.prefetch.hash(session.database()) } else { None };
        let is_known = self.cache.look(session.database(), keys, || clock.now_ms(), &mut self.found);
        let is_answered = is_known
            && run.is_none()
            && session.reply_mode == ReplyMode::On
            && self.answer_from_cache(session.version, command, look, args, out.buffer());
        self.tally.looked(is_answered, self.found.has_fresh());
        if is_answered {
            if self.found.has_fresh() {
                self.cache.keep_fresh(&self.found);
            }
            session.client.last_command.set(command.name);
            if let Some(begun) = begun {
                self.note_timed(session, command, args, begun);
            }
            if self.tells_misses && !command.flags.has(Flags::QUIET) {
                self.tell_found_misses(session.database(), keys, effects);
            }
            self.feed_monitors(session, command, args, Some(out), effects);
            // Of what `Session::command_ended` does, this alone may be due here: replies are on, and no transaction is open.
            session.client.tracking.command_ended(false);
        }
        is_answered
    }

    /// False when a value is needed that the cache does not have.
    fn answer_from_cache(
        &mut self,
        version: Version,
        command: &'static Command,
        look: &Look,
        args: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> bool {
        let begin = out.len();
        let mut reply = ReplyWriter::new(out, version, self.worker.shared.settings.output_bytes_max);
        match answer(look, args, self.cache.records(&self.found), self.found.now_ms(), &mut reply) {
            Ok(Answer::Replied { is_miss, passed }) => {
                self.turn.spent_us += (passed / PASSED_A_MICROSECOND) as u64;
                self.tally.read(is_miss);
                self.count(command);
            }
            Err(error) => {
                out.truncate(begin);
                self.end_hit_run();
                self.tally.called(table::number(command), 1, 0, true);
                let text = error.text();
                self.worker.statistics.error_replied(&text);
                encode::error(&text, out);
            }
            Ok(Answer::Unknown) => {
                out.truncate(begin);
                return false;
            }
        }
        true
    }

    /// Who wants to know of each call? Whatever changes that is a command on the loop, or comes before the bytes at hand.
    pub(super) fn look_for_observers(&mut self) {
        self.is_monitored = monitors::is_anybody(&self.worker);
        let threshold_us = self.worker.shared.runtime.read(Knob::SlowlogUs).cast_signed();
        let notifications = Notifications::from_word(self.worker.shared.runtime.read(Knob::KeyspaceEvents));
        self.tells_misses = notifications.classes().has(Class::Miss);
        self.times_each = (0..slowlog::TIMED_ALONE_BELOW_US).contains(&threshold_us);
    }

    /// A call that the cache has answered, while the slow log wants such.
    #[cold]
    fn note_timed(&mut self, session: &Session, command: &'static Command, args: &[&[u8]], begun: Instant) {
        let duration_us = clock::monotonic().duration_since(begun).as_micros() as u64;
        let started_us = clock::wall_us() - duration_us as i64;
        slowlog::consider(&mut self.worker, &session.client, command, args, started_us, duration_us);
    }

    fn count(&mut self, command: &'static Command) {
        let number = table::number(command);
        match &mut self.hit_run {
            Some(hit_run) if hit_run.command == number => hit_run.calls += 1,
            _ => {
                self.end_hit_run();
                self.hit_run = Some(HitRun { command: number, calls: 1, begun: clock::monotonic() });
            }
        }
    }

    fn end_hit_run(&mut self) {
        if let Some(HitRun { command, calls, begun }) = self.hit_run.take() {
            let duration = clock::monotonic().duration_since(begun);
            self.tally.called(command, calls, duration.as_micros() as u64, false);
        }
    }

    /// What was counted becomes visible, before the replies leave.
    pub(super) fn settle(&mut self) {
        self.end_hit_run();
        self.tally.settle();
    }
}

/// Bytes of packed elements that a loop passes for one call: each argument may be looked for among all of them.
const PASSED_BYTES_MAX: usize = 256 << 10;
/// So many of them are passed in a microsecond, about: a turn counts them.
const PASSED_A_MICROSECOND: usize = 1 << 10;

/// The reply from what is known of each key.
fn answer<'a>(
    look: &Look,
    args: &[&[u8]],
    records: impl Iterator<Item = Record<'a>>,
    now_ms: i64,
    reply: &mut ReplyWriter<'_>,
) -> Result<Answer, CommandError> {
    if look.shape == Shape::Array {
        reply.array(look.keys(args).len())?;
    }
    let (mut sum, mut passed) = (0, 0_usize);
    for record in records {
        if look.is_of_elements() {
            passed = args.len().saturating_mul(record.value().map_or(0, <[u8]>::len));
            if passed > PASSED_BYTES_MAX {
                return Ok(Answer::Unknown);
            }
        }
        match look.say(args, record.entry().as_ref(), record.value(), now_ms, &mut sum, reply)? {
            Said::All => {}
            Said::LacksBytes(_) | Said::LacksElements => return Ok(Answer::Unknown),
        }
    }
    if look.shape == Shape::Sum {
        reply.integer(sum)?;
    }
    Ok(Answer::Replied { is_miss: look::is_miss(reply.written()), passed })
}

#[cfg(test)]
#[path = "point_lookup_tests.rs"]
mod tests;
