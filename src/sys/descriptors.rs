//! How many descriptors there may be, and closing those that a child must not have.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open descriptors to the hard limit, and returns it.
pub fn raise_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// The present soft limit of open descriptors: an operator may change it while the process runs (prlimit(1)).
pub fn limit() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Closes every descriptor of the calling process from 3 on that is not in `keep`.
///
/// The caller is a child between fork and its first own code: whatever Rust values owned these descriptors are never dropped there.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().map(std::os::fd::AsRawFd::as_raw_fd).filter(|&fd| fd > 2).collect();
    keep.sort_unstable();
    match close_ranges_between(&keep) {
        // A kernel before 5.9, or a sandbox that does not know the call (some answer EPERM to what they do not know).
        Err(error) if is_missing(&error) => close_one_by_one(&keep),
        closed => closed,
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// `keep` is in rising order.
fn close_ranges_between(keep: &[RawFd]) -> io::Result<()> {
    let mut from: u32 = 3;
    for fd in keep.iter().map(|&fd| fd as u32).chain([u32::MAX]) {
        if from < fd {
            close_range(from, if fd == u32::MAX { fd } else { fd - 1 })?;
        }
        from = fd.saturating_add(1);
    }
    Ok(())
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: close_range(2) takes plain integers; that nothing goes on using these descriptors is this module's contract.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `keep` is in rising order.
fn close_one_by_one(keep: &[RawFd]) -> io::Result<()> {
    let close = |fd: RawFd| {
        if fd > 2 && keep.binary_search(&fd).is_err() {
            // SAFETY: close(2) takes a plain integer; that nothing goes on using the descriptor is this module's contract. One that is not
            // open (that of the directory which was read for the list) is an error of no interest.
            unsafe { libc::close(fd) };
        }
    };
    match open_descriptors() {
        Ok(open) => open.into_iter().for_each(close),
        // Without /proc each that there may be. The lowest free number is given first, so that none is above a million.
        Err(_) => (3..limit()?.min(1 << 20) as RawFd).for_each(close),
    }
    Ok(())
}

fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let number = |entry: io::Result<std::fs::DirEntry>| {
        let name = entry?.file_name();
        name.to_str().and_then(|name| name.parse().ok()).ok_or(io::Error::from(io::ErrorKind::InvalidData))
    };
    std::fs::read_dir("/proc/self/fd")?.map(number).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_is_raised_to_the_hard_limit() {
        let limit = super::raise_limit().unwrap();
        let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, hard), (limit, limit));
    }
}
