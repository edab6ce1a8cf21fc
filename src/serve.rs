//! From settings to a running service: the data directory, its lock, the listeners, then the supervisor.

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use emptyserver::admin::{Facts, Hosts, View};
use emptyserver::config::{self, Secret, Settings};
use emptyserver::kv::application::{self, KeyValue};
use emptyserver::kv::call::Notifications;
use emptyserver::kv::jobs::LANES;
use emptyserver::kv::shared::settings::{
    BackupSettings, Listening, ScriptSettings, Settings as KvSettings, queued_bytes_max,
};
use emptyserver::server::{Global, Limits, ServerConfig, StartError, supervisor};
use emptyserver::storage::{self, DATA_FILE, Keyspace, file_system};
use emptyserver::sys::clock;
use emptyserver::sys::container::Container;
use emptyserver::sys::lock::FileLock;
use emptyserver::sys::process;

use crate::{backup, listen};

pub(crate) const LOCK_FILE: &str = "lock";

/// Runs the service until it is told to end.
pub(crate) fn serve(settings: &Settings, container: &Container) -> Result<ExitCode, Box<dyn Error>> {
    #[cfg(feature = "broken-variants")]
    if let Some(name) = config::Values::broken_variant()
        && !emptyserver::kv::shared::broken::choose(&name)
    {
        return Err(format!("BROKEN_VARIANT={name}: there is no such rule to break").into());
    }
    let mut config = server_config(settings);
    let lock = lock(&settings.storage.data)?;
    tighten(&settings.storage.data);
    supervisor::make_room(&mut config)?;
    let tls = listen::tls(settings)?;
    let listeners = listen::listeners(&settings.server)?;
    backup::make_ready(settings)?;
    let admin_listener = listen::admin_listener(&settings.admin)?;
    let listening = listen::listening(&listeners, &settings.server)?;
    let shared = application::share(kv_settings(settings, &config, listening, container))?;
    application::load_users(&shared).map_err(|error| format!("EMPTYSERVER_ACL_FILE: {error}"))?;
    if settings.kv.acl_file.is_some() && settings.kv.password.is_some() {
        tracing::warn!("EMPTYSERVER_PASSWORD sets no password: the users are those of EMPTYSERVER_ACL_FILE");
    }
    // Tickets of an earlier run must never match: any number will do that is not drawn twice.
    shared.scoreboard.global(Global::Boot).store(RandomState::new().build_hasher().finish() >> 1, Ordering::SeqCst);
    let scoreboard = shared.scoreboard;
    let view =
        View::new(facts(settings, &shared.settings), scoreboard, shared.backups.clone(), shared.hand_offs.clone());
    let certificates = tls.as_ref().filter(|_| settings.admin.admin_tls).map(|tls| Arc::clone(tls.certificates()));
    let sidecar = admin_listener.map(|listener| listen::sidecar(listener, view, certificates));
    let application = Arc::new(KeyValue { shared });
    let start = supervisor::Start { application, config, scoreboard, lock: Some(lock), listeners, sidecar, tls };
    let code = supervisor::run(start)?;
    if let Some(path) = &settings.server.unix_socket {
        listen::remove_socket(path);
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Opens the data, verifies it and prints what it found.
pub(crate) fn check(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    let options = storage_options(settings);
    let mut out = std::io::stdout();
    let path = options.data_path();
    if storage::restore::is_interrupted(&path)? {
        return Err(format!("{}: a restore was interrupted; the next start completes it", path.display()).into());
    }
    if !storage::inspect(&options)? {
        return Err(format!("{} does not exist: nothing was ever stored there", path.display()).into());
    }
    let mut keyspace = Keyspace::open_reader(&options)?;
    keyspace.begin_read(clock::wall_ms())?;
    let report = keyspace.verify()?;
    writeln!(out, "{}: {} bytes", path.display(), report.data_bytes)?;
    for (database, (keys, expires)) in report.databases.iter().enumerate().filter(|(_, (keys, _))| *keys > 0) {
        writeln!(out, "database {database}: {keys} keys, {expires} of them expire")?;
    }
    for problem in &report.problems {
        writeln!(out, "problem: {problem}")?;
    }
    if report.problems.is_empty() {
        writeln!(out, "no problem found")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "The data is damaged. Keep a copy of the directory, and restore a backup.")?;
    Ok(ExitCode::FAILURE)
}

fn server_config(settings: &Settings) -> ServerConfig {
    let server = &settings.server;
    ServerConfig {
        workers: server.workers,
        cpu_affinity: server.cpu_affinity == config::CpuAffinity::Auto,
        drain_seconds: server.drain_seconds,
        limits: Limits {
            connections_max: server.max_connections,
            input_bytes_max: server.query_bytes_max,
            output_bytes_max: server.output_bytes_max,
            connections_bytes_max: usize::try_from(server.clients_bytes_max).unwrap_or(usize::MAX),
            idle_timeout_seconds: server.idle_timeout_seconds,
            loop_stall_seconds_max: server.loop_stall_seconds,
            openings_max: server.handshakes_max,
            opening_seconds_max: server.handshake_seconds_max,
            proxies: listen::proxies(server),
            ..Limits::default()
        },
    }
}

pub(crate) fn storage_options(settings: &Settings) -> storage::Options {
    let data = &settings.storage;
    storage::Options {
        durability: match data.durability {
            config::Durability::Always => storage::Durability::Always,
            config::Durability::EverySec => storage::Durability::EverySec,
            config::Durability::Os => storage::Durability::Os,
        },
        wal_bytes_max: data.wal_bytes_max,
        value_bytes_max: data.value_bytes_max,
        journal_bytes_max: data.journal_bytes_max,
        merge_age_max: Duration::from_secs(data.merge_seconds_max),
        ..storage::Options::new(&data.data)
    }
}

pub(crate) fn backup_settings(settings: &Settings) -> BackupSettings {
    let directory = settings.backup_directory();
    BackupSettings {
        // Clients are told of it, and have another working directory.
        directory: std::path::absolute(&directory).unwrap_or(directory),
        is_own_directory: settings.kv.backup_dir.is_none(),
        interval: Duration::from_secs(settings.kv.backup_interval_seconds),
        keep: settings.kv.backup_keep,
    }
}

fn kv_settings(settings: &Settings, config: &ServerConfig, listening: Listening, container: &Container) -> KvSettings {
    let kv = &settings.kv;
    KvSettings {
        listening,
        tls: listen::tls_words(&settings.server),
        storage: storage_options(settings),
        backups: backup_settings(settings),
        readers: settings.server.readers,
        cache_bytes: kv.cache_bytes,
        lane_jobs_max: settings.server.lane_jobs_max,
        password: kv.password.as_ref().map(|password| password.reveal().as_bytes().to_vec()),
        // Processes have another working directory.
        acl_file: kv.acl_file.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        logs_in_by_certificate: kv.tls_users,
        is_protected: kv.protected_mode,
        debug_commands: kv.debug_commands,
        slowlog_us: kv.slowlog_microseconds,
        slowlog_entries_max: kv.slowlog_entries_max,
        notifications: kv
            .notify_keyspace_events
            .as_ref()
            .and_then(|letters| Notifications::parse(letters.as_bytes()))
            .unwrap_or_default(),
        workers: config.workers,
        memory_bytes: container.memory_bytes,
        query_bytes_max: config.limits.input_bytes_max,
        queued_bytes_max: queued_bytes_max(config.limits.input_bytes_max, settings.storage.value_bytes_max),
        output_bytes_max: config.limits.output_bytes_max,
        subscriber_output_bytes_max: kv.subscriber_output_bytes_max,
        scripts: ScriptSettings {
            time_max: Duration::from_secs(kv.script_seconds_max),
            memory_max: kv.script_memory_max,
        },
        keep_alive_seconds: config.limits.keep_alive_seconds,
        drain_seconds: config.drain_seconds,
    }
}

fn facts(settings: &Settings, kv: &KvSettings) -> Facts {
    Facts {
        listen: kv.listening.words().join(", "),
        durability: match settings.storage.durability {
            config::Durability::Always => "always",
            config::Durability::EverySec => "everysec",
            config::Durability::Os => "os",
        },
        workers: kv.workers,
        wal_bytes_max: kv.storage.wal_bytes_max,
        journal_bytes_max: kv.storage.journal_bytes_max,
        merge_seconds_max: kv.storage.merge_age_max.as_secs(),
        cache_bytes_max: kv.cache_bytes as u64,
        memory_bytes: kv.memory_bytes,
        lanes: &LANES,
        backup_interval_seconds: kv.backups.interval.as_secs(),
        hosts: Hosts::parse(settings.admin.admin_hosts.as_deref().unwrap_or_default()),
        token: settings.admin.admin_token.as_ref().map(Secret::reveal).map(str::to_owned),
    }
}

/// One service per directory. The last process of the one before may need a moment to be gone.
pub(crate) fn lock(directory: &Path) -> Result<FileLock, Box<dyn Error>> {
    process::share_files(file_system::is_for_group(directory));
    std::fs::create_dir_all(directory)
        .map_err(|error| format!("EMPTYSERVER_DATA: can't make the directory {}: {error}", directory.display()))?;
    let path = directory.join(LOCK_FILE);
    let is_new = !path.exists();
    let taken = listen::wait_for(|| {
        FileLock::try_take(&path)
            .map_err(|error| {
                StartError::new(format!("EMPTYSERVER_DATA: can't lock {}: {error}{}", path.display(), way_out(&error)))
            })
            .map(|lock| lock.ok_or(()))
    })?;
    if is_new && let Ok(file) = std::fs::File::open(&path) {
        // Only of use where root has made it for a user who runs the service later; the mask has seen to the rest.
        drop(file_system::keep_private(&file, directory));
    }
    taken.map_err(|()| {
        let holder = FileLock::holder(&path).map_or("another process".to_owned(), |pid| format!("process {pid}"));
        format!(
            "EMPTYSERVER_DATA: {} is in use by {holder}; end that service, or give this one its own directory",
            directory.display()
        )
        .into()
    })
}

/// An earlier program left its files readable for everybody.
fn tighten(directory: &Path) {
    let is_ours = |name: &str| name == LOCK_FILE || name.starts_with(DATA_FILE);
    for (file, error) in file_system::tighten(directory, &is_ours) {
        tracing::warn!(file = %file.display(), %error, "others may read this file, and that can't be changed");
    }
}

fn way_out(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            let (user, group) = process::user_and_group();
            format!("; user {user} of group {group} has to be allowed to write to the directory and the files in it")
        }
        ErrorKind::ReadOnlyFilesystem => "; in a container it has to be a volume".to_owned(),
        _ => String::new(),
    }
}
