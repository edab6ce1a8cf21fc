//! The subcommand `export`: an RDB file from a running service, from data that no service has, or from a backup.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use emptyserver::client::Target;
use emptyserver::client::progress::Progress;
use emptyserver::config::Settings;
use emptyserver::storage::{self, Keyspace, Options};
use emptyserver::sys::clock;
use emptyserver::sys::lock::FileLock;
use emptyserver::transfer::{self, Copying, Fault, Replica};

use crate::backup;
use crate::import::{PATIENCE, code};
use crate::scratch::Scratch;
use crate::serve::{LOCK_FILE, storage_options};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Writes `to`: all of it, or nothing. `from`: a backup, instead of the data that the settings name.
pub(crate) fn export(settings: &Settings, service: &Target, to: &Path, from: Option<&Path>) -> Result<ExitCode> {
    if to.exists() {
        return Err(format!("{} exists; name another file, or remove it first", to.display()).into());
    }
    let scratch = scratch(to)?;
    let options = storage_options(settings);
    let data = options.data_path();
    let beside = Options { directory: scratch.path().to_owned(), ..options.clone() };
    let taken = match from {
        Some(from) => {
            storage::backup::copy(from, &beside.data_path(), &mut |_| {})
                .map_err(|error| format!("{}: {error}", from.display()))?;
            None
        }
        None if !data.exists() => {
            return Err(format!("{} does not exist: there is nothing to export", data.display()).into());
        }
        None => match FileLock::try_take(&settings.storage.data.join(LOCK_FILE))? {
            Some(lock) => Some(lock),
            None => {
                let made = backup::ask_service(service, true)?;
                backup::fetch(&made, &beside.data_path())?;
                None
            }
        },
    };
    let options = if taken.is_some() { options } else { beside };
    storage::restore::complete(&options.data_path())?;
    storage::prepare(&options)?;
    // What its service had not brought to the tables when it ended is brought there now.
    drop(Keyspace::open_writer(&options, Box::new(|_| {}))?);
    let report = write_file(&options, &scratch.path().join("export.rdb"), to)?;
    write!(io::stdout(), "{}", report.text())?;
    writeln!(io::stdout(), "{}: {} bytes", to.display(), fs::metadata(to)?.len())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes what a service has, wherever it runs: as of one moment where it can be had so, else key by key.
pub(crate) fn from_service(settings: &Settings, local: &Target, service: &Target, to: &Path) -> Result<ExitCode> {
    let is_here = Target { is_resp3: local.is_resp3, ..service.clone() } == *local;
    if is_here && storage_options(settings).data_path().exists() {
        return export(settings, local, to, None);
    }
    if to.exists() {
        return Err(format!("{} exists; name another file, or remove it first", to.display()).into());
    }
    let scratch = scratch(to)?;
    let part = scratch.path().join("export.rdb");
    let mut progress = Progress::of_bytes(Some(0));
    let replica = Replica::begin(service, scratch.path(), |bytes, total| {
        progress.grow(total.unwrap_or(bytes));
        progress.at(bytes, String::new);
        Ok(())
    });
    drop(progress);
    let code = match replica {
        Ok(replica) => {
            put_in_place(&replica.file, to)?;
            ExitCode::SUCCESS
        }
        Err(Fault::NoReplicas(_)) => {
            writeln!(io::stderr(), "emptyserver: {service} takes no replicas: each key is as it was when it was read")?;
            let mut file = storage::backup::create(&part)?;
            let mut progress = Progress::of_keys(transfer::keys_of(service, PATIENCE)?);
            let mut watch = |keys| {
                progress.at(keys, String::new);
                Ok(())
            };
            let mut copying = Copying::new(&mut file, clock::wall_ms(), &mut watch);
            transfer::walk(service, PATIENCE, settings.storage.value_bytes_max, &mut copying)?;
            let report = copying.finish()?;
            drop(progress);
            file.sync_all()?;
            put_in_place(&part, to)?;
            write!(io::stdout(), "{}", report.text())?;
            code(&report)
        }
        Err(fault) => return Err(fault.into()),
    };
    writeln!(io::stdout(), "{}: {} bytes", to.display(), fs::metadata(to)?.len())?;
    Ok(code)
}

fn put_in_place(part: &Path, to: &Path) -> Result<()> {
    fs::rename(part, to)?;
    Ok(File::open(storage::backup::parent(to))?.sync_all()?)
}

fn write_file(options: &Options, part: &Path, to: &Path) -> Result<transfer::Report> {
    let mut keyspace = Keyspace::open_reader(options)?;
    let now_ms = clock::wall_ms();
    keyspace.begin_read(now_ms)?;
    keyspace.hold_snapshot(true);
    let mut file = storage::backup::create(part)?;
    let mut progress = Progress::of_keys(keys(&mut keyspace)?);
    let report = transfer::export(&mut keyspace, now_ms, &mut file, |keys| {
        progress.at(keys, String::new);
        Ok(())
    })?;
    drop(progress);
    keyspace.end_read()?;
    file.sync_all()?;
    put_in_place(part, to)?;
    Ok(report)
}

fn keys(keyspace: &mut Keyspace) -> Result<u64> {
    let mut keys = 0;
    for database in 0..storage::DATABASES as u8 {
        keyspace.select(database);
        keys += keyspace.key_count()?;
    }
    Ok(keys)
}

/// Beside the file that is written.
fn scratch(to: &Path) -> Result<Scratch> {
    let name = to.file_name().ok_or_else(|| format!("{} is no file's name", to.display()))?;
    Scratch::new(storage::backup::parent(to).join(format!("{}.part", name.to_string_lossy())))
}
