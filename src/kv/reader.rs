//! A reader thread's executor: a batch of jobs is taken first, then one snapshot answers all of it. Between batches no
//! snapshot is open, so nothing holds the `-wal` back.

use std::sync::Arc;

use crate::kv::application::Shared;
use crate::kv::broken::{self, Variant};
use crate::kv::cache::{Learning, Seen};
use crate::kv::calls::{Calls, Ran};
use crate::kv::errors;
use crate::kv::job::{Done, DoneOutcome, Job, Kind, SlowCall};
use crate::kv::lane_executor::refused;
use crate::kv::settings::JOB_REPLY_BYTES_MAX;
use crate::kv::statistics::Counted;
use crate::resp::encode;
use crate::server::{Counter, ExecutorContext, Task, TaskId};
use crate::storage::{Keyspace, Options, StorageError};

/// Calls whose counts become visible together, before their replies leave: some microseconds of work.
const CALLS_TOGETHER: usize = 16;

pub struct Reader {
    keyspace: Keyspace,
    options: Options,
    calls: Calls,
}

impl Reader {
    pub fn new(shared: Arc<Shared>, context: &ExecutorContext) -> Result<Reader, StorageError> {
        let mut options = shared.settings.storage.clone();
        // A worker that died of SIGBUS met a page that can't be read: without a map that is an error of the read.
        options.mmap &= context.board.read(context.slot, Counter::BusErrorsTotal) == 0;
        Ok(Reader { keyspace: Keyspace::open_reader(&options)?, options, calls: Calls::new(shared, context) })
    }

    pub fn run(&mut self, tasks: &[Task<Job>], answer: &mut dyn FnMut(TaskId, Done)) {
        let now_ms = self.calls.shared.clock.now_ms();
        let was_open = broken::is(Variant::JoinedSnapshot) && self.keyspace.is_in_transaction();
        let begun =
            self.calls.fit_map(&mut self.keyspace, self.options.mmap).and_then(|()| self.keyspace.begin_read(now_ms));
        if let (Err(error), false) = (begun, was_open) {
            tracing::error!(%error, "a snapshot can't be taken");
            let text = errors::storage_text(&error);
            tasks.iter().for_each(|task| answer(task.id, refused(&task.job, &text)));
            return;
        }
        self.calls.begin();
        let mut answered = Vec::with_capacity(tasks.len());
        let mut calls = 0;
        for task in tasks {
            answered.push((task.id, self.job(&task.job)));
            calls += task.job.calls.len();
            if calls >= CALLS_TOGETHER {
                self.give(&mut answered, answer);
                calls = 0;
            }
        }
        self.give(&mut answered, answer);
        if let Err(error) = self.keyspace.end_read() {
            tracing::error!(%error, "a snapshot can't be let go");
        }
        debug_assert!(!self.keyspace.is_in_transaction(), "no snapshot is open between batches");
        if broken::is(Variant::JoinedSnapshot) && self.keyspace.begin_read(now_ms).is_ok() {
            self.keyspace.entry(b"anything").ok();
        }
    }

    fn give(&mut self, answered: &mut Vec<(TaskId, Done)>, answer: &mut dyn FnMut(TaskId, Done)) {
        self.calls.settle();
        answered.drain(..).for_each(|(id, done)| answer(id, done));
    }

    fn job(&mut self, job: &Job) -> Done {
        match &job.kind {
            Kind::Watch => self.watch(job),
            Kind::Run => {
                let mut learning = Learning::of(&job.seen);
                let (replies, ends, slow) = self.answer_calls(job, &mut learning);
                let outcome = DoneOutcome::of_run(job, ends.len());
                Done { slow, learned: learning.learned(), ..Done::new(outcome, replies) }
            }
            Kind::Exec(_) => {
                // All of it from one snapshot.
                self.keyspace.hold_snapshot(true);
                let (replies, ends, slow) = self.answer_calls(job, &mut Learning::of(&Seen::default()));
                self.keyspace.hold_snapshot(false);
                Done { slow, ..Done::new(DoneOutcome::Executed(ends), replies) }
            }
        }
    }

    /// The replies of the calls, where each ends, and which were slow. Of a run with large replies not all calls.
    fn answer_calls(&mut self, job: &Job, learning: &mut Learning<'_>) -> (Vec<u8>, Vec<u64>, Vec<SlowCall>) {
        let (mut replies, mut ends, mut slow) = (Vec::new(), Vec::new(), Vec::new());
        for call in job.calls.iter() {
            if job.kind == Kind::Run && replies.len() >= JOB_REPLY_BYTES_MAX {
                break;
            }
            self.keyspace.set_answer_bytes_max(self.calls.answer_bytes_max(job, replies.len()));
            match self.calls.read(&mut self.keyspace, &call, job.version, learning, &mut replies, &mut slow) {
                Ran::Reply(()) => {}
                Ran::Failed(error) => {
                    tracing::error!(%error, command = call.command.name, "a read failed");
                    encode::error(&errors::storage_text(&error), &mut replies);
                }
                Ran::Panicked => {
                    self.reopen();
                    encode::error(errors::INTERNAL, &mut replies);
                }
            }
            ends.push(replies.len() as u64);
        }
        (replies, ends, slow)
    }

    fn watch(&mut self, job: &Job) -> Done {
        let mut expiries = Vec::new();
        for call in job.calls.iter() {
            self.keyspace.select(call.database);
            for key in &call.args[1..] {
                match self.keyspace.entry(key) {
                    Ok(entry) => expiries.push(entry.and_then(|entry| entry.expires_at_ms)),
                    Err(error) => {
                        tracing::error!(%error, "a read failed");
                        return refused(job, &errors::storage_text(&error));
                    }
                }
            }
        }
        Done::new(DoneOutcome::Watched(expiries), Vec::new())
    }

    /// After a panic: what the connection was in the middle of is unknown.
    fn reopen(&mut self) {
        self.calls.statistics.add(Counted::PanicsTotal, 1);
        tracing::error!("a handler panicked; its reader is opened again");
        let now_ms = self.keyspace.now_ms();
        let reopened = Keyspace::open_reader(&self.options).and_then(|mut keyspace| {
            keyspace.begin_read(now_ms)?;
            Ok(keyspace)
        });
        match reopened {
            Ok(keyspace) => self.keyspace = keyspace,
            Err(error) => tracing::error!(%error, "the reader can't be opened again and goes on as it is"),
        }
    }
}
