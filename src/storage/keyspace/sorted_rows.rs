//! The rows of a sorted set: a member's own, by its home, has the score; another names the same member by score and bytes. Of a long member
//! the latter has the beginning, and a label that puts it in its order among those which begin alike.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::counted::along;
use super::element_rows::{Home, Rows};
use super::keyspace::{Keyspace, Store};
use super::packed::damaged;
use super::scores::{Bound, score_of_row};
use super::walks::Place;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{
    Apart, Batch, Direction, ElementRow, Name, Origin, Part, Passing, Row, RowKey, Table, order_score, score_order,
};

const LABEL_BYTES: usize = 8;
/// So many rows on either side of a place without room get new labels, or twice as many, and so on.
const RELABELLED_MIN: u64 = 8;

/// What the row of a member says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ScoredRow {
    pub(super) score: f64,
    /// Of a long member.
    label: Option<u64>,
    pub(super) apart: Option<Apart>,
}

/// A row of the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ordered<'a> {
    order: u64,
    tail: &'a [u8],
    value: &'a [u8],
    apart: Option<Apart>,
}

/// The same with its bytes.
#[derive(Clone, Debug)]
pub(super) struct OwnedOrdered {
    pub(super) order: u64,
    pub(super) tail: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) apart: Option<Apart>,
}

impl Ordered<'_> {
    pub(super) fn score(&self) -> f64 {
        if self.value.is_empty() { order_score(self.order) } else { -0.0 }
    }

    pub(super) fn place(&self) -> Place<'_> {
        (self.order, self.tail)
    }

    /// Whether it has only the beginning of the member.
    pub(super) fn is_long(&self) -> bool {
        self.apart.is_some()
    }

    pub(super) fn to_owned(self) -> OwnedOrdered {
        let Ordered { order, tail, value, apart } = self;
        OwnedOrdered { order, tail: tail.to_vec(), value: value.to_vec(), apart }
    }
}

impl OwnedOrdered {
    pub(super) fn borrowed(&self) -> Ordered<'_> {
        Ordered { order: self.order, tail: &self.tail, value: &self.value, apart: self.apart }
    }

    pub(super) fn place(&self) -> Place<'_> {
        (self.order, &self.tail)
    }

    pub(super) fn label(&self) -> Result<u64> {
        self.tail.last_chunk().map(|label| u64::from_be_bytes(*label)).ok_or_else(damaged)
    }
}

pub(super) fn members_of(id: i64) -> Rows {
    Rows { table: Table::SortedMember, id }
}

pub(super) fn order_of(id: i64) -> Rows {
    Rows { table: Table::SortedOrder, id }
}

impl<S: Store> Keyspace<S> {
    pub(super) fn scored_row(&self, row: RowKey<'_>) -> Result<Option<ScoredRow>> {
        self.view().row(row, Part::Whole, |row| ScoredRow::read(row.of_element()))?.transpose()
    }

    /// What names a member in its order behind its score.
    fn order_tail<'m>(&self, member: &'m [u8], label: Option<u64>) -> Cow<'m, [u8]> {
        match label {
            None => Cow::Borrowed(member),
            Some(label) => {
                let mut tail = self.beginning(member).to_vec();
                tail.extend_from_slice(&label.to_be_bytes());
                Cow::Owned(tail)
            }
        }
    }

    fn beginning<'m>(&self, member: &'m [u8]) -> &'m [u8] {
        &member[..member.len().min(self.layout.name_bytes_max)]
    }

    pub(super) fn is_long(&self, member: &[u8]) -> bool {
        member.len() > self.layout.name_bytes_max
    }

    /// Where a member that is there lies.
    pub(super) fn member_place<'m>(&self, member: &'m [u8], row: &ScoredRow) -> (u64, Cow<'m, [u8]>) {
        (score_order(row.score), self.order_tail(member, row.label))
    }

    /// Writes both rows of a member. `label` is that of a long one; what lies apart of it is written where nothing does yet.
    pub(super) fn put_scored(
        &mut self,
        id: i64,
        (member, score): (&[u8], f64),
        label: u64,
        apart: Option<Apart>,
        ahead: Option<&mut Batch>,
    ) -> Result<()> {
        let label = self.is_long(member).then_some(label);
        let apart = match (label, apart) {
            (Some(_), None) => {
                let id = self.store_chunks(None, member, ahead.is_some())?;
                Some(Apart { id, name_bytes: member.len() as u64, value_bytes: 0 })
            }
            (_, apart) => apart,
        };
        let (home, tail) = (self.home(member), self.order_tail(member, label));
        let row = ScoredRow { score, label, apart };
        let order = score_order(score);
        self.edges.comes(id, Ordered { order, tail: &tail, value: minus_zero(score), apart });
        let out = ahead.unwrap_or(&mut self.batch);
        put_member(out, members_of(id).row(&home), &row)?;
        put_ordered(out, order_of(id), (order, &tail), minus_zero(score), apart)
    }

    /// Adds a member to rows that are counted.
    pub(super) fn add_scored(&mut self, id: i64, member: &[u8], score: f64) -> Result<()> {
        let label = if self.is_long(member) { self.new_label(id, member, score)? } else { 0 };
        self.put_scored(id, (member, score), label, None, None)?;
        let tail = self.order_tail(member, self.is_long(member).then_some(label));
        self.count_rows(order_of(id), (score_order(score), &tail), 1)
    }

    /// Gives a member that is there another score, in rows that are counted.
    pub(super) fn move_scored(&mut self, id: i64, member: &[u8], old: &ScoredRow, score: f64) -> Result<()> {
        let (order, tail) = self.member_place(member, old);
        let label = if self.is_long(member) { self.new_label(id, member, score)? } else { 0 };
        // A new label may have been made room for: of the same score it is not, so this one stands.
        self.delete_order(id, (order, &tail))?;
        self.put_scored(id, (member, score), label, old.apart, None)?;
        let new_tail = self.order_tail(member, self.is_long(member).then_some(label));
        self.count_moved(order_of(id), (order, &tail), (score_order(score), &new_tail))
    }

    /// Removes a member's rows, which are counted.
    pub(super) fn remove_scored(&mut self, id: i64, member: &[u8], old: &ScoredRow) -> Result<()> {
        let (order, tail) = self.member_place(member, old);
        let home = self.home(member);
        self.delete_element(members_of(id).row(&home), old.apart)?;
        self.delete_order(id, (order, &tail))?;
        self.count_rows(order_of(id), (order, &tail), -1)
    }

    /// Removes both rows of a member that was found in its order. Somebody counts.
    pub(super) fn delete_ordered(&mut self, id: i64, row: &OwnedOrdered) -> Result<()> {
        let long_name = self.long_member(row.borrowed())?;
        let home = self.home(long_name.as_deref().unwrap_or(&row.tail));
        let home = Home { position: home.position, name: Cow::Owned(home.name.into_owned()) };
        self.delete_element(members_of(id).row(&home), row.apart)?;
        self.delete_order(id, row.place())
    }

    fn delete_order(&mut self, id: i64, place: Place<'_>) -> Result<()> {
        self.edges.goes(id, place);
        self.batch.delete(order_of(id).row_at(place), Origin::Blind)
    }

    /// Shows rows of the order from a place on, until `show` fails or breaks off.
    pub(super) fn each_ordered<E: From<StorageError>>(
        &self,
        id: i64,
        from: Place<'_>,
        direction: Direction,
        show: &mut dyn FnMut(Ordered<'_>) -> std::result::Result<ControlFlow<()>, E>,
    ) -> std::result::Result<(), E> {
        self.each_along(order_of(id), (from, 0), direction, show)
    }

    /// The same of any table that is in an order, behind so many rows that are passed.
    pub(super) fn each_along<E: From<StorageError>>(
        &self,
        rows: Rows,
        (from, skip): (Place<'_>, u64),
        direction: Direction,
        show: &mut dyn FnMut(Ordered<'_>) -> std::result::Result<ControlFlow<()>, E>,
    ) -> std::result::Result<(), E> {
        let mut outcome = Ok(());
        self.view().walk_passing(along(rows, from, direction), &mut Passing::rows(skip), &mut |key, row| {
            let Name::Element(name) = key.name() else { return ControlFlow::Continue(()) };
            let ElementRow { value, apart } = row.of_element();
            match show(Ordered { order: name.position, tail: name.name, value, apart }) {
                Ok(flow) => flow,
                Err(error) => {
                    outcome = Err(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        outcome
    }

    /// The rows of the order from a place on, so many of them.
    pub(super) fn ordered(&self, id: i64, from: Place<'_>, skip: u64, count: u64) -> Result<Vec<OwnedOrdered>> {
        self.rows_along(order_of(id), from, skip, count)
    }

    /// The same of any table that is in an order.
    pub(super) fn rows_along(&self, rows: Rows, from: Place<'_>, skip: u64, count: u64) -> Result<Vec<OwnedOrdered>> {
        let mut found = Vec::new();
        if count == 0 {
            return Ok(found);
        }
        self.each_along::<StorageError>(rows, (from, skip), Direction::Forward, &mut |row| {
            found.push(row.to_owned());
            Ok(if (found.len() as u64) < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// The name of a long member; `None`: it is the row's tail.
    pub(super) fn long_member(&self, row: Ordered<'_>) -> Result<Option<Vec<u8>>> {
        row.apart.map_or(Ok(None), |apart| self.apart_name(apart))
    }

    /// How many members lie before a bound.
    pub(super) fn members_before(&self, id: i64, bound: Bound<'_>) -> Result<u64> {
        let mut tail = Vec::new();
        let order = match bound {
            Bound::Score { score, is_behind } => score_order(score) + u64::from(is_behind),
            Bound::Member { score, member, is_behind } if self.is_long(member) => {
                let ties = self.ties(id, score_order(score), member)?;
                let (rank, is_there) = self.tied_rank(id, &ties, member)?;
                return Ok(rank + u64::from(is_behind && is_there));
            }
            Bound::Member { score, member, is_behind } => {
                tail.extend_from_slice(member);
                if is_behind {
                    tail.push(0);
                }
                score_order(score)
            }
        };
        self.rows_before(order_of(id), (order, &tail))
    }

    /// The ranks of the long members of a score that begin like this one, from the first to behind the last.
    fn ties(&self, id: i64, order: u64, member: &[u8]) -> Result<std::ops::Range<u64>> {
        let first = [self.beginning(member), &[0]].concat();
        let behind = [self.beginning(member), &[0xff; LABEL_BYTES], &[0]].concat();
        let mut is_any = false;
        self.each_ordered::<StorageError>(id, (order, &first), Direction::Forward, &mut |row| {
            is_any = (row.order, row.tail) < (order, &behind);
            Ok(ControlFlow::Break(()))
        })?;
        let begin = self.rows_before(order_of(id), (order, &first))?;
        let end = if is_any { self.rows_before(order_of(id), (order, &behind))? } else { begin };
        Ok(begin..end)
    }

    /// The rank that a long member has among those that begin alike, or would have.
    fn tied_rank(&self, id: i64, ties: &std::ops::Range<u64>, member: &[u8]) -> Result<(u64, bool)> {
        let (mut low, mut high) = (ties.start, ties.end);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.ordered_at(id, middle)?;
            let name = self.long_member(row.borrowed())?.ok_or_else(damaged)?;
            match name.as_slice().cmp(member) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok((middle, true)),
                Ordering::Greater => high = middle,
            }
        }
        Ok((low, false))
    }

    pub(super) fn ordered_at(&self, id: i64, rank: u64) -> Result<OwnedOrdered> {
        let at = self.row_at(id, rank)?.ok_or_else(damaged)?;
        self.ordered(id, at.place(), at.skip, 1)?.pop().ok_or_else(damaged)
    }

    /// A label that puts a long member, which is not there with this score, in its place among those that begin alike.
    fn new_label(&mut self, id: i64, member: &[u8], score: f64) -> Result<u64> {
        let (label_max, label_step) = (self.layout.label_max, self.layout.label_step);
        let ties = self.ties(id, score_order(score), member)?;
        if ties.is_empty() {
            return Ok(label_max / 2);
        }
        let (rank, _) = self.tied_rank(id, &ties, member)?;
        let before = if rank > ties.start { Some(self.ordered_at(id, rank - 1)?.label()?) } else { None };
        let after = if rank < ties.end { Some(self.ordered_at(id, rank)?.label()?) } else { None };
        let room = after.unwrap_or(label_max) - before.unwrap_or(0);
        match (before, after) {
            _ if room < 2 => self.relabel(id, &ties, rank),
            // At an end many come one after another.
            (Some(before), None) => Ok(before + label_step.min(room / 2)),
            (None, Some(after)) => Ok(after - label_step.min(room / 2)),
            _ => Ok(before.unwrap_or(0) + room / 2),
        }
    }

    /// Gives members around a rank new labels, evenly, and says the one that is free there. The more rows change, the more room each
    /// of them gets: so it comes seldom.
    fn relabel(&mut self, id: i64, ties: &std::ops::Range<u64>, rank: u64) -> Result<u64> {
        let mut side = RELABELLED_MIN;
        let (first, rows, low, step) = loop {
            let first = rank.saturating_sub(side).max(ties.start);
            let end = rank.saturating_add(side).min(ties.end);
            let low = if first > ties.start { self.ordered_at(id, first - 1)?.label()? } else { 0 };
            let high = if end < ties.end { self.ordered_at(id, end)?.label()? } else { self.layout.label_max };
            let step = (high - low) / (end - first + 2);
            if step > end - first || (first..end) == *ties {
                let at = self.row_at(id, first)?.ok_or_else(damaged)?;
                break (first, self.ordered(id, at.place(), at.skip, end - first)?, low, step);
            }
            side *= 2;
        };
        if step == 0 {
            return Err(StorageError::Corrupt("too many members begin alike".into()));
        }
        for row in &rows {
            self.delete_order(id, row.place())?;
            self.count_rows(order_of(id), row.place(), -1)?;
        }
        for (number, row) in (first..).zip(&rows) {
            let label = low + step * (number - first + 1 + u64::from(number >= rank));
            let name = self.long_member(row.borrowed())?.ok_or_else(damaged)?;
            self.put_scored(id, (&name, row.borrowed().score()), label, row.apart, None)?;
            let tail = self.order_tail(&name, Some(label));
            self.count_rows(order_of(id), (row.order, &tail), 1)?;
        }
        Ok(low + step * (rank - first + 1))
    }

    /// Puts long members that begin alike, whose labels are in the order in which they came, in the order of their bytes.
    pub(super) fn settle_ties(&mut self, id: i64, rows: &[OwnedOrdered]) -> Result<()> {
        let mut names = Vec::with_capacity(rows.len());
        for row in rows {
            names.push(self.long_member(row.borrowed())?.ok_or_else(damaged)?);
        }
        if names.is_sorted() {
            return Ok(());
        }
        let mut in_order: Vec<usize> = (0..rows.len()).collect();
        in_order.sort_by(|a, b| names[*a].cmp(&names[*b]));
        for row in rows {
            self.delete_order(id, row.place())?;
        }
        for (number, place) in in_order.into_iter().enumerate() {
            let (row, label) = (&rows[place], rows[number].label()?);
            self.put_scored(id, (&names[place], row.borrowed().score()), label, row.apart, None)?;
        }
        Ok(())
    }

    /// Whether two rows are of long members that have one score and begin alike.
    pub(super) fn are_tied(&self, a: &OwnedOrdered, b: &OwnedOrdered) -> bool {
        let beginning = |row: &OwnedOrdered| row.tail.len().checked_sub(LABEL_BYTES);
        a.apart.is_some()
            && b.apart.is_some()
            && a.order == b.order
            && beginning(a) == beginning(b)
            && beginning(a).is_some_and(|end| a.tail[..end] == b.tail[..end])
    }
}

impl ScoredRow {
    fn read(row: ElementRow<'_>) -> Result<Self> {
        let label = row.value.get(8..).and_then(|rest| rest.first_chunk()).map(|label| u64::from_le_bytes(*label));
        Ok(Self { score: score_of_row(row.value)?, label, apart: row.apart })
    }
}

pub(super) fn is_minus_zero(score: f64) -> bool {
    score == 0.0 && score.is_sign_negative()
}

fn minus_zero(score: f64) -> &'static [u8] {
    if is_minus_zero(score) { &[1] } else { &[] }
}

fn put_member(out: &mut Batch, name: RowKey<'_>, row: &ScoredRow) -> Result<()> {
    let mut value = row.score.to_le_bytes().to_vec();
    value.extend(row.label.into_iter().flat_map(u64::to_le_bytes));
    out.put(name, Row::Element(ElementRow { value: &value, apart: row.apart }), Origin::Blind)
}

fn put_ordered(out: &mut Batch, rows: Rows, place: Place<'_>, value: &[u8], apart: Option<Apart>) -> Result<()> {
    out.put(rows.row_at(place), Row::Element(ElementRow { value, apart }), Origin::Blind)
}
