//! The subcommands `backup` and `restore`, and the restore of a first start. Beside a running service a backup is the
//! service's work: this asks for it, watches it, and fetches the file.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use emptyserver::client::progress::Progress;
use emptyserver::client::{Connection, Patience, Target};
use emptyserver::config::Settings;
use emptyserver::kv::lanes::backup_files::{found_in, newest_in, number_beside, number_max};
use emptyserver::kv::shared::backups::BackupName;
use emptyserver::resp::Reply;
use emptyserver::storage::{self, PAGE_BYTES, StorageError};
use emptyserver::sys::clock;
use emptyserver::sys::lock::FileLock;

use crate::serve::{LOCK_FILE, backup_settings, lock, storage_options};

type Outcome = Result<ExitCode, Box<dyn Error>>;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For the service's answers; the backup itself may take as long as it needs.
const PATIENCE: Patience = Patience { connect: Duration::from_secs(5), read: Some(Duration::from_secs(30)) };

/// Makes a backup, as the file `to` or among the service's own.
pub(crate) fn backup(settings: &Settings, service: &Target, to: Option<&Path>) -> Outcome {
    let directory = &settings.storage.data;
    if !settings_data(settings).exists() {
        return Err(format!("{} does not exist: there is nothing to back up", settings_data(settings).display()).into());
    }
    if let Some(to) = to
        && to.exists()
    {
        return Err(format!("{} exists; name another file, or remove it first", to.display()).into());
    }
    let file = match FileLock::try_take(&directory.join(LOCK_FILE))? {
        Some(_lock) => alone(settings, to)?,
        None => {
            let made = ask_service(service, to.is_some())?;
            match to {
                Some(to) => fetch(&made, to).map(|()| to.to_owned())?,
                None => made,
            }
        }
    };
    let bytes = fs::metadata(&file)?.len();
    writeln!(io::stdout(), "{}: {bytes} bytes, checked", file.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the backups in the service's directory, the oldest first.
pub(crate) fn list(settings: &Settings) -> Outcome {
    let backups = backup_settings(settings);
    let made = found_in(&backups.directory).map_err(|error| format!("{}: {error}", backups.directory.display()))?;
    let mut out = io::stdout();
    for one in &made {
        let problem = one.origin.as_ref().err().map_or_else(String::new, |error| format!("  {error}"));
        writeln!(out, "{:>15}  {}{problem}", one.bytes, one.path.display())?;
    }
    if made.is_empty() {
        writeln!(out, "{} holds no backup", backups.directory.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts a backup in the place of the data of a service that does not run. With `replaces` what is there is moved aside.
pub(crate) fn restore(settings: &Settings, from: &Path, replaces: bool) -> Outcome {
    let _lock = lock(&settings.storage.data)?;
    let data = settings_data(settings);
    let mut out = io::stdout();
    if storage::restore::complete(&data)?.is_some() {
        writeln!(out, "a restore that was interrupted before is completed")?;
    }
    if data.exists() && !replaces {
        let text =
            format!("{} exists; with --replace it is moved aside, or name another EMPTYSERVER_DATA", data.display());
        return Err(text.into());
    }
    let aside = put_in_place(from, &data, &mut bar(from))?;
    if let Some(aside) = aside {
        writeln!(out, "the data that was there is now {}", aside.display())?;
    }
    writeln!(out, "{} is in place as {}", from.display(), data.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Before the data is opened: completes a restore that was interrupted, and where there is no data, begins with the backup
/// that the settings name.
pub(crate) fn make_ready(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let data = settings_data(settings);
    if let Some(aside) = storage::restore::complete(&data).map_err(|error| format!("EMPTYSERVER_DATA: {error}"))? {
        let aside = aside.map(|aside| aside.display().to_string());
        tracing::warn!(aside, "a restore that was interrupted is completed; the data that was there is moved aside");
    }
    let Some(from) = &settings.storage.restore_from else { return Ok(()) };
    if data.exists() {
        tracing::debug!(from = %from.display(), "there is data already: nothing is restored");
        return Ok(());
    }
    let refused = |error: &dyn std::fmt::Display| {
        format!("EMPTYSERVER_RESTORE_FROM: {error}; name a backup, or unset it to start with no data")
    };
    let from = if from.is_dir() { newest_in(from).map_err(|error| refused(&error))? } else { from.clone() };
    tracing::info!(from = %from.display(), "there is no data yet: a backup is restored");
    let mut logged = clock::monotonic();
    let mut log = |copied: storage::backup::Copied| {
        let now = clock::monotonic();
        if now.duration_since(logged) >= Duration::from_secs(5) {
            logged = now;
            tracing::info!(pages = copied.pages, of = copied.pages_total, "restoring");
        }
    };
    put_in_place(&from, &data, &mut log).map_err(|error| refused(&error))?;
    tracing::info!(from = %from.display(), "the backup is restored");
    Ok(())
}

/// Where the data that was there is now.
fn put_in_place(
    from: &Path,
    data: &Path,
    progress: &mut dyn FnMut(storage::backup::Copied),
) -> Result<Option<PathBuf>, String> {
    let at = UNIX_EPOCH + Duration::from_millis(clock::wall_ms().unsigned_abs());
    let time = humantime::format_rfc3339_millis(at).to_string().replace(':', "-");
    // A backup of the data that this becomes is newer than all that lie beside this one.
    storage::restore::replace(from, data, &time, number_beside(from), progress).map_err(|error| match error {
        StorageError::Full => {
            let bytes = fs::metadata(from).map(|facts| facts.len()).unwrap_or(0);
            format!("the disk is full: the copy of {} needs {bytes} bytes beside what is there", from.display())
        }
        other => other.to_string(),
    })
}

/// A backup of data that no service has, as the file `to` or among the service's own.
fn alone(settings: &Settings, to: Option<&Path>) -> Result<PathBuf, Box<dyn Error>> {
    let (data, backups) = (settings_data(settings), backup_settings(settings));
    let directory = &backups.directory;
    storage::restore::complete(&data)?;
    let unusable = |error: io::Error| format!("EMPTYSERVER_BACKUP_DIR: {}: {error}", directory.display());
    let found = match to {
        Some(_) => Vec::new(),
        None => {
            fs::create_dir_all(directory).map_err(unusable)?;
            found_in(directory).map_err(unusable)?
        }
    };
    let lineage = storage::backup::origin_of_data(&data)?.lineage;
    storage::backup::count_alone(&data, number_max(&found, lineage))?;
    if let Some(to) = to {
        return copy(&data, to).map(|()| to.to_owned());
    }
    let mut name = BackupName::kept(clock::wall_ms().unsigned_abs());
    while directory.join(name.to_string()).exists() {
        name.at_ms += 1;
    }
    let file = directory.join(name.to_string());
    copy(&data, &file)?;
    backups.remove_oldest(name, lineage, &|| {}).map_err(unusable)?;
    Ok(file)
}

fn copy(data: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    storage::backup::discard(&storage::backup::part_of(to));
    storage::backup::copy(data, to, &mut bar(data)).map_err(|error| format!("{}: {error}", to.display()).into())
}

/// Has the service make one, and waits for it. The file's path.
pub(crate) fn ask_service(service: &Target, once: bool) -> Result<PathBuf, Box<dyn Error>> {
    let told = |error| format!("the service at {service} runs with this data and must make the backup: {error}");
    let mut connection = Connection::connect(service, PATIENCE).map_err(|error| told(error.to_string()))?;
    let start: &[&str] = if once { &["BACKUP", "START", "ONCE"] } else { &["BACKUP", "START"] };
    let name = match connection.call(start)? {
        Reply::Bulk(name) => String::from_utf8_lossy(&name).into_owned(),
        Reply::Error(error) => return Err(told(error.into_owned()).into()),
        _ => return Err(told("it answers with something else".to_owned()).into()),
    };
    let mut progress = Progress::of_bytes(Some(0));
    loop {
        let status = Status::ask(&mut connection)?;
        if status.text("last_name") == name {
            return Ok(Path::new(&status.text("directory")).join(name));
        }
        if status.text("last_failed_name") == name {
            return Err(told(format!("{}; its log says more", status.text("last_failure"))).into());
        }
        let stalled = match status.number("stalled_seconds") {
            0 => String::new(),
            seconds => format!(", {} has not answered for {seconds} s", status.text("directory")),
        };
        let bytes = |field| status.number(field) * u64::from(PAGE_BYTES);
        progress.grow(bytes("pages_total"));
        progress.at(bytes("pages"), || status.text("state") + &stalled);
        clock::pause(LOOK_EVERY);
    }
}

/// What BACKUP STATUS answers.
struct Status(Vec<(Reply, Reply)>);

impl Status {
    fn ask(connection: &mut Connection) -> Result<Status, Box<dyn Error>> {
        match connection.call(&["BACKUP", "STATUS"])? {
            Reply::Map(pairs) => Ok(Status(pairs)),
            Reply::Array(flat) => {
                let mut flat = flat.into_iter();
                Ok(Status(std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()))
            }
            other => Err(format!("BACKUP STATUS answers {other:?}").into()),
        }
    }

    fn value(&self, field: &str) -> Option<&Reply> {
        let named = self.0.iter().find(|(name, _)| matches!(name, Reply::Bulk(name) if name == field.as_bytes()));
        named.map(|(_, value)| value)
    }

    fn text(&self, field: &str) -> String {
        match self.value(field) {
            Some(Reply::Bulk(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        }
    }

    fn number(&self, field: &str) -> u64 {
        match self.value(field) {
            Some(Reply::Integer(number)) => number.unsigned_abs(),
            _ => 0,
        }
    }
}

/// Takes the file that the service has made to its place, on whatever disk that is.
pub(crate) fn fetch(made: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    if fs::rename(made, to).is_err() {
        copy(made, to)?;
        return match fs::remove_file(made) {
            // Later ones have taken its place meanwhile.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        };
    }
    // It was made for those who may use the service's directory.
    let keep_private = |file| storage::file_system::keep_private(&file, storage::backup::parent(to));
    if let Err(error) = File::open(to).and_then(keep_private) {
        writeln!(io::stderr(), "emptyserver: {}: others may be able to read it: {error}", to.display())?;
    }
    Ok(())
}

fn bar(file: &Path) -> impl FnMut(storage::backup::Copied) + use<> {
    let total = fs::metadata(file).map(|facts| facts.len()).unwrap_or(0);
    let mut progress = Progress::of_bytes(Some(total));
    move |copied| {
        let bytes = |pages: u64| pages * u64::from(PAGE_BYTES);
        progress.grow(bytes(copied.pages_total));
        progress.at(bytes(copied.pages), String::new);
    }
}

fn settings_data(settings: &Settings) -> PathBuf {
    storage_options(settings).data_path()
}
