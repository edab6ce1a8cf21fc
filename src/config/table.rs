//! The one table of settings. A row is all that there is to say about a setting; `emptyserver config`, docs/configuration.md, the
//! compose file and the chart follow it, and the tests compare them.

use super::units::{GIBI, MEBI, Unit};
use crate::sys::container::Container;

/// What every name of ours begins with.
pub(super) const PREFIX: &str = "EMPTYSERVER_";

/// One setting. `emptyserver` reads it from the variable `name`, or from the file that `name` + `_FILE` names.
#[derive(Debug)]
pub struct Setting {
    /// The whole name of the variable.
    pub name: &'static str,
    /// Other names that mean the same: what Redis and its images call it.
    pub aliases: &'static [&'static str],
    /// A name that means the opposite: its yes is a no here.
    pub opposite: Option<&'static str>,
    pub layer: Layer,
    pub unit: Unit,
    pub default: DefaultValue,
    /// What the container image sets instead of the default.
    pub image: Option<&'static str>,
    pub meaning: &'static str,
    /// True exactly when the value must not be shown to anybody.
    pub secret: bool,
    /// True exactly when CONFIG SET can change it in a running service.
    pub changeable: bool,
}

/// Who gets the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Server,
    Storage,
    Kv,
    Admin,
    Log,
    Client,
}

/// What holds where nothing is set.
#[derive(Debug)]
pub enum DefaultValue {
    Nothing,
    Fixed(&'static str),
    /// Depends on the container; `text` says how.
    Computed {
        text: &'static str,
        from: fn(&Container) -> u64,
    },
}

use DefaultValue::{Computed, Fixed, Nothing};
use Layer::{Admin, Client, Kv, Log, Server, Storage};

/// A generation of the memtable is a quarter of it, and has at most 64 MiB.
const JOURNAL_BYTES_MAX: u64 = 256 * MEBI;
/// With less, each generation would be full after a few groups.
pub(super) const JOURNAL_BYTES_MIN: u64 = 4 * MEBI;
const CACHE_BYTES_MAX: u64 = 1024 * GIBI;
const CLIENTS_BYTES_MAX: u64 = 1024 * GIBI;

/// All settings, in the order in which people read them.
pub const SETTINGS: &[Setting] = &[
    setting(Server, "EMPTYSERVER_LISTEN", Unit::AddressesOrOff, Fixed("127.0.0.1:6379"))
        .in_image("0.0.0.0:6379")
        .means("addresses of the key-value service, without TLS; `off` = none"),
    setting(Server, "EMPTYSERVER_TLS_LISTEN", Unit::AddressesOrOff, Fixed("off"))
        .means("addresses of the key-value service where TLS is spoken; `off` = none"),
    setting(Server, "EMPTYSERVER_UNIX_SOCKET", Unit::Path, Nothing)
        .means("path of a Unix socket on which it listens as well; its peers count as loopback clients"),
    setting(Server, "EMPTYSERVER_UNIX_SOCKET_MODE", Unit::Mode, Fixed("600")).means("who may connect to it"),
    setting(Admin, "EMPTYSERVER_ADMIN_LISTEN", Unit::AddressOrOff, Fixed("127.0.0.1:9180"))
        .in_image("0.0.0.0:9180")
        .means("address of health, metrics and the status page (HTTP); `off` = none"),
    setting(Admin, "EMPTYSERVER_ADMIN_TLS", Unit::Switch, Fixed("no"))
        .means("HTTPS there, with the certificate of the service; no client certificate is asked for"),
    setting(Server, "EMPTYSERVER_TLS_CERT_FILE", Unit::File, Nothing)
        .means("certificate of the service and those that lead to its authority, PEM; read again when it is replaced, and at SIGHUP, as the two below"),
    setting(Server, "EMPTYSERVER_TLS_KEY_FILE", Unit::File, Nothing).means("private key of that certificate, PEM, without a passphrase"),
    setting(Server, "EMPTYSERVER_TLS_CA_FILE", Unit::File, Nothing)
        .means("authorities whose certificates clients may show, PEM"),
    setting(Server, "EMPTYSERVER_TLS_AUTH_CLIENTS", Unit::Choice(&["off", "optional", "required"]), Fixed("off"))
        .means("whether TLS clients show a certificate: `off` none is asked for, `optional` one that is shown must be good, `required` each shows one"),
    setting(Server, "EMPTYSERVER_TLS_VERSION_MIN", Unit::Choice(&["1.2", "1.3"]), Fixed("1.2"))
        .means("lowest version of TLS"),
    setting(Server, "EMPTYSERVER_HANDSHAKE_SECONDS_MAX", Unit::seconds(1, 600), Fixed("10"))
        .means("a connection whose TLS handshake or PROXY header takes longer is closed"),
    setting(Server, "EMPTYSERVER_HANDSHAKES_MAX", Unit::count(1, 65_536), Fixed("256"))
        .means("such connections of one worker at a time: one more takes the place of the one that has waited longest"),
    setting(Server, "EMPTYSERVER_PROXY_PEERS", Unit::Networks, Nothing).means(
        "load balancers, by address or range: their connections must begin with a PROXY header of version 2, and nobody else's may; they never count as loopback clients",
    ),
    setting(Storage, "EMPTYSERVER_DATA", Unit::Path, Fixed("./data"))
        .in_image("/data")
        .means("directory of `data.db` and the lock file"),
    setting(Storage, "EMPTYSERVER_DURABILITY", Unit::Choice(&["always", "everysec", "os"]), Fixed("always")).means(
        "when an acknowledged write is safe from a power failure: `always` at once, `everysec` within a second, `os` when \
         the operating system writes it; a crash of the service loses nothing with any of them",
    ),
    setting(
        Server,
        "EMPTYSERVER_WORKERS",
        Unit::count(0, 256),
        Computed { text: "cores of the container", from: workers },
    )
    .means("worker processes; `0` = everything in one process, for a debugger"),
    setting(Server, "EMPTYSERVER_READERS", Unit::count(1, 64), Fixed("2"))
        .means("reader threads in each worker, plus one for heavy commands"),
    setting(Kv, "EMPTYSERVER_PASSWORD", Unit::Text, Nothing)
        .also(&["EMPTYSERVER_REQUIREPASS", "REDIS_PASSWORD"])
        .means("password of the user `default`")
        .secret()
        .changeable(),
    setting(Kv, "EMPTYSERVER_ACL_FILE", Unit::File, Nothing).means(
        "users, a line each as for the `aclfile` of Redis; read again at SIGHUP and ACL LOAD. It alone rules then: ACL SETUSER and \
         EMPTYSERVER_PASSWORD change nothing. Not set: users are rows of `data.db`, and ACL SETUSER changes them",
    ),
    setting(Kv, "EMPTYSERVER_TLS_USERS", Unit::Switch, Fixed("no")).means(
        "a TLS client whose certificate has the name of a user acts as that user, without AUTH; with EMPTYSERVER_TLS_AUTH_CLIENTS",
    ),
    setting(Kv, "EMPTYSERVER_PROTECTED_MODE", Unit::Switch, Fixed("yes"))
        .opposite_of("ALLOW_EMPTY_PASSWORD")
        .means("without a password serve loopback clients only")
        .changeable(),
    setting(Admin, "EMPTYSERVER_ADMIN_TOKEN", Unit::Text, Nothing)
        .means("who sends it may change something over HTTP (`Authorization: Bearer …`); without one nobody may")
        .secret(),
    setting(Admin, "EMPTYSERVER_ADMIN_HOSTS", Unit::Text, Nothing).means(
        "further names by which people may reach the status page, separated by commas; IP addresses and names of private networks \
         need none; `*` = any",
    ),
    setting(
        Kv,
        "EMPTYSERVER_CACHE_BYTES",
        Unit::bytes(0, CACHE_BYTES_MAX),
        Computed { text: "1/4 of the memory limit, less EMPTYSERVER_JOURNAL_BYTES_MAX", from: cache_bytes },
    )
    .means("memory for values that were read lately, all workers together; `0` = none"),
    setting(Storage, "EMPTYSERVER_WAL_BYTES_MAX", Unit::bytes(MEBI, 64 * GIBI), Fixed("128Mi"))
        .means("budget of the write-ahead file `data.db-wal`"),
    setting(Storage, "EMPTYSERVER_JOURNAL_BYTES_MAX", Unit::bytes(0, JOURNAL_BYTES_MAX), Computed { text: "192Mi, at most 1/8 of the memory limit", from: journal_bytes_max }).means(
        "changes that are committed and wait to be merged into the tables, in the journal on the disk and in memory, each so much; \
         `0` = each commit writes the tables",
    ),
    setting(Storage, "EMPTYSERVER_MERGE_SECONDS_MAX", Unit::seconds(1, 3_600), Fixed("10"))
        .means("how long a change may wait for that: how old the tables may be that `sqlite3` shows"),
    setting(
        Storage,
        "EMPTYSERVER_VALUE_BYTES_MAX",
        Unit::bytes(MEBI, 512 * MEBI),
        Computed { text: "512Mi, at most 1/8 of the memory limit", from: value_bytes_max },
    )
    .means("largest value"),
    setting(Kv, "EMPTYSERVER_BACKUP_DIR", Unit::Path, Nothing)
        .means("directory of the backups that the service makes; not set: `backups` in the data directory"),
    setting(Kv, "EMPTYSERVER_BACKUP_INTERVAL_SECONDS", Unit::seconds(0, 31_536_000), Fixed("0"))
        .means("a backup is made each time that so long has passed; `0` = only when one is asked for"),
    setting(Kv, "EMPTYSERVER_BACKUP_KEEP", Unit::count(0, 100_000), Fixed("7"))
        .means("how many backups stay: a new one takes the place of the oldest; `0` = all"),
    setting(Storage, "EMPTYSERVER_RESTORE_FROM", Unit::Path, Nothing)
        .means("a backup, or a directory of which the newest is taken: the first start, when there is no data yet, begins with it"),
    setting(Server, "EMPTYSERVER_MAX_CONNECTIONS", Unit::count(1, 1_000_000), Fixed("10000"))
        .also(&["EMPTYSERVER_MAXCLIENTS"])
        .means("clients at a time, over all workers; lowered to what the descriptor limit allows")
        .changeable(),
    setting(Server, "EMPTYSERVER_IDLE_TIMEOUT_SECONDS", Unit::seconds(0, 31_536_000), Fixed("0"))
        .means("a client that is silent for longer is disconnected; `0` = never")
        .changeable(),
    setting(
        Server,
        "EMPTYSERVER_QUERY_BYTES_MAX",
        Unit::bytes(2 * MEBI, 4 * GIBI),
        Computed { text: "1Gi, at most 1/4 of the memory limit", from: exchange_bytes_max },
    )
    .means("longest request of one client, all its arguments together; the commands that a `MULTI` queues may take half of it"),
    setting(
        Server,
        "EMPTYSERVER_OUTPUT_BYTES_MAX",
        Unit::bytes(2 * MEBI, 4 * GIBI),
        Computed { text: "1Gi, at most 1/4 of the memory limit", from: exchange_bytes_max },
    )
    .means("a client with more replies waiting than this is disconnected; one reply, or those of one `EXEC`, that would be larger are an error"),
    setting(Kv, "EMPTYSERVER_SUBSCRIBER_OUTPUT_BYTES_MAX", Unit::bytes(0, 4 * GIBI), Fixed("32Mi"))
        .means("a client that is subscribed to channels is disconnected when more than this waits for it; `0` = as for all others")
        .changeable(),
    setting(
        Server,
        "EMPTYSERVER_CLIENTS_BYTES_MAX",
        Unit::bytes(0, CLIENTS_BYTES_MAX),
        Computed {
            text: "1/4 of the memory limit, at least EMPTYSERVER_QUERY_BYTES_MAX and EMPTYSERVER_OUTPUT_BYTES_MAX",
            from: clients_bytes_max,
        },
    )
    .means(
        "what all clients together may take, requests, queued commands and waiting replies; over it those that take most are \
         disconnected; `0` = no limit",
    )
    .changeable(),
    setting(Server, "EMPTYSERVER_LANE_JOBS_MAX", Unit::count(1, 65_536), Fixed("1024"))
        .means("jobs that may wait for the threads of one worker, or for the writer; further clients wait their turn"),
    setting(Server, "EMPTYSERVER_CPU_AFFINITY", Unit::Choice(&["off", "auto"]), Fixed("off"))
        .means("`auto` gives each event loop and each pool thread one allowed CPU"),
    setting(Server, "EMPTYSERVER_DRAIN_SECONDS", Unit::seconds(1, 3_600), Fixed("8"))
        .means("longest orderly shutdown, last checkpoint included"),
    setting(Server, "EMPTYSERVER_LOOP_STALL_SECONDS", Unit::seconds(0, 86_400), Fixed("30"))
        .means("a worker whose event loop stands still for so long is killed and replaced; `0` = never"),
    setting(
        Kv,
        "EMPTYSERVER_SLOWLOG_MICROSECONDS",
        Unit::Number { of: "microseconds", min: -1, max: i64::MAX },
        Fixed("10000"),
    )
    .means("commands that run longer are noted for SLOWLOG; `0` = all, `-1` = none")
    .changeable(),
    setting(Kv, "EMPTYSERVER_SLOWLOG_ENTRIES_MAX", Unit::count(0, 65_536), Fixed("128"))
        .means("how many commands SLOWLOG keeps")
        .changeable(),
    setting(Kv, "EMPTYSERVER_NOTIFY_KEYSPACE_EVENTS", Unit::EventClasses, Nothing)
        .means("events of keys that are published to subscribers: letters as for `notify-keyspace-events` of Redis, such as `KEA` or `Ex`")
        .changeable(),
    setting(Kv, "EMPTYSERVER_SCRIPT_SECONDS_MAX", Unit::seconds(1, 3600), Fixed("30"))
        .means("a script or function that runs longer is ended, and all that it did is undone"),
    setting(
        Kv,
        "EMPTYSERVER_SCRIPT_MEMORY_MAX",
        Unit::bytes(MEBI, GIBI),
        Computed { text: "1/8 of the memory limit, from 4Mi to 64Mi", from: script_memory_max },
    )
    .means("memory of one script; each process that runs scripts has one interpreter"),
    setting(Kv, "EMPTYSERVER_DEBUG_COMMANDS", Unit::Switch, Fixed("no")).means("allows the command DEBUG"),
    setting(Log, "EMPTYSERVER_LOG", Unit::Filter, Fixed("info"))
        .means("what is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module"),
    setting(Log, "EMPTYSERVER_LOG_FORMAT", Unit::Choice(&["auto", "text", "json"]), Fixed("auto"))
        .means("`text`, `json` lines, or `auto`: text on a terminal and JSON elsewhere"),
    setting(Client, "EMPTYSERVER_URL", Unit::Url, Nothing)
        .means("where `emptyserver cli` connects to: `redis://[[user]:password@]host[:port][/database]`, `rediss://` for TLS; `valkey://` and `valkeys://` are the same")
        .secret(),
    setting(Client, "EMPTYSERVER_HISTORY", Unit::Path, Fixed("~/.emptyserver_history"))
        .means("file of what was typed at the prompt of `emptyserver cli`, without passwords; `off` = none is kept"),
    setting(Client, "REDISCLI_AUTH", Unit::Text, Nothing)
        .means("password that `emptyserver cli` sends, as for redis-cli")
        .secret(),
];

fn workers(container: &Container) -> u64 {
    (container.cores as u64).min(256)
}

fn value_bytes_max(container: &Container) -> u64 {
    share_of_memory(container, 8).clamp(MEBI, 512 * MEBI)
}

/// Twice the largest value: a request or a reply holds one value and what stands around it.
fn exchange_bytes_max(container: &Container) -> u64 {
    share_of_memory(container, 4).clamp(2 * MEBI, GIBI)
}

fn clients_bytes_max(container: &Container) -> u64 {
    share_of_memory(container, 4).clamp(2 * MEBI, CLIENTS_BYTES_MAX)
}

/// Nothing in a container that has hardly any memory.
fn journal_bytes_max(container: &Container) -> u64 {
    let share = share_of_memory(container, 8).min(192 * MEBI);
    if share < JOURNAL_BYTES_MIN { 0 } else { share }
}

fn script_memory_max(container: &Container) -> u64 {
    share_of_memory(container, 8).clamp(4 * MEBI, 64 * MEBI)
}

fn cache_bytes(container: &Container) -> u64 {
    share_of_memory(container, 4).min(CACHE_BYTES_MAX)
}

/// In whole Mi, so that people can read it.
fn share_of_memory(container: &Container, divisor: u64) -> u64 {
    container.memory_bytes / divisor / MEBI * MEBI
}

const fn setting(layer: Layer, name: &'static str, unit: Unit, default: DefaultValue) -> Setting {
    Setting {
        name,
        aliases: &[],
        opposite: None,
        layer,
        unit,
        default,
        image: None,
        meaning: "",
        secret: false,
        changeable: false,
    }
}

impl Setting {
    /// The field of the layer's struct: the name without the prefix, in lower case.
    #[must_use]
    pub fn field(&self) -> String {
        self.name.strip_prefix(PREFIX).unwrap_or(self.name).to_lowercase()
    }

    /// Every variable that can set it; those that name a file with the value end in `_FILE`.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        let names = std::iter::once(self.name).chain(self.aliases.iter().copied()).chain(self.opposite);
        let is_file = self.unit == Unit::File;
        names.flat_map(move |name| [Some(name.to_owned()), (!is_file).then(|| format!("{name}_FILE"))]).flatten()
    }

    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn opposite_of(mut self, name: &'static str) -> Self {
        self.opposite = Some(name);
        self
    }

    const fn in_image(mut self, value: &'static str) -> Self {
        self.image = Some(value);
        self
    }

    const fn means(mut self, meaning: &'static str) -> Self {
        self.meaning = meaning;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn changeable(mut self) -> Self {
        self.changeable = true;
        self
    }
}

impl Layer {
    /// The word for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Server => "server",
            Storage => "storage",
            Kv => "kv",
            Admin => "admin",
            Log => "log",
            Client => "client",
        }
    }
}

impl DefaultValue {
    /// In words, the same on every machine.
    #[must_use]
    pub const fn describe(&self) -> Option<&'static str> {
        match self {
            Nothing => None,
            Fixed(text) | Computed { text, .. } => Some(text),
        }
    }

    /// The value itself, in this container.
    #[must_use]
    pub fn value(&self, container: &Container) -> Option<String> {
        match self {
            Nothing => None,
            Fixed(text) => Some((*text).to_owned()),
            Computed { from, .. } => Some(from(container).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::is_service_link;

    #[test]
    fn every_variable_is_named_once_and_says_what_it_means() {
        let mut seen = std::collections::HashSet::new();
        for setting in SETTINGS {
            for variable in setting.variables() {
                assert!(seen.insert(variable.clone()), "{variable} twice");
            }
            assert!(!setting.meaning.is_empty(), "{}", setting.name);
        }
    }

    #[test]
    fn no_setting_has_a_name_that_kubernetes_injects() {
        for variable in SETTINGS.iter().flat_map(Setting::variables) {
            assert!(!is_service_link(&variable, "tcp://10.0.0.1:6379"), "{variable}");
        }
    }

    #[test]
    fn every_default_is_a_value_that_its_unit_accepts_whatever_the_container() {
        for (cores, memory_bytes) in [(1, 1), (2, 64 * MEBI), (16, 8 * GIBI), (1_000, 4_000 * GIBI)] {
            let container = Container { allowed_cpus: (0..cores).collect(), cores, memory_bytes };
            for setting in SETTINGS {
                for value in [setting.default.value(&container), setting.image.map(str::to_owned)].into_iter().flatten()
                {
                    assert!(setting.unit.normalize(&value).is_ok(), "{} = {value}", setting.name);
                }
            }
        }
    }

    #[test]
    fn the_journal_takes_an_eighth_of_the_memory_at_most() {
        let container = |memory_bytes| Container { allowed_cpus: vec![0], cores: 1, memory_bytes };
        for (memory, journal) in [(16, 0), (31, 0), (32, 4), (128, 16), (1024, 128), (1536, 192), (64 << 10, 192)] {
            assert_eq!(journal_bytes_max(&container(memory * MEBI)), journal * MEBI, "{memory} MiB");
        }
    }

    #[test]
    fn sizes_end_in_their_unit() {
        for setting in SETTINGS {
            match setting.unit {
                _ if setting.opposite.is_some() => assert_eq!(setting.unit, Unit::Switch, "{}", setting.name),
                // Whose unit its name says.
                Unit::Bytes { .. } if setting.name.contains("_MEMORY_MAX") => {}
                Unit::Bytes { .. } => assert!(setting.name.contains("_BYTES"), "{}", setting.name),
                Unit::Number { of: "seconds", .. } => assert!(setting.name.contains("_SECONDS"), "{}", setting.name),
                _ => {}
            }
        }
    }
}
