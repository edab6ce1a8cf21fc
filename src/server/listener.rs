//! Where connections come from: the listeners of a service, and what is to be known of each.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::service::StartError;
use crate::sys::socket;

/// One address that the service listens on. All workers share it.
#[derive(Debug)]
pub struct Listener {
    pub fd: OwnedFd,
    pub kind: ListenerKind,
}

/// What its connections are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    Tcp,
    /// A Unix-domain socket: its peers are on this machine, and have no address.
    Unix,
    /// What its connections carry is wrapped, as encryption does.
    #[cfg(test)]
    Wrapped,
}

/// A service listens on so many addresses at most.
pub const LISTENERS_MAX: usize = 16;

impl Listener {
    pub(super) fn try_clone(&self) -> io::Result<Listener> {
        Ok(Listener { fd: self.fd.try_clone()?, kind: self.kind })
    }

    /// The address that it is bound to, in words.
    pub(super) fn address(&self) -> io::Result<String> {
        match self.kind {
            ListenerKind::Unix => socket::local_path(self.fd.as_fd()),
            _ => Ok(socket::local_address(self.fd.as_fd())?.to_string()),
        }
    }

    /// Both ends' addresses of a connection of this listener.
    pub(super) fn addresses(&self, connection: BorrowedFd<'_>) -> io::Result<(SocketAddr, SocketAddr)> {
        match self.kind {
            ListenerKind::Unix => Ok((NO_ADDRESS, NO_ADDRESS)),
            _ => socket::addresses(connection),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Both ends of a Unix connection.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// That there are listeners, and not too many.
pub(super) fn check(listeners: &[Listener]) -> Result<(), StartError> {
    if (1..=LISTENERS_MAX).contains(&listeners.len()) {
        Ok(())
    } else {
        Err(StartError::new(format!("a service listens on 1 to {LISTENERS_MAX} addresses, not on {}", listeners.len())))
    }
}
