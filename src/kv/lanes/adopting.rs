//! Answering calls that were prepared, within a group of their own or before the calls of others; and what goes on for them between groups.

use std::time::Duration;

use crate::kv::errors;
use crate::kv::jobs::job::Done;
use crate::kv::lanes::calls::Answers;
use crate::kv::lanes::lane_executor::refused;
use crate::kv::lanes::left_out::{LONG_CALLS, LeftOut, Place};
use crate::kv::lanes::long_calls::{Decision, LongCall};
use crate::kv::lanes::preparing::PreparedCall;
use crate::kv::lanes::serving::ServedCall;
use crate::kv::lanes::writer::{Attempt, Called, Writer};
use crate::server::Responder;
use crate::storage::StorageError;

impl Writer {
    /// Before anything of the group is run: a call that was prepared is answered, or prepared again.
    pub(super) fn answer_long_call(&mut self, left_out: &LeftOut) -> Result<Attempt<()>, StorageError> {
        let Some(ready) = self.long_calls.take_ready() else { return Ok(Attempt::Done(())) };
        let place = (LONG_CALLS, ready.call.id.number as usize);
        let mut answers = Answers::default();
        let decision = self.long_calls.decide(&ready, self.keyspace.now_ms());
        let answered = match left_out.call(place).or_else(|| left_out.job(LONG_CALLS)) {
            Some(text) => Ok(Attempt::Done(Called::Refused(text.clone()))),
            None => match decision {
                Decision::Adopt(prepared) => self.adopt(place, &ready.call, prepared, &mut answers),
                Decision::Run => self.run_long_call(place, &ready.call, &mut answers),
                Decision::Refuse(text) => Ok(Attempt::Done(Called::Refused(text.into()))),
                Decision::Again => {
                    self.long_calls.again(&mut self.keyspace, ready);
                    return Ok(Attempt::Done(()));
                }
            },
        };
        let (call, _) = ready.call.job.calls.at(0).expect("it has a call");
        let spoiled = match answered {
            Ok(Attempt::Done(called)) => {
                match called {
                    Called::Answered => answers.end(&call),
                    Called::Refused(text) => answers.fail(&call, &text),
                    Called::TooHeavy | Called::TakesLong | Called::Parked => answers.fail(&call, errors::INTERNAL),
                }
                self.bound_batch(place, left_out)
            }
            Ok(Attempt::Spoiled(spoiled)) => Ok(Some(spoiled)),
            Err(error) => Err(error),
        };
        drop(call);
        self.reply_bytes += answers.replies.len();
        self.served.push(ServedCall::of_long(&ready.call, answers));
        // After an error it is undone with the group, and comes again.
        self.long_calls.answered(ready);
        Ok(spoiled?.map_or(Attempt::Done(()), Attempt::Spoiled))
    }

    /// It could not be prepared.
    fn run_long_call(
        &mut self,
        place: Place,
        LongCall { id, job, .. }: &LongCall,
        answers: &mut Answers,
    ) -> Result<Attempt<Called>, StorageError> {
        let (call, _) = job.calls.at(0).expect("it has a call");
        self.telling.is_of(*id);
        let answer = answers.next(&self.calls, job, &call, None);
        self.call(place, &call, answer)
    }

    /// What was prepared becomes the group's, as if the call had run now.
    fn adopt(
        &mut self,
        place: Place,
        LongCall { id, job, .. }: &LongCall,
        prepared: &PreparedCall,
        answers: &mut Answers,
    ) -> Result<Attempt<Called>, StorageError> {
        let (call, _) = job.calls.at(0).expect("it has a call");
        self.telling.is_of(*id);
        let savepoint = self.keyspace.savepoint();
        let adopted =
            self.telling.before_call(&mut self.keyspace, &call).and_then(|()| self.keyspace.adopt(&prepared.change));
        if let Err(error) = adopted {
            self.telling.call_failed(&mut self.keyspace);
            return self.storage_failed(place, &call, error, savepoint);
        }
        self.keyspace.keep_since(savepoint);
        self.telling.call_ended(&mut self.keyspace, &prepared.told);
        answers.replies.extend_from_slice(&prepared.reply);
        self.calls.count(&call, None, false, prepared.duration_us, &mut answers.slow);
        Ok(Attempt::Done(Called::Answered))
    }

    /// The group failed that was to answer the call.
    pub(super) fn refuse_long_call(&mut self, text: &str, responder: &mut dyn Responder<Done>) {
        let Some(ready) = self.long_calls.take_ready() else { return };
        self.long_calls.is_over(&mut self.keyspace, &ready);
        self.refuse_long(&ready.call, text, responder);
    }

    /// None of them can be answered any more.
    pub(super) fn refuse_long_calls(&mut self, text: &str, responder: &mut dyn Responder<Done>) {
        for call in self.long_calls.give_up() {
            self.refuse_long(&call, text, responder);
        }
    }

    fn refuse_long(&mut self, LongCall { id, job, .. }: &LongCall, text: &str, responder: &mut dyn Responder<Done>) {
        self.upkeep.tickets_mut().is_over(id.number);
        responder.answer(*id, refused(job, text));
    }

    /// Between groups. When to look again; `None`: nothing is being prepared.
    pub(super) fn go_on_with_long_calls(&mut self, is_idle: bool) -> Result<Option<Duration>, StorageError> {
        // One that is not known yet may be the one that a writer has died of.
        if !self.waiters.are_all_known() {
            return Ok(None);
        }
        let Self { keyspace, calls, long_calls, upkeep, .. } = self;
        let Some(wait) = long_calls.look(keyspace, |job| calls.request(job)) else { return Ok(None) };
        let may_append = upkeep.may_append_much(keyspace)?;
        let is_served = long_calls.serve(keyspace, may_append, is_idle)?;
        Ok(Some(if is_served { Duration::ZERO } else { wait }))
    }
}
