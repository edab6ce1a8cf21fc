//! A copy beside a busy writer: some pages between two groups, and a thread that gives them to the disk at the disk's pace.
//!
//! ```text
//! writer thread    Copier::begin, step …   copies for two milliseconds; orders what it copied to be written back; finish
//! other thread     WriteBacks::follow      writes back in small pieces, since a commit's fsync queues behind each
//! ```

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::storage::backup::{Backup, Copied};
use crate::storage::error::Result;
use crate::storage::{Keyspace, PAGE_BYTES};
use crate::sys::{clock, disk};

/// The writer's half of a copy in the making.
pub struct Copier {
    copy: Backup,
    orders: WriteBackOrders,
    /// When the last step ended, and how long it took.
    stepped: Option<(Instant, Duration)>,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The groups or the disk have their turn. Come again after so long.
    Waits(Duration),
    /// More is to be copied.
    Copied,
    /// All is copied: what was committed up to now is in it. `Copier::finish` is next.
    Complete,
}

/// The end at which write-backs are ordered. The other thread gives up when all of these are gone before all is copied.
#[derive(Clone)]
pub struct WriteBackOrders(Sender<Order>);

/// The end of the thread that does them.
pub struct WriteBacks(Receiver<Order>);

enum Order {
    /// The writer has made the file and copies to it.
    Begin,
    /// So many bytes have been copied.
    WriteBack(u64),
    /// All is copied.
    Finish,
}

/// How long a step copies; a busy writer has its groups for as long in between.
const STEP: Duration = Duration::from_millis(2);
/// Pages between two looks at the clock.
const PAGES_AT_ONCE: u32 = 16;
/// How many steps the thread may be behind in writing back: then the disk sets the pace.
const STEPS_BEHIND_MAX: usize = 4;
/// What is given to the disk at once: a commit's fsync queues behind it.
pub(super) const WRITE_BACK_BYTES: u64 = 256 << 10;

/// The two ends for one copy.
#[must_use]
pub fn write_backs() -> (WriteBackOrders, WriteBacks) {
    let (orders, orders_end) = bounded(STEPS_BEHIND_MAX + 2);
    (WriteBackOrders(orders), WriteBacks(orders_end))
}

impl WriteBackOrders {
    fn has_room(&self) -> bool {
        self.0.len() < STEPS_BEHIND_MAX
    }

    fn order(&self, order: Order) {
        // There is room for it, or the thread has failed and says so itself.
        drop(self.0.try_send(order));
    }
}

impl Copier {
    /// Makes the file `part` for a copy of what this base's connection writes.
    ///
    /// # Errors
    /// The file can't be made, or there is one.
    pub fn begin(base: &Keyspace, part: &Path, orders: WriteBackOrders) -> Result<Copier> {
        let copy = Backup::begin(base, part)?;
        orders.order(Order::Begin);
        Ok(Copier { copy, orders, stepped: None })
    }

    /// Between two transactions; `is_idle`: no group waits for its turn.
    ///
    /// # Errors
    /// Reading or writing failed, now or when a commit passed its pages on: the copy is of no use any more.
    pub fn step(&mut self, now: Instant, is_idle: bool) -> Result<Step> {
        let is_turn = is_idle || self.stepped.is_none_or(|(ended, took)| now.saturating_duration_since(ended) >= took);
        if !is_turn || !self.orders.has_room() {
            return Ok(Step::Waits(STEP));
        }
        let begun = clock::monotonic();
        let advanced = self.advance_for(begun, STEP);
        let took = clock::monotonic().duration_since(begun);
        self.stepped = Some((now + took, took));
        if advanced? {
            return Ok(Step::Complete);
        }
        self.orders.order(Order::WriteBack(self.copied().pages * u64::from(PAGE_BYTES)));
        Ok(Step::Copied)
    }

    /// After `Step::Complete`: closes the file, and lets the other thread go on with it.
    pub fn finish(self) {
        drop(self.copy);
        self.orders.order(Order::Finish);
    }

    #[must_use]
    pub fn copied(&self) -> Copied {
        self.copy.copied()
    }

    fn advance_for(&mut self, begun: Instant, time: Duration) -> Result<bool> {
        loop {
            if self.copy.advance(PAGES_AT_ONCE)? {
                return Ok(true);
            }
            if clock::monotonic().duration_since(begun) >= time {
                return Ok(false);
            }
        }
    }
}

impl WriteBacks {
    /// Until all is copied and written back (true), or the copy was given up (false).
    ///
    /// # Errors
    /// The file can't be opened or written back.
    pub fn follow(&self, part: &Path) -> io::Result<bool> {
        let mut copy = None;
        let mut written = 0;
        while let Ok(order) = self.0.recv() {
            match (order, &copy) {
                (Order::Begin, _) => copy = Some(File::open(part)?),
                (Order::WriteBack(bytes), Some(file)) => {
                    write_back(file, written, bytes)?;
                    written = written.max(bytes);
                }
                // Pages that were copied again, all over the file: else the sync would give them to the disk at once.
                (Order::Finish, Some(file)) => {
                    write_back(file, 0, file.metadata()?.len())?;
                    return Ok(true);
                }
                (Order::WriteBack(_) | Order::Finish, None) => unreachable!("a copy begins before it goes on"),
            }
        }
        Ok(false)
    }
}

/// In pieces, so that a commit's fsync queues behind one of them at most.
fn write_back(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut written = from;
    while written < to {
        let length = WRITE_BACK_BYTES.min(to - written);
        disk::write_back(file, written, length)?;
        written += length;
    }
    Ok(())
}
