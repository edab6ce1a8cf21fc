//! Processes as /proc shows them, and signals to them.

use std::fs;
use std::thread;
use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// As the kernel has it: `worker-0`, `write`.
    pub name: String,
    pub pid: i32,
    pub parent: i32,
}

/// All living processes below `pid`, by name; zombies don't count.
pub fn descendants(pid: i32) -> Vec<Process> {
    let all: Vec<Process> =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| read(&entry.file_name())).collect();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            parents.push(process.pid);
            found.push(process.clone());
        }
    }
    found.sort();
    found
}

fn read(name: &std::ffi::OsStr) -> Option<Process> {
    let pid: i32 = name.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    let mut fields = after.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let name = before.split_once('(')?.1.to_owned();
    (!matches!(state, "Z" | "X")).then_some(Process { name, pid, parent })
}

/// The id of a process's thread of that name: `write-0`, `read-1`.
pub fn thread_named(pid: i32, name: &str) -> i32 {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().map(|entry| entry.path());
    let is_it =
        |path: &std::path::PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    let found = tasks.find(is_it).unwrap_or_else(|| panic!("process {pid} has no thread {name}"));
    found.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// Bytes of memory that are the process's own: not of files, not shared.
pub fn anonymous_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

pub fn is_alive(pid: i32) -> bool {
    read(pid.to_string().as_ref()).is_some()
}

/// True when the last of its threads has ended, and with it all that the process had open. Its zombie may stay.
pub fn has_left(pid: i32) -> bool {
    !is_alive(pid) && fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count) <= 1
}

/// A process that is gone already is as good as signalled.
pub fn signal(pid: i32, signal: Signal) {
    assert!(pid > 1, "not a process of ours: {pid}");
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => panic!("can't signal {pid}: {error}"),
    }
}

/// For what announces itself nowhere: asks again and again, up to a deadline.
pub fn wait_until<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::monotonic() + within;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(clock::monotonic() < deadline, "not within {within:?}: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}
