//! Runs one call on a keyspace, for every lane alike: the database, the handler, the count, the slow log. A panic of a
//! handler ends here.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::kv::cache::{Learning, Seen, asked};
use crate::kv::call::{
    Class, Classes, ELEMENT_WEIGHT, Event as KeyEvent, Events, Notifications, ReadCall, ReadResult, UserRows, Waited,
    WaitingCalls, WriteCall,
};
use crate::kv::commands::lookup;
use crate::kv::commands::permissions::vocabulary;
use crate::kv::commands::table::{Command, Either, Handler, Wait};
use crate::kv::errors::{self, CommandError};
use crate::kv::jobs::job::{Call, Calls as JobCalls, Job, Kind, SlowCall, Unit};
use crate::kv::lanes::preparing::Request;
use crate::kv::metrics::statistics::{Counted, Statistics, Totals};
use crate::kv::metrics::tally::Tally;
use crate::kv::sessions::slow_log;
use crate::kv::shared::Shared;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::latency::Event;
use crate::kv::shared::running_scripts::ScriptLane;
use crate::kv::shared::runtime::{Knob, SPARSE_SKETCH_BYTES_MAX};
use crate::kv::shared::settings::LIGHT_BYTES_MAX;
use crate::kv::shared::users_view::UsersView;
use crate::kv::shared::versions::Versions;
use crate::kv::sources::Sources;
use crate::kv::table::flags::Flags;
use crate::kv::table::look::{Answer as LookAnswer, GATHERED_BYTES_MAX, Look, Reads, Said, Shape, is_miss};
use crate::kv::users::{Context, Denial, Rights, User};
use crate::resp::{ReplyWriter, TooLarge, Version, encode};
use crate::server::{ExecutorContext, Scoreboard};
use crate::storage::{Entry, Keyspace, Kind as ValueKind, Packed, StorageError};
use crate::sys::clock;

pub struct Calls {
    pub shared: Arc<Shared>,
    pub statistics: Statistics,
    scoreboard: Scoreboard,
    tally: Tally,
    /// When the last call ended, which is when the next one begins.
    ended: Instant,
    /// Of which events somebody wants to hear, and what the last call told.
    wanted: Classes,
    told: Vec<KeyEvent>,
    /// As of the begin of the batch.
    sparse_sketch_bytes_max: u64,
    /// `None` while a script of them runs.
    pub(super) sources: Option<Box<Sources>>,
    /// Whose scripts these are.
    pub(super) script_lane: ScriptLane,
    /// The version of the file's sources before the present view was begun: it has these, or newer ones.
    sources_version: u64,
    users: UsersView,
    /// By whose rights the last call ran.
    rights: Rights,
    user: Arc<User>,
}

/// Slow calls of one job that are told of, at least.
const SLOW_CALLS_MAX: usize = 256;
/// What the replies of an EXEC leave for the errors in place of others: a value of the largest size has room nevertheless, since the
/// output limit is at least 64 KiB larger.
const LEFT_FOR_ERRORS_BYTES: usize = 32 << 10;
/// Replies up to this are small.
const SMALL_BYTES: usize = 128;

/// What became of a call.
pub enum Ran {
    /// The answer is written.
    Answered,
    /// The answer is written, and it is an error: what the call did, if anything, has to be undone.
    Refused,
    /// The storage failed: in a group of changes what the call did has to be undone, or all of the group where the disk failed
    /// (`StorageError::is_of_the_call`).
    Failed(StorageError),
    /// The handler panicked: what it did has to be undone.
    Panicked,
    /// It was not run: a read of more than it may read here.
    TooHeavy,
    /// It was not run: a change that others would wait for.
    TakesLong,
    /// It waits. What it has changed stands only if `keeps_changes`.
    Parked { keeps_changes: bool },
    /// A read that is to wait, with these arguments.
    Waits(Vec<Vec<u8>>),
}

/// How much a read may read here; `None`: all that there is.
pub type Weight = Option<u64>;

/// How a call is to be answered, and where.
pub struct Answer<'a> {
    pub version: Version,
    pub weight: Weight,
    /// What the reply may have.
    pub bytes_max: usize,
    /// The replies of the job: this one goes behind them. A call that is not answered leaves nothing here.
    pub replies: &'a mut Vec<u8>,
    pub slow: &'a mut Vec<SlowCall>,
    /// By whose rights it runs, and where it is said that they are not enough.
    pub rights: Rights,
    pub denied: &'a mut Vec<Denial>,
    /// Whether the call may wait. Else what waits is answered that there is nothing.
    pub may_wait: bool,
    /// It has waited, and is run again.
    pub is_again: bool,
    /// A script calls it.
    pub is_scripted: bool,
}

/// What the calls of a job came to, one behind the other.
#[derive(Default)]
pub struct Answers {
    pub replies: Vec<u8>,
    /// Where each reply ends.
    pub ends: Vec<u64>,
    pub slow: Vec<SlowCall>,
    /// Keys that were read and are not there, with their databases.
    pub missed: Vec<(u8, Vec<u8>)>,
    pub denied: Vec<Denial>,
    /// The next call is too much for this lane.
    pub is_heavy: bool,
    /// The call waits, as this one.
    pub waits: Option<JobCalls>,
    /// Where the transaction at hand begins in `replies`.
    pub begun: usize,
}

impl Answers {
    /// For the job's next call.
    pub fn next<'a>(&'a mut self, calls: &Calls, job: &Job, call: &Call<'_>, weight: Weight) -> Answer<'a> {
        if call.unit == Unit::Begins {
            self.begun = self.replies.len();
        }
        let bytes_max = calls.answer_bytes_max(call, self.replies.len() - self.begun);
        let may_wait = matches!(job.kind, Kind::Wait(_));
        let Answers { replies, slow, denied, .. } = self;
        Answer {
            version: job.version,
            weight,
            bytes_max,
            replies,
            slow,
            rights: job.rights,
            denied,
            may_wait,
            is_again: false,
            is_scripted: false,
        }
    }

    /// For a call that waits and is run again.
    pub fn waiting<'a>(&'a mut self, calls: &Calls, version: Version, rights: Rights, call: &Call<'_>) -> Answer<'a> {
        let bytes_max = calls.answer_bytes_max(call, 0);
        let Answers { replies, slow, denied, .. } = self;
        Answer {
            version,
            weight: None,
            bytes_max,
            replies,
            slow,
            rights,
            denied,
            may_wait: true,
            is_again: true,
            is_scripted: false,
        }
    }

    /// How far they have come, to go back to.
    #[must_use]
    pub fn place(&self) -> [usize; 5] {
        [self.replies.len(), self.ends.len(), self.slow.len(), self.missed.len(), self.denied.len()]
    }

    pub fn go_back(&mut self, [replies, ends, slow, missed, denied]: [usize; 5]) {
        self.denied.truncate(denied);
        self.missed.truncate(missed);
        self.replies.truncate(replies);
        self.ends.truncate(ends);
        self.slow.truncate(slow);
    }

    /// The call is answered. What nobody is to get goes again.
    pub fn end(&mut self, call: &Call<'_>) {
        if call.is_muted {
            self.replies.truncate(self.ends.last().map_or(0, |end| *end as usize));
        }
        self.ends.push(self.replies.len() as u64);
    }

    /// The call is answered with this error.
    pub fn fail(&mut self, call: &Call<'_>, text: &str) {
        encode::error(text, &mut self.replies);
        self.end(call);
    }
}

impl Calls {
    #[must_use]
    pub fn new(shared: Arc<Shared>, context: &ExecutorContext, script_lane: ScriptLane) -> Calls {
        let statistics = Statistics::new(context.scoreboard, context.slot);
        Calls {
            shared,
            statistics,
            scoreboard: context.scoreboard,
            tally: Tally::new(statistics),
            ended: clock::monotonic(),
            wanted: Classes::NONE,
            told: Vec::new(),
            sparse_sketch_bytes_max: SPARSE_SKETCH_BYTES_MAX,
            sources: None,
            script_lane,
            sources_version: 0,
            users: UsersView::new(vocabulary()),
            rights: Rights::default(),
            user: Arc::new(User::default_user(vocabulary())),
        }
    }

    /// A batch begins. Each call's time counts from the end of the one before.
    pub fn begin(&mut self) {
        self.ended = clock::monotonic();
        self.sparse_sketch_bytes_max = self.shared.runtime.read(Knob::SparseSketchBytesMax);
        if self.users.look(&self.shared) {
            self.act_by(self.rights);
        }
    }

    fn act_by(&mut self, rights: Rights) {
        self.rights = rights;
        self.user = match self.users.users().of_id(rights.user) {
            Some(user) => Arc::clone(user),
            // What the service does for itself.
            None if rights == Rights::default() => Arc::new(User::default_user(vocabulary())),
            None => User::nobody(),
        };
    }

    /// By whose rights the call runs. It was admitted by them, but if the users have changed since, it is looked at again: one that waited, or
    /// was queued, or is on its way, is not run by rights that are taken away. `None`: it is answered with the error.
    pub(super) fn admit(&mut self, call: &Call<'_>, answer: &mut Answer<'_>) -> Option<Arc<User>> {
        if answer.rights != self.rights {
            self.act_by(answer.rights);
        }
        let version = answer.rights.version;
        if version != 0 && version != self.users.version() {
            return self.admit_again(call, answer);
        }
        Some(Arc::clone(&self.user))
    }

    #[cold]
    fn admit_again(&mut self, call: &Call<'_>, answer: &mut Answer<'_>) -> Option<Arc<User>> {
        let user = Arc::clone(&self.user);
        let Err(denied) = user.check(call.command(), &call.args) else { return Some(user) };
        let name = call.command().name;
        let (context, text) = match call.unit {
            Unit::Alone => (Context::TopLevel, denied.text(&user.name, name)),
            Unit::Begins | Unit::GoesOn => (Context::Multi, denied.text_at_exec().into()),
        };
        encode::error(&text, answer.replies);
        self.statistics.rejected(call.row);
        self.statistics.error_replied(&text);
        answer.denied.push(Denial::of(denied, &user, name, &call.args, context));
        None
    }

    /// A view is about to begin: whoever was told of a change of sources before finds them in it.
    pub fn view_begins(&mut self) {
        self.sources_version = self.shared.hand_offs.read(HandOff::SourcesVersion);
    }

    /// The version of the sources that the view has at least.
    pub(super) fn sources_version(&self) -> u64 {
        self.sources_version
    }

    /// What a job's first call is to be prepared with.
    pub(super) fn request(&mut self, job: &Job) -> Request {
        if job.rights != self.rights {
            self.act_by(job.rights);
        }
        let events = Notifications::from_word(self.shared.runtime.read(Knob::KeyspaceEvents));
        Request {
            calls: job.calls.clone(),
            version: job.version,
            reply_bytes_max: self.shared.settings.output_bytes_max,
            user: Arc::clone(&self.user),
            wanted: events.classes(),
        }
    }

    /// From here on calls tell of these.
    pub fn want_events(&mut self, wanted: Classes) {
        self.wanted = wanted;
    }

    /// The keys of a call that only reads which are not there, if somebody wants to hear of that.
    pub fn misses(&self, keyspace: &Keyspace, call: &Call<'_>, missed: &mut Vec<(u8, Vec<u8>)>) {
        if !self.wanted.has(Class::Miss) || call.command().flags.has(Flags::QUIET) {
            return;
        }
        for position in call.command().keys.positions(&call.args) {
            let key = call.args[position.index];
            if keyspace.entry(key).is_ok_and(|entry| entry.is_none()) {
                missed.push((call.database, key.to_vec()));
            }
        }
    }

    /// What the last call has told. It counts where the call was answered.
    pub fn take_told(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.told)
    }

    /// Between transactions: reads through a map while the file fits into memory, together with all else. One that may not be
    /// mapped at all stays as it is.
    pub fn fit_map(&self, keyspace: &mut Keyspace, may_map: bool) -> Result<(), StorageError> {
        let data_bytes = Totals(self.scoreboard).max(Counted::DataBytes);
        keyspace.set_mapped(may_map && data_bytes <= self.shared.settings.memory_bytes / 2)
    }

    /// What the reply to a call may have, behind so many bytes of replies of its transaction. A reply is never larger than the output limit of
    /// a client, and the replies of an EXEC together are not; a small one always fits, so that the client knows what was done.
    #[must_use]
    pub fn answer_bytes_max(&self, call: &Call<'_>, before: usize) -> usize {
        let output_bytes_max = self.shared.settings.output_bytes_max;
        match call.unit {
            Unit::Alone => output_bytes_max,
            Unit::Begins | Unit::GoesOn => {
                output_bytes_max.saturating_sub(before + LEFT_FOR_ERRORS_BYTES).max(SMALL_BYTES)
            }
        }
    }

    /// When the last call ended, or the batch began.
    pub fn ended(&self) -> Instant {
        self.ended
    }

    /// A call that has begun then ends now: the microseconds that it took.
    pub(super) fn took_us(&mut self, begun: Instant) -> u64 {
        self.ended = clock::monotonic();
        u64::try_from((self.ended - begun).as_micros()).unwrap_or(u64::MAX)
    }

    /// What was counted becomes visible: before the replies leave.
    pub fn settle(&mut self) {
        self.tally.settle();
    }

    /// Runs a call in the writer.
    pub fn run(
        &mut self,
        keyspace: &mut Keyspace,
        waiting: &mut dyn WaitingCalls,
        users: &mut dyn UserRows,
        call: &Call<'_>,
        mut answer: Answer<'_>,
    ) -> Ran {
        let Some(user) = self.admit(call, &mut answer) else { return Ran::Refused };
        let sparse_sketch_bytes_max = self.sparse_sketch_bytes_max;
        let (wanted, mut told) = (self.wanted, Events::default());
        let ran = match call.command().handler {
            Handler::Either(_) if !call.command().changes(&call.args) => {
                self.read_by(&user, keyspace, call, answer, &mut Learning::of(&Seen::default()))
            }
            Handler::Write(handler) | Handler::Either(Either { write: handler, .. }) => {
                self.guard(keyspace, call, answer, |keyspace, answer| {
                    let call = &mut write_call(keyspace, &call.args, &user, answer.version, answer.bytes_max, wanted);
                    call.sparse_sketch_bytes_max = sparse_sketch_bytes_max;
                    encode::encode(&handler(call)?, answer.version, answer.replies);
                    told = std::mem::take(&mut call.events);
                    Ok(Waiting::No)
                })
            }
            Handler::Wait(wait) if answer.may_wait || wait.read.is_none() => {
                self.guard(keyspace, call, answer, |keyspace, answer| {
                    let call = &mut write_call(keyspace, &call.args, &user, answer.version, answer.bytes_max, wanted);
                    call.is_again = answer.is_again;
                    let waited = (wait.run)(call)?;
                    let keeps_changes = waited == Waited::ParkedWithChanges;
                    let reply = match waited {
                        Waited::Answered(reply) => reply,
                        Waited::Parked | Waited::ParkedWithChanges if answer.may_wait => {
                            told = std::mem::take(&mut call.events);
                            return Ok(Waiting::Yes { keeps_changes });
                        }
                        Waited::Parked | Waited::ParkedWithChanges => wait.nil.reply(),
                    };
                    encode::encode(&reply, answer.version, answer.replies);
                    told = std::mem::take(&mut call.events);
                    Ok(Waiting::No)
                })
            }
            Handler::Sources(handler) => {
                let mut sources = self.take_sources();
                let ran = self.guard(keyspace, call, answer, |keyspace, answer| {
                    encode::encode(&handler(&mut sources, keyspace, &call.args)?, answer.version, answer.replies);
                    Ok(Waiting::No)
                });
                if let Ran::Panicked = ran {
                    sources.forget();
                }
                self.keep_sources(sources);
                ran
            }
            Handler::Waiting(handler) => self.guard(keyspace, call, answer, |_, answer| {
                encode::encode(&handler(waiting, &call.args)?, answer.version, answer.replies);
                Ok(Waiting::No)
            }),
            Handler::Users(handler) => self.guard(keyspace, call, answer, |_, answer| {
                encode::encode(&handler(users, &call.args)?, answer.version, answer.replies);
                Ok(Waiting::No)
            }),
            _ => self.read_by(&user, keyspace, call, answer, &mut Learning::of(&Seen::default())),
        };
        self.told = told.told();
        ran
    }

    /// Runs a call that only reads; what was seen of its keys goes to `learning`.
    pub fn read(
        &mut self,
        keyspace: &mut Keyspace,
        call: &Call<'_>,
        mut answer: Answer<'_>,
        learning: &mut Learning<'_>,
    ) -> Ran {
        match self.admit(call, &mut answer) {
            Some(user) => self.read_by(&user, keyspace, call, answer, learning),
            None => Ran::Refused,
        }
    }

    fn read_by(
        &mut self,
        user: &Arc<User>,
        keyspace: &mut Keyspace,
        call: &Call<'_>,
        answer: Answer<'_>,
        learning: &mut Learning<'_>,
    ) -> Ran {
        if let Handler::Script(script) = call.command().handler {
            return self.read_script(keyspace, call, script, user, answer);
        }
        let versions = self.shared.versions.clone();
        self.guard(keyspace, call, answer, |keyspace, answer| {
            read(keyspace, call, user, answer, learning, &versions).map(|()| Waiting::No)
        })
    }

    /// `run` writes the reply to a call.
    fn guard(
        &mut self,
        keyspace: &mut Keyspace,
        call: &Call<'_>,
        mut answer: Answer<'_>,
        run: impl FnOnce(&mut Keyspace, &mut Answer<'_>) -> Result<Waiting, CommandError>,
    ) -> Ran {
        if keyspace.database() != call.database {
            keyspace.select(call.database);
        }
        let begin = answer.replies.len();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(keyspace, &mut answer)));
        let duration_us = self.took_us(self.ended);
        if !matches!(outcome, Ok(Ok(Waiting::No))) {
            answer.replies.truncate(begin);
        }
        let (ran, error) = match outcome {
            Ok(Ok(Waiting::No)) => (Ran::Answered, None),
            // It is counted when it is answered.
            Ok(Ok(Waiting::Yes { keeps_changes })) => return Ran::Parked { keeps_changes },
            Ok(Err(CommandError::Reply(text))) => {
                encode::error(&text, answer.replies);
                (Ran::Refused, Some(text))
            }
            Ok(Err(CommandError::Storage(StorageError::TakesLong))) => return Ran::TakesLong,
            Ok(Err(CommandError::Storage(error))) => {
                let text = errors::storage_text(&error);
                (Ran::Failed(error), Some(text))
            }
            // It is counted where it is run.
            Ok(Err(CommandError::TooHeavy)) => return Ran::TooHeavy,
            Ok(Err(CommandError::Waits(args))) => return Ran::Waits(args),
            Err(_) => (Ran::Panicked, Some(errors::INTERNAL.into())),
        };
        let is_miss = error.is_none() && is_miss(&answer.replies[begin..]);
        self.count(call, error, is_miss, duration_us, answer.slow);
        ran
    }

    /// A call that has waited is answered without having been run.
    pub fn count_ended(&mut self, row: u16, with_error: bool) {
        self.tally.called(row, 1, 0, with_error);
        if with_error {
            self.statistics.error_replied(errors::UNBLOCKED);
        }
    }

    pub(super) fn count(
        &mut self,
        call: &Call<'_>,
        error: Option<Cow<'static, str>>,
        is_miss: bool,
        duration_us: u64,
        slow: &mut Vec<SlowCall>,
    ) {
        self.tally.called(call.row, 1, duration_us, error.is_some());
        if let Some(text) = error {
            self.statistics.error_replied(&text);
        } else if call.command().flags.has(Flags::READONLY) {
            self.tally.read(is_miss);
        }
        self.shared.latency.consider(event_of(call.command()), duration_us);
        let threshold_us = self.shared.runtime.read(Knob::SlowlogUs) as i64;
        if threshold_us >= 0 && duration_us >= threshold_us as u64 && !call.command().flags.has(Flags::SKIP_SLOWLOG) {
            // Of a job with many only the newest would stay in the log: older ones are not kept until then.
            let kept = SLOW_CALLS_MAX.min(self.shared.runtime.read(Knob::SlowlogEntriesMax) as usize);
            if slow.len() >= 2 * kept {
                slow.drain(..slow.len() - kept);
            }
            slow.push(SlowCall {
                started_us: clock::wall_us() - duration_us as i64,
                duration_us,
                args: slow_log::cut(call.command().name, &call.args),
            });
        }
    }
}

/// How many keys a call has whose answer may be kept in mind.
pub fn keys_to_keep(call: &Call<'_>) -> usize {
    match &call.command().handler {
        Handler::Look(look) => look.keys_to_keep(&call.args).map_or(0, <[_]>::len),
        _ => 0,
    }
}

/// Whether a call waits.
enum Waiting {
    No,
    Yes { keeps_changes: bool },
}

/// Answers a call that only reads.
fn read(
    keyspace: &Keyspace,
    call: &Call<'_>,
    user: &User,
    answer: &mut Answer<'_>,
    learning: &mut Learning<'_>,
    versions: &Versions,
) -> Result<(), CommandError> {
    let row = call.command();
    // What can't be weighed before shows by its reply.
    let weight = answer.weight.and_then(|weight| usize::try_from(weight).ok());
    let light_bytes_max = match row.handler {
        Handler::Look(Look { answer: LookAnswer::Head(_), .. }) => None,
        _ => weight.filter(|weight| *weight < answer.bytes_max),
    };
    let bytes_max = light_bytes_max.unwrap_or(answer.bytes_max);
    let mut read = read_call(keyspace, &call.args, user, ReplyWriter::new(answer.replies, answer.version, bytes_max));
    (read.weight, read.may_wait, read.is_scripted) = (answer.weight, answer.may_wait, answer.is_scripted);
    let answered = match row.handler {
        Handler::Look(look) => {
            let gathers = learning.is_wanted();
            look_at_keys(&mut read, &look, answer.weight, gathers, |number, entry, value| {
                let key = look.keys(&call.args)[number];
                learning.keep(number, || asked(versions, call.database, key), entry, value);
            })
        }
        Handler::Read(handler)
        | Handler::Either(Either { read: handler, .. })
        | Handler::Wait(Wait { read: Some(handler), .. }) => {
            weigh(keyspace, answer.weight, call)?;
            handler(&mut read).inspect(|()| debug_assert!(read.reply.is_whole(), "{} has left a gap", row.name))
        }
        _ => Err(errors::INTERNAL.into()),
    };
    match answered {
        Err(error) if error.is_of_a_large_reply() => match light_bytes_max {
            Some(_) => Err(CommandError::TooHeavy),
            None => Err(errors::REPLY_TOO_LARGE.into()),
        },
        answered => answered,
    }
}

/// A part of a big string, which is never in memory beside the reply.
fn write_string(
    reply: &mut ReplyWriter<'_>,
    keyspace: &Keyspace,
    key: &[u8],
    range: Range<u64>,
) -> Result<(), CommandError> {
    let bytes = usize::try_from(range.end - range.start).map_err(|_| TooLarge)?;
    reply.bulk_of_parts(bytes, |out| {
        lookup::pieces(keyspace, key, range, |_, piece| {
            out.extend_from_slice(piece);
            ControlFlow::<()>::Continue(())
        })?;
        Ok(())
    })
}

/// A call as the handler of a read sees it, in the database and at the time of the keyspace.
pub fn read_call<'a>(
    keyspace: &'a Keyspace,
    args: &'a [&'a [u8]],
    user: &'a User,
    reply: ReplyWriter<'a>,
) -> ReadCall<'a> {
    ReadCall {
        keyspace,
        args,
        user,
        version: reply.version(),
        now_ms: keyspace.now_ms(),
        database: keyspace.database(),
        weight: None,
        may_wait: false,
        is_scripted: false,
        reply,
    }
}

/// A call as the handler of a write sees it, in the database and at the time of the keyspace.
pub fn write_call<'a>(
    keyspace: &'a mut Keyspace,
    args: &'a [&'a [u8]],
    user: &'a User,
    version: Version,
    reply_bytes_max: usize,
    wanted: Classes,
) -> WriteCall<'a> {
    let (now_ms, database) = (keyspace.now_ms(), keyspace.database());
    let events = Events::wanted(wanted);
    WriteCall {
        keyspace,
        args,
        user,
        version,
        now_ms,
        database,
        reply_bytes_max,
        is_again: false,
        sparse_sketch_bytes_max: SPARSE_SKETCH_BYTES_MAX,
        events,
    }
}

/// To count a key that is not in the tables yet, it is looked for there. Ten thousand of them are too much for the lane "read".
const UNMERGED_WEIGHT: u64 = LIGHT_BYTES_MAX / 10_000;

/// A call that reads all that its keys hold, or counts all keys, is refused where that is too much.
fn weigh(keyspace: &Keyspace, weight: Weight, call: &Call<'_>) -> Result<(), CommandError> {
    if weight.is_none() || !call.command().flags.has(Flags::BY_SIZE) {
        return Ok(());
    }
    let mut bytes = 0_u64;
    if call.args.len() == 1 {
        // Of no key: it counts all of them.
        bytes = keyspace.unmerged_rows().saturating_mul(UNMERGED_WEIGHT);
    }
    for key in call.command().keys.positions(&call.args) {
        bytes = bytes.saturating_add(weight_of(keyspace.entry(call.args[key.index])?.as_ref()));
    }
    check_weight(bytes, weight)
}

/// What reading all that the key holds comes to.
fn weight_of(key: Option<&Entry>) -> u64 {
    match key {
        Some(key) if key.kind == ValueKind::String => key.length,
        // What lies in one row is never much.
        Some(key) if key.id.is_some() => key.length.saturating_mul(ELEMENT_WEIGHT),
        _ => 0,
    }
}

fn check_weight(bytes: u64, weight: Weight) -> Result<(), CommandError> {
    if weight.is_some_and(|bytes_max| bytes > bytes_max) { Err(CommandError::TooHeavy) } else { Ok(()) }
}

/// Answers a call from one look at each of its keys. `seen` gets each key's number, and what the answer for it follows from. Where a
/// call is about most elements of a collection of few bytes, `gathers` makes that all of them, packed.
pub fn look_at_keys(
    call: &mut ReadCall<'_>,
    look: &Look,
    weight: Weight,
    gathers: bool,
    mut seen: impl FnMut(usize, Option<&Entry>, Option<&[u8]>),
) -> ReadResult {
    let ReadCall { keyspace, args, now_ms, .. } = *call;
    if look.shape == Shape::Array {
        call.reply.array(look.keys(args).len())?;
    }
    let mut sum = 0;
    let mut bytes_left = weight.unwrap_or(u64::MAX);
    for (number, key) in look.keys(args).iter().enumerate() {
        let (said, entry) = keyspace.with_entry(key, |entry, value| {
            let said = look.say(args, entry, value, now_ms, &mut sum, &mut call.reply)?;
            if said == Said::All {
                seen(number, entry, value);
            }
            Ok::<_, CommandError>((said, entry.copied()))
        })??;
        match (said, look.answer) {
            (Said::All, _) => continue,
            (Said::LacksBytes(range), _) => {
                let bytes = range.end - range.start;
                call.reply.check(bytes)?;
                bytes_left = bytes_left.checked_sub(bytes).ok_or(CommandError::TooHeavy)?;
                write_string(&mut call.reply, keyspace, key, range)?;
            }
            (Said::LacksElements, LookAnswer::Elements(elements)) => {
                if let Reads::All = elements.reads {
                    check_weight(weight_of(entry.as_ref()), weight)?;
                }
                let length = entry.map_or(0, |entry| entry.length);
                if gathers
                    && length <= GATHERED_BYTES_MAX as u64 / 2
                    && elements.reads.most(args, length)
                    && let Some(all) = keyspace.gathered(key, elements.kind, GATHERED_BYTES_MAX)?
                {
                    (elements.packed)(args, &Packed::new(elements.kind, &all), &mut call.reply)?;
                    seen(number, entry.as_ref(), Some(&all));
                    continue;
                }
                (elements.apart)(call)?;
            }
            (Said::LacksElements, LookAnswer::Head(_)) => return Err(errors::INTERNAL.into()),
        }
        seen(number, entry.as_ref(), None);
    }
    if look.shape == Shape::Sum {
        call.reply.integer(sum)?;
    }
    Ok(())
}

/// What the latency monitor calls a call of this command.
#[must_use]
pub fn event_of(command: &Command) -> Event {
    if command.flags.has(Flags::FAST) { Event::FastCommand } else { Event::Command }
}
