//! Every error text that a peer gets from a command, in one place, and the error that handlers fail with.
//! Texts are without the leading '-'.

mod users;

use std::borrow::Cow;

pub use users::*;

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
    /// A read of a command that may wait has found nothing: it is to wait, with these arguments. No peer ever hears of it.
    Waits(Vec<Vec<u8>>),
}

pub type CommandResult = Result<Reply, CommandError>;

impl CommandError {
    /// The text for the wire.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            CommandError::Reply(text) => text.clone(),
            CommandError::Storage(error) => storage_text(error),
            CommandError::TooHeavy | CommandError::Waits(_) => INTERNAL.into(),
        }
    }

    /// True exactly when the reply to a read had no room: a value of such a size is not even read.
    #[must_use]
    pub fn is_of_a_large_reply(&self) -> bool {
        match self {
            CommandError::Reply(text) => text == REPLY_TOO_LARGE,
            CommandError::Storage(error) => matches!(error, StorageError::TooLarge),
            CommandError::TooHeavy | CommandError::Waits(_) => false,
        }
    }

    #[must_use]
    pub fn into_reply(self) -> Reply {
        match self {
            CommandError::Reply(text) => Reply::Error(text),
            CommandError::Storage(error) => Reply::Error(storage_text(&error)),
            CommandError::TooHeavy | CommandError::Waits(_) => Reply::Error(INTERNAL.into()),
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

// ---- sorted sets
pub const MIN_OR_MAX_NOT_A_FLOAT: &str = "ERR min or max is not a float";
pub const MIN_OR_MAX_NOT_A_MEMBER: &str = "ERR min or max not valid string range item";
pub const ZADD_XX_AND_NX: &str = "ERR XX and NX options at the same time are not compatible";
pub const ZADD_GT_LT_AND_NX: &str = "ERR GT, LT, and/or NX options at the same time are not compatible";
pub const ZADD_INCR_OF_SEVERAL: &str = "ERR INCR option supports a single increment-element pair";
pub const SCORE_NAN: &str = "ERR resulting score is not a number (NaN)";
pub const LIMIT_OF_RANKS: &str =
    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
pub const SCORES_BY_LEX: &str = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
pub const WEIGHT_NOT_A_FLOAT: &str = "ERR weight value is not a float";
pub const COUNT_NOT_POSITIVE: &str = "ERR count should be greater than 0";

// ---- lists
pub const INDEX_OUT_OF_RANGE: &str = "ERR index out of range";
pub const COUNT_NEGATIVE: &str = "ERR COUNT can't be negative";
pub const MAXLEN_NEGATIVE: &str = "ERR MAXLEN can't be negative";
pub const RANK_ZERO: &str = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to \
                             start from the end of the list";

// ---- streams
pub const STREAM_ID: &str = "ERR Invalid stream ID specified as stream command argument";
pub const STREAM_ID_ZERO: &str = "ERR The ID specified in XADD must be greater than 0-0";
pub const STREAM_ID_NOT_GREATER: &str =
    "ERR The ID specified in XADD is equal or smaller than the target stream top item";
pub const STREAM_EXHAUSTED: &str = "ERR The stream has exhausted the last possible ID, unable to add more items";
pub const STREAM_ENTRY_TOO_LARGE: &str = "ERR Elements are too large to be stored";
pub const INTERVAL_START: &str = "ERR invalid start ID for the interval";
pub const INTERVAL_END: &str = "ERR invalid end ID for the interval";
pub const TRIM_TWICE: &str = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
pub const TRIM_LENGTH_NEGATIVE: &str = "ERR The MAXLEN argument must be >= 0.";
pub const TRIM_LIMIT_NEGATIVE: &str = "ERR The LIMIT argument must be >= 0.";
pub const TRIM_LIMIT_ALONE: &str = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
pub const TRIM_LIMIT_EXACT: &str = "ERR syntax error, LIMIT cannot be used without the special ~ option";
pub const TRIM_MISSING: &str = "ERR syntax error, XTRIM must be called with a trimming strategy";
pub const XREAD_GROUP: &str = "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.";
pub const XREAD_NOACK: &str = "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
pub const XREAD_NEW: &str =
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.";
pub const XREADGROUP_WITHOUT_GROUP: &str = "ERR Missing GROUP option for XREADGROUP";
pub const XREADGROUP_END: &str = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                                  consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
                                  return an empty result set.";
pub const ENTRIES_READ_NEGATIVE: &str = "ERR value for ENTRIESREAD must be positive or -1";
pub const XGROUP_WITHOUT_KEY: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
                                      the MKSTREAM option to create an empty stream automatically.";
pub const BUSY_GROUP: &str = "BUSYGROUP Consumer Group name already exists";
pub const XCLAIM_IDLE: &str = "ERR Invalid min-idle-time argument for XCLAIM";
pub const XCLAIM_OPTION_IDLE: &str = "ERR Invalid IDLE option argument for XCLAIM";
pub const XCLAIM_OPTION_TIME: &str = "ERR Invalid TIME option argument for XCLAIM";
pub const XCLAIM_OPTION_RETRYCOUNT: &str = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
pub const XAUTOCLAIM_IDLE: &str = "ERR Invalid min-idle-time argument for XAUTOCLAIM";
pub const XAUTOCLAIM_COUNT: &str = "ERR COUNT must be > 0";
pub const XSETID_ADDED_NEGATIVE: &str = "ERR entries_added must be positive";
pub const XSETID_BELOW_GIVEN_DELETED: &str =
    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
pub const XSETID_BELOW_DELETED: &str = "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";
pub const XSETID_BELOW_ENTRY: &str = "ERR The ID specified in XSETID is smaller than the target stream top item";
pub const XSETID_BELOW_LENGTH: &str =
    "ERR The entries_added specified in XSETID is smaller than the target stream length";

// ---- bits
pub const BIT_OFFSET: &str = "ERR bit offset is not an integer or out of range";
pub const BIT_VALUE: &str = "ERR bit is not an integer or out of range";
pub const BIT_ARGUMENT: &str = "ERR The bit argument must be 1 or 0.";
pub const BITOP_NOT_ONE_SOURCE: &str = "ERR BITOP NOT must be called with a single source key.";
pub const BITFIELD_TYPE: &str =
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
pub const BITFIELD_OVERFLOW: &str = "ERR Invalid OVERFLOW type specified";
pub const BITFIELD_RO_GET_ONLY: &str = "ERR BITFIELD_RO only supports the GET subcommand";

// ---- HyperLogLog
pub const NOT_A_SKETCH: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";
pub const CORRUPTED_SKETCH: &str = "INVALIDOBJ Corrupted HLL object detected";
pub const NO_SPECIFIED_KEY: &str = "ERR The specified key does not exist";
pub const SKETCH_NOT_SPARSE: &str = "ERR HLL encoding is not sparse";
pub const SKETCH_TEST_FAILED: &str = "TESTFAILED dense/sparse disagree";

// ---- SORT
pub const SORT_NO_DOUBLE: &str = "ERR One or more scores can't be converted into double";
pub const SETS_TOO_LARGE: &str =
    "ERR So many sets at once take too much memory: store the result of some of them, and go on with that";
pub const SORT_TOO_LARGE: &str = "ERR Sorting so much takes too much memory: ask for the first of it with LIMIT, or in the order that it has with BY nosort";

// ---- places
pub const UNKNOWN_UNIT: &str = "ERR unsupported unit provided. please use M, KM, FT, MI";
pub const RADIUS_NOT_NUMERIC: &str = "ERR need numeric radius";
pub const RADIUS_NEGATIVE: &str = "ERR radius cannot be negative";
pub const WIDTH_NOT_NUMERIC: &str = "ERR need numeric width";
pub const HEIGHT_NOT_NUMERIC: &str = "ERR need numeric height";
pub const BOX_NEGATIVE: &str = "ERR height or width cannot be negative";
pub const NO_PLACE: &str = "ERR could not decode requested zset member";
pub const PLACES_NOT_POSITIVE: &str = "ERR COUNT must be > 0";
pub const ANY_WITHOUT_COUNT: &str = "ERR the ANY argument requires COUNT argument";
pub const GEORADIUS_STORES: &str =
    "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
pub const GEOSEARCH_STORES: &str = "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
pub const SEARCH_TOO_LARGE: &str = "ERR So many places take too much memory: ask for fewer of them with COUNT";

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
pub const NO_ROOM_TO_SUBSCRIBE: &str = "ERR there is no room for one more channel or pattern on this worker";
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
pub const TIMEOUT_NOT_A_FLOAT: &str = "ERR timeout is not a float or out of range";
pub const TIMEOUT_NOT_AN_INTEGER: &str = "ERR timeout is not an integer or out of range";
pub const TIMEOUT_NEGATIVE: &str = "ERR timeout is negative";
pub const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
pub const UNBLOCK_REASON: &str = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
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

// ---- scripts
pub const SCRIPT_KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";
pub const SCRIPT_OUT_OF_TIME: &str =
    "ERR the script ran for longer than EMPTYSERVER_SCRIPT_SECONDS_MAX allows: it was ended, and what it did is undone";
pub const SCRIPT_OUT_OF_MEMORY: &str = "ERR the script needs more memory than EMPTYSERVER_SCRIPT_MEMORY_MAX allows: it was ended, and what it did is undone";
pub const SCRIPT_TOO_LONG: &str = "ERR the script is too long";
/// In front of what the parser says.
pub const SCRIPT_DOES_NOT_COMPILE: &str = "ERR Error compiling script (new function): ";
pub const SCRIPT_CALL_WITHOUT_ARGUMENTS: &str = "Please specify at least one argument for this redis lib call";
pub const SCRIPT_CALL_BAD_ARGUMENT: &str = "Lua redis lib command arguments must be strings or integers";
pub const SCRIPT_CHECK_OF_NO_COMMAND: &str = "Invalid command passed to redis.acl_check_cmd()";
pub const SCRIPT_REPLICATION_FLAGS: &str =
    "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
pub const SCRIPT_REPLY_TOO_DEEP: &str = "ERR reached lua stack limit";
pub const INVALID_SHEBANG: &str = "ERR Invalid script shebang";
pub const INVALID_SHEBANG_ENGINE: &str = "ERR Invalid engine in script shebang";
/// In front of what it repeats, as the next ones are.
pub const UNEXPECTED_SHEBANG_ENGINE: &str = "ERR Unexpected engine in script shebang: ";
pub const UNEXPECTED_SHEBANG_FLAG: &str = "ERR Unexpected flag in script shebang: ";
pub const UNKNOWN_SHEBANG_OPTION: &str = "ERR Unknown lua shebang option: ";

// ---- functions
pub const MISSING_LIBRARY_METADATA: &str = "ERR Missing library metadata";
pub const INVALID_LIBRARY_METADATA: &str = "ERR Invalid library metadata";
/// In front of what it repeats.
pub const INVALID_METADATA_VALUE: &str = "ERR Invalid metadata value given: ";
pub const LIBRARY_NAMED_TWICE: &str = "ERR Invalid metadata value, name argument was given multiple times";
pub const LIBRARY_NOT_NAMED: &str = "ERR Library name was not given";
pub const INVALID_LIBRARY_NAME: &str =
    "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
pub const BAD_FUNCTION_NAME: &str =
    "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
/// In front of what Lua says, as the next one is.
pub const LIBRARY_DOES_NOT_COMPILE: &str = "ERR Error compiling function: ";
pub const FUNCTIONS_NOT_REGISTERED: &str = "ERR Error registering functions: ";
pub const NO_FUNCTIONS_REGISTERED: &str = "ERR No functions registered";
pub const FUNCTION_NOT_FOUND: &str = "ERR Function not found";

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

// ---- scripts
pub const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";
pub const NUMKEYS_NEGATIVE: &str = "ERR Number of keys can't be negative";
pub const BUSY_SCRIPT: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
pub const BUSY_FUNCTION: &str =
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
pub const NOT_FROM_SCRIPT: &str = "ERR This Redis command is not allowed from script";
pub const SCRIPT_UNKNOWN_COMMAND: &str = "ERR Unknown Redis command called from script";
pub const SCRIPT_WRONG_ARITY: &str = "ERR Wrong number of args calling Redis command from script";
pub const SCRIPT_IS_READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";
pub const SCRIPT_WRITES: &str = "ERR Can not execute a script with write flag using *_ro command.";
pub const TOO_MANY_SCRIPTS: &str = "ERR too many scripts are loaded: SCRIPT FLUSH removes them";
pub const TOO_MANY_LIBRARIES: &str =
    "ERR there are too many libraries, or they have too much code: FUNCTION DELETE removes one";
pub const BAD_FUNCTION_NUMKEYS: &str = "ERR Bad number of keys provided";
pub const LIBRARY_NOT_FOUND: &str = "ERR Library not found";
pub const NO_LIBRARY_NAME: &str = "ERR library name argument was not given";
pub const NO_FUNCTION_CODE: &str = "ERR Function code is missing";
pub const FUNCTION_FLUSH_OPTION: &str = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
pub const RESTORE_POLICY: &str = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.";
pub const OLD_FUNCTIONS: &str = "ERR Pre-GA function format not supported";
pub const NOT_A_FUNCTION: &str = "ERR given type is not a function";
pub const BAD_FUNCTIONS: &str = "ERR failed loading the given functions payload";
pub const NO_SCRIPT_RUNS: &str = "NOTBUSY No scripts in execution right now.";
pub const SCRIPT_UNKILLABLE: &str = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
                                     script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";
pub const FUNCTION_LOAD_TIMEOUT: &str = "ERR Error registering functions: FUNCTION LOAD timeout";
pub const SCRIPT_FLUSH_OPTION: &str = "ERR SCRIPT FLUSH only support SYNC|ASYNC option";
pub const SCRIPT_DEBUG_MODE: &str = "ERR Use SCRIPT DEBUG YES/SYNC/NO";
pub const NO_SCRIPT_DEBUGGER: &str =
    "ERR There is no debugger of scripts: while one stands still, nothing else could be written";

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

/// A RESP2 client that is subscribed to something.
#[must_use]
pub fn only_while_subscribed(name: &str) -> Cow<'static, str> {
    Cow::Owned(format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    ))
}

pub fn too_many_subscriptions(subscriptions_max: usize) -> Cow<'static, str> {
    Cow::Owned(format!("ERR too many subscriptions: one client may have {subscriptions_max}"))
}

pub fn channel_too_long(bytes_max: usize) -> Cow<'static, str> {
    Cow::Owned(format!("ERR a channel's name is too long: it may have {bytes_max} bytes"))
}

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

#[must_use]
pub fn no_such_place(longitude: f64, latitude: f64) -> CommandError {
    reply(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"))
}

/// `command` as it was sent.
#[must_use]
pub fn no_center(command: &[u8]) -> CommandError {
    reply(format!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {}", shown(command)))
}

/// `command` as it was sent.
#[must_use]
pub fn no_shape(command: &[u8]) -> CommandError {
    reply(format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {}", shown(command)))
}

/// `name` as it was sent.
#[must_use]
pub fn unknown_pfdebug_subcommand(name: &[u8]) -> CommandError {
    reply(format!("ERR Unknown PFDEBUG subcommand '{}'", shown(name)))
}

pub const TRACKING_TWO_REDIRECTS: &str = "ERR A client can only redirect to a single other client";
pub const TRACKING_NO_SUCH_CLIENT: &str = "ERR The client ID you want redirect to does not exist";
pub const TRACKING_PREFIX_WITHOUT_BCAST: &str = "ERR PREFIX option requires BCAST mode to be enabled";
pub const TRACKING_BCAST_SWITCHED: &str = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.";
pub const TRACKING_OPT_WITH_BCAST: &str = "ERR OPTIN and OPTOUT are not compatible with BCAST";
pub const TRACKING_BOTH_OPTS: &str = "ERR You can't specify both OPTIN mode and OPTOUT mode";
pub const TRACKING_OPT_SWITCHED: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.";
pub const TRACKING_TOO_MANY_PREFIXES: &str = "ERR a client can have at most 1024 prefixes";
pub const CACHING_WITHOUT_TRACKING: &str =
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled";
pub const CACHING_YES_WITHOUT_OPTIN: &str =
    "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
pub const CACHING_NO_WITHOUT_OPTOUT: &str =
    "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";

/// `whose`: "an existing" or "another provided" prefix.
#[must_use]
pub fn tracking_prefix_overlaps(prefix: &[u8], whose: &str, other: &[u8]) -> CommandError {
    let (prefix, other) = (shown(prefix), shown(other));
    reply(format!(
        "ERR Prefix '{prefix}' overlaps with {whose} prefix '{other}'. Prefixes for a single client must not overlap."
    ))
}

/// `command` is the full name: "object|encoding".
#[must_use]
pub fn wrong_arity(command: &str) -> CommandError {
    reply(format!("ERR wrong number of arguments for '{command}' command"))
}

/// `command` is the name in lower case.
#[must_use]
pub fn no_input_key(command: &str) -> CommandError {
    reply(format!("ERR at least 1 input key is needed for '{command}' command"))
}

/// `command` is the name in lower case.
#[must_use]
pub fn invalid_expire_time(command: &str) -> CommandError {
    reply(format!("ERR invalid expire time in '{command}' command"))
}

#[must_use]
pub fn library_exists(name: &[u8]) -> CommandError {
    reply(format!("ERR Library '{}' already exists", shown(name)))
}

/// The same, where a payload has it.
#[must_use]
pub fn restored_library_exists(name: &[u8]) -> CommandError {
    reply(format!("ERR Library {} already exists", shown(name)))
}

#[must_use]
pub fn function_exists(name: &[u8]) -> CommandError {
    reply(format!("ERR Function {} already exists", shown(name)))
}

#[must_use]
pub fn unknown_function_option(option: &[u8]) -> CommandError {
    reply(format!("ERR Unknown option given: {}", shown(option)))
}

#[must_use]
pub fn unknown_function_argument(argument: &[u8]) -> CommandError {
    reply(format!("ERR Unknown argument {}", shown(argument)))
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

pub fn engine_not_found(name: &[u8]) -> String {
    format!("ERR Engine '{}' not found", lossy(name, 128))
}

/// One of the texts that repeat something, and what.
pub fn repeating(text: &str, what: &[u8]) -> String {
    format!("{text}{}", lossy(what, 128))
}

/// At most `bytes_max` bytes of what a peer sent, as text.
fn lossy(bytes: &[u8], bytes_max: usize) -> Cow<'_, str> {
    let bytes = &bytes[..bytes.len().min(bytes_max)];
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end])
}

#[must_use]
pub fn block_from_script(name: &[u8]) -> CommandError {
    reply(format!("ERR {} command is not allowed with BLOCK option from scripts", shown(name)))
}

/// A stream that a call has no id for, or an id that has no stream.
#[must_use]
pub fn unbalanced_streams(is_of_group: bool) -> CommandError {
    let (name, id) = if is_of_group { ("xreadgroup", '>') } else { ("xread", '$') };
    reply(format!("ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{id}' must be specified."))
}

#[must_use]
pub fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    reply(format!("NOGROUP No such key '{}' or consumer group '{}'", shown(key), shown(group)))
}

#[must_use]
pub fn no_group_of_key(key: &[u8], group: &[u8]) -> CommandError {
    reply(format!("NOGROUP No such consumer group '{}' for key name '{}'", shown(group), shown(key)))
}

#[must_use]
pub fn unknown_claim_option(option: &[u8]) -> CommandError {
    reply(format!("ERR Unrecognized XCLAIM option '{}'", shown(option)))
}

#[must_use]
pub fn no_group_to_read(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (shown(key), shown(group));
    reply(format!("NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option"))
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
        | StorageError::TakesLong
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
            unknown_pfdebug_subcommand(&long),
        ];
        for error in errors {
            assert!(error.text().len() < 600, "{}", &error.text()[..100]);
        }
        assert!(unrecognized_option(&long[..128]).text().contains(std::str::from_utf8(&long[..128]).unwrap()));
    }
}
