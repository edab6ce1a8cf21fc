//! Making, ending and looking at processes.

use std::io;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

/// Forks. In the child `body` runs and its result is the exit code; the parent gets the child's id.
///
/// The child dies when its parent does (SIGKILL, by the kernel). May be called only while the process has one thread: what
/// other threads held (locks of the allocator, of the log) would stay held in the child for ever.
pub fn spawn(body: impl FnOnce() -> i32) -> io::Result<u32> {
    let parent = nix::unistd::getpid();
    debug_assert_eq!(thread_count(), Some(1), "fork with more than one thread");
    // SAFETY: fork(2): with one thread, the child is an exact copy that may run any code.
    match unsafe { fork()? } {
        ForkResult::Parent { child } => Ok(child.as_raw() as u32),
        ForkResult::Child => {
            if nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_err() || getppid() != parent {
                // The parent died before the kernel knew that this child must follow it.
                exit_at_once(1);
            }
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(101);
            exit_at_once(code)
        }
    }
}

/// Ends the process without destructors or exit handlers: those of a forked child are its parent's.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: _exit(2) is always allowed.
    unsafe { libc::_exit(code) }
}

/// Dies as by `kill -9`: for the tests of sudden death.
pub fn kill_self() -> ! {
    // A process can always signal itself; whatever the answer is, it ends here.
    let killed = kill(nix::unistd::getpid(), Signal::SIGKILL);
    debug_assert!(killed.is_ok());
    exit_at_once(137)
}

/// Collects one dead child, if there is one. Also those that were orphaned to this process (as pid 1).
pub fn reap() -> io::Result<Option<(u32, Ended)>> {
    loop {
        return Ok(match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => Some((pid.as_raw() as u32, Ended::Exited(code))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => Some((pid.as_raw() as u32, Ended::Killed(signal as i32))),
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => None,
            Ok(_) => continue,
            Err(error) => return Err(error.into()),
        });
    }
}

/// What this process makes from now on is for its user alone, or for its group as well. For the whole process: to be called while it
/// has one thread.
pub fn share_files(is_for_group: bool) {
    let others = Mode::S_IRWXO | if is_for_group { Mode::empty() } else { Mode::S_IRWXG };
    umask(others);
}

/// Whom files have to be writable for.
#[must_use]
pub fn user_and_group() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// Whether there is a process of this number. A number may have come to be another's.
#[must_use]
pub fn exists(pid: u32) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), None) != Err(nix::errno::Errno::ESRCH)
}

/// Kills a child that has not been reaped yet (so its id cannot be another's).
pub fn kill_child(pid: u32) -> io::Result<()> {
    Ok(kill(Pid::from_raw(pid as i32), Signal::SIGKILL)?)
}

/// Resident memory in bytes and processor time in milliseconds of a process, from /proc.
#[must_use]
pub fn usage(pid: u32) -> Option<Usage> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = statm.split_ascii_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also spaces and brackets: fields are counted after its closing bracket (proc(5)).
    let behind_name = &stat[stat.rfind(')')? + 1..];
    // T: by a signal; t: by a tracer.
    let is_stopped = behind_name.trim_start().starts_with(['T', 't']);
    let mut ticks = behind_name.split_ascii_whitespace().skip(11).map_while(|word| word.parse::<u64>().ok());
    let (user, system) = (ticks.next()?, ticks.next()?);
    let page_bytes = page_bytes();
    Some(Usage {
        resident_bytes: resident * page_bytes,
        anonymous_bytes: resident.saturating_sub(shared) * page_bytes,
        user_ms: user * 1000 / ticks_per_second(),
        system_ms: system * 1000 / ticks_per_second(),
        is_stopped,
    })
}

/// What a process uses now; the times are since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub resident_bytes: u64,
    /// Resident memory that is backed by no file and shared with nobody.
    pub anonymous_bytes: u64,
    pub user_ms: u64,
    pub system_ms: u64,
    /// True while somebody has stopped it, by a signal or with a debugger.
    pub is_stopped: bool,
}

fn page_bytes() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |bytes| bytes as u64)
}

fn ticks_per_second() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().map_or(100, |ticks| ticks as u64)
}

fn thread_count() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}
