//! SQLite's result codes, sorted by what the caller can do.

use rusqlite::ffi;

use crate::storage::error::StorageError;

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                let text = message.unwrap_or_else(|| failure.to_string());
                from_code(failure.extended_code, text)
            }
            // A column holds what the schema does not allow there.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Corrupt(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

/// Sorts one of SQLite's extended result codes: <https://www.sqlite.org/rescode.html>.
fn from_code(extended: i32, text: String) -> StorageError {
    match extended {
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => {
            return StorageError::SyncFailed(format!("{text} (code {extended})"));
        }
        ffi::SQLITE_IOERR_NOMEM => return StorageError::OutOfMemory,
        ffi::SQLITE_IOERR_READ => return StorageError::Unreadable(format!("{text} (code {extended})")),
        // A file shorter than its header says.
        ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS => return StorageError::Corrupt(text),
        _ => {}
    }
    match extended & 0xff {
        ffi::SQLITE_FULL => StorageError::Full,
        ffi::SQLITE_NOMEM => StorageError::OutOfMemory,
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => StorageError::Corrupt(text),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => StorageError::Busy,
        ffi::SQLITE_INTERRUPT => StorageError::TimeLimit,
        ffi::SQLITE_TOOBIG => StorageError::TooLarge,
        ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN | ffi::SQLITE_READONLY | ffi::SQLITE_PERM => {
            StorageError::Io(format!("{text} (code {extended})"))
        }
        _ => StorageError::Internal(format!("{text} (code {extended})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_is_told_from_a_failed_write_and_from_a_full_disk() {
        let sorted = |code| from_code(code, String::new());
        assert!(matches!(sorted(ffi::SQLITE_IOERR_FSYNC), StorageError::SyncFailed(_)));
        assert!(matches!(sorted(ffi::SQLITE_IOERR_DIR_FSYNC), StorageError::SyncFailed(_)));
        assert!(matches!(sorted(ffi::SQLITE_IOERR_WRITE), StorageError::Io(_)));
        assert!(matches!(sorted(ffi::SQLITE_IOERR_READ), StorageError::Unreadable(_)));
        assert_eq!(sorted(ffi::SQLITE_FULL), StorageError::Full);
        assert_eq!(sorted(ffi::SQLITE_BUSY_SNAPSHOT), StorageError::Busy);
        assert_eq!(sorted(ffi::SQLITE_IOERR_NOMEM), StorageError::OutOfMemory);
        assert!(matches!(sorted(ffi::SQLITE_NOTADB), StorageError::Corrupt(_)));
        assert!(matches!(sorted(ffi::SQLITE_MISUSE), StorageError::Internal(_)));
    }

    #[test]
    fn what_one_call_meets_is_told_from_what_everybody_meets_who_writes() {
        let of_the_call = |code| from_code(code, String::new()).is_of_the_call();
        for code in [
            ffi::SQLITE_TOOBIG,
            ffi::SQLITE_NOMEM,
            ffi::SQLITE_IOERR_NOMEM,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_CORRUPT_INDEX,
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_IOERR_SHORT_READ,
            ffi::SQLITE_MISUSE,
        ] {
            assert!(of_the_call(code), "{code}");
        }
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_SHMSIZE,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_READONLY,
        ] {
            assert!(!of_the_call(code), "{code}");
        }
    }
}
