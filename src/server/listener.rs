//! Where connections come from: the listeners of a service, and what is to be known of each.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

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
    /// TCP, and its connections begin with a TLS handshake.
    Tls,
    /// A Unix-domain socket: its peers are on this machine, and have no address.
    Unix,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Internet(SocketAddr),
    /// The path of the socket that it came over: the peer has no address of its own.
    Unix(Arc<str>),
}

/// A service listens on so many addresses at most.
pub const LISTENERS_MAX: usize = 16;

impl Listener {
    pub(super) fn try_clone(&self) -> io::Result<Listener> {
        Ok(Listener { fd: self.fd.try_clone()?, kind: self.kind })
    }

    /// The address that it is bound to.
    pub fn address(&self) -> io::Result<Address> {
        match self.kind {
            ListenerKind::Unix => Ok(Address::Unix(socket::local_path(self.fd.as_fd())?.into())),
            ListenerKind::Tcp | ListenerKind::Tls => Ok(Address::Internet(socket::local_address(self.fd.as_fd())?)),
        }
    }

    /// Both ends' addresses of a connection of this listener.
    pub(super) fn addresses(&self, connection: BorrowedFd<'_>) -> io::Result<(Address, Address)> {
        match self.kind {
            ListenerKind::Unix => self.address().map(|address| (address.clone(), address)),
            ListenerKind::Tcp | ListenerKind::Tls => {
                let (peer, local) = socket::addresses(connection)?;
                Ok((Address::Internet(peer), Address::Internet(local)))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Address {
    /// True when the peer at this end is certainly on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Address::Internet(address) => address.ip().is_loopback(),
            Address::Unix(_) => true,
        }
    }

    #[must_use]
    pub fn internet(&self) -> Option<SocketAddr> {
        match self {
            Address::Internet(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Internet(address)
    }
}

/// Of a Unix socket its path.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Internet(address) => address.fmt(f),
            Address::Unix(path) => path.fmt(f),
        }
    }
}

/// That there are listeners, and not too many; and a certificate, where one of them needs it.
pub(super) fn check(listeners: &[Listener], has_certificate: bool) -> Result<(), StartError> {
    if !(1..=LISTENERS_MAX).contains(&listeners.len()) {
        let count = listeners.len();
        return Err(StartError::new(format!("a service listens on 1 to {LISTENERS_MAX} addresses, not on {count}")));
    }
    if !has_certificate && listeners.iter().any(|listener| listener.kind == ListenerKind::Tls) {
        return Err(StartError::new("there is no certificate for those who come over TLS"));
    }
    Ok(())
}
