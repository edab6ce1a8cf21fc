//! What the examples share: flags, a log on standard error, and requests that are lines.

use std::error::Error;
use std::io::IsTerminal;
use std::sync::Arc;

use clap::Parser;
use emptyserver::server::{Application, Input, Limits, Listener, ListenerKind, Scoreboard, ServerConfig, supervisor};
use emptyserver::sys;

#[derive(Parser)]
struct Flags {
    #[arg(long, default_value = "127.0.0.1:7000")]
    listen: std::net::SocketAddr,
    /// Another address to listen on.
    #[arg(long)]
    also_listen: Vec<std::net::SocketAddr>,
    /// A Unix-domain socket to listen on.
    #[arg(long)]
    listen_path: Vec<std::path::PathBuf>,
    /// Worker processes; 0 = everything in one process.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    #[arg(long, default_value_t = 2)]
    drain_seconds: u64,
    /// Each loop and pool thread gets one CPU.
    #[arg(long)]
    cpu_affinity: bool,
    #[arg(long, default_value_t = 10_000)]
    connections_max: usize,
    /// Unsent reply bytes of one connection over which it closes.
    #[arg(long, default_value_t = 16 << 20)]
    output_bytes_max: usize,
    /// A connection without a request for so long closes; 0 = never.
    #[arg(long, default_value_t = 0)]
    idle_timeout_seconds: u64,
}

/// Serves as the flags say, until told to end.
pub(crate) fn serve(application: impl Application) -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    let mut config = ServerConfig {
        workers: flags.workers,
        cpu_affinity: flags.cpu_affinity,
        drain_seconds: flags.drain_seconds,
        limits: Limits {
            connections_max: flags.connections_max,
            output_bytes_max: flags.output_bytes_max,
            idle_timeout_seconds: flags.idle_timeout_seconds,
            ..Limits::default()
        },
    };
    let of = |kind| move |fd| Listener { fd, kind };
    supervisor::make_room(&mut config)?;
    let addresses = std::iter::once(flags.listen).chain(flags.also_listen);
    let addresses = addresses.map(|address| supervisor::listen(address, false).map(of(ListenerKind::Tcp)));
    let paths =
        flags.listen_path.iter().map(|path| supervisor::listen_on_path(path, 0o600).map(of(ListenerKind::Unix)));
    let listeners = addresses.chain(paths).collect::<Result<_, _>>()?;
    let scoreboard = Scoreboard::new(config.workers.max(1), 0)?;
    let code = supervisor::run(supervisor::Start {
        application: Arc::new(application),
        config,
        scoreboard,
        lock: None,
        listeners,
        sidecar: None,
        tls: None,
    })?;
    sys::process::exit_at_once(code)
}

pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// Takes the next whole line out of the input, without its line feed.
pub(crate) fn next_line(input: &mut Input) -> Option<Vec<u8>> {
    let end = input.bytes().iter().position(|&byte| byte == b'\n')?;
    let line = input.bytes()[..end].to_vec();
    input.consume(end + 1);
    Some(line)
}

/// The number that a word spells.
pub(crate) fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}
