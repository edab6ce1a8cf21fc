//! Changes that are prepared beside the writer: a thread with a view of its own runs a call that takes long, and what it would write ahead of
//! its batch it orders from the writer, which alone writes. The writer does that in slices between groups, and at the end takes the
//! batch into one of them.
//!
//! ```text
//! preparer   view, watched keys | rows of new ids, sorted ------order-----> wait, new view | ...  | batch
//! writer     group | group | an orphan row for each id | a slice of the rows | group | slice | ... | group with the batch
//! ```
//! Until then an id has its row among the orphans, written in the transaction that gave it: whoever dies leaves what the sweeper finds. The
//! sweeper passes by the ids that this process is still building under. What a call has read in several views is what one had if its keys
//! have not changed from before the first one to the group that takes the batch: whoever asks for that group looks.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::keyspace::Keyspace;
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::{Announced, Prepared, Store};
use crate::storage::memtable::Memory;
use crate::storage::points::{Point, pass};
use crate::storage::rows::{Batch, Name, Origin, Row, RowKey};
use crate::storage::sqlite::{Base, Options};
use crate::sys::clock;

/// What is asked of the writer. The answer to `Ids` are some.
enum Work {
    Ids,
    /// Elements and chunks of new ids.
    Rows(Box<Batch>),
}

/// The preparer waits for the answer.
pub struct Order {
    work: Work,
    answer: Sender<Result<Vec<i64>>>,
}

/// Ids that come together.
const IDS_AT_ONCE: usize = 16;
/// A call that needs more, for elements that lie apart, is not prepared.
const IDS_MAX: usize = 256;
/// Rows that come one by one are ordered together.
const ROWS_BYTES: usize = if cfg!(test) { 64 << 10 } else { 4 << 20 };
/// A view that is older is let go of before the next look: it holds the `-wal` and a generation of the memory.
const VIEW_AGE_MAX: Duration = Duration::from_millis(50);

/// The preparer's end.
pub(super) struct Preparing {
    orders: Sender<Order>,
    /// Those that nothing has yet, and all that it got for the present call.
    free: Vec<i64>,
    given: HashSet<i64>,
    /// Rows that are not ordered yet.
    rows: RefCell<Batch>,
    /// Some were ordered that the view does not have.
    is_behind: Cell<bool>,
    view_begun: Cell<Instant>,
    /// Looks that go on, one within the other.
    looks: Cell<u32>,
}

impl Preparing {
    pub(super) fn new(orders: Sender<Order>) -> Self {
        Self {
            orders,
            free: Vec::new(),
            given: HashSet::new(),
            rows: RefCell::default(),
            is_behind: Cell::new(false),
            view_begun: Cell::new(clock::monotonic()),
            looks: Cell::new(0),
        }
    }

    /// For a new call.
    pub(super) fn begin(&mut self) {
        self.free.clear();
        self.given.clear();
        self.rows.borrow_mut().clear();
        self.has_new_view();
    }

    fn order(&self, work: Work) -> Result<Vec<i64>> {
        let (answer, answered) = bounded(1);
        let gone = || StorageError::Internal("the writer takes no orders any more".into());
        self.orders.send(Order { work, answer }).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    pub(super) fn fresh_id(&mut self) -> Result<i64> {
        if self.free.is_empty() {
            if self.given.len() >= IDS_MAX {
                return Err(StorageError::Internal("a call that is prepared has too many values of their own".into()));
            }
            self.free = self.order(Work::Ids)?;
            self.given.extend(&self.free);
        }
        self.free.pop().ok_or_else(|| StorageError::Internal("no id was given".into()))
    }

    /// A row that is ordered with others: all of them, once they are many.
    pub(super) fn keep(&self, name: RowKey<'_>, row: Row<'_>) -> Result<Option<Batch>> {
        self.rows.borrow_mut().put(name, row, Origin::Blind)?;
        let is_enough = self.rows.borrow().bytes() >= ROWS_BYTES;
        Ok(is_enough.then(|| self.kept()))
    }

    /// Takes those that are not ordered yet.
    pub(super) fn kept(&self) -> Batch {
        self.rows.take()
    }

    /// They are sorted here, where nobody waits for it.
    pub(super) fn order_rows(&self, rows: Batch) -> Result<()> {
        rows.in_order(|_| Ok::<_, StorageError>(()))?;
        self.is_behind.set(true);
        self.order(Work::Rows(Box::new(rows))).map(drop)
    }

    pub(super) fn has_new_view(&self) {
        self.view_begun.set(clock::monotonic());
        self.is_behind.set(false);
    }

    /// What is to be done before a look at rows of this value.
    pub(super) fn before_look(&self, id: Option<i64>) -> Before {
        let is_own = id.is_some_and(|id| self.given.contains(&id));
        let has_kept = is_own && !self.rows.borrow().is_empty();
        let must_see = has_kept || is_own && self.is_behind.get();
        let is_old = || clock::monotonic().duration_since(self.view_begun.get()) >= VIEW_AGE_MAX;
        if self.is_looking() {
            return if must_see { Before::Impossible } else { Before::Nothing };
        }
        if has_kept {
            return Before::Order(self.kept());
        }
        if must_see || is_old() {
            self.has_new_view();
            return Before::NewView;
        }
        Before::Nothing
    }

    pub(super) fn is_looking(&self) -> bool {
        self.looks.get() > 0
    }

    /// While it is held, a look goes on.
    pub(super) fn look(&self) -> Looking<'_> {
        self.looks.set(self.looks.get() + 1);
        Looking(&self.looks)
    }
}

/// Before a look.
pub(super) enum Before {
    Nothing,
    /// These rows have to be in the tables.
    Order(Batch),
    /// What was ordered is to be seen, or the view is old.
    NewView,
    /// The view can't change.
    Impossible,
}

pub(super) struct Looking<'a>(&'a Cell<u32>);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The value whose rows these are.
pub(super) fn value_of(name: Name<'_>) -> Option<i64> {
    match name {
        Name::Element(element) => Some(element.id),
        Name::Chunk { id, .. } => Some(id),
        _ => None,
    }
}

/// The writer's end.
pub struct Orders {
    receiver: Receiver<Order>,
    at_hand: Option<Order>,
    /// How many of its rows are written.
    written: usize,
}

impl Orders {
    /// With the end that a preparer gets.
    #[must_use]
    pub fn new() -> (Sender<Order>, Orders) {
        // There is one at a time. With a bound, what nobody fetches any more would stay, and whoever waits for the answer.
        let (sender, receiver) = unbounded();
        (sender, Orders { receiver, at_hand: None, written: 0 })
    }

    /// What the preparer waits for can't be done.
    pub fn refuse(&mut self, error: &StorageError) {
        if let Some(order) = self.at_hand.take() {
            order.answer.send(Err(error.clone())).ok();
        }
    }

    /// Whether the preparer waits for something.
    pub fn has_some(&mut self) -> bool {
        if self.at_hand.is_none() {
            self.at_hand = self.receiver.try_recv().ok();
            self.written = 0;
        }
        self.at_hand.is_some()
    }

    /// Does what `has_some` has found, for about so long, in a transaction of its own, between groups.
    ///
    /// # Errors
    /// Those of a commit that are everybody's. What is of the order alone, or a full disk, is the preparer's answer.
    pub fn serve(&mut self, keyspace: &mut Keyspace, now_ms: i64, time: Duration) -> Result<()> {
        let Some(order) = self.at_hand.take() else { return Ok(()) };
        keyspace.begin_upkeep(now_ms)?;
        let served = self.work(&order.work, &mut keyspace.store.base, clock::monotonic() + time);
        let answer = match served.and_then(|served| keyspace.commit().map(|()| served)) {
            Ok(Served::Partly(written)) => {
                (self.written, self.at_hand) = (written, Some(order));
                return Ok(());
            }
            Ok(Served::Wholly(ids)) => {
                keyspace.begin_building(&ids);
                Ok(ids)
            }
            Err(error) if error.is_of_the_call() || error == StorageError::Full => {
                keyspace.rollback()?;
                Err(error)
            }
            Err(error) => return Err(error),
        };
        pass(Point::OrderServed);
        // Whoever has gone gets no answer.
        order.answer.send(answer).ok();
        Ok(())
    }

    fn work(&self, work: &Work, base: &mut Base, until: Instant) -> Result<Served> {
        let Work::Rows(rows) = work else {
            let ids: Vec<i64> = (0..IDS_AT_ONCE).map(|_| base.fresh_id()).collect::<Result<_>>()?;
            ids.iter().try_for_each(|id| base.make_orphan(*id))?;
            return Ok(Served::Wholly(ids));
        };
        let mut written = self.written;
        let left = rows.go_on_in_order(self.written, |changed| {
            match (changed.key.name(), changed.row) {
                (_, Some(Row::Element(row))) => base.write_element_ahead(changed.key, row)?,
                (Name::Chunk { id, number }, Some(Row::Chunk(bytes))) => base.write_ahead(id, number, bytes)?,
                _ => {}
            }
            written += 1;
            let is_over = written.is_multiple_of(ROWS_BETWEEN_LOOKS) && clock::monotonic() >= until;
            Ok::<_, StorageError>(if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(left.map_or_else(|| Served::Wholly(Vec::new()), Served::Partly))
    }
}

/// How far an order has come.
enum Served {
    /// So many of its rows are written.
    Partly(usize),
    /// With the ids that were asked for.
    Wholly(Vec<i64>),
}

/// Rows that are written before the clock is looked at.
const ROWS_BETWEEN_LOOKS: usize = 64;

/// Prepares calls: a keyspace whose changes go nowhere by themselves.
pub struct Preparer {
    pub keyspace: Keyspace,
    announced: Announced,
}

impl Preparer {
    /// A connection for views; `memory` is that of the writer, which serves the orders.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn open(options: &Options, memory: Memory, orders: Sender<Order>) -> Result<Preparer> {
        let announced = Announced::default();
        let keyspace = Keyspace::open_preparer(options, memory, Preparing::new(orders), announced.hook())?;
        Ok(Preparer { keyspace, announced })
    }

    /// A call begins, with a view that begins now.
    ///
    /// # Errors
    /// There is no view.
    pub fn begin(&mut self, now_ms: i64) -> Result<()> {
        self.abandon()?;
        if let Some(preparing) = &mut self.keyspace.store.preparing {
            preparing.begin();
        }
        self.keyspace.begin_read(now_ms)
    }

    /// The call is done, and its view ends. `None`: what it has changed can't be prepared.
    ///
    /// # Errors
    /// What it would write ahead can't be written.
    pub fn finish(&mut self) -> Result<Option<Prepared>> {
        let rows = self.keyspace.store.preparing.as_ref().map_or_else(Batch::default, Preparing::kept);
        self.keyspace.store.order_rows(rows)?;
        let ids = self.ids();
        let prepared = self.keyspace.take_prepared(&self.announced, ids);
        self.abandon()?;
        Ok(prepared)
    }

    /// What the last call has changed is forgotten.
    ///
    /// # Errors
    /// The view can't be let go of.
    pub fn abandon(&mut self) -> Result<()> {
        self.keyspace.forget_undone();
        self.announced.forget();
        self.keyspace.end_read()
    }

    /// The ids that the last call has got, to be told to the writer: whatever became of them.
    #[must_use]
    pub fn ids(&self) -> Vec<i64> {
        self.keyspace
            .store
            .preparing
            .as_ref()
            .map_or_else(Vec::new, |preparing| preparing.given.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::storage::fixture::{self, Fixture, NOW_MS};
    use crate::storage::{Expiry, Kind, Lookup};

    const FEW: Duration = Duration::ZERO;

    /// Runs a change beside the writer, which serves it a slice at a time and does something else in between.
    fn prepare(
        fixture: &mut Fixture,
        change: impl FnOnce(&mut Keyspace) -> Result<()> + Send,
        mut between: impl FnMut(&mut Fixture, usize),
    ) -> Option<(Prepared, Vec<i64>)> {
        let (order, mut orders) = Orders::new();
        let (options, memory) = (fixture.options.clone(), fixture.memory);
        thread::scope(|scope| {
            let preparing = scope.spawn(move || {
                let mut preparer = Preparer::open(&options, memory, order).unwrap();
                preparer.begin(NOW_MS).unwrap();
                let changed = change(&mut preparer.keyspace);
                let prepared = changed.and_then(|()| preparer.finish()).ok().flatten();
                prepared.map(|prepared| (prepared, preparer.ids()))
            });
            let mut slices = 0;
            while !preparing.is_finished() {
                if orders.has_some() {
                    slices += 1;
                    orders.serve(&mut fixture.writer, NOW_MS, FEW).unwrap();
                    between(fixture, slices);
                }
                thread::yield_now();
            }
            preparing.join().unwrap()
        })
    }

    fn members(count: u32) -> Vec<Vec<u8>> {
        (0..count).map(|n| format!("member {n}").into_bytes()).collect()
    }

    fn build(keyspace: &mut Keyspace, key: &[u8], count: u32) -> Result<()> {
        let mut building = keyspace.build(Kind::SortedSet);
        for (score, member) in members(count).iter().enumerate() {
            keyspace.add_score_to(&mut building, member, score as f64)?;
        }
        keyspace.put_built(key, building, Expiry::Clear).map(drop)
    }

    fn sweep(fixture: &mut Fixture) -> usize {
        std::iter::repeat_with(|| fixture.write(|keyspace| keyspace.sweep_orphans(1000)).unwrap())
            .take_while(|swept| *swept > 0)
            .sum()
    }

    fn assert_built(fixture: &mut Fixture, key: &[u8], count: u32) {
        fixture.write(|keyspace| {
            let Lookup::Found(set) = keyspace.sorted_set(key).unwrap() else { panic!("no set") };
            assert_eq!(set.len(), u64::from(count));
            assert_eq!(set.rank(b"member 777").unwrap(), Some((777, 777.0)));
        });
        let mut reader = fixture.reader();
        reader.begin_read(NOW_MS).unwrap();
        let Lookup::Found(set) = reader.sorted_set(key).unwrap() else { panic!("no set") };
        assert_eq!(set.score(b"member 9000").unwrap(), Some(9000.0));
        reader.end_read().unwrap();
        fixture.writer.merge_all(NOW_MS).unwrap();
        fixture.write(|keyspace| assert_eq!(keyspace.verify().unwrap().problems, [""; 0]));
    }

    #[test]
    fn what_is_prepared_between_groups_is_there_with_the_group_that_takes_it_and_not_before() {
        for memory in [fixture::memory(), Memory::off()] {
            let mut fixture = Fixture::on(memory);
            let (prepared, ids) = prepare(
                &mut fixture,
                |keyspace| build(keyspace, b"z", 20_000),
                |fixture, slice| {
                    fixture.write(|keyspace| {
                        keyspace.put_string(b"k", &slice.to_string().into_bytes(), Expiry::Clear).unwrap();
                        assert_eq!(keyspace.entry(b"z").unwrap(), None);
                    });
                    // Nobody sweeps what is being built.
                    sweep(fixture);
                },
            )
            .unwrap();
            assert!(!ids.is_empty());
            fixture.announced.take();
            fixture.write(|keyspace| keyspace.adopt(&prepared).unwrap());
            assert_eq!(fixture.announced.take(), [Some((0, b"z".to_vec()))]);
            fixture.writer.end_building(&ids);
            sweep(&mut fixture);
            assert_built(&mut fixture, b"z", 20_000);
            fixture.write(|keyspace| assert_eq!(keyspace.orphans_left().unwrap(), 0));
        }
    }

    #[test]
    fn what_nobody_takes_is_swept_whoever_is_the_writer_by_then() {
        for has_died in [false, true] {
            let mut fixture = Fixture::on(fixture::memory());
            let rows = |fixture: &Fixture| {
                let sql = "SELECT (SELECT count(*) FROM sorted_member) + (SELECT count(*) FROM sorted_order)";
                fixture.writer.connection().query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap()
            };
            let (prepared, ids) = prepare(&mut fixture, |keyspace| build(keyspace, b"z", 20_000), |_, _| {}).unwrap();
            assert!(rows(&fixture) > 30_000);
            if has_died {
                fixture.reopen_writer();
            } else {
                // Taken, and undone with its group, and with its call.
                fixture.writer.begin_write(NOW_MS).unwrap();
                fixture.writer.adopt(&prepared).unwrap();
                fixture.writer.rollback().unwrap();
                fixture.write(|keyspace| {
                    let savepoint = keyspace.savepoint();
                    keyspace.adopt(&prepared).unwrap();
                    keyspace.undo_to(savepoint).unwrap();
                });
                fixture.writer.merge_all(NOW_MS).unwrap();
                sweep(&mut fixture);
                assert!(rows(&fixture) > 30_000, "another group may still take it");
                fixture.writer.end_building(&ids);
            }
            sweep(&mut fixture);
            assert_eq!(rows(&fixture), 0);
            fixture.write(|keyspace| {
                assert_eq!(keyspace.orphans_left().unwrap(), 0);
                assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
            });
        }
    }

    #[test]
    fn copies_removals_and_strings_are_prepared_over_what_is_not_merged() {
        let mut fixture = Fixture::on(fixture::memory());
        fixture.write(|keyspace| {
            build(keyspace, b"source", 12_000).unwrap();
            keyspace.put_string(b"big", &vec![7; 3 << 20], Expiry::Clear).unwrap();
        });
        for change in [
            (|keyspace: &mut Keyspace| keyspace.copy(b"source", 0, b"z", true).map(drop)) as fn(&mut Keyspace) -> _,
            |keyspace| keyspace.copy(b"big", 0, b"copy", true).map(drop),
            |keyspace| keyspace.sorted_set_remove_ranks(b"z", 10_000, 1_000).map(drop),
        ] {
            let (prepared, ids) = prepare(&mut fixture, change, |fixture, slice| {
                fixture.write(|keyspace| {
                    keyspace
                        .sorted_set_add::<StorageError>(b"other", &[&slice.to_le_bytes()[..]], |_, _| Ok(Some(1.0)))
                        .unwrap();
                });
            })
            .unwrap();
            fixture.write(|keyspace| keyspace.adopt(&prepared).unwrap());
            fixture.writer.end_building(&ids);
            sweep(&mut fixture);
        }
        assert_built(&mut fixture, b"z", 11_000);
        fixture.write(|keyspace| {
            assert_eq!(keyspace.string(b"copy").unwrap(), Lookup::Found(vec![7; 3 << 20]));
        });
    }

    #[test]
    fn a_row_that_was_swept_meanwhile_is_counted_once() {
        let mut fixture = Fixture::on(fixture::memory());
        fixture.write(|keyspace| keyspace.put_string(b"z", b"old", Expiry::At(NOW_MS)).unwrap());
        fixture.write_at(NOW_MS - 10, |keyspace| keyspace.put_string(b"z", b"old", Expiry::At(NOW_MS)).unwrap());
        fixture.writer.merge_all(NOW_MS).unwrap();
        let (prepared, _) = prepare(&mut fixture, |keyspace| build(keyspace, b"z", 10_000), |_, _| {}).unwrap();
        assert_eq!(fixture.write(|keyspace| keyspace.sweep_expired(10)).unwrap(), 1);
        fixture.write(|keyspace| keyspace.adopt(&prepared).unwrap());
        fixture.write(|keyspace| {
            assert_eq!((keyspace.key_count().unwrap(), keyspace.expires_count().unwrap()), (1, 0));
        });
        assert_built(&mut fixture, b"z", 10_000);
    }

    /// What begins in the batch, and opens its pack there, has ids like what went ahead.
    #[test]
    fn every_id_that_a_taken_change_uses_is_no_orphan_any_more() {
        let long = [b'x'; 2000];
        let set = move |keyspace: &mut Keyspace, key: &[u8], count: u32| {
            let mut building = keyspace.build(Kind::Set);
            keyspace.add_to(&mut building, &long, &[])?;
            for member in members(count) {
                keyspace.add_to(&mut building, &member, &[])?;
            }
            keyspace.put_built(key, building, Expiry::Clear).map(drop)
        };
        let change = move |keyspace: &mut Keyspace| {
            keyspace.put_string(b"string", &[7; 300 << 10], Expiry::Clear)?;
            set(keyspace, b"set", 20_000)?;
            set(keyspace, b"just too many", 128)?;
            set(keyspace, b"packed", 3)?;
            let mut building = keyspace.build_list();
            keyspace.add_to_list(&mut building, &long)?;
            for item in members(5000) {
                keyspace.add_to_list(&mut building, &item)?;
            }
            keyspace.put_built_list(b"list", building, Expiry::Clear)?;
            // Given up within the call.
            set(keyspace, b"list", 5000)
        };
        for memory in [Memory::off(), fixture::memory()] {
            let mut fixture = Fixture::on(memory);
            let (prepared, ids) = prepare(&mut fixture, change, |_, _| {}).unwrap();
            fixture.write(|keyspace| keyspace.adopt(&prepared).unwrap());
            fixture.writer.end_building(&ids);
            sweep(&mut fixture);
            fixture.writer.merge_all(NOW_MS).unwrap();
            sweep(&mut fixture);
            fixture.write(|keyspace| {
                assert_eq!(keyspace.string(b"string").unwrap(), Lookup::Found(vec![7; 300 << 10]));
                for (key, count) in [(&b"set"[..], 20_001), (b"just too many", 129), (b"packed", 4), (b"list", 5001)] {
                    let Lookup::Found(set) = keyspace.set(key).unwrap() else { panic!("no set") };
                    let mut shown = 0;
                    set.each_name::<StorageError>(|name| {
                        shown += u64::from(name == long || name.starts_with(b"member "));
                        Ok(())
                    })
                    .unwrap();
                    assert_eq!((set.len(), shown), (count, count));
                }
                assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
                assert_eq!(keyspace.orphans_left().unwrap(), 0);
            });
        }
    }

    #[test]
    fn whoever_waits_for_an_order_that_nobody_fetches_is_let_go() {
        let fixture = Fixture::on(fixture::memory());
        let (order, orders) = Orders::new();
        let (options, memory) = (fixture.options.clone(), fixture.memory);
        let preparing = thread::spawn(move || {
            let mut preparer = Preparer::open(&options, memory, order).unwrap();
            preparer.begin(NOW_MS).unwrap();
            build(&mut preparer.keyspace, b"z", 1000)
        });
        while orders.receiver.is_empty() {
            thread::yield_now();
        }
        drop(orders);
        assert!(preparing.join().unwrap().is_err());
    }

    #[test]
    fn what_no_group_could_know_to_hold_is_not_prepared() {
        let mut fixture = Fixture::on(fixture::memory());
        let flushed = prepare(&mut fixture, |keyspace| keyspace.flush_database(), |_, _| {});
        assert!(flushed.is_none());
        let many = prepare(
            &mut fixture,
            |keyspace| {
                let mut building = keyspace.build(Kind::Hash);
                for n in 0..10_000_u32 {
                    keyspace.add_to(&mut building, &n.to_le_bytes(), &[1; 500])?;
                }
                keyspace.put_built(b"h", building, Expiry::Clear).map(drop)
            },
            |_, _| {},
        );
        assert!(many.is_none(), "more values of their own than ids");
    }
}
