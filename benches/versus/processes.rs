//! What a tree of processes costs, as /proc shows it: CPU time, memory, and bytes on the disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::disturbance::TICKS_PER_SECOND;

/// One line of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: i32,
    /// Its own, all threads.
    pub(crate) ticks: u64,
    /// Of children that have ended and were waited for.
    pub(crate) ended_children_ticks: u64,
}

/// Resident memory, a page that several processes share counted for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) anonymous_bytes: u64,
    /// Mapped files and shared memory: what the system can take back, or counts once.
    pub(crate) file_and_shared_bytes: u64,
}

/// The parent of all kernel threads.
const KERNEL_THREADS: i32 = 2;

impl Stat {
    /// The name in parentheses may hold anything.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (_, after) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)?,
            ended_children_ticks: number(13)? + number(14)?,
        })
    }
}

impl Resident {
    /// Of a /proc/PID/status.
    pub(crate) fn parse(text: &str) -> Self {
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        Self { anonymous_bytes: bytes("RssAnon:"), file_and_shared_bytes: bytes("RssFile:") + bytes("RssShmem:") }
    }

    /// Of a whole tree.
    pub(crate) fn of(pid: i32) -> Self {
        let mut sum = Self::default();
        for pid in tree(pid) {
            let one = Self::parse(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default());
            sum.anonymous_bytes += one.anonymous_bytes;
            sum.file_and_shared_bytes += one.file_and_shared_bytes;
        }
        sum
    }
}

/// The process and all below it, parents first.
pub(crate) fn tree(pid: i32) -> Vec<i32> {
    let all = all();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// CPU time of the tree so far, with what ended in it.
pub(crate) fn cpu_seconds(pid: i32) -> f64 {
    let stats = tree(pid).into_iter().filter_map(stat);
    stats.map(|stat| (stat.ticks + stat.ended_children_ticks) as f64).sum::<f64>() / TICKS_PER_SECOND
}

/// CPU time of the kernel's threads: journal and write-back work for whoever writes.
pub(crate) fn kernel_seconds() -> f64 {
    let threads = all().into_iter().filter(|(_, stat)| stat.parent == KERNEL_THREADS);
    threads.map(|(_, stat)| stat.ticks as f64).sum::<f64>() / TICKS_PER_SECOND
}

/// What the files below a directory take on the disk.
pub(crate) fn disk_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let each = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    each.sum()
}

fn all() -> Vec<(i32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// `None` where there is no such process any more.
fn stat(pid: i32) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}
