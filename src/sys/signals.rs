//! Signals as readable events (signalfd), and what a child makes of them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a signal asks of the process that owns the children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT: drain and end.
    End,
    /// SIGCHLD: a child has died.
    Reap,
    /// SIGHUP: files are to be read again.
    Hangup,
}

pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks the handled signals for this thread and all later ones, and makes them readable here instead.
    pub fn open() -> io::Result<Signals> {
        let mask: SigSet = HANDLED.into_iter().collect();
        mask.thread_block()?;
        ignore_broken_pipes()?;
        Ok(Signals { fd: SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)? })
    }

    /// The next signal that has arrived.
    pub fn next(&self) -> io::Result<Option<Asked>> {
        let Some(info) = self.fd.read_signal()? else { return Ok(None) };
        Ok(match Signal::try_from(info.ssi_signo as i32) {
            Ok(Signal::SIGCHLD) => Some(Asked::Reap),
            Ok(Signal::SIGHUP) => Some(Asked::Hangup),
            _ => Some(Asked::End),
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const HANDLED: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD];

/// In a child: a terminal or a container runtime may signal the whole group, but a child ends when its control socket says so.
pub fn ignore_in_child() -> io::Result<()> {
    for asked in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: signal(2) with SIG_IGN installs no handler of ours.
        unsafe { signal(asked, SigHandler::SigIgn)? };
    }
    // SAFETY: as above, with SIG_DFL.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl)? };
    ignore_broken_pipes()?;
    let mask: SigSet = HANDLED.into_iter().collect();
    Ok(mask.thread_unblock()?)
}

/// A write to a closed socket is an error of that write, not the end of the process.
fn ignore_broken_pipes() -> io::Result<()> {
    // SAFETY: signal(2) with SIG_IGN installs no handler of ours.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn)? };
    Ok(())
}
