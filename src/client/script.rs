//! Commands without a prompt: one from the arguments, once or repeated, or one a line from standard input.

use std::io::{BufRead, Write};
use std::time::Duration;

use super::clock;
use super::connection::{ClientError, Connection};
use super::failure::{Failure, Outcome};
use super::print::{Style, print};
use super::subscription::subscribes;
use super::words::split_line;
use crate::resp::Reply;

/// Commands on one connection, their replies on `out`.
pub(crate) struct Script<W: Write> {
    pub(crate) connection: Connection,
    pub(crate) style: Style,
    /// True exactly when standard error gets a line about the time of each command.
    pub(crate) is_timed: bool,
    pub(crate) out: W,
}

/// How often a command runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repetition {
    /// `None`: for ever.
    pub(crate) times: Option<u64>,
    pub(crate) interval: Duration,
}

impl Repetition {
    pub(crate) const ONCE: Self = Self { times: Some(1), interval: Duration::ZERO };
}

impl<W: Write> Script<W> {
    /// One command a line, quoted as in redis-cli. Goes on after an error reply; ends at a line that it cannot read.
    pub(crate) fn run_lines(&mut self, lines: impl BufRead) -> Result<Outcome, Failure> {
        let mut worst = Outcome::Ok;
        for (index, line) in lines.split(b'\n').enumerate() {
            let line = line.map_err(|error| Failure::of_input(&error))?;
            let command =
                split_line(&line).ok_or_else(|| Failure::Usage(format!("line {}: unbalanced quotes", index + 1)))?;
            let Some(name) = command.first() else { continue };
            let is_farewell = name.eq_ignore_ascii_case(b"quit");
            worst = worst.max(self.run_command(&command)?);
            if is_farewell {
                break;
            }
        }
        Ok(worst)
    }

    /// Goes on after an error reply.
    pub(crate) fn repeat(&mut self, command: &[Vec<u8>], repetition: Repetition) -> Result<Outcome, Failure> {
        let mut worst = Outcome::Ok;
        let mut done = 0;
        while repetition.times.is_none_or(|times| done < times) {
            if done > 0 && !repetition.interval.is_zero() {
                clock::pause(repetition.interval);
            }
            worst = worst.max(self.run_command(command)?);
            done += 1;
        }
        Ok(worst)
    }

    fn run_command(&mut self, command: &[Vec<u8>]) -> Result<Outcome, Failure> {
        let began = clock::monotonic();
        let reply = self.connection.call(command)?;
        let took = clock::monotonic() - began;
        self.show(&reply, style_for(command, self.style))?;
        if self.is_timed {
            eprintln!("{}", timing(took));
        }
        if matches!(reply, Reply::Error(_)) {
            return Ok(Outcome::ServerError);
        }
        if streams(command) {
            self.follow()?;
        }
        Ok(Outcome::Ok)
    }

    /// Shows what comes until the service closes the connection.
    fn follow(&mut self) -> Result<(), Failure> {
        loop {
            match self.connection.receive() {
                Ok(reply) => self.show(&reply, self.style)?,
                Err(ClientError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Flushes: whoever reads the other end of a pipe waits for this reply.
    fn show(&mut self, reply: &Reply, style: Style) -> Result<(), Failure> {
        let text = print(reply, style);
        self.out.write_all(&text).and_then(|()| self.out.flush()).map_err(|error| Failure::of_output(&error))
    }
}

/// True for commands after which the service sends by itself.
pub(crate) fn streams<A: AsRef<[u8]>>(command: &[A]) -> bool {
    let is_monitor = command.first().is_some_and(|name| name.as_ref().eq_ignore_ascii_case(b"monitor"));
    is_monitor || subscribes(command) == Some(true)
}

/// Quotes would hide the lines of a reply that is a page for people.
pub(crate) fn style_for<A: AsRef<[u8]>>(command: &[A], style: Style) -> Style {
    if style == Style::Quoted && answers_with_a_page(command) { Style::Raw } else { style }
}

fn answers_with_a_page<A: AsRef<[u8]>>(command: &[A]) -> bool {
    let word = |index: usize| command.get(index).map(|word| word.as_ref().to_ascii_lowercase()).unwrap_or_default();
    match word(0).as_slice() {
        b"info" => true,
        b"client" => matches!(word(1).as_slice(), b"list" | b"info"),
        b"cluster" => matches!(word(1).as_slice(), b"info" | b"nodes"),
        b"memory" | b"latency" => matches!(word(1).as_slice(), b"doctor" | b"malloc-stats" | b"graph"),
        _ => false,
    }
}

/// "1.234 ms", "2.5 s": three digits that say something.
pub(crate) fn timing(took: Duration) -> String {
    let milliseconds = took.as_secs_f64() * 1e3;
    if milliseconds < 1000.0 { format!("({milliseconds:.3} ms)") } else { format!("({:.2} s)", took.as_secs_f64()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_never_quoted() {
        assert_eq!(style_for(&["INFO", "server"], Style::Quoted), Style::Raw);
        assert_eq!(style_for(&["client", "LIST"], Style::Quoted), Style::Raw);
        assert_eq!(style_for(&["client", "id"], Style::Quoted), Style::Quoted);
        assert_eq!(style_for(&["INFO"], Style::Json), Style::Json);
    }

    #[test]
    fn a_time_is_read_at_a_glance() {
        assert_eq!(timing(Duration::from_micros(1234)), "(1.234 ms)");
        assert_eq!(timing(Duration::from_millis(2500)), "(2.50 s)");
    }
}
