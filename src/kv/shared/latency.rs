//! The latency monitor: events that took long, as rings of samples in shared memory, written by any process.
//!
//! A sample is one word, so that no process sees half of one; of two samples of one second the larger stays, as in Redis.

use std::io;
use std::time::Duration;

use crate::kv::shared::runtime::{Knob, Runtime};
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::{clock, shared};

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call of a command that may take long.
    Command,
    /// A call of a command flagged fast.
    FastCommand,
    /// A group of changes, from its begin to the end of its COMMIT.
    Commit,
    /// A pass that copies the `-wal` into the data file, beside the writer.
    Checkpoint,
    /// One step of removing expired keys and what is left of deleted ones.
    ExpireCycle,
}

impl Event {
    pub const ALL: [(&'static str, Event); 5] = [
        ("command", Event::Command),
        ("fast-command", Event::FastCommand),
        ("commit", Event::Commit),
        ("checkpoint", Event::Checkpoint),
        ("expire-cycle", Event::ExpireCycle),
    ];

    /// The event of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Event> {
        let found = Event::ALL.iter().find(|(known, _)| known.as_bytes() == name);
        found.map(|&(_, event)| event)
    }
}

/// Samples of one event that are kept: as many as Redis keeps.
const SAMPLES: usize = 160;
/// Of each event: how many samples were ever taken, the largest latency, the samples.
const WORDS: usize = 2 + SAMPLES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Seconds since 1970.
    pub time_seconds: u32,
    pub latency_ms: u32,
}

#[derive(Clone)]
pub struct LatencyMonitor {
    words: &'static [AtomicU64],
    runtime: Runtime,
}

impl LatencyMonitor {
    /// Before the first fork.
    pub fn new(runtime: Runtime) -> io::Result<LatencyMonitor> {
        Ok(LatencyMonitor { words: shared::words(WORDS * Event::ALL.len())?, runtime })
    }

    /// Something took so long: remembered if that is not below the threshold, and there is one.
    pub fn consider(&self, event: Event, duration_us: u64) {
        let threshold_ms = self.runtime.read(Knob::LatencyThresholdMs);
        if threshold_ms != 0 && duration_us / 1000 >= threshold_ms {
            let latency_ms = u32::try_from(duration_us / 1000).unwrap_or(u32::MAX);
            self.add(event, Sample { time_seconds: seconds(clock::wall_ms()), latency_ms });
        }
    }

    pub fn consider_duration(&self, event: Event, duration: Duration) {
        self.consider(event, u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn add(&self, event: Event, sample: Sample) {
        let (count, max, samples) = self.ring(event);
        max.fetch_max(u64::from(sample.latency_ms), Ordering::Relaxed);
        let taken = count.load(Ordering::SeqCst);
        if let Some(last) = taken.checked_sub(1) {
            let last = &samples[last as usize % SAMPLES];
            let known = last.load(Ordering::SeqCst);
            if unpack(known).time_seconds == sample.time_seconds {
                // The time is in the upper half: of two words of one second the larger one has the larger latency.
                last.fetch_max(pack(sample), Ordering::SeqCst);
                return;
            }
        }
        let place = count.fetch_add(1, Ordering::SeqCst) as usize % SAMPLES;
        samples[place].store(pack(sample), Ordering::SeqCst);
    }

    /// Oldest first, one for each second.
    #[must_use]
    pub fn samples(&self, event: Event) -> Vec<Sample> {
        let (count, _, samples) = self.ring(event);
        let taken = count.load(Ordering::SeqCst) as usize;
        let mut found: Vec<Sample> = (taken.saturating_sub(SAMPLES)..taken)
            .map(|place| unpack(samples[place % SAMPLES].load(Ordering::SeqCst)))
            .filter(|sample| sample.time_seconds != 0)
            .collect();
        // Two processes may have begun the same second.
        found.dedup_by(|later, earlier| {
            let is_same = later.time_seconds == earlier.time_seconds;
            if is_same {
                earlier.latency_ms = earlier.latency_ms.max(later.latency_ms);
            }
            is_same
        });
        found
    }

    /// The largest latency since the start or the last reset.
    #[must_use]
    pub fn max_ms(&self, event: Event) -> u64 {
        self.ring(event).1.load(Ordering::Relaxed)
    }

    /// Forgets an event's samples. True when there were some.
    #[must_use]
    pub fn reset(&self, event: Event) -> bool {
        let (count, max, samples) = self.ring(event);
        let had_some = count.swap(0, Ordering::SeqCst) > 0;
        max.store(0, Ordering::Relaxed);
        samples.iter().for_each(|sample| sample.store(0, Ordering::SeqCst));
        had_some
    }

    fn ring(&self, event: Event) -> (&AtomicU64, &AtomicU64, &[AtomicU64]) {
        let words = &self.words[WORDS * event as usize..][..WORDS];
        (&words[0], &words[1], &words[2..])
    }
}

fn pack(sample: Sample) -> u64 {
    u64::from(sample.time_seconds) << 32 | u64::from(sample.latency_ms)
}

fn unpack(word: u64) -> Sample {
    Sample { time_seconds: (word >> 32) as u32, latency_ms: word as u32 }
}

fn seconds(wall_ms: i64) -> u32 {
    u32::try_from(wall_ms / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time_seconds: u32, latency_ms: u32) -> Sample {
        Sample { time_seconds, latency_ms }
    }

    #[test]
    fn one_sample_a_second_stays_and_it_is_the_largest() {
        let monitor = LatencyMonitor::new(Runtime::with_defaults().unwrap()).unwrap();
        for (time, latency) in [(10, 5), (10, 7), (10, 6), (11, 1)] {
            monitor.add(Event::Commit, sample(time, latency));
        }
        assert_eq!(monitor.samples(Event::Commit), [sample(10, 7), sample(11, 1)]);
        assert_eq!((monitor.max_ms(Event::Commit), monitor.samples(Event::Command).len()), (7, 0));
        assert!(monitor.reset(Event::Commit) && !monitor.reset(Event::Commit));
        assert_eq!((monitor.max_ms(Event::Commit), monitor.samples(Event::Commit).len()), (0, 0));
    }

    #[test]
    fn the_newest_samples_stay() {
        let monitor = LatencyMonitor::new(Runtime::with_defaults().unwrap()).unwrap();
        (1..=200).for_each(|second| monitor.add(Event::Command, sample(second, second)));
        let samples = monitor.samples(Event::Command);
        assert_eq!((samples.len(), samples[0], samples[SAMPLES - 1]), (SAMPLES, sample(41, 41), sample(200, 200)));
    }

    #[test]
    fn only_what_reaches_the_threshold_is_remembered() {
        let runtime = Runtime::with_defaults().unwrap();
        let monitor = LatencyMonitor::new(runtime.clone()).unwrap();
        monitor.consider(Event::FastCommand, 1_000_000);
        runtime.set(Knob::LatencyThresholdMs, 3);
        monitor.consider(Event::FastCommand, 2_999);
        assert_eq!(monitor.samples(Event::FastCommand).len(), 0, "off, or below");
        monitor.consider(Event::FastCommand, 3_000);
        assert_eq!(monitor.max_ms(Event::FastCommand), 3);
    }
}
