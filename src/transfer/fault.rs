//! Why moving ends early.

use std::fmt;
use std::io;
use std::path::Path;

use crate::client::ClientError;
use crate::kv::formats::rdb::RestoreError;
use crate::storage::StorageError;

pub type Result<T> = std::result::Result<T, Fault>;

#[derive(Debug)]
pub enum Fault {
    /// What is read is cut or damaged, or is something else.
    Input(String),
    /// The same of a value, before it is said where.
    Value(RestoreError),
    /// The destination's file.
    Storage(StorageError),
    /// A server can't be reached, or has gone.
    Server(String),
    /// A server takes no replicas.
    NoReplicas(String),
    /// A file can't be read or written.
    Io(io::Error),
    /// Somebody wants it to end.
    Interrupted,
}

impl Fault {
    /// Said of this file.
    #[must_use]
    pub fn of(self, file: &Path) -> Fault {
        match self {
            Self::Input(text) => Self::Input(format!("{} {text}", file.display())),
            Self::Io(error) => Self::Input(format!("{}: {error}", file.display())),
            other => other,
        }
    }
}

impl From<RestoreError> for Fault {
    fn from(error: RestoreError) -> Self {
        Self::Value(error)
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Interrupted => Self::Interrupted,
            other => Self::Server(other.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(text) | Self::Server(text) | Self::NoReplicas(text) => out.write_str(text),
            Self::Value(RestoreError::TooLong) => out.write_str("a string is longer than EMPTYSERVER_VALUE_BYTES_MAX"),
            Self::Value(RestoreError::Format) => out.write_str("a value that can't be understood"),
            Self::Value(RestoreError::VersionOrChecksum) => out.write_str("the checksum is wrong"),
            Self::Storage(StorageError::Full) => out.write_str("the disk is full"),
            Self::Storage(error) => write!(out, "{error}"),
            Self::Io(error) => write!(out, "{error}"),
            Self::Interrupted => out.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Fault {}
