//! The writer's life: it takes over, then groups, and between them merges, sweeps and checkpoints.

use std::sync::Arc;
use std::time::Duration;

use super::history::Reading;
use super::redis::{self, Seen, State, Tickets};
use super::schedule::{Note, WRITER};
use super::world::{HOMES, World};
use crate::storage::broken;
use crate::storage::keyspace::Layout;
use crate::storage::points::{Point, pass};
use crate::storage::rows::Homes;
use crate::storage::sqlite::checkpoint::Checkpointer;
use crate::storage::{Change, Keyspace};

pub(super) fn live(world: &Arc<World>) {
    let marking = Arc::clone(world);
    let hook = Box::new(move |change: Change<'_>| match change {
        Change::Key { database, key } | Change::Quiet { database, key } => marking.versions.mark(database, key),
        Change::Flush { .. } | Change::Swap { .. } => marking.versions.mark_all(),
    });
    world.set_pending(None);
    let opened = Keyspace::open_writer_on(&world.disk.options, world.memory, hook);
    let keyspace = world.must("a writer's start", opened);
    // One that lags behind has several generations to merge.
    let slices_max = world.random(|random| random.of(&[2, 6, 14]));
    let mut writer = Writer { world, keyspace, checkpointer: None, slices_max };
    crowd(&mut writer.keyspace);
    writer.take_over();
    let is_eager = world.random(|random| random.one_in(2));
    loop {
        broken::set_now_ms(world.now_ms());
        world.turn(WRITER, "writer");
        match world.random(|random| random.below(17)) {
            0..8 => {
                writer.group();
                if is_eager {
                    writer.merge();
                }
            }
            8..12 => writer.merge(),
            12 => writer.sweep_expired(),
            13 => writer.sweep_orphans(),
            14 => writer.end_unmerged(),
            15 => world.later(1 + world.random(|random| random.below(12)) as i64),
            _ => writer.checkpoint(),
        }
    }
}

/// Values are big from a few bytes on.
pub(super) fn crowd(keyspace: &mut Keyspace) {
    keyspace.crowd(Homes::crowded(HOMES), Layout::SMALL);
}

struct Writer<'a> {
    world: &'a World,
    keyspace: Keyspace,
    checkpointer: Option<Checkpointer>,
    /// In a row.
    slices_max: u64,
}

impl Writer<'_> {
    /// What the predecessor has committed is there, and its tickets say so.
    fn take_over(&mut self) {
        let world = self.world;
        let tickets = world.must("tickets", self.keyspace.applied_tickets());
        let expected = world.history(|history| history.last().1.tickets);
        let found: Tickets = std::array::from_fn(|worker| {
            tickets.iter().find(|(incarnation, _)| *incarnation == worker as u64 + 1).map_or(0, |(_, number)| *number)
        });
        if found != expected {
            world.fail(format!("tickets {found:?} are there, {expected:?} were committed"));
        }
        world.versions.take_over();
    }

    fn group(&mut self) {
        let world = self.world;
        let now_ms = world.now_ms();
        world.must("begin", self.keyspace.begin_write(now_ms));
        let (number, mut state) = world.history(|history| (history.last().0, history.last().1.clone()));
        let calls = 1 + world.random(|random| if random.one_in(4) { random.below(12) } else { random.below(3) });
        // Values that leave a database just before all that is left in it goes.
        if world.random(|random| random.one_in(10)) {
            let (from, to) = world.random(|random| (random.of(&[0, 0, 1, 2]), random.of(&[0, 1, 2])));
            for _ in 0..3 {
                let key = world.random(|random| random.below(u64::from(redis::KEYS)) as u8);
                self.call(&mut state, now_ms, Some((from, redis::Change::Move(key, to))));
            }
            self.call(&mut state, now_ms, Some((from, redis::Change::Flush)));
        }
        for _ in 0..calls {
            self.call(&mut state, now_ms, None);
            if world.random(|random| random.one_in(60)) {
                world.must("spill", self.keyspace.spill());
            }
        }
        if world.random(|random| random.one_in(20)) {
            world.must("rollback", self.keyspace.rollback());
            world.versions.unmark();
            return;
        }
        let worker = world.random(|random| random.below(2));
        state.tickets[worker as usize] += 1;
        let ticket = state.tickets[worker as usize];
        world.must("ticket", self.keyspace.record_ticket(worker + 1, ticket));
        world.set_pending(Some(state));
        world.scheduler.turn(WRITER, Note::Group(number + 1), true);
        world.must("commit", self.keyspace.commit());
        world.committed();
        world.turn(WRITER, "committed");
        world.versions.unmark();
        // Now the replies leave.
        world.history(|history| history.raise_floor(number + 1));
    }

    /// One call, which may be undone; what it answers, and something that it reads.
    fn call(&mut self, state: &mut State, now_ms: i64, wanted: Option<(u8, redis::Change)>) {
        let world = self.world;
        let stamp = world.stamp();
        let drawn = world.random(|random| redis::Change::random(random, now_ms, stamp));
        let (database, change) = wanted.unwrap_or(drawn);
        let before = world.random(|random| random.one_in(8)).then(|| (self.keyspace.savepoint(), state.clone()));
        world.scheduler.tell(|| format!("{change:?} in {database}, may be undone: {}", before.is_some()));
        let answer = world.must("a change", change.run(&mut self.keyspace, database));
        let expected = state.apply(database, &change, now_ms);
        if answer != expected {
            world.fail(format!("{change:?} in {database}: {answer:?}, not {expected:?}"));
        }
        if let Some((savepoint, before)) = before {
            world.must("undo", self.keyspace.undo_to(savepoint));
            *state = before;
        }
        if world.random(|random| random.one_in(3)) {
            let database = world.random(|random| random.below(u64::from(redis::DATABASES))) as u8;
            let key = world.random(|random| random.below(u64::from(redis::KEYS))) as u8;
            let mut random = world.random(|random| random.clone());
            let seen = world.must("a read", Seen::read(&mut self.keyspace, &mut random, database, key));
            if !state.shows(database, &seen, (now_ms, now_ms)) {
                world.fail(format!("within its group the writer reads {seen:?} of {database}, which is {state:?}"));
            }
        }
    }

    /// Slices of the oldest generation, if one waits; or the newest one takes no further groups.
    fn merge(&mut self) {
        let world = self.world;
        if world.random(|random| random.one_in(2)) {
            let _is_free = self.keyspace.freeze(world.now_ms());
        }
        for _ in 0..world.random(|random| 1 + random.below(self.slices_max)) {
            if world.random(|random| random.one_in(3)) {
                self.sweep_orphans();
            }
            if world.must("a merge", self.keyspace.merge(Duration::ZERO)).is_none() {
                return;
            }
            world.turn(WRITER, "merged");
        }
    }

    fn sweep_expired(&mut self) {
        self.bite(|keyspace, rows| keyspace.sweep_expired(rows));
    }

    fn sweep_orphans(&mut self) {
        self.bite(|keyspace, rows| keyspace.sweep_orphans(rows));
    }

    /// Nobody is told, and nobody sees it: their time had passed before.
    fn end_unmerged(&mut self) {
        let world = self.world;
        let now_ms = world.now_ms();
        self.keyspace.read_unmerged_deadlines(8, now_ms);
        world.must("begin", self.keyspace.begin_upkeep(now_ms));
        let rows = 1 + world.random(|random| random.below(6)) as usize;
        world.must("an end of keys", self.keyspace.end_unmerged(rows));
        world.must("the commit of their end", self.keyspace.commit());
        world.versions.unmark();
    }

    fn bite(&mut self, sweep: impl FnOnce(&mut Keyspace, usize) -> crate::storage::Result<usize>) {
        let world = self.world;
        world.must("begin", self.keyspace.begin_write(world.now_ms()));
        let rows = 1 + world.random(|random| random.below(6)) as usize;
        world.must("a sweep", sweep(&mut self.keyspace, rows));
        pass(Point::BiteSwept);
        world.must("the commit of a sweep", self.keyspace.commit());
        world.versions.unmark();
    }

    fn checkpoint(&mut self) {
        let world = self.world;
        if self.checkpointer.is_none() {
            self.checkpointer = Some(world.must("a checkpointer", Checkpointer::open(&world.disk.options)));
        }
        let checkpointer = self.checkpointer.as_ref().expect("just opened");
        world.must("a checkpoint", checkpointer.passive(&mut |_, _| Ok(())));
    }
}

/// Everything is merged and swept: nothing is lost, nothing left behind.
pub(super) fn settle(world: &Arc<World>, keyspace: &mut Keyspace) -> Result<(), String> {
    let failed = |error: crate::storage::StorageError| format!("at the end: {error:?}");
    let now_ms = world.now_ms();
    keyspace.merge_all(now_ms).map_err(failed)?;
    for _ in 0..3 {
        loop {
            keyspace.begin_write(now_ms).map_err(failed)?;
            let swept = keyspace.sweep_expired(50).map_err(failed)? + keyspace.sweep_orphans(50).map_err(failed)?;
            keyspace.commit().map_err(failed)?;
            if swept == 0 {
                break;
            }
        }
    }
    keyspace.begin_write(now_ms).map_err(failed)?;
    let mut seen = Vec::new();
    for database in 0..redis::DATABASES {
        seen.push((database, Seen::keys(keyspace, database).map_err(failed)?));
        for key in 0..redis::KEYS {
            seen.push((database, Seen::value(keyspace, database, key).map_err(failed)?));
        }
    }
    let problems = keyspace.verify().map_err(failed)?.problems;
    let checked = world.history(|history| {
        history.settle();
        history.check(&Reading { floor: history.floor(), times: (now_ms, now_ms), seen })
    });
    checked.map_err(|what| format!("at the end, {problems:?}: {what}"))?;
    let left = keyspace.orphans_left().map_err(failed)?;
    keyspace.rollback().map_err(failed)?;
    match problems.is_empty() && left == 0 {
        true => Ok(()),
        false => Err(format!("at the end {left} orphans are left, and {problems:?}")),
    }
}
