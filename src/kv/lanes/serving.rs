//! Serving those who wait, within the group that has brought what they wait for. To serve is to run the call again, from its first key: it
//! is answered, or waits on at its place.

use crate::kv::call::WaitingCalls;
use crate::kv::errors;
use crate::kv::jobs::job::{Done, DoneOutcome, Job, Kind};
use crate::kv::lanes::calls::Answers;
use crate::kv::lanes::left_out::{LeftOut, WAITERS};
use crate::kv::lanes::long_calls::{LongCall, LongCalls};
use crate::kv::lanes::waiters::{Waiter, Waiters};
use crate::kv::lanes::writer::{Attempt, Called, Spoiled, Writer, answered};
use crate::kv::metrics::statistics::Counted;
use crate::kv::table::wait::AFTER_TIMEOUT;
use crate::resp::encode;
use crate::server::{Responder, Task, TaskId};
use crate::storage::StorageError;

/// What the group at hand has answered of those who wait. Nobody sees it before COMMIT.
pub(super) type Served = Vec<ServedCall>;

pub(super) struct ServedCall {
    id: TaskId,
    /// The number of its client, if that waits.
    client: Option<u64>,
    done: Done,
}

impl ServedCall {
    fn of(waiter: &Waiter, answers: Answers) -> ServedCall {
        let done = Done { slow: answers.slow, denied: answers.denied, ..Done::new(DoneOutcome::Run, answers.replies) };
        ServedCall { id: waiter.id, client: Some(waiter.client), done }
    }

    /// Of a call that took long.
    pub(super) fn of_long(call: &LongCall, answers: Answers) -> ServedCall {
        ServedCall { id: call.id, client: None, done: answered(&call.job, answers) }
    }

    /// The incarnation of its worker, and the number of its client: of one that waits.
    pub(super) fn client(&self) -> Option<(u64, u64)> {
        self.client.map(|client| (self.id.incarnation, client))
    }
}

impl Writer {
    /// After a call, or the whole of an EXEC: serves those who wait for what it has changed, and for what that changes, the oldest of each
    /// key first.
    pub(super) fn serve(&mut self, left_out: &LeftOut) -> Result<Attempt<()>, StorageError> {
        while let Some((database, key)) = self.waiters.next_ready() {
            if let Attempt::Spoiled(spoiled) = self.serve_key(database, &key, left_out)? {
                return Ok(Attempt::Spoiled(spoiled));
            }
        }
        Ok(Attempt::Done(()))
    }

    fn serve_key(&mut self, database: u8, key: &[u8], left_out: &LeftOut) -> Result<Attempt<()>, StorageError> {
        let mut last = 0;
        loop {
            self.keyspace.select(database);
            let kind = match self.keyspace.entry(key) {
                Ok(entry) => entry.map(|entry| entry.kind),
                // A damaged row is nothing to be served with. Whoever asks for it is told.
                Err(error) if error.is_of_the_call() => {
                    if error.spoils_transaction() && !self.keyspace.recover()? {
                        return Ok(Attempt::Spoiled(Spoiled::ByRow(error)));
                    }
                    break;
                }
                Err(error) => return Err(error),
            };
            let Some(number) = self.waiters.next_of(database, key, kind, last) else { break };
            if self.waiters.must_come_later(number, database, key) {
                break;
            }
            last = number;
            if let Attempt::Spoiled(spoiled) = self.serve_call(number, left_out)? {
                return Ok(Attempt::Spoiled(spoiled));
            }
        }
        Ok(Attempt::Done(()))
    }

    fn serve_call(&mut self, number: u64, left_out: &LeftOut) -> Result<Attempt<()>, StorageError> {
        let Some(waiter) = self.waiters.take(number) else { return Ok(Attempt::Done(())) };
        let place = (WAITERS, number as usize);
        let mut answers = Answers::default();
        let (call, _) = waiter.calls.at(0).expect("it has a call");
        if let Some(text) = left_out.call(place).or_else(|| left_out.job(WAITERS)) {
            answers.fail(&call, text);
        } else {
            let answer = answers.waiting(&self.calls, waiter.version, waiter.rights, &call);
            self.telling.is_of(waiter.id);
            match self.call(place, &call, answer) {
                Ok(Attempt::Done(Called::Answered)) => answers.end(&call),
                Ok(Attempt::Done(Called::Refused(text))) => answers.fail(&call, &text),
                Ok(Attempt::Done(Called::TooHeavy | Called::TakesLong)) => answers.fail(&call, errors::INTERNAL),
                Ok(Attempt::Done(Called::Parked)) => {
                    drop(call);
                    self.waiters.put_back(waiter);
                    return Ok(Attempt::Done(()));
                }
                // It is undone with all of the group.
                Ok(Attempt::Spoiled(spoiled)) => {
                    drop(call);
                    self.waiters.put_back(waiter);
                    return Ok(Attempt::Spoiled(spoiled));
                }
                Err(error) => {
                    drop(call);
                    self.waiters.put_back(waiter);
                    return Err(error);
                }
            }
        }
        drop(call);
        let bounded = self.bound_batch(place, left_out);
        self.reply_bytes += answers.replies.len();
        self.served.push(ServedCall::of(&waiter, answers));
        self.waiters.ended(waiter);
        Ok(bounded?.map_or(Attempt::Done(()), Attempt::Spoiled))
    }

    /// What is said of the jobs that wait, behind the answers to a committed group's own. One that the group has both parked and served
    /// was answered as any other.
    pub(super) fn answer_served(&mut self, responder: &mut dyn Responder<Done>) {
        self.served.drain(..).for_each(|served| responder.answer(served.id, served.done));
    }

    /// The answer to a job that the group at hand has parked, if it has served it, too.
    pub(super) fn take_served(&mut self, number: u64) -> Option<Done> {
        let place = self.served.iter().position(|served| served.id.number == number)?;
        Some(self.served.swap_remove(place).done)
    }

    // ---- between groups

    /// For how many keys somebody waits.
    pub(super) fn tell_of_waiters(&self) {
        self.calls.statistics.set(Counted::BlockingKeys, self.waiters.keys_count() as u64);
    }

    /// A job that an executor before this one has parked.
    pub fn register(&mut self, task: &Task<Job>) {
        if matches!(task.job.kind, Kind::Wait(_)) {
            self.waiters.register(task);
        } else {
            self.long_calls.register(task);
        }
    }

    pub fn all_registered(&mut self) {
        self.waiters.all_registered();
        let (waiters, long_calls, met) = (&self.waiters, &self.long_calls, &self.met);
        self.upkeep.tickets_mut().keep_parked(|number, incarnation, is_served| {
            if is_served { met.contains(&incarnation) } else { waiters.has(number) || long_calls.has(number) }
        });
    }

    /// The parked job must not be served any more.
    pub fn cancel(&mut self, number: u64) {
        self.waiters.cancel(number);
        self.upkeep.tickets_mut().is_over(number);
    }

    /// Its worker has the answer.
    pub fn acknowledged(&mut self, number: u64) {
        self.upkeep.tickets_mut().is_over(number);
    }
}

/// Ends the waiting of clients for a command.
pub(super) struct Ending<'a> {
    pub(super) waiters: &'a mut Waiters,
    pub(super) served: &'a mut Served,
    /// The rows of the calls that were ended, and whether with an error.
    pub(super) ended: Vec<(u16, bool)>,
}

impl WaitingCalls for Ending<'_> {
    fn end(&mut self, client: u64, with_error: bool) -> bool {
        let Some(waiter) = self.waiters.of_client(client).and_then(|number| self.waiters.take(number)) else {
            return false;
        };
        let (call, _) = waiter.calls.at(0).expect("it has a call");
        let mut answers = Answers::default();
        match with_error {
            true => answers.fail(&call, errors::UNBLOCKED),
            false => {
                encode::encode(&AFTER_TIMEOUT, waiter.version, &mut answers.replies);
                answers.end(&call);
            }
        }
        self.ended.push((call.row, with_error));
        drop(call);
        self.served.push(ServedCall::of(&waiter, answers));
        self.waiters.ended(waiter);
        true
    }
}

/// Jobs by number and incarnation.
type Numbers = Vec<(u64, u64)>;

/// The jobs that a group has parked, and those of earlier ones that it has served.
pub(super) fn fates(
    (waiters, long_calls): (&Waiters, &LongCalls),
    served: &Served,
    tasks: &[Task<Job>],
) -> (Numbers, Numbers) {
    let of = |id: &TaskId| (id.number, id.incarnation);
    let waits = |number| waiters.is_new(number) && waiters.has(number) || long_calls.is_new(number);
    let parked = tasks.iter().filter(|task| waits(task.id.number));
    let served = served.iter().map(|served| &served.id).filter(|id| !waiters.is_new(id.number));
    (parked.map(|task| of(&task.id)).collect(), served.map(of).collect())
}
