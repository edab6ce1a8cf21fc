//! A worker's life: its loop answers from memory and from what it remembers where that is provably current; all else a reader answers
//! from a view.

use std::collections::HashMap;
use std::sync::Arc;

use super::history::Reading;
use super::redis::{self, Seen};
use super::versions::Version;
use super::world::{HOMES, World, is_view_lost};
use super::writer::crowd;
use crate::storage::memtable::Scratch;
use crate::storage::rows::{Homes, KeyRow, Part, Row, RowKey};
use crate::storage::{Keyspace, Kind, Result};

/// What the loop remembers of keys: the string, and the version that was read before it was asked for.
type Cache = HashMap<(u8, u8), (Version, Seen, Option<i64>)>;

pub(super) fn live(world: &Arc<World>, me: usize) {
    let opened = Keyspace::open_reader_on(&world.disk.options, world.memory);
    let mut keyspace = world.must("a reader's start", opened);
    crowd(&mut keyspace);
    let mut worker = Worker { world, me, keyspace, cache: Cache::new() };
    loop {
        world.turn(me, "worker");
        if world.random(|random| random.one_in(2)) {
            worker.look();
        } else {
            worker.batch();
        }
    }
}

/// What was read of a database; of a single string with the version that it was asked for at, and when it ends.
type Told = (u8, Seen, Option<(Version, Option<i64>)>);

struct Worker<'a> {
    world: &'a World,
    me: usize,
    keyspace: Keyspace,
    cache: Cache,
}

/// Views that are lost one after another before a read gives up.
const VIEWS_MAX: usize = 1000;

impl Worker<'_> {
    /// A read on the loop: of what is remembered, then of memory.
    fn look(&mut self) {
        let world = self.world;
        let floor = world.history(|history| history.floor());
        // Rather a key that it remembers.
        let mut known: Vec<(u8, u8)> = self.cache.keys().copied().collect();
        known.sort_unstable();
        let (database, key) = match known.is_empty() || world.random(|random| random.one_in(3)) {
            true => self.draw(),
            false => world.random(|random| random.of(&known)),
        };
        let version = world.versions.read(database, &redis::name(key));
        world.turn(self.me, "version read");
        let now_ms = world.now_ms();
        if let Some((remembered, seen, ends)) = self.cache.get(&(database, key))
            && *remembered == version
            && world.versions.is_current(&version)
            && ends.is_none_or(|at| at > now_ms)
        {
            let seen = vec![(database, seen.clone())];
            world.check(&Reading { floor, times: (now_ms, now_ms), seen });
        }
        if let Some(seen) = self.found_in_memory(database, key, now_ms) {
            world.turn(self.me, "found in memory");
            if world.versions.is_current(&version) {
                let seen = vec![(database, seen)];
                world.check(&Reading { floor, times: (now_ms, now_ms), seen });
            }
        }
    }

    /// What the memory has of a key that is not merged. Of use only if its version was even before, and is the same behind it.
    fn found_in_memory(&self, database: u8, key: u8, now_ms: i64) -> Option<Seen> {
        let memory = self.world.memory;
        let name = redis::name(key);
        let space = memory.space(database);
        let row = RowKey::key(space, Homes::crowded(HOMES).position(&name), &name);
        let window = memory.unmerged();
        let mut scratch = Scratch::default();
        let found = memory.find(row, Part::Whole, &window, &mut scratch).ok()??;
        let Some(Row::Key(KeyRow { head, value })) = found.row else { return Some(Seen::Value(key, None)) };
        if head.expires_at_ms.is_some_and(|at| at <= now_ms) {
            return Some(Seen::Value(key, None));
        }
        Some(match value.filter(|_| head.kind == Kind::String) {
            Some(value) => Seen::Value(key, Some(value.to_vec())),
            None => Seen::Head(key, Some((head.length, head.expires_at_ms))),
        })
    }

    /// Some reads of one view. What it has of single keys is remembered.
    fn batch(&mut self) {
        let world = self.world;
        let floor = world.history(|history| history.floor());
        let count = 1 + world.random(|random| random.below(6));
        let asked: Vec<(u8, u8, Version)> = (0..count)
            .map(|_| {
                let (database, key) = self.draw();
                (database, key, world.versions.read(database, &redis::name(key)))
            })
            .collect();
        world.turn(self.me, "submitted");
        for _ in 0..VIEWS_MAX {
            let now_ms = world.now_ms();
            match self.view(&asked, now_ms) {
                Ok(seen) => {
                    let told = seen.iter().map(|(database, seen, ..)| (*database, seen.clone())).collect();
                    world.check(&Reading { floor, times: (now_ms, world.now_ms()), seen: told });
                    self.remember(seen);
                    return;
                }
                Err(error) if is_view_lost(&error) => {}
                Err(error) => world.fail(format!("a read: {error:?}")),
            }
            world.must("the end of a lost view", self.keyspace.end_read());
        }
        world.fail("no view holds");
    }

    fn view(&mut self, asked: &[(u8, u8, Version)], now_ms: i64) -> Result<Vec<Told>> {
        let world = self.world;
        self.keyspace.begin_read(now_ms)?;
        let mut told = Vec::new();
        for (database, key, version) in asked {
            world.turn(self.me, "reads");
            if world.random(|random| random.one_in(2)) {
                let seen = Seen::value(&mut self.keyspace, *database, *key)?;
                let ends = self.keyspace.entry(&redis::name(*key))?.and_then(|head| head.expires_at_ms);
                told.push((*database, seen, Some((*version, ends))));
            } else {
                let mut random = world.random(|random| random.clone());
                told.push((*database, Seen::read(&mut self.keyspace, &mut random, *database, *key)?, None));
            }
        }
        self.keyspace.end_read()?;
        Ok(told)
    }

    fn remember(&mut self, seen: Vec<Told>) {
        for (database, seen, version) in seen {
            if let (Seen::Value(key, _), Some((version, ends))) = (&seen, version) {
                self.cache.insert((database, *key), (version, seen, ends));
            }
        }
    }

    fn draw(&self) -> (u8, u8) {
        self.world.random(|random| {
            let database = if random.one_in(4) { random.below(u64::from(redis::DATABASES)) as u8 } else { 0 };
            (database, random.below(u64::from(redis::KEYS)) as u8)
        })
    }
}
