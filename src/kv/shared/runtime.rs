//! Settings that clients may change while the service runs: in shared memory, so that every worker sees them, also one
//! that was started again. They end with the service.

use std::io;

use crate::kv::shared::settings::Settings;
use crate::server::Slot;
use crate::storage::Thresholds;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::shared;

/// What can be set, each one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// Slower calls go to the slow log, in microseconds; negative (as i64): none.
    SlowlogUs,
    SlowlogEntriesMax,
    /// Events slower than this many milliseconds are remembered by LATENCY; 0: none.
    LatencyThresholdMs,
    /// Whether and until when commands wait; see `Runtime::pause`.
    Pause,
    /// Without a password only loopback peers are served (1).
    ProtectedMode,
    /// Expired keys are removed by the writer on its own (1) or only when they are met (0).
    ActiveExpire,
    /// What OBJECT ENCODING goes by, as Redis' thresholds of the same names: fields of a hash that is a listpack,
    HashListpackEntriesMax,
    /// and bytes of each of them;
    HashListpackValueMax,
    /// integers of a set that is an intset;
    SetIntsetEntriesMax,
    /// members of a set that is a listpack,
    SetListpackEntriesMax,
    /// and bytes of each of them;
    SetListpackValueMax,
    /// elements of a list that is a listpack, or (as i64, below 0) its bytes.
    ListListpackSize,
    /// Asked for and told, without effect.
    ListCompressDepth,
    /// members of a sorted set that is a listpack,
    ZsetListpackEntriesMax,
    /// and bytes of each of them.
    ZsetListpackValueMax,
    /// Bytes of a node of a stream, by which `~` trims, and its entries; 0: without a limit.
    StreamNodeBytesMax,
    StreamNodeEntriesMax,
    /// Bytes of a HyperLogLog that is sparse.
    SparseSketchBytesMax,
    /// Which events of keys are published, and where: the word of `call::Notifications`.
    KeyspaceEvents,
    /// Keys that clients may track together; 0: as many as memory allows.
    TrackingKeysMax,
    /// A subscriber with more unsent bytes is closed at once; 0: at the limit of all clients.
    SubscriberOutputBytesMax,
    /// Or with so many for so many seconds on end; 0: none.
    SubscriberOutputBytesSoft,
    SubscriberOutputSeconds,
    /// A script that has run for so many milliseconds lets others know: their writes are refused until it ends.
    BusyReplyMs,
    /// New users may listen to all channels (1) or to none (0).
    UsersHaveAllChannels,
    /// What ACL LOG keeps.
    AclLogEntriesMax,
}
const KNOBS: usize = Knob::AclLogEntriesMax as usize + 1;

/// As Redis limits subscribers at its start.
const SUBSCRIBER_OUTPUT_BYTES_SOFT: u64 = 8 << 20;
const SUBSCRIBER_OUTPUT_SECONDS: u64 = 60;
/// `busy-reply-threshold` at the start.
const BUSY_REPLY_MS: u64 = 5000;
/// `hll-sparse-max-bytes` at the start.
pub const SPARSE_SKETCH_BYTES_MAX: u64 = 3000;
/// What Redis 7.2 has at its start.
const THRESHOLDS: [(Knob, u64); 11] = [
    (Knob::HashListpackEntriesMax, 512),
    (Knob::HashListpackValueMax, 64),
    (Knob::SetIntsetEntriesMax, 512),
    (Knob::SetListpackEntriesMax, 128),
    (Knob::SetListpackValueMax, 64),
    (Knob::ZsetListpackEntriesMax, 128),
    (Knob::ZsetListpackValueMax, 64),
    (Knob::SparseSketchBytesMax, SPARSE_SKETCH_BYTES_MAX),
    (Knob::StreamNodeBytesMax, 4096),
    (Knob::StreamNodeEntriesMax, 100),
    (Knob::ListListpackSize, (-2_i64).cast_unsigned()),
];

/// What Redis has at its start.
const TRACKING_KEYS_MAX: u64 = 1_000_000;
const ACL_LOG_ENTRIES_MAX: u64 = 128;

/// Longest password that CONFIG SET takes; in a model test two words.
pub const PASSWORD_BYTES_MAX: usize = if cfg!(feature = "models") { 16 } else { 512 };
/// Changes while one password is read: each takes a client's command, so that more are no accident.
const READ_ATTEMPTS_MAX: u32 = 10_000;
const PASSWORD_WORDS: usize = PASSWORD_BYTES_MAX / 8;
/// Of each process that may change the password.
const COPIES: usize = 2;

/// Which commands CLIENT PAUSE holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pausing {
    Nothing,
    Writes,
    All,
}

/// The parts of the knob's word: the time, and in the lowest bit whether all is held back.
fn pause_of(word: u64) -> Option<(Pausing, i64)> {
    let what = if word & 1 == 1 { Pausing::All } else { Pausing::Writes };
    (word != 0).then_some((what, (word >> 1) as i64))
}

/// The password is in one of many copies, and one word says in which. Each process writes only to copies of its own, and of these only
/// to the one that does not count; then it moves the word. So two changes at once can't mix, and one whose process dies in it has not
/// happened.
#[derive(Clone)]
pub struct Runtime {
    knobs: &'static [AtomicU64],
    /// Which copy counts; see `Current`.
    current: &'static AtomicU64,
    copies: &'static [AtomicU64],
}

/// The word: how many changes there were (32 bits; a reader would have to sleep through all of them to be misled), the number of the
/// copy that counts, and the length of the password.
#[derive(Clone, Copy)]
struct Current(u64);

impl Current {
    fn of(changes: u64, copy: usize, length: usize) -> Current {
        Current(changes << 32 | (copy as u64 & 0xffff) << 16 | length as u64 & 0xffff)
    }

    fn changes(self) -> u64 {
        self.0 >> 32
    }

    fn copy(self) -> usize {
        (self.0 >> 16 & 0xffff) as usize
    }

    fn length(self) -> usize {
        (self.0 & 0xffff) as usize
    }
}

impl Runtime {
    /// Before the first fork.
    pub fn new(settings: &Settings) -> io::Result<Runtime> {
        let runtime = Runtime::with_copies(settings.workers.max(1))?;
        runtime.set(Knob::SlowlogUs, settings.slowlog_us as u64);
        runtime.set(Knob::SubscriberOutputBytesMax, settings.subscriber_output_bytes_max);
        runtime.set(Knob::SubscriberOutputBytesSoft, SUBSCRIBER_OUTPUT_BYTES_SOFT);
        runtime.set(Knob::SubscriberOutputSeconds, SUBSCRIBER_OUTPUT_SECONDS);
        runtime.set(Knob::SlowlogEntriesMax, settings.slowlog_entries_max as u64);
        runtime.set(Knob::ProtectedMode, u64::from(settings.is_protected));
        runtime.set(Knob::ActiveExpire, 1);
        runtime.set(Knob::KeyspaceEvents, settings.notifications.word());
        // Without one the users' rows say what it is.
        if settings.password.as_deref().is_some_and(|password| !runtime.set_password(Slot(0), password)) {
            return Err(io::Error::other(format!(
                "EMPTYSERVER_PASSWORD is too long: a password has at most {PASSWORD_BYTES_MAX} bytes"
            )));
        }
        Ok(runtime)
    }

    /// Everything off and no password, for tests.
    #[cfg(test)]
    pub(crate) fn with_defaults() -> io::Result<Runtime> {
        Runtime::with_copies(1)
    }

    fn with_copies(workers: usize) -> io::Result<Runtime> {
        let words = shared::words(KNOBS + 1 + COPIES * PASSWORD_WORDS * workers)?;
        let (knobs, rest) = words.split_at(KNOBS);
        let runtime = Runtime { knobs, current: &rest[0], copies: &rest[1..] };
        runtime.set(Knob::TrackingKeysMax, TRACKING_KEYS_MAX);
        runtime.set(Knob::BusyReplyMs, BUSY_REPLY_MS);
        runtime.set(Knob::AclLogEntriesMax, ACL_LOG_ENTRIES_MAX);
        THRESHOLDS.into_iter().for_each(|(knob, value)| runtime.set(knob, value));
        Ok(runtime)
    }

    #[must_use]
    pub fn read(&self, knob: Knob) -> u64 {
        self.knobs[knob as usize].load(Ordering::SeqCst)
    }

    pub fn set(&self, knob: Knob, value: u64) {
        self.knobs[knob as usize].store(value, Ordering::SeqCst);
    }

    /// By what the writer settles which encoding a collection has.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            hash_max_listpack_entries: self.read(Knob::HashListpackEntriesMax),
            hash_max_listpack_value: self.read(Knob::HashListpackValueMax),
            set_max_intset_entries: self.read(Knob::SetIntsetEntriesMax),
            set_max_listpack_entries: self.read(Knob::SetListpackEntriesMax),
            set_max_listpack_value: self.read(Knob::SetListpackValueMax),
            list_max_listpack_size: self.read(Knob::ListListpackSize).cast_signed(),
            zset_max_listpack_entries: self.read(Knob::ZsetListpackEntriesMax),
            zset_max_listpack_value: self.read(Knob::ZsetListpackValueMax),
            stream_node_max_bytes: self.read(Knob::StreamNodeBytesMax),
            stream_node_max_entries: self.read(Knob::StreamNodeEntriesMax),
        }
    }

    /// What is held back now, and until when.
    #[must_use]
    pub fn pausing(&self, now_ms: impl FnOnce() -> i64) -> (Pausing, i64) {
        match self.read(Knob::Pause) {
            0 => (Pausing::Nothing, 0),
            word => pause_of(word).filter(|(_, until_ms)| *until_ms > now_ms()).unwrap_or((Pausing::Nothing, 0)),
        }
    }

    /// Holds commands back. A pause that is still going on only ever gets longer, and wider.
    pub fn pause(&self, what: Pausing, until_ms: i64, now_ms: i64) {
        // One word, so that two workers can't make a pause that nobody asked for.
        let pause = |word| {
            let going_on = pause_of(word).filter(|(_, until_ms)| *until_ms > now_ms);
            let (old_what, old_until_ms) = going_on.unwrap_or((Pausing::Nothing, 0));
            let is_all = what == Pausing::All || old_what == Pausing::All;
            let until_ms = until_ms.clamp(old_until_ms, i64::MAX >> 1) as u64;
            Some(until_ms << 1 | u64::from(is_all))
        };
        let paused = self.knobs[Knob::Pause as usize].fetch_update(Ordering::SeqCst, Ordering::SeqCst, pause);
        debug_assert!(paused.is_ok(), "no pause is refused");
    }

    pub fn unpause(&self) {
        self.set(Knob::Pause, 0);
    }

    /// How often it was set.
    #[must_use]
    pub fn password_changes(&self) -> u64 {
        self.current().changes()
    }

    /// The password that was set last, by the settings or by CONFIG SET; empty: none.
    #[must_use]
    pub fn password(&self) -> Vec<u8> {
        self.password_and_changes().1
    }

    /// How often it was set, and what it is since then.
    #[must_use]
    pub fn password_and_changes(&self) -> (u64, Vec<u8>) {
        for _ in 0..READ_ATTEMPTS_MAX {
            let current = self.current();
            let copy = self.copy(current.copy());
            let mut bytes: Vec<u8> = copy.iter().flat_map(|word| word.load(Ordering::SeqCst).to_le_bytes()).collect();
            bytes.truncate(current.length());
            // Whoever writes to this copy has moved the word before.
            if self.current().0 == current.0 {
                return (current.changes(), bytes);
            }
            std::hint::spin_loop();
        }
        // Half of a change is never shown. Nobody knows this one, so nobody is let in by it.
        (0, vec![0xff; PASSWORD_BYTES_MAX + 1])
    }

    /// Changes the password on behalf of that worker, whose loop this is; empty: none is needed any more. False when it is too long.
    pub fn set_password(&self, by: Slot, password: &[u8]) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let copy = self.write_copy(by, password);
        // The last of several changes counts.
        let moved = |word| Some(Current::of(Current(word).changes() + 1, copy, password.len()).0);
        let is_moved = self.current.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved).is_ok();
        debug_assert!(is_moved, "no change is refused");
        true
    }

    /// Writes the password to that one of the worker's copies that does not count, and gives the copy's number. Nobody but this worker
    /// can make it count.
    fn write_copy(&self, by: Slot, password: &[u8]) -> usize {
        let first = COPIES * by.0;
        let copy = if self.current().copy() == first { first + 1 } else { first };
        for (index, word) in self.copy(copy).iter().enumerate() {
            let mut bytes = [0; 8];
            let part = &password[(8 * index).min(password.len())..(8 * index + 8).min(password.len())];
            bytes[..part.len()].copy_from_slice(part);
            word.store(u64::from_le_bytes(bytes), Ordering::SeqCst);
            // So that changes meet in the tests, however few processors there are.
            if cfg!(test) && index % 16 == 7 {
                std::thread::yield_now();
            }
        }
        copy
    }

    fn current(&self) -> Current {
        Current(self.current.load(Ordering::SeqCst))
    }

    fn copy(&self, number: usize) -> &'static [AtomicU64] {
        &self.copies[number * PASSWORD_WORDS..(number + 1) * PASSWORD_WORDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_gets_longer_and_wider_until_it_is_over() {
        let runtime = Runtime::with_defaults().unwrap();
        let pausing = |now_ms| runtime.pausing(|| now_ms);
        assert_eq!(pausing(0), (Pausing::Nothing, 0));
        runtime.pause(Pausing::Writes, 100, 0);
        assert_eq!((pausing(99), pausing(100)), ((Pausing::Writes, 100), (Pausing::Nothing, 0)));
        runtime.pause(Pausing::All, 50, 0);
        assert_eq!(pausing(0), (Pausing::All, 100));
        runtime.pause(Pausing::Writes, 200, 10);
        assert_eq!(pausing(10), (Pausing::All, 200));
        runtime.pause(Pausing::Writes, 0, 300);
        assert_eq!(pausing(0), (Pausing::Nothing, 0), "what is over widens nothing");
        runtime.pause(Pausing::Writes, i64::MAX, 300);
        assert_eq!(pausing(300), (Pausing::Writes, i64::MAX >> 1));
        runtime.unpause();
        assert_eq!(pausing(300), (Pausing::Nothing, 0));
    }

    #[test]
    fn a_password_is_kept_whole_whatever_its_length() {
        let runtime = Runtime::with_defaults().unwrap();
        for length in [0, 1, 7, 8, 9, PASSWORD_BYTES_MAX, 3, 0] {
            let password: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            assert!(runtime.set_password(Slot(0), &password));
            let changes = runtime.password_changes();
            assert_eq!(runtime.password_and_changes(), (changes, password));
        }
        assert!(!runtime.set_password(Slot(0), &[0; PASSWORD_BYTES_MAX + 1]));
    }

    #[test]
    fn changes_at_once_never_mix_and_a_reader_never_sees_half_of_one() {
        const WRITERS: u64 = 2;
        let runtime = Runtime::with_copies(WRITERS as usize).unwrap();
        let is_whole = |password: &[u8]| {
            let Some(&byte) = password.first() else { return true };
            password.len() == usize::from(byte) && password.iter().all(|other| *other == byte)
        };
        let (round, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut mixed = Vec::new();
        std::thread::scope(|scope| {
            for worker in 0..WRITERS {
                let (runtime, round, done) = (&runtime, &round, &done);
                scope.spawn(move || {
                    for number in 1..=ROUNDS {
                        while round.load(Ordering::SeqCst) < number {
                            std::thread::yield_now();
                        }
                        let byte = (1 + 120 * worker + number % 120) as u8;
                        assert!(runtime.set_password(Slot(worker as usize), &vec![byte; usize::from(byte)]));
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            // All change it at once, and it is read meanwhile and afterwards.
            for number in 1..=ROUNDS {
                round.store(number, Ordering::SeqCst);
                loop {
                    let is_done = done.load(Ordering::SeqCst) == WRITERS * number;
                    let password = runtime.password();
                    // Longer than any: the reader has given up, in the unlikely case.
                    if !is_whole(&password) && password.len() <= PASSWORD_BYTES_MAX {
                        mixed.push(password);
                    }
                    if is_done {
                        break;
                    }
                }
            }
        });
        assert!(mixed.is_empty(), "{mixed:?}");
    }

    const ROUNDS: u64 = 200;

    #[test]
    fn a_change_whose_process_dies_in_it_has_not_happened_and_stops_no_other() {
        let runtime = Runtime::with_copies(2).unwrap();
        assert!(runtime.set_password(Slot(0), b"first"));
        for by in [Slot(0), Slot(1)] {
            // All but the one store that makes it count: whatever was written before that is not looked at.
            runtime.write_copy(by, b"never to be seen");
            assert_eq!(runtime.password(), b"first");
        }
        assert!(runtime.set_password(Slot(1), b"second"));
        assert_eq!(runtime.password(), b"second");
        assert!(runtime.set_password(Slot(0), b"third"));
        assert_eq!(runtime.password(), b"third");
    }
}

#[cfg(all(test, feature = "models"))]
mod models {
    use super::*;
    use loom::thread;

    const OLD: &[u8] = b"old old old old ";
    const ONE: &[u8] = b"one one one one ";
    const TWO: &[u8] = b"two two two two ";

    /// Each worker makes these changes, while the password is read: it is one of them, or the old one, whole.
    fn every_password_is_whole(changes: [&'static [&'static [u8]]; 2]) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let runtime = Runtime::with_copies(2).unwrap();
            assert!(runtime.set_password(Slot(0), OLD));
            let workers = [0, 1].map(|worker| {
                let runtime = runtime.clone();
                thread::spawn(move || {
                    changes[worker].iter().for_each(|password| assert!(runtime.set_password(Slot(worker), password)));
                })
            });
            let seen = runtime.password();
            assert!([OLD, ONE, TWO].contains(&seen.as_slice()), "{}", seen.escape_ascii());
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            let seen = runtime.password();
            assert!([ONE, TWO].contains(&seen.as_slice()), "{}", seen.escape_ascii());
        });
    }

    #[test]
    fn changes_by_two_workers_at_once_do_not_mix() {
        every_password_is_whole([&[ONE], &[TWO]]);
    }

    #[test]
    fn a_worker_that_comes_round_to_the_copy_that_is_read_does_not_mix() {
        every_password_is_whole([&[ONE, TWO], &[]]);
    }
}
