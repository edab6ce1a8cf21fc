//! How many cores and how much memory this process really has: affinity, cgroup v1 and v2 limits (those of the parents
//! too), and what the machine has. Everything is read from files below one root, so that tests bring their own.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// What the container gives to this process and its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The CPUs that the process may run on, ascending; never empty.
    pub allowed_cpus: Vec<usize>,
    /// Whole cores of computing time: the allowed CPUs, at most the CPU quota rounded up, at least 1.
    pub cores: usize,
    /// The smallest memory limit that applies, at most the machine's memory.
    pub memory_bytes: u64,
}

/// Where nothing says how much memory there is (no /proc): an amount that every machine has.
const MEMORY_BYTES_UNKNOWN: u64 = 512 << 20;

impl Container {
    /// Reads the real system. To be called before any thread is pinned: a pinned process is allowed one CPU.
    #[must_use]
    pub fn detect() -> Self {
        Self::detect_below(Path::new("/"))
    }

    /// Reads the same files below another root. A file that is missing or unreadable limits nothing.
    #[must_use]
    pub fn detect_below(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        // The mask that sched_getaffinity returns, without the 1,024 CPUs that its fixed-size wrapper ends at.
        let mut allowed_cpus = allowed_cpus(&read("proc/self/status"));
        if allowed_cpus.is_empty() {
            allowed_cpus.push(0);
        }
        let hierarchies = hierarchies(&read("proc/self/mountinfo"), &read("proc/self/cgroup"));
        let limits: Vec<Limits> = hierarchies.iter().flat_map(|hierarchy| hierarchy.limits(root)).collect();

        let quota = limits.iter().filter_map(|limit| limit.cores).min().unwrap_or(usize::MAX);
        let limit = limits.iter().filter_map(|limit| limit.memory_bytes).min().unwrap_or(u64::MAX);
        let machine = memory_total(&read("proc/meminfo")).unwrap_or(MEMORY_BYTES_UNKNOWN);
        Self { cores: allowed_cpus.len().min(quota).max(1), allowed_cpus, memory_bytes: limit.min(machine) }
    }
}

/// One mounted cgroup tree and this process's place in it.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    mount: PathBuf,
    /// Below `mount`; empty in the usual container, which sees its own group as the root.
    group: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// What one group limits; `None` where it says nothing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Limits {
    cores: Option<usize>,
    memory_bytes: Option<u64>,
}

impl Hierarchy {
    /// The limits of the group and of all its parents up to the mount.
    fn limits(&self, root: &Path) -> Vec<Limits> {
        let mount = root.join(self.mount.strip_prefix("/").unwrap_or(&self.mount));
        self.group.ancestors().map(|group| self.version.limits(&mount.join(group))).collect()
    }
}

impl Version {
    fn limits(self, group: &Path) -> Limits {
        let read = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_default();
        match self {
            Self::One => Limits {
                cores: cores_v1(&read("cpu.cfs_quota_us"), &read("cpu.cfs_period_us")),
                // The second file also knows the parents that this mount does not show.
                memory_bytes: [bytes(&read("memory.limit_in_bytes")), hierarchical_limit(&read("memory.stat"))]
                    .into_iter()
                    .flatten()
                    .min(),
            },
            Self::Two => Limits { cores: cores_v2(&read("cpu.max")), memory_bytes: bytes(&read("memory.max")) },
        }
    }
}

/// The CPUs of `Cpus_allowed_list: 0-3,8` in /proc/PID/status.
fn allowed_cpus(status: &str) -> Vec<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let mut cpus: Vec<usize> = list.trim().split(',').filter_map(cpu_range).flatten().collect();
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}

fn cpu_range(text: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

/// The trees that /proc/self/mountinfo shows and that can limit CPU or memory, with the group of /proc/self/cgroup.
fn hierarchies(mountinfo: &str, cgroup: &str) -> Vec<Hierarchy> {
    mountinfo.lines().filter_map(|line| hierarchy(line, cgroup)).collect()
}

/// One line of mountinfo (proc(5)): `36 35 98:0 /root /mount options … - type source super-options`.
fn hierarchy(mountinfo_line: &str, cgroup: &str) -> Option<Hierarchy> {
    let (mount_part, type_part) = mountinfo_line.split_once(" - ")?;
    let mut mount_fields = mount_part.split(' ').skip(3);
    let (mount_root, mount) = (mount_fields.next()?, mount_fields.next()?);
    let mut type_fields = type_part.split(' ');
    let (kind, options) = (type_fields.next()?, type_fields.nth(1)?);
    let (version, group) = match kind {
        "cgroup2" => (Version::Two, group_v2(cgroup)?),
        "cgroup" => {
            let controller = options.split(',').find(|option| matches!(*option, "cpu" | "memory"))?;
            (Version::One, group_v1(cgroup, controller)?)
        }
        _ => return None,
    };
    Some(Hierarchy { version, mount: unescape(mount).into(), group: group_below(&unescape(mount_root), group) })
}

/// The group's path below the mount. A mount that shows only a part of the tree shows the process's own group as its
/// root; a path that leads out of it (`/../..`, seen from another namespace) means that root as well.
fn group_below(mount_root: &str, group: &str) -> PathBuf {
    let below = Path::new(group).strip_prefix(mount_root).unwrap_or(Path::new(""));
    let below = below.strip_prefix("/").unwrap_or(below);
    if below.components().all(|part| matches!(part, Component::Normal(_))) { below.to_owned() } else { PathBuf::new() }
}

/// The path of the line `0::/path`.
fn group_v2(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The path of the line `4:cpu,cpuacct:/path` that names the controller.
fn group_v1<'a>(cgroup: &'a str, controller: &str) -> Option<&'a str> {
    cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// `cpu.cfs_quota_us` (-1: none) and `cpu.cfs_period_us`.
fn cores_v1(quota: &str, period: &str) -> Option<usize> {
    cores(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

/// `cpu.max`: `max 100000` or `150000 100000`.
fn cores_v2(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    cores(quota.parse().ok()?, period.parse().ok()?)
}

/// Rounded up: a quota of one and a half cores keeps two threads busy for most of the time.
fn cores(quota: i64, period: i64) -> Option<usize> {
    (quota > 0 && period > 0).then(|| usize::try_from((quota - 1) / period + 1).unwrap_or(usize::MAX))
}

/// A number of bytes; `max` and an empty file are no limit.
fn bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `hierarchical_memory_limit N` in the memory.stat of cgroup v1.
fn hierarchical_limit(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit ")).and_then(bytes)
}

/// `MemTotal: N kB` in /proc/meminfo.
fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBI: u64 = 1 << 20;
    const STATUS: &str = "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n";
    const MEMINFO: &str = "MemTotal:       16384000 kB\nMemFree:         1000 kB\n";
    const MOUNTS_V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const MOUNTS_V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    const CGROUP_V1: &str = "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n";

    /// A root with the given files.
    fn detect(files: &[(&str, &str)]) -> Container {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Container::detect_below(root.path())
    }

    #[test]
    fn a_machine_without_limits_has_its_cpus_and_its_memory() {
        let found = detect(&[("proc/self/status", STATUS), ("proc/meminfo", MEMINFO)]);
        assert_eq!(found.allowed_cpus, (0..8).collect::<Vec<_>>());
        assert_eq!((found.cores, found.memory_bytes), (8, 16_384_000 * 1024));
    }

    #[test]
    fn a_v2_container_has_the_limits_of_its_own_root() {
        let found = detect(&[
            ("proc/self/status", STATUS),
            ("proc/meminfo", MEMINFO),
            ("proc/self/mountinfo", MOUNTS_V2),
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
        ]);
        assert_eq!((found.cores, found.memory_bytes), (2, 512 * MEBI));
    }

    #[test]
    fn the_smallest_limit_of_all_parents_counts() {
        let found = detect(&[
            ("proc/self/status", STATUS),
            ("proc/meminfo", MEMINFO),
            ("proc/self/mountinfo", MOUNTS_V2),
            ("proc/self/cgroup", "0::/pods/pod1/container\n"),
            ("sys/fs/cgroup/pods/pod1/container/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/pods/pod1/container/memory.max", "max\n"),
            ("sys/fs/cgroup/pods/pod1/cpu.max", "300000 100000\n"),
            ("sys/fs/cgroup/pods/pod1/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/pods/cpu.max", "600000 100000\n"),
            ("sys/fs/cgroup/pods/memory.max", "4294967296\n"),
        ]);
        assert_eq!((found.cores, found.memory_bytes), (3, 1024 * MEBI));
    }

    #[test]
    fn a_v1_container_whose_mount_shows_only_its_group_is_understood() {
        let found = detect(&[
            ("proc/self/status", STATUS),
            ("proc/meminfo", MEMINFO),
            ("proc/self/mountinfo", MOUNTS_V1),
            ("proc/self/cgroup", CGROUP_V1),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 0\nhierarchical_memory_limit 268435456\n"),
        ]);
        assert_eq!((found.cores, found.memory_bytes), (1, 256 * MEBI));
    }

    #[test]
    fn no_quota_in_v1_is_minus_one() {
        assert_eq!(cores_v1("-1\n", "100000\n"), None);
        assert_eq!(cores_v1("200001\n", "100000\n"), Some(3));
        assert_eq!(cores_v1("", ""), None);
    }

    #[test]
    fn a_path_out_of_the_namespace_means_the_mounted_root() {
        assert_eq!(group_below("/", "/../../other"), PathBuf::new());
        assert_eq!(group_below("/docker/abc", "/docker/abc"), PathBuf::new());
        assert_eq!(group_below("/docker/abc", "/"), PathBuf::new());
        assert_eq!(group_below("/", "/a/b"), PathBuf::from("a/b"));
    }

    #[test]
    fn cpu_lists_have_ranges_and_single_numbers() {
        assert_eq!(allowed_cpus("Cpus_allowed_list:\t0-2,8,1\n"), [0, 1, 2, 8]);
        assert_eq!(allowed_cpus("Cpus_allowed_list:\tnonsense\n"), [] as [usize; 0]);
        assert_eq!(allowed_cpus(""), [] as [usize; 0]);
    }

    #[test]
    fn nothing_readable_still_gives_a_core_and_some_memory() {
        let found = detect(&[]);
        assert_eq!(
            (found.allowed_cpus.as_slice(), found.cores, found.memory_bytes),
            (&[0][..], 1, MEMORY_BYTES_UNKNOWN)
        );
    }

    #[test]
    fn this_machine_is_read() {
        let found = Container::detect();
        assert!(found.cores >= 1 && found.cores <= found.allowed_cpus.len());
        assert!(found.memory_bytes > 64 * MEBI);
    }
}
