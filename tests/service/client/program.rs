//! Running `emptyserver cli`, and the servers that it talks to.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use crate::support::{Redis, Service};

/// Nothing of the environment of who runs the tests gets in.
pub(crate) fn cli(address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = bare_cli(&["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(arguments);
    command
}

/// Without an address.
pub(crate) fn bare_cli(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emptyserver"));
    command.env_clear().env("EMPTYSERVER_HISTORY", "off").arg("cli").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn told(output: &Output) -> Told {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Told { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

pub(crate) fn run(address: SocketAddr, arguments: &[&str]) -> Told {
    told(&cli(address, arguments).output().unwrap())
}

/// With bytes on standard input.
pub(crate) fn run_with(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    feed(&mut child, input);
    child.wait_with_output().unwrap()
}

/// From a thread: the child may say something before it has read everything.
fn feed(child: &mut Child, input: &[u8]) {
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    std::thread::spawn(move || {
        #[expect(clippy::let_underscore_must_use, reason = "a child that has seen enough closes its end")]
        let _ = stdin.write_all(&input);
    });
}

/// The service, and redis-server where it is installed: what holds of one holds of the other.
pub(crate) struct Servers {
    ours: Service,
    theirs: Option<Redis>,
}

impl Servers {
    pub(crate) fn start() -> Self {
        Self { ours: Service::start(&[("WORKERS", "1")]), theirs: Redis::start(&[]) }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        std::iter::once(self.ours.address()).chain(self.theirs.as_ref().map(Redis::address)).collect()
    }
}
