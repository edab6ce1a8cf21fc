//! Ctrl-C as something to wait for beside a connection, and not as the end of the program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::connection::Connection;
use super::failure::Failure;

/// While it lives SIGINT ends nothing: it is noticed where somebody waits. Made before any other thread, which inherits
/// that; programs that this one starts do not.
pub struct Interrupts {
    set: SigSet,
    signals: SignalFd,
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        #[expect(clippy::let_underscore_must_use, reason = "it was blocked with the same arguments")]
        let _ = self.set.thread_unblock();
    }
}

/// What a wait has ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Readable,
    /// Ctrl-C.
    Interrupted,
    TimedOut,
}

impl Interrupts {
    /// # Errors
    /// The kernel refuses.
    pub fn new() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { set, signals })
    }

    /// For a whole mode: Ctrl-C ends the waiting for this connection too.
    pub(crate) fn heeded_by(connection: &mut Connection) -> Result<Arc<Self>, Failure> {
        let interrupts = Arc::new(Self::new().map_err(|error| Failure::Usage(error.to_string()))?);
        connection.heed(&interrupts);
        Ok(interrupts)
    }

    /// True exactly when Ctrl-C came since somebody last asked.
    pub fn take(&self) -> bool {
        let mut was_there = false;
        while matches!(self.signals.read_signal(), Ok(Some(_))) {
            was_there = true;
        }
        was_there
    }

    /// Waits so long, or until Ctrl-C.
    pub(crate) fn pause(&self, how_long: Duration) -> io::Result<Woken> {
        self.wait(None, Some(how_long))
    }

    /// Waits until there is something to read, Ctrl-C, or the time is over.
    pub(crate) fn wait(&self, source: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<Woken> {
        let mut descriptors = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        descriptors.extend(source.map(|source| PollFd::new(source, PollFlags::POLLIN)));
        match poll(&mut descriptors, poll_timeout(timeout)) {
            Ok(0) => Ok(Woken::TimedOut),
            Ok(_) if self.take() => Ok(Woken::Interrupted),
            Ok(_) => Ok(Woken::Readable),
            // A window that changed its size, or a stop and a continue.
            Err(Errno::EINTR) => Ok(Woken::TimedOut),
            Err(error) => Err(error.into()),
        }
    }
}

/// In whole milliseconds, rounded up: a wait for less than one is no busy loop.
pub(crate) fn poll_timeout(timeout: Option<Duration>) -> PollTimeout {
    let Some(timeout) = timeout else { return PollTimeout::NONE };
    let milliseconds = timeout.as_micros().div_ceil(1000);
    i32::try_from(milliseconds).ok().and_then(|milliseconds| milliseconds.try_into().ok()).unwrap_or(PollTimeout::MAX)
}
