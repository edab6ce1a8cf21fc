//! Pins: a reader says which generation it needs, so that the writer does not recycle it under it. A courtesy: who has no pin, or has let
//! it lapse, notices by the nonce and begins again. No pin outlives its lease, so nobody who died or sleeps holds the writer up.

use super::memory::Memory;
use super::shape::{PIN_GENERATION, PIN_OWNER, PIN_SINCE_MS};
use crate::sys::atomic::Ordering;
use crate::sys::process;

/// Older pins count no more.
pub(super) const LEASE_MS: i64 = 1000;

/// A reader thread's place to pin with; of none when all are taken.
#[derive(Debug)]
pub struct Pin {
    at: Option<usize>,
}

impl Memory {
    /// For a thread of the process `owner`, which is not 0: a place that is free, else one of a process that is no more.
    #[must_use]
    pub fn take_pin(&self, owner: u64) -> Pin {
        let take = |at: &usize, before: u64| {
            let word = &self.words[at + PIN_OWNER];
            word.compare_exchange(before, owner, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let places = || (0..self.layout.pins).map(|number| self.layout.pin_at(number));
        let at = places().find(|at| take(at, 0)).or_else(|| {
            places().find(|at| {
                let before = self.words[at + PIN_OWNER].load(Ordering::Acquire);
                u32::try_from(before).is_ok_and(|pid| !process::exists(pid)) && take(at, before)
            })
        });
        Pin { at }
    }

    pub(super) fn pin(&self, pin: &Pin, generation: u64, now_ms: i64) {
        if let Some(at) = pin.at {
            self.words[at + PIN_SINCE_MS].store(now_ms.cast_unsigned(), Ordering::Relaxed);
            self.words[at + PIN_GENERATION].store(generation, Ordering::Release);
        }
    }

    /// At the end of a read, or as soon as it needs the memory no more.
    pub fn unpin(&self, pin: &Pin) {
        self.pin(pin, 0, 0);
    }

    /// Gives the place of a thread back that ends before its process.
    pub fn give_back(&self, pin: &mut Pin) {
        self.unpin(pin);
        if let Some(at) = pin.at.take() {
            self.words[at + PIN_OWNER].store(0, Ordering::Release);
        }
    }

    /// Whether somebody holds this generation, or one before it.
    pub(super) fn is_pinned(&self, generation: u64, now_ms: i64) -> bool {
        (0..self.layout.pins).map(|number| self.layout.pin_at(number)).any(|at| {
            let pinned = self.words[at + PIN_GENERATION].load(Ordering::Acquire);
            let since_ms = self.words[at + PIN_SINCE_MS].load(Ordering::Relaxed).cast_signed();
            pinned != 0 && pinned <= generation && now_ms.saturating_sub(since_ms) < LEASE_MS
        })
    }
}
