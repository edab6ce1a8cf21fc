//! What all actors of a machine share, and what happens at a point.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Disk;
use super::history::{History, Reading};
use super::redis::State;
use super::schedule::{Note, Random, Scheduler, Stop, WRITER, stop};
use super::versions::Versions;
use crate::storage::broken::{self, Variant};
use crate::storage::memtable::Memory;
use crate::storage::points::{self, Point};
use crate::storage::rows::crowd_files;
use crate::storage::{Result, StorageError};

/// So few that keys collide all the time.
pub(super) const HOMES: u64 = 6;

pub(super) struct World {
    pub(super) scheduler: Scheduler,
    pub(super) disk: Disk,
    pub(super) versions: Versions,
    /// What all processes share; empty when a machine starts.
    pub(super) memory: Memory,
    pub(super) variant: Option<Variant>,
    now_ms: AtomicI64,
    random: Mutex<Random>,
    history: Mutex<History>,
    group: Mutex<Group>,
}

/// The writer's group, as far as nobody may know of it.
#[derive(Default)]
struct Group {
    /// What its commit makes of the state.
    pending: Option<State>,
    stamp: u64,
}

/// What goes on from one machine to the next.
pub(super) struct Heritage {
    pub(super) history: History,
    pub(super) random: Random,
    pub(super) now_ms: i64,
    pub(super) stamp: u64,
    /// Of no use but for its room.
    pub(super) memory: Memory,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(scheduler: Scheduler, disk: Disk, variant: Option<Variant>, heritage: Heritage) -> Self {
        heritage.memory.wipe();
        Self {
            scheduler,
            disk,
            versions: Versions::default(),
            memory: heritage.memory,
            variant,
            now_ms: AtomicI64::new(heritage.now_ms),
            random: Mutex::new(heritage.random),
            history: Mutex::new(heritage.history),
            group: Mutex::new(Group { stamp: heritage.stamp, ..Group::default() }),
        }
    }

    pub(super) fn into_heritage(self) -> (Disk, Heritage) {
        let stamp = lock(&self.group).stamp;
        let history = self.history.into_inner().unwrap_or_else(PoisonError::into_inner);
        let random = self.random.into_inner().unwrap_or_else(PoisonError::into_inner);
        (self.disk, Heritage { history, random, now_ms: self.now_ms.into_inner(), stamp, memory: self.memory })
    }

    pub(super) fn random<T>(&self, choose: impl FnOnce(&mut Random) -> T) -> T {
        choose(&mut lock(&self.random))
    }

    pub(super) fn history<T>(&self, ask: impl FnOnce(&mut History) -> T) -> T {
        ask(&mut lock(&self.history))
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    pub(super) fn later(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// A number that no value was written with.
    pub(super) fn stamp(&self) -> u64 {
        let mut group = lock(&self.group);
        group.stamp += 1;
        group.stamp
    }

    /// The group is about to be committed; or, `None`, is none any more.
    pub(super) fn set_pending(&self, pending: Option<State>) {
        lock(&self.group).pending = pending;
    }

    /// The COMMIT of the group at hand has returned; it may be told of more than once.
    pub(super) fn committed(&self) {
        let mut group = lock(&self.group);
        if let Some(state) = group.pending.take() {
            let number = self.history(|history| {
                history.push(state);
                history.last().0
            });
            self.disk.committed(number);
        }
    }

    /// Ends the whole run: this is what it was made to find.
    pub(super) fn fail(&self, what: impl Into<String>) -> ! {
        self.scheduler.fail(what.into());
        stop(Stop::Over)
    }

    pub(super) fn must<T>(&self, what: &str, result: Result<T>) -> T {
        result.unwrap_or_else(|error| self.fail(format!("{what}: {error:?}")))
    }

    pub(super) fn check(&self, reading: &Reading) {
        if let Err(what) = self.history(|history| history.check(reading)) {
            self.fail(what);
        }
    }

    /// Somebody else may go on.
    pub(super) fn turn(&self, me: usize, at: &'static str) {
        if me == WRITER {
            self.disk.settle();
        }
        self.scheduler.turn(me, Note::At(at), true);
    }

    fn reached(&self, me: usize, point: Point) {
        // An unwinding that passes a point can't unwind again.
        if std::thread::panicking() {
            return;
        }
        match point {
            // SQLite is at it: nobody may be stopped here.
            Point::WalSynced => return self.disk.synced(),
            Point::GroupCommitted | Point::DirectCommitted if me == WRITER => self.committed(),
            Point::RowsInserted if broken::is(Variant::VersionsBeforeSequence) => self.versions.unmark(),
            _ => {}
        }
        if me == WRITER {
            self.disk.settle();
        }
        self.scheduler.turn(me, Note::Point(point), true);
    }

    /// An actor's thread: one life after another until all is over.
    pub(super) fn act(self: &Arc<Self>, me: usize, life: impl Fn(&World)) {
        broken::choose(self.variant);
        crowd_files(HOMES);
        let world = Arc::clone(self);
        points::listen(Some(Rc::new(move |point| world.reached(me, point))));
        self.scheduler.begin(me);
        loop {
            let lived = panic::catch_unwind(AssertUnwindSafe(|| {
                self.scheduler.turn(me, Note::At("begins"), false);
                life(self);
            }));
            match lived {
                Ok(()) => break,
                Err(payload) => match payload.downcast_ref::<Stop>() {
                    Some(Stop::Died) => {}
                    Some(Stop::Over) => break,
                    None => {
                        self.scheduler.fail(format!("a panic: {}", text_of(payload.as_ref())));
                        break;
                    }
                },
            }
        }
        points::listen(None);
        broken::choose(None);
        crowd_files(0);
        self.scheduler.end(me);
    }
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("of something else")
}

/// Whether the read must begin anew with another view.
pub(super) fn is_view_lost(error: &StorageError) -> bool {
    format!("{error:?}").starts_with("ViewLost")
}
