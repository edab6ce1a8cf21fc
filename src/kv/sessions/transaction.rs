//! MULTI, EXEC and WATCH as a session sees them. The checks of what is watched are the executor's.

use std::collections::HashMap;

use crate::kv::errors;
use crate::kv::jobs::job::{Admitted, Call, Calls, Unit, Watched};
use crate::kv::jobs::{HEAVY, READ, WRITE};
use crate::kv::shared::settings::{JOB_BYTES_MAX, RIDING_ARGUMENTS_MAX, RIDING_QUEUE_MAX};
use crate::kv::table::flags::Flags;
use crate::kv::users::Rights;
use crate::resp::encode;
use crate::resp::reply::Version;
use crate::resp::response::{ResponseLimits, ResponseParser};
use crate::server::{Block, LaneId};

/// A session's transaction.
#[derive(Default)]
pub struct Transaction {
    pub state: State,
    /// What WATCH saw, until EXEC, DISCARD, UNWATCH or the end; by the hash of database and key. The key itself is not kept.
    pub watched: HashMap<u64, Watched>,
}

/// Keys that one client watches at most: looking at all of them takes a loop some milliseconds, and the writer as long.
pub const WATCHED_KEYS_MAX: usize = 1 << 17;
/// What a watched key takes.
pub const WATCH_BYTES: usize = 2 * size_of::<(u64, Watched)>();

#[expect(clippy::large_enum_variant, reason = "one a session, and moved once a transaction")]
#[derive(Default)]
pub enum State {
    /// Commands run at once.
    #[default]
    None,
    /// After MULTI: commands are queued.
    Queuing(Queue),
    /// After MULTI and a command that could not be queued: EXEC will refuse.
    Failed,
}

/// The queued calls, as bytes: what is counted is what is kept.
pub struct Queue {
    /// Those for a lane, each in the database that the SELECTs before it chose.
    lane_calls: Calls,
    /// Those that run on the loop.
    own_calls: Calls,
    order: Order,
    /// Where the next call will run.
    database: u8,
    /// Of all calls together: of their lanes the one that can do what all of them do.
    lane: Option<LaneId>,
    /// By whose rights its first call was admitted. Whoever runs them looks again where the users have changed since.
    rights: Rights,
    pub flags: Flags,
    has_hello: bool,
    /// One of its calls does more on the loop than to be answered at once.
    has_detours: bool,
    /// One of its calls can't go along with changes that it is no part of.
    has_long_reads: bool,
}

/// Whose turn it is: so many calls of the lane, so many on the loop, and so on.
#[derive(Default)]
struct Order {
    runs: Vec<u32>,
    calls: usize,
    /// The run that is being counted down, when the calls are taken again.
    taking: usize,
}

/// An EXEC that is under way: the replies of the lane, and the place from where the calls on the loop are still to run.
pub struct Execution {
    /// EXEC, as the client wrote it.
    pub name: Vec<u8>,
    order: Order,
    /// The lane's calls, where somebody watches and is to see them, and where the next one begins.
    shown: Option<(Calls, usize)>,
    own_calls: Calls,
    /// Where the next one of them begins.
    own_at: usize,
    pub replies: LaneReplies,
}

/// What is next in an EXEC.
pub enum Next<'a> {
    /// The lane's next reply; the call, if it is to be shown.
    Lane(Option<Call<'a>>, &'a mut LaneReplies),
    /// A call to run here.
    Own(Call<'a>),
}

/// The lane's replies, and where each of its calls' ends.
#[derive(Default)]
pub struct LaneReplies {
    /// As it writes them.
    version: Version,
    bytes: Block,
    ends: Vec<u64>,
    /// How many of them are out.
    taken: usize,
}

/// What of an EXEC a lane runs: which one, in which version it answers, by whose rights, and the calls.
pub type ForALane = (LaneId, Version, Rights, Calls);

impl Queue {
    /// For calls that begin in this database.
    #[must_use]
    pub fn new(database: u8) -> Queue {
        Queue {
            lane_calls: Calls::default(),
            own_calls: Calls::default(),
            order: Order::default(),
            database,
            lane: None,
            rights: Rights::default(),
            flags: Flags::NONE,
            has_hello: false,
            has_detours: false,
            has_long_reads: false,
        }
    }

    /// A call of this row, which has these flags and runs on this lane, or on the loop.
    pub fn push(&mut self, row: u16, flags: Flags, lane: Option<LaneId>, args: &[&[u8]], rights: Rights) {
        if self.count() == 0 {
            self.rights = rights;
        }
        match lane {
            Some(lane) => {
                // What turns out to be long can't be sent elsewhere from the midst of it.
                let lane = if lane == READ && flags.has(Flags::BY_SIZE) { HEAVY } else { lane };
                let unit = if self.lane_calls.is_empty() { Unit::Begins } else { Unit::GoesOn };
                self.lane_calls.push_tight(row, Admitted { unit, ..Admitted::to(self.database) }, args);
                self.has_long_reads |= lane == HEAVY || args.len() > RIDING_ARGUMENTS_MAX;
                // Their numbers are in the order of what they can do.
                self.lane = Some(self.lane.map_or(lane, |before| LaneId(before.0.max(lane.0))));
                self.order.push(true);
            }
            None => {
                self.own_calls.push_tight(row, Admitted::to(self.database), args);
                self.has_detours |= !(flags.has(Flags::FAST) && flags.has(Flags::INERT));
                self.order.push(false);
            }
        }
        if flags.has(Flags::SELECTS)
            && let Ok(chosen) = crate::kv::table::args::database(args[1])
        {
            self.database = chosen;
        }
        self.flags = self.flags.or(flags);
        self.has_hello |= flags.has(Flags::SETS_VERSION);
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.order.calls
    }

    /// The lane that runs all of it; `None`: the loop does.
    #[must_use]
    pub fn lane(&self) -> Option<LaneId> {
        self.lane
    }

    /// Where it runs, if it may run as a part of a run: it is small, was queued by the rights of the run, and what of it runs on the loop is
    /// answered at once. `None`: a transaction without anything for a lane.
    #[must_use]
    pub fn rides_on(&self, rights: Rights) -> Option<Option<LaneId>> {
        if self.count() > 0 && self.rights != rights {
            return None;
        }
        let is_small = self.count() <= RIDING_QUEUE_MAX && self.bytes_with(&[]) <= JOB_BYTES_MAX;
        (is_small && !self.has_detours).then_some(self.lane)
    }

    /// True when it may go along with the changes before it.
    #[must_use]
    pub fn goes_along_with_changes(&self) -> bool {
        self.lane == Some(WRITE) || !self.has_long_reads
    }

    /// The calls in their order; true for one of a lane.
    pub fn calls(&self) -> impl Iterator<Item = (bool, Call<'_>)> {
        let (mut lane_calls, mut own_calls) = (self.lane_calls.iter(), self.own_calls.iter());
        let turns = self.order.runs.iter().enumerate();
        let turns = turns.flat_map(|(number, count)| std::iter::repeat_n(number % 2 == 0, *count as usize));
        turns.filter_map(move |is_lanes| {
            let call = if is_lanes { lane_calls.next() } else { own_calls.next() };
            call.map(|call| (is_lanes, call))
        })
    }

    /// The memory that it takes.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.lane_calls.bytes_kept() + self.own_calls.bytes_kept() + self.order.runs.capacity() * size_of::<u32>()
    }

    /// The bytes that it uses, and would with this call.
    #[must_use]
    pub fn bytes_with(&self, args: &[&[u8]]) -> usize {
        let calls = self.lane_calls.bytes_len() + self.own_calls.bytes_len() + Calls::bytes_of(args);
        calls + (self.order.runs.len() + 2) * size_of::<u32>()
    }

    /// What EXEC makes of it: what runs here, and the calls for a lane, if there are any. Changes, and the check of what is watched,
    /// are the writer's; reads alone are answered from one snapshot beside it.
    #[must_use]
    pub fn execution(
        self,
        name: &[u8],
        version: Version,
        is_watching: bool,
        is_shown: bool,
    ) -> (Box<Execution>, Option<ForALane>) {
        // Replies behind a HELLO may be due in another version; only RESP3 can be told in both.
        let version = if self.has_hello { Version::Resp3 } else { version };
        let execution = Execution {
            name: name.to_vec(),
            order: self.order,
            shown: is_shown.then(|| (self.lane_calls.clone(), 0)),
            own_calls: self.own_calls,
            own_at: 0,
            replies: LaneReplies { version, ..LaneReplies::default() },
        };
        let lane = if is_watching { Some(WRITE) } else { self.lane };
        (Box::new(execution), lane.map(|lane| (lane, version, self.rights, self.lane_calls)))
    }
}

impl Order {
    fn push(&mut self, is_for_a_lane: bool) {
        let fits = self.runs.len() % 2 == usize::from(is_for_a_lane);
        match self.runs.last_mut() {
            Some(run) if fits && *run < u32::MAX => *run += 1,
            // The first run is of the lane; one that has nothing stands between two of a kind.
            _ => {
                if fits {
                    self.runs.push(0);
                }
                self.runs.push(1);
            }
        }
        self.calls += 1;
    }

    /// Whether the next call is the lane's.
    fn take(&mut self) -> Option<bool> {
        while let Some(run) = self.runs.get_mut(self.taking) {
            if *run > 0 {
                *run -= 1;
                return Some(self.taking.is_multiple_of(2));
            }
            self.taking += 1;
        }
        None
    }
}

impl Execution {
    /// How many calls it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.calls
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that it takes.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        let shown = self.shown.as_ref().map_or(0, |(calls, _)| calls.bytes_kept());
        let replies = self.replies.bytes.capacity() + self.replies.ends.capacity() * size_of::<u64>();
        shown + replies + self.own_calls.bytes_kept() + self.order.runs.capacity() * size_of::<u32>()
    }

    /// The lane has answered: its replies, and where each ends.
    pub fn answered(&mut self, bytes: Block, ends: Vec<u64>) {
        self.replies.bytes = bytes;
        self.replies.ends = ends;
    }

    /// All replies in one piece, when they are all the lane's, as `version` writes them, and nobody is to see the calls.
    pub fn take_whole(&mut self, version: Version) -> Option<Block> {
        let is_whole = self.own_calls.is_empty() && self.shown.is_none() && self.replies.version == version;
        (is_whole && self.replies.taken == 0).then(|| {
            self.order = Order::default();
            std::mem::take(&mut self.replies).bytes
        })
    }

    /// The next call; `None` when all are answered.
    pub fn take_next(&mut self) -> Option<Next<'_>> {
        if self.order.take()? {
            let shown = self.shown.as_mut().and_then(|(calls, at)| {
                let (call, next) = calls.at(*at)?;
                *at = next;
                Some(call)
            });
            return Some(Next::Lane(shown, &mut self.replies));
        }
        let (call, next) = self.own_calls.at(self.own_at)?;
        self.own_at = next;
        Some(Next::Own(call))
    }
}

impl LaneReplies {
    /// Takes the next one into `out`, as `version` writes it.
    pub fn take(&mut self, version: Version, is_muted: bool, out: &mut Vec<u8>) {
        let mut reply = &self.bytes[self.range()];
        self.taken += 1;
        if is_muted {
            return;
        }
        if version == self.version {
            return out.extend_from_slice(reply);
        }
        // A HELLO before this call has changed the version; RESP3 tells all that RESP2 needs.
        let mut parser = ResponseParser::new(ResponseLimits::default());
        match parser.parse(&mut reply) {
            Ok(Some(reply)) => encode::encode(&reply, version, out),
            Ok(None) | Err(_) => encode::error(errors::INTERNAL, out),
        }
    }

    /// Where the next one lies.
    fn range(&self) -> std::ops::Range<usize> {
        let begin = self.taken.checked_sub(1).map_or(0, |last| self.ends[last]);
        begin as usize..self.ends[self.taken] as usize
    }
}

impl Transaction {
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::None)
    }

    /// True when EXEC would be answered by its calls.
    #[must_use]
    pub fn is_queuing(&self) -> bool {
        matches!(self.state, State::Queuing(_))
    }

    /// As `Queue::rides_on`; what has to be compared with what WATCH saw does not ride.
    #[must_use]
    pub fn rides_on(&self, rights: Rights) -> Option<Option<LaneId>> {
        match &self.state {
            State::Queuing(queue) if self.watched.is_empty() => queue.rides_on(rights),
            _ => None,
        }
    }

    /// A command could not be queued.
    pub fn fail(&mut self) {
        if self.is_open() {
            self.state = State::Failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::commands::table;
    use proptest::prelude::*;

    fn names(execution: &mut Execution) -> String {
        let mut names = String::new();
        while let Some(next) = execution.take_next() {
            names.push_str(match next {
                Next::Lane(call, replies) => {
                    assert!(call.is_none_or(|call| call.command().name == "get"));
                    replies.taken += 1;
                    "L"
                }
                Next::Own(call) => {
                    assert_eq!(call.command().name, "ping");
                    "o"
                }
            });
        }
        names
    }

    fn push(queue: &mut Queue, args: &[&[u8]]) {
        let command = table::lookup(args[0]).unwrap();
        queue.push(table::number(command), command.flags, command.lane(args), args, Rights::default());
    }

    proptest! {
        #[test]
        fn calls_come_out_in_the_order_in_which_they_went_in(calls in prop::collection::vec(any::<bool>(), 0..40), shown: bool) {
            let mut queue = Queue::new(3);
            for is_for_a_lane in &calls {
                let args: &[&[u8]] = if *is_for_a_lane { &[b"get", b"a"] } else { &[b"ping"] };
                push(&mut queue, args);
            }
            prop_assert_eq!(queue.count(), calls.len());
            prop_assert!(queue.calls().map(|(is_lanes, _)| is_lanes).eq(calls.iter().copied()));
            let (mut execution, lane) = queue.execution(b"exec", Version::Resp2, false, shown);
            let lane_calls = lane.map_or(0, |(_, _, _, calls)| calls.len());
            prop_assert_eq!(lane_calls, calls.iter().filter(|is_for_a_lane| **is_for_a_lane).count());
            let expected: String = calls.iter().map(|is_for_a_lane| if *is_for_a_lane { 'L' } else { 'o' }).collect();
            prop_assert_eq!(names(&mut execution), expected);
        }
    }

    #[test]
    fn a_select_decides_where_the_calls_behind_it_run() {
        let mut queue = Queue::new(1);
        for line in ["get a", "select 2", "get a", "select 99", "set a 1", "select 0", "get a"] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            push(&mut queue, &args);
        }
        let (_, lane) = queue.execution(b"exec", Version::Resp2, false, false);
        let (lane, _, _, calls) = lane.unwrap();
        assert_eq!(lane, WRITE);
        assert_eq!(calls.iter().map(|call| call.database).collect::<Vec<_>>(), [1, 2, 2, 0]);
    }

    #[test]
    fn a_queue_keeps_little_more_than_its_calls_are_long() {
        let mut queue = Queue::new(0);
        (0..100_000).for_each(|_| push(&mut queue, &[b"PING"]));
        assert!(queue.bytes_kept() < 100_000 * 20, "{}", queue.bytes_kept());
        assert!(queue.bytes_kept() >= queue.bytes_with(&[]) - 100);
        let mut keys = vec![&b""[..]; 100_000];
        keys[0] = b"exists";
        push(&mut queue, &keys);
        assert!(queue.bytes_kept() < 100_000 * 26, "{}", queue.bytes_kept());
    }

    #[test]
    fn replies_of_more_than_four_gibibytes_have_ends_that_do_not_wrap() {
        let mut replies =
            LaneReplies { ends: vec![u64::from(u32::MAX) + 1, u64::from(u32::MAX) + 5], ..Default::default() };
        // The offsets alone: nobody has that much memory to spare for a test.
        assert_eq!(replies.range(), 0..(1 << 32));
        replies.taken = 1;
        assert_eq!(replies.range(), (1 << 32)..(1 << 32) + 4);
    }
}
