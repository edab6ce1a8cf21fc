//! Every error text that a peer gets from a command, in one place, and the error that handlers fail with.
//! Texts are without the leading '-'.

use std::borrow::Cow;

use crate::kv::formats::glob::{PATTERN_BYTES_MAX, PatternTooLong};
use crate::kv::formats::rdb::RestoreError;
use crate::resp::TooLarge;
use crate::resp::reply::Reply;
use crate::storage::StorageError;

/// What a handler can fail with. Nothing of the command is applied then.
#[derive(Debug)]
pub enum CommandError {
    /// The peer's fault, or the state of its key: the text for the wire.
    Reply(Cow<'static, str>),
    Storage(StorageError),
    /// It was not run: its keys are too large for the lane that it came to. No peer ever hears of it.
    TooHeavy,
}

pub type CommandResult = Result<Reply, CommandError>;

impl CommandError {
    /// The text for the wire.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            CommandError::Reply(text) => text.clone(),
            CommandError::Storage(error) => storage_text(error),
            CommandError::TooHeavy => INTERNAL.into(),
        }
    }

    /// True exactly when the reply to a read had no room: a value of such a size is not even read.
    #[must_use]
    pub fn is_of_a_large_reply(&self) -> bool {
        match self {
            CommandError::Reply(text) => text == REPLY_TOO_LARGE,
            CommandError::Storage(error) => matches!(error, StorageError::TooLarge),
            CommandError::TooHeavy => false,
        }
    }

    #[must_use]
    pub fn into_reply(self) -> Reply {
        match self {
            CommandError::Reply(text) => Reply::Error(text),
            CommandError::Storage(error) => Reply::Error(storage_text(&error)),
            CommandError::TooHeavy => Reply::Error(INTERNAL.into()),
        }
    }
}

impl From<StorageError> for CommandError {
    fn from(error: StorageError) -> CommandError {
        CommandError::Storage(error)
    }
}

impl From<TooLarge> for CommandError {
    fn from(_: TooLarge) -> CommandError {
        REPLY_TOO_LARGE.into()
    }
}

impl From<RestoreError> for CommandError {
    fn from(error: RestoreError) -> CommandError {
        match error {
            RestoreError::VersionOrChecksum => BAD_DUMP,
            RestoreError::Format => BAD_DUMP_FORMAT,
            RestoreError::TooLong => STRING_TOO_LONG,
        }
        .into()
    }
}

impl From<&'static str> for CommandError {
    fn from(text: &'static str) -> CommandError {
        CommandError::Reply(Cow::Borrowed(text))
    }
}

// ---- arguments
pub const SYNTAX: &str = "ERR syntax error";
pub const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub const NOT_A_32_BIT_INTEGER: &str = "ERR value is out of range, value must between -2147483648 and 2147483647";
pub const NOT_A_FLOAT: &str = "ERR value is not a valid float";
pub const INVALID_CURSOR: &str = "ERR invalid cursor";

// ---- keys
pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
pub const NO_SUCH_KEY: &str = "ERR no such key";
pub const BUSY_KEY: &str = "BUSYKEY Target key name already exists.";
pub const SAME_OBJECT: &str = "ERR source and destination objects are the same";
pub const DB_INDEX_OUT_OF_RANGE: &str = "ERR DB index is out of range";
pub const INVALID_FIRST_DB_INDEX: &str = "ERR invalid first DB index";
pub const INVALID_SECOND_DB_INDEX: &str = "ERR invalid second DB index";
pub const NO_LFU: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
                          Please note that when switching between policies at runtime LRU and LFU data will take \
                          some time to adjust.";

// ---- expiry
pub const NX_AND_OTHERS: &str = "ERR NX and XX, GT or LT options at the same time are not compatible";
pub const GT_AND_LT: &str = "ERR GT and LT options at the same time are not compatible";

// ---- DUMP and RESTORE
pub const BAD_DUMP: &str = "ERR DUMP payload version or checksum are wrong";
pub const BAD_DUMP_FORMAT: &str = "ERR Bad data format";
pub const INVALID_TTL: &str = "ERR Invalid TTL value, must be >= 0";
pub const INVALID_IDLETIME: &str = "ERR Invalid IDLETIME value, must be >= 0";
pub const INVALID_FREQ: &str = "ERR Invalid FREQ value, must be >= 0 and <= 255";

// ---- strings
pub const STRING_TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
pub const OFFSET_OUT_OF_RANGE: &str = "ERR offset is out of range";
pub const INCREMENT_OVERFLOW: &str = "ERR increment or decrement would overflow";
pub const DECREMENT_OVERFLOW: &str = "ERR decrement would overflow";
pub const INCREMENT_NAN_OR_INFINITY: &str = "ERR increment would produce NaN or Infinity";
pub const LCS_NOT_STRINGS: &str = "ERR The specified keys must contain string values";
pub const LCS_TOO_LONG: &str = "ERR String too long for LCS";
pub const LCS_TOO_MUCH_MEMORY: &str = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
pub const LCS_LEN_AND_IDX: &str = "ERR If you want both the length and indexes, please just use IDX.";

// ---- hashes and sets
pub const HASH_NOT_AN_INTEGER: &str = "ERR hash value is not an integer";
pub const HASH_NOT_A_FLOAT: &str = "ERR hash value is not a float";
pub const VALUE_NAN_OR_INFINITY: &str = "ERR value is NaN or Infinity";
pub const COUNT_OUT_OF_RANGE: &str =
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
pub const VALUE_OUT_OF_RANGE: &str = "ERR value is out of range";
pub const NUMKEYS_NOT_POSITIVE: &str = "ERR numkeys should be greater than 0";
pub const NUMKEYS_TOO_MANY: &str = "ERR Number of keys can't be greater than number of args";
pub const LIMIT_NEGATIVE: &str = "ERR LIMIT can't be negative";

// ---- bits
pub const BIT_OFFSET: &str = "ERR bit offset is not an integer or out of range";
pub const BIT_VALUE: &str = "ERR bit is not an integer or out of range";
pub const BIT_ARGUMENT: &str = "ERR The bit argument must be 1 or 0.";
pub const BITOP_NOT_ONE_SOURCE: &str = "ERR BITOP NOT must be called with a single source key.";
pub const BITFIELD_TYPE: &str =
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
pub const BITFIELD_OVERFLOW: &str = "ERR Invalid OVERFLOW type specified";
pub const BITFIELD_RO_GET_ONLY: &str = "ERR BITFIELD_RO only supports the GET subcommand";

// ---- storage and the service itself
pub const DISK_FULL: &str = "MISCONF The disk is full: the command was not applied. Reads and deletions still work; \
                             delete keys or give the data directory more space.";
pub const DISK_FAILED: &str = "MISCONF The data could not be read or written: the command was not applied. \
                               The log of the service says why.";
pub const DATA_DAMAGED: &str =
    "ERR The data file is damaged: the command was not applied. The log of the service says what to do.";
pub const FILES_LOST: &str = "MISCONF The data files were deleted, replaced or moved away under the running service: the command was not \
                              applied, and nothing is written until it is started again. The log of the service says what to do first.";
pub const DATA_LOCKED: &str = "ERR The data file is locked by another program: the command was not applied. Try again.";
pub const OUT_OF_MEMORY: &str = "OOM The service is out of memory: the command was not applied.";
pub const READ_TOO_LONG: &str = "ERR The command was ended after 30 seconds: while it reads, the space of what others write can't be \
                                 given back. Ask for less at once: a range, or SCAN.";
pub const READ_OVERTAKEN: &str =
    "ERR The command was overtaken three times by what others wrote while it read: try again.";
pub const INTERNAL: &str = "ERR internal error";
pub const WAITING_NOT_BUILT: &str = "ERR This command waits for others, which this version of the service can't do yet";

/// Below the reserve: what makes the data grow is refused before the disk is really full.
pub const DISK_NEARLY_FULL: &str = "MISCONF The disk is nearly full: commands that make the data grow are refused. \
                                    Delete keys or give the data directory more space; it heals by itself.";
pub const TOO_MANY_CLIENTS_LINE: &[u8] = b"-ERR max number of clients reached\r\n";
pub const DENIED_LINE: &[u8] = b"-DENIED emptyServer is running in protected mode because no password is set: it serves only clients \
    of its own host. Set EMPTYSERVER_PASSWORD (or EMPTYSERVER_PASSWORD_FILE) to a password, or, if only trusted clients can reach \
    this port, EMPTYSERVER_PROTECTED_MODE to no, and start it again.\r\n";

// ---- admission
pub const NO_AUTH: &str = "NOAUTH Authentication required.";
/// Word for word as in Redis; CONFIG SET enable-debug-command names the setting.
pub const DEBUG_NOT_ALLOWED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you \
                                     can run it from a local connection, otherwise you need to set this option in the \
                                     configuration file, and then restart the server.";
pub const NOT_IN_MULTI: &str = "ERR Command not allowed inside a transaction";
pub const MONITOR_WITH_KEYS: &str = "ERR Replica can't interact with the keyspace";

// ---- connections and clients
pub const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. \
                                   Are you sure your configuration is correct?";
pub const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
pub const PROTOCOL_VERSION: &str = "ERR Protocol version is not an integer or out of range";
pub const NO_PROTOCOL: &str = "NOPROTO unsupported protocol version";
pub const HELLO_WITHOUT_LOGIN: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
     option can be used to authenticate the client and select the RESP protocol version at the same time";
pub const CLIENT_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
pub const CLIENT_NAME_TOO_LONG: &str = "ERR Client names have at most 256 bytes.";
pub const CLIENT_LIBRARY_TOO_LONG: &str = "ERR The name and the version of a library have at most 256 bytes.";
pub const INVALID_CLIENT_ID: &str = "ERR Invalid client ID";
pub const CLIENT_ID_NOT_POSITIVE: &str = "ERR client-id should be greater than 0";
pub const NO_SUCH_CLIENT: &str = "ERR No such client";
pub const PAUSE_MODE: &str = "ERR CLIENT PAUSE mode must be WRITE or ALL";
pub const TIMEOUT_NOT_AN_INTEGER: &str = "ERR timeout is not an integer or out of range";
pub const TIMEOUT_NEGATIVE: &str = "ERR timeout is negative";
pub const TIMEOUT_OUT_OF_RANGE: &str = "ERR timeout is out of range";
pub const MONITOR_IN_EXEC: &str = "ERR MONITOR isn't allowed for DENY BLOCKING client";

// ---- transactions
pub const NESTED_MULTI: &str = "ERR MULTI calls can not be nested";
pub const WATCH_IN_MULTI: &str = "ERR WATCH inside MULTI is not allowed";
pub const EXEC_WITHOUT_MULTI: &str = "ERR EXEC without MULTI";
pub const DISCARD_WITHOUT_MULTI: &str = "ERR DISCARD without MULTI";
pub const EXEC_ABORT: &str = "EXECABORT Transaction discarded because of previous errors.";
pub const TRANSACTION_TOO_LARGE: &str = "ERR the queued commands of this transaction take too much memory: the transaction is discarded. Make it \
                                         smaller, or raise EMPTYSERVER_QUERY_BYTES_MAX, of which it may take half";

// ---- replies
/// Nothing of the command is applied.
pub const REPLY_TOO_LARGE: &str = "ERR the reply is larger than EMPTYSERVER_OUTPUT_BYTES_MAX allows";

// ---- the service
pub const NO_CONFIG_FILE: &str = "ERR The server is running without a config file";
pub const SAVE_FAILED: &str = "ERR the data could not be moved into its file in time. The log of the service says why.";
pub const SAVE_IN_PROGRESS: &str = "ERR Background save already in progress";
pub const NO_SHUTDOWN: &str = "ERR No shutdown in progress.";
pub const SHUTDOWN_GOES_ON: &str = "ERR The shutdown has begun and can't be aborted";
pub const SHUTDOWN_FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";
pub const WAITAOF_WITHOUT_SYNCS: &str = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
pub const NOT_0_OR_1: &str = "ERR value is out of range, value must between 0 and 1";
pub const NOT_POSITIVE: &str = "ERR value is out of range, must be positive";
pub const SLOWLOG_COUNT: &str = "ERR count should be greater than or equal to -1";

// ---- cluster and replication
pub const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";
pub const MASTER_PORT: &str = "ERR Invalid master port";
pub const NO_REPLICATION: &str =
    "ERR There is no replication: this service can't become a replica; of REPLICAOF it knows NO ONE";

// ---- COMMAND
pub const COMMAND_INVALID: &str = "ERR Invalid command specified";
pub const COMMAND_WITHOUT_KEYS: &str = "ERR The command has no key arguments";
pub const COMMAND_ARGUMENT_COUNT: &str = "ERR Invalid number of arguments specified for command";
pub const COMMAND_ARGUMENTS: &str = "ERR Invalid arguments specified for command";

/// The command does not exist. As in Redis up to 128 bytes of the name and of the arguments are shown.
#[must_use]
pub fn unknown_command(args: &[&[u8]]) -> CommandError {
    let mut rest = String::new();
    for arg in &args[1..] {
        if rest.len() >= SHOWN_BYTES_MAX {
            break;
        }
        rest.push_str(&format!("'{}' ", lossy(arg, SHOWN_BYTES_MAX - rest.len())));
    }
    reply(format!("ERR unknown command '{}', with args beginning with: {rest}", shown(args[0])))
}

#[must_use]
pub fn too_many_names(names_max: usize) -> CommandError {
    reply(format!(
        "ERR too many arguments: this command takes {names_max} at a time; ask for the others in further calls"
    ))
}

/// KEYS, SCAN, CONFIG GET and all else that takes a pattern.
impl From<PatternTooLong> for CommandError {
    fn from(_: PatternTooLong) -> CommandError {
        reply(format!(
            "ERR pattern too long: a pattern, or all patterns of a call together, may have {PATTERN_BYTES_MAX} bytes"
        ))
    }
}

#[must_use]
pub fn too_many_watched(keys_max: usize) -> Cow<'static, str> {
    Cow::Owned(format!(
        "ERR too many watched keys: one client may watch {keys_max}; EXEC, DISCARD or UNWATCH lets go of them"
    ))
}

/// EXEC itself was refused.
#[must_use]
pub fn exec_abort_because_of(why: &str) -> Cow<'static, str> {
    let why = why.strip_prefix("ERR ").unwrap_or(why);
    Cow::Owned(format!("EXECABORT Transaction discarded because of: {why}"))
}

/// The container exists, its subcommand does not.
#[must_use]
pub fn unknown_subcommand(container: &str, name: &[u8]) -> CommandError {
    reply(format!("ERR unknown subcommand '{}'. Try {} HELP.", shown(name), container.to_ascii_uppercase()))
}

/// A subcommand with optional arguments got others; `name` as it was sent.
#[must_use]
pub fn wrong_subcommand_arguments(container: &str, name: &[u8]) -> CommandError {
    let (name, container) = (shown(name), container.to_ascii_uppercase());
    reply(format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."))
}

#[must_use]
pub fn hello_option(option: &[u8]) -> CommandError {
    reply(format!("ERR Syntax error in HELLO option '{}'", shown(option)))
}

#[must_use]
pub fn unrecognized_option(option: &[u8]) -> CommandError {
    reply(format!("ERR Unrecognized option '{}'", shown(option)))
}

/// `name` as it was sent.
#[must_use]
pub fn client_attribute(name: &[u8]) -> CommandError {
    reply(format!("ERR {} cannot contain spaces, newlines or special characters.", shown(name)))
}

#[must_use]
pub fn unknown_client_type(name: &[u8]) -> CommandError {
    reply(format!("ERR Unknown client type '{}'", shown(name)))
}

#[must_use]
pub fn no_such_user(name: &[u8]) -> CommandError {
    reply(format!("ERR No such user '{}'", shown(name)))
}

#[must_use]
pub fn unknown_parameter(name: &[u8]) -> CommandError {
    let name = shown(name);
    reply(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"))
}

/// `parameter` as it was sent.
#[must_use]
pub fn config_set_failed(parameter: &[u8], reason: &str) -> CommandError {
    let parameter = shown(parameter);
    reply(format!("ERR CONFIG SET failed (possibly related to argument '{parameter}') - {reason}"))
}

/// LATENCY GRAPH of an event that was not observed.
#[must_use]
pub fn no_samples(event: &[u8]) -> CommandError {
    reply(format!("ERR No samples available for event '{}'", shown(event)))
}

/// `command` is the full name: "object|encoding".
#[must_use]
pub fn wrong_arity(command: &str) -> CommandError {
    reply(format!("ERR wrong number of arguments for '{command}' command"))
}

/// `command` is the name in lower case.
#[must_use]
pub fn invalid_expire_time(command: &str) -> CommandError {
    reply(format!("ERR invalid expire time in '{command}' command"))
}

#[must_use]
pub fn unsupported_option(option: &[u8]) -> CommandError {
    reply(format!("ERR Unsupported option {}", shown(option)))
}

fn reply(text: String) -> CommandError {
    CommandError::Reply(Cow::Owned(text))
}

/// As much of an argument as an error repeats: a peer that sends a large one must not get it back, once for each time it asks.
const SHOWN_BYTES_MAX: usize = 128;

fn shown(bytes: &[u8]) -> Cow<'_, str> {
    lossy(bytes, SHOWN_BYTES_MAX)
}

/// At most `bytes_max` bytes of what a peer sent, as text.
fn lossy(bytes: &[u8], bytes_max: usize) -> Cow<'_, str> {
    let bytes = &bytes[..bytes.len().min(bytes_max)];
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end])
}

/// What a storage error means for the one who sent the command: what happened, and what helps. Paths and codes stay in
/// the log.
pub fn storage_text(error: &StorageError) -> Cow<'static, str> {
    Cow::Borrowed(match error {
        StorageError::Full => DISK_FULL,
        StorageError::Io(_) | StorageError::Unreadable(_) | StorageError::SyncFailed(_) => DISK_FAILED,
        StorageError::Corrupt(_) => DATA_DAMAGED,
        StorageError::Busy => DATA_LOCKED,
        StorageError::FilesLost => FILES_LOST,
        StorageError::OutOfMemory => OUT_OF_MEMORY,
        StorageError::TimeLimit => READ_TOO_LONG,
        StorageError::ViewLost => READ_OVERTAKEN,
        StorageError::TooLarge => STRING_TOO_LONG,
        // These stop a start; no command meets them.
        StorageError::Foreign { .. }
        | StorageError::Newer { .. }
        | StorageError::NetworkFileSystem { .. }
        | StorageError::Unwritable { .. }
        | StorageError::Internal(_) => INTERNAL,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_repeats_much_of_what_was_sent() {
        let long = vec![b'x'; 1 << 20];
        let errors = [
            unknown_command(&[&long, &long, &long]),
            unknown_command(&[&[b"".as_slice(); 1000][..], &[&long[..]]].concat()),
            unknown_subcommand("client", &long),
            wrong_subcommand_arguments("client", &long),
            hello_option(&long),
            unrecognized_option(&long),
            client_attribute(&long),
            unknown_client_type(&long),
            no_such_user(&long),
            unknown_parameter(&long),
            config_set_failed(&long, "reason"),
            no_samples(&long),
            unsupported_option(&long),
        ];
        for error in errors {
            assert!(error.text().len() < 600, "{}", &error.text()[..100]);
        }
        assert!(unrecognized_option(&long[..128]).text().contains(std::str::from_utf8(&long[..128]).unwrap()));
    }
}
