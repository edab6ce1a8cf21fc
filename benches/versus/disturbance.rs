//! Was anybody else busy? The machine's busy time against that of those who had to be. Pure but for two files.

use std::fs;

/// Ticks of all CPUs, as the first line of /proc/stat has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// User, nice, system and steal. Interrupts belong to nobody and are left out.
    pub(crate) busy_ticks: u64,
    pub(crate) all_ticks: u64,
}

/// A run with more foreign time than this share of the machine is repeated.
pub(crate) const FOREIGN_SHARE_MAX: f64 = 0.08;

/// The kernel tells user space a hundredth of a second, whatever its own clock.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

impl Machine {
    pub(crate) fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        let busy_ticks = user + nice + system + steal;
        Some(Self { busy_ticks, all_ticks: busy_ticks + idle + iowait + irq + softirq })
    }
}

/// The share of the machine that others had between two moments, `own_seconds` of CPU being ours. Kernel threads that
/// write for us count as ours.
pub(crate) fn foreign_share(before: Machine, after: Machine, own_seconds: f64) -> f64 {
    let busy = after.busy_ticks.saturating_sub(before.busy_ticks) as f64;
    let all = after.all_ticks.saturating_sub(before.all_ticks) as f64;
    if all == 0.0 { 0.0 } else { ((busy - own_seconds * TICKS_PER_SECOND) / all).max(0.0) }
}
