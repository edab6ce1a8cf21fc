//! The standard error stream, where the log goes: written to without ever waiting for who reads it.
//!
//! What does not go out at once is dropped and counted. The stream may be anybody's, inherited with its file description, so that
//! O_NONBLOCK is not ours to set on it: where it can be opened once more, the service has a description of its own; else each write
//! asks not to wait.

use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use nix::sys::stat::{SFlag, fstat};

use super::atomic::AtomicU64;
use super::{clock, shared};

/// Longest line that goes out in one piece, whoever else writes to the stream (pipe(7), PIPE_BUF).
pub const LINE_BYTES_MAX: usize = 4096;
/// How long all lines of a process that ends may wait together.
const LAST_LINES: Duration = Duration::from_millis(500);

/// How a write that does not wait is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    /// The description does not wait, or the file never does: a file on a disk, for one.
    Write,
    /// A pipe or a terminal of somebody else's.
    Ask,
    Socket,
}

static WAY: AtomicU8 = AtomicU8::new(Way::Write as u8);
/// Shared by all processes: lines that were dropped, and how many of them a line has told of.
static COUNTS: OnceLock<&'static [AtomicU64]> = OnceLock::new();
/// Set in a process that ends: its last lines may wait a moment.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Prepares the stream, in this process and in those that it forks: before the first fork.
///
/// # Errors
/// No memory can be shared.
pub fn prepare() -> io::Result<()> {
    let words = shared::words(2)?;
    // A second call changes nothing.
    COUNTS.get_or_init(|| words);
    let way = match OwnDescription::of(stderr()) {
        Ok(OwnDescription::Opened(own)) => {
            // SAFETY: dup2(2) of two open descriptors; 2 stays open, and is nobody's `OwnedFd`.
            match unsafe { libc::dup2(own.as_raw_fd(), libc::STDERR_FILENO) } {
                -1 => Way::Ask,
                _ => Way::Write,
            }
        }
        Ok(OwnDescription::Impossible(way)) => way,
        Err(_) => Way::Ask,
    };
    WAY.store(way as u8, Ordering::Relaxed);
    Ok(())
}

/// Writes one line, or drops and counts it.
pub fn write_line(line: &[u8]) {
    let way = way();
    let mut outcome = try_write(stderr(), way, line);
    if IS_ENDING.load(Ordering::Relaxed) {
        let deadline = clock::monotonic() + LAST_LINES;
        while matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                // Nobody reads: what follows does not wait again.
                IS_ENDING.store(false, Ordering::Relaxed);
                break;
            }
            has_room(stderr(), left);
            outcome = try_write(stderr(), way, line);
        }
    }
    if outcome.is_err()
        && let Some(counts) = COUNTS.get()
    {
        counts[0].fetch_add(1, Ordering::Relaxed);
    }
}

/// The process ends: if nobody reads now, its last lines wait for half a second.
pub fn wait_with_last_lines() {
    IS_ENDING.store(true, Ordering::Relaxed);
}

/// Lines of all processes that were dropped since the start.
#[must_use]
pub fn lines_dropped() -> u64 {
    COUNTS.get().map_or(0, |counts| counts[0].load(Ordering::Relaxed))
}

/// Lines that were dropped and that nobody has told of, once there is room to do so. They count as told from then on.
#[must_use]
pub fn take_untold() -> Option<u64> {
    let counts = COUNTS.get()?;
    let (dropped, told) = (counts[0].load(Ordering::Relaxed), counts[1].load(Ordering::Relaxed));
    if dropped == told || !has_room(stderr(), Duration::ZERO) {
        return None;
    }
    let is_taken = counts[1].compare_exchange(told, dropped, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    is_taken.then_some(dropped.saturating_sub(told))
}

fn stderr() -> BorrowedFd<'static> {
    // SAFETY: the standard library opens 2 at the start if it is closed, and nothing here closes it.
    unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) }
}

fn way() -> Way {
    match WAY.load(Ordering::Relaxed) {
        way if way == Way::Ask as u8 => Way::Ask,
        way if way == Way::Socket as u8 => Way::Socket,
        _ => Way::Write,
    }
}

/// True once the stream takes a line; waits for so long.
fn has_room(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::POLLOUT)];
    let within = PollTimeout::try_from(within).unwrap_or(PollTimeout::ZERO);
    poll(&mut polled, within).is_ok_and(|count| count > 0)
        // Without POLLERR, which tells that the reader is gone.
        && polled[0].revents() == Some(PollFlags::POLLOUT)
}

enum OwnDescription {
    Opened(OwnedFd),
    /// It is of a kind that is written to in this way.
    Impossible(Way),
}

impl OwnDescription {
    /// Another description of the same pipe or terminal, one that does not wait (proc(5), /proc/self/fd). A pipe of another user
    /// can't be opened.
    fn of(fd: BorrowedFd<'_>) -> io::Result<OwnDescription> {
        let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
        match kind {
            SFlag::S_IFSOCK => return Ok(OwnDescription::Impossible(Way::Socket)),
            SFlag::S_IFIFO | SFlag::S_IFCHR => {}
            // A file is opened with its own place in it: a second description would write over what the first has written.
            _ => return Ok(OwnDescription::Impossible(Way::Write)),
        }
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let opened = OpenOptions::new().write(true).custom_flags(flags.bits()).open(path)?;
        Ok(OwnDescription::Opened(opened.into()))
    }
}

/// One write of the whole line. `WouldBlock`: not now.
fn try_write(fd: BorrowedFd<'_>, way: Way, line: &[u8]) -> io::Result<()> {
    let count = match way {
        Way::Write => write(fd, line),
        Way::Socket => {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            nix::sys::socket::send(fd.as_raw_fd(), line, flags)
        }
        Way::Ask => {
            match write_without_waiting(fd, line) {
                // A kernel before 6.4, a terminal, or a sandbox that knows no pwritev2. A pipe that is writable takes PIPE_BUF bytes at once (pipe(7)), unless another
                // process is faster: the few that share it seldom are.
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL | Errno::EPERM) => {
                    if has_room(fd, Duration::ZERO) { write(fd, line) } else { Err(Errno::EAGAIN) }
                }
                other => other,
            }
        }
    }?;
    // A terminal or a socket may take a part; what is left is lost, and the line counts as dropped.
    if count == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn write(fd: BorrowedFd<'_>, line: &[u8]) -> nix::Result<usize> {
    loop {
        match nix::unistd::write(fd, line) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// pwritev2(2) at the present position with RWF_NOWAIT: as if the description had O_NONBLOCK, for this write.
fn write_without_waiting(fd: BorrowedFd<'_>, line: &[u8]) -> nix::Result<usize> {
    let part = IoSlice::new(line);
    loop {
        // SAFETY: `IoSlice` is an iovec by its contract, and the bytes outlive the call.
        let count = unsafe {
            libc::pwritev2(fd.as_raw_fd(), std::ptr::from_ref(&part).cast::<libc::iovec>(), 1, -1, libc::RWF_NOWAIT)
        };
        match Errno::result(count) {
            Err(Errno::EINTR) => {}
            other => return other.map(|count| count as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    /// Writes lines until one does not go out, and gives their number.
    fn fill(fd: BorrowedFd<'_>, way: Way) -> usize {
        let line = [b'x'; 1000];
        (0..).take_while(|_| try_write(fd, way, &line).is_ok()).count()
    }

    #[test]
    fn a_full_pipe_takes_no_more_lines_and_nobody_waits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        let OwnDescription::Opened(own) = OwnDescription::of(writer.as_fd()).unwrap() else {
            panic!("a pipe of this process can be opened again")
        };
        for (fd, way) in [(own.as_fd(), Way::Write), (writer.as_fd(), Way::Ask)] {
            let count = fill(fd, way);
            assert!(count >= 16, "{way:?} {count}");
            let again = try_write(fd, way, b"more than there is room for".repeat(100).as_slice());
            assert_eq!(again.unwrap_err().kind(), io::ErrorKind::WouldBlock, "{way:?}");
            reader.read_exact(&mut vec![0; 1000 * count]).unwrap();
            assert!(try_write(fd, way, b"room again").is_ok(), "{way:?}");
            reader.read_exact(&mut [0; 10]).unwrap();
        }
        // The description that others may have waits as before.
        let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert!(!OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK));
    }

    #[test]
    fn a_full_socket_takes_no_more_lines_and_nobody_waits() {
        let (_reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(matches!(OwnDescription::of(writer.as_fd()), Ok(OwnDescription::Impossible(Way::Socket))));
        assert!(fill(writer.as_fd(), Way::Socket) >= 16);
    }

    #[test]
    fn a_file_keeps_its_one_description() {
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(OwnDescription::of(file.as_fd()), Ok(OwnDescription::Impossible(Way::Write))));
        assert!(try_write(file.as_fd(), Way::Write, b"line\n").is_ok());
    }
}
