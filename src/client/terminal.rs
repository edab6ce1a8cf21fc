//! The terminal as such: its size, and a question whose answer it must not show.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::interrupt::{Interrupts, Woken};

/// (columns, lines) of the terminal that standard output is; `None` where it is none.
pub(crate) fn size() -> Option<(usize, usize)> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, height)| (usize::from(width.0), usize::from(height.0)))
}

/// Asks at the terminal, whatever the standard streams are. The error is a line for people.
pub(crate) fn ask_password() -> Result<String, String> {
    let failure = |error: &dyn std::fmt::Display| {
        format!("--askpass needs a terminal ({error}); REDISCLI_AUTH gives the password where there is none")
    };
    let terminal = File::options().read(true).write(true).open("/dev/tty").map_err(|error| failure(&error))?;
    // Ctrl-C must not leave a terminal behind that shows nothing.
    let interrupts = Interrupts::new().map_err(|error| failure(&error))?;
    let quiet = Quiet::begin(&terminal).map_err(|error| failure(&error))?;
    (&terminal).write_all(b"Password: ").map_err(|error| failure(&error))?;
    while match interrupts.wait(Some(terminal.as_fd()), None).map_err(|error| failure(&error))? {
        Woken::Interrupted => return Err("no password was given".to_owned()),
        Woken::TimedOut => true,
        Woken::Readable => false,
    } {}
    let mut line = String::new();
    BufReader::new(&terminal).read_line(&mut line).map_err(|error| failure(&error))?;
    drop(quiet);
    (&terminal).write_all(b"\n").map_err(|error| failure(&error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn begin(terminal: &'a File) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        #[expect(clippy::let_underscore_must_use, reason = "a terminal that is gone needs nothing restored")]
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}
