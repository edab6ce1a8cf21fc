//! A scratch redis-server, where one is installed.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::connection::{Connection, PATIENCE};
use super::log::Log;

#[derive(Debug)]
pub struct Redis {
    child: Child,
    address: SocketAddr,
    /// (7, 0)
    pub version: (u32, u32),
    _data: TempDir,
}

pub fn is_installed() -> bool {
    Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

impl Redis {
    /// `None`, and a printed line, where there is no redis-server.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        if !is_installed() {
            // Past the harness, which keeps what a passing test prints.
            let line =
                b"SKIPPED: there is no redis-server here to compare with (Debian: apt-get install redis-server)\n";
            std::io::stderr().write_all(line).unwrap();
            return None;
        }
        // Its port can't be 0: somebody else may take the one that was free a moment ago.
        (0..5).find_map(|_| Self::try_start(arguments)).or_else(|| panic!("redis-server does not start"))
    }

    fn try_start(arguments: &[&str]) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let data = tempfile::Builder::new().prefix("redis-").tempdir().unwrap();
        let port = address.port().to_string();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(data.path());
        command.args(["--enable-debug-command", "yes"]).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let log = Log::default();
        log.gather(child.stdout.take().unwrap());
        let is_ready = log.wait_for(0, PATIENCE, |line| line.contains("Ready to accept connections")).is_some();
        let lines = log.lines().join("\n");
        let mut redis = Self { child, address, version: (0, 0), _data: data };
        if !is_ready {
            return None;
        }
        let version = lines.split("Redis version=").nth(1)?;
        let mut numbers = version.split('.').map_while(|number| number.parse().ok());
        redis.version = (numbers.next()?, numbers.next()?);
        Some(redis)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            println!("a scratch redis-server can't be ended: pid {}", self.child.id());
        }
    }
}
