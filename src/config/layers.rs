//! The settings as each layer takes them, and how they have to fit together. No layer sees another one's.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::table::{JOURNAL_BYTES_MIN, Layer};
use super::units::KIBI;
use super::values::{Problem, SettingsError, Values};
use crate::logging::LogSettings;

/// Everything that the program is told. Fields are named as the settings are; the table says what they mean.
#[derive(Clone, Debug)]
pub struct Settings {
    pub server: ServerSettings,
    pub storage: StorageSettings,
    pub kv: KvSettings,
    pub admin: AdminSettings,
    pub log: LogSettings,
    pub client: ClientSettings,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ServerSettings {
    /// Addresses and names, with commas, or `off`: see [`ServerSettings::plain_addresses`].
    pub listen: String,
    pub tls_listen: String,
    pub unix_socket: Option<PathBuf>,
    pub unix_socket_mode: u32,
    pub tls_cert_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    pub tls_ca_file: Option<PathBuf>,
    pub tls_auth_clients: AuthClients,
    pub tls_version_min: TlsVersionMin,
    pub handshake_seconds_max: u64,
    pub handshakes_max: usize,
    /// With commas.
    pub proxy_peers: Option<String>,
    /// 0: everything in one process.
    pub workers: usize,
    pub readers: usize,
    pub max_connections: usize,
    /// 0: never.
    pub idle_timeout_seconds: u64,
    pub query_bytes_max: usize,
    pub output_bytes_max: usize,
    /// 0: no limit.
    pub clients_bytes_max: u64,
    pub lane_jobs_max: usize,
    pub cpu_affinity: CpuAffinity,
    pub drain_seconds: u64,
    /// 0: never.
    pub loop_stall_seconds: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CpuAffinity {
    Off,
    Auto,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AuthClients {
    Off,
    Optional,
    Required,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum TlsVersionMin {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct StorageSettings {
    pub data: PathBuf,
    pub durability: Durability,
    pub wal_bytes_max: u64,
    /// 0: each commit writes the tables.
    pub journal_bytes_max: u64,
    pub merge_seconds_max: u64,
    pub value_bytes_max: u64,
    pub restore_from: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    Always,
    EverySec,
    Os,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct KvSettings {
    pub password: Option<Secret>,
    pub acl_file: Option<PathBuf>,
    pub tls_users: bool,
    pub protected_mode: bool,
    /// -1: none.
    pub slowlog_microseconds: i64,
    pub slowlog_entries_max: usize,
    /// 0: no limit of their own.
    pub subscriber_output_bytes_max: u64,
    /// Not set: none.
    pub notify_keyspace_events: Option<String>,
    pub script_seconds_max: u64,
    pub script_memory_max: usize,
    pub debug_commands: bool,
    /// 0: off.
    pub cache_bytes: usize,
    /// Not set: see [`Settings::backup_directory`].
    pub backup_dir: Option<PathBuf>,
    /// 0: none.
    pub backup_interval_seconds: u64,
    /// 0: all.
    pub backup_keep: usize,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct AdminSettings {
    /// An address, or `off`.
    pub admin_listen: String,
    pub admin_tls: bool,
    pub admin_token: Option<Secret>,
    /// With commas.
    pub admin_hosts: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ClientSettings {
    pub url: Option<Secret>,
    /// `~/` is not resolved; `off`: there is none.
    pub history: PathBuf,
    #[serde(rename = "rediscli_auth")]
    pub password: Option<Secret>,
}

/// A text that `Debug` does not show.
#[derive(Clone, Deserialize, PartialEq, Eq)]
pub struct Secret(String);

impl Settings {
    /// Each layer's own, checked against each other.
    ///
    /// # Errors
    /// Settings that do not fit together.
    pub fn from_values(values: &Values) -> Result<Self, SettingsError> {
        let mut settings = Self {
            server: values.layer(Layer::Server)?,
            storage: values.layer(Layer::Storage)?,
            kv: values.layer(Layer::Kv)?,
            admin: values.layer(Layer::Admin)?,
            log: values.layer(Layer::Log)?,
            client: values.layer(Layer::Client)?,
        };
        if values.is_default("EMPTYSERVER_CLIENTS_BYTES_MAX") {
            let server = &mut settings.server;
            let one = server.query_bytes_max.max(server.output_bytes_max) as u64;
            server.clients_bytes_max = server.clients_bytes_max.max(one).max(2 * settings.storage.value_bytes_max);
        }
        if values.is_default("EMPTYSERVER_CACHE_BYTES") {
            // What waits for the merge answers reads as well.
            let journal = usize::try_from(settings.storage.journal_bytes_max).unwrap_or(usize::MAX);
            settings.kv.cache_bytes = settings.kv.cache_bytes.saturating_sub(journal);
        }
        settings.check_journal()?;
        settings.check_listening()?;
        settings.check_relations()?;
        Ok(settings)
    }

    /// Where backups go.
    #[must_use]
    pub fn backup_directory(&self) -> PathBuf {
        self.kv.backup_dir.clone().unwrap_or_else(|| self.storage.data.join("backups"))
    }

    fn check_journal(&self) -> Result<(), SettingsError> {
        match self.storage.journal_bytes_max {
            bytes if bytes > 0 && bytes < JOURNAL_BYTES_MIN => Err(SettingsError::one(format!(
                "EMPTYSERVER_JOURNAL_BYTES_MAX ({bytes}) is too small: at least {JOURNAL_BYTES_MIN}, or 0 for none"
            ))),
            _ => Ok(()),
        }
    }

    /// There is somewhere to listen, and what TLS needs.
    fn check_listening(&self) -> Result<(), SettingsError> {
        let (server, admin) = (&self.server, &self.admin);
        let speaks_tls = server.tls_addresses().next().is_some();
        let is_silent = server.plain_addresses().next().is_none() && !speaks_tls && server.unix_socket.is_none();
        if is_silent {
            return Err(SettingsError::one(
                "EMPTYSERVER_LISTEN is off, and there is neither EMPTYSERVER_TLS_LISTEN nor EMPTYSERVER_UNIX_SOCKET"
                    .to_owned(),
            ));
        }
        let needs_tls = match (speaks_tls, admin.admin_tls && admin.address().is_some()) {
            (true, _) => "EMPTYSERVER_TLS_LISTEN",
            (false, true) => "EMPTYSERVER_ADMIN_TLS",
            (false, false) => return Ok(()),
        };
        let asks_clients = server.tls_auth_clients != AuthClients::Off;
        let needed = [
            (needs_tls, "EMPTYSERVER_TLS_CERT_FILE", server.tls_cert_file.is_none()),
            (needs_tls, "EMPTYSERVER_TLS_KEY_FILE", server.tls_key_file.is_none()),
            ("EMPTYSERVER_TLS_AUTH_CLIENTS", "EMPTYSERVER_TLS_CA_FILE", asks_clients && server.tls_ca_file.is_none()),
            ("EMPTYSERVER_TLS_USERS", "EMPTYSERVER_TLS_AUTH_CLIENTS", self.kv.tls_users && !asks_clients),
        ];
        let missing = needed.into_iter().filter(|(_, _, is_missing)| *is_missing);
        let problems: Vec<_> =
            missing.map(|(asks, needs, _)| Problem(format!("{needs} is not set, and {asks} needs it"))).collect();
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems }) }
    }

    /// A value has to fit into a request and into a reply, with the words around it.
    fn check_relations(&self) -> Result<(), SettingsError> {
        let least = self.storage.value_bytes_max + 64 * KIBI;
        // What is being received has room to grow.
        let (all, least_of_all) = (self.server.clients_bytes_max, least + least / 2);
        let exchanges = [
            ("EMPTYSERVER_QUERY_BYTES_MAX", self.server.query_bytes_max as u64, least),
            ("EMPTYSERVER_OUTPUT_BYTES_MAX", self.server.output_bytes_max as u64, least),
            ("EMPTYSERVER_CLIENTS_BYTES_MAX", if all == 0 { u64::MAX } else { all }, least_of_all),
        ];
        match exchanges.iter().find(|(_, bytes_max, least)| bytes_max < least) {
            None => Ok(()),
            Some((name, bytes_max, least)) => Err(SettingsError::one(format!(
                "{name} ({bytes_max}) has no room for a value of EMPTYSERVER_VALUE_BYTES_MAX ({}): raise the one to {least} or lower the other",
                self.storage.value_bytes_max
            ))),
        }
    }
}

impl ServerSettings {
    /// Addresses and host names, each with a port.
    pub fn plain_addresses(&self) -> impl Iterator<Item = &str> {
        self.listen.split(',').filter(|word| *word != "off")
    }

    pub fn tls_addresses(&self) -> impl Iterator<Item = &str> {
        self.tls_listen.split(',').filter(|word| *word != "off")
    }
}

impl AdminSettings {
    /// `None` where it is off.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.admin_listen.parse().ok()
    }
}

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::LogFormat;
    use crate::sys::container::Container;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let container = Container { allowed_cpus: vec![0, 1], cores: 2, memory_bytes: 8 << 30 };
        let values = Values::read(pairs.iter().map(|(name, value)| (name.into(), value.into())), &container)?;
        Settings::from_values(&values)
    }

    #[test]
    fn each_layer_gets_its_defaults() {
        let settings = settings(&[]).unwrap();
        let journal = 192 << 20;
        assert_eq!(
            settings.server,
            ServerSettings {
                listen: "127.0.0.1:6379".to_owned(),
                tls_listen: "off".to_owned(),
                unix_socket: None,
                unix_socket_mode: 0o600,
                tls_cert_file: None,
                tls_key_file: None,
                tls_ca_file: None,
                tls_auth_clients: AuthClients::Off,
                tls_version_min: TlsVersionMin::Tls12,
                handshake_seconds_max: 10,
                handshakes_max: 256,
                proxy_peers: None,
                workers: 2,
                readers: 2,
                max_connections: 10_000,
                idle_timeout_seconds: 0,
                query_bytes_max: 1 << 30,
                output_bytes_max: 1 << 30,
                clients_bytes_max: 2 << 30,
                lane_jobs_max: 1024,
                cpu_affinity: CpuAffinity::Off,
                drain_seconds: 8,
                loop_stall_seconds: 30,
            }
        );
        assert_eq!(
            settings.storage,
            StorageSettings {
                data: "./data".into(),
                durability: Durability::Always,
                wal_bytes_max: 128 << 20,
                journal_bytes_max: journal,
                merge_seconds_max: 10,
                value_bytes_max: 512 << 20,
                restore_from: None,
            }
        );
        assert_eq!(
            settings.kv,
            KvSettings {
                password: None,
                acl_file: None,
                tls_users: false,
                protected_mode: true,
                slowlog_microseconds: 10_000,
                slowlog_entries_max: 128,
                subscriber_output_bytes_max: 32 << 20,
                notify_keyspace_events: None,
                script_seconds_max: 30,
                script_memory_max: 64 << 20,
                debug_commands: false,
                cache_bytes: (2 << 30) - journal as usize,
                backup_dir: None,
                backup_interval_seconds: 0,
                backup_keep: 7,
            }
        );
        assert_eq!(
            settings.admin,
            AdminSettings {
                admin_listen: "127.0.0.1:9180".into(),
                admin_tls: false,
                admin_token: None,
                admin_hosts: None
            }
        );
        assert_eq!(settings.log, LogSettings { log: "info".into(), log_format: LogFormat::Auto });
        assert_eq!(
            settings.client,
            ClientSettings { url: None, history: "~/.emptyserver_history".into(), password: None }
        );
    }

    #[test]
    fn what_is_set_reaches_its_layer() {
        let settings = settings(&[
            ("EMPTYSERVER_DURABILITY", "everysec"),
            ("EMPTYSERVER_CPU_AFFINITY", "auto"),
            ("EMPTYSERVER_PROTECTED_MODE", "Off"),
            ("EMPTYSERVER_REQUIREPASS", "a,b=c"),
            ("EMPTYSERVER_DATA", "/srv/a, b"),
            ("EMPTYSERVER_SLOWLOG_MICROSECONDS", "-1"),
            ("EMPTYSERVER_ADMIN_LISTEN", "off"),
            ("REDISCLI_AUTH", "pw"),
        ])
        .unwrap();
        assert_eq!(settings.storage.durability, Durability::EverySec);
        assert_eq!(settings.storage.data, PathBuf::from("/srv/a, b"));
        assert_eq!(settings.server.cpu_affinity, CpuAffinity::Auto);
        assert!(!settings.kv.protected_mode);
        assert_eq!(settings.admin.address(), None);
        assert_eq!(settings.kv.password, Some(Secret::new("a,b=c")));
        assert_eq!(settings.kv.slowlog_microseconds, -1);
        assert_eq!(settings.client.password.as_ref().map(Secret::reveal), Some("pw"));
        assert!(!format!("{settings:?}").contains("a,b=c"));
    }

    #[test]
    fn a_value_has_to_fit_into_a_request_and_a_reply() {
        assert!(settings(&[("EMPTYSERVER_VALUE_BYTES_MAX", "4Mi"), ("EMPTYSERVER_QUERY_BYTES_MAX", "5Mi")]).is_ok());
        let error = settings(&[("EMPTYSERVER_OUTPUT_BYTES_MAX", "512Mi")]).unwrap_err().to_string();
        assert!(error.starts_with("EMPTYSERVER_OUTPUT_BYTES_MAX (536870912) has no room"), "{error}");
        let error = settings(&[("EMPTYSERVER_CLIENTS_BYTES_MAX", "512Mi")]).unwrap_err().to_string();
        assert!(error.starts_with("EMPTYSERVER_CLIENTS_BYTES_MAX (536870912) has no room"), "{error}");
        assert!(settings(&[("EMPTYSERVER_CLIENTS_BYTES_MAX", "0")]).is_ok());
        // One client with all that it may have is within what all may have, where nothing else is said.
        let raised = settings(&[("EMPTYSERVER_OUTPUT_BYTES_MAX", "4Gi")]).unwrap();
        assert_eq!(raised.server.clients_bytes_max, 4 << 30);
    }

    #[test]
    fn tls_needs_its_files_and_a_service_needs_an_address() {
        let refused = |pairs: &[(&str, &str)]| settings(pairs).unwrap_err().to_string();
        let off = ("EMPTYSERVER_LISTEN", "off");
        assert!(refused(&[off]).starts_with("EMPTYSERVER_LISTEN is off"));
        assert!(settings(&[off, ("EMPTYSERVER_UNIX_SOCKET", "/run/kv.sock")]).is_ok());
        let listen = ("EMPTYSERVER_TLS_LISTEN", "127.0.0.1:6380");
        let (cert, key) = (("EMPTYSERVER_TLS_CERT_FILE", "/c"), ("EMPTYSERVER_TLS_KEY_FILE", "/k"));
        let text = refused(&[listen]);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("EMPTYSERVER_TLS_KEY_FILE is not set, and EMPTYSERVER_TLS_LISTEN needs it"), "{text}");
        let both = settings(&[listen, cert, key, off]).unwrap().server;
        assert_eq!((both.plain_addresses().count(), both.tls_addresses().count()), (0, 1));
        assert_eq!(both.tls_cert_file, Some(PathBuf::from("/c")), "the variable names the file itself");
        let asks = ("EMPTYSERVER_TLS_AUTH_CLIENTS", "required");
        assert!(refused(&[listen, cert, key, asks]).contains("EMPTYSERVER_TLS_CA_FILE is not set"));
        assert!(refused(&[("EMPTYSERVER_ADMIN_TLS", "yes"), key]).contains("EMPTYSERVER_ADMIN_TLS needs it"));
    }

    #[test]
    fn the_journals_memory_is_the_caches_where_nobody_says_otherwise() {
        let with_journal = ("EMPTYSERVER_JOURNAL_BYTES_MAX", "64Mi");
        let shared = settings(&[with_journal]).unwrap();
        assert_eq!((shared.storage.journal_bytes_max, shared.kv.cache_bytes), (64 << 20, (2 << 30) - (64 << 20)));
        let both = settings(&[with_journal, ("EMPTYSERVER_CACHE_BYTES", "1Gi")]).unwrap();
        assert_eq!(both.kv.cache_bytes, 1 << 30);
        assert_eq!(settings(&[("EMPTYSERVER_JOURNAL_BYTES_MAX", "0")]).unwrap().kv.cache_bytes, 2 << 30);
        let error = settings(&[("EMPTYSERVER_JOURNAL_BYTES_MAX", "4194303")]).unwrap_err().to_string();
        assert!(error.starts_with("EMPTYSERVER_JOURNAL_BYTES_MAX (4194303) is too small"), "{error}");
    }

    #[test]
    fn the_defaults_fit_together_in_a_container_of_any_size() {
        for shift in 20..45 {
            let container = Container { allowed_cpus: vec![0], cores: 1, memory_bytes: (1 << shift) + 12_345 };
            let values = Values::read([], &container).unwrap();
            Settings::from_values(&values).unwrap();
        }
    }
}
