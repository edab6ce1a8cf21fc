//! A service for the time of an import, on a socket in its own directory: where commands have to be run, and no service is there yet.

use std::error::Error;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use emptyserver::client::{Connection, Patience, Target};
use emptyserver::config::Settings;
use emptyserver::sys::clock;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SOCKET: &str = "socket";
const LOG: &str = "log";
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 1500;

pub(crate) struct PassingService {
    child: Child,
    target: Target,
    log: PathBuf,
}

impl PassingService {
    /// Starts it, and waits until it answers.
    pub(crate) fn start(settings: &Settings, directory: &Path) -> Result<Self> {
        let (socket, log) = (std::path::absolute(directory.join(SOCKET))?, directory.join(LOG));
        let storage = &settings.storage;
        let child = Command::new(std::env::current_exe()?)
            .arg("serve-import")
            .env_clear()
            .env("EMPTYSERVER_DATA", std::path::absolute(directory)?)
            .env("EMPTYSERVER_LISTEN", "off")
            .env("EMPTYSERVER_UNIX_SOCKET", &socket)
            .env("EMPTYSERVER_ADMIN_LISTEN", "off")
            // What is not complete is thrown away, and what is complete is synced once.
            .env("EMPTYSERVER_DURABILITY", "os")
            // All that it was told goes into the tables before it ends.
            .env("EMPTYSERVER_DRAIN_SECONDS", "3600")
            .env("EMPTYSERVER_VALUE_BYTES_MAX", storage.value_bytes_max.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            // Ctrl-C is for the import.
            .process_group(0)
            .spawn()?;
        let target = Target { socket: Some(socket), ..Target::default() };
        let mut service = Self { child, target, log };
        for _ in 0..LOOKS_MAX {
            if Connection::connect(&service.target, Patience::default()).is_ok() {
                return Ok(service);
            }
            if service.child.try_wait()?.is_some() {
                break;
            }
            clock::pause(LOOK_EVERY);
        }
        let said = std::fs::read_to_string(&service.log).unwrap_or_default();
        Err(format!("the service that the import needs does not start: {}", said.trim()).into())
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Ends it in good order: all that it was told is in its file.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.tell_to_end();
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the service of the import has ended with {status}").into()) }
    }

    fn tell_to_end(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It has ended already.
            kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap_or_default();
        }
    }
}

impl Drop for PassingService {
    fn drop(&mut self) {
        // Nothing of it is wanted any more, and nobody is left to tell.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// In the service: it ends when the import ends, however.
pub(crate) fn end_with_parent() -> std::io::Result<()> {
    Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
}
