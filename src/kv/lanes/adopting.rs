//! Answering calls that were prepared, within a group of their own or before the calls of others; and what goes on for them between groups.

use std::time::Duration;

use crate::kv::errors;
use crate::kv::jobs::job::{Call, Done};
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
        let answered = match self.long_calls.decide(&ready, self.keyspace.now_ms()) {
            Decision::Again => {
                self.long_calls.again(&mut self.keyspace, ready);
                return Ok(Attempt::Done(()));
            }
            decision => self.run_long_call(place, &ready.call, &decision, left_out, &mut answers),
        };
        let bounded = match answered {
            Ok(Attempt::Done(())) => self.bound_batch(place, left_out),
            Ok(Attempt::Spoiled(spoiled)) => Ok(Some(spoiled)),
            Err(error) => Err(error),
        };
        self.reply_bytes += answers.replies.len();
        self.served.push(ServedCall::of_long(&ready.call, answers));
        self.long_calls.answered(ready);
        Ok(bounded?.map_or(Attempt::Done(()), Attempt::Spoiled))
    }

    fn run_long_call(
        &mut self,
        place: Place,
        long_call: &LongCall,
        decision: &Decision<'_>,
        left_out: &LeftOut,
        answers: &mut Answers,
    ) -> Result<Attempt<()>, StorageError> {
        let LongCall { id, job, .. } = long_call;
        let (call, _) = job.calls.at(0).expect("it has a call");
        self.telling.is_of(*id);
        let called = match decision {
            _ if left_out.call(place).or_else(|| left_out.job(LONG_CALLS)).is_some() => {
                let text = left_out.call(place).or_else(|| left_out.job(LONG_CALLS));
                Attempt::Done(Called::Refused(text.cloned().unwrap_or(errors::INTERNAL.into())))
            }
            Decision::Adopt(prepared) => self.adopt(place, &call, prepared, answers)?,
            Decision::Refuse => Attempt::Done(Called::Refused(errors::INTERNAL.into())),
            Decision::Run | Decision::Again => {
                let answer = answers.next(&self.calls, job, &call, None);
                self.call(place, &call, answer)?
            }
        };
        match called {
            Attempt::Done(Called::Answered) => answers.end(&call),
            Attempt::Done(Called::Refused(text)) => answers.fail(&call, &text),
            Attempt::Done(Called::TooHeavy | Called::TakesLong | Called::Parked) => {
                answers.fail(&call, errors::INTERNAL);
            }
            Attempt::Spoiled(spoiled) => return Ok(Attempt::Spoiled(spoiled)),
        }
        Ok(Attempt::Done(()))
    }

    /// What was prepared becomes the group's, as if the call had run now.
    fn adopt(
        &mut self,
        place: Place,
        call: &Call<'_>,
        prepared: &PreparedCall,
        answers: &mut Answers,
    ) -> Result<Attempt<Called>, StorageError> {
        let savepoint = self.keyspace.savepoint();
        let adopted =
            self.telling.before_call(&mut self.keyspace, call).and_then(|()| self.keyspace.adopt(&prepared.change));
        if let Err(error) = adopted {
            self.telling.call_failed(&mut self.keyspace);
            return self.storage_failed(place, call, error, savepoint);
        }
        self.keyspace.keep_since(savepoint);
        self.telling.call_ended(&mut self.keyspace, &prepared.told);
        answers.replies.extend_from_slice(&prepared.reply);
        self.calls.count(call, None, false, prepared.duration_us, &mut answers.slow);
        Ok(Attempt::Done(Called::Answered))
    }

    /// The group failed that was to answer the call.
    pub(super) fn refuse_long_call(&mut self, text: &str, responder: &mut dyn Responder<Done>) {
        let Some(ready) = self.long_calls.take_ready() else { return };
        self.long_calls.is_over(&mut self.keyspace, &ready);
        let LongCall { id, job, .. } = &ready.call;
        self.upkeep.tickets_mut().is_over(id.number);
        responder.answer(*id, refused(job, text));
    }

    /// Between groups. When to look again; `None`: nothing is being prepared.
    pub(super) fn go_on_with_long_calls(&mut self, is_idle: bool) -> Result<Option<Duration>, StorageError> {
        let Self { keyspace, calls, long_calls, upkeep, .. } = self;
        let Some(wait) = long_calls.look(keyspace, |job| calls.request(job)) else { return Ok(None) };
        let Some(time) = long_calls.slice(is_idle) else { return Ok(Some(wait)) };
        if !upkeep.may_append_much(keyspace)? {
            return Ok(Some(wait));
        }
        let now_ms = calls.shared.clock.now_ms();
        long_calls.serve(keyspace, now_ms, time)?;
        Ok(Some(Duration::ZERO))
    }
}
