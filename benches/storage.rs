//! What the keyspace costs: a read and a write within a transaction, a batch of reads with its snapshot, and a group of
//! fifty changes with its commit and sync. 100,000 keys of 128 bytes; keys are hit at random.

use std::cell::Cell;
use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use emptyserver::storage::{Durability, Expiry, Keyspace, Lookup, Options, StorageError, prepare};

const KEYS: u64 = 100_000;
const NOW_MS: i64 = 1;

struct Data {
    options: Options,
    random: Cell<u64>,
    _directory: tempfile::TempDir,
}

impl Data {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        let options = Options::new(directory.path());
        prepare(&options).expect("a new file");
        let data = Self { options, random: Cell::new(0x9E37_79B9_7F4A_7C15), _directory: directory };
        let mut writer = data.writer(Durability::Os);
        writer.begin_write(NOW_MS).expect("begin");
        for n in 0..KEYS {
            writer.put_string(&name(n), &[7; 128], Expiry::Clear).expect("put");
        }
        writer.commit().expect("commit");
        data
    }

    fn writer(&self, durability: Durability) -> Keyspace {
        let options = Options { durability, ..self.options.clone() };
        Keyspace::open_writer(&options, Box::new(|_| {})).expect("a prepared file")
    }

    fn key(&self) -> Vec<u8> {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        name(random % KEYS)
    }
}

/// Never the same twice: a write of what is there already would change no page.
fn value(key: &[u8], n: &mut u64) -> [u8; 128] {
    *n += 1;
    let mut value = [key[15]; 128];
    value[..8].copy_from_slice(&n.to_le_bytes());
    value
}

fn name(n: u64) -> Vec<u8> {
    format!("key:{n:012}").into_bytes()
}

fn reads(criterion: &mut Criterion) {
    let data = Data::new();
    let mut reader = Keyspace::open_reader(&data.options).expect("a prepared file");
    let mut group = criterion.benchmark_group("storage");
    reader.begin_read(NOW_MS).expect("begin");
    group.bench_function("get", |bencher| {
        bencher.iter_batched(
            || data.key(),
            |key| reader.with_string(&key, |value| black_box(value.len())),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("get_absent", |bencher| {
        bencher.iter(|| reader.with_string(b"absent", |value| black_box(value.len())));
    });
    reader.end_read().expect("end");
    group.throughput(Throughput::Elements(32));
    group.bench_function("batch_of_32_gets", |bencher| {
        bencher.iter(|| {
            reader.begin_read(NOW_MS).expect("begin");
            for _ in 0..32 {
                black_box(reader.with_string(&data.key(), |value| value.len())).expect("get");
            }
            reader.end_read().expect("end");
        });
    });
    group.finish();
}

fn writes(criterion: &mut Criterion) {
    let data = Data::new();
    let mut n = 0;
    let mut group = criterion.benchmark_group("storage");
    let mut writer = data.writer(Durability::Os);
    group.bench_function("put", |bencher| {
        writer.begin_write(NOW_MS).expect("begin");
        bencher.iter_batched(
            || data.key(),
            |key| writer.put_string(&key, &value(&key, &mut n), Expiry::Clear).expect("put"),
            BatchSize::SmallInput,
        );
        writer.rollback().expect("rollback");
    });
    drop(writer);
    fills(&data, &mut group);
    increments(&data, &mut group);
    group.throughput(Throughput::Elements(50));
    for (name, durability) in [("always", Durability::Always), ("os", Durability::Os)] {
        let mut writer = data.writer(durability);
        group.bench_function(format!("group_of_50_puts/{name}"), |bencher| {
            bencher.iter(|| {
                writer.begin_write(NOW_MS).expect("begin");
                for _ in 0..50 {
                    let key = data.key();
                    writer.put_string(&key, &value(&key, &mut n), Expiry::Clear).expect("put");
                }
                writer.commit().expect("commit");
                if writer.wal_progress().expect("look").log_bytes() > data.options.wal_bytes_max {
                    writer.restart_wal().expect("restart");
                }
            });
        });
    }
    group.finish();
}

/// Groups of 800: the storage's share of a busy second.
const GROUP: u64 = 800;

fn fills(data: &Data, group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut writer = data.writer(Durability::Os);
    let mut fresh = KEYS;
    group.throughput(Throughput::Elements(GROUP));
    group.bench_function("group_of_800_new_keys", |bencher| {
        bencher.iter(|| {
            writer.begin_write(NOW_MS).expect("begin");
            for _ in 0..GROUP {
                fresh += 1;
                writer.put_string(&name(fresh), &[7; 128], Expiry::Clear).expect("put");
            }
            finish(data, &mut writer);
        });
    });
    let mut n = 0;
    for (what, keys) in [("random_keys", KEYS), ("one_key", 1)] {
        group.bench_function(format!("group_of_800_puts/{what}"), |bencher| {
            bencher.iter(|| {
                writer.begin_write(NOW_MS).expect("begin");
                for _ in 0..GROUP {
                    let key = if keys == 1 { name(7) } else { data.key() };
                    writer.put_string(&key, &value(&key, &mut n), Expiry::Clear).expect("put");
                }
                finish(data, &mut writer);
            });
        });
    }
}

fn increments(data: &Data, group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut writer = data.writer(Durability::Os);
    writer.begin_write(NOW_MS).expect("begin");
    for n in 0..KEYS {
        writer.put_string(&counter(&name(n)), b"1000000", Expiry::Clear).expect("put");
    }
    writer.commit().expect("commit");
    group.throughput(Throughput::Elements(GROUP));
    group.bench_function("group_of_800_increments", |bencher| {
        bencher.iter(|| {
            writer.begin_write(NOW_MS).expect("begin");
            for _ in 0..GROUP {
                increment(&mut writer, &counter(&data.key()));
            }
            finish(data, &mut writer);
        });
    });
}

fn counter(key: &[u8]) -> Vec<u8> {
    [b"counter:", key].concat()
}

fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).expect("digits").parse().expect("digits")
}

fn increment(writer: &mut Keyspace, key: &[u8]) {
    let change = |old: Lookup<&[u8]>| {
        let sum = if let Lookup::Found(old) = old { number(old) + 1 } else { 1 };
        Ok::<_, StorageError>((sum, sum.to_string().into_bytes()))
    };
    black_box(writer.update_string(key, 20, change).expect("increment"));
}

fn finish(data: &Data, writer: &mut Keyspace) {
    writer.commit().expect("commit");
    if writer.wal_progress().expect("look").log_bytes() > data.options.wal_bytes_max {
        writer.restart_wal().expect("restart");
    }
}

criterion_group!(benches, reads, writes);
criterion_main!(benches);
