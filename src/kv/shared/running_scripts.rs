//! Which scripts run now, where, and for how long: words that the lane with the script writes and every worker reads. By them others' writes
//! are refused while the writer has a long one, and it can be told to end.

use std::io;

use crate::server::Slot;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::shared;

/// A lane that runs scripts: the writer's, or a worker's heavy one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptLane {
    Writer,
    Heavy(Slot),
}

/// What is said of a script that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningScript {
    pub is_function: bool,
    /// The SHA-1 of its source, or the name of the function.
    pub name: Vec<u8>,
    /// The call that it is of, as far as it is kept.
    pub command: Vec<Vec<u8>>,
    pub duration_ms: u64,
}

/// Why a script is not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unkillable {
    /// None runs.
    NotBusy,
    /// What it has written can't be left half done.
    HasWritten,
    /// It is the other kind of script, which another command ends.
    OtherKind,
}

#[derive(Clone)]
pub struct RunningScripts {
    /// The number of the last script that began anywhere.
    last: &'static AtomicU64,
    lanes: &'static [AtomicU64],
}

/// The words of a lane: the number of its script, 0 without one.
const NUMBER: usize = 0;
/// When it began, in milliseconds of the machine's uptime.
const SINCE_MS: usize = 1;
const FLAGS: usize = 2;
/// The number of the script that is to end.
const KILLED: usize = 3;
/// Bytes that describe it, and those.
const TEXT_BYTES: usize = 4;
const TEXT: usize = 5;
const TEXT_WORDS: usize = 64;
const WORDS: usize = TEXT + TEXT_WORDS;

const IS_FUNCTION: u64 = 1;
const HAS_WRITTEN: u64 = 2;

/// Of one argument, and of how many.
const ARGUMENT_BYTES_MAX: usize = 64;

impl RunningScripts {
    /// Before the first fork.
    pub fn new(workers: usize) -> io::Result<RunningScripts> {
        let words = shared::words(1 + (1 + workers) * WORDS)?;
        Ok(RunningScripts { last: &words[0], lanes: &words[1..] })
    }

    /// A script begins. `call`: its command and all arguments.
    pub fn begin(&self, lane: ScriptLane, is_function: bool, name: &[u8], call: &[&[u8]], now_ms: u64) -> u64 {
        let words = self.words(lane);
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        let text = described(name, call);
        for (word, bytes) in words[TEXT..].iter().zip(text.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
        words[TEXT_BYTES].store(text.len() as u64, Ordering::Relaxed);
        words[FLAGS].store(if is_function { IS_FUNCTION } else { 0 }, Ordering::SeqCst);
        words[SINCE_MS].store(now_ms, Ordering::SeqCst);
        words[NUMBER].store(number, Ordering::SeqCst);
        number
    }

    /// The script has ended, or its lane has: also before the first one of a process.
    pub fn end(&self, lane: ScriptLane) {
        self.words(lane)[NUMBER].store(0, Ordering::SeqCst);
    }

    /// The script is about to change something: nobody but the clock ends it any more.
    pub fn writes(&self, lane: ScriptLane) {
        self.words(lane)[FLAGS].fetch_or(HAS_WRITTEN, Ordering::SeqCst);
    }

    #[must_use]
    pub fn is_killed(&self, lane: ScriptLane, number: u64) -> bool {
        self.words(lane)[KILLED].load(Ordering::SeqCst) == number
    }

    /// Whether the writer has been with one script for so long (0: it never has); and whether that is a function.
    #[must_use]
    pub fn writer_is_busy(&self, threshold_ms: u64, now_ms: impl FnOnce() -> u64) -> Option<bool> {
        let words = self.words(ScriptLane::Writer);
        if threshold_ms == 0 || words[NUMBER].load(Ordering::SeqCst) == 0 {
            return None;
        }
        let since_ms = words[SINCE_MS].load(Ordering::SeqCst);
        let is_busy = now_ms().saturating_sub(since_ms) >= threshold_ms;
        is_busy.then(|| words[FLAGS].load(Ordering::SeqCst) & IS_FUNCTION != 0)
    }

    /// Tells the scripts of that kind to end, on whichever lane they run.
    ///
    /// # Errors
    /// None of them can be told.
    pub fn kill(&self, functions: bool) -> Result<(), Unkillable> {
        let mut outcome = Err(Unkillable::NotBusy);
        for words in self.lanes.chunks(WORDS) {
            let number = words[NUMBER].load(Ordering::SeqCst);
            let flags = words[FLAGS].load(Ordering::SeqCst);
            let why = match flags {
                _ if number == 0 => continue,
                flags if flags & HAS_WRITTEN != 0 => Unkillable::HasWritten,
                flags if (flags & IS_FUNCTION != 0) != functions => Unkillable::OtherKind,
                _ => {
                    words[KILLED].store(number, Ordering::SeqCst);
                    outcome = Ok(());
                    continue;
                }
            };
            // The writer's comes first: it is the one that others notice.
            if outcome == Err(Unkillable::NotBusy) {
                outcome = Err(why);
            }
        }
        outcome
    }

    /// The script that runs for longest; it may have ended since.
    #[must_use]
    pub fn longest(&self, now_ms: u64) -> Option<RunningScript> {
        let running = self.lanes.chunks(WORDS).filter(|words| words[NUMBER].load(Ordering::SeqCst) != 0);
        let words = running.min_by_key(|words| words[SINCE_MS].load(Ordering::SeqCst))?;
        let bytes = words[TEXT..].iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        let length = usize::try_from(words[TEXT_BYTES].load(Ordering::Relaxed)).unwrap_or(0);
        let text: Vec<u8> = bytes.take(length).collect();
        let mut parts = parts_of(&text);
        Some(RunningScript {
            is_function: words[FLAGS].load(Ordering::SeqCst) & IS_FUNCTION != 0,
            name: parts.next().unwrap_or_default().to_vec(),
            command: parts.map(<[u8]>::to_vec).collect(),
            duration_ms: now_ms.saturating_sub(words[SINCE_MS].load(Ordering::SeqCst)),
        })
    }

    fn words(&self, lane: ScriptLane) -> &'static [AtomicU64] {
        let place = match lane {
            ScriptLane::Writer => 0,
            ScriptLane::Heavy(slot) => 1 + slot.0,
        };
        &self.lanes[place * WORDS..(place + 1) * WORDS]
    }
}

/// Name and arguments, each behind a byte that says how long it is, as many as have room.
fn described(name: &[u8], call: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::with_capacity(8 * TEXT_WORDS);
    for part in std::iter::once(&name).chain(call) {
        let part = &part[..part.len().min(ARGUMENT_BYTES_MAX)];
        if text.len() + 1 + part.len() > 8 * TEXT_WORDS {
            break;
        }
        text.push(part.len() as u8);
        text.extend_from_slice(part);
    }
    text
}

fn parts_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first()?;
        let (part, behind) = behind.split_at_checked(usize::from(*length))?;
        rest = behind;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_busy_once_its_script_runs_for_long() {
        let running = RunningScripts::new(2).unwrap();
        let busy = |now_ms| running.writer_is_busy(5000, || now_ms);
        assert_eq!(busy(9000), None);
        running.begin(ScriptLane::Heavy(Slot(1)), false, b"sha", &[], 0);
        assert_eq!(busy(9000), None, "beside the writer");
        running.begin(ScriptLane::Writer, true, b"f", &[], 1000);
        assert_eq!((busy(5999), busy(6000)), (None, Some(true)));
        running.end(ScriptLane::Writer);
        assert_eq!(busy(9000), None);
    }

    #[test]
    fn what_has_written_and_the_other_kind_is_not_killed() {
        let running = RunningScripts::new(1).unwrap();
        let heavy = ScriptLane::Heavy(Slot(0));
        assert_eq!(running.kill(false), Err(Unkillable::NotBusy));
        let number = running.begin(ScriptLane::Writer, false, b"", &[], 0);
        assert_eq!(running.kill(true), Err(Unkillable::OtherKind));
        running.writes(ScriptLane::Writer);
        assert_eq!(running.kill(false), Err(Unkillable::HasWritten));
        let reader = running.begin(heavy, false, b"", &[], 0);
        assert_eq!(running.kill(false), Ok(()));
        assert!(running.is_killed(heavy, reader) && !running.is_killed(ScriptLane::Writer, number));
        running.end(heavy);
        let next = running.begin(heavy, false, b"", &[], 0);
        assert!(!running.is_killed(heavy, next), "another script");
        running.end(ScriptLane::Writer);
        let next = running.begin(ScriptLane::Writer, false, b"", &[], 0);
        assert_eq!(running.kill(false), Ok(()));
        assert!(running.is_killed(ScriptLane::Writer, next));
    }

    #[test]
    fn what_runs_for_longest_is_described_in_few_bytes() {
        let running = RunningScripts::new(1).unwrap();
        assert_eq!(running.longest(7), None);
        running.begin(ScriptLane::Writer, true, b"name", &[b"fcall", b"name", b"0"], 100);
        running.begin(ScriptLane::Heavy(Slot(0)), false, b"sha", &[&[b'x'; 1000][..]; 100], 200);
        let longest = running.longest(150).unwrap();
        assert_eq!((longest.is_function, &longest.name[..], longest.duration_ms), (true, &b"name"[..], 50));
        assert_eq!(longest.command, [&b"fcall"[..], b"name", b"0"]);
        running.end(ScriptLane::Writer);
        let longest = running.longest(150).unwrap();
        assert_eq!((longest.name, longest.command.len(), longest.duration_ms), (b"sha".to_vec(), 7, 0));
    }
}
