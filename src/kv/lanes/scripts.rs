//! Scripts as calls of a lane: in the writer, where each of a script's calls has a save point and all of them together another one; and on the
//! heavy lane, over one view. What stays of a script that fails is what Redis leaves; one that is ended from outside is undone whole.

use std::borrow::Cow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::kv::errors::{self, CommandError};
use crate::kv::jobs::job::{Call, SlowCall, Unit};
use crate::kv::lanes::calls::{Answer, Calls, Ran};
use crate::kv::lanes::left_out::Place;
use crate::kv::lanes::script_hosts::{Reading, Run, Stopped, Writing};
use crate::kv::lanes::telling::ToldPlace;
use crate::kv::lanes::writer::{Attempt, Called, Spoiled, Writer};
use crate::kv::metrics::statistics::Counted;
use crate::kv::scripts::{Host, Limits, ScriptError};
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::running_scripts::ScriptLane;
use crate::kv::sources::{KnownFunction, Runnable, SourceFigures, Sources};
use crate::kv::table::script::{BadKeyCount, Named, Script};
use crate::kv::users::User;
use crate::resp::{ReplyWriter, encode};
use crate::storage::{Keyspace, SavePoint, StorageError};

/// A script that is ready to run.
pub(super) struct Prepared {
    pub(super) what: What,
    keys: Range<usize>,
    pub(super) is_read_only: bool,
    /// It may write while the disk is nearly full.
    pub(super) allows_growth: bool,
}

pub(super) enum What {
    Source(Runnable),
    Function(KnownFunction),
}

impl What {
    pub(super) fn is_function(&self) -> bool {
        matches!(self, What::Function(_))
    }

    /// By what it is known.
    pub(super) fn name(&self) -> Cow<'_, [u8]> {
        match self {
            What::Source(Runnable { sha, .. }) => sha.to_string().into_bytes().into(),
            What::Function(KnownFunction { name, .. }) => name.into(),
        }
    }
}

/// How a script ended, but for what the storage has to say.
enum Ended {
    Answered,
    /// With an error. What it did before stays.
    Failed(Failure),
    /// Somebody or something has ended it: nothing of it stays.
    Over(Cow<'static, str>),
    Panicked,
}

/// An error as a script's answer. It may be that of one of its calls, and be counted already.
struct Failure {
    text: Cow<'static, str>,
    is_counted: bool,
}

impl Failure {
    fn of(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure { text: text.into(), is_counted: false }
    }
}

/// Where what runs is named.
const NAME: usize = 1;

impl Calls {
    pub(super) fn take_sources(&mut self) -> Box<Sources> {
        let mut sources = self.sources.take().unwrap_or_else(|| {
            let memory_max = self.shared.settings.scripts.memory_max;
            Box::new(Sources::new(Limits { memory_max, ..Limits::default() }))
        });
        if self.script_lane != ScriptLane::Writer {
            sources.look(self.sources_version());
        }
        sources
    }

    /// The writer's group is committed: readers may hear of what has changed.
    pub(super) fn sources_committed(&mut self) {
        if self.sources.as_mut().is_some_and(|sources| sources.committed()) {
            _ = self.shared.hand_offs.next(HandOff::SourcesVersion);
        }
    }

    pub(super) fn sources_rolled_back(&mut self) {
        if let Some(sources) = &mut self.sources {
            sources.rolled_back();
        }
    }

    /// A script that changes nothing, over the reader's view. It begins anew where that is lost.
    pub(super) fn read_script(
        &mut self,
        keyspace: &mut Keyspace,
        call: &Call<'_>,
        script: Script,
        user: &Arc<User>,
        mut answer: Answer<'_>,
    ) -> Ran {
        let (begun, begin) = (self.ended(), answer.replies.len());
        keyspace.select(call.database);
        // A transaction holds it for all of its calls.
        let holds = call.unit == Unit::Alone;
        if holds {
            keyspace.hold_snapshot(true);
        }
        let mut sources = self.take_sources();
        // What changes nothing needs no room.
        let (ended, lost) = match prepare(&mut sources, keyspace, false, script, &call.args) {
            Err(error) => refused(error),
            Ok(prepared) => self.run_over_view(keyspace, call, &prepared, user, &mut sources, &mut answer),
        };
        if holds {
            keyspace.hold_snapshot(false);
        }
        self.give_back(sources, &ended);
        let (ran, failure) = match (lost, ended) {
            (Some(error), _) => (Ran::Failed(error.clone()), Some(Failure::of(errors::storage_text(&error)))),
            (None, Ended::Answered) => (Ran::Answered, None),
            (None, Ended::Failed(failure)) => (Ran::Refused, Some(failure)),
            (None, Ended::Over(text)) => (Ran::Refused, Some(Failure::of(text))),
            (None, Ended::Panicked) => (Ran::Panicked, Some(Failure::of(errors::INTERNAL))),
        };
        let Answer { replies, slow, .. } = answer;
        if !matches!(ran, Ran::Answered) {
            replies.truncate(begin);
        }
        if let (Ran::Refused, Some(failure)) = (&ran, &failure) {
            encode::error(&failure.text, replies);
        }
        if !matches!(ran, Ran::Failed(StorageError::ViewLost)) {
            self.count_script(call, begun, failure, slow);
        }
        ran
    }

    fn run_over_view(
        &mut self,
        keyspace: &mut Keyspace,
        call: &Call<'_>,
        prepared: &Prepared,
        user: &Arc<User>,
        sources: &mut Sources,
        answer: &mut Answer<'_>,
    ) -> (Ended, Option<StorageError>) {
        let Answer { version, bytes_max, replies, slow, denied, .. } = answer;
        let run = Run::begin(&self.shared, self.script_lane, prepared, call, Arc::clone(user));
        let mut host = Reading { calls: self, keyspace, run, slow, lost: None };
        let ended = interpret(sources, prepared, call, ReplyWriter::new(replies, *version, *bytes_max), &mut host);
        denied.append(&mut host.run.denied);
        host.run.end();
        (ended, host.lost)
    }

    fn give_back(&mut self, sources: Box<Sources>, ended: &Ended) {
        if let Ended::Over(_) = ended {
            self.statistics.add(Counted::ScriptsEndedTotal, 1);
        }
        self.keep_sources(sources);
    }

    pub(super) fn keep_sources(&mut self, mut sources: Box<Sources>) {
        let SourceFigures { scripts, libraries, functions, source_bytes, interpreter_bytes } = sources.figures();
        let statistics = &self.statistics;
        if self.script_lane == ScriptLane::Writer {
            statistics.set(Counted::CachedScripts, scripts);
            statistics.set(Counted::Libraries, libraries);
            statistics.set(Counted::Functions, functions);
            statistics.add(Counted::EvictedScriptsTotal, sources.take_evicted());
        }
        statistics.set(Counted::SourceBytes, source_bytes);
        statistics.set(Counted::InterpreterBytes, interpreter_bytes);
        self.sources = Some(sources);
    }

    /// What the file has of scripts and libraries is known from the writer's start on.
    pub(super) fn begin_with_sources(&mut self, keyspace: &Keyspace) -> Result<(), StorageError> {
        let mut sources = self.take_sources();
        sources.begin(keyspace)?;
        self.keep_sources(sources);
        Ok(())
    }

    /// Counts the call itself, with the time of all that it has called.
    fn count_script(&mut self, call: &Call<'_>, begun: Instant, failure: Option<Failure>, slow: &mut Vec<SlowCall>) {
        let duration_us = self.took_us(begun);
        let error = failure.filter(|failure| !failure.is_counted).map(|failure| failure.text);
        self.count(call, error, false, duration_us, slow);
    }
}

/// Where the group was before a script.
struct Before {
    savepoint: SavePoint,
    told: ToldPlace,
    begun: Instant,
}

/// What a script came to in the writer.
struct Written {
    ended: Ended,
    stopped: Option<Stopped>,
    /// A part of what it has changed is not in the batch any more.
    is_spilled: bool,
}

impl Writer {
    /// A script, as one call of the group.
    pub(super) fn script(
        &mut self,
        place: Place,
        call: &Call<'_>,
        script: Script,
        mut answer: Answer<'_>,
    ) -> Result<Attempt<Called>, StorageError> {
        let Some(user) = self.calls.admit(call, &mut answer) else { return Ok(Attempt::Done(Called::Answered)) };
        let begin = answer.replies.len();
        self.keyspace.select(call.database);
        let (savepoint, told) = (self.keyspace.savepoint(), self.telling.place());
        let before = Before { savepoint, told, begun: self.calls.ended() };
        let mut sources = self.calls.take_sources();
        let is_nearly_full = self.calls.shared.hand_offs.is_set(HandOff::DiskNearlyFull);
        let written = match prepare(&mut sources, &self.keyspace, is_nearly_full, script, &call.args) {
            Err(error) => {
                let (ended, lost) = refused(error);
                Written { ended, stopped: lost.map(Stopped::Storage), is_spilled: false }
            }
            Ok(prepared) => self.run_in_group(place, call, &prepared, user, &mut sources, &mut answer),
        };
        self.calls.give_back(sources, &written.ended);
        if !matches!(written.ended, Ended::Answered) || written.stopped.is_some() {
            answer.replies.truncate(begin);
        }
        match written.stopped {
            Some(Stopped::Spoiled(spoiled)) => Ok(Attempt::Spoiled(spoiled)),
            Some(Stopped::Storage(error)) => {
                let failure = Some(Failure::of(errors::storage_text(&error)));
                self.calls.count_script(call, before.begun, failure, answer.slow);
                self.untell(before.told);
                self.storage_failed(place, call, error, before.savepoint)
            }
            None => self.script_ended(place, call, &before, written, answer),
        }
    }

    fn run_in_group(
        &mut self,
        place: Place,
        call: &Call<'_>,
        prepared: &Prepared,
        user: Arc<User>,
        sources: &mut Sources,
        answer: &mut Answer<'_>,
    ) -> Written {
        let Answer { version, bytes_max, replies, slow, denied, .. } = answer;
        let run = Run::begin(&self.calls.shared, ScriptLane::Writer, prepared, call, user);
        self.is_scripting = true;
        let mut host = Writing { writer: self, place, run, slow, stopped: None, is_spilled: false };
        let ended = interpret(sources, prepared, call, ReplyWriter::new(replies, *version, *bytes_max), &mut host);
        denied.append(&mut host.run.denied);
        host.run.end();
        let Writing { stopped, is_spilled, .. } = host;
        self.is_scripting = false;
        Written { ended, stopped, is_spilled }
    }

    /// Nothing but the script itself has ended it, or who may end it.
    fn script_ended(
        &mut self,
        place: Place,
        call: &Call<'_>,
        before: &Before,
        Written { ended, is_spilled, .. }: Written,
        Answer { replies, slow, .. }: Answer<'_>,
    ) -> Result<Attempt<Called>, StorageError> {
        let (failure, is_undone) = match ended {
            Ended::Answered => (None, false),
            Ended::Failed(failure) => (Some(failure), false),
            Ended::Over(text) => (Some(Failure::of(text)), true),
            Ended::Panicked => {
                self.calls.statistics.add(Counted::PanicsTotal, 1);
                tracing::error!("a script made its interpreter panic; what it did is undone");
                (Some(Failure::of(errors::INTERNAL)), true)
            }
        };
        let text = failure.as_ref().map(|failure| failure.text.clone());
        self.calls.count_script(call, before.begun, failure, slow);
        if is_undone && is_spilled {
            // What it did is not in the batch any more: all of the group runs again without it.
            return Ok(Attempt::Spoiled(Spoiled::ByCall(place, text.unwrap_or_default())));
        }
        if is_undone {
            self.untell(before.told);
            self.keyspace.undo_to(before.savepoint)?;
        } else {
            self.keyspace.keep_since(before.savepoint);
        }
        if let Some(text) = text {
            encode::error(&text, replies);
        }
        Ok(Attempt::Done(Called::Answered))
    }

    fn untell(&mut self, told: ToldPlace) {
        self.telling.go_back(told);
        self.telling.call_failed(&mut self.keyspace);
    }
}

/// Finds what a call runs, and looks at its number of keys.
fn prepare(
    sources: &mut Sources,
    keyspace: &Keyspace,
    is_nearly_full: bool,
    script: Script,
    args: &[&[u8]],
) -> Result<Prepared, CommandError> {
    let keys = Script::keys(args).map_err(|bad| match bad {
        BadKeyCount::NotAnInteger if script.named == Named::Function => errors::BAD_FUNCTION_NUMKEYS,
        BadKeyCount::NotAnInteger => errors::NOT_AN_INTEGER,
        BadKeyCount::TooMany => errors::NUMKEYS_TOO_MANY,
        BadKeyCount::Negative => errors::NUMKEYS_NEGATIVE,
    });
    let (what, flags, keys) = match script.named {
        Named::Function => {
            let function = sources.function(keyspace, args[NAME])?;
            let function = function.ok_or(CommandError::from(errors::FUNCTION_NOT_FOUND))?;
            let flags = function.flags;
            (What::Function(function), flags, keys?)
        }
        Named::Source | Named::Sha => {
            let keys = keys?;
            let is_given = script.named == Named::Source;
            let runnable = if is_given { sources.given(args[NAME]) } else { sources.named(keyspace, args[NAME]) }?;
            let flags = runnable.flags;
            (What::Source(runnable), flags, keys)
        }
    };
    if !flags.is_undeclared && !flags.no_writes {
        if script.is_read_only {
            return Err(errors::SCRIPT_WRITES.into());
        }
        if !flags.allow_oom && is_nearly_full {
            return Err(errors::DISK_NEARLY_FULL.into());
        }
    }
    let is_read_only = script.is_read_only || flags.no_writes;
    Ok(Prepared { what, keys, is_read_only, allows_growth: flags.allow_oom })
}

/// A script that does not begin. Where the storage has failed, that comes back.
fn refused(error: CommandError) -> (Ended, Option<StorageError>) {
    match error {
        CommandError::Storage(error) => {
            let text = errors::storage_text(&error);
            (Ended::Failed(Failure::of(text)), Some(error))
        }
        error => (Ended::Failed(Failure::of(error.text())), None),
    }
}

/// Runs it. A panic of the interpreter ends here.
fn interpret(
    sources: &mut Sources,
    prepared: &Prepared,
    call: &Call<'_>,
    mut reply: ReplyWriter<'_>,
    host: &mut dyn Host,
) -> Ended {
    let Prepared { what, keys, .. } = prepared;
    let (keys, arguments) = (&call.args[keys.clone()], &call.args[keys.end..]);
    let run = || {
        let interpreter = sources.interpreter();
        match what {
            What::Source(Runnable { sha, source, .. }) => {
                interpreter.eval(sha, source, keys, arguments, &mut reply, host)
            }
            What::Function(KnownFunction { library, name, .. }) => {
                interpreter.call_function(library.as_bytes(), name, keys, arguments, &mut reply, host)
            }
        }
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Ended::Answered,
        // What can't be told is not done, as with every other command.
        Ok(Err(error @ (ScriptError::Ended(_) | ScriptError::ReplyTooLarge))) => Ended::Over(error.text()),
        Ok(Err(ScriptError::Reply { text, is_counted })) => Ended::Failed(Failure { text: text.into(), is_counted }),
        Err(_) => {
            // Nobody knows what the interpreter was in the middle of.
            sources.forget();
            Ended::Panicked
        }
    }
}
