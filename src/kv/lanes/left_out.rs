//! Which calls of a group are not run, because an attempt at the group has failed at them: each is answered with its own error, and
//! the group goes on without it. And what an earlier attempt found that a later one can't.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// A call: the index of its task, and its own within the job.
pub type Place = (usize, usize);

/// In the place of a task's index: the calls that wait, by the numbers of their jobs.
pub const WAITERS: usize = usize::MAX;
/// The same of those that were prepared.
pub const LONG_CALLS: usize = usize::MAX - 1;

#[derive(Debug, Default)]
pub struct LeftOut {
    calls: HashMap<Place, Cow<'static, str>>,
    /// Of these nothing is run at all.
    jobs: HashMap<usize, Cow<'static, str>>,
    /// EXECs that found nothing of what they watch changed. In the next attempt their own changes of the one before would look like others'.
    unchanged: HashSet<usize>,
    attempts: usize,
    is_one_by_one: bool,
}

/// One job makes its group begin anew at most so often: then it goes as a whole.
const ATTEMPTS_OF_A_JOB: usize = 16;
/// A group that begins anew more often fails.
const ATTEMPTS_MAX: usize = 64;

impl LeftOut {
    /// From now on each call's rows are written before the next call runs: the one whose rows can't be is found. False when that is
    /// so already.
    pub fn go_one_by_one(&mut self) -> bool {
        !std::mem::replace(&mut self.is_one_by_one, true)
    }

    #[must_use]
    pub fn is_one_by_one(&self) -> bool {
        self.is_one_by_one
    }

    /// The call failed with this text. False when the group has been tried often enough.
    pub fn leave_out(&mut self, place: Place, text: Cow<'static, str>) -> bool {
        self.attempts += 1;
        let of_its_job = self.calls.keys().filter(|(index, _)| *index == place.0).count();
        if of_its_job + 1 >= ATTEMPTS_OF_A_JOB {
            self.jobs.insert(place.0, text);
        } else {
            self.calls.insert(place, text);
        }
        self.attempts < ATTEMPTS_MAX
    }

    /// Whether the EXEC of this index must not run: asked once.
    pub fn must_not_execute(&mut self, index: usize, ask: impl FnOnce() -> bool) -> bool {
        !self.unchanged.contains(&index) && (ask() || !self.unchanged.insert(index))
    }

    /// The error that is the call's answer.
    #[must_use]
    pub fn call(&self, place: Place) -> Option<&Cow<'static, str>> {
        if self.calls.is_empty() { None } else { self.calls.get(&place) }
    }

    /// The error that is the answer to all of the job.
    #[must_use]
    pub fn job(&self, index: usize) -> Option<&Cow<'static, str>> {
        if self.jobs.is_empty() { None } else { self.jobs.get(&index) }
    }
}
