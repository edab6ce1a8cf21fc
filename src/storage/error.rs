//! Everything that can go wrong below the commands, sorted by what the caller can do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, StorageError>;

/// After any of these inside a transaction SQLite may have rolled the whole transaction back by itself:
/// ask `Keyspace::is_in_transaction` before anything else is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageError {
    /// The disk is full. Nothing of the transaction is applied; deleting or a larger disk heals it.
    Full,
    /// A write failed, or a read without which nothing goes on. Nothing of the transaction is applied.
    Io(String),
    /// A page can't be read: a bad sector, say. Others can.
    Unreadable(String),
    /// The kernel could not say whether data reached the disk: the outcome is unknown and the page cache is no longer
    /// to be trusted. Nothing may be answered; the process exits, and its successor runs a full checkpoint first.
    SyncFailed(String),
    /// The file is not what SQLite or this schema expects. Never repaired silently.
    Corrupt(String),
    /// Another connection held a lock for longer than the busy timeout.
    Busy,
    OutOfMemory,
    /// `Keyspace::limit_reads` has ended it.
    TimeLimit,
    /// What a read saw of the memory is used again: it begins anew with another view.
    ViewLost,
    /// The change would hold up others for long, and the caller has asked to hear of that before (`Keyspace::defer_long`).
    TakesLong,
    /// The value would be longer than `Options::value_bytes_max`.
    TooLarge,
    /// The names of the files mean others than those that the service has open.
    FilesLost,
    /// The file belongs to some other program.
    Foreign {
        path: PathBuf,
        application_id: i32,
    },
    /// The file was written by a later version of this program.
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// SQLite's `-wal` mode needs memory shared between processes, which a network file system does not give.
    NetworkFileSystem {
        directory: PathBuf,
        name: &'static str,
    },
    /// The directory cannot be made or written.
    Unwritable {
        directory: PathBuf,
        reason: String,
    },
    /// A mistake of ours: a change outside a transaction, bad SQL.
    Internal(String),
}

impl StorageError {
    /// Of a file beside the data.
    #[must_use]
    pub(crate) fn of_io(error: &io::Error) -> StorageError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full,
            _ => StorageError::Io(error.to_string()),
        }
    }

    /// True for what is the affair of the one call that met it: its value, its row, its page, its memory. Whoever does something else can
    /// go on. False for the disk's own state and for locks, which everybody meets who writes.
    #[must_use]
    pub fn is_of_the_call(&self) -> bool {
        match self {
            Self::Unreadable(_)
            | Self::Corrupt(_)
            | Self::OutOfMemory
            | Self::TimeLimit
            | Self::ViewLost
            | Self::TakesLong
            | Self::TooLarge
            | Self::Internal(_) => true,
            Self::Full
            | Self::Io(_)
            | Self::SyncFailed(_)
            | Self::Busy
            | Self::FilesLost
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::NetworkFileSystem { .. }
            | Self::Unwritable { .. } => false,
        }
    }
}

impl StorageError {
    /// True for what lies in a page that can't be read, or is not what it has to be.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Corrupt(_))
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(out, "the disk is full"),
            Self::Io(text) => write!(out, "input/output error: {text}"),
            Self::Unreadable(text) => write!(out, "a page of the data can't be read: {text}"),
            Self::SyncFailed(text) => write!(out, "data could not be synced to the disk: {text}"),
            Self::Corrupt(text) => {
                write!(out, "the data file is damaged ({text}); restore a backup, or move the file away to start empty")
            }
            Self::Busy => write!(out, "the data file is locked by another connection"),
            Self::OutOfMemory => write!(out, "out of memory"),
            Self::TimeLimit => write!(out, "a read took longer than it may"),
            Self::ViewLost => write!(out, "a read was overtaken by what was written meanwhile"),
            Self::TakesLong => write!(out, "the change would hold up others for long"),
            Self::TooLarge => write!(out, "the value is longer than the limit"),
            Self::FilesLost => {
                write!(out, "the data files were deleted, replaced or moved while the service had them open")
            }
            Self::Foreign { path, application_id } => write!(
                out,
                "{} belongs to another program (application_id {application_id:#010x}); name another directory",
                path.display()
            ),
            Self::Newer { path, found, known } => write!(
                out,
                "{} has schema version {found}, this program knows up to {known}; run the newer program",
                path.display()
            ),
            Self::NetworkFileSystem { directory, name } => write!(
                out,
                "{} is on a network file system ({name}), where SQLite's -wal is unsafe; use a local disk or a block volume",
                directory.display()
            ),
            Self::Unwritable { directory, reason } => {
                write!(out, "the directory {} cannot be written: {reason}", directory.display())
            }
            Self::Internal(text) => write!(out, "internal storage error: {text}"),
        }
    }
}

impl std::error::Error for StorageError {}
