//! Clients that wait for keys. Such a call goes to the writer by itself, and nothing behind it is handled before its end: the answer, or the
//! word that it was cancelled before there was one. The writer alone knows which it is.

use std::time::Instant;

use super::{KvService, Turn};
use crate::kv::commands::table::{self, Command};
use crate::kv::jobs::job::{Calls, Job, Kind, SlowCall, Unit};
use crate::kv::sessions::session::{Awaits, Session, WaitingCall};
use crate::kv::sessions::{pushes, slow_log};
use crate::kv::table::wait::{AFTER_TIMEOUT, Wait};
use crate::resp::encode;
use crate::server::{Effects, LaneId, Outbox, Step};
use crate::sys::clock;

impl KvService {
    /// A call that may wait. What came before it has been answered.
    pub(super) fn begin_waiting(
        &mut self,
        session: &mut Session,
        (command, lane): (&'static Command, LaneId),
        wait: &Wait,
        args: &[&[u8]],
        effects: &mut Effects,
    ) -> Turn {
        self.feed_monitors(session, command, args, None, effects);
        session.client.last_command.set(command.name);
        let admitted = session.admits(Unit::Alone);
        let mut calls = Calls::default();
        calls.push(table::number(command), admitted, args);
        // What is wrong with it the writer says, in the order of its arguments. Its time begins now, and not when it is run.
        let timeout = (wait.timeout)(args, self.worker.shared.clock.now_ms()).ok().flatten();
        session.command_ended();
        let rights = session.client.rights.get();
        session.awaits = Awaits::Waiting(Box::new(WaitingCall {
            row: table::number(command),
            rights,
            is_muted: admitted.is_muted,
            until: timeout.and_then(|timeout| clock::monotonic().checked_add(timeout)),
            arguments: args.len(),
            slow: self.times_each.then(|| slow_log::cut(command.name, args)),
        }));
        let job = Job::new(Kind::Wait(session.client.number), session.version, calls);
        Turn::Step(Step::Submit(lane, Job { rights, ..job }))
    }

    /// Its time is over, and nothing has come.
    pub(super) fn waited_in_vain(&mut self, session: &mut Session, out: &mut Outbox) {
        session.client.is_blocked.set(false);
        let Awaits::Waiting(call) = std::mem::replace(&mut session.awaits, Awaits::Request) else { return };
        self.tally.called(call.row, 1, 0, false);
        if let Some(args) = call.slow {
            let slow = SlowCall { started_us: clock::wall_us(), duration_us: 0, args };
            slow_log::remember(&mut self.worker, &session.client, slow);
        }
        if !call.is_muted {
            encode::encode(&AFTER_TIMEOUT, session.version, out.buffer());
        }
        self.settle();
    }
}

impl Session {
    /// Its call goes to another lane, as these calls say.
    pub(super) fn go_on_waiting(&mut self, call: Box<WaitingCall>, lane: LaneId, calls: Calls) -> Step<Job> {
        // Not those that its client has by now: the call was never looked at by them.
        let rights = call.rights;
        self.awaits = Awaits::Waiting(call);
        Step::Submit(lane, Job { rights, ..Job::new(Kind::Wait(self.client.number), self.version, calls) })
    }

    /// The writer has parked its call; until when it waits.
    pub(super) fn waits(&self, effects: &mut Effects) -> Option<Instant> {
        self.client.is_blocked.set(true);
        pushes::release(&self.client, effects);
        match &self.awaits {
            Awaits::Waiting(call) => call.until,
            _ => None,
        }
    }
}
