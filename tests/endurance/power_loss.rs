//! What a power cut leaves: the writes and syncs of the real program are recorded while clients write, the files are
//! rebuilt as a disk may have them at points of that recording, and every write that was acknowledged before is found.
//!
//! `POWER_LOSS_WRITES`, `POWER_LOSS_CUTS` and `POWER_LOSS_SEED` make a longer or a certain run.

mod clients;
mod disk;

use std::path::Path;

use crate::support::strace::{self, Line, RECORD, Recording, Strace};
use crate::support::{Service, encoded, number_from_environment, signal, turn};
use clients::{Journal, write_for_a_while};
use disk::{Disk, Random};
use emptyserver::storage::memtable::{Memory, Shape};
use emptyserver::storage::{self, Keyspace};
use emptyserver::sys::clock;

const CALLS: &str = "pwrite64,write,fsync,fdatasync,ftruncate,fallocate,sendto,sendmsg,writev";

/// Everything that the program does to its files, from its first start on, and what clients were told meanwhile.
fn record(settings: &[(&str, &str)], options: &[&str], is_writer_killed: bool) -> (Vec<Line>, Journal) {
    let recording = Recording::new();
    let wrapper = recording.wrapper(CALLS, options);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let all: Vec<(&str, &str)> =
        [("WORKERS", "2"), ("WAL_BYTES_MAX", "1Mi")].into_iter().chain(settings.iter().copied()).collect();
    let mut service = Service::start_under(&wrapper, &all);
    let writes = number_from_environment("POWER_LOSS_WRITES", 1200);
    let journal = write_for_a_while(service.address(), writes, || {
        if is_writer_killed && let Some(pid) = service.process("write") {
            signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
    });
    service.stop();
    (strace::read(&recording.path), journal)
}

/// Random points of the recording at which clients wrote.
fn random_cuts(lines: &[Line], journal: &Journal, random: &mut Random) -> Vec<usize> {
    let first = lines.iter().position(|line| line.at_us >= journal.begun_us()).unwrap();
    let count = number_from_environment("POWER_LOSS_CUTS", 25);
    (0..count).map(|_| first + random.below((lines.len() - first) as u64) as usize).collect()
}

/// Cuts the power at each of these points, several ways, and looks for what was acknowledged. Returns how much was found.
fn check_cuts(lines: &[Line], journal: &Journal, mut cuts: Vec<usize>, random: &mut Random) -> usize {
    cuts.sort_unstable();
    let mut disk = Disk::default();
    let (mut done, mut found) = (0, 0);
    for cut in cuts {
        lines[done..cut].iter().for_each(|line| disk.apply(line));
        done = cut;
        // All that was not synced is lost; nothing is; some of it, sector by sector.
        for kept_percent in [0, 100, random.below(100)] {
            let directory = tempfile::tempdir().unwrap();
            disk.write_to(directory.path(), random, kept_percent);
            let what = format!("{random}, cut before line {cut}, {kept_percent} % of what was not synced kept");
            found += check_image(directory.path(), journal, lines[cut].at_us, &what);
        }
    }
    found
}

/// Opens what is left as the program would, with the journal in memory and then in the tables, and compares. Returns how many acknowledged
/// writes it was about.
fn check_image(directory: &Path, journal: &Journal, at_us: i64, what: &str) -> usize {
    let options = storage::Options { journal_bytes_max: 64 << 20, ..storage::Options::new(directory) };
    let opened = storage::prepare(&options).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!opened.created, "{what}: the file is not there");
    let verify = |keyspace: &mut Keyspace| {
        keyspace.begin_read(clock::wall_ms()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let report = keyspace.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
    };
    verify(&mut Keyspace::open_reader(&options).unwrap());
    let mut found = 0;
    for memory in [Memory::new(Shape::of(64 << 20, 1)).unwrap(), Memory::off()] {
        let mut keyspace = Keyspace::open_writer_on(&options, memory, Box::new(|_| {}))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        verify(&mut keyspace);
        found = journal.check(&keyspace, at_us).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
    }
    found
}

fn random() -> Random {
    Random::new(number_from_environment("POWER_LOSS_SEED", clock::wall_us() as u64))
}

fn syncs_of<'a>(lines: &'a [Line], file: &'a str) -> impl Iterator<Item = &'a Line> {
    lines.iter().filter(move |line| is_sync(line) && line.descriptor(0).is_some_and(|path| path.ends_with(file)))
}

fn is_sync(line: &Line) -> bool {
    matches!(line.name.as_str(), "fsync" | "fdatasync")
}

#[test]
fn every_acknowledged_write_survives_a_power_cut_also_between_writers_and_amid_checkpoints() {
    let _turn = turn();
    if !strace::is_available() {
        return;
    }
    let (lines, journal) = record(&[], &[], true);
    let mut random = random();
    let cuts = random_cuts(&lines, &journal, &mut random);
    let found = check_cuts(&lines, &journal, cuts, &mut random);
    let (wal, data) = (syncs_of(&lines, "data.db-wal").count(), syncs_of(&lines, "/data.db").count());
    println!("{} calls recorded, {wal} syncs of the -wal, {data} of the file, {found} writes found again", lines.len());
    assert!(data >= 4 && wal >= 50 && found > 0, "there was something to see: {data} {wal} {found}");
}

#[test]
fn a_sync_that_fails_and_is_forgotten_by_the_kernel_costs_no_acknowledged_write() {
    if !strace::is_available() {
        return;
    }
    // The 60th sync of any thread: each writer in its turn meets it.
    let (lines, journal) = record(&[], &["-e", "inject=fsync,fdatasync:error=EIO:when=60"], false);
    let failed: Vec<usize> = (0..lines.len()).filter(|&at| is_sync(&lines[at]) && lines[at].is_error()).collect();
    assert!(!failed.is_empty(), "no sync failed");
    for &at in &failed {
        let thread = lines[at].thread_id;
        let answered = lines[at + 1..].iter().find(|line| line.thread_id == thread && line.name.starts_with("send"));
        assert!(answered.is_none(), "the writer goes on after its sync failed: {answered:?}");
    }
    let mut random = random();
    let mut cuts = random_cuts(&lines, &journal, &mut random);
    // The next writer copies and syncs everything, and begins the -wal anew: each step of that.
    let touches = |at: &usize| lines[*at].descriptor(0).is_some_and(|path| path.contains("/data.db"));
    let is_near_sync = |at: &usize| is_sync(&lines[at - 1]) || is_sync(&lines[at + 1]);
    let looked_at = failed.iter().take(cuts.len() / 10);
    cuts.extend(
        looked_at
            .flat_map(|at| (*at..lines.len() - 1).filter(touches).filter(is_near_sync).take(16))
            .collect::<Vec<_>>(),
    );
    let found = check_cuts(&lines, &journal, cuts, &mut random);
    println!("{} syncs failed, {found} writes found again", failed.len());
}

#[test]
fn without_a_sync_in_each_commit_a_power_cut_loses_late_writes_and_never_damages_the_file() {
    if !strace::is_available() {
        return;
    }
    let (lines, journal) = record(&[("DURABILITY", "os")], &[], true);
    let mut random = random();
    let cuts = random_cuts(&lines, &journal, &mut random);
    check_cuts(&lines, &journal.without_acknowledgements(), cuts, &mut random);
}

#[test]
fn the_sync_comes_before_the_first_byte_of_any_reply_to_a_pipeline() {
    if !strace::is_available() {
        return;
    }
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connections: Vec<_> = (0..4).map(|_| service.connect()).collect();
    for connection in &mut connections {
        assert_eq!(connection.ask("SET warm 1"), "+OK");
    }
    let pids: Vec<i32> = service.processes().iter().map(|process| process.pid).collect();
    let options: Vec<&str> =
        RECORD.iter().copied().chain(["-e", "trace=pwrite64,fsync,fdatasync,sendto,write,writev,sendmsg"]).collect();
    let strace = Strace::attach(&pids, &options);
    let rounds = 30;
    for round in 0..rounds {
        let connection = &mut connections[round % 4];
        // At once: what comes later is another job, and may be written while this one's replies leave.
        let pipeline = (0..16).map(|n| encoded(&["SET", &format!("key:{n}"), &format!("{round}:{n}")]));
        connection.send_bytes(&pipeline.collect::<Vec<_>>().concat());
        (0..16).for_each(|_| assert_eq!(connection.read().to_string(), "+OK"));
    }
    let lines = strace.finish();
    let (mut is_dirty, mut was_synced, mut replies) = (false, false, 0);
    for line in &lines {
        let descriptor = line.descriptor(0).unwrap_or_default();
        let (is_wal, is_client) = (descriptor.ends_with("data.db-wal"), descriptor.starts_with("TCP:"));
        if line.name == "pwrite64" && is_wal {
            (is_dirty, was_synced) = (true, false);
        } else if is_sync(line) && (is_wal || line.is_end_only) && line.result.as_deref() == Some("0") {
            (is_dirty, was_synced) = (false, true);
        } else if is_client && !line.is_end_only {
            assert!(was_synced && !is_dirty, "a reply before its sync: {line:?}");
            replies += 1;
        }
    }
    // The last may be cut off: the client has its bytes before strace has written the line.
    assert!(replies + 1 >= rounds, "{replies}");
}
