//! The program: read the settings, do what the subcommand says, end with a code that scripts can use.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use emptyserver::client::bench::{self, BenchArguments};
use emptyserver::client::cli::{self, CliArguments};
use emptyserver::client::{Surroundings, Target, health};
use emptyserver::config::{self, Layer, Person, Secret, Settings, SettingsError, Values};
use emptyserver::logging;
use emptyserver::sys::container::Container;
use emptyserver::sys::stderr;

mod backup;
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
        Command::Serve => match logging::start(&settings.log) {
            Ok(()) => {
                for (variable, setting) in values.foreign() {
                    tracing::info!(variable, setting, "a setting has come by a name of another program");
                }
                for (variable, _, what) in values.strange_secrets().filter(|(_, layer, _)| *layer != Layer::Client) {
                    tracing::warn!(variable, what, "a secret has something that is easily there by mistake; it counts");
                }
                serve::serve(&settings, &container).unwrap_or_else(|error| fail(&*error, FAILURE))
            }
            Err(error) => fail(&error, USAGE),
        },
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
        Command::Health => match health::probe(&local_service(&settings)) {
            Ok(line) => write_out(&(line + "\n")),
            Err(line) => fail(&line, FAILURE),
        },
        Command::Completions { shell } => completions(shell),
        Command::Man { of } => man_page(of.as_deref()),
        Command::Bench(arguments) => ExitCode::from(bench::run(&arguments, &surroundings(&settings)) as u8),
        Command::Cli(arguments) => ExitCode::from(cli::run(&arguments, &surroundings(&settings)) as u8),
    }
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
    Target { password, ..Target::listening_at(settings.server.listen) }
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
