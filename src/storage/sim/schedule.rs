//! Whose turn it is. Each actor is a thread, and one of them runs; at a turn the seed decides whether another goes on, and whether
//! the one that runs dies.

use std::collections::VecDeque;
use std::panic;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::storage::points::Point;

/// The writer's number; workers follow.
pub(super) const WRITER: usize = 0;
pub(super) const WORKERS: usize = 3;
pub(super) const ACTORS: usize = 1 + WORKERS;

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ 0x5851_F42D_4C95_7F2D)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// 0..bound
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// What an actor is about to do, for the trace.
#[allow(dead_code, reason = "shown as they are")]
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    Point(Point),
    At(&'static str),
    Group(u64),
}

/// Why an actor's thread unwinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// This process was killed.
    Died,
    /// All have ended: the machine stands still.
    Over,
}

/// How a seed wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mood {
    /// One turn in so many another actor goes on.
    pub(super) switches: u64,
    /// One switch in so many the actor left behind stands still for long.
    pub(super) freezes: u64,
    /// One of the writer's points in so many is its last.
    pub(super) writer_dies: u64,
    pub(super) worker_dies: u64,
    /// One in so many of the points within a row is a turn.
    pub(super) row_points: u64,
}

pub(super) struct Scheduler {
    state: Mutex<State>,
    turns: [Condvar; ACTORS],
    is_loud: bool,
}

struct State {
    random: Random,
    mood: Mood,
    running: usize,
    has_ended: [bool; ACTORS],
    frozen_until: [u64; ACTORS],
    steps: u64,
    /// At this step all stop.
    last_step: u64,
    failure: Option<String>,
    trace: VecDeque<(u64, usize, Note)>,
}

const TRACE: usize = 120;

impl Scheduler {
    pub(super) fn new(seed: u64, mood: Mood, steps: u64, is_loud: bool) -> Self {
        let state = State {
            random: Random::new(seed),
            mood,
            running: WRITER,
            has_ended: [false; ACTORS],
            frozen_until: [0; ACTORS],
            steps: 0,
            last_step: steps,
            failure: None,
            trace: VecDeque::with_capacity(TRACE),
        };
        Self { state: Mutex::new(state), turns: Default::default(), is_loud }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first turn.
    pub(super) fn begin(&self, me: usize) {
        let mut state = self.lock();
        while state.running != me {
            state = self.turns[me].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Somebody may go on instead, or this actor die.
    pub(super) fn turn(&self, me: usize, note: Note, may_die: bool) {
        let mut state = self.lock();
        let one_in = if is_within_row(note) { state.mood.row_points } else { 1 };
        if !state.random.one_in(one_in) && !state.is_over() {
            return;
        }
        state.steps += 1;
        if state.trace.len() == TRACE {
            state.trace.pop_front();
        }
        let step = state.steps;
        state.trace.push_back((step, me, note));
        if self.is_loud {
            eprintln!("{step} {me} {note:?}");
        }
        if state.is_over() {
            drop(state);
            stop(Stop::Over);
        }
        let dies = if me == WRITER { state.mood.writer_dies } else { state.mood.worker_dies };
        if may_die && state.random.one_in(dies) {
            if self.is_loud {
                eprintln!("{step} {me} dies");
            }
            drop(state);
            stop(Stop::Died);
        }
        let waits = matches!(note, Note::Point(Point::Rested));
        let switches = if waits { 1 } else { state.mood.switches };
        if state.random.one_in(switches) {
            let freezes = state.mood.freezes;
            if state.random.one_in(freezes) {
                let longest = state.random.of(&[30, 300, 2000]);
                state.frozen_until[me] = step + state.random.below(longest);
            }
            if waits {
                state.frozen_until[me] = state.frozen_until[me].max(step + 5);
            }
            state.running = state.next();
            while state.running != me {
                self.turns[state.running].notify_one();
                state = self.turns[me].wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_over() {
                drop(state);
                stop(Stop::Over);
            }
        }
    }

    /// The actor has nothing to do any more.
    pub(super) fn end(&self, me: usize) {
        let mut state = self.lock();
        state.has_ended[me] = true;
        if let Some(next) = (0..ACTORS).find(|actor| !state.has_ended[*actor]) {
            state.running = next;
            self.turns[next].notify_one();
        }
    }

    /// What was found ends everything.
    pub(super) fn fail(&self, what: String) {
        let mut state = self.lock();
        if self.is_loud {
            eprintln!("{what}");
        }
        state.failure.get_or_insert(what);
    }

    /// Something for whoever plays a single seed.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_loud {
            eprintln!("      {}", what());
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// What was found, with the last steps before it.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.lock();
        let what = state.failure.clone()?;
        let steps = state.trace.iter().map(|(step, actor, note)| format!("\n  {step} {actor} {note:?}"));
        Some(what + &steps.collect::<String>())
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.steps >= self.last_step || self.failure.is_some()
    }

    /// One of those that have not ended, and rather one that does not stand still.
    fn next(&mut self) -> usize {
        let steps = self.steps;
        let (has_ended, frozen_until) = (self.has_ended, self.frozen_until);
        let ready: Vec<usize> =
            (0..ACTORS).filter(|actor| !has_ended[*actor] && frozen_until[*actor] <= steps).collect();
        if ready.contains(&WRITER) && self.random.one_in(2) {
            return WRITER;
        }
        if !ready.is_empty() {
            return self.random.of(&ready);
        }
        let left: Vec<usize> = (0..ACTORS).filter(|actor| !has_ended[*actor]).collect();
        self.random.of(&left)
    }
}

/// There are many of these.
fn is_within_row(note: Note) -> bool {
    use Point::{MemoryAsked, RowAllocated, RowChained, RowCopied, RowLinked, RowSeen, RowWritten, SpaceMoved};
    let Note::Point(point) = note else { return false };
    matches!(point, MemoryAsked | RowAllocated | RowChained | RowCopied | RowLinked | RowSeen | RowWritten | SpaceMoved)
}

/// Unwinds without a word.
pub(super) fn stop(why: Stop) -> ! {
    panic::resume_unwind(Box::new(why))
}
