//! What a process serves with now: made before the first fork, and replaced in each process when it hears of new files.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

/// What a connection is served with.
pub use rustls::ServerConfig as TlsConfig;

use super::material::{Configured, Material, Policy};
use crate::sys::sealed;

/// Each process has its own after the fork. A connection keeps what it began with.
pub struct Certificates {
    policy: Policy,
    /// Held for as long as it takes to copy or to replace two pointers.
    current: Mutex<Configured>,
}

impl Certificates {
    pub(super) fn new(policy: Policy, configured: Configured) -> Certificates {
        Certificates { policy, current: Mutex::new(configured) }
    }

    /// For the next connection of the service.
    #[must_use]
    pub fn service(&self) -> Arc<TlsConfig> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).service)
    }

    /// For the next connection of the process beside it, whose clients show no certificate.
    #[must_use]
    pub fn sidecar(&self) -> Arc<TlsConfig> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).sidecar)
    }

    #[must_use]
    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    /// Takes what another process has handed on.
    pub(in crate::server) fn take(&self, handed: BorrowedFd<'_>) -> io::Result<()> {
        let bytes = sealed::read(handed)?;
        let material: Material = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
        self.replace(&material).map_err(io::Error::other).map(drop)
    }

    /// What the certificate says of its end; an error leaves everything as it is.
    pub(super) fn replace(&self, material: &Material) -> Result<Option<i64>, String> {
        let configured = material.configure(&self.policy)?;
        let not_after_seconds = configured.not_after_seconds;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = configured;
        Ok(not_after_seconds)
    }
}

impl Material {
    /// As `Certificates::take` takes it: memory that nobody can change any more.
    pub(super) fn hand_on(&self) -> io::Result<OwnedFd> {
        sealed::memory("certificates", &postcard::to_allocvec(self).map_err(io::Error::other)?)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("policy", &self.policy).finish_non_exhaustive()
    }
}
