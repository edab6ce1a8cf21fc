//! What goes to a lane and what comes back: calls with their arguments as bytes, replies already encoded.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::kv::cache::{Learned, Seen};
use crate::kv::shared::versions::Versions;
use crate::kv::users::{Denial, Rights};
use crate::resp::reply::Version;
use crate::server::{Block, Wire};
use crate::storage::{DATABASES, Entry};

/// A run of calls of one connection for one lane.
#[derive(Debug, PartialEq)]
pub struct Job {
    pub kind: Kind,
    /// Of the replies.
    pub version: Version,
    pub calls: Calls,
    /// Whether the answer is to say where each reply ends: other replies go between them.
    pub wants_ends: bool,
    /// By whose rights it runs, and as of which users they were looked at. Version 0: nobody's affair.
    pub rights: Rights,
    /// For the cache of the loop that asks. It does not cross to another process.
    pub seen: Seen,
}

#[derive(Debug, PartialEq)]
pub enum Kind {
    /// Each call answered by itself.
    Run,
    /// All calls as one, if nothing that is watched has changed.
    Exec(Vec<Watched>),
    /// The one call's arguments after the name are keys: which are there, and until when?
    Watch,
    /// The one call may wait. The number of its client, by which others can end that.
    Wait(u64),
}

/// What WATCH saw of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub slot: u32,
    pub version: u64,
    pub database: u8,
    /// How often the database had been flushed, and exchanged.
    pub flushes: u64,
    pub swaps: u64,
    pub found: Presence,
}

/// Whether WATCH found a key, and for how long it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Also when its time has passed and its row is still there.
    Absent,
    Lasting,
    /// Until then, in milliseconds since 1970.
    Until(i64),
}

impl Presence {
    /// Of what lies at the key.
    #[must_use]
    pub fn of(entry: Option<&Entry>) -> Presence {
        entry.map_or(Presence::Absent, |entry| entry.expires_at_ms.map_or(Presence::Lasting, Presence::Until))
    }
}

impl Watched {
    /// What there is to see now, before the key itself is looked at.
    #[must_use]
    pub fn now(versions: &Versions, database: u8, hash: u64) -> Watched {
        let slot = Versions::slot_of(hash);
        let (flushes, swaps) = versions.of_database(database);
        Watched { slot, version: versions.read(slot), database, flushes, swaps, found: Presence::Absent }
    }

    /// The key is watched again, or another of the same hash: both must be unchanged.
    pub fn merge(&mut self, again: &Watched) {
        self.found = match (self.found, again.found) {
            (Presence::Absent, found) | (found, Presence::Absent) => found,
            (Presence::Until(one), Presence::Until(other)) => Presence::Until(one.min(other)),
            (Presence::Until(at), Presence::Lasting) | (Presence::Lasting, Presence::Until(at)) => Presence::Until(at),
            (Presence::Lasting, Presence::Lasting) => Presence::Lasting,
        };
    }

    /// True when EXEC may run as far as this key goes. What was absent and has not been touched is not changed by a flush either: as in
    /// Redis, and a key that came and was flushed has been touched.
    #[must_use]
    pub fn is_unchanged(&self, versions: &Versions, now_ms: i64) -> bool {
        let is_settled = |seen: u64, now: u64| seen.is_multiple_of(2) && seen == now;
        let (flushes, swaps) = versions.of_database(self.database);
        let survives_flushes = match self.found {
            Presence::Absent => true,
            Presence::Lasting => is_settled(self.flushes, flushes),
            Presence::Until(at_ms) => at_ms > now_ms && is_settled(self.flushes, flushes),
        };
        survives_flushes && is_settled(self.version, versions.read(self.slot)) && is_settled(self.swaps, swaps)
    }
}

/// Calls one behind the other, as bytes: the form in which they cross to another process.
/// Each: row (u16), database and what else was settled (u8), count of arguments (u32), their lengths (u32 each), their bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    count: u32,
    bytes: Block,
    /// The last argument of the last call, where it lies apart: large, and in memory of its own. Else empty.
    last: Bytes,
}

/// One call: its row, and its arguments with the name first.
pub struct Call<'a> {
    /// The number of its row in the command table.
    pub row: u16,
    pub database: u8,
    /// Its reply is not sent.
    pub is_muted: bool,
    pub unit: Unit,
    pub args: Args<'a>,
}

/// What a call is a part of. A unit is run as a whole, and answered by one lane from one view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// It is one by itself.
    #[default]
    Alone,
    /// The first call of a transaction.
    Begins,
    /// A further call of the same transaction.
    GoesOn,
}

/// What is settled of a call when it is admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    pub database: u8,
    pub is_muted: bool,
    pub unit: Unit,
}

impl Call<'_> {
    #[must_use]
    pub fn admitted(&self) -> Admitted {
        Admitted { database: self.database, is_muted: self.is_muted, unit: self.unit }
    }
}

impl Admitted {
    /// In this database, and nothing special.
    #[must_use]
    pub fn to(database: u8) -> Admitted {
        Admitted { database, ..Admitted::default() }
    }

    /// Four bits for the database, one for the muting, the rest for the unit.
    fn encode(self) -> u8 {
        const { assert!(DATABASES <= 16) };
        self.database | (u8::from(self.is_muted) << 4) | ((self.unit as u8) << 5)
    }

    fn decode(byte: u8) -> Admitted {
        let unit = match byte >> 5 {
            0 => Unit::Alone,
            1 => Unit::Begins,
            _ => Unit::GoesOn,
        };
        Admitted { database: byte & 15, is_muted: byte & 16 != 0, unit }
    }
}

pub type Args<'a> = SmallVec<[&'a [u8]; 8]>;

impl Calls {
    /// The bytes that `push` adds for a call.
    #[must_use]
    pub fn bytes_of(args: &[&[u8]]) -> usize {
        HEAD_BYTES + args.iter().map(|arg| LENGTH_BYTES + arg.len()).sum::<usize>()
    }

    /// `push` for a list that may grow large: it never has much more memory than it uses.
    pub fn push_tight(&mut self, row: u16, admitted: Admitted, args: &[&[u8]]) {
        self.join_last();
        let (used, added) = (self.bytes.len(), Calls::bytes_of(args));
        let bytes = self.bytes.own();
        if bytes.capacity() - used < added {
            bytes.reserve_exact(added.max(used / 4));
        }
        self.push(row, admitted, args);
    }

    pub fn push(&mut self, row: u16, admitted: Admitted, args: &[&[u8]]) {
        self.push_but_last(row, admitted, args);
        if let Some(last) = args.last() {
            self.bytes.own().extend_from_slice(last);
        }
    }

    /// The same, but the bytes of the last argument are to follow: by `add_last`, before anything else.
    pub fn push_but_last(&mut self, row: u16, admitted: Admitted, args: &[&[u8]]) {
        self.join_last();
        self.count += 1;
        let bytes = self.bytes.own();
        bytes.extend_from_slice(&row.to_le_bytes());
        bytes.push(admitted.encode());
        bytes.extend_from_slice(&(args.len() as u32).to_le_bytes());
        for arg in args {
            bytes.extend_from_slice(&(arg.len() as u32).to_le_bytes());
        }
        for arg in &args[..args.len().saturating_sub(1)] {
            bytes.extend_from_slice(arg);
        }
    }

    pub fn add_last(&mut self, last: Bytes) {
        self.last = last;
    }

    /// What lies apart is put behind the others, since more is to come.
    fn join_last(&mut self) {
        if !self.last.is_empty() {
            let last = std::mem::take(&mut self.last);
            self.bytes.own().extend_from_slice(&last);
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len() + self.last.len()
    }

    /// The memory that they take.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.bytes.capacity() + self.last.len()
    }

    /// Those behind the first `count`.
    #[must_use]
    pub fn after(&self, count: usize) -> Calls {
        let mut rest = Calls::default();
        self.iter().skip(count).for_each(|call| rest.push(call.row, call.admitted(), &call.args));
        rest
    }

    /// The first `count`.
    #[must_use]
    pub fn before(&self, count: usize) -> Calls {
        let mut first = Calls::default();
        self.iter().take(count).for_each(|call| first.push(call.row, call.admitted(), &call.args));
        first
    }

    /// Those of both, one behind the other.
    pub fn append(&mut self, others: &Calls) {
        self.join_last();
        self.count += others.count;
        self.bytes.own().extend_from_slice(&others.bytes);
        self.last = others.last.clone();
    }

    pub fn iter(&self) -> impl Iterator<Item = Call<'_>> {
        let mut rest = &self.bytes[..];
        (0..self.count).map(move |_| next_call(&mut rest, &self.last))
    }

    /// The calls of the transaction that begins at this byte, each with where it begins and where the next one does.
    pub fn transaction(&self, begin: usize) -> impl Iterator<Item = (usize, Call<'_>, usize)> {
        let mut at = begin;
        std::iter::from_fn(move || {
            let (call, next) = self.at(at).filter(|(call, _)| at == begin || call.unit == Unit::GoesOn)?;
            Some((std::mem::replace(&mut at, next), call, next))
        })
    }

    /// The call that begins at this byte, and where the next one does; `None` behind the last. The first is at 0.
    #[must_use]
    pub fn at(&self, begin: usize) -> Option<(Call<'_>, usize)> {
        let mut rest = self.bytes.get(begin..).filter(|rest| !rest.is_empty())?;
        let call = next_call(&mut rest, &self.last);
        Some((call, self.bytes.len() - rest.len()))
    }
}

/// Row, what was settled, and count of arguments; the length of each argument.
const HEAD_BYTES: usize = 2 + 1 + 4;
const LENGTH_BYTES: usize = 4;

/// `last` has the last argument of the last call, if `rest` ends before it.
fn next_call<'a>(rest: &mut &'a [u8], last: &'a [u8]) -> Call<'a> {
    let row = u16::from_le_bytes(take(rest));
    let Admitted { database, is_muted, unit } = Admitted::decode(take::<1>(rest)[0]);
    let count = u32::from_le_bytes(take(rest)) as usize;
    let mut lengths = *rest;
    *rest = &rest[LENGTH_BYTES * count..];
    let mut args = Args::with_capacity(count);
    for _ in 0..count {
        let (arg, behind) =
            rest.split_at_checked(u32::from_le_bytes(take(&mut lengths)) as usize).unwrap_or((last, &[]));
        args.push(arg);
        *rest = behind;
    }
    Call { row, database, is_muted, unit, args }
}

/// What a lane answers.
#[derive(Debug, PartialEq)]
pub struct Done {
    pub outcome: DoneOutcome,
    /// The replies of all calls, encoded.
    pub replies: Block,
    /// Where the reply of each answered call ends in `replies`, if the job wants that: the session puts those of its own between them.
    pub ends: Vec<u64>,
    pub slow: Vec<SlowCall>,
    /// Calls that their user may not run any more.
    pub denied: Vec<Denial>,
    /// For the cache of the loop that asked.
    pub learned: Learned,
    /// Keys that were read and are not there, with their databases, while somebody wants to hear of that. It does not cross to another
    /// process: the writer tells of its own.
    pub missed: Vec<(u8, Vec<u8>)>,
}

#[derive(Debug, PartialEq)]
pub enum DoneOutcome {
    /// All calls were answered.
    Run,
    /// Nothing of it was run: an error for each unit of a run, or one for what is answered as a whole.
    Refused,
    /// A run whose replies are large, or that takes long: these calls of it were not run yet.
    Cut(Calls),
    /// The same, and the first of them is a read of too much for this lane.
    Reroute(Calls),
    /// The one call found nothing to be answered with: it waits, as this one.
    Waits(Calls),
    /// All calls of an EXEC were answered.
    Executed,
    /// Something watched had changed: nothing was run.
    NotExecuted,
    /// Whether each watched key is there, in the order of the keys; the replies are empty unless it failed.
    Watched(Vec<Presence>),
}

/// A call that took longer than the slow log's threshold.
#[derive(Debug, PartialEq, Eq)]
pub struct SlowCall {
    pub started_us: i64,
    pub duration_us: u64,
    /// Cut as the slow log shows them.
    pub args: Vec<Vec<u8>>,
}

impl DoneOutcome {
    /// Of a run of which so many calls were answered; `is_heavy`: the next one is too much for this lane.
    #[must_use]
    pub fn of_run(job: &Job, answered: usize, is_heavy: bool) -> DoneOutcome {
        match job.calls.len() - answered {
            0 => DoneOutcome::Run,
            _ if is_heavy => DoneOutcome::Reroute(job.calls.after(answered)),
            _ => DoneOutcome::Cut(job.calls.after(answered)),
        }
    }
}

impl Job {
    /// Of which nothing is kept in mind.
    #[must_use]
    pub fn new(kind: Kind, version: Version, calls: Calls) -> Job {
        Job { kind, version, calls, wants_ends: false, rights: Rights::default(), seen: Seen::default() }
    }
}

impl Done {
    #[must_use]
    pub fn new(outcome: DoneOutcome, replies: impl Into<Block>) -> Done {
        Done {
            outcome,
            replies: replies.into(),
            ends: Vec::new(),
            slow: Vec::new(),
            denied: Vec::new(),
            learned: Learned::default(),
            missed: Vec::new(),
        }
    }
}

impl Presence {
    fn encode(self, out: &mut Vec<u8>) {
        let (kind, at_ms) = match self {
            Presence::Absent => (0, 0),
            Presence::Lasting => (1, 0),
            Presence::Until(at_ms) => (2, at_ms),
        };
        out.push(kind);
        out.extend_from_slice(&at_ms.to_le_bytes());
    }

    fn decode(rest: &mut &[u8]) -> Presence {
        let ([kind], at_ms) = (take(rest), i64::from_le_bytes(take(rest)));
        match kind {
            0 => Presence::Absent,
            1 => Presence::Lasting,
            _ => Presence::Until(at_ms),
        }
    }
}

impl Wire for Job {
    fn bytes_kept(&self) -> usize {
        let watched = match &self.kind {
            Kind::Exec(watched) => size_of_val(&watched[..]),
            Kind::Run | Kind::Watch | Kind::Wait(_) => 0,
        };
        self.calls.bytes_kept() + watched
    }

    fn is_cancellable(&self) -> bool {
        matches!(self.kind, Kind::Wait(_))
    }

    fn encode(&mut self, out: &mut Vec<u8>) -> Option<Bytes> {
        out.extend_from_slice(&[u8::from(self.version == Version::Resp3), u8::from(self.wants_ends)]);
        out.extend_from_slice(&self.rights.user.to_le_bytes());
        out.extend_from_slice(&self.rights.version.to_le_bytes());
        match &self.kind {
            Kind::Run => out.push(0),
            Kind::Watch => out.push(1),
            Kind::Wait(client) => {
                out.push(3);
                out.extend_from_slice(&client.to_le_bytes());
            }
            Kind::Exec(watched) => {
                out.push(2);
                out.extend_from_slice(&(watched.len() as u32).to_le_bytes());
                for one in watched {
                    out.extend_from_slice(&one.slot.to_le_bytes());
                    out.extend_from_slice(&one.version.to_le_bytes());
                    out.push(one.database);
                    out.extend_from_slice(&one.flushes.to_le_bytes());
                    out.extend_from_slice(&one.swaps.to_le_bytes());
                    one.found.encode(out);
                }
            }
        }
        out.extend_from_slice(&self.calls.count.to_le_bytes());
        if self.calls.last.is_empty() {
            return encode_last(&mut self.calls.bytes, out);
        }
        out.extend_from_slice(&self.calls.bytes);
        Some(self.calls.last.clone())
    }

    fn decode(bytes: &Bytes) -> Option<Job> {
        let rest = &mut &bytes[..];
        let [is_resp3, wants_ends] = take(rest);
        let version = if is_resp3 == 1 { Version::Resp3 } else { Version::Resp2 };
        let rights = Rights { user: u64::from_le_bytes(take(rest)), version: u64::from_le_bytes(take(rest)) };
        let kind = match take(rest) {
            [0] => Kind::Run,
            [1] => Kind::Watch,
            [2] => {
                let count = u32::from_le_bytes(take(rest));
                let watched = (0..count).map(|_| Watched {
                    slot: u32::from_le_bytes(take(rest)),
                    version: u64::from_le_bytes(take(rest)),
                    database: take::<1>(rest)[0],
                    flushes: u64::from_le_bytes(take(rest)),
                    swaps: u64::from_le_bytes(take(rest)),
                    found: Presence::decode(rest),
                });
                Kind::Exec(watched.collect())
            }
            [3] => Kind::Wait(u64::from_le_bytes(take(rest))),
            _ => return None,
        };
        let count = u32::from_le_bytes(take(rest));
        let calls = Calls { count, bytes: bytes.slice_ref(rest).into(), last: Bytes::new() };
        Some(Job { wants_ends: wants_ends == 1, rights, ..Job::new(kind, version, calls) })
    }
}

impl Wire for Done {
    fn encode(&mut self, out: &mut Vec<u8>) -> Option<Bytes> {
        let list = |out: &mut Vec<u8>, kind: u8, count: usize| {
            out.push(kind);
            out.extend_from_slice(&(count as u32).to_le_bytes());
        };
        match &self.outcome {
            DoneOutcome::Run => out.push(0),
            DoneOutcome::NotExecuted => out.push(1),
            DoneOutcome::Cut(calls) | DoneOutcome::Reroute(calls) | DoneOutcome::Waits(calls) => {
                let kind = match self.outcome {
                    DoneOutcome::Cut(_) => 4,
                    DoneOutcome::Reroute(_) => 5,
                    _ => 7,
                };
                list(out, kind, calls.len());
                out.extend_from_slice(&(calls.bytes_len() as u64).to_le_bytes());
                out.extend_from_slice(&calls.bytes);
                out.extend_from_slice(&calls.last);
            }
            DoneOutcome::Executed => out.push(2),
            DoneOutcome::Refused => out.push(6),
            DoneOutcome::Watched(found) => {
                list(out, 3, found.len());
                found.iter().for_each(|found| found.encode(out));
            }
        }
        out.extend_from_slice(&(self.ends.len() as u32).to_le_bytes());
        self.ends.iter().for_each(|end| out.extend_from_slice(&end.to_le_bytes()));
        out.extend_from_slice(&(self.slow.len() as u32).to_le_bytes());
        for slow in &self.slow {
            out.extend_from_slice(&slow.started_us.to_le_bytes());
            out.extend_from_slice(&slow.duration_us.to_le_bytes());
            out.extend_from_slice(&(slow.args.len() as u32).to_le_bytes());
            for arg in &slow.args {
                out.extend_from_slice(&(arg.len() as u32).to_le_bytes());
                out.extend_from_slice(arg);
            }
        }
        out.extend_from_slice(&(self.denied.len() as u32).to_le_bytes());
        for denial in &self.denied {
            let denial = postcard::to_allocvec(denial).expect("what is in memory has a form");
            out.extend_from_slice(&(denial.len() as u32).to_le_bytes());
            out.extend_from_slice(&denial);
        }
        encode_last(&mut self.replies, out)
    }

    fn decode(bytes: &Bytes) -> Option<Done> {
        let rest = &mut &bytes[..];
        let outcome = match take(rest) {
            [0] => DoneOutcome::Run,
            [1] => DoneOutcome::NotExecuted,
            [2] => DoneOutcome::Executed,
            [3] => {
                let count = u32::from_le_bytes(take(rest));
                DoneOutcome::Watched((0..count).map(|_| Presence::decode(rest)).collect())
            }
            [4] => DoneOutcome::Cut(take_calls(rest)),
            [5] => DoneOutcome::Reroute(take_calls(rest)),
            [6] => DoneOutcome::Refused,
            [7] => DoneOutcome::Waits(take_calls(rest)),
            _ => return None,
        };
        let ends = (0..u32::from_le_bytes(take(rest))).map(|_| u64::from_le_bytes(take(rest))).collect();
        let count = u32::from_le_bytes(take(rest));
        let slow = (0..count)
            .map(|_| SlowCall {
                started_us: i64::from_le_bytes(take(rest)),
                duration_us: u64::from_le_bytes(take(rest)),
                args: (0..u32::from_le_bytes(take(rest))).map(|_| take_bytes(rest)).collect(),
            })
            .collect();
        let count = u32::from_le_bytes(take(rest));
        let mut take_denial = || {
            let length = u32::from_le_bytes(take(rest)) as usize;
            postcard::from_bytes(take_slice(rest, length)).expect("made by `encode` of the same program")
        };
        let denied = (0..count).map(|_| take_denial()).collect();
        Some(Done { slow, ends, denied, ..Done::new(outcome, bytes.slice_ref(rest)) })
    }
}

/// From this size on bytes are sent from where they lie: of fewer, a copy costs less than what it takes to share them.
const SHARED_BYTES_MIN: usize = 32 << 10;

/// The bytes that end an encoding.
fn encode_last(bytes: &mut Block, out: &mut Vec<u8>) -> Option<Bytes> {
    if bytes.len() >= SHARED_BYTES_MIN {
        return Some(bytes.share());
    }
    out.extend_from_slice(bytes);
    None
}

/// Their count, a length, and so many bytes: copied, since they may be kept for longer than the frame.
fn take_calls(rest: &mut &[u8]) -> Calls {
    let count = u32::from_le_bytes(take(rest));
    let length = u64::from_le_bytes(take(rest)) as usize;
    Calls { count, bytes: take_slice(rest, length).to_vec().into(), last: Bytes::new() }
}

/// A length, and so many bytes.
fn take_bytes(rest: &mut &[u8]) -> Vec<u8> {
    let length = u32::from_le_bytes(take(rest)) as usize;
    take_slice(rest, length).to_vec()
}

pub(super) fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (bytes, behind) = rest.split_at(length);
    *rest = behind;
    bytes
}

/// The first `N` bytes, cut off. Both ends are the same program, so they are there.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (first, behind) = rest.split_first_chunk().expect("made by `encode` of the same program");
    *rest = behind;
    *first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::commands::table;
    use crate::kv::shared::versions::Marks;
    use crate::kv::users::Context;

    fn call(calls: &mut Calls, database: u8, args: &[&[u8]]) {
        calls.push(table::number(table::lookup(args[0]).unwrap()), Admitted::to(database), args);
    }

    fn encoded(value: &mut impl Wire) -> Bytes {
        let mut bytes = Vec::new();
        if let Some(last) = value.encode(&mut bytes) {
            bytes.extend_from_slice(&last);
        }
        bytes.into()
    }

    #[test]
    fn arguments_lie_in_the_frame_that_they_came_in_and_large_ones_are_sent_from_where_they_are() {
        for value_bytes in [100, SHARED_BYTES_MIN] {
            let mut calls = Calls::default();
            call(&mut calls, 0, &[b"SET", b"key", &vec![7; value_bytes]]);
            let place = calls.bytes.as_ptr();
            let mut job = Job::new(Kind::Run, Version::Resp2, calls);
            for _ in 0..2 {
                let (mut head, is_large) = (Vec::new(), value_bytes >= SHARED_BYTES_MIN);
                let last = job.encode(&mut head);
                assert_eq!(last.map(|last| last.as_ptr()), is_large.then_some(place));
                assert_eq!(head.len() < 30, is_large);
            }
            let frame = encoded(&mut job);
            let received = Job::decode(&frame).unwrap();
            let (call, _) = received.calls.at(0).unwrap();
            assert_eq!(call.args[2].as_ptr_range().end, frame.as_ptr_range().end);
            let mut done = Done::new(DoneOutcome::Run, vec![7; value_bytes]);
            let frame = encoded(&mut done);
            assert_eq!(Done::decode(&frame).unwrap().replies.as_ptr_range().end, frame.as_ptr_range().end);
        }
    }

    #[test]
    fn an_argument_that_lies_apart_is_part_of_its_call_and_is_never_copied_alone() {
        let value = Bytes::from(vec![7; 3000]);
        let (row, args) = (table::number(table::lookup(b"set").unwrap()), [&b"SET"[..], b"key", &value]);
        let mut whole = Calls::default();
        whole.push(row, Admitted::to(3), &args);
        let mut apart = Calls::default();
        apart.push_but_last(row, Admitted::to(3), &args);
        apart.add_last(value.clone());
        assert_eq!((apart.bytes_len(), apart.len()), (whole.bytes_len(), 1));
        let (call, next) = apart.at(0).unwrap();
        assert_eq!((&call.args[..], call.args[2].as_ptr()), (&args[..], value.as_ptr()));
        drop(call);
        assert!(apart.at(next).is_none());
        assert_eq!(apart.iter().next().unwrap().args[2].as_ptr(), value.as_ptr());
        let mut job = Job::new(Kind::Run, Version::Resp2, apart.clone());
        assert_eq!(job.encode(&mut Vec::new()).unwrap().as_ptr(), value.as_ptr());
        assert_eq!(Job::decode(&encoded(&mut job)).unwrap().calls, whole);
        assert_eq!((apart.after(0), apart.before(1)), (whole.clone(), whole.clone()));
        let mut done = Done::new(DoneOutcome::Cut(apart.clone()), Vec::new());
        assert_eq!(Done::decode(&encoded(&mut done)), Some(Done::new(DoneOutcome::Cut(whole.clone()), Vec::new())));
        let mut appended = whole.clone();
        appended.append(&apart);
        for calls in [&mut apart, &mut whole, &mut appended] {
            calls.push(row, Admitted::to(1), &args);
            assert!(calls.iter().all(|call| call.args[..] == args[..]));
        }
        assert_eq!((apart, appended.after(1)), (whole.clone(), whole));
    }

    #[test]
    fn jobs_and_answers_cross_to_another_process_unchanged() {
        let mut calls = Calls::default();
        call(&mut calls, 0, &[b"SET", b"", b"\r\n\0"]);
        let last = Admitted { database: 15, is_muted: true, unit: Unit::GoesOn };
        calls.push(table::number(table::lookup(b"get").unwrap()), last, &[b"get", &[b'k'; 70_000]]);
        let seen: Vec<(&str, u8, bool, usize)> = calls
            .iter()
            .map(|call| {
                (call.command().name, call.database, call.is_muted, call.args.iter().map(|arg| arg.len()).sum())
            })
            .collect();
        assert_eq!(seen, [("set", 0, false, 6), ("get", 15, true, 70_003)]);
        let watched = |found| Watched { slot: 1 << 19, version: u64::MAX, database: 15, flushes: 8, swaps: 0, found };
        let watched = [Presence::Absent, Presence::Lasting, Presence::Until(-1)].map(watched).to_vec();
        for kind in [Kind::Run, Kind::Watch, Kind::Exec(watched), Kind::Exec(Vec::new()), Kind::Wait(u64::MAX - 1)] {
            let rights = Rights { user: u64::MAX, version: 7 };
            let mut job = Job { wants_ends: true, rights, ..Job::new(kind, Version::Resp3, calls.clone()) };
            assert_eq!(Job::decode(&encoded(&mut job)), Some(job));
        }
        let (first, second) = calls.at(0).map(|(call, next)| (call.command().name, next)).unwrap();
        assert_eq!((first, calls.bytes_len() - second), ("set", Calls::bytes_of(&[b"get", &[b'k'; 70_000]])));
        assert_eq!(calls.at(second).map(|(call, next)| (call.database, next)), Some((15, calls.bytes_len())));
        assert!(calls.at(calls.bytes_len()).is_none());
        let rest = calls.after(1);
        assert_eq!(rest.iter().map(|call| (call.command().name, call.admitted())).collect::<Vec<_>>(), [("get", last)]);
        for outcome in [
            DoneOutcome::Run,
            DoneOutcome::Cut(rest.clone()),
            DoneOutcome::Reroute(rest),
            DoneOutcome::NotExecuted,
            DoneOutcome::Executed,
            DoneOutcome::Refused,
            DoneOutcome::Watched(
                [Presence::Absent, Presence::Lasting]
                    .into_iter()
                    .chain([i64::MAX, i64::MIN, 0].map(Presence::Until))
                    .collect(),
            ),
        ] {
            let slow = vec![SlowCall { started_us: -1, duration_us: 12_345, args: vec![b"get".to_vec(), Vec::new()] }];
            let ends = vec![3, u64::from(u32::MAX) + 9];
            let denied = vec![Denial::of_login(b"ann", b"AUTH", Context::Multi)];
            let mut done = Done { slow, ends, denied, ..Done::new(outcome, b"+OK\r\n".to_vec()) };
            assert_eq!(Done::decode(&encoded(&mut done)), Some(done));
        }
    }

    #[test]
    fn a_flush_changes_what_was_there_and_a_touch_or_a_swap_changes_everything() {
        let versions = Versions::new().unwrap();
        let mut marks = Marks::take_over(versions.clone());
        let key = b"key".as_slice();
        let seen = |found| Watched { found, ..Watched::now(&versions, 1, versions.hash_of(1, key)) };
        let unchanged = |watched: &Watched| watched.is_unchanged(&versions, 1000);
        let all = || [Presence::Absent, Presence::Lasting, Presence::Until(1001), Presence::Until(1000)].map(seen);
        assert_eq!(all().each_ref().map(unchanged), [true, true, true, false], "at 1000 the last one's time is over");
        let watched = all();
        marks.mark_flush(1 << 2);
        assert_eq!(watched.each_ref().map(unchanged), [true, true, true, false], "another database");
        marks.mark_flush(1 << 1);
        assert_eq!(watched.each_ref().map(unchanged), [true, false, false, false], "in the same group");
        let amid = all();
        marks.unmark();
        assert_eq!(watched.each_ref().map(unchanged), [true, false, false, false]);
        assert_eq!(
            amid.each_ref().map(unchanged),
            [true, false, false, false],
            "what was seen amid a flush was not settled"
        );
        type Change = fn(&mut Marks);
        let changes: [Change; 2] = [|marks| marks.mark(1, b"key"), |marks| marks.mark_swap(0, 1)];
        for change in changes {
            let watched = all();
            change(&mut marks);
            marks.unmark();
            assert_eq!(watched.each_ref().map(unchanged), [false; 4]);
        }
        let watched = all();
        versions.void_all();
        assert_eq!(watched.each_ref().map(unchanged), [false; 4], "the clock went back");
    }
}
