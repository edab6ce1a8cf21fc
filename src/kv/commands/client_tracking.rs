//! CLIENT TRACKING and its like: a client is told when a key changes that it may have in a cache of its own.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::kv::commands::args::{self, is_word};
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandError};
use crate::kv::sessions::questions::{self, Question};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::sessions::tracking::{self, Caching, Mode, PREFIXES_MAX, Redirect, Tracked};
use crate::resp::reply::Reply;
use crate::server::Slot;

const FLAGS: Flags = Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE);

pub(super) const CACHING: Command = Command {
    name: "client|caching",
    arity: 3,
    flags: FLAGS.or(Flags::INERT),
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Instructs the server whether to track the keys in the next request.",
    syntax: "<YES | NO>",
    handler: Handler::Session(caching),
    ..Command::ROW
};

pub(super) const GETREDIR: Command = Command {
    name: "client|getredir",
    arity: 2,
    flags: FLAGS.or(Flags::INERT),
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Returns the client ID to which the connection's tracking notifications are redirected.",
    handler: Handler::Session(getredir),
    ..Command::ROW
};

pub(super) const TRACKING: Command = Command {
    name: "client|tracking",
    arity: -3,
    flags: FLAGS,
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1). Some options may introduce additional complexity.",
    summary: "Controls server-assisted client-side caching for the connection.",
    syntax: "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
    handler: Handler::Session(tracking),
    ..Command::ROW
};

pub(super) const TRACKINGINFO: Command = Command {
    name: "client|trackinginfo",
    arity: 2,
    flags: FLAGS,
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Returns information about server-assisted client-side caching for the connection.",
    handler: Handler::Session(trackinginfo),
    ..Command::ROW
};

/// What a call that MULTI has queued does to the tracking of those behind it.
pub enum Effect {
    None,
    /// CLIENT CACHING.
    Says,
    /// CLIENT TRACKING.
    Switches,
}

#[must_use]
pub fn effect(command: &Command) -> Effect {
    match command.name {
        name if name == CACHING.name => Effect::Says,
        name if name == TRACKING.name => Effect::Switches,
        _ => Effect::None,
    }
}

/// The words behind ON or OFF, up to the first that is wrong.
#[derive(Default)]
struct Options<'a> {
    mode: Mode,
    is_opt_in: bool,
    is_opt_out: bool,
    no_loop: bool,
    redirect: Option<i64>,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// With the error that comes behind what they say.
    fn parse(args: &[&'a [u8]]) -> (Options<'a>, Result<(), CommandError>) {
        let mut options = Options::default();
        let result = options.read(args);
        (options, result)
    }

    fn read(&mut self, mut args: &[&'a [u8]]) -> Result<(), CommandError> {
        while let [option, rest @ ..] = args {
            args = rest;
            match (option, rest) {
                (option, [number, rest @ ..]) if is_word(option, "redirect") => {
                    if self.redirect.is_some() {
                        return Err(errors::TRACKING_TWO_REDIRECTS.into());
                    }
                    self.redirect = Some(args::integer(number)?);
                    args = rest;
                }
                (option, [prefix, rest @ ..]) if is_word(option, "prefix") => {
                    self.prefixes.push(prefix);
                    args = rest;
                }
                (option, _) if is_word(option, "bcast") => self.mode = Mode::Broadcast,
                (option, _) if is_word(option, "optin") => self.is_opt_in = true,
                (option, _) if is_word(option, "optout") => self.is_opt_out = true,
                (option, _) if is_word(option, "noloop") => self.no_loop = true,
                _ => return Err(errors::SYNTAX.into()),
            }
        }
        Ok(())
    }

    /// Whether they go together, and with what the client has asked for before.
    fn settle(self, before: Option<&Tracked>) -> Result<Tracked, CommandError> {
        let is_broadcast = self.mode == Mode::Broadcast;
        if !is_broadcast && !self.prefixes.is_empty() {
            return Err(errors::TRACKING_PREFIX_WITHOUT_BCAST.into());
        }
        if before.is_some_and(|before| (before.mode == Mode::Broadcast) != is_broadcast) {
            return Err(errors::TRACKING_BCAST_SWITCHED.into());
        }
        if is_broadcast && (self.is_opt_in || self.is_opt_out) {
            return Err(errors::TRACKING_OPT_WITH_BCAST.into());
        }
        if self.is_opt_in && self.is_opt_out {
            return Err(errors::TRACKING_BOTH_OPTS.into());
        }
        let was = |mode| before.is_some_and(|before| before.mode == mode);
        if self.is_opt_in && was(Mode::OptOut) || self.is_opt_out && was(Mode::OptIn) {
            return Err(errors::TRACKING_OPT_SWITCHED.into());
        }
        let known = before.map(|before| &before.prefixes);
        if is_broadcast {
            check_prefixes(&self.prefixes, known)?;
        }
        let mode = match (self.is_opt_in, self.is_opt_out) {
            (true, _) => Mode::OptIn,
            (_, true) => Mode::OptOut,
            _ => self.mode,
        };
        // Without any, of all keys.
        let all: &[&[u8]] = if is_broadcast && self.prefixes.is_empty() { &[b""] } else { &[] };
        let prefixes = self.prefixes.iter().chain(all).map(|prefix| Box::from(*prefix)).collect();
        Ok(Tracked { mode, no_loop: self.no_loop, redirect: None, prefixes, is_broken: Cell::new(false) })
    }
}

/// No two prefixes of a client may begin the same key.
fn check_prefixes(given: &[&[u8]], known: Option<&BTreeSet<Box<[u8]>>>) -> Result<(), CommandError> {
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    if given.len() + known.map_or(0, BTreeSet::len) > PREFIXES_MAX {
        return Err(errors::TRACKING_TOO_MANY_PREFIXES.into());
    }
    for (number, prefix) in given.iter().enumerate() {
        if let Some(other) = known.into_iter().flatten().find(|other| overlap(prefix, other)) {
            return Err(errors::tracking_prefix_overlaps(prefix, "an existing", other));
        }
        if let Some(other) = given[number + 1..].iter().find(|other| overlap(prefix, other)) {
            return Err(errors::tracking_prefix_overlaps(prefix, "another provided", other));
        }
    }
    Ok(())
}

fn tracking(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let (options, result) = Options::parse(&args[3..]);
    let is_on: Result<bool, CommandError> = match args[2] {
        word if is_word(word, "on") => Ok(true),
        word if is_word(word, "off") => Ok(false),
        _ => Err(errors::SYNTAX.into()),
    };
    // That the other client is there counts before what is wrong behind its number.
    let (redirect, is_executing) = (options.redirect, call.is_executing);
    let settle = move |call: &SessionCall<'_>| {
        result?;
        if !is_on? {
            return Ok(None);
        }
        options.settle(call.session.client.tracking.tracked.borrow().as_deref()).map(Some)
    };
    let Some(number) = redirect else {
        let settled = settle(call);
        return switch(call, settled, None, is_executing);
    };
    let Ok(number) = u64::try_from(number) else { return Outcome::error(errors::TRACKING_NO_SUCH_CLIENT) };
    let settled = settle(call);
    if call.worker.clients.contains_key(&number) {
        let slot = call.worker.context.slot;
        return switch(call, settled, Some(Redirect { number, slot, is_gone: Cell::new(false) }), is_executing);
    }
    questions::ask(call, &Question::RedirectTarget(number), move |call, answers| {
        let slot = answers.iter().find_map(|answer| answer.first_chunk()).map(|slot| u64::from_le_bytes(*slot));
        match slot.and_then(|slot| usize::try_from(slot).ok()) {
            Some(slot) => {
                let redirect = Redirect { number, slot: Slot(slot), is_gone: Cell::new(false) };
                switch(call, settled, Some(redirect), is_executing)
            }
            None => Outcome::error(errors::TRACKING_NO_SUCH_CLIENT),
        }
    })
}

fn switch(
    call: &mut SessionCall<'_>,
    settled: Result<Option<Tracked>, CommandError>,
    redirect: Option<Redirect>,
    is_executing: bool,
) -> Outcome {
    let client = std::rc::Rc::clone(&call.session.client);
    match settled {
        Err(error) => return Outcome::Reply(error.into_reply()),
        Ok(None) => tracking::end(call.worker, &client),
        Ok(Some(tracked)) => {
            let was_on = client.tracking.is_on();
            tracking::begin(call.worker, &client, Tracked { redirect, ..tracked });
            if is_executing && !was_on {
                tracking::begun_late(call.worker, &client, call.effects);
            }
        }
    }
    Outcome::Reply(Reply::Ok)
}

fn caching(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let tracking = &call.session.client.tracking;
    let Some(mode) = tracking.tracked.borrow().as_ref().map(|tracked| tracked.mode) else {
        return Outcome::error(errors::CACHING_WITHOUT_TRACKING);
    };
    match args[2] {
        word if is_word(word, "yes") && mode != Mode::OptIn => {
            return Outcome::error(errors::CACHING_YES_WITHOUT_OPTIN);
        }
        word if is_word(word, "no") && mode != Mode::OptOut => {
            return Outcome::error(errors::CACHING_NO_WITHOUT_OPTOUT);
        }
        // In a transaction it holds to the end of that.
        word if is_word(word, "yes") || is_word(word, "no") => {
            tracking.caching.set(if call.is_executing { Caching::Said } else { Caching::JustSaid });
        }
        _ => return Outcome::error(errors::SYNTAX),
    }
    Outcome::Reply(Reply::Ok)
}

fn getredir(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::Reply(Reply::Integer(call.session.client.tracking.redirect()))
}

fn trackinginfo(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let tracking = &call.session.client.tracking;
    let tracked = tracking.tracked.borrow();
    let text = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    let is_said = tracking.caching.get() != Caching::NotSaid;
    let mut flags = vec![text(if tracked.is_some() { "on" } else { "off" })];
    let mut prefixes = Vec::new();
    if let Some(tracked) = &*tracked {
        let of_mode: &[&str] = match (tracked.mode, is_said) {
            (Mode::Read, _) => &[],
            (Mode::Broadcast, _) => &["bcast"],
            (Mode::OptIn, false) => &["optin"],
            (Mode::OptIn, true) => &["optin", "caching-yes"],
            (Mode::OptOut, false) => &["optout"],
            (Mode::OptOut, true) => &["optout", "caching-no"],
        };
        let no_loop: &[&str] = if tracked.no_loop { &["noloop"] } else { &[] };
        let broken: &[&str] = if tracked.is_broken.get() { &["broken_redirect"] } else { &[] };
        flags.extend([of_mode, no_loop, broken].concat().into_iter().map(text));
        prefixes.extend(tracked.prefixes.iter().map(|prefix| Reply::Bulk(prefix.to_vec())));
    }
    Outcome::Reply(Reply::Map(vec![
        (text("flags"), Reply::Set(flags)),
        (text("redirect"), Reply::Integer(tracking.redirect())),
        (text("prefixes"), Reply::Array(prefixes)),
    ]))
}
