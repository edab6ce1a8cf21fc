//! How the key-value service is set up at its start. What may change while it runs is in `runtime`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::kv::call::Notifications;
use crate::storage;

#[derive(Clone, Debug)]
pub struct Settings {
    pub listening: Listening,
    /// `None` where TLS is spoken nowhere.
    pub tls: Option<TlsWords>,
    pub storage: storage::Options,
    pub backups: BackupSettings,
    /// Reader threads of each worker.
    pub readers: usize,
    /// What all workers' caches may take together; 0: none.
    pub cache_bytes: usize,
    /// Jobs of one worker that one lane admits.
    pub lane_jobs_max: usize,
    /// Of the user `default`.
    pub password: Option<Vec<u8>>,
    /// Users are those of this file, and of no rows.
    pub acl_file: Option<PathBuf>,
    /// A client whose certificate has the name of a user acts as that.
    pub logs_in_by_certificate: bool,
    /// Without a password serve loopback peers only.
    pub is_protected: bool,
    /// DEBUG is there.
    pub debug_commands: bool,
    /// Slower calls go to the slow log; negative: none does.
    pub slowlog_us: i64,
    pub slowlog_entries_max: usize,
    /// Which events of keys are published.
    pub notifications: Notifications,
    pub workers: usize,
    /// The memory that the service may use, for INFO.
    pub memory_bytes: u64,
    /// Longest request of one client.
    pub query_bytes_max: usize,
    /// What the queue of a MULTI may take.
    pub queued_bytes_max: usize,
    /// A client with more unsent replies is closed.
    pub output_bytes_max: usize,
    /// The same of a subscriber; 0: no other limit.
    pub subscriber_output_bytes_max: u64,
    pub scripts: ScriptSettings,
    pub keep_alive_seconds: u32,
    pub drain_seconds: u64,
}

/// What a script may have.
#[derive(Clone, Debug)]
pub struct ScriptSettings {
    /// One that runs longer is ended, and undone.
    pub time_max: Duration,
    /// One that needs more, in its interpreter or for what it tells others, is ended as well.
    pub memory_max: usize,
}

/// Where the service really listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    pub tcp: Vec<SocketAddr>,
    pub tls: Vec<SocketAddr>,
    pub unix: Option<String>,
    pub unix_mode: u32,
}

/// What clients are told of TLS, in Redis' words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsWords {
    pub certificate: String,
    pub key: String,
    pub authorities: String,
    pub clients: &'static str,
    pub protocols: &'static str,
}

impl Listening {
    /// The port without TLS; 0: there is none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.tcp.first().map_or(0, SocketAddr::port)
    }

    #[must_use]
    pub fn tls_port(&self) -> u16 {
        self.tls.first().map_or(0, SocketAddr::port)
    }

    /// All of them in words, as a person writes them.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let tls = self.tls.iter().map(|address| format!("{address} (TLS)"));
        self.tcp.iter().map(SocketAddr::to_string).chain(tls).chain(self.unix.clone()).collect()
    }
}

/// Where backups go, and how many there are.
#[derive(Clone, Debug)]
pub struct BackupSettings {
    /// Made with the first backup.
    pub directory: PathBuf,
    /// It is in the data directory, by a name of ours.
    pub is_own_directory: bool,
    /// Zero: none but those that are asked for.
    pub interval: Duration,
    /// How many stay; 0: all.
    pub keep: usize,
}

/// A run of calls of one connection becomes one job, cut at these.
pub const JOB_CALLS_MAX: usize = 1024;
pub const JOB_BYTES_MAX: usize = 1 << 20;
/// Once the replies of a run have so many bytes, the rest of it waits until others had their turn.
pub const JOB_REPLY_BYTES_MAX: usize = 256 << 10;
/// A run that has taken so long is cut as well: others have their turn. What is looked at is the end of each call.
pub const JOB_TIME_MAX: Duration = Duration::from_millis(5);
/// A group of changes begins no job after so long: the next group has them.
pub const GROUP_TIME_MAX: Duration = Duration::from_millis(20);
/// A read with more arguments does not go along with the changes before it.
pub const RIDING_ARGUMENTS_MAX: usize = 64;
/// A transaction of more calls is a job of its own: what of it runs on the loop can give way in between.
pub const RIDING_QUEUE_MAX: usize = 128;
/// Nor does one that reads so much of its strings: the run is cut there.
pub const RIDING_BYTES_MAX: u64 = 64 << 10;
/// A read of so much goes to the heavy lane.
pub const LIGHT_BYTES_MAX: u64 = 1 << 20;
/// How old the snapshot of a batch of reads gets before a job, or a call of a run, has a new one.
pub const SNAPSHOT_AGE_MAX: Duration = Duration::from_millis(5);
/// A read that takes longer is ended: what is written meanwhile can't be given back by the `-wal`. `errors::READ_TOO_LONG` names it.
pub const READ_TIME_MAX: Duration = Duration::from_secs(30);
/// A group of changes ends early with the job whose replies pass this: what is behind it comes with the next group.
pub const GROUP_REPLY_BYTES_MAX: usize = 8 << 20;
/// Requests that one connection gets answered before others have their turn.
pub const REQUESTS_PER_TURN: usize = 256;
/// The queue of a MULTI is at most so large, whatever the limit of a request is: an EXEC is one job.
const QUEUED_BYTES_MAX: usize = 512 << 20;

/// What a MULTI may queue: half of what a request may have, which follows the container's memory, and always a largest value with
/// what stands around it. EXEC is one job, of which both processes hold copies while it crosses from one to the other.
#[must_use]
pub fn queued_bytes_max(query_bytes_max: usize, value_bytes_max: u64) -> usize {
    let value_bytes_max = usize::try_from(value_bytes_max).unwrap_or(usize::MAX);
    (query_bytes_max / 2).max(value_bytes_max).min(QUEUED_BYTES_MAX) + AROUND_BYTES
}

/// Room for the words around a value.
const AROUND_BYTES: usize = 64 << 10;
