//! The committed states in their order, and which of them a read may have seen: one at or behind every state that was acknowledged,
//! or that a finished read had seen, before it began; the same one for all that one view has shown.

use std::collections::VecDeque;

use super::redis::{Seen, State, Times};

/// A state's number: so many groups were committed before.
pub(super) type Number = u64;

#[derive(Debug)]
pub(super) struct History {
    /// The number of the first state that is kept.
    first: Number,
    states: VecDeque<State>,
    /// No read that begins now may see an older one.
    floor: Number,
}

/// What was read in one view, by somebody who began when `floor` was the oldest that he may see.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) floor: Number,
    pub(super) times: Times,
    pub(super) seen: Vec<(u8, Seen)>,
}

const KEPT: usize = 400;

impl History {
    pub(super) fn new(state: State) -> Self {
        Self { first: 0, states: VecDeque::from([state]), floor: 0 }
    }

    pub(super) fn last(&self) -> (Number, &State) {
        let number = self.first + self.states.len() as u64 - 1;
        (number, self.states.back().expect("there is always one"))
    }

    pub(super) fn floor(&self) -> Number {
        self.floor
    }

    /// A group was committed.
    pub(super) fn push(&mut self, state: State) {
        self.states.push_back(state);
        while self.states.len() > KEPT && self.first < self.floor {
            self.states.pop_front();
            self.first += 1;
        }
    }

    /// Whoever asks from now on sees this or later.
    pub(super) fn raise_floor(&mut self, number: Number) {
        self.floor = self.floor.max(number);
    }

    /// All states behind this one were lost, acknowledged or not.
    pub(super) fn cut(&mut self, last: Number) {
        self.states.truncate((last + 1 - self.first) as usize);
        self.floor = last;
    }

    /// Nobody reads: only the last state can be seen.
    pub(super) fn settle(&mut self) {
        self.floor = self.last().0;
    }

    /// # Errors
    /// No state that it may have seen shows all this.
    pub(super) fn check(&mut self, reading: &Reading) -> Result<(), String> {
        let first = reading.floor.max(self.first);
        let shows = |number: &Number| {
            let state = &self.states[(number - self.first) as usize];
            reading.seen.iter().all(|(database, seen)| state.shows(*database, seen, reading.times))
        };
        let last = self.last().0;
        match (first..=last).find(shows) {
            Some(oldest) => {
                self.raise_floor(oldest);
                Ok(())
            }
            None => {
                let older = (self.first..first).rev().find(shows);
                let why = older.map_or("no state shows this".to_owned(), |older| format!("stale: state {older}"));
                let each = reading.seen.iter().map(|(database, seen)| {
                    let shows = |number: &Number| {
                        let state = &self.states[(number - self.first) as usize];
                        state.shows(*database, seen, reading.times)
                    };
                    let states: Vec<Number> = (self.first..=last).filter(shows).collect();
                    format!("\n  {database}: {seen:?} is shown by {states:?}")
                });
                Err(format!("{why}; it may have seen states {first}..={last}{}", each.collect::<String>()))
            }
        }
    }
}
