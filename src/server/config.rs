//! Every limit of the core in one place, and how they relate.

use std::time::Duration;

use super::networks::Network;
use super::service::StartError;

/// How the core is set up; the application's own settings are its own affair.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Worker processes; 0 = everything in one process, for a debugger.
    pub workers: usize,
    /// Each loop and pool thread gets one allowed CPU.
    pub cpu_affinity: bool,
    /// Longest orderly end, the last lane's work included.
    pub drain_seconds: u64,
    pub limits: Limits,
}

/// What may be at most, or last at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections over all workers; from the start on `Global::ConnectionsMax` is what counts.
    pub connections_max: usize,
    /// What the limit of open descriptors allows.
    pub connections_possible: usize,
    /// Received bytes of one connection that are not consumed yet; over it the connection closes.
    pub input_bytes_max: usize,
    /// Unsent reply bytes of one connection at which it is held back while its peer takes them; the limit doubles while it
    /// takes none.
    pub output_bytes_pause: usize,
    /// Unsent reply bytes of one connection over which it closes.
    pub output_bytes_max: usize,
    /// What all connections make the service keep together, over which the largest close; 0 = no limit. From the start on
    /// `Global::ConnectionsBytesMax` is what counts.
    pub connections_bytes_max: usize,
    /// Unsent answers for one worker at which the process lane takes no more of its jobs.
    pub lane_output_bytes_pause: usize,
    /// Unsent bytes for one worker, answers included, at which the process lane drops notices for it.
    pub lane_notice_bytes_max: usize,
    /// Job bytes that the process lane holds at most, beyond one job.
    pub lane_input_bytes_max: usize,
    /// Unsent bytes for another worker over which a message is dropped.
    pub bus_bytes_max: usize,
    /// A connection without a request for so long closes; 0 = never. From the start on `Global::IdleTimeoutSeconds` counts.
    pub idle_timeout_seconds: u64,
    /// A worker whose loop makes no round for so long is ended; 0 = never. Counted in the supervisor's looks, a second apart.
    pub loop_stall_seconds_max: u64,
    /// A peer that vanished without a word is noticed after this long; 0 = never.
    pub keep_alive_seconds: u32,
    /// Connections of one worker that are not open yet: their handshake, or a proxy's header, is not complete.
    pub openings_max: usize,
    /// How long that may take.
    pub opening_seconds_max: u64,
    /// Whose connections begin with a proxy's header.
    pub proxies: Vec<Network>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 10_000,
            connections_possible: usize::MAX,
            input_bytes_max: 1 << 30,
            output_bytes_pause: 256 << 10,
            output_bytes_max: 1 << 30,
            connections_bytes_max: 0,
            lane_output_bytes_pause: 4 << 20,
            lane_notice_bytes_max: 16 << 20,
            lane_input_bytes_max: 16 << 20,
            bus_bytes_max: 64 << 20,
            idle_timeout_seconds: 0,
            loop_stall_seconds_max: 30,
            keep_alive_seconds: 300,
            openings_max: 256,
            opening_seconds_max: 10,
            proxies: Vec::new(),
        }
    }
}

impl Limits {
    /// The relations that the loop relies on.
    pub fn check(&self) -> Result<(), StartError> {
        let relations = [
            (self.connections_max > 0, "at least one connection must be allowed"),
            // A connection that is paused must not be over its limit already.
            (self.output_bytes_pause < self.output_bytes_max, "output_bytes_pause must be below output_bytes_max"),
            (self.input_bytes_max >= READ_BYTES, "input_bytes_max must hold one read"),
            // Else a worker misses notices because it has many answers to read.
            (
                self.lane_notice_bytes_max > self.lane_output_bytes_pause,
                "lane_notice_bytes_max must be over lane_output_bytes_pause",
            ),
            (self.openings_max > 0 && self.opening_seconds_max > 0, "openings_max and their seconds must not be 0"),
            (self.lane_output_bytes_pause > 0 && self.lane_input_bytes_max > 0, "lane limits must not be 0"),
        ];
        match relations.into_iter().find(|(holds, _)| !holds) {
            Some((_, text)) => Err(StartError::new(format!("limits: {text}"))),
            None => Ok(()),
        }
    }
}

/// A peer that has taken no reply for so long may be waiting for its own requests to be read first.
pub const HELD_BACK_MS: u64 = 10;
/// The same where it is near its limit: who only pauses must not be closed.
pub const HELD_BACK_NEAR_LIMIT_MS: u64 = 250;
/// One read of a connection.
pub const READ_BYTES: usize = 64 << 10;
/// Events that one epoll round handles at most.
pub const EVENTS_MAX: usize = 512;
/// How often a loop looks at the others' connection counts, and ticks its service.
pub const TICK_MS: u64 = 50;
/// What one round of the loop spends on connections that are not open yet: a signature takes a tenth of it, or all of it.
pub const OPENING_TURN: Duration = Duration::from_millis(1);
/// A worker whose heartbeat is older is not waited for.
pub const HEARTBEAT_FRESH_MS: u64 = 250;
/// Descriptors of a process beside its connections: sockets to others, epoll, database files of each thread.
pub const DESCRIPTORS_RESERVED: u64 = 64;
/// A worker listens while it has at most this many connections more than the one with the fewest.
pub const ACCEPT_SLACK: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_contradict_each_other_are_refused_with_a_word() {
        assert!(Limits::default().check().is_ok());
        let refused = |limits: Limits| limits.check().unwrap_err().to_string();
        let pause = Limits { output_bytes_pause: 10, output_bytes_max: 10, ..Limits::default() };
        assert!(refused(pause).contains("output_bytes_pause"));
        assert!(refused(Limits { input_bytes_max: READ_BYTES - 1, ..Limits::default() }).contains("input_bytes_max"));
        assert!(refused(Limits { lane_notice_bytes_max: 4 << 20, ..Limits::default() }).contains("lane_notice"));
        assert!(refused(Limits { connections_max: 0, ..Limits::default() }).contains("connection"));
        assert!(refused(Limits { lane_input_bytes_max: 0, ..Limits::default() }).contains("lane"));
    }
}
