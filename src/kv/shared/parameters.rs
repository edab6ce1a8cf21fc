//! What CONFIG calls the service's settings: for each name of Redis where its value comes from, and what changes it.
//!
//! Only what clients ask for, or what has a counterpart here, has a row. A name that is absent is unknown, as in Redis.

use std::sync::atomic::Ordering;

use crate::kv::call::Notifications;
use crate::kv::shared::Shared;
use crate::kv::shared::runtime::{Knob, PASSWORD_BYTES_MAX};
use crate::kv::shared::settings::TlsWords;
use crate::resp::number::parse_integer;
use crate::server::{Global, Slot};
use crate::storage::{DATABASES, Durability};

pub struct Parameter {
    /// As Redis names it.
    pub name: &'static str,
    /// The setting that gives its value at the start; empty: none does.
    pub setting: &'static str,
    read: Read,
    change: Change,
}

/// Where the value comes from.
enum Read {
    Fixed(&'static str),
    From(fn(&Shared) -> String),
    Bytes(fn(&Shared) -> Vec<u8>),
}

/// What CONFIG SET can do. Where it can't change the value, it still accepts the present one.
enum Change {
    Number {
        min: i64,
        max: i64,
        /// Further limits: the text of the error.
        check: fn(&Shared, i64) -> Result<(), String>,
        set: fn(&Shared, i64),
    },
    /// A number of bytes, which may have a unit.
    Memory(fn(&Shared, i64)),
    Switch(fn(&Shared, bool)),
    /// One of two words, of which the second one is true.
    Word([&'static str; 2], fn(&Shared, bool)),
    /// The letters of classes of keyspace events.
    Notifications,
    Password,
    /// The limits of subscribers; those of other clients have to be as they are.
    OutputLimits,
    /// The setting does, at the next start.
    AtStart,
    /// Nothing does; this is why.
    Never(&'static str),
}

/// A value that was checked, ready to be set.
pub enum Checked {
    Same,
    Number(fn(&Shared, i64), i64),
    Switch(fn(&Shared, bool), bool),
    Password(Vec<u8>),
    /// Of subscribers: at once, for a while, for how many seconds.
    OutputLimits([u64; 3]),
}

/// Of channels.
const WHAT_NEW_USERS_HEAR: [&str; 2] = ["resetchannels", "allchannels"];
/// Entries of the slow log, or of ACL LOG, that each worker may be told to keep.
const SLOWLOG_ENTRIES_MAX: i64 = 65_536;

const NO_EVICTION: &str = "the data is on disk and is never evicted";
const NO_SNAPSHOTS: &str = "every acknowledged write is in the data file already, there are no snapshots";
const NO_LOG_FILE: &str = "there is no append-only file to rewrite";
const NO_REPLICATION: &str = "there is no replication";
const BY_DESIGN: &str = "this is how emptyServer works";

const fn fixed(name: &'static str, value: &'static str, why: &'static str) -> Parameter {
    Parameter { name, setting: "", read: Read::Fixed(value), change: Change::Never(why) }
}

const fn at_start(name: &'static str, setting: &'static str, read: fn(&Shared) -> String) -> Parameter {
    Parameter { name, setting, read: Read::From(read), change: Change::AtStart }
}

/// Of a service without TLS nothing.
fn tls(shared: &Shared, word: fn(&TlsWords) -> String) -> String {
    shared.settings.tls.as_ref().map(word).unwrap_or_default()
}

/// A knob that is a number.
const fn number(
    name: &'static str,
    setting: &'static str,
    (min, max): (i64, i64),
    read: fn(&Shared) -> String,
    set: fn(&Shared, i64),
) -> Parameter {
    Parameter { name, setting, read: Read::From(read), change: Change::Number { min, max, check: |_, _| Ok(()), set } }
}

/// How long a script runs before others' writes are refused; 0: they wait for it.
const fn busy_reply(name: &'static str) -> Parameter {
    number(
        name,
        "",
        (0, i64::MAX),
        |shared| shared.runtime.read(Knob::BusyReplyMs).to_string(),
        |shared, value| shared.runtime.set(Knob::BusyReplyMs, value.cast_unsigned()),
    )
}

/// A threshold of OBJECT ENCODING, which is a knob.
macro_rules! threshold {
    ($name:literal, entries $knob:ident) => {
        number(
            $name,
            "",
            (0, i64::MAX),
            |shared| shared.runtime.read(Knob::$knob).to_string(),
            |shared, value| shared.runtime.set(Knob::$knob, value.cast_unsigned()),
        )
    };
    ($name:literal, bytes $knob:ident) => {
        Parameter {
            change: Change::Memory(|shared, value| shared.runtime.set(Knob::$knob, value.cast_unsigned())),
            ..threshold!($name, entries $knob)
        }
    };
}

/// The largest C integer, which bounds some of Redis' settings.
const INT_MAX: i64 = i32::MAX as i64;

const LIST_SIZE: Parameter = number(
    "list-max-listpack-size",
    "",
    (i32::MIN as i64, INT_MAX),
    |shared| shared.runtime.read(Knob::ListListpackSize).cast_signed().to_string(),
    |shared, value| shared.runtime.set(Knob::ListListpackSize, value.cast_unsigned()),
);

/// Sorted by name.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "acl-pubsub-default",
        setting: "",
        read: Read::From(|shared| {
            WHAT_NEW_USERS_HEAR[shared.runtime.read(Knob::UsersHaveAllChannels) as usize].to_owned()
        }),
        change: Change::Word(WHAT_NEW_USERS_HEAR, |shared, all| {
            shared.runtime.set(Knob::UsersHaveAllChannels, u64::from(all));
        }),
    },
    at_start("aclfile", "EMPTYSERVER_ACL_FILE", |shared| {
        shared.settings.acl_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }),
    number(
        "acllog-max-len",
        "",
        (0, SLOWLOG_ENTRIES_MAX),
        |shared| shared.runtime.read(Knob::AclLogEntriesMax).to_string(),
        |shared, value| shared.runtime.set(Knob::AclLogEntriesMax, value.cast_unsigned()),
    ),
    fixed("activedefrag", "no", BY_DESIGN),
    fixed("activerehashing", "yes", BY_DESIGN),
    fixed("aof-use-rdb-preamble", "no", NO_LOG_FILE),
    fixed("appendfilename", "data.db-wal", BY_DESIGN),
    at_start("appendfsync", "EMPTYSERVER_DURABILITY", |shared| {
        let durability = match shared.settings.storage.durability {
            Durability::Always => "always",
            Durability::EverySec => "everysec",
            Durability::Os => "no",
        };
        durability.to_owned()
    }),
    at_start("appendonly", "EMPTYSERVER_DURABILITY", |shared| yes_no(is_log_synced(shared)).to_owned()),
    fixed("auto-aof-rewrite-min-size", "0", NO_LOG_FILE),
    fixed("auto-aof-rewrite-percentage", "0", NO_LOG_FILE),
    at_start("bind", "EMPTYSERVER_LISTEN", |shared| {
        let addresses = shared.settings.listening.tcp.iter().map(|address| address.ip().to_string());
        addresses.collect::<Vec<_>>().join(" ")
    }),
    busy_reply("busy-reply-threshold"),
    Parameter {
        name: "client-output-buffer-limit",
        setting: "EMPTYSERVER_SUBSCRIBER_OUTPUT_BYTES_MAX",
        read: Read::From(|shared| {
            let bytes = shared.settings.output_bytes_max;
            let [hard, soft, seconds] = OUTPUT_LIMITS.map(|knob| shared.runtime.read(knob));
            format!("normal {bytes} 0 0 slave {bytes} 0 0 pubsub {hard} {soft} {seconds}")
        }),
        change: Change::OutputLimits,
    },
    at_start("client-query-buffer-limit", "EMPTYSERVER_QUERY_BYTES_MAX", |shared| {
        shared.settings.query_bytes_max.to_string()
    }),
    fixed("cluster-enabled", "no", "there is no cluster"),
    fixed("daemonize", "no", "it runs in the foreground"),
    Parameter {
        name: "databases",
        setting: "",
        read: Read::From(|_| DATABASES.to_string()),
        change: Change::Never("their number is part of the file format"),
    },
    fixed("dbfilename", "data.db", BY_DESIGN),
    at_start("dir", "EMPTYSERVER_DATA", |shared| shared.host.data_directory.clone()),
    at_start("enable-debug-command", "EMPTYSERVER_DEBUG_COMMANDS", |shared| {
        yes_no(shared.settings.debug_commands).to_owned()
    }),
    fixed("enable-module-command", "no", "there are no modules"),
    fixed("enable-protected-configs", "no", BY_DESIGN),
    threshold!("hash-max-listpack-entries", entries HashListpackEntriesMax),
    threshold!("hash-max-listpack-value", bytes HashListpackValueMax),
    threshold!("hash-max-ziplist-entries", entries HashListpackEntriesMax),
    threshold!("hash-max-ziplist-value", bytes HashListpackValueMax),
    threshold!("hll-sparse-max-bytes", bytes SparseSketchBytesMax),
    fixed("hz", "20", BY_DESIGN),
    fixed("io-threads", "1", "EMPTYSERVER_WORKERS processes do the work"),
    fixed("latency-tracking", "yes", BY_DESIGN),
    fixed("latency-tracking-info-percentiles", "50 99 99.9", BY_DESIGN),
    number(
        "latency-monitor-threshold",
        "",
        (0, i64::MAX),
        |shared| shared.runtime.read(Knob::LatencyThresholdMs).to_string(),
        |shared, value| shared.runtime.set(Knob::LatencyThresholdMs, value as u64),
    ),
    fixed("lazyfree-lazy-eviction", "yes", BY_DESIGN),
    fixed("lazyfree-lazy-expire", "yes", BY_DESIGN),
    fixed("lazyfree-lazy-server-del", "yes", BY_DESIGN),
    fixed("lazyfree-lazy-user-del", "yes", BY_DESIGN),
    fixed("lazyfree-lazy-user-flush", "yes", BY_DESIGN),
    number(
        "list-compress-depth",
        "",
        (0, INT_MAX),
        |shared| shared.runtime.read(Knob::ListCompressDepth).to_string(),
        |shared, value| shared.runtime.set(Knob::ListCompressDepth, value.cast_unsigned()),
    ),
    LIST_SIZE,
    Parameter { name: "list-max-ziplist-size", ..LIST_SIZE },
    fixed("logfile", "", "the log goes to the standard error stream"),
    busy_reply("lua-time-limit"),
    fixed("masterauth", "", NO_REPLICATION),
    fixed("masteruser", "", NO_REPLICATION),
    Parameter {
        name: "maxclients",
        setting: "EMPTYSERVER_MAX_CONNECTIONS",
        read: Read::From(|shared| global(shared, Global::ConnectionsMax)),
        change: Change::Number {
            min: 1,
            max: u32::MAX as i64,
            check: |shared, value| match shared.scoreboard.global(Global::ConnectionsPossible).load(Ordering::Relaxed) {
                possible if value as u64 > possible => Err(format!(
                    "The operating system is not able to handle the specified number of clients, try with {possible}"
                )),
                _ => Ok(()),
            },
            set: |shared, value| {
                shared.scoreboard.global(Global::ConnectionsMax).store(value as u64, Ordering::Relaxed);
            },
        },
    },
    fixed("maxmemory", "0", NO_EVICTION),
    number(
        "maxmemory-clients",
        "EMPTYSERVER_CLIENTS_BYTES_MAX",
        (0, i64::MAX),
        |shared| global(shared, Global::ConnectionsBytesMax),
        |shared, value| {
            shared.scoreboard.global(Global::ConnectionsBytesMax).store(value.cast_unsigned(), Ordering::Relaxed);
        },
    ),
    fixed("maxmemory-policy", "noeviction", NO_EVICTION),
    fixed("maxmemory-samples", "5", NO_EVICTION),
    fixed("min-replicas-max-lag", "10", NO_REPLICATION),
    fixed("min-replicas-to-write", "0", NO_REPLICATION),
    fixed("min-slaves-max-lag", "10", NO_REPLICATION),
    fixed("min-slaves-to-write", "0", NO_REPLICATION),
    fixed("no-appendfsync-on-rewrite", "no", NO_LOG_FILE),
    Parameter {
        name: "notify-keyspace-events",
        setting: "EMPTYSERVER_NOTIFY_KEYSPACE_EVENTS",
        read: Read::From(|shared| Notifications::from_word(shared.runtime.read(Knob::KeyspaceEvents)).letters()),
        change: Change::Notifications,
    },
    fixed("pidfile", "", BY_DESIGN),
    at_start("port", "EMPTYSERVER_LISTEN", |shared| shared.settings.listening.port().to_string()),
    Parameter {
        name: "protected-mode",
        setting: "EMPTYSERVER_PROTECTED_MODE",
        read: Read::From(|shared| yes_no(shared.runtime.read(Knob::ProtectedMode) != 0).to_owned()),
        change: Change::Switch(|shared, is_on| shared.runtime.set(Knob::ProtectedMode, u64::from(is_on))),
    },
    at_start("proto-max-bulk-len", "EMPTYSERVER_VALUE_BYTES_MAX", |shared| {
        shared.settings.storage.value_bytes_max.to_string()
    }),
    fixed("rdbchecksum", "yes", NO_SNAPSHOTS),
    fixed("rdbcompression", "no", NO_SNAPSHOTS),
    fixed("replica-priority", "100", NO_REPLICATION),
    fixed("replica-read-only", "yes", NO_REPLICATION),
    fixed("replica-serve-stale-data", "yes", NO_REPLICATION),
    fixed("replicaof", "", NO_REPLICATION),
    Parameter {
        name: "requirepass",
        setting: "EMPTYSERVER_PASSWORD",
        read: Read::Bytes(|shared| shared.runtime.password()),
        change: Change::Password,
    },
    fixed("save", "", NO_SNAPSHOTS),
    threshold!("set-max-intset-entries", entries SetIntsetEntriesMax),
    threshold!("set-max-listpack-entries", entries SetListpackEntriesMax),
    threshold!("set-max-listpack-value", entries SetListpackValueMax),
    at_start("shutdown-timeout", "EMPTYSERVER_DRAIN_SECONDS", |shared| shared.settings.drain_seconds.to_string()),
    fixed("slave-priority", "100", NO_REPLICATION),
    fixed("slave-read-only", "yes", NO_REPLICATION),
    fixed("slave-serve-stale-data", "yes", NO_REPLICATION),
    fixed("slaveof", "", NO_REPLICATION),
    number(
        "slowlog-log-slower-than",
        "EMPTYSERVER_SLOWLOG_MICROSECONDS",
        (-1, i64::MAX),
        |shared| shared.runtime.read(Knob::SlowlogUs).cast_signed().to_string(),
        |shared, value| shared.runtime.set(Knob::SlowlogUs, value.cast_unsigned()),
    ),
    number(
        "slowlog-max-len",
        "EMPTYSERVER_SLOWLOG_ENTRIES_MAX",
        (0, SLOWLOG_ENTRIES_MAX),
        |shared| shared.runtime.read(Knob::SlowlogEntriesMax).to_string(),
        |shared, value| shared.runtime.set(Knob::SlowlogEntriesMax, value.cast_unsigned()),
    ),
    fixed("stop-writes-on-bgsave-error", "yes", BY_DESIGN),
    threshold!("stream-node-max-bytes", bytes StreamNodeBytesMax),
    threshold!("stream-node-max-entries", entries StreamNodeEntriesMax),
    fixed("supervised", "no", BY_DESIGN),
    fixed("tcp-backlog", "1024", BY_DESIGN),
    Parameter {
        name: "tcp-keepalive",
        setting: "",
        read: Read::From(|shared| shared.settings.keep_alive_seconds.to_string()),
        change: Change::Never(BY_DESIGN),
    },
    number(
        "timeout",
        "EMPTYSERVER_IDLE_TIMEOUT_SECONDS",
        (0, i32::MAX as i64),
        |shared| global(shared, Global::IdleTimeoutSeconds),
        |shared, value| {
            shared.scoreboard.global(Global::IdleTimeoutSeconds).store(value.cast_unsigned(), Ordering::Relaxed);
        },
    ),
    at_start("tls-auth-clients", "EMPTYSERVER_TLS_AUTH_CLIENTS", |shared| tls(shared, |tls| tls.clients.to_owned())),
    at_start("tls-ca-cert-file", "EMPTYSERVER_TLS_CA_FILE", |shared| tls(shared, |tls| tls.authorities.clone())),
    at_start("tls-cert-file", "EMPTYSERVER_TLS_CERT_FILE", |shared| tls(shared, |tls| tls.certificate.clone())),
    at_start("tls-key-file", "EMPTYSERVER_TLS_KEY_FILE", |shared| tls(shared, |tls| tls.key.clone())),
    at_start("tls-port", "EMPTYSERVER_TLS_LISTEN", |shared| shared.settings.listening.tls_port().to_string()),
    at_start("tls-protocols", "EMPTYSERVER_TLS_VERSION_MIN", |shared| tls(shared, |tls| tls.protocols.to_owned())),
    number(
        "tracking-table-max-keys",
        "",
        (0, i64::MAX),
        |shared| shared.runtime.read(Knob::TrackingKeysMax).to_string(),
        |shared, value| shared.runtime.set(Knob::TrackingKeysMax, value.cast_unsigned()),
    ),
    at_start("unixsocket", "EMPTYSERVER_UNIX_SOCKET", |shared| {
        shared.settings.listening.unix.clone().unwrap_or_default()
    }),
    at_start("unixsocketperm", "EMPTYSERVER_UNIX_SOCKET_MODE", |shared| {
        format!("{:o}", shared.settings.listening.unix_mode)
    }),
    threshold!("zset-max-listpack-entries", entries ZsetListpackEntriesMax),
    threshold!("zset-max-listpack-value", bytes ZsetListpackValueMax),
    threshold!("zset-max-ziplist-entries", entries ZsetListpackEntriesMax),
    threshold!("zset-max-ziplist-value", bytes ZsetListpackValueMax),
];

fn global(shared: &Shared, which: Global) -> String {
    shared.scoreboard.global(which).load(Ordering::Relaxed).to_string()
}

const fn yes_no(is_on: bool) -> &'static str {
    if is_on { "yes" } else { "no" }
}

/// True when acknowledged writes are synced by the service itself: what Redis calls an append-only file.
#[must_use]
pub fn is_log_synced(shared: &Shared) -> bool {
    shared.settings.storage.durability != Durability::Os
}

/// The parameter of this name, whatever its case.
#[must_use]
pub fn lookup(name: &[u8]) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name.as_bytes().eq_ignore_ascii_case(name))
}

impl Parameter {
    #[must_use]
    pub fn value(&self, shared: &Shared) -> Vec<u8> {
        match self.read {
            Read::Fixed(value) => value.into(),
            Read::From(read) => read(shared).into_bytes(),
            Read::Bytes(read) => read(shared),
        }
    }

    /// True when CONFIG SET can change it.
    #[must_use]
    pub fn is_changeable(&self) -> bool {
        !matches!(self.change, Change::AtStart | Change::Never(_))
    }

    /// Whether this value may be set. `Err`: the reason as Redis words it.
    pub fn check(&self, shared: &Shared, value: &[u8]) -> Result<Checked, String> {
        match self.change {
            Change::AtStart | Change::Never(_) if self.value(shared).eq_ignore_ascii_case(value) => Ok(Checked::Same),
            Change::AtStart => {
                Err(format!("can't set immutable config: set {} and start the service again", self.setting))
            }
            Change::Never(why) => Err(format!("can't set immutable config: {why}")),
            Change::Number { min, max, check, set } => {
                let Some(number) = parse_integer(value) else {
                    return Err("argument couldn't be parsed into an integer".to_owned());
                };
                if !(min..=max).contains(&number) {
                    return Err(format!("argument must be between {min} and {max} inclusive"));
                }
                check(shared, number).map(|()| Checked::Number(set, number))
            }
            Change::Memory(set) => match memory(value) {
                Some(bytes) => Ok(Checked::Number(set, bytes)),
                None => Err("argument must be a memory value".to_owned()),
            },
            Change::Switch(set) => match value {
                value if value.eq_ignore_ascii_case(b"yes") => Ok(Checked::Switch(set, true)),
                value if value.eq_ignore_ascii_case(b"no") => Ok(Checked::Switch(set, false)),
                _ => Err("argument must be 'yes' or 'no'".to_owned()),
            },
            Change::Word(words, set) => match words.iter().position(|word| value.eq_ignore_ascii_case(word.as_bytes()))
            {
                Some(place) => Ok(Checked::Switch(set, place == 1)),
                None => Err(format!("argument(s) must be one of the following: {}, {}", words[1], words[0])),
            },
            Change::Notifications => match Notifications::parse(value) {
                Some(notifications) => Ok(Checked::Number(set_notifications, notifications.word().cast_signed())),
                None => Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
            },
            Change::OutputLimits => output_limits(shared, value),
            Change::Password if value.len() <= PASSWORD_BYTES_MAX => Ok(Checked::Password(value.to_vec())),
            Change::Password => Err(format!("a password has at most {PASSWORD_BYTES_MAX} bytes")),
        }
    }
}

fn set_notifications(shared: &Shared, word: i64) {
    shared.runtime.set(Knob::KeyspaceEvents, word.cast_unsigned());
}

const OUTPUT_LIMITS: [Knob; 3] =
    [Knob::SubscriberOutputBytesMax, Knob::SubscriberOutputBytesSoft, Knob::SubscriberOutputSeconds];

/// Fours of words, as Redis has them: a class of clients, and its limits.
fn output_limits(shared: &Shared, value: &[u8]) -> Result<Checked, String> {
    let words: Vec<&[u8]> = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut limits = OUTPUT_LIMITS.map(|knob| shared.runtime.read(knob));
    for four in words.chunks_exact(4) {
        let is = |name: &str| four[0].eq_ignore_ascii_case(name.as_bytes());
        if !["normal", "slave", "replica", "pubsub"].into_iter().any(is) {
            return Err("Invalid client class specified in buffer limit configuration.".to_owned());
        }
        let seconds = parse_integer(four[3]).and_then(|seconds| u64::try_from(seconds).ok());
        let (Some(hard), Some(soft), Some(seconds)) = (memory(four[1]), memory(four[2]), seconds) else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned());
        };
        let given = [hard.cast_unsigned(), soft.cast_unsigned(), seconds];
        if is("pubsub") {
            limits = given;
        } else if given != [shared.settings.output_bytes_max as u64, 0, 0] {
            return Err(
                "can't set immutable config: set EMPTYSERVER_OUTPUT_BYTES_MAX and start the service again".to_owned()
            );
        }
    }
    Ok(Checked::OutputLimits(limits))
}

/// Bytes as Redis writes them: a number with `b`, `k`, `kb`, `m`, `mb`, `g`, `gb` or nothing behind it.
fn memory(value: &[u8]) -> Option<i64> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unit: i64 = match value[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    std::str::from_utf8(&value[..digits]).ok()?.parse::<i64>().ok()?.checked_mul(unit)
}

impl Checked {
    /// On behalf of that worker, whose loop this is.
    pub fn apply(self, shared: &Shared, by: Slot) {
        match self {
            Checked::Same => {}
            Checked::Number(set, number) => set(shared, number),
            Checked::Switch(set, is_on) => set(shared, is_on),
            Checked::OutputLimits(limits) => {
                OUTPUT_LIMITS.into_iter().zip(limits).for_each(|(knob, value)| shared.runtime.set(knob, value));
            }
            Checked::Password(password) => {
                let is_set = shared.runtime.set_password(by, &password);
                debug_assert!(is_set, "its length was checked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_have_a_unit() {
        let read = |text: &str| memory(text.as_bytes());
        assert_eq!([read("64"), read("2b"), read("1k"), read("1KB")], [64, 2, 1000, 1024].map(Some));
        assert_eq!(read("3Gb"), Some(3 << 30));
        for text in ["", "k", "-1", "1.5", "1 k", "x", "9223372036854775807k", "9223372036854775808"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_unique_and_lower_case() {
        for parameter in PARAMETERS {
            let same = PARAMETERS.iter().filter(|other| other.name == parameter.name).count();
            assert_eq!((same, parameter.name), (1, parameter.name.to_ascii_lowercase().as_str()));
            assert!(
                parameter.setting.is_empty() || parameter.setting.starts_with("EMPTYSERVER_"),
                "{}",
                parameter.name
            );
        }
    }
}
