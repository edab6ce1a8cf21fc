//! Verifies sorted sets: each member has a row by its home and one in the order, which say the same, and the counts are those of the rows.

use std::collections::HashSet;

use rusqlite::{Row as SqlRow, params};

use super::base::Base;
use super::check::{Report, Walk};
use crate::storage::error::Result;
use crate::storage::rows::{Kind, score_order};

/// Tables beside that of the members.
const TABLES: [&str; 3] = ["sorted_order", "count_block", "count_sum"];

/// A place, as counts have it.
type Place = (u64, Vec<u8>);

/// Where a count begins, and what it says.
struct Count {
    place: Place,
    members: u64,
    blocks: u64,
}

impl Base {
    pub(super) fn verify_sorted(&self, report: &mut Report, walk: &Walk) -> Result<()> {
        for table in TABLES {
            for id in self.numbers(&format!("SELECT DISTINCT id FROM {table}"))? {
                if !walk.are_accounted_for(id, has_order) {
                    report.complain(format!("value {id}: its rows in {table} belong to no key"));
                }
            }
        }
        for (id, collection) in walk.whole_collections() {
            if collection.kind == Kind::SortedSet {
                self.verify_sorted_set(id, collection.length, report)?;
            }
        }
        Ok(())
    }

    fn verify_sorted_set(&self, id: i64, length: u64, report: &mut Report) -> Result<()> {
        let mut long: HashSet<(u64, i64, Vec<u8>)> = HashSet::new();
        let sql = "SELECT score, apart, label FROM sorted_member WHERE id = ?1 AND apart IS NOT NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        while let Some(columns) = rows.next()? {
            let label: i64 = columns.get(2)?;
            long.insert((score_order(columns.get(0)?), columns.get(1)?, label.to_be_bytes().to_vec()));
        }
        let (mut places, mut wrong) = (Vec::<Place>::new(), 0);
        let sql = "SELECT score, member, is_minus_zero, apart FROM sorted_order WHERE id = ?1 ORDER BY score, member";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        while let Some(columns) = rows.next()? {
            let (order, tail) = (score_order(columns.get(0)?), columns.get::<_, Vec<u8>>(1)?);
            let apart: Option<i64> = columns.get(3)?;
            let is_right = match apart {
                Some(apart) => long.remove(&(order, apart, tail[tail.len().saturating_sub(8)..].to_vec())),
                None => self.has_score(id, &tail, columns)?,
            };
            wrong += u64::from(!is_right);
            places.push((order, tail));
        }
        wrong += long.len() as u64;
        if wrong > 0 || places.len() as u64 != length {
            report.complain(format!(
                "value {id}: a sorted set of {length} members has {} in their order, {wrong} of them otherwise than by themselves",
                places.len()
            ));
        }
        self.verify_counts(id, &places, report)
    }

    fn has_score(&self, id: i64, member: &[u8], columns: &SqlRow<'_>) -> Result<bool> {
        let sql = "SELECT score FROM sorted_member WHERE id = ?1 AND position = ?2 AND member = ?3 AND apart IS NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![id, self.homes.position(member), member])?;
        let Some(found) = rows.next()? else { return Ok(false) };
        let (score, order): (f64, f64) = (found.get(0)?, columns.get(0)?);
        let is_minus_zero = columns.get::<_, Option<bool>>(2)? == Some(true);
        Ok(score == order && (score == 0.0 && score.is_sign_negative()) == is_minus_zero)
    }

    /// `places`: of the rows that are counted, in their order.
    pub(super) fn verify_counts(&self, id: i64, places: &[Place], report: &mut Report) -> Result<()> {
        let blocks =
            self.counts("SELECT first, tail, members, 0 FROM count_block WHERE id = ?1 ORDER BY first, tail", id)?;
        let sums =
            self.counts("SELECT first, tail, members, blocks FROM count_sum WHERE id = ?1 ORDER BY first, tail", id)?;
        let is_whole = |counts: &[Count]| counts.first().is_some_and(|first| first.place == (0, Vec::new()));
        let rows = places.iter().map(|place| (place, 1));
        let are_blocks_right =
            is_whole(&blocks) && are_counted(&blocks, rows, |block, (members, _)| block.members == members);
        let counted = blocks.iter().map(|block| (&block.place, block.members));
        let are_sums_right = is_whole(&sums)
            && are_counted(&sums, counted, |sum, (members, blocks)| (sum.members, sum.blocks) == (members, blocks));
        if !(are_blocks_right && are_sums_right) {
            report.complain(format!("value {id}: its counts are not those of its {} rows", places.len()));
        }
        Ok(())
    }

    fn counts(&self, sql: &str, id: i64) -> Result<Vec<Count>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([id], |columns| {
            let place = ((columns.get::<_, i64>(0)?.cast_unsigned()) ^ 1 << 63, columns.get(1)?);
            Ok(Count { place, members: columns.get(2)?, blocks: columns.get(3)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Whether each count is right, by what it has of members and of places: both are in their order.
fn are_counted<'a>(
    counts: &[Count],
    places: impl Iterator<Item = (&'a Place, u64)>,
    is_right: impl Fn(&Count, (u64, u64)) -> bool,
) -> bool {
    let mut places = places.peekable();
    counts.iter().enumerate().all(|(number, count)| {
        let (mut members, mut number_of_places) = (0, 0);
        let is_within = |place: &Place| counts.get(number + 1).is_none_or(|next| *place < next.place);
        while let Some((_, of_place)) = places.next_if(|(place, _)| is_within(place)) {
            (members, number_of_places) = (members + of_place, number_of_places + 1);
        }
        is_right(count, (members, number_of_places))
    })
}

/// Whether values of this kind may have rows of counts.
fn has_order(kind: Kind) -> bool {
    kind == Kind::SortedSet
}
