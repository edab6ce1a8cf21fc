//! The real program on scratch data: started, watched, killed, started again, and cleaned up however the test ends.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::connection::{Connection, PATIENCE};
use super::log::Log;
use super::processes::{Process, descendants, has_left, is_alive, signal, wait_until};

#[derive(Debug)]
pub struct Service {
    settings: Vec<(String, String)>,
    /// Runs the program: `["prlimit", "--nofile=64"]`. Empty: nothing does.
    wrapper: Vec<String>,
    data: TempDir,
    child: Child,
    log: Log,
    /// Of the supervisor, which is not the child where something wraps it.
    pid: i32,
    address: SocketAddr,
}

impl Service {
    /// With these settings: names without their prefix, as in `[("WORKERS", "2")]`.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_under(&[], settings)
    }

    /// The same, run by another program.
    pub fn start_under(wrapper: &[&str], settings: &[(&str, &str)]) -> Self {
        let data = tempfile::Builder::new().prefix("emptyserver-").tempdir().unwrap();
        Self::start_on(data, wrapper, settings)
    }

    /// The same, on data that exists.
    pub fn start_on(data: TempDir, wrapper: &[&str], settings: &[(&str, &str)]) -> Self {
        let own = [("LISTEN", "127.0.0.1:0"), ("ADMIN_LISTEN", "off")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings: Vec<(String, String)> = own.into_iter().chain(given).collect();
        let wrapper: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        let log = Log::default();
        let child = spawn(&settings, &wrapper, data.path(), &log);
        let placeholder = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut service = Self { settings, wrapper, data, child, log, pid: 0, address: placeholder };
        service.wait_until_ready(0);
        service
    }

    /// From line number `from` of the log on.
    pub fn wait_until_ready(&mut self, from: usize) {
        let line = self.log.wait_for(from, PATIENCE, |line| line.contains("\"ready to accept connections\""));
        let line = line.unwrap_or_else(|| panic!("the service does not get ready:\n{}", self.log.lines().join("\n")));
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
        self.pid = i32::try_from(fields["pid"].as_i64().unwrap()).unwrap();
        self.address = fields["address"].as_str().unwrap().parse().unwrap();
    }

    /// Starts it again on the same data, at the same address; it has to have ended.
    pub fn restart(&mut self) {
        let from = self.begin();
        self.wait_until_ready(from);
    }

    /// `restart` that does not wait. Gives the number of the first line that it will log.
    pub fn begin(&mut self) -> usize {
        self.settings[0].1 = self.address.to_string();
        let from = self.log.len();
        self.child = spawn(&self.settings, &self.wrapper, self.data.path(), &self.log);
        from
    }

    /// A start that must fail: what the program says then.
    pub fn refused_start(&mut self) -> String {
        let from = self.begin();
        let status = self.wait_for_end(PATIENCE);
        assert!(!status.success(), "it ended well");
        wait_until("the end of the log", PATIENCE, || self.log.is_at_end().then_some(()));
        self.log.lines()[from..].join("\n")
    }

    /// For the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// The same with settings changed or added.
    pub fn restart_with(&mut self, settings: &[(&str, &str)]) {
        settings.iter().for_each(|(name, value)| self.set(name, value));
        self.restart();
    }

    /// A stop before it.
    pub fn restart_after_stop(&mut self, settings: &[(&str, &str)]) {
        self.stop();
        self.restart_with(settings);
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks TLS.
    pub fn tls_address(&self) -> SocketAddr {
        let is_it = |line: &str| line.contains("\"listens here, too\"") && line.contains("\"tls\":true");
        let line = self.log.wait_for(0, PATIENCE, is_it).expect("it says where it speaks TLS");
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
        fields["address"].as_str().unwrap().parse().unwrap()
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Of the supervisor.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// All below the supervisor, by name.
    pub fn processes(&self) -> Vec<Process> {
        descendants(self.pid)
    }

    /// The worker processes, in their order.
    pub fn workers(&self) -> Vec<i32> {
        let processes = self.processes();
        processes.iter().filter(|process| process.name.starts_with("worker-")).map(|process| process.pid).collect()
    }

    /// The living process of that name: `write`, `worker-0`.
    pub fn process(&self, name: &str) -> Option<i32> {
        self.processes().iter().find(|process| process.name == name).map(|process| process.pid)
    }

    /// Kills the process of that name, waits until another has its place, and gives that one's pid.
    pub fn replace(&self, name: &str) -> i32 {
        let old = self.process(name).unwrap_or_else(|| panic!("there is no {name}"));
        signal(old, Signal::SIGKILL);
        wait_until("another process in its place", PATIENCE, || self.process(name).filter(|new| *new != old))
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        signal(self.pid, Signal::SIGTERM);
        self.wait_for_end(PATIENCE)
    }

    /// SIGKILL for the supervisor alone, and waits until all others are gone.
    pub fn kill_supervisor(&mut self) {
        let others = self.processes();
        signal(self.pid, Signal::SIGKILL);
        self.wait_for_end(PATIENCE);
        wait_until("the end of all processes", PATIENCE, || {
            (!others.iter().any(|process| is_alive(process.pid))).then_some(())
        });
    }

    /// SIGKILL for everything at one instant: no process sees another die. Nobody accepts a connection any more when it returns.
    pub fn kill_all(&mut self) {
        let killed = kill_together(self.pid);
        self.wait_for_end(PATIENCE);
        for pid in killed {
            wait_until("the end of each process", PATIENCE, || has_left(pid).then_some(()));
        }
    }

    pub fn wait_for_end(&mut self, within: Duration) -> ExitStatus {
        wait_until("the end of the program", within, || self.child.try_wait().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.log.lines();
            let tail = &lines[lines.len().saturating_sub(40)..];
            println!("the end of the log of the service on {}:\n{}", self.data.path().display(), tail.join("\n"));
        }
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            kill_together(i32::try_from(self.child.id()).unwrap());
            self.child.wait().unwrap();
        }
    }
}

/// Stops everything first, so that nobody can react to a death.
fn kill_together(pid: i32) -> Vec<i32> {
    let mut pids = vec![pid];
    pids.extend(descendants(pid).iter().map(|process| process.pid));
    pids.iter().for_each(|pid| signal(*pid, Signal::SIGSTOP));
    pids.extend(descendants(pid).iter().map(|process| process.pid));
    pids.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
    pids
}

fn spawn(settings: &[(String, String)], wrapper: &[String], data: &Path, log: &Log) -> Child {
    let program = program();
    let words: Vec<&String> = wrapper.iter().chain([&program]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().env("EMPTYSERVER_DATA", data).env("EMPTYSERVER_LOG_FORMAT", "json");
    // BROKEN_VARIANT: the rule that a build of `tests/broken_variants.sh` breaks. The journal: so that every test can run with one and
    // without.
    let passed = ["PATH", "BROKEN_VARIANT", "EMPTYSERVER_JOURNAL_BYTES_MAX"];
    command.envs(passed.into_iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))));
    command.envs(settings.iter().map(|(name, value)| (format!("EMPTYSERVER_{name}"), value)));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    log.gather(child.stderr.take().unwrap());
    child
}

/// The program that was built for the test, or another one: `tests/broken_variants.sh` tries programs that have to fail it.
pub fn program() -> String {
    let given = std::env::var_os("EMPTYSERVER_UNDER_TEST").map(|path| path.into_string().unwrap());
    given.unwrap_or_else(|| env!("CARGO_BIN_EXE_emptyserver").to_owned())
}

/// How often or how long a test does its thing: `default` unless a longer run says otherwise.
pub fn number_from_environment(name: &str, default: u64) -> u64 {
    match std::env::var_os(name) {
        None => default,
        Some(text) => text.to_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} is a number")),
    }
}
