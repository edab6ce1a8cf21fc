//! A run under construction, and what rides in it: calls that no lane has a part in, and small transactions.

use super::{KvService, Turn};
use crate::kv::cache::Seen;
use crate::kv::commands::table::{self, Command, Handler};
use crate::kv::front::admission::Admission;
use crate::kv::jobs::WRITE;
use crate::kv::jobs::job::{Calls, Unit};
use crate::kv::sessions::riders::{PieceKind, Riders};
use crate::kv::sessions::session::Session;
use crate::kv::sessions::transaction::{Queue, State};
use crate::kv::shared::settings::{JOB_BYTES_MAX, JOB_CALLS_MAX, RIDING_ARGUMENTS_MAX};
use crate::kv::table::flags::Flags;
use crate::kv::users::Rights;
use crate::resp::encode;
use crate::server::{Effects, LaneId, Outbox};

/// A job under construction.
pub(super) struct Run {
    pub(super) lane: LaneId,
    /// By whose rights they were admitted.
    pub(super) rights: Rights,
    pub(super) calls: Calls,
    pub(super) seen: Seen,
    pub(super) riders: Riders,
}

impl Run {
    pub(super) fn on(lane: LaneId, rights: Rights) -> Run {
        Run { lane, rights, calls: Calls::default(), seen: Seen::default(), riders: Riders::default() }
    }

    /// Whether more calls, which would run on this lane, may be a part of it; `goes_along`: with changes, too.
    pub(super) fn has_room(&self, lane: LaneId, goes_along: bool, calls: usize, bytes: usize) -> bool {
        // A large call is the only one of its job: the rest of a run that is cut goes to its lane again, each time that it is.
        let is_full = self.calls.len() + calls > JOB_CALLS_MAX || self.calls.bytes_len() + bytes >= JOB_BYTES_MAX;
        !is_full && (self.lane == lane || (self.lane == WRITE && goes_along))
    }
}

impl KvService {
    /// Answers what nobody else can see. The reply waits for those before it.
    pub(super) fn ride(
        &mut self,
        session: &mut Session,
        admission: Admission,
        args: &[&[u8]],
        run: &mut Run,
        effects: &mut Effects,
    ) -> Turn {
        let mut aside = std::mem::take(&mut self.aside);
        let turn = self.answer_here(session, admission, args, &mut aside, effects);
        self.put(run, PieceKind::Alone, &mut aside);
        self.aside = aside;
        turn
    }

    /// EXEC of a small transaction, whose calls for a lane, if it has any, become a unit of the run.
    #[expect(clippy::too_many_arguments, reason = "what a request is made of")]
    pub(super) fn execute_in_run(
        &mut self,
        session: &mut Session,
        exec: &'static Command,
        args: &[&[u8]],
        lane: Option<LaneId>,
        run: &mut Option<Run>,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Turn {
        let State::Queuing(queue) = &session.transaction.state else { unreachable!("it rides, so it is queued") };
        let (run, lane) = match (run, lane) {
            // The loop alone has it, and nothing goes before it.
            (None, None) => return self.answer_here(session, Admission::Run(exec), args, out, effects),
            (Some(run), None) => (run, None),
            (run, Some(lane)) => {
                let goes_along = queue.goes_along_with_changes();
                let has_room = |run: &Run| run.has_room(lane, goes_along, queue.count(), queue.bytes_with(&[]));
                if run.as_ref().is_some_and(|run| !has_room(run)) {
                    return Turn::AfterRun;
                }
                (run.get_or_insert_with(|| Run::on(lane, session.client.rights.get())), Some(lane))
            }
        };
        let (State::Queuing(queue), _) = session.end_transaction() else { unreachable!("looked at above") };
        session.client.last_command.set(exec.name);
        self.tally.called(table::number(exec), 1, 0, false);
        self.add_transaction(session, &queue, lane.is_some(), run, effects);
        session.command_ended();
        Turn::Consumed
    }

    fn add_transaction(
        &mut self,
        session: &mut Session,
        queue: &Queue,
        has_lane: bool,
        run: &mut Run,
        effects: &mut Effects,
    ) {
        let mut aside = std::mem::take(&mut self.aside);
        let mut kind = if has_lane { PieceKind::BeginsTransaction } else { PieceKind::Alone };
        if !session.is_muted() {
            encode::array_header(queue.count(), aside.buffer());
        }
        let mut unit = Unit::Begins;
        for (is_lanes, call) in queue.calls() {
            if is_lanes {
                self.put(run, kind, &mut aside);
                kind = PieceKind::InTransaction;
                run.calls.push(call.row, session.admits(unit), &call.args);
                unit = Unit::GoesOn;
            } else {
                let step = self.run_here(session, call.command(), &call.args, true, &mut aside, effects);
                debug_assert!(step.is_none(), "what is inert is answered at once");
            }
        }
        self.put(run, kind, &mut aside);
        self.aside = aside;
    }

    /// What was answered becomes a rider of the run.
    fn put(&mut self, run: &mut Run, kind: PieceKind, aside: &mut Outbox) {
        let replies = aside.buffer();
        self.turn.riding += replies.len();
        run.riders.add(run.calls.len(), kind, replies);
        replies.clear();
    }
}

/// How many calls come before the first unit that changes anything.
pub(super) fn reads_before_a_change(calls: &Calls) -> usize {
    let mut unit = 0;
    for (number, call) in calls.iter().enumerate() {
        if call.unit != Unit::GoesOn {
            unit = number;
        }
        if call.command().changes(&call.args) {
            return unit;
        }
    }
    calls.len()
}

/// True for a read that may go along with the changes before it. What turns out to be large there is cut off after all.
pub(super) fn rides(command: &Command, args: &[&[u8]]) -> bool {
    let is_light = match command.handler {
        Handler::Look(_) => true,
        Handler::Read(_) => command.flags.has(Flags::FAST),
        _ => false,
    };
    is_light && args.len() <= RIDING_ARGUMENTS_MAX
}
