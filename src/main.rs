//! The program: read the settings, do what the subcommand says, end with a code that scripts can use.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use emptyserver::client::bench::{self, BenchArguments};
use emptyserver::client::cli::{self, CliArguments};
use emptyserver::client::{Surroundings, Target, Tls, health};
use emptyserver::config::{self, Layer, Person, Secret, Settings, SettingsError, Values};
use emptyserver::logging;
use emptyserver::sys::container::Container;
use emptyserver::sys::stderr;
use import::{CutOver, Import, Source};

mod backup;
mod export;
mod import;
mod listen;
mod passing_service;
mod scratch;
mod serve;

/// Something went wrong that is not the fault of who started the program.
const FAILURE: u8 = 1;
/// The command line or a setting cannot be understood. clap's code for the command line is the same.
const USAGE: u8 = 2;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")");

/// A durable key-value service that any Redis client can talk to.
///
/// Without a command it serves. It is configured by environment variables: `emptyserver config` lists them.
#[derive(Parser)]
#[command(name = "emptyserver", version = VERSION)]
struct Program {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service (what happens without a command)
    Serve,
    /// Print the settings: their names, present values, where these come from, and what they mean
    Config {
        /// For programs
        #[arg(long, group = "form")]
        json: bool,
        /// For docs/configuration.md: without present values
        #[arg(long, group = "form")]
        markdown: bool,
        /// For docs/configuration.md: the same, each at length
        #[arg(long, group = "form")]
        reference: bool,
    },
    /// Open the data, verify it and print what was found
    Check,
    /// Copy the data to an ordinary SQLite file, whether the service runs or not
    Backup {
        /// A new file; without one the backup goes to EMPTYSERVER_BACKUP_DIR
        file: Option<PathBuf>,
        /// List the backups in EMPTYSERVER_BACKUP_DIR instead
        #[arg(long, conflicts_with = "file")]
        list: bool,
    },
    /// Put a backup in the place of the data of a service that does not run
    Restore {
        file: PathBuf,
        /// Move the data that is there aside
        #[arg(long)]
        replace: bool,
    },
    /// Bring data of a Redis or Valkey here, into the running service or, where none runs, into a new data file
    Import(ImportArguments),
    /// Write all data as an RDB file, which redis-server 7.0 and later load
    Export {
        /// A new file
        file: PathBuf,
        /// A backup, instead of the data of the service
        #[arg(long, value_name = "BACKUP")]
        from: Option<PathBuf>,
    },
    /// The service of an import
    #[command(hide = true)]
    ServeImport,
    /// Ask the running service whether it answers; exit code 0 or 1
    Health,
    /// Send commands to a service: a prompt, one command, or many
    Cli(Box<CliArguments>),
    /// Put load on a service and measure how it bears it
    Bench(Box<BenchArguments>),
    /// Print the completions for a shell
    Completions { shell: Shell },
    /// Print the man page, of the program or of one of its commands
    Man {
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
    },
}

/// Exit codes: 0 all came over, 1 something did not (the report says what), 2 the command line cannot be understood.
#[derive(Args)]
struct ImportArguments {
    /// An RDB file, an append-only file, its manifest, or the directory that has them
    #[arg(required_unless_present = "from")]
    path: Option<PathBuf>,
    /// A running server instead: redis://[[user]:password@]host[:port][/database], key by key with SCAN and DUMP
    #[arg(long, value_name = "URL", conflicts_with = "path")]
    from: Option<String>,
    /// Be a replica of that server: all its data, then each change until Ctrl-C (SIGINT) cuts over
    #[arg(long, requires = "from")]
    follow: bool,
    /// Cut over as soon as all has come and nothing has changed for 3 s
    #[arg(long, requires = "follow")]
    cut_over_when_idle: bool,
    /// Into this service, instead of the one that the settings configure
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Overwrite keys that are there; without it they stay, and are reported
    #[arg(long)]
    replace: bool,
    /// Read all of it and report, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl ImportArguments {
    fn understood(self) -> Result<Import, String> {
        let target = |url: &str| Target::from_url(url).map_err(|error| error.to_string());
        let cut_over = if self.cut_over_when_idle { CutOver::WhenIdle } else { CutOver::OnInterrupt };
        let source = match (self.path, &self.from) {
            (_, Some(url)) if self.follow => Source::Followed(target(url)?, cut_over),
            (_, Some(url)) => Source::Server(target(url)?),
            (path, None) => Source::Path(path.unwrap_or_default()),
        };
        let to = self.to.as_deref().map(target).transpose()?;
        Ok(Import { source, to, replaces: self.replace, is_dry: self.dry_run })
    }
}

fn main() -> ExitCode {
    let command = Program::parse().command.unwrap_or(Command::Serve);
    let container = Container::detect();
    let (values, settings) = match read_settings(&container) {
        Ok(both) => both,
        Err(error) => return fail(&error, USAGE),
    };
    if let Command::Cli(_) | Command::Bench(_) = command {
        for (variable, _, what) in values.strange_secrets().filter(|(_, layer, _)| *layer == Layer::Client) {
            complain(&format!("{variable} {what}, which counts as a part of it"));
        }
    }
    match command {
        Command::ServeImport => match passing_service::end_with_parent() {
            Ok(()) => serve(&values, &settings, &container),
            Err(error) => fail(&error, FAILURE),
        },
        Command::Serve => serve(&values, &settings, &container),
        Command::Config { json: true, .. } => write_out(&config::json(&values)),
        Command::Config { markdown: true, .. } => write_out(&config::markdown()),
        Command::Config { reference: true, .. } => write_out(&config::reference()),
        Command::Config { .. } => write_out(&config::text(&values)),
        Command::Check => serve::check(&settings).unwrap_or_else(|error| fail(&*error, FAILURE)),
        Command::Backup { list: true, .. } => backup::list(&settings).unwrap_or_else(|error| fail(&*error, FAILURE)),
        Command::Backup { file, .. } => backup::backup(&settings, &local_service(&settings), file.as_deref())
            .unwrap_or_else(|error| fail(&*error, FAILURE)),
        Command::Restore { file, replace } => {
            backup::restore(&settings, &file, replace).unwrap_or_else(|error| fail(&*error, FAILURE))
        }
        Command::Import(arguments) => match arguments.understood() {
            Ok(asked) => import::import(&settings, &local_service(&settings), &asked)
                .unwrap_or_else(|error| fail(&*error, FAILURE)),
            Err(error) => fail(&error, USAGE),
        },
        Command::Export { file, from } => export::export(&settings, &local_service(&settings), &file, from.as_deref())
            .unwrap_or_else(|error| fail(&*error, FAILURE)),
        Command::Health => match health::probe(&local_service(&settings)) {
            Ok(line) => write_out(&(line + "\n")),
            Err(line) => fail(&line, FAILURE),
        },
        Command::Completions { shell } => completions(shell),
        Command::Man { of } => man_page(of.as_deref()),
        Command::Bench(arguments) => ExitCode::from(bench::run(&arguments, &surroundings(&settings)) as u8),
        Command::Cli(arguments) => match arguments.rdb() {
            Some(file) => match arguments.target(&surroundings(&settings)) {
                Ok(target) => export::from_service(&settings, &local_service(&settings), &target, file)
                    .unwrap_or_else(|error| fail(&*error, FAILURE)),
                Err(error) => fail(&error, USAGE),
            },
            None => ExitCode::from(cli::run(&arguments, &surroundings(&settings)) as u8),
        },
    }
}

fn serve(values: &Values, settings: &Settings, container: &Container) -> ExitCode {
    if let Err(error) = logging::start(&settings.log) {
        return fail(&error, USAGE);
    }
    for (variable, setting) in values.foreign() {
        tracing::info!(variable, setting, "a setting has come by a name of another program");
    }
    for (variable, _, what) in values.strange_secrets().filter(|(_, layer, _)| *layer != Layer::Client) {
        tracing::warn!(variable, what, "a secret has something that is easily there by mistake; it counts");
    }
    serve::serve(settings, container).unwrap_or_else(|error| fail(&*error, FAILURE))
}

fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Program::command(), "emptyserver", &mut script);
    write_out(&String::from_utf8_lossy(&script))
}

fn man_page(of: Option<&str>) -> ExitCode {
    let mut program = Program::command();
    program.build();
    let command = match of {
        None => Some(&program),
        Some(name) => program.find_subcommand(name),
    };
    let Some(command) = command.cloned() else {
        return fail("there is no such command; emptyserver --help lists them", USAGE);
    };
    let mut page = Vec::new();
    match clap_mangen::Man::new(command).source(concat!("emptyserver ", env!("CARGO_PKG_VERSION"))).render(&mut page) {
        Ok(()) => write_out(&String::from_utf8_lossy(&page)),
        Err(error) => fail(&error, FAILURE),
    }
}

fn read_settings(container: &Container) -> Result<(Values, Settings), SettingsError> {
    let values = Values::from_environment(container)?;
    let settings = Settings::from_values(&values)?;
    Ok((values, settings))
}

/// The service that these settings configure, as its clients see it.
fn local_service(settings: &Settings) -> Target {
    let password = settings.kv.password.as_ref().map(|password| password.reveal().to_owned());
    let server = &settings.server;
    let local = Target::listening(server.plain_addresses());
    let socket = || Some(Target { socket: Some(server.unix_socket.clone()?), ..Target::default() });
    // Its own certificate on its own machine: its name is another one mostly.
    let tls = || {
        let tls = Some(Tls { is_unverified: true, ..Tls::default() });
        Some(Target { tls, ..Target::listening(server.tls_addresses())? })
    };
    Target { password, ..local.or_else(socket).or_else(tls).unwrap_or_default() }
}

fn surroundings(settings: &Settings) -> Surroundings {
    let text = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
    let client = &settings.client;
    let person = Person::from_environment();
    Surroundings {
        url: text(&client.url),
        password: text(&client.password),
        local: local_service(settings),
        history: person.path(&client.history),
        pager: person.pager,
        is_colourless: person.is_colourless,
    }
}

/// A reader that has seen enough (`| head`) is no failure.
fn write_out(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error, FAILURE),
        _ => ExitCode::SUCCESS,
    }
}

fn fail(error: &(impl std::fmt::Display + ?Sized), code: u8) -> ExitCode {
    stderr::wait_with_last_lines();
    error.to_string().lines().for_each(complain);
    ExitCode::from(code)
}

fn complain(line: &str) {
    stderr::write_line(format!("emptyserver: {line}\n").as_bytes());
}
