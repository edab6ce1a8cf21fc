//! EXEC on the loop, and how long one connection's turn is: long work goes on in the next round, when others had theirs.

use std::time::Duration;

use super::KvService;
use crate::kv::commands::table;
use crate::kv::jobs::job::Job;
use crate::kv::sessions::session::{Awaits, Session};
use crate::kv::sessions::transaction::{Execution, Next};
use crate::kv::shared::settings::REQUESTS_PER_TURN;
use crate::kv::shared::turns;
use crate::resp::encode;
use crate::server::{Effects, Outbox, Step};

/// Reply bytes of one turn at which it ends, whatever was unsent before: others come first then.
const TURN_BYTES_MAX: usize = 256 << 10;
/// Time on the loop at which a turn ends.
const TURN_TIME_MAX: Duration = Duration::from_millis(2);

/// What a connection has had of its turn: a loop never serves one for long while others wait.
#[derive(Default)]
pub(super) struct TurnLength {
    requests: usize,
    /// Reply bytes that waited when it began.
    unsent: usize,
    /// Of the commands that ran on the loop, and of passing packed elements: what else the cache answers takes next to nothing.
    pub(super) spent_us: u64,
    /// Reply bytes that wait for the run that they ride in.
    pub(super) riding: usize,
}

impl TurnLength {
    pub(super) fn begin(&mut self, out: &Outbox) {
        *self = TurnLength { unsent: out.len(), ..TurnLength::default() };
    }

    /// Counts a request, or says that it is others' turn.
    pub(super) fn is_over(&mut self, out: &Outbox) -> bool {
        self.requests += 1;
        let bytes = out.len() - self.unsent + self.riding;
        let spent = Duration::from_micros(self.spent_us);
        self.requests > REQUESTS_PER_TURN || bytes >= TURN_BYTES_MAX || turns::is_over(spent, TURN_TIME_MAX)
    }
}

impl KvService {
    pub(super) fn begin_executing(
        &mut self,
        session: &mut Session,
        mut execution: Box<Execution>,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Option<Step<Job>> {
        if !session.is_muted() {
            encode::array_header(execution.len(), out.buffer());
            if let Some(replies) = execution.take_whole(session.version) {
                out.append(replies);
            }
        }
        self.go_on_executing(session, execution, out, effects)
    }

    /// The calls of an EXEC in order, as many as one turn allows: those of the lane have their replies, the others run here. `None`:
    /// all are answered.
    pub(super) fn go_on_executing(
        &mut self,
        session: &mut Session,
        mut execution: Box<Execution>,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Option<Step<Job>> {
        loop {
            if self.turn.is_over(out) {
                session.awaits = Awaits::ExecTurn(execution);
                return Some(Step::Continue);
            }
            let step = match execution.take_next() {
                None => break,
                Some(Next::Lane(shown, replies)) => {
                    if let Some(call) = shown {
                        self.feed_monitors(session, call.command(), &call.args, Some(out), effects);
                    }
                    replies.take(session.version, session.is_muted(), out.buffer());
                    continue;
                }
                Some(Next::Own(call)) => {
                    let step = self.run_here(session, call.command(), &call.args, true, out, effects);
                    if step.is_none() {
                        self.feed_monitors(session, call.command(), &call.args, Some(out), effects);
                    }
                    step
                }
            };
            match step {
                None => {}
                Some(Step::Park(until)) => {
                    let Awaits::Event(wait) = std::mem::replace(&mut session.awaits, Awaits::Request) else {
                        unreachable!("a parked command has said what it waits for")
                    };
                    session.awaits = Awaits::ExecEvent(execution, wait);
                    return Some(Step::Park(until));
                }
                // SHUTDOWN and its like: nothing comes after them.
                Some(step) => return Some(step),
            }
        }
        self.show_exec(session, &execution, out, effects);
        None
    }

    pub(super) fn show_exec(&self, session: &Session, execution: &Execution, out: &mut Outbox, effects: &mut Effects) {
        let exec = table::lookup(&execution.name).expect("it was found by that name");
        self.feed_monitors(session, exec, &[&execution.name], Some(out), effects);
    }
}
