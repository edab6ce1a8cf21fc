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
    /// Commands wait until then (milliseconds since 1970); see `Pausing`.
    PauseUntilMs,
    /// `Pausing` as a number.
    PauseWhat,
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
        let until = self.read(Knob::PauseUntilMs) as i64;
        if until == 0 || until <= now_ms() {
            return (Pausing::Nothing, 0);
        }
        (if self.read(Knob::PauseWhat) == Pausing::All as u64 { Pausing::All } else { Pausing::Writes }, until)
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
    fn a_password_is_kept_whole_whatever_its_length() {
        let words = shared::words(KNOBS + 2 + PASSWORD_WORDS).unwrap();
        let (knobs, rest) = words.split_at(KNOBS);
        let runtime = Runtime { knobs, password_version: &rest[0], password_length: &rest[1], password: &rest[2..] };
        for length in [0, 1, 7, 8, 9, PASSWORD_BYTES_MAX, 3, 0] {
            let password: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            assert!(runtime.set_password(&password));
            assert_eq!((runtime.password(), runtime.has_password()), (password, length > 0));
        }
        assert!(!runtime.set_password(&[0; PASSWORD_BYTES_MAX + 1]));
    }
}
