//! Stream sockets without waiting: listeners, connections, pairs, and handing descriptors to another process.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage,
    UnixAddr, accept4, bind, connect, getpeername, getsockname, listen, recvmsg, sendmsg, setsockopt, socket,
    socketpair, sockopt,
};

/// What one read or write of a socket that never waits came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    Bytes(usize),
    /// Nothing now; epoll says when.
    WouldBlock,
    /// End of file (a read), or the other side is gone (a write).
    Closed,
}

/// Binds and listens. Port 0 takes a free one; ask `local_address`. On `[::]` also for IPv4, where the machine does so.
pub fn listen_on(address: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    listen_as(address, false, backlog)
}

/// The same for IPv6 alone: beside another socket that has the port for IPv4.
pub fn listen_on_v6_only(address: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    listen_as(address, true, backlog)
}

fn listen_as(address: SocketAddr, is_v6_only: bool, backlog: i32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    if is_v6_only && address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    // A restart binds again while old connections are in TIME_WAIT.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(backlog)?)?;
    Ok(fd)
}

/// The same for a path: a socket of the Unix domain, for those whom the mode lets connect. One that is left there, on which
/// nobody listens, is removed first, but nothing else is.
pub fn listen_on_path(path: &Path, mode: u32, backlog: i32) -> io::Result<OwnedFd> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if is_listened_on(path)? {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let fd = unix_stream()?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    // Nobody connects before it listens.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    listen(&fd, Backlog::new(backlog)?)?;
    Ok(fd)
}

/// Removes a socket on which nobody listens; that it is gone already is as good.
pub fn remove_unused(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() && !is_listened_on(path)? => std::fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn unix_stream() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}

/// True when somebody would accept a connection there; `EAGAIN` is one who has many already.
fn is_listened_on(path: &Path) -> io::Result<bool> {
    match connect(unix_stream()?.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EINPROGRESS) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The path that a listener of the Unix domain is bound to.
pub fn local_path(fd: BorrowedFd<'_>) -> io::Result<String> {
    let address: UnixAddr = getsockname(fd.as_raw_fd())?;
    Ok(address.path().map_or_else(String::new, |path| path.display().to_string()))
}

/// Accepts one connection, if one waits. One that was reset or failed while it waited is skipped: accept(2) reports
/// that connection's network errors as its own.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    loop {
        match accept4(listener.as_raw_fd(), SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC) {
            // SAFETY: accept4(2) returned a new descriptor that nobody else owns.
            Ok(fd) => return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
            Err(Errno::EAGAIN) => return Ok(None),
            Err(
                Errno::ECONNABORTED
                | Errno::EINTR
                | Errno::EPROTO
                | Errno::ENETDOWN
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH,
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Small replies leave at once: without this the kernel holds them back for the peer's delayed acknowledgement (tcp(7), Nagle).
pub fn set_no_delay(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&fd, sockopt::TcpNoDelay, &true)?)
}

/// A peer that vanished without a word is noticed after `seconds` of silence and three unanswered probes.
pub fn set_keep_alive(fd: BorrowedFd<'_>, seconds: u32) -> io::Result<()> {
    setsockopt(&fd, sockopt::KeepAlive, &true)?;
    setsockopt(&fd, sockopt::TcpKeepIdle, &seconds)?;
    setsockopt(&fd, sockopt::TcpKeepInterval, &(seconds / 3).max(1))?;
    Ok(setsockopt(&fd, sockopt::TcpKeepCount, &3)?)
}

/// Both ends' addresses of an accepted connection, in one form each whatever the listener: an IPv4 peer of a listener on `[::]` has its
/// IPv4 address (ipv6(7): the kernel gives `::ffff:a.b.c.d`).
pub fn addresses(fd: BorrowedFd<'_>) -> io::Result<(SocketAddr, SocketAddr)> {
    let (peer, local) = (internet(getpeername(fd.as_raw_fd())?)?, internet(getsockname(fd.as_raw_fd())?)?);
    Ok((canonical(peer), canonical(local)))
}

/// An address of IPv4 in its own form, also where it has come by IPv6.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// The address that a listener is bound to.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    internet(getsockname(fd.as_raw_fd())?)
}

fn internet(address: SockaddrStorage) -> io::Result<SocketAddr> {
    if let Some(&v4) = address.as_sockaddr_in() {
        return Ok(SocketAddr::V4(v4.into()));
    }
    match address.as_sockaddr_in6() {
        Some(&v6) => Ok(SocketAddr::V6(v6.into())),
        None => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

/// A connected pair of byte streams that never wait.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC)?)
}

/// A connected pair that keeps message boundaries and never waits: for control messages with descriptors.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC)?)
}

/// Asks for kernel buffers of this many bytes in both directions; the kernel may give less (socket(7), wmem_max).
pub fn set_buffers(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    setsockopt(&fd, sockopt::SndBuf, &bytes)?;
    Ok(setsockopt(&fd, sockopt::RcvBuf, &bytes)?)
}

/// Reads at most `bytes_max` bytes and appends them to `buffer`.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, bytes_max: usize) -> io::Result<Moved> {
    buffer.reserve(bytes_max);
    let moved = receive_into(fd, &mut buffer.spare_capacity_mut()[..bytes_max])?;
    if let Moved::Bytes(count) = moved {
        // SAFETY: recv(2) initialised exactly `count` bytes behind the present length.
        unsafe { buffer.set_len(buffer.len() + count) };
    }
    Ok(moved)
}

/// The same for a buffer whose parts are given away.
pub fn receive_shared(fd: BorrowedFd<'_>, buffer: &mut BytesMut, bytes_max: usize) -> io::Result<Moved> {
    buffer.reserve(bytes_max);
    let moved = receive_into(fd, &mut buffer.spare_capacity_mut()[..bytes_max])?;
    if let Moved::Bytes(count) = moved {
        // SAFETY: recv(2) initialised exactly `count` bytes behind the present length.
        unsafe { buffer.set_len(buffer.len() + count) };
    }
    Ok(moved)
}

fn receive_into(fd: BorrowedFd<'_>, spare: &mut [MaybeUninit<u8>]) -> io::Result<Moved> {
    loop {
        // SAFETY: recv(2) writes at most as many bytes as the slice has.
        let count = unsafe { libc::recv(fd.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len(), libc::MSG_DONTWAIT) };
        return match count {
            0 => Ok(Moved::Closed),
            1.. => Ok(Moved::Bytes(count as usize)),
            _ => match Errno::last() {
                Errno::EINTR => continue,
                Errno::EAGAIN => Ok(Moved::WouldBlock),
                Errno::ECONNRESET | Errno::EPIPE | Errno::ETIMEDOUT => Ok(Moved::Closed),
                error => Err(error.into()),
            },
        };
    }
}

/// Sends what the socket takes of `bytes`.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Moved> {
    loop {
        return match nix::sys::socket::send(fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(count) => Ok(Moved::Bytes(count)),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => Ok(Moved::WouldBlock),
            Err(Errno::ECONNRESET | Errno::EPIPE | Errno::ETIMEDOUT) => Ok(Moved::Closed),
            Err(error) => Err(error.into()),
        };
    }
}

/// The same for what lies in several parts.
pub fn send_parts(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<Moved> {
    loop {
        return match sendmsg::<()>(fd.as_raw_fd(), parts, &[], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL, None) {
            Ok(count) => Ok(Moved::Bytes(count)),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => Ok(Moved::WouldBlock),
            Err(Errno::ECONNRESET | Errno::EPIPE | Errno::ETIMEDOUT) => Ok(Moved::Closed),
            Err(error) => Err(error.into()),
        };
    }
}

/// Sends one message over a `message_pair`, with a descriptor if there is one (unix(7), SCM_RIGHTS).
pub fn send_message(fd: BorrowedFd<'_>, bytes: &[u8], passed: Option<BorrowedFd<'_>>) -> io::Result<Moved> {
    let raw: Vec<RawFd> = passed.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        return match sendmsg::<()>(fd.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None) {
            Ok(count) => Ok(Moved::Bytes(count)),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => Ok(Moved::WouldBlock),
            Err(Errno::ECONNRESET | Errno::EPIPE) => Ok(Moved::Closed),
            Err(error) => Err(error.into()),
        };
    }
}

/// Receives one message, with the descriptor that came with it.
pub fn receive_message(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(Moved, Option<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => break message,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok((Moved::WouldBlock, None)),
            Err(Errno::ECONNRESET) => return Ok((Moved::Closed, None)),
            Err(error) => return Err(error.into()),
        }
    };
    let mut passed = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: unix(7): each descriptor received by SCM_RIGHTS is new and this process's own.
            passed = raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).next();
        }
    }
    let moved = if message.bytes == 0 { Moved::Closed } else { Moved::Bytes(message.bytes) };
    Ok((moved, passed))
}

/// True when a read of `fd` would return at once.
pub fn is_readable(fd: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}
