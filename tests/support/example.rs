//! An example, started as its own process group on a free port, and what can be seen of its processes from outside.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use emptyserver::sys::{clock, process};

use super::connection::PATIENCE;
use super::log::Log;
use super::peer::Client;
use super::processes::{descendants, wait_until};

#[derive(Debug)]
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: Log,
}

impl Server {
    /// Starts an example; returns when it says that it is ready.
    pub fn start(example: &str, flags: &[&str]) -> Server {
        let mut command = Command::new(built(example));
        command.args(["--listen", "127.0.0.1:0"]).args(flags).process_group(0);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        log.gather(child.stderr.take().unwrap());
        let Some(line) = log.wait_for(0, PATIENCE, |line| line.contains("ready to accept connections")) else {
            child.kill().unwrap();
            panic!("the server did not start:\n{}", log.lines().join("\n"));
        };
        let address = line.split(' ').find_map(|word| word.strip_prefix("address=")).unwrap().parse().unwrap();
        Server { child, address, log }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// The supervisor's process.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What the processes say of themselves, by name.
    pub fn status(&self) -> HashMap<String, String> {
        status(&mut self.client())
    }

    /// The processes by slot, the workers first and the lane's last.
    pub fn pids(&self) -> Vec<i32> {
        numbers(&self.status()["pid"]).into_iter().map(|pid| pid as i32).collect()
    }

    pub fn has_logged(&self, text: &str) -> bool {
        self.log.lines().iter().any(|line| line.contains(text))
    }

    /// The first address that was logged with this text.
    pub fn logged_address(&self, text: &str) -> SocketAddr {
        let lines = self.log.lines();
        let line = lines.iter().find(|line| line.contains(text)).unwrap();
        line.split(' ').find_map(|word| word.strip_prefix("address=")).unwrap().parse().unwrap()
    }

    /// Waits for the end of the supervisor; the exit code, or the signal as a negative number.
    pub fn wait(&mut self) -> i32 {
        let status = wait_until("the supervisor ends", PATIENCE, || self.child.try_wait().unwrap());
        status.code().unwrap_or_else(|| -status.signal().unwrap())
    }

    /// Whoever has nothing to do uses no processor time. To be called when nothing is in flight.
    pub fn assert_idle(&self) {
        const WINDOW: Duration = Duration::from_millis(300);
        let children = descendants(self.pid());
        let pids: Vec<i32> = children.iter().map(|child| child.pid).chain([self.pid()]).collect();
        let used =
            || pids.iter().map(|&pid| process::usage(pid as u32).map_or(0, |used| used.user_ms + used.system_ms));
        let before: Vec<u64> = used().collect();
        clock::pause(WINDOW);
        for ((now, before), pid) in used().zip(before).zip(&pids) {
            let spent_ms = now - before;
            assert!(spent_ms <= 60, "process {pid} of {pids:?} used {spent_ms} ms in {WINDOW:?} of idleness");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its children die with it.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if std::thread::panicking() {
            eprintln!("---- log of the server\n{}", self.log.lines().join("\n"));
        }
    }
}

/// What the process behind this connection says: `NAME=VALUE …`.
pub fn status(client: &mut Client) -> HashMap<String, String> {
    let line = client.ask("processes");
    let pairs = line.split(' ').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub fn numbers(list: &str) -> Vec<u64> {
    list.split(',').map(|number| number.parse().unwrap()).collect()
}

/// Looks again and again until it is so; fails after a long while.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_until(what, PATIENCE, || is_so().then_some(()));
}

/// The inodes of a process's sockets.
pub fn sockets_of(pid: i32) -> Vec<u64> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let targets = links.filter_map(|link| std::fs::read_link(link).ok());
    let inode = |target: PathBuf| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    targets.filter_map(inode).collect()
}

/// Each thread's name and the value of a field of its /proc status.
pub fn threads_of(pid: i32, field: &str) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let status = std::fs::read_to_string(path.join("status")).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
            line.trim().to_owned()
        };
        (value("Name"), value(field))
    };
    tasks.map(read).collect()
}

/// The example's binary, built as this test was; cargo has nothing to do where all targets were built together.
fn built(example: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        // target/PROFILE/deps/this-test
        let own = std::env::current_exe().unwrap();
        let profile = own.parent().and_then(Path::parent).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "echo", "--example", "compute"]);
        if profile.file_name().unwrap() == "release" {
            cargo.arg("--release");
        }
        assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        profile.join("examples")
    });
    directory.join(example)
}
