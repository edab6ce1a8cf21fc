//! TLS for connections that are accepted. rustls does the protocol; here is what surrounds it.
//!
//! ```text
//! files        where certificate, key and authorities lie, and whether they were replaced      (the supervisor, or a thread)
//! material     their bytes, as they go to the other processes; what rustls makes of them
//! current      what a process serves with now
//! stream       one connection: records in, records out, within bounds                         (the loop)
//! ```
//! The loop reads no file: who watches the files hands their bytes on in sealed memory. It knows no protocol above TLS.

mod certificate;
mod current;
mod files;
mod material;
mod stream;
mod tickets;

pub use current::{Certificates, TlsConfig};
pub use files::{TlsFiles, Watched};
pub use material::{ClientCertificates, Policy, VersionMin};
pub use stream::Secured;
pub(super) use stream::{Failure, Shaken, TlsStream};

#[cfg(test)]
pub(super) mod fixture;
