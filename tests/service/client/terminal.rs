//! A program at a pseudo-terminal, and what its screen shows. Nothing sleeps: it waits until the screen is as it should be.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};

use emptyserver::sys::clock;
use nix::pty::{Winsize, openpty};

use crate::support::{PATIENCE, wait_until};

const LINES: u16 = 24;
const COLUMNS: u16 = 100;

pub(crate) const TAB: &str = "\t";
pub(crate) const ENTER: &str = "\r";
pub(crate) const UP: &str = "\x1b[A";
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";
pub(crate) const CTRL_R: &str = "\x12";

pub(crate) struct Terminal {
    child: Child,
    master: File,
    screen: Arc<(Mutex<vt100::Parser>, Condvar)>,
}

impl Terminal {
    /// `emptyserver cli` with a terminal of its own.
    pub(crate) fn start(address: SocketAddr, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: LINES, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        // A session of its own, with this terminal as its controlling one: Ctrl-C is a signal then. A job that a script put into
        // the background ignores that one, and so would all that it starts.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "env", "--default-signal=INT"]).arg(env!("CARGO_BIN_EXE_emptyserver")).arg("cli");
        command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]).args(arguments);
        command.env_clear().envs([("TERM", "xterm-256color"), ("EMPTYSERVER_HISTORY", "off")]);
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path))).envs(variables.iter().copied());
        let slave = || pair.slave.try_clone().unwrap();
        let child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        let screen = Arc::new((Mutex::new(vt100::Parser::new(LINES, COLUMNS, 0)), Condvar::new()));
        let master = File::from(pair.master);
        watch(master.try_clone().unwrap(), Arc::clone(&screen));
        Self { child, master, screen }
    }

    /// As a person does it.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// A line, once the prompt is there; seen before it is entered, and until it has been taken.
    pub(crate) fn line(&mut self, text: &str) {
        self.wait_for_prompt();
        self.keys(text);
        self.wait_for("echo of what is typed", |screen| !is_prompt(&current_line(screen)));
        let typed = current_line(self.screen.0.lock().unwrap().screen());
        self.keys(ENTER);
        self.wait_for("line that is taken", |screen| current_line(screen) != typed);
    }

    /// Nothing typed, nothing running.
    pub(crate) fn wait_for_prompt(&self) {
        self.wait_for("empty prompt", |screen| is_prompt(&current_line(screen)));
    }

    /// Waits until the screen has this text.
    pub(crate) fn sees(&self, text: &str) {
        self.wait_for(text, |screen| screen.contents().contains(text));
    }

    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&vt100::Screen) -> bool) {
        let (screen, changed) = &*self.screen;
        let end = clock::monotonic() + PATIENCE;
        let mut parser = screen.lock().unwrap();
        while !is_so(parser.screen()) {
            let left = end.saturating_duration_since(clock::monotonic());
            assert!(!left.is_zero(), "no {what} on the screen:\n{}", parser.screen().contents());
            parser = changed.wait_timeout(parser, left).unwrap().0;
        }
    }

    pub(crate) fn contents(&self) -> String {
        self.screen.0.lock().unwrap().screen().contents()
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        wait_until("the end of the prompt", PATIENCE, || self.child.try_wait().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().and_then(|()| self.child.wait()).unwrap();
        }
    }
}

/// Where the cursor is.
fn current_line(screen: &vt100::Screen) -> String {
    let line = usize::from(screen.cursor_position().0);
    screen.rows(0, COLUMNS).nth(line).unwrap_or_default().trim_end().to_owned()
}

fn is_prompt(line: &str) -> bool {
    line.ends_with('>')
}

/// Until the other side of the terminal is closed.
fn watch(mut master: File, screen: Arc<(Mutex<vt100::Parser>, Condvar)>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count) = master.read(&mut bytes) {
            screen.0.lock().unwrap().process(&bytes[..count]);
            screen.1.notify_all();
            if count == 0 {
                return;
            }
        }
    });
}
