//! What a row costs. `cargo test --release --lib engine::measured -- --ignored --nocapture`

use std::time::Duration;

use super::generations::Generation;
use crate::storage::Expiry;
use crate::storage::fixture::{Fixture, NOW_MS};
use crate::storage::memtable::{Filler, Memory, Shape};
use crate::storage::merge::{Merger, SLICE};
use crate::storage::rows::{Batch, Head, KeyRow, Kind, Origin, Row, RowKey};
use crate::storage::sqlite::checkpoint::Checkpointer;
use crate::storage::sqlite::{Base, GENERATIONS};
use crate::sys::clock;

const KEYS: u64 = 1_000_000;
const CHANGED: u64 = 100_000;

/// Nanoseconds that this thread has run.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

struct Table {
    fixture: Fixture,
    random: u64,
}

impl Table {
    fn key(number: u64) -> [u8; 12] {
        let mut key = *b"key:........";
        key[4..].copy_from_slice(&number.to_be_bytes());
        key
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn put(&mut self, number: u64, put: impl FnOnce(RowKey<'_>, Row<'_>)) {
        let key = Self::key(number);
        let value = [self.next() as u8; 128];
        let head = Head { kind: Kind::String, id: None, expires_at_ms: None, length: 128 };
        let name = RowKey::key(1, self.fixture.writer.store.homes().position(&key), &key);
        put(name, Row::Key(KeyRow { head, value: Some(&value) }));
    }

    fn batch(&mut self, numbers: impl Iterator<Item = u64>, origin: Origin) -> Batch {
        let mut batch = Batch::default();
        numbers.for_each(|number| self.put(number, |key, row| batch.put(key, row, origin).unwrap()));
        batch
    }

    fn apply(&mut self, batch: &Batch) {
        let base: &mut Base = &mut self.fixture.writer;
        base.begin_unsynced().unwrap();
        base.apply(batch).unwrap();
        base.commit().unwrap();
    }

    fn checkpoint(&mut self) {
        let checkpointer = Checkpointer::open(&self.fixture.options).unwrap();
        self.fixture.writer.end_read().unwrap();
        checkpointer.passive(&mut |_, _| Ok(())).unwrap();
        self.fixture.writer.restart_wal().unwrap();
    }

    /// Since the last checkpoint, once something was committed.
    fn wal_bytes(&self) -> u64 {
        self.fixture.writer.wal_progress().unwrap().log_bytes()
    }
}

#[test]
#[ignore = "a measurement"]
fn what_a_row_costs() {
    let fixture = Fixture::new();
    let mut table = Table { fixture, random: 88_172_645_463_325_252 };
    for tens in 0..100 {
        let batch = table.batch(tens * 10_000..(tens + 1) * 10_000, Origin::Absent);
        table.apply(&batch);
    }
    table.checkpoint();
    for (what, origin) in [("blind", Origin::Blind), ("present", Origin::Present { id: None, expires_at_ms: None })] {
        for group in [50, 800] {
            let batches: Vec<Batch> = (0..CHANGED / 4 / group)
                .map(|_| {
                    let numbers: Vec<u64> = (0..group).map(|_| table.next() % KEYS).collect();
                    table.batch(numbers.into_iter(), origin)
                })
                .collect();
            let begun = cpu_ns();
            batches.iter().for_each(|batch| table.apply(batch));
            let rows = CHANGED / 4;
            let bytes = table.wal_bytes() / rows;
            println!("{what}: groups of {group}: {} ns a row, {bytes} bytes of -wal", (cpu_ns() - begun) / rows);
            table.checkpoint();
        }
        for changed in [CHANGED / 4, CHANGED] {
            let shape = Shape { generations: 2, generation_bytes: 128 << 20, pins: 1 };
            let mut filler = Filler::take_over(Memory::new(shape).unwrap());
            filler.start(0, 0, 0);
            filler.begin_generation(NOW_MS).unwrap();
            for _ in 0..changed {
                let number = table.next() % KEYS;
                table.put(number, |key, row| filler.insert(key, Some(row), origin, 1).unwrap());
            }
            filler.publish(1, 0);
            let rows = filler.memory().figures().rows;
            let mut merger = Merger::new(5);
            let (begun, mut slices, mut longest) = (cpu_ns(), 0, Duration::ZERO);
            loop {
                let frozen = || Generation::new(filler.frozen(1));
                let slice = merger.slice(&mut table.fixture.writer, 1, frozen, SLICE, &mut |_| Ok(())).unwrap();
                slices += 1;
                longest = longest.max(slice.duration);
                if slice.is_last {
                    break;
                }
            }
            let bytes = table.wal_bytes() / rows;
            let cpu = (cpu_ns() - begun) / rows;
            println!("{what}: {rows} rows merged: {cpu} ns a row, {bytes} bytes, {slices} slices, longest {longest:?}");
            table.checkpoint();
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn what_a_start_costs() {
    let shape = Shape { generations: GENERATIONS, generation_bytes: 48 << 20, pins: 1 };
    let mut fixture = Fixture::on(Memory::new(shape).unwrap());
    fixture.options.journal_bytes_max = GENERATIONS * (48 << 20);
    fixture.reopen_writer();
    let mut number = 0;
    while fixture.memory.newest() < GENERATIONS {
        fixture.write(|keyspace| {
            for _ in 0..800 {
                number += 1;
                keyspace.put_string(&Table::key(number), &[number as u8; 128], Expiry::Clear).unwrap();
            }
        });
    }
    let journal_mib = fixture.memory.figures().row_bytes >> 20;
    for (what, memory) in [("lives", fixture.memory), ("is empty", Memory::new(shape).unwrap())] {
        fixture.memory = memory;
        let begun = clock::monotonic();
        fixture.reopen_writer();
        println!("memory {what}: {:?} for {number} rows, {journal_mib} MiB", begun.elapsed());
        let (mut steps, mut longest) = (0, Duration::ZERO);
        loop {
            let begun = clock::monotonic();
            let has_more = fixture.writer.read_unmerged_deadlines(4000, NOW_MS);
            (steps, longest) = (steps + 1, longest.max(begun.elapsed()));
            if !has_more {
                break;
            }
        }
        println!("    its keys are looked through in {steps} steps, the longest {longest:?}");
    }
}
