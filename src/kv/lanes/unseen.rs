//! Which changes of a group nobody can see: a SET whose key the same group sets again, with nothing but SETs in between. It is
//! answered, and not written: many clients that write one hot key cost one row, and not one each.

use std::collections::HashSet;

use crate::kv::jobs::job::{Call, Job, Kind};
use crate::server::Task;

/// The calls of a group, in order: true for one that is answered without being written.
pub type Unseen = Vec<bool>;

/// Calls of a window: what one does not show is set again in the same window, so that a group may end between two.
const WINDOW_CALLS: usize = 4096;

/// True when two jobs, before whose first calls there are so many in the group, are of two windows.
#[must_use]
pub fn is_border(first_before: usize, first: usize) -> bool {
    first_before / WINDOW_CALLS != first / WINDOW_CALLS
}

/// Looks a group through from its end, all of whose calls will be run. A value of more than `value_bytes_max` bytes would be refused.
/// `None`: all of the group is seen.
#[must_use]
pub fn unseen(tasks: &[Task<Job>], value_bytes_max: u64) -> Option<Unseen> {
    let calls = tasks.iter().map(|task| task.job.calls.len()).sum();
    if calls < 2 {
        return None;
    }
    let (mut unseen, mut has_any) = (vec![false; calls], false);
    // Keys that are set later on, with nothing in between that could tell.
    let mut set_later = HashSet::with_capacity(calls);
    let (mut first, mut keys) = (calls, Vec::new());
    for task in tasks.iter().rev() {
        let first_behind = first;
        first -= task.job.calls.len();
        if is_border(first, first_behind) {
            set_later.clear();
        }
        if !is_of_small_sets(&task.job, value_bytes_max) {
            // It may read what was set before it, it may be an EXEC that watches it, and the rest of its calls may be cut off.
            set_later.clear();
            continue;
        }
        keys.clear();
        keys.extend(task.job.calls.iter().map(|call| (call.database, call.args[1])));
        for (number, key) in keys.iter().enumerate().rev() {
            let is_first_met = set_later.insert(*key);
            unseen[first + number] = !is_first_met;
            has_any |= !is_first_met;
        }
    }
    has_any.then_some(unseen)
}

/// True when the job consists of calls of SET without options, which can't fail by themselves.
fn is_of_small_sets(job: &Job, value_bytes_max: u64) -> bool {
    is_of_sets(job) && job.calls.iter().all(|call| call.args[2].len() as u64 <= value_bytes_max)
}

/// True when the job consists of calls of SET without options.
#[must_use]
pub fn is_of_sets(job: &Job) -> bool {
    let is_set = |call: Call<'_>| call.command().name == "set" && call.args.len() == 3;
    job.kind == Kind::Run && job.calls.iter().all(is_set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::commands::table;
    use crate::kv::jobs::job::{Admitted, Calls};
    use crate::resp::reply::Version;
    use crate::server::{ConnectionId, TaskId};

    /// Jobs as lines of calls separated by `/`; gives the numbers of the calls that are unseen.
    fn unseen_of(lines: &[&str]) -> Vec<usize> {
        let task = |line: &&str| {
            let mut calls = Calls::default();
            let (kind, line) = match line.strip_prefix("exec: ") {
                Some(line) => (Kind::Exec(Vec::new()), line),
                None => (Kind::Run, *line),
            };
            for call in line.split(" / ") {
                let (database, call) = call.split_once(' ').unwrap();
                let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
                let database = Admitted::to(database.parse().unwrap());
                calls.push(table::number(table::lookup(args[0]).unwrap()), database, &args);
            }
            let id = TaskId { incarnation: 1, connection: ConnectionId(1), number: 1 };
            Task { id, job: Job::new(kind, Version::Resp2, calls) }
        };
        let tasks: Vec<Task<Job>> = lines.iter().map(task).collect();
        let found = unseen(&tasks, 5).unwrap_or_default();
        found.iter().enumerate().filter(|(_, is_unseen)| **is_unseen).map(|(number, _)| number).collect()
    }

    #[test]
    fn only_the_last_set_of_a_key_is_seen() {
        assert_eq!(unseen_of(&["0 set a 1", "0 set b 1 / 0 set a 2", "0 set a 3"]), [0, 2]);
        assert_eq!(unseen_of(&["0 set a 1", "1 set a 1", "0 set b 1"]), [0; 0]);
        assert_eq!(unseen_of(&["0 set a 1 / 0 set a 2 / 0 set a 3"]), [0, 1]);
    }

    #[test]
    fn a_group_may_end_between_two_windows() {
        let lines = vec!["0 set a 1"; WINDOW_CALLS + 10];
        let seen = |number: &usize| *number != WINDOW_CALLS - 1 && *number != WINDOW_CALLS + 9;
        assert_eq!(unseen_of(&lines), (0..WINDOW_CALLS + 10).filter(seen).collect::<Vec<_>>());
        assert!(is_border(WINDOW_CALLS - 1, WINDOW_CALLS) && !is_border(WINDOW_CALLS, WINDOW_CALLS + 9));
    }

    #[test]
    fn whatever_may_look_or_fail_in_between_keeps_what_was_before_it() {
        for between in [
            "0 get a",
            "0 incr b",
            "0 set a 2 px 1",
            "0 set a 2 get",
            "0 set a toolong",
            "exec: 0 set b 1",
            "0 flushall",
        ] {
            assert_eq!(unseen_of(&["0 set a 1", between, "0 set a 3"]), [0; 0], "{between}");
        }
        // Of a job with a large reply the calls behind it are cut off, and may never come again.
        assert_eq!(unseen_of(&["0 set a 1", "0 set c 1 / 0 get big / 0 set a 3"]), [0; 0]);
        assert_eq!(unseen_of(&["0 get a", "0 set a 1", "0 set a 2", "0 get a"]), [1]);
    }
}
