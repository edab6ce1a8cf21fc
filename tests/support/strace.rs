//! What the kernel is asked to do, as strace sees it: recordings of system calls, and calls that are made to fail.
//!
//! Recordings are asked for with `RECORD`: thread names, paths of descriptors, times, and all strings as hex digits.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::Signal;
use tempfile::{NamedTempFile, TempPath};

use super::connection::PATIENCE;
use super::log::Log;
use super::processes::signal;

/// Options of a recording that `read` understands.
pub const RECORD: &[&str] = &["-f", "-Y", "-yy", "-ttt", "-xx", "-s", "20000000"];

/// True, or a printed line that says why not.
pub fn is_available() -> bool {
    let tried = Command::new("strace")
        .args(["-f", "-Y", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        println!("SKIPPED: strace is not installed or may not trace here (Debian: apt-get install strace)");
    }
    works
}

/// strace at work on running processes, until it is dropped or asked for what it saw.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    output: TempPath,
}

impl Strace {
    /// Returns when all threads of the processes are traced.
    pub fn attach(pids: &[i32], options: &[&str]) -> Self {
        let output = NamedTempFile::new().unwrap().into_temp_path();
        let mut command = Command::new("strace");
        command.args(options).arg("-o").arg(&output).args(pids.iter().map(|pid| format!("-p{pid}")));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        log.gather(child.stderr.take().unwrap());
        for pid in pids {
            let attached = format!("Process {pid} attached");
            let line = log.wait_for(0, PATIENCE, |line| line.contains(&attached));
            assert!(line.is_some(), "strace does not attach to {pid}: {:?}", log.lines());
        }
        Self { child, output }
    }

    /// Lets go of the processes, and gives what they did.
    pub fn finish(mut self) -> Vec<Line> {
        self.end();
        read(&self.output)
    }

    fn end(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(i32::try_from(self.child.id()).unwrap(), Signal::SIGINT);
            // It may wait for ever for a process that has ended and that nobody has reaped.
            let deadline = clock::monotonic() + Duration::from_secs(5);
            while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                if clock::monotonic() >= deadline {
                    self.child.kill().unwrap();
                }
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.end();
    }
}

/// One line of a recording: a system call as a whole, or, where others came between, its beginning or its end. The
/// order of the lines is the order of what they tell.
#[derive(Clone, Debug)]
pub struct Line {
    pub thread_id: i32,
    pub thread: String,
    /// Microseconds since 1970.
    pub at_us: i64,
    pub name: String,
    /// As strace prints them; of an end: what was still missing.
    pub args: String,
    /// `None` exactly when this is only the beginning.
    pub result: Option<String>,
    pub is_end_only: bool,
}

impl Line {
    /// What stands between the angle brackets of the descriptor that is argument `index`: a path, or `TCP:[...]`.
    pub fn descriptor(&self, index: usize) -> Option<String> {
        let arg = self.arg(index)?;
        let digits = arg.find('<')?;
        arg[..digits].parse::<i32>().ok()?;
        Some(plain(arg[digits + 1..].strip_suffix('>')?))
    }

    pub fn descriptor_number(&self, index: usize) -> Option<i32> {
        self.arg(index)?.split('<').next()?.parse().ok()
    }

    pub fn number(&self, index: usize) -> Option<u64> {
        self.arg(index)?.parse().ok()
    }

    /// A string argument.
    pub fn bytes(&self, index: usize) -> Option<Vec<u8>> {
        Some(hex_bytes(self.arg(index)?.strip_prefix('"')?.strip_suffix('"')?))
    }

    pub fn is_error(&self) -> bool {
        self.result.as_ref().is_some_and(|result| result.starts_with('-'))
    }

    /// No string of a recording has a comma or a quote in it: all of them are hex digits.
    fn arg(&self, index: usize) -> Option<&str> {
        self.args.split(", ").nth(index)
    }
}

/// All lines of a recording in which every call has a name, a time and a thread; others (signals, ends) are passed over.
pub fn read(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter_map(line).collect()
}

/// `12<name> 1795451443.721555 call(args) = result`, `… call(args <unfinished ...>`, `… <... call resumed>args) = result`
fn line(text: &str) -> Option<Line> {
    let (thread, rest) = text.split_once("> ")?;
    let (thread_id, comm) = thread.split_once('<')?;
    let (at, call) = rest.trim_start().split_once(' ')?;
    let at_us = at.replace('.', "").parse().ok()?;
    let (call, is_end_only) = match call.strip_prefix("<... ") {
        Some(resumed) => (resumed.replacen(" resumed>", "(", 1), true),
        None => (call.to_owned(), false),
    };
    let (name, rest) = call.split_once('(')?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let (args, result) = match rest.rsplit_once(" = ") {
        Some((args, result)) => (args.trim_end().strip_suffix(')')?, Some(result.to_owned())),
        // Others came between, or strace let go in the middle.
        None => {
            let begun = rest.strip_suffix("<unfinished ...>").or_else(|| rest.strip_suffix("<detached ...>"));
            (begun?.trim_end(), None)
        }
    };
    Some(Line {
        thread_id: thread_id.parse().ok()?,
        thread: plain(comm),
        at_us,
        name: name.to_owned(),
        args: args.trim_end_matches(',').to_owned(),
        result,
        is_end_only,
    })
}

fn plain(text: &str) -> String {
    if text.starts_with("\\x") { String::from_utf8_lossy(&hex_bytes(text)).into_owned() } else { text.to_owned() }
}

fn hex_bytes(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(4).map(|four| digit(four[2]) << 4 | digit(four[3])).collect()
}

/// A place for a recording that strace makes of a program that it starts, and the words to start that with.
#[derive(Debug)]
pub struct Recording {
    pub path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Recording {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("strace-").tempdir().unwrap();
        Self { path: directory.path().join("recording"), _directory: directory }
    }

    /// For `Service::start_under`: records these calls (`"pwrite64,fsync"`) of all processes.
    pub fn wrapper(&self, calls: &str, more: &[&str]) -> Vec<String> {
        let mut words = vec!["strace".to_owned(), "--seccomp-bpf".to_owned()];
        words.extend(RECORD.iter().chain(more).map(|word| (*word).to_owned()));
        words.extend(["-e".to_owned(), format!("trace={calls}"), "-o".to_owned()]);
        words.push(self.path.to_str().unwrap().to_owned());
        words
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self::new()
    }
}
