//! Tests that load the whole machine, or measure it, take turns: one of them at a time beside the light ones.

use std::sync::{Mutex, MutexGuard, PoisonError};

static TURN: Mutex<()> = Mutex::new(());

/// A test that calls it first has its turn until it drops what it got. One that failed holds up nobody.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
