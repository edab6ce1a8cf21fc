//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. A transaction is one job: one transaction of the writer, over everything.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::kv::commands::table::{self, Command, Handler, LIGHT_ARGS_MAX};
use crate::kv::errors;
use crate::kv::jobs::job::{Admitted, Calls, Job, Kind, Watched};
use crate::kv::jobs::{HEAVY, READ};
use crate::kv::sessions::monitors;
use crate::kv::sessions::session::{Awaits, Outcome, Session, SessionCall};
use crate::kv::sessions::transaction::{Queue, State, WATCH_BYTES, WATCHED_KEYS_MAX};
use crate::kv::table::flags::{Flags, Group};
use crate::kv::table::key_specs::{KeyFlags, Keys};
use crate::resp::reply::Reply;

const IN_TRANSACTIONS: Flags = Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::ALLOW_BUSY);

pub const COMMANDS: &[Command] = &[
    Command {
        name: "multi",
        flags: Flags::NOT_QUEUED.or(IN_TRANSACTIONS).or(Flags::FAST).or(Flags::INERT),
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Starts a transaction.",
        handler: Handler::Session(multi),
        ..Command::ROW
    },
    Command {
        name: "exec",
        flags: Flags::EXECUTES
            .or(Flags::NOT_QUEUED)
            .or(Flags::NOSCRIPT)
            .or(Flags::LOADING)
            .or(Flags::STALE)
            .or(Flags::SKIP_SLOWLOG),
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "Depends on commands in the transaction",
        summary: "Executes all commands in a transaction.",
        handler: Handler::Session(exec),
        ..Command::ROW
    },
    Command {
        name: "discard",
        flags: Flags::NOT_QUEUED.or(IN_TRANSACTIONS).or(Flags::FAST).or(Flags::INERT),
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N), when N is the number of queued commands",
        summary: "Discards a transaction.",
        handler: Handler::Session(discard),
        ..Command::ROW
    },
    Command {
        name: "watch",
        arity: -2,
        flags: Flags::NOT_QUEUED.or(IN_TRANSACTIONS).or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.range(1, -1, 1)]),
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1) for every key.",
        summary: "Monitors changes to keys to determine the execution of a transaction.",
        syntax: "key [key ...]",
        handler: Handler::Session(watch),
        ..Command::ROW
    },
    Command {
        name: "unwatch",
        flags: IN_TRANSACTIONS.or(Flags::FAST).or(Flags::INERT),
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Forgets about watched keys of a transaction.",
        handler: Handler::Session(unwatch),
        ..Command::ROW
    },
];

fn multi(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    if call.session.transaction.is_open() {
        return Outcome::error(errors::NESTED_MULTI);
    }
    call.session.transaction.state = State::Queuing(Queue::new(call.session.database()));
    call.session.client.queued.set(0);
    Outcome::Reply(Reply::Ok)
}

fn discard(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    if !call.session.transaction.is_open() {
        return Outcome::error(errors::DISCARD_WITHOUT_MULTI);
    }
    call.session.end_transaction();
    Outcome::Reply(Reply::Ok)
}

fn exec(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let session = &mut *call.session;
    if !session.transaction.is_open() {
        return Outcome::error(errors::EXEC_WITHOUT_MULTI);
    }
    let (state, watches) = session.end_transaction();
    let State::Queuing(queue) = state else { return Outcome::error(errors::EXEC_ABORT) };
    let is_shown = monitors::is_anybody(call.worker);
    let (execution, lane) = queue.execution(args[0], session.version, !watches.is_empty(), is_shown);
    match lane {
        None => Outcome::Execute(execution),
        Some((lane, version, rights, calls)) => {
            let watched = watches.into_values().collect();
            let job = Job { wants_ends: true, rights, ..Job::new(Kind::Exec(watched), version, calls) };
            Outcome::Submit(lane, job, Awaits::Exec(execution))
        }
    }
}

fn watch(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    if call.session.transaction.is_open() {
        return Outcome::error(errors::WATCH_IN_MULTI);
    }
    // A key that is named twice, or watched already, counts: what it costs to find that out is the same.
    if call.session.transaction.watched.len() + args.len() - 1 > WATCHED_KEYS_MAX {
        return Outcome::error(errors::too_many_watched(WATCHED_KEYS_MAX));
    }
    let database = call.session.database();
    let versions = &call.worker.shared.versions;
    // Read before the job is sent: whatever changes from here on is a change since WATCH.
    let watches = args[1..].iter().map(|key| {
        let hash = versions.hash_of(database, key);
        (hash, Watched::now(versions, database, hash))
    });
    let watches = watches.collect();
    let mut calls = Calls::default();
    let row = table::lookup(args[0]).expect("this row was found by that name");
    calls.push(table::number(row), Admitted::to(database), args);
    let job = Job::new(Kind::Watch, call.session.version, calls);
    let lane = if args.len() > LIGHT_ARGS_MAX { HEAVY } else { READ };
    Outcome::Submit(lane, job, Awaits::Watch(watches))
}

fn unwatch(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    // Inside EXEC what was watched is gone already.
    call.session.unwatch();
    Outcome::Reply(Reply::Ok)
}

impl Session {
    /// Back to commands that run at once. Returns what was.
    pub(crate) fn end_transaction(&mut self) -> (State, HashMap<u64, Watched>) {
        self.client.watched.set(0);
        self.client.watched_bytes.set(0);
        (std::mem::take(&mut self.transaction.state), std::mem::take(&mut self.transaction.watched))
    }

    fn unwatch(&mut self) {
        // The memory goes back too.
        self.transaction.watched = HashMap::new();
        self.client.watched.set(0);
        self.client.watched_bytes.set(0);
    }

    /// Adds what a WATCH saw. A key that is watched already keeps what was seen first, which holds for longer: also where two keys have
    /// one hash, since they have one slot then.
    pub fn watch(&mut self, watches: Vec<(u64, Watched)>) {
        for (hash, seen) in watches {
            match self.transaction.watched.entry(hash) {
                Entry::Vacant(entry) => _ = entry.insert(seen),
                Entry::Occupied(mut entry) => entry.get_mut().merge(&seen),
            }
        }
        self.client.watched.set(self.transaction.watched.len());
        self.client.watched_bytes.set(self.transaction.watched.len() * WATCH_BYTES);
    }
}
