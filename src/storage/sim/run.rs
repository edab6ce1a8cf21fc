//! A seed from its start to its end: machines one after another over what the one before has left, and a look at everything at last.

use std::sync::Arc;
use std::thread;

use super::disk::Disk;
use super::history::History;
use super::redis::State;
use super::schedule::{ACTORS, Mood, Random, Scheduler, WRITER};
use super::world::{HOMES, Heritage, World};
use super::{worker, writer};
use crate::storage::broken::{self, Variant};
use crate::storage::fixture::NOW_MS;
use crate::storage::memtable::Memory;
use crate::storage::rows::crowd_files;
use crate::storage::{Durability, Keyspace, Options};

/// What is wrong with the seed, if anything; and how many steps it took to find.
pub(super) fn seed(
    seed: u64,
    steps: u64,
    variant: Option<Variant>,
    memory: Memory,
    is_loud: bool,
) -> (u64, Result<(), String>) {
    broken::choose(variant);
    crowd_files(HOMES);
    let mut random = Random::new(!seed);
    let mood = Mood {
        switches: random.of(&[2, 4, 8, 16]),
        freezes: random.of(&[4, 20, 60]),
        writer_dies: random.of(&[60, 300, 3000]),
        worker_dies: random.of(&[200, 3000]),
        row_points: random.of(&[1, 8, 8, 32]),
    };
    let durability = random.of(&[Durability::Always, Durability::Always, Durability::Os]);
    let history = History::new(State::default());
    let mut heritage = Heritage { history, random, now_ms: NOW_MS, stamp: 0, memory };
    let (mut directory, mut done) = (Disk::fresh(), 0);
    let outcome = loop {
        let connect = |options: &Options| Keyspace::open_reader(options).unwrap();
        let (disk, keeper) = Disk::open(directory, durability, connect);
        let length = (50 + heritage.random.below(2500)).min(steps - done);
        let scheduler = Scheduler::new(seed ^ done << 32, mood, length, is_loud);
        let world = Arc::new(World::new(scheduler, disk, variant, heritage));
        run(&world);
        done += world.scheduler.steps();
        if let Some(failure) = world.scheduler.failure() {
            break Err(failure);
        }
        if done >= steps {
            break settle(&world);
        }
        let world = Arc::into_inner(world).expect("its actors have ended");
        let disk;
        (disk, heritage) = world.into_heritage();
        let mut cuts = heritage.random.clone();
        let is_cut = heritage.random.one_in(2);
        let (image, lost) = disk.image(is_cut.then_some(&mut cuts));
        if let Some(last) = lost {
            if durability == Durability::Always && last < heritage.history.floor() {
                break Err(format!("a power cut leaves {last} groups, {} were seen", heritage.history.floor()));
            }
            heritage.history.cut(last);
        }
        directory = image;
        drop(keeper);
    };
    broken::choose(None);
    crowd_files(0);
    (done, outcome)
}

/// One machine until all stops.
fn run(world: &Arc<World>) {
    thread::scope(|scope| {
        for me in 0..ACTORS {
            scope.spawn(move || {
                world.act(me, |_| if me == WRITER { writer::live(world) } else { worker::live(world, me) });
            });
        }
    });
}

/// The last writer, whom nobody disturbs.
fn settle(world: &Arc<World>) -> Result<(), String> {
    let mut keyspace = Keyspace::open_writer(&world.disk.options, Box::new(|_| {}))
        .map_err(|error| format!("at the end: {error:?}"))?;
    writer::crowd(&mut keyspace);
    writer::settle(world, &mut keyspace)
}

#[cfg(test)]
mod tests {
    use super::seed;
    use crate::storage::broken::Variant;
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::memtable::{Memory, Shape};
    use crate::storage::{Expiry, Lookup};

    /// Of generations that are full after a few groups.
    fn memories() -> Vec<Memory> {
        let of = |kib: usize| Memory::new(Shape { generations: 4, generation_bytes: kib << 10, pins: 3 }).unwrap();
        vec![of(8), of(16), of(8), of(32), of(16)]
    }

    fn number(name: &str, otherwise: u64) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "how long a test runs is told by whoever starts it")]
        let told = std::env::var(name);
        told.map_or(otherwise, |text| text.parse().unwrap())
    }

    /// Now and then none.
    fn memory_of(seed: u64, memories: &[Memory]) -> Memory {
        if seed.is_multiple_of(17) { Memory::off() } else { memories[seed as usize % memories.len()] }
    }

    #[test]
    fn what_is_read_and_what_is_left_agrees_with_the_model_whoever_dies() {
        let steps = number("SIM_STEPS", 1000);
        let (first, seeds) = match number("SIM_SEED", 0) {
            0 => (1, number("SIM_SEEDS", 40)),
            seed => (seed, 1),
        };
        let memories = memories();
        for number in first..first + seeds {
            let memory = memory_of(number, &memories);
            let (done, outcome) = seed(number, steps, None, memory, seeds == 1);
            if let Err(what) = outcome {
                panic!("SIM_SEED={number} SIM_STEPS={steps}, step {done}: {what}");
            }
        }
    }

    /// Seeds until one finds what is broken; how many steps that took.
    fn search(variant: Variant, memories: &[Memory]) -> Option<(u64, String)> {
        let mut done = 0;
        for number in 1..=400 {
            let memory = memory_of(number, memories);
            let (steps, outcome) = seed(number, 5000, Some(variant), memory, false);
            done += steps;
            if let Err(what) = outcome {
                return Some((done, what.lines().next().unwrap_or_default().to_owned()));
            }
        }
        None
    }

    #[test]
    #[ignore = "a minute; .ci/suites"]
    fn every_broken_variant_is_found() {
        let memories = memories();
        let only = number("SIM_VARIANT", u64::MAX) as usize;
        let mut missed = Vec::new();
        for (place, variant) in Variant::ALL.into_iter().enumerate().filter(|(place, _)| only > 99 || only == *place) {
            match search(variant, &memories) {
                Some((steps, what)) => {
                    println!("{place} {variant:?}: after {steps} steps: {}", &what[..what.len().min(160)]);
                }
                None => missed.push(variant),
            }
        }
        assert!(missed.is_empty(), "not found: {missed:?}");
    }

    #[test]
    fn forty_thousand_flushes_in_one_generation_need_no_number_each() {
        let memory = Memory::new(Shape { generations: 4, generation_bytes: 60 << 20, pins: 3 }).unwrap();
        let mut fixture = Fixture::on(memory);
        for group in 0..400u32 {
            fixture.write(|keyspace| {
                for number in 0..100u32 {
                    keyspace.put_string(b"key", format!("{group}.{number}").as_bytes(), Expiry::Clear).unwrap();
                    keyspace.flush_database().unwrap();
                }
                keyspace.put_string(b"key", &group.to_le_bytes(), Expiry::Clear).unwrap();
            });
        }
        assert_eq!(memory.merged(), 0, "all of it lies in one generation");
        fixture.writer.merge_all(NOW_MS).unwrap();
        fixture.write(|keyspace| {
            assert_eq!(keyspace.string(b"key").unwrap(), Lookup::Found(399u32.to_le_bytes().to_vec()));
            assert_eq!(keyspace.key_count().unwrap(), 1);
        });
        while fixture.write(|keyspace| keyspace.sweep_orphans(1000)).unwrap() > 0 {}
        fixture.write(|keyspace| {
            assert_eq!(keyspace.orphans_left().unwrap(), 0);
            assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
        });
    }
}
