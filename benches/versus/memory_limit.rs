//! A control group whose processes together have so much memory: version 2, or the older one where that is mounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use emptyserver::sys::clock;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Removed with its value: nothing may run in it any more.
pub(crate) struct MemoryLimit {
    directory: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl MemoryLimit {
    /// `name` tells those that exist at a time apart.
    pub(crate) fn new(name: &str, bytes: u64) -> io::Result<Self> {
        let (root, version) = root()?;
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let directory = root.join(format!("versus-{}-{name}", std::process::id()));
        fs::create_dir(&directory).map_err(|error| named(&directory, &error))?;
        let limit = Self { directory, version };
        limit.write(limit.name("memory.limit_in_bytes", "memory.max"), bytes)?;
        if version == Version::Two && limit.directory.join("memory.swap.max").exists() {
            limit.write("memory.swap.max", 0)?;
        }
        Ok(limit)
    }

    /// Words before a program that put it, and all that it starts, into the group.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let script = format!("echo $$ > '{}/cgroup.procs' && exec \"$@\"", self.directory.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// How many processes the kernel has killed for the limit.
    pub(crate) fn killed(&self) -> u64 {
        let text = self.read(self.name("memory.oom_control", "memory.events"));
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }

    /// The most that was in use at a time, the files' pages included.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.read(self.name("memory.max_usage_in_bytes", "memory.peak")).trim().parse().unwrap_or(0)
    }

    fn name(&self, one: &'static str, two: &'static str) -> &'static str {
        if self.version == Version::One { one } else { two }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    fn write(&self, name: &str, number: u64) -> io::Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, number.to_string()).map_err(|error| named(&path, &error))
    }
}

impl Drop for MemoryLimit {
    /// Killed processes leave the group a moment after they have become zombies.
    fn drop(&mut self) {
        let deadline = clock::monotonic() + REMOVAL_PATIENCE;
        while let Err(error) = fs::remove_dir(&self.directory) {
            if clock::monotonic() > deadline {
                eprintln!("versus: {}", named(&self.directory, &error));
                return;
            }
            clock::pause(Duration::from_millis(10));
        }
    }
}

/// Takes the pages of the files below a directory out of memory, so that whoever reads them next has them on its account: a page
/// belongs to the group that brought it in, and others use it free of charge. Nobody may map the files.
pub(crate) fn drop_from_page_cache(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            drop_from_page_cache(&entry.path())?;
            continue;
        }
        let file = fs::File::open(entry.path())?;
        // Only what is on the disk can be dropped.
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    Ok(())
}

const REMOVAL_PATIENCE: Duration = Duration::from_secs(10);

/// Where groups with the memory controller can be made.
fn root() -> io::Result<(PathBuf, Version)> {
    let unified = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
    if controllers.split_whitespace().any(|name| name == "memory") {
        let enabled = unified.join("cgroup.subtree_control");
        fs::write(&enabled, "+memory").map_err(|error| named(&enabled, &error))?;
        return Ok((unified.to_owned(), Version::Two));
    }
    let old = unified.join("memory");
    if old.join("memory.limit_in_bytes").exists() {
        return Ok((old, Version::One));
    }
    Err(io::Error::other("there is no control group for memory here"))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error} (control groups need root)", path.display()))
}
