//! The subcommand `import`: where the data comes from and where it goes, what is looked at first, and what is put in place at the end.

use std::error::Error;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use emptyserver::client::interrupt::Interrupts;
use emptyserver::client::progress::Progress;
use emptyserver::client::{Connection, Patience, Target};
use emptyserver::config::Settings;
use emptyserver::kv::scripts::Limits;
use emptyserver::kv::sources::Sources;
use emptyserver::storage::{
    self, DATA_FILE,
    filling::{Filling, bring_expiries_forward},
};
use emptyserver::sys::clock;
use emptyserver::sys::lock::FileLock;
use emptyserver::transfer::aof::{self, Aof, Checked, Found};
use emptyserver::transfer::{
    self, Ended, Fault, POSTPONED_MS, RdbFile, Recalling, Replica, Report, Service, Survey, Tables, Watcher,
};

use crate::passing_service::PassingService;
use crate::scratch::Scratch;
use crate::serve::{LOCK_FILE, lock, storage_options};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the command line asks for.
pub(crate) struct Import {
    pub(crate) source: Source,
    /// A service instead of the one that the settings configure.
    pub(crate) to: Option<Target>,
    pub(crate) replaces: bool,
    pub(crate) is_dry: bool,
}

pub(crate) enum Source {
    Path(PathBuf),
    Server(Target),
    /// Its changes are followed.
    Followed(Target, CutOver),
}

/// When following a server ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutOver {
    OnInterrupt,
    WhenIdle,
}

/// Where it goes.
enum Place {
    Service(Target),
    /// Data that nobody has yet, in this directory until it is complete.
    New(New),
}

/// Where new data is made, beside its place.
struct New {
    scratch: Scratch,
    data: PathBuf,
    _lock: FileLock,
}

/// For data that is not complete, and for what comes from a server.
const PART: &str = "import.part";
const SPOOL: &str = "import.spool";
pub(crate) const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(5), read: Some(Duration::from_secs(120)) };
/// A server that is followed is idle when nothing has changed for so long.
const IDLE: Duration = Duration::from_secs(3);
const LOOK_FOR_INTERRUPTS_EVERY: Duration = Duration::from_millis(50);

/// A file or directory that was read once, to its end.
enum Looked {
    Rdb(PathBuf),
    Aof(Aof, Checked),
}

/// An import, and who it is for.
struct Importing<'a> {
    settings: &'a Settings,
    local: &'a Target,
    asked: &'a Import,
    interrupts: Interrupts,
}

pub(crate) fn import(settings: &Settings, local: &Target, asked: &Import) -> Result<ExitCode> {
    let began = clock::monotonic();
    let importing = Importing { settings, local, asked, interrupts: Interrupts::new()? };
    let mut out = io::stdout();
    let report = match &asked.source {
        Source::Path(path) => {
            let (looked, expected) = importing.look(path)?;
            if asked.is_dry {
                write!(out, "{}", expected.text())?;
                if let Looked::Aof(_, checked) = &looked {
                    writeln!(out, "{:>12} commands behind them{}", checked.commands, cut(checked))?;
                }
                writeln!(out, "{}: sound; nothing was imported (--dry-run)", path.display())?;
                return Ok(code(&expected));
            }
            match &looked {
                Looked::Rdb(file) => importing.bring_file(file)?,
                Looked::Aof(aof, checked) => importing.bring_log(aof, checked)?,
            }
        }
        Source::Server(source) if asked.is_dry => {
            let mut progress = Progress::of_keys(transfer::keys_of(source, PATIENCE)?);
            let mut watch = importing.watch(&mut progress, "");
            let mut survey = Survey::new(clock::wall_ms(), &mut watch);
            transfer::walk(source, PATIENCE, importing.bytes_max(), &mut survey)?;
            let report = survey.into_report();
            drop(watch);
            drop(progress);
            write!(out, "{}", report.text())?;
            writeln!(out, "{source}: nothing was imported (--dry-run)")?;
            return Ok(code(&report));
        }
        Source::Server(source) => importing.bring_server(source)?,
        Source::Followed(..) if asked.is_dry => return Err("--follow has no --dry-run".into()),
        Source::Followed(source, cut_over) => importing.follow(source, *cut_over)?,
    };
    write!(out, "{}", report.text())?;
    writeln!(out, "imported in {:.1} s", (clock::monotonic() - began).as_secs_f64())?;
    Ok(code(&report))
}

impl Importing<'_> {
    /// The first reading: is it whole, and what is in it.
    fn look(&self, path: &Path) -> Result<(Looked, Report)> {
        let found = aof::find(path).map_err(|fault| fault.of(path))?;
        let bytes = match &found {
            Found::Rdb(file) => fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?.len(),
            Found::Aof(aof) => aof.bytes()?,
        };
        let mut progress = Progress::of_bytes(Some(bytes));
        let mut watch = self.watch(&mut progress, "looking");
        let mut survey = Survey::new(clock::wall_ms(), &mut watch);
        let aof = match found {
            Found::Rdb(file) => {
                let has_log = self.look_at_rdb(&file, &mut survey).map_err(|fault| fault.of(&file))?;
                if !has_log {
                    return Ok((Looked::Rdb(file), survey.into_report()));
                }
                survey = survey.again();
                Aof { files: vec![file] }
            }
            Found::Aof(aof) => aof,
        };
        let checked = aof.check(self.bytes_max(), &mut survey)?;
        Ok((Looked::Aof(aof, checked), survey.into_report()))
    }

    /// True: commands follow.
    fn look_at_rdb(&self, file: &Path, survey: &mut Survey<'_>) -> transfer::Result<bool> {
        let mut rdb = RdbFile::open(File::open(file)?, self.bytes_max())?;
        rdb.read(survey)?;
        let mut bytes = rdb.into_bytes();
        match bytes.peek()? {
            None => Ok(false),
            Some(b'*' | b'#') => Ok(true),
            Some(_) => {
                Err(Fault::Input(format!("has something else behind its end, from byte {} on", bytes.position())))
            }
        }
    }

    /// The second reading of an RDB file.
    fn bring_file(&self, file: &Path) -> Result<Report> {
        match self.place()? {
            Place::New(new) => {
                let report = self.fill(new.scratch.path(), file, false)?;
                new.put_in_place()?;
                Ok(report)
            }
            Place::Service(target) => {
                let mut progress = Progress::of_bytes(Some(fs::metadata(file)?.len()));
                let mut watch = self.watch(&mut progress, "");
                let mut service = service(&target, self.asked.replaces, &mut watch)?;
                self.read_rdb(file, &mut service)?;
                Ok(service.finish()?)
            }
        }
    }

    /// The second reading of a log: into a file of its own in any case, since its commands are about keys as they were then.
    fn bring_log(&self, aof: &Aof, checked: &Checked) -> Result<Report> {
        let base = aof.base()?.map(Path::to_owned);
        let mut read = |service: &mut Service<'_>| -> Result<()> { Ok(aof.read(self.bytes_max(), checked, service)?) };
        let bytes = Some(aof.bytes()?);
        let report = match self.place()? {
            Place::New(new) => {
                let (report, passing) = self.build(new.scratch.path(), base.as_deref(), bytes, &mut read)?;
                passing.stop()?;
                bring_expiries_forward(new.scratch.path(), POSTPONED_MS)?;
                new.put_in_place()?;
                report
            }
            Place::Service(target) => {
                let scratch = scratch(self.settings, PART)?;
                let (report, passing) = self.build(scratch.path(), base.as_deref(), bytes, &mut read)?;
                let mut progress = Progress::of_keys(transfer::keys_of(passing.target(), PATIENCE)?);
                let mut watch = self.watch(&mut progress, "written");
                let mut service = service(&target, self.asked.replaces, &mut watch)?;
                transfer::walk(passing.target(), PATIENCE, self.bytes_max(), &mut Recalling::new(&mut service))?;
                let mut moved = service.finish()?;
                moved.add(report.without_moved());
                moved
            }
        };
        writeln!(io::stdout(), "{:>12} commands{}", checked.commands, cut(checked))?;
        Ok(report)
    }

    /// A server, key by key.
    fn bring_server(&self, source: &Target) -> Result<Report> {
        let place = self.place()?;
        let mut progress = Progress::of_keys(transfer::keys_of(source, PATIENCE)?);
        let mut watch = self.watch(&mut progress, "");
        let bring = |service: &mut Service<'_>| transfer::walk(source, PATIENCE, self.bytes_max(), service);
        match place {
            Place::Service(target) => {
                let mut service = service(&target, self.asked.replaces, &mut watch)?;
                bring(&mut service)?;
                Ok(service.finish()?)
            }
            Place::New(new) => {
                let passing = PassingService::start(self.settings, new.scratch.path())?;
                // A walk may meet a key twice.
                let mut service = service(passing.target(), true, &mut watch)?;
                bring(&mut service)?;
                let report = service.finish()?;
                passing.stop()?;
                new.put_in_place()?;
                Ok(report)
            }
        }
    }

    /// Takes the data of a server, and then its changes until it is told to cut over.
    fn follow(&self, source: &Target, cut_over: CutOver) -> Result<Report> {
        let place = self.place()?;
        if let Place::Service(target) = &place
            && !self.asked.replaces
            && transfer::keys_of(target, PATIENCE)? > 0
        {
            return Err(
                "there are keys already: --replace says that this is wanted, or begin with an empty service".into()
            );
        }
        let spool = scratch(self.settings, SPOOL)?;
        let mut replica = self.fetch(source, spool.path())?;
        let mut ended = Ended::CutOver;
        let mut take_changes = |service: &mut Service<'_>, changes: &mut transfer::Changes| {
            let progress = Progress::of_bytes(None);
            let mut following = Following { interrupts: &self.interrupts, is_in_step: false, progress };
            let when_idle = (cut_over == CutOver::WhenIdle).then_some(IDLE);
            ended = service.follow(source, changes, when_idle, &mut following)?;
            Ok::<_, Box<dyn Error>>(())
        };
        let Replica { file, changes } = &mut replica;
        let report = match place {
            Place::Service(target) => {
                let mut progress = Progress::of_bytes(Some(fs::metadata(&*file)?.len()));
                let mut watch = self.watch(&mut progress, "");
                let mut service = service(&target, self.asked.replaces, &mut watch)?;
                self.read_rdb(file, &mut service)?;
                service.flush()?;
                fs::remove_file(&*file)?;
                take_changes(&mut service, changes)?;
                service.finish()?
            }
            Place::New(new) => {
                let directory = new.scratch.path();
                let (report, passing) = self.build(directory, Some(file.as_path()), None, &mut |service| {
                    fs::remove_file(&*file)?;
                    take_changes(service, changes)
                })?;
                passing.stop()?;
                bring_expiries_forward(directory, POSTPONED_MS)?;
                new.put_in_place()?;
                report
            }
        };
        match ended {
            Ended::CutOver => Ok(report),
            Ended::Gone(why) => {
                write!(io::stdout(), "{}", report.text())?;
                Err(format!("{source} has gone ({why}); all that it sent is here, and what it did not send is lost")
                    .into())
            }
        }
    }

    /// All data of a server, read once to its end; and its changes from there on, which wait in the directory.
    fn fetch(&self, source: &Target, directory: &Path) -> Result<Replica> {
        let mut progress = Progress::of_bytes(Some(0));
        let replica = Replica::begin(source, directory, |bytes, total| {
            progress.grow(total.unwrap_or(bytes));
            progress.at(bytes, || format!("from {source}"));
            if self.interrupts.take() { Err(Fault::Interrupted) } else { Ok(()) }
        })?;
        drop(progress);
        let mut progress = Progress::of_bytes(Some(fs::metadata(&replica.file)?.len()));
        let mut watch = self.watch(&mut progress, "looking");
        let mut survey = Survey::new(clock::wall_ms(), &mut watch);
        self.look_at_rdb(&replica.file, &mut survey).map_err(|fault| fault.of(&replica.file))?;
        Ok(replica)
    }

    /// New data of an RDB file and of commands, which `bring` brings; ends are put off. Its service runs.
    fn build(
        &self,
        directory: &Path,
        base: Option<&Path>,
        bytes: Option<u64>,
        bring: &mut dyn FnMut(&mut Service<'_>) -> Result<()>,
    ) -> Result<(Report, PassingService)> {
        let mut report = base.map_or_else(|| Ok(Report::default()), |base| self.fill(directory, base, true))?;
        let passing = PassingService::start(self.settings, directory)?;
        let mut progress = bytes.map_or_else(Progress::hidden, |bytes| Progress::of_bytes(Some(bytes)));
        let mut watch = self.watch(&mut progress, "");
        let mut service = service(passing.target(), true, &mut watch)?.postponing();
        bring(&mut service)?;
        report.add(service.finish()?);
        Ok((report, passing))
    }

    /// A new data file of what an RDB file has.
    fn fill(&self, directory: &Path, file: &Path, postpones: bool) -> Result<Report> {
        let now_ms = clock::wall_ms();
        // What has ended is kept where ends are put off.
        let filling = Filling::begin(directory, self.bytes_max(), if postpones { 0 } else { now_ms })?;
        let sources = Sources::new(Limits { memory_max: self.settings.kv.script_memory_max, ..Limits::default() });
        let mut progress = Progress::of_bytes(Some(fs::metadata(file)?.len()));
        let mut watch = self.watch(&mut progress, "");
        let mut tables = Tables::new(filling, sources, now_ms, &mut watch);
        if postpones {
            tables = tables.postponing(now_ms);
        }
        self.read_rdb(file, &mut tables)?;
        let mut written = Progress::of_keys(0);
        let mut looked = clock::monotonic();
        let (report, _) = tables.finish(&mut |keys| {
            written.grow(keys);
            self.look_up(&mut written, &mut looked, keys, "written")
        })?;
        Ok(report)
    }

    fn read_rdb(&self, file: &Path, visitor: &mut impl transfer::Visitor) -> Result<()> {
        let mut rdb = RdbFile::open(File::open(file)?, self.bytes_max()).map_err(|fault| fault.of(file))?;
        Ok(rdb.read(visitor).map_err(|fault| fault.of(file))?)
    }

    fn place(&self) -> Result<Place> {
        if let Some(to) = &self.asked.to {
            return Ok(Place::Service(to.clone()));
        }
        let directory = &self.settings.storage.data;
        let is_served = directory.exists() && FileLock::try_take(&directory.join(LOCK_FILE))?.is_none();
        if is_served {
            return Ok(Place::Service(self.local.clone()));
        }
        let lock = lock(directory)?;
        let data = storage_options(self.settings).data_path();
        storage::restore::complete(&data)?;
        if data.exists() {
            return Err(format!(
                "{} exists, and no service runs with it: start the service and import into it, or name another \
                 EMPTYSERVER_DATA",
                data.display()
            )
            .into());
        }
        Ok(Place::New(New { scratch: scratch(self.settings, PART)?, data, _lock: lock }))
    }

    fn bytes_max(&self) -> u64 {
        self.settings.storage.value_bytes_max
    }

    /// Shows how far it is, and ends it at Ctrl-C.
    fn watch<'w>(&'w self, progress: &'w mut Progress, what: &'w str) -> impl FnMut(u64) -> transfer::Result<()> {
        let mut looked = clock::monotonic();
        move |at| self.look_up(progress, &mut looked, at, what)
    }

    fn look_up(&self, progress: &mut Progress, looked: &mut Instant, at: u64, what: &str) -> transfer::Result<()> {
        progress.at(at, || what.to_owned());
        let now = clock::monotonic();
        if now - *looked < LOOK_FOR_INTERRUPTS_EVERY {
            return Ok(());
        }
        *looked = now;
        if self.interrupts.take() { Err(Fault::Interrupted) } else { Ok(()) }
    }
}

/// What a person is told while a server is followed.
struct Following<'i> {
    interrupts: &'i Interrupts,
    is_in_step: bool,
    progress: Progress,
}

impl Watcher for Following<'_> {
    fn lag(&mut self, bytes: u64, changes: u64, is_in_step: bool) -> bool {
        if is_in_step && !self.is_in_step {
            self.is_in_step = true;
            // Nobody to tell is no reason to end.
            drop(writeln!(io::stdout(), "in step: stop what writes to the source, then cut over with Ctrl-C (SIGINT)"));
        }
        self.progress.at(bytes, || format!("behind; {changes} changes have come"));
        self.interrupts.take()
    }
}

fn service<'w>(target: &Target, replaces: bool, watch: transfer::Watch<'w>) -> Result<Service<'w>> {
    let connection = Connection::connect(target, PATIENCE)?;
    Ok(Service::new(connection, replaces, clock::wall_ms(), RandomState::new().build_hasher().finish(), watch))
}

/// Beside the data, since it becomes the data by a rename.
fn scratch(settings: &Settings, name: &str) -> Result<Scratch> {
    fs::create_dir_all(&settings.storage.data)?;
    Scratch::new(settings.storage.data.join(name))
}

impl New {
    /// From here on it is the data.
    fn put_in_place(self) -> Result<()> {
        let made = self.scratch.path().join(DATA_FILE);
        let wal = self.scratch.path().join(format!("{DATA_FILE}-wal"));
        if fs::metadata(&wal).is_ok_and(|facts| facts.len() > 0) {
            return Err(format!("{} is not empty: the import is not complete", wal.display()).into());
        }
        File::open(&made)?.sync_all()?;
        fs::rename(&made, &self.data)?;
        File::open(storage::backup::parent(&self.data))?.sync_all()?;
        writeln!(io::stdout(), "{} is in place", self.data.display())?;
        Ok(())
    }
}

fn cut(checked: &Checked) -> String {
    match checked.bytes_cut {
        0 => String::new(),
        bytes => format!("; the last {bytes} bytes are no complete command, as after a crash, and are left out"),
    }
}

/// A script must know when something is missing.
pub(crate) fn code(report: &Report) -> ExitCode {
    if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
