//! What runs on a pool thread: a reader with its snapshot, or the writer with its group.

use std::sync::Arc;
use std::time::Duration;

use crate::kv::errors;
use crate::kv::jobs::job::{Done, DoneOutcome, Job, Kind, Unit};
use crate::kv::lanes::file_watch;
use crate::kv::lanes::reader::Reader;
use crate::kv::lanes::writer::Writer;
use crate::kv::shared::Shared;
use crate::kv::shared::hand_offs::HandOff;
use crate::resp::encode;
use crate::server::{Executor, ExecutorContext, Refusal, Responder, Task, TaskId, Tickets};
use crate::storage::StorageError;

pub enum LaneExecutor {
    Reader(Box<Reader>),
    Writer(Box<Writer>),
    /// The data files are lost: whoever opened their names now would mix two of them. Refuses everything.
    Lost,
}

impl LaneExecutor {
    /// `is_light`: it sends what reads much away.
    pub fn reader(
        shared: Arc<Shared>,
        context: &ExecutorContext,
        is_light: bool,
    ) -> Result<LaneExecutor, StorageError> {
        if file_watch::are_lost(&shared) {
            return Ok(Self::lost("the data files are not the service's any more: this worker serves no reads"));
        }
        Ok(LaneExecutor::Reader(Box::new(Reader::new(shared, context, is_light)?)))
    }

    pub fn writer(shared: &Arc<Shared>, context: &ExecutorContext) -> Result<LaneExecutor, StorageError> {
        if file_watch::are_lost(shared) {
            shared.hand_offs.set(HandOff::WritesFailing, 1);
            return Ok(Self::lost(
                "the data files are not the service's any more: nothing is written until it is started again",
            ));
        }
        Ok(LaneExecutor::Writer(Box::new(Writer::new(shared, context)?)))
    }
}

impl LaneExecutor {
    fn lost(what: &'static str) -> LaneExecutor {
        tracing::error!("{what}");
        LaneExecutor::Lost
    }
}

impl Executor for LaneExecutor {
    type Job = Job;
    type Done = Done;

    fn run(&mut self, tasks: &[Task<Job>], responder: &mut dyn Responder<Done>) {
        match self {
            LaneExecutor::Reader(reader) => reader.run(tasks, &mut |id, done| responder.answer(id, done)),
            LaneExecutor::Writer(writer) => writer.run(tasks, responder),
            LaneExecutor::Lost => {
                tasks.iter().for_each(|task| responder.answer(task.id, refused(&task.job, errors::FILES_LOST)));
            }
        }
    }

    fn refuse(&self, job: &Job, why: Refusal) -> Done {
        tracing::error!(?why, "a job is refused");
        refused(job, errors::INTERNAL)
    }

    fn idle(&mut self, responder: &mut dyn Responder<Done>) -> Option<Duration> {
        match self {
            LaneExecutor::Reader(_) | LaneExecutor::Lost => None,
            LaneExecutor::Writer(writer) => Some(writer.idle(responder)),
        }
    }

    fn batch_bytes_max(&self) -> usize {
        match self {
            LaneExecutor::Reader(_) | LaneExecutor::Lost => usize::MAX,
            LaneExecutor::Writer(writer) => writer.batch_bytes_max(),
        }
    }

    fn last_applied(&self, incarnation: u64) -> u64 {
        self.tickets(incarnation).applied
    }

    fn tickets(&self, incarnation: u64) -> Tickets {
        match self {
            LaneExecutor::Reader(_) => Tickets::default(),
            // Nobody knows what its predecessor applied and did not answer.
            LaneExecutor::Lost => Tickets { applied: u64::MAX, ..Tickets::default() },
            LaneExecutor::Writer(writer) => writer.tickets(incarnation),
        }
    }

    fn meet(&mut self, incarnation: u64) {
        if let LaneExecutor::Writer(writer) = self {
            writer.meet(incarnation);
        }
    }

    fn forget(&mut self, incarnation: u64) {
        if let LaneExecutor::Writer(writer) = self {
            writer.forget(incarnation);
        }
    }

    fn register(&mut self, task: &Task<Job>) {
        if let LaneExecutor::Writer(writer) = self {
            writer.register(task);
        }
    }

    fn all_registered(&mut self) {
        if let LaneExecutor::Writer(writer) = self {
            writer.all_registered();
        }
    }

    fn cancel(&mut self, id: TaskId) {
        if let LaneExecutor::Writer(writer) = self {
            writer.cancel(id.number);
        }
    }

    fn acknowledged(&mut self, _incarnation: u64, number: u64) {
        if let LaneExecutor::Writer(writer) = self {
            writer.acknowledged(number);
        }
    }

    fn finish(&mut self) {
        if let LaneExecutor::Writer(writer) = self {
            writer.finish();
        }
    }
}

/// The answer to a job of which nothing was applied: this error for each unit, or one for what is answered as a whole.
#[must_use]
pub fn refused(job: &Job, text: &str) -> Done {
    let (mut replies, mut ends) = (Vec::new(), Vec::new());
    if matches!(job.kind, Kind::Run | Kind::Wait(_)) {
        for call in job.calls.iter() {
            if !call.is_muted && call.unit != Unit::GoesOn {
                encode::error(text, &mut replies);
            }
            ends.push(replies.len() as u64);
        }
    } else {
        encode::error(text, &mut replies);
    }
    Done { ends: if job.wants_ends { ends } else { Vec::new() }, ..Done::new(DoneOutcome::Refused, replies) }
}
