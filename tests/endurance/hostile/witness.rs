//! Looks on while something hostile happens: how much memory the processes have, how long the `-wal` is, whether /livez answers, and
//! whether this machine itself stood still.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use emptyserver::sys::clock;

use super::innocents::SetAtEnd;

const SAMPLE_PACE: Duration = Duration::from_millis(5);
const PROBE_PACE: Duration = Duration::from_millis(100);
/// What a kubelet waits for an answer.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// Whom to look at.
pub(crate) struct Witness {
    pub(crate) pids: Vec<i32>,
    pub(crate) wal: PathBuf,
    pub(crate) admin: SocketAddr,
}

#[derive(Default)]
pub(crate) struct Testimony {
    pub(crate) memory_bytes_max: u64,
    pub(crate) wal_bytes_max: u64,
    /// The longest that a thread that does nothing else was woken too late.
    pub(crate) machine_stall: Duration,
    pub(crate) probes: u32,
    pub(crate) probe_slowest: Duration,
    pub(crate) probes_failed: Vec<String>,
}

impl Witness {
    pub(crate) fn during<T>(&self, body: impl FnOnce() -> T) -> (Testimony, T) {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let is_over = &is_over;
            let sampler = scope.spawn(|| self.sample(is_over));
            let prober = scope.spawn(|| self.probe(is_over));
            let clock = scope.spawn(|| stall_of_the_clock(is_over));
            let end = SetAtEnd(is_over);
            let result = body();
            drop(end);
            let (memory_bytes_max, wal_bytes_max) = sampler.join().unwrap();
            let probed = prober.join().unwrap();
            let machine_stall = clock.join().unwrap();
            (Testimony { memory_bytes_max, wal_bytes_max, machine_stall, ..probed }, result)
        })
    }

    fn sample(&self, is_over: &AtomicBool) -> (u64, u64) {
        let (mut memory, mut wal) = (0, 0);
        while !is_over.load(Ordering::SeqCst) {
            memory = memory.max(memory_bytes(&self.pids));
            wal = wal.max(fs::metadata(&self.wal).map_or(0, |metadata| metadata.len()));
            thread::park_timeout(SAMPLE_PACE);
        }
        (memory, wal)
    }

    fn probe(&self, is_over: &AtomicBool) -> Testimony {
        let mut probed = Testimony::default();
        while !is_over.load(Ordering::SeqCst) {
            let begun = clock::monotonic();
            if let Err(error) = get(self.admin, "/livez", PROBE_PATIENCE) {
                probed.probes_failed.push(error);
            }
            probed.probes += 1;
            probed.probe_slowest = probed.probe_slowest.max(clock::monotonic() - begun);
            thread::park_timeout(PROBE_PACE);
        }
        probed
    }
}

/// Of all of them together: what is their own, not of files and not shared. Whoever has ended has none.
pub(crate) fn memory_bytes(pids: &[i32]) -> u64 {
    let of = |pid: &i32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    pids.iter().filter_map(of).sum::<u64>() * 1024
}

/// The body of the answer, if that is a 200 within `patience`.
pub(crate) fn get(address: SocketAddr, path: &str, patience: Duration) -> Result<String, String> {
    let deadline = clock::monotonic() + patience;
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut text = Vec::new();
        let mut bytes = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(clock::monotonic()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut bytes)? {
                0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
                count => text.extend_from_slice(&bytes[..count]),
            }
        }
    };
    match ask() {
        Ok(text) if text.starts_with("HTTP/1.1 200") => {
            Ok(text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
        }
        Ok(text) => Err(format!("{path}: {text:?}")),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

fn stall_of_the_clock(is_over: &AtomicBool) -> Duration {
    const PACE: Duration = Duration::from_millis(1);
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::SeqCst) {
        let begun = clock::monotonic();
        thread::park_timeout(PACE);
        longest = longest.max((clock::monotonic() - begun).saturating_sub(PACE));
    }
    longest
}
