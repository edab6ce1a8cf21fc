//! A writer's start: groups that the journal has reach memory again, and what a predecessor left half done is finished.
//!
//! ```text
//! memory alive     groups above S into the generation that they belong to, where some of their rows may be; then S
//! memory empty     all groups of generations that are not merged, in their order
//! no memory for it, or less than they take: each generation goes into the tables as one batch
//! ```

use super::committed::Committed;
use super::groups::Groups;
use super::tickets::Tickets;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use crate::storage::broken::{self, Variant};
use crate::storage::error::{Result, StorageError};
use crate::storage::journal::Group;
use crate::storage::memtable::{Filler, Memory};
use crate::storage::points::{Point, pass};
use crate::storage::rows::Batch;
use crate::storage::sqlite::{Base, Merged, Options, Place, Trust};

/// The journal's groups that went into memory; `None`: there was no room for all of them.
type Replayed = Option<Place>;

/// From generations of so many bytes on a start shares the work among threads.
const THREADED_BYTES_MIN: usize = 4 << 20;

/// Brings memory, if there is any, to what is committed. `seed`: of the file's hash.
pub(super) fn take_over(committed: &mut Committed, seed: [u8; 16], options: &Options) -> Result<()> {
    let memory = committed.memory();
    let base: &mut Base = committed;
    if !memory.is_on() {
        return merge_journal(base);
    }
    base.begin_read()?;
    let (merged, boot) = (base.merged()?, base.ticket_boot()?);
    let mut filler = Filler::take_over(memory);
    let is_alive = memory.seed() == Some(seed);
    if is_alive {
        // It may have died between the COMMIT of M, or of a group that went into the tables, and the words.
        filler.set_merged(memory.merged().max(merged.generation));
        if merged.seq > memory.published() {
            filler.publish(merged.seq, merged.ahead);
        }
    } else {
        filler.start(merged.generation, merged.seq, merged.ahead);
    }
    let mut groups = Groups::new(filler, merged.generation, options);
    groups.boot = boot;
    groups.tickets = Tickets::read(base)?;
    let replayed = if is_alive {
        let begin = newest_groups(base, &mut groups, &merged)?;
        replay(base, &mut groups, begin)?
    } else {
        rebuild(base, &mut groups, &merged, options)?
    };
    base.end_read()?;
    // A job that changed nothing is in the table alone.
    let in_table: BTreeMap<u64, u64> = base.applied_tickets()?.into_iter().collect();
    groups.tickets.forget_applied(&in_table);
    let Some(place) = replayed else {
        // The file comes from where there was more room.
        merge_journal(base)?;
        return take_over(committed, seed, options);
    };
    if place.generation > merged.generation {
        groups.merger.hold(base);
    }
    if memory.newest() > merged.generation && place.generation == memory.newest() {
        groups.at = place.at;
    }
    groups.filler.publish(place.seq.max(memory.published()), merged.ahead);
    tell_spaces(base, &groups)?;
    groups.deadlines.read_later(memory.merged() + 1..memory.newest() + 1);
    // Last: from here on readers look.
    groups.filler.set_seed(seed);
    pass(Point::TakenOver);
    if memory.newest() <= memory.merged() {
        groups.begin_generation(0).map_err(|busy| StorageError::Internal(format!("no generation begins: {busy:?}")))?;
    }
    committed.groups = Some(groups);
    Ok(())
}

/// As memory has them where it has something newer than the tables. Loops go by them all the while: each word is told once, as it stays.
fn tell_spaces(base: &mut Base, groups: &Groups) -> Result<()> {
    use crate::storage::memtable::Scratch;
    use crate::storage::rows::{Part, Row, RowKey};

    base.begin_read()?;
    let told = base.spaces();
    base.end_read()?;
    let (memory, window) = (groups.memory(), groups.window());
    let mut scratch = Scratch::default();
    for (number, in_table) in told?.into_iter().enumerate() {
        let number = number as u8;
        let found = memory.find(RowKey::database(number), Part::Whole, &window, &mut scratch)?;
        let space = match found.map(|seen| seen.row) {
            Some(Some(Row::Database(space))) => space,
            _ => in_table,
        };
        groups.filler.set_space(number, space);
    }
    Ok(())
}

/// Where the last generation that has groups begins: what is older lies in memory as a whole, and its tickets are told again there.
fn newest_groups(base: &Base, groups: &mut Groups, merged: &Merged) -> Result<Place> {
    let generations = base.unmerged_generations(merged.generation)?;
    for (one, next) in generations.iter().zip(generations.iter().skip(1)) {
        groups.ends.insert(one.0, next.1 - 1);
    }
    let newest = generations.last().map(|(generation, first)| Place { generation: *generation, at: 0, seq: first - 1 });
    Ok(newest.unwrap_or_else(|| merged.place()))
}

/// All groups that are not merged, into memory that has none of them. Within a read transaction. Each generation has a thread if they are
/// large: nobody else looks yet.
fn rebuild(base: &Base, groups: &mut Groups, merged: &Merged, options: &Options) -> Result<Replayed> {
    let memory = groups.memory();
    let generations = base.unmerged_generations(merged.generation)?;
    if generations.len() < 2 || memory.generation_bytes() < THREADED_BYTES_MIN {
        return replay(base, groups, merged.place());
    }
    for (generation, _) in &generations {
        while memory.newest() < *generation && groups.begin_generation(0).is_ok() {}
        if memory.newest() != *generation {
            return Ok(None);
        }
    }
    let boot = groups.boot;
    let rebuilt: Vec<Result<Rebuilt>> = thread::scope(|scope| {
        let begin = |one: &(u64, u64)| {
            let one = *one;
            scope.spawn(move || rebuild_one(options, memory, one, boot))
        };
        let threads: Vec<_> = generations.iter().map(begin).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let (mut place, mut is_full) = (merged.place(), false);
    for ((generation, first), rebuilt) in generations.into_iter().zip(rebuilt) {
        let rebuilt = rebuilt?;
        if first != place.seq + 1 {
            let what = format!("the journal: group {first} of generation {generation} follows {}", place.seq);
            return Err(StorageError::Corrupt(what));
        }
        place = rebuilt.end;
        is_full |= rebuilt.is_full;
        groups.tickets.hear(rebuilt.tickets.into_iter());
        groups.ends.insert(generation, place.seq);
    }
    Ok((!is_full).then_some(place))
}

/// A generation in memory.
struct Rebuilt {
    end: Place,
    /// There was no room for all of it.
    is_full: bool,
    tickets: Vec<(u64, u64)>,
}

/// `one`: the generation, and the number of its first group. `boot`: tickets of others are nobody's.
fn rebuild_one(options: &Options, memory: Memory, one: (u64, u64), boot: u64) -> Result<Rebuilt> {
    let base = Base::open_reader(options)?;
    base.begin_read()?;
    let mut filler = Filler::of_generation(memory, one.0);
    let (mut tickets, mut is_full) = (Vec::new(), false);
    let end = base.replay_one(one, &mut |group, _| {
        if group.head.boot == boot {
            tickets.extend(group.tickets());
        }
        is_full = is_full || !insert(&mut filler, group)?;
        Ok(())
    })?;
    base.end_read()?;
    Ok(Rebuilt { end, is_full, tickets })
}

/// All groups behind `begin`. Within a read transaction.
fn replay(base: &Base, groups: &mut Groups, begin: Place) -> Result<Replayed> {
    let memory = groups.memory();
    let published = memory.published();
    let mut is_full = false;
    let place = base.replay(begin, &mut |group, place| {
        if group.head.boot == groups.boot {
            groups.tickets.hear(group.tickets());
        }
        groups.ends.insert(place.generation, place.seq);
        if is_full {
            return Ok(());
        }
        if group.head.seq <= published {
            return Ok(());
        }
        while memory.newest() < group.head.generation && groups.begin_generation(0).is_ok() {}
        let is_regrouped = broken::is(Variant::Regrouped) && published > 0;
        if is_regrouped && memory.newest() == group.head.generation {
            groups.begin_generation(0).ok();
        }
        is_full = memory.newest() != group.head.generation && !is_regrouped || !insert(&mut groups.filler, group)?;
        pass(Point::GroupReplayed);
        Ok(())
    })?;
    Ok((!is_full).then_some(place))
}

/// False: there is no room.
fn insert(filler: &mut Filler, group: &Group<'_>) -> Result<bool> {
    for change in group.changes() {
        let change = change?;
        if filler.insert(change.key, change.row, change.origin, group.head.seq).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whatever the journal has goes into the tables.
fn merge_journal(base: &mut Base) -> Result<()> {
    loop {
        base.begin_read()?;
        let (merged, boot) = (base.merged()?, base.ticket_boot()?);
        // Each row of a generation once: as it is at the end, with what was known below its first change.
        let (mut batch, mut tickets, mut end) = (Batch::default(), Tickets::read(base)?, None);
        let nothing = batch.savepoint();
        let replayed = base.replay(merged.place(), &mut |group, place| {
            if end.is_some_and(|end: Place| end.generation != place.generation) {
                return Ok(());
            }
            end = Some(place);
            if group.head.boot == boot {
                tickets.hear(group.tickets());
            }
            for change in group.changes() {
                let change = change?;
                match change.row {
                    Some(row) => batch.put(change.key, row, change.origin)?,
                    None => batch.delete(change.key, change.origin)?,
                }
                batch.keep_since(nothing);
            }
            Ok(())
        });
        base.end_read()?;
        replayed?;
        let Some(end) = end else { return Ok(()) };
        base.begin_write()?;
        base.begin_merge(Trust::Tables);
        base.apply_slice(|applying| batch.in_order(|changed| applying.row(changed.key, changed.row, changed.origin)))?;
        base.store_merged(&Merged { generation: end.generation, seq: end.seq, ..merged })?;
        // A job that changed nothing is in the table alone.
        let in_table: BTreeMap<u64, u64> = base.applied_tickets()?.into_iter().collect();
        tickets.forget_applied(&in_table);
        tickets.store(base)?;
        base.commit()?;
        base.end_merge();
    }
}
