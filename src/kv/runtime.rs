//! Settings that clients may change while the service runs: in shared memory, so that every worker sees them, also one
//! that was started again. They end with the service.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::kv::settings::Settings;
use crate::server::sys::shared;

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
    /// 1 after a failed sync, until a checkpoint was complete.
    MustCheckpoint,
    /// Where the writer is to die; see `faults`.
    KillAt,
    /// The number of the next entry of the slow log.
    SlowlogNext,
    /// Checkpoints that clients have asked for, and the number of the last one that is done.
    CheckpointsAsked,
    CheckpointsDone,
}
const KNOBS: usize = Knob::CheckpointsDone as usize + 1;

/// Longest password that CONFIG SET takes.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// A change takes well under a microsecond; a loop must not wait longer for one whose process died in it.
const READ_ATTEMPTS_MAX: u32 = 10_000;
const PASSWORD_WORDS: usize = PASSWORD_BYTES_MAX / 8;

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

#[derive(Clone)]
pub struct Runtime {
    knobs: &'static [AtomicU64],
    /// Odd while the password is being changed, so that nobody reads half of it; each change adds 2.
    password_version: &'static AtomicU64,
    password_length: &'static AtomicU64,
    password: &'static [AtomicU64],
}

impl Runtime {
    /// Before the first fork.
    pub fn new(settings: &Settings) -> io::Result<Runtime> {
        let words = shared::words(KNOBS + 2 + PASSWORD_WORDS)?;
        let (knobs, rest) = words.split_at(KNOBS);
        let runtime = Runtime { knobs, password_version: &rest[0], password_length: &rest[1], password: &rest[2..] };
        runtime.set(Knob::SlowlogUs, settings.slowlog_us as u64);
        runtime.set(Knob::SlowlogEntriesMax, settings.slowlog_entries_max as u64);
        runtime.set(Knob::ProtectedMode, u64::from(settings.is_protected));
        runtime.set(Knob::ActiveExpire, 1);
        if !runtime.set_password(settings.password.as_deref().unwrap_or_default()) {
            return Err(io::Error::other(format!("a password has at most {PASSWORD_BYTES_MAX} bytes")));
        }
        Ok(runtime)
    }

    /// Everything off and no password, for tests.
    #[cfg(test)]
    pub(crate) fn with_defaults() -> io::Result<Runtime> {
        let words = shared::words(KNOBS + 2 + PASSWORD_WORDS)?;
        let (knobs, rest) = words.split_at(KNOBS);
        Ok(Runtime { knobs, password_version: &rest[0], password_length: &rest[1], password: &rest[2..] })
    }

    #[must_use]
    pub fn read(&self, knob: Knob) -> u64 {
        self.knobs[knob as usize].load(Ordering::SeqCst)
    }

    pub fn set(&self, knob: Knob, value: u64) {
        self.knobs[knob as usize].store(value, Ordering::SeqCst);
    }

    /// Counts: the value before.
    #[must_use]
    pub fn next(&self, knob: Knob) -> u64 {
        self.knobs[knob as usize].fetch_add(1, Ordering::SeqCst)
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

    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password_length.load(Ordering::SeqCst) > 0
    }

    /// The password; empty: none.
    #[must_use]
    pub fn password(&self) -> Vec<u8> {
        let mut attempts = 0;
        loop {
            let before = self.password_version.load(Ordering::SeqCst);
            let length = (self.password_length.load(Ordering::SeqCst) as usize).min(PASSWORD_BYTES_MAX);
            let mut bytes: Vec<u8> =
                self.password.iter().flat_map(|word| word.load(Ordering::SeqCst).to_le_bytes()).collect();
            bytes.truncate(length);
            if before.is_multiple_of(2) && self.password_version.load(Ordering::SeqCst) == before {
                return bytes;
            }
            // Half of a change is never shown. Nobody knows this one, so nobody is let in by it.
            if attempts == READ_ATTEMPTS_MAX {
                return vec![0xff; PASSWORD_BYTES_MAX + 1];
            }
            attempts += 1;
            std::hint::spin_loop();
        }
    }

    /// Changes the password; empty: none is needed any more. False when it is too long.
    pub fn set_password(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        // A worker that dies between these stores leaves the version odd; the next change settles it, and until then
        // nobody can log in: better than with half a password.
        let begun = self.password_version.fetch_or(1, Ordering::SeqCst) | 1;
        for (index, word) in self.password.iter().enumerate() {
            let mut bytes = [0; 8];
            let part = &password[(8 * index).min(password.len())..(8 * index + 8).min(password.len())];
            bytes[..part.len()].copy_from_slice(part);
            word.store(u64::from_le_bytes(bytes), Ordering::SeqCst);
        }
        self.password_length.store(password.len() as u64, Ordering::SeqCst);
        self.password_version.store(begun + 1, Ordering::SeqCst);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_gets_longer_and_wider_until_it_is_over() {
        let words = shared::words(KNOBS + 2 + PASSWORD_WORDS).unwrap();
        let (knobs, rest) = words.split_at(KNOBS);
        let runtime = Runtime { knobs, password_version: &rest[0], password_length: &rest[1], password: &rest[2..] };
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
            assert!(runtime.set_password(&password));
            assert_eq!((runtime.password(), runtime.has_password()), (password, length > 0));
        }
        assert!(!runtime.set_password(&[0; PASSWORD_BYTES_MAX + 1]));
    }
}
