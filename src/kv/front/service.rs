//! The loop's half: bytes become requests, requests pass the gates, and what needs the keyspace becomes jobs.
//!
//! A pipeline's run of calls for one lane is one job. A small read that follows a write in the same pipeline rides with it: one
//! commit instead of two hops, and its reply is due only after that commit anyway. A large one would hold up everybody's commit.
//! What nobody else can see rides as well (`riding`): it is answered at once, and its reply waits for those before it.

mod denying;
mod executing;
mod hearing;
mod holding;
mod looking;
mod noticing;
mod point_lookup;
mod prefetching;
mod pushing;
mod riding;
mod served;
mod waiting;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::kv::cache::{Cache, Found};
use crate::kv::commands::table::{self, Command, Handler};
use crate::kv::errors;
use crate::kv::front::admission::{self, Admission, Hostile};
use crate::kv::front::monitor;
use crate::kv::front::slowlog;
use crate::kv::jobs::job::{Calls, Done, DoneOutcome, Job, Kind, Unit};
use crate::kv::jobs::{HEAVY, READ, WRITE};
use crate::kv::lanes::calls::event_of;
use crate::kv::metrics::tally::Tally;
use crate::kv::sessions::acl_log;
use crate::kv::sessions::acting;
use crate::kv::sessions::monitors;
use crate::kv::sessions::publishing;
use crate::kv::sessions::pushes;
use crate::kv::sessions::session::{Awaits, Outcome, Polled, Running, Session, SessionCall, Wait};
use crate::kv::sessions::slow_log;
use crate::kv::sessions::tracking;
use crate::kv::sessions::transaction::State;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::broken::{self, Variant};
use crate::kv::table::flags::Flags;
use crate::resp::encode;
use crate::resp::protocol_error::ProtocolError;
use crate::resp::reply::Reply;
use crate::resp::request::Parsed;
use crate::server::{Account, Effects, Excess, Input, Kept, LaneId, LogLimit, Outbox, Peer, Service, Slot, Step};
use crate::sys::clock;
use executing::TurnLength;
use prefetching::Prefetch;
use riding::{Run, reads_before_a_change, rides};
use served::NextRequest;
pub use served::ServedClient;

/// From this length on an argument is not copied into its job: the job gets the memory in which it was received, of its size.
const TAKEN_BYTES_MIN: usize = 1 << 20;
/// Who waits for the end of a pause looks again after this long at the latest.
const PAUSE_LOOK: Duration = Duration::from_secs(60);

pub struct KvService {
    worker: WorkerState,
    cache: Cache,
    /// What the cache knew of the keys of the call at hand.
    found: Found,
    tally: Tally,
    hit_run: Option<point_lookup::HitRun>,
    prefetch: prefetching::Prefetch,
    turn: TurnLength,
    /// Where what rides in a run is answered, before it goes to the run's riders. Empty in between.
    aside: Outbox,
    /// Some client watches by MONITOR, as of the bytes at hand: whoever has been told that it does sent what follows later.
    is_monitored: bool,
    /// The slow log wants calls that take next to no time, as of the same.
    times_each: bool,
    /// Somebody wants to hear of keys that were read and are not there, as of the same.
    tells_misses: bool,
}

/// What the handling of one request came to.
enum Turn {
    /// It is done, or part of the run.
    Consumed,
    /// It is part of the run but for its last argument, which is large: that is to be taken out of the input.
    LacksLast(usize),
    /// The run goes first; then this request again.
    AfterRun,
    /// It is done, and this is what the connection does next.
    Step(Step<Job>),
    /// It is not done: again after this.
    Hold(Step<Job>),
}

impl KvService {
    #[must_use]
    pub fn new(worker: WorkerState) -> KvService {
        let settings = &worker.shared.settings;
        let cache_bytes = settings.cache_bytes / settings.workers.max(1);
        let cache = Cache::new(cache_bytes, worker.shared.versions.clone(), worker.shared.memory);
        let tally = Tally::new(worker.statistics);
        KvService {
            worker,
            cache,
            found: Found::default(),
            tally,
            hit_run: None,
            prefetch: Prefetch::default(),
            turn: TurnLength::default(),
            aside: Outbox::default(),
            is_monitored: false,
            times_each: false,
            tells_misses: false,
        }
    }

    /// Requests until there is no whole one, or it is others' turn.
    fn turn(
        &mut self,
        served: &mut ServedClient,
        input: &mut Input,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Job> {
        let mut run: Option<Run> = None;
        self.prefetch.begin();
        self.turn.begin(out);
        while !self.turn.is_over(out) {
            let limits = served.limits(&self.worker);
            let ahead = self.prefetch.take(&mut served.parser, &limits).map(|length| Ok(Parsed::Complete(length)));
            let length = match ahead.unwrap_or_else(|| served.next_request(input, &limits)) {
                Ok(Parsed::Complete(length)) => length,
                Ok(Parsed::Empty(length)) => {
                    input.consume(length);
                    continue;
                }
                Ok(Parsed::NeedMore) | Err(_) if admission::begins_tls(input.bytes()) => {
                    holding::tell_of_hostile(&served.session.client, Hostile::Tls);
                    return Step::Close;
                }
                Ok(Parsed::NeedMore) => return served.session.submit(run).unwrap_or(Step::NeedInput),
                Err(error) => {
                    if let Some(step) = served.session.submit(run) {
                        served.next = NextRequest::Broken(error);
                        return step;
                    }
                    return self.give_up(served, &error, out);
                }
            };
            let database = served.session.database();
            self.prefetch.read_ahead(&served.parser, input.bytes(), length, database, &mut self.cache, &limits);
            let args: SmallVec<[&[u8]; 8]> = served.parser.args(input.bytes()).iter().collect();
            let turn = self.request(&mut served.session, &args, &mut run, out, effects);
            drop(args);
            match turn {
                Turn::Consumed => {
                    input.consume(length);
                    if run.is_none() {
                        pushes::put_behind(&served.session.client, out);
                    }
                }
                Turn::LacksLast(bytes) => {
                    let run = run.as_mut().expect("it is part of one");
                    // It ends where the request does, but for a line end.
                    let end = length - 2;
                    run.calls.add_last(input.take(length, end - bytes..end));
                }
                Turn::AfterRun => {
                    served.next = NextRequest::Held(length);
                    return served.session.submit(run).expect("a run goes first only if there is one");
                }
                Turn::Step(step) => {
                    input.consume(length);
                    return step;
                }
                Turn::Hold(step) => {
                    served.next = NextRequest::Held(length);
                    return step;
                }
            }
        }
        served.session.submit(run).unwrap_or(Step::Continue)
    }

    /// The last words to a peer that does not speak the protocol.
    fn give_up(&mut self, served: &ServedClient, error: &ProtocolError, out: &mut Outbox) -> Step<Job> {
        let text = format!("ERR {error}");
        static NOT_UNDERSTOOD: LogLimit = LogLimit::new();
        if let Some(left_out) = NOT_UNDERSTOOD.admit() {
            let peer = &served.session.client.address;
            tracing::info!(%peer, %error, left_out, "a client does not speak the protocol; closed");
        }
        self.worker.statistics.error_replied(&text);
        encode::error(&text, out.buffer());
        Step::Close
    }

    /// One request through the gates, and on to where it runs.
    fn request(
        &mut self,
        session: &mut Session,
        args: &[&[u8]],
        run: &mut Option<Run>,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Turn {
        let admission = admission::admit(session, &self.worker, args);
        if let Admission::Run(command) = admission {
            self.note_reads(session, command, args, effects);
        }
        if let Admission::Run(command) = admission
            && let Some(lane) = command.lane(args)
        {
            if let Handler::Look(look) = &command.handler
                && self.look(session, command, look, args, run.as_ref(), out, effects)
            {
                return Turn::Consumed;
            }
            return match &command.handler {
                // Nothing goes with it: what comes first is answered before, and what comes behind is not looked at.
                Handler::Wait(wait) if (wait.may)(args) => match run {
                    Some(_) => Turn::AfterRun,
                    None => self.begin_waiting(session, (command, lane), wait, args, effects),
                },
                _ => self.add_to_run(session, command, lane, args, run, effects),
            };
        }
        if let Admission::Run(command) = admission
            && command.flags.has(Flags::EXECUTES)
            && !self.is_monitored
            && let Some(lane) = session.transaction.rides_on(session.client.rights.get())
        {
            return self.execute_in_run(session, command, args, lane, run, out, effects);
        }
        match run {
            None => self.answer_here(session, admission, args, out, effects),
            Some(run) if admission.is_inert(session) => self.ride(session, admission, args, run, effects),
            Some(_) => Turn::AfterRun,
        }
    }

    /// A request that no lane has a part in, or not at once.
    fn answer_here(
        &mut self,
        session: &mut Session,
        admission: Admission,
        args: &[&[u8]],
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Turn {
        match admission {
            Admission::Hostile(what) => {
                holding::tell_of_hostile(&session.client, what);
                Turn::Step(Step::Close)
            }
            Admission::Refused(command, text) => self.refuse(session, command, args, text, out, effects),
            Admission::Denied(command, denied) => {
                let text = self.deny(session, command, denied, args);
                self.refuse(session, Some(command), args, text, out, effects)
            }
            Admission::Queue(command) => self.queue(session, command, args, out),
            Admission::Later(until_ms) => {
                session.client.is_blocked.set(true);
                let wait_ms = u64::try_from(until_ms - self.worker.shared.clock.now_ms()).unwrap_or(0);
                let wait = Duration::from_millis(wait_ms).min(PAUSE_LOOK);
                Turn::Hold(park(session, Some(clock::monotonic() + wait), Awaits::PauseEnd))
            }
            Admission::Run(command) => {
                session.client.last_command.set(command.name);
                // EXEC is shown behind the calls that it runs.
                let is_executing = command.flags.has(Flags::EXECUTES) && session.transaction.is_queuing();
                let step = self.run_here(session, command, args, false, out, effects);
                if !is_executing {
                    let out = (step != Some(Step::Close)).then_some(out);
                    self.feed_monitors(session, command, args, out, effects);
                }
                match step {
                    None => {
                        session.command_ended();
                        Turn::Consumed
                    }
                    Some(step) => Turn::Step(step),
                }
            }
        }
    }

    /// A call for a lane: part of the run, if it goes the same way.
    fn add_to_run(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        lane: LaneId,
        args: &[&[u8]],
        run: &mut Option<Run>,
        effects: &mut Effects,
    ) -> Turn {
        if let Some(run) = run {
            let bytes = args.iter().map(|arg| arg.len()).sum();
            if !run.has_room(lane, rides(command, args), 1, bytes) {
                return Turn::AfterRun;
            }
        }
        self.feed_monitors(session, command, args, None, effects);
        session.client.last_command.set(command.name);
        let run = run.get_or_insert_with(|| Run::on(lane, session.client.rights.get()));
        if let (READ, Handler::Look(look)) = (run.lane, &command.handler)
            && look.keys_to_keep(args).is_some()
        {
            self.cache.note(&self.found, &mut run.seen);
        }
        let (row, admitted) = (table::number(command), session.admits(Unit::Alone));
        session.command_ended();
        let last_bytes = args.last().map_or(0, |last| last.len());
        if last_bytes >= TAKEN_BYTES_MIN {
            run.calls.push_but_last(row, admitted, args);
            return Turn::LacksLast(last_bytes);
        }
        run.calls.push(row, admitted, args);
        Turn::Consumed
    }

    fn queue(&mut self, session: &mut Session, command: &'static Command, args: &[&[u8]], out: &mut Outbox) -> Turn {
        session.client.last_command.set(command.name);
        if let State::Queuing(queue) = &mut session.transaction.state {
            if queue.bytes_with(args) > self.worker.shared.settings.queued_bytes_max {
                session.transaction.fail();
                session.client.queued_bytes.set(0);
                self.reply(session, &Reply::Error(errors::TRANSACTION_TOO_LARGE.into()), out);
                session.command_ended();
                return Turn::Consumed;
            }
            queue.push(table::number(command), command.flags, command.lane(args), args, session.client.rights.get());
            session.client.queued.set(queue.count() as i64);
            session.client.queued_bytes.set(queue.bytes_kept());
        }
        self.reply(session, &Reply::Simple("QUEUED".into()), out);
        session.command_ended();
        Turn::Consumed
    }

    /// Runs a command on the loop. `None`: it is answered, go on.
    fn run_here(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        args: &[&[u8]],
        is_executing: bool,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Option<Step<Job>> {
        // INFO and its like see what came before it.
        self.settle();
        if is_executing && let Some(text) = self.deny_in_exec(session, command, args) {
            self.reply(session, &Reply::Error(text), out);
            return None;
        }
        let begun = clock::monotonic();
        let started_us = clock::wall_us();
        let outcome = match command.handler {
            Handler::Pure(handler) => Outcome::Reply(handler(args).unwrap_or_else(|error| error.into_reply())),
            Handler::Session(handler) => {
                handler(&mut SessionCall { session, worker: &mut self.worker, effects, is_executing }, args)
            }
            Handler::Read(_)
            | Handler::Look(_)
            | Handler::Write(_)
            | Handler::Either(_)
            | Handler::Wait(_)
            | Handler::Waiting(_)
            | Handler::Script(_)
            | Handler::Sources(_)
            | Handler::Users(_)
            | Handler::Container => Outcome::error(errors::INTERNAL),
        };
        let duration_us = u64::try_from(clock::monotonic().duration_since(begun).as_micros()).unwrap_or(u64::MAX);
        let is_error = matches!(&outcome, Outcome::Reply(Reply::Error(_)) | Outcome::ReplyAt(_, Reply::Error(_)));
        self.tally.called(table::number(command), 1, duration_us, is_error);
        self.turn.spent_us += duration_us;
        self.look_for_observers();
        acting::look(&mut self.worker, Some(&session.client), effects);
        self.worker.shared.latency.consider(event_of(command), duration_us);
        slowlog::consider(&mut self.worker, &session.client, command, args, started_us, duration_us);
        self.act(session, outcome, out, effects)
    }

    /// What a command on the loop came to. `None`: it is answered, go on.
    fn act(
        &mut self,
        session: &mut Session,
        outcome: Outcome,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Option<Step<Job>> {
        match outcome {
            Outcome::Reply(reply) => {
                self.reply(session, &reply, out);
                None
            }
            Outcome::Silent => None,
            Outcome::Pushes(bytes) => {
                out.append(bytes);
                None
            }
            Outcome::Close(reply) => {
                self.reply(session, &reply, out);
                Some(Step::Close)
            }
            Outcome::Submit(lane, job, awaits) => {
                if let Awaits::Run(_) = awaits {
                    session.command_ended();
                }
                session.awaits = awaits;
                Some(Step::Submit(lane, job))
            }
            Outcome::Execute(execution) => self.begin_executing(session, execution, out, effects),
            Outcome::Wait(wait) => {
                session.client.is_blocked.set(wait.is_blocking);
                Some(park(session, wait.until, Awaits::Event(wait)))
            }
            Outcome::ReplyAt(until, reply) => {
                Some(park(session, Some(until), Awaits::Event(Wait::until(until, reply))))
            }
        }
    }

    /// Asks what a command waits for. `None`: it is answered, go on.
    fn poll(
        &mut self,
        session: &mut Session,
        mut wait: Wait,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Result<Option<Step<Job>>, Wait> {
        let mut call = SessionCall { session, worker: &mut self.worker, effects, is_executing: false };
        match (wait.poll)(&mut call) {
            Polled::Pending(until) => {
                wait.until = until;
                Err(wait)
            }
            Polled::Ready(outcome) => {
                session.client.is_blocked.set(false);
                Ok(self.act(session, outcome, out, effects))
            }
        }
    }

    fn feed_monitors(
        &self,
        session: &Session,
        command: &Command,
        args: &[&[u8]],
        out: Option<&mut Outbox>,
        effects: &mut Effects,
    ) {
        if self.is_monitored {
            monitor::feed(&self.worker, &session.client, command, args, out, effects);
        }
    }

    fn reply(&self, session: &Session, mut reply: &Reply, out: &mut Outbox) {
        const TOO_LARGE: &Reply = &Reply::Error(Cow::Borrowed(errors::REPLY_TOO_LARGE));
        if reply.bytes_len() > self.worker.shared.settings.output_bytes_max {
            reply = TOO_LARGE;
        }
        if let Reply::Error(text) = reply {
            self.worker.statistics.error_replied(text);
        }
        if !session.is_muted() {
            encode::encode(reply, session.version, out.buffer());
        }
    }

    fn remember_slow_calls(&mut self, session: &Session, done: &mut Done) {
        for slow in done.slow.drain(..) {
            slow_log::remember(&mut self.worker, &session.client, slow);
        }
    }

    /// A lane has answered. `None`: the command is answered, go on.
    fn finish(
        &mut self,
        session: &mut Session,
        done: Done,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Option<Step<Job>> {
        match (std::mem::replace(&mut session.awaits, Awaits::Request), done.outcome) {
            (Awaits::Watch(mut watches), DoneOutcome::Watched(found)) => {
                for ((_, seen), found) in watches.iter_mut().zip(found) {
                    seen.found = found;
                }
                session.watch(watches);
                self.reply(session, &Reply::Ok, out);
                None
            }
            (Awaits::Exec(execution), DoneOutcome::NotExecuted) => {
                self.reply(session, &Reply::NullArray, out);
                self.show_exec(session, &execution, out, effects);
                None
            }
            (Awaits::Exec(mut execution), DoneOutcome::Executed) => {
                execution.answered(done.replies, done.ends);
                self.begin_executing(session, execution, out, effects)
            }
            // A reader has found nothing for it, or could not read so much.
            (Awaits::Waiting(call), DoneOutcome::Waits(calls)) => Some(session.go_on_waiting(call, WRITE, calls)),
            (Awaits::Waiting(call), DoneOutcome::Reroute(calls)) => Some(session.go_on_waiting(call, HEAVY, calls)),
            (Awaits::Waiting(_), _) => {
                session.client.is_blocked.set(false);
                out.append(done.replies);
                Some(Step::NeedInput)
            }
            (Awaits::Run(mut running), outcome) => {
                running.riders.merge(done.replies, &done.ends, outcome == DoneOutcome::Refused, out);
                Some(match outcome {
                    DoneOutcome::Cut(calls) => {
                        let reads = if running.lane == WRITE { READ } else { running.lane };
                        session.go_on_with_run(running, reads, calls)
                    }
                    DoneOutcome::Reroute(calls) => session.go_on_with_run(running, HEAVY, calls),
                    _ if !running.rest.is_empty() => session.go_on_with_run(running, READ, Calls::default()),
                    _ => {
                        running.riders.finish(out);
                        Step::NeedInput
                    }
                })
            }
            // An error instead of anything else.
            (_, _) => {
                if !session.is_muted() {
                    out.append(done.replies);
                }
                None
            }
        }
    }

    /// After a command that took a detour: on to the next request.
    fn went_on(&mut self, session: &mut Session, step: Option<Step<Job>>) -> Step<Job> {
        self.settle();
        step.unwrap_or_else(|| {
            session.command_ended();
            Step::NeedInput
        })
    }
}

impl Session {
    /// Sends the run, if there is one, on its way.
    fn submit(&mut self, run: Option<Run>) -> Option<Step<Job>> {
        let Run { lane, rights, calls, seen, riders } = run?;
        let wants_ends = riders.are_waiting();
        self.awaits = Awaits::Run(Running { riders, ..Running::on(lane, rights) });
        Some(Step::Submit(lane, Job { seen, wants_ends, rights, ..Job::new(Kind::Run, self.version, calls) }))
    }

    /// What is left of a run that was cut: its reads up to the next change go to this lane, a change and all behind it to the writer.
    fn go_on_with_run(&mut self, mut running: Running, reads: LaneId, mut calls: Calls) -> Step<Job> {
        calls.append(&std::mem::take(&mut running.rest));
        let count = reads_before_a_change(&calls);
        running.lane = if count == 0 { WRITE } else { reads };
        if (1..calls.len()).contains(&count) {
            running.rest = calls.after(count);
            calls = calls.before(count);
        }
        let (wants_ends, rights) = (running.riders.are_waiting(), running.rights);
        self.awaits = Awaits::RunTurn(running, Job { wants_ends, rights, ..Job::new(Kind::Run, self.version, calls) });
        // Others come first, and a peer that reads takes the replies.
        Step::Continue
    }
}

impl KvService {
    fn received(
        &mut self,
        served: &mut ServedClient,
        input: &mut Input,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Job> {
        let client = &served.session.client;
        client.active_ms.set(self.worker.clock.now_ms());
        client.kept.set(Kept { unread: input.len(), ..client.kept.get() });
        self.look_for_observers();
        // Whoever sends something after a change of the users was answered finds it done.
        acting::look(&mut self.worker, Some(client), effects);
        self.turn.begin(out);
        match std::mem::replace(&mut served.session.awaits, Awaits::Request) {
            Awaits::RunTurn(running, job) => {
                let lane = running.lane;
                served.session.awaits = Awaits::Run(running);
                return Step::Submit(lane, job);
            }
            // An EXEC had its turn, and goes on; what the client has sent since waits for its end.
            Awaits::ExecTurn(execution) => {
                let step = self.go_on_executing(&mut served.session, execution, out, effects);
                self.settle();
                if step.is_none() {
                    served.session.command_ended();
                }
                return step.unwrap_or(Step::Continue);
            }
            other => served.session.awaits = other,
        }
        let step = self.turn(served, input, out, effects);
        self.settle();
        if !matches!(served.next, NextRequest::Held(_)) {
            served.parser.tidy();
        }
        step
    }

    fn completed(
        &mut self,
        served: &mut ServedClient,
        mut done: Done,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Job> {
        let session = &mut served.session;
        session.client.active_ms.set(self.worker.clock.now_ms());
        self.look_for_observers();
        acting::look(&mut self.worker, Some(&session.client), effects);
        self.turn.begin(out);
        self.remember_slow_calls(session, &mut done);
        for denial in done.denied.drain(..) {
            acl_log::remember(&mut self.worker, &session.client, denial);
        }
        self.cache.learn(&done.learned);
        if broken::is(Variant::TrackedAfterReading) {
            tracking::note_late(&mut self.worker, &session.client);
        }
        self.tell_misses(&done.missed, effects);
        let step = self.finish(session, done, out, effects);
        self.went_on(session, step)
    }

    fn resumed(&mut self, served: &mut ServedClient, out: &mut Outbox, effects: &mut Effects) -> Step<Job> {
        let session = &mut served.session;
        self.look_for_observers();
        acting::look(&mut self.worker, Some(&session.client), effects);
        self.turn.begin(out);
        let step = match std::mem::replace(&mut session.awaits, Awaits::Request) {
            Awaits::Event(wait) => match self.poll(session, wait, out, effects) {
                Ok(step) => step,
                Err(wait) => return park(session, wait.until, Awaits::Event(wait)),
            },
            Awaits::ExecEvent(execution, wait) => match self.poll(session, wait, out, effects) {
                Ok(None) => self.go_on_executing(session, execution, out, effects),
                Ok(step) => step,
                Err(wait) => return park(session, wait.until, Awaits::ExecEvent(execution, wait)),
            },
            // The held request is looked at again.
            Awaits::PauseEnd => {
                session.client.is_blocked.set(false);
                return Step::NeedInput;
            }
            Awaits::Request
            | Awaits::Run(_)
            | Awaits::RunTurn(..)
            | Awaits::Watch(_)
            | Awaits::Exec(_)
            | Awaits::ExecTurn(_)
            | Awaits::Waiting(_) => unreachable!("only a parked connection is resumed"),
        };
        self.went_on(session, step)
    }
}

impl Service for KvService {
    type Session = ServedClient;
    type Job = Job;
    type Done = Done;

    fn open(&mut self, peer: Peer, effects: &mut Effects) -> ServedClient {
        self.welcome(&peer, effects)
    }

    fn receive(
        &mut self,
        served: &mut ServedClient,
        input: &mut Input,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Job> {
        pushes::hold(&served.session.client);
        let step = self.received(served, input, out, effects);
        served.session.let_pushes_go(&step, out);
        served.session.or_close(step)
    }

    fn complete(
        &mut self,
        served: &mut ServedClient,
        done: Done,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Job> {
        pushes::hold(&served.session.client);
        let step = self.completed(served, done, out, effects);
        served.session.let_pushes_go(&step, out);
        served.session.or_close(step)
    }

    fn resume(&mut self, served: &mut ServedClient, out: &mut Outbox, effects: &mut Effects) -> Step<Job> {
        pushes::hold(&served.session.client);
        let step = self.resumed(served, out, effects);
        served.session.let_pushes_go(&step, out);
        served.session.or_close(step)
    }

    fn parked(&mut self, served: &mut ServedClient, effects: &mut Effects) -> Option<Instant> {
        served.session.waits(effects)
    }

    fn cancelled(&mut self, served: &mut ServedClient, out: &mut Outbox, _effects: &mut Effects) -> Step<Job> {
        self.waited_in_vain(&mut served.session, out);
        served.session.let_pushes_go(&Step::NeedInput, out);
        Step::NeedInput
    }

    fn account(&mut self, served: &mut ServedClient, kept: &Kept) -> Account {
        holding::account(&self.worker, served, kept)
    }

    fn overrun(&mut self, served: &mut ServedClient, excess: Excess) {
        holding::tell(&self.worker, &served.session.client, excess);
    }

    fn close(&mut self, served: ServedClient, effects: &mut Effects) {
        let client = &served.session.client;
        monitors::end(&mut self.worker, client);
        publishing::unsubscribe_from_all(&mut self.worker, client);
        self.worker.clients.remove(&client.number);
        tracking::forget(&mut self.worker, client, effects);
        self.worker.gathers.forget(client.id, effects);
    }

    fn hear(&mut self, from: Slot, message: &[u8], effects: &mut Effects) {
        // Nobody is told of what it may not hear any more.
        acting::look(&mut self.worker, None, effects);
        self.hear_message(from, message, effects);
    }

    fn notice(&mut self, _from: LaneId, notice: &[u8], effects: &mut Effects) {
        acting::look(&mut self.worker, None, effects);
        self.hear_news(notice, effects);
    }

    fn missed_notices(&mut self, _from: LaneId, effects: &mut Effects) {
        self.news_missed(effects);
    }

    fn lost(&mut self, from: Slot, effects: &mut Effects) {
        tracking::worker_gone(&mut self.worker, from, effects);
        self.worker.gathers.lost(from, effects);
        publishing::lost(&mut self.worker, from, effects);
    }

    fn unsent(&mut self, to: Slot, effects: &mut Effects) {
        self.worker.gathers.lost(to, effects);
        publishing::unsent(&mut self.worker, to);
        tracking::unsent(&mut self.worker, to);
    }

    fn tick(&mut self, effects: &mut Effects) {
        acting::look(&mut self.worker, None, effects);
        self.look_around(effects);
    }
}

fn park(session: &mut Session, until: Option<Instant>, awaits: Awaits) -> Step<Job> {
    session.awaits = awaits;
    Step::Park(until)
}
