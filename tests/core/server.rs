//! An example, started as its own process group on a free port, and what can be seen of its processes from outside.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use emptyserver::server::sys::{clock, process};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Client;

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts an example; returns when it says that it is ready.
    pub(crate) fn start(example: &str, flags: &[&str]) -> Server {
        let mut command = Command::new(built(example));
        command.args(["--listen", "127.0.0.1:0"]).args(flags).process_group(0);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (ready_end, ready) = channel();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("ready to accept connections") {
                    ready_end.send(address_in(&line)).unwrap();
                }
                kept.lock().unwrap().push(line);
            }
        });
        let address = wait_for_address(&ready, &mut child, &log);
        Server { child, address, log }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// The supervisor's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the processes say of themselves, by name.
    pub(crate) fn status(&self) -> HashMap<String, String> {
        status(&mut self.client())
    }

    /// The processes by slot, the workers first and the lane's last.
    pub(crate) fn pids(&self) -> Vec<u32> {
        numbers(&self.status()["pid"]).into_iter().map(|pid| pid as u32).collect()
    }

    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// Waits for the end of the supervisor; the exit code, or the signal as a negative number.
    pub(crate) fn wait(&mut self) -> i32 {
        let mut status = None;
        until("the supervisor ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        status.code().unwrap_or_else(|| -status.signal().unwrap())
    }

    /// Whoever has nothing to do uses no processor time. To be called when nothing is in flight.
    pub(crate) fn assert_idle(&self) {
        const WINDOW: Duration = Duration::from_millis(300);
        let pids: Vec<u32> = children_of(self.pid()).into_iter().chain([self.pid()]).collect();
        let used = || pids.iter().map(|&pid| process::usage(pid).map_or(0, |used| used.user_ms + used.system_ms));
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
            eprintln!("---- log of the server\n{}", self.log.lock().unwrap().join("\n"));
        }
    }
}

/// What the process behind this connection says: `NAME=VALUE …`.
pub(crate) fn status(client: &mut Client) -> HashMap<String, String> {
    let line = client.ask("processes");
    let pairs = line.split(' ').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(crate) fn numbers(list: &str) -> Vec<u64> {
    list.split(',').map(|number| number.parse().unwrap()).collect()
}

/// Looks again and again until it is so; fails after a long while.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = clock::monotonic() + PATIENCE;
    while !is_so() {
        assert!(clock::monotonic() < deadline, "waited in vain until {what}");
        clock::pause(Duration::from_millis(2));
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

fn children_of(parent: u32) -> Vec<u32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|&pid| stat_field(pid, 1).is_some_and(|field| field == parent.to_string())).collect()
}

/// A field of /proc/PID/stat, counted after the name: 0 is the state, 1 the parent.
fn stat_field(pid: u32, index: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(index).map(str::to_owned)
}

/// False for a process that is gone, or dead and not reaped.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat_field(pid, 0).is_some_and(|state| state != "Z" && state != "X")
}

/// The inodes of a process's sockets.
pub(crate) fn sockets_of(pid: u32) -> Vec<u64> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let targets = links.filter_map(|link| std::fs::read_link(link).ok());
    let inode = |target: PathBuf| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    targets.filter_map(inode).collect()
}

/// Each thread's name and the value of a field of its /proc status.
pub(crate) fn threads_of(pid: u32, field: &str) -> Vec<(String, String)> {
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

fn wait_for_address(ready: &Receiver<SocketAddr>, child: &mut Child, log: &Mutex<Vec<String>>) -> SocketAddr {
    ready.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        child.kill().unwrap();
        panic!("the server did not start:\n{}", log.lock().unwrap().join("\n"))
    })
}

fn address_in(line: &str) -> SocketAddr {
    let word = line.split(' ').find_map(|word| word.strip_prefix("address=")).unwrap();
    word.parse().unwrap()
}
