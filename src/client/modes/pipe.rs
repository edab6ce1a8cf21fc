//! `--pipe`: the commands of standard input, as lines or as RESP, as fast as the service takes them. It sends and receives
//! at the same time and holds a bounded piece of either. Every reply is counted: the input's commands are known one by
//! one, so nothing has to be asked of the service to know the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::client::clock;
use crate::client::connection::{ClientError, Connection};
use crate::client::failure::{Failure, Outcome};
use crate::client::progress::Progress;
use crate::client::stream::Stream;
use crate::resp::{Limits, Parsed, Reply, RequestParser, ResponseParser, encode_command};

const READ_BYTES: usize = 256 * 1024;
/// The input waits while more than this has not been taken by the service.
const OUTPUT_BYTES_MAX: usize = 512 * 1024;
/// A command may be as long as the service's longest argument; a line is what a person or a script wrote.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// So many different errors are remembered.
const ERRORS_MAX: usize = 20;

/// Sends what `input` has and prints one line on standard output about how it went.
pub(crate) fn pipe(connection: Connection, input: File) -> Result<Outcome, Failure> {
    let total = input.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    let mut pipe = Pipe {
        stream: connection.into_stream(),
        source: Source::new(input),
        output: Vec::new(),
        output_start: 0,
        answers: Answers::default(),
        began: clock::monotonic(),
        progress: Progress::of_bytes(total),
    };
    let outcome = pipe.stream.set_nonblocking(true).map_err(ClientError::Io).and_then(|()| pipe.run());
    let Pipe { source, answers, began, progress, .. } = pipe;
    drop(progress);
    answers.report_errors();
    let seconds = (clock::monotonic() - began).as_secs_f64();
    let rate = answers.replies as f64 / seconds.max(1e-6);
    let line = format!(
        "commands: {}, replies: {}, errors: {}, seconds: {seconds:.2}, replies per second: {rate:.0}\n",
        source.commands, answers.replies, answers.errors
    );
    io::stdout().write_all(line.as_bytes()).map_err(|error| Failure::of_output(&error))?;
    outcome?;
    match source.problem {
        Some(problem) => Err(Failure::Usage(problem)),
        None if answers.errors > 0 => Ok(Outcome::ServerError),
        None => Ok(Outcome::Ok),
    }
}

struct Pipe {
    stream: Stream,
    source: Source,
    /// What was read and not sent.
    output: Vec<u8>,
    output_start: usize,
    answers: Answers,
    began: Instant,
    progress: Progress,
}

impl Pipe {
    fn run(&mut self) -> Result<(), ClientError> {
        let mut received = vec![0; READ_BYTES];
        while !(self.source.is_over && self.is_sent() && self.answers.replies == self.source.commands) {
            let (may_read, may_receive) = self.wait().map_err(ClientError::Io)?;
            if may_read {
                self.source.read();
                self.source.take_commands(&mut self.output);
            }
            self.send().map_err(ClientError::Io)?;
            if may_receive {
                self.receive(&mut received)?;
            }
            let (position, replies) = (self.source.bytes, self.answers.replies);
            let began = self.began;
            self.progress.at(position, || {
                let rate = replies as f64 / (clock::monotonic() - began).as_secs_f64().max(1e-6);
                format!("{replies} replies, {rate:.0} per second, {} errors", self.answers.errors)
            });
        }
        Ok(())
    }

    fn is_sent(&self) -> bool {
        self.output_start == self.output.len() && !self.stream.holds_output()
    }

    /// Whether there is input, and whether there may be replies.
    fn wait(&mut self) -> io::Result<(bool, bool)> {
        let wants_input = !self.source.is_over && self.output.len() - self.output_start < OUTPUT_BYTES_MAX;
        let mut interest = PollFlags::POLLIN;
        interest.set(PollFlags::POLLOUT, !self.is_sent());
        let mut descriptors = vec![PollFd::new(self.stream.as_fd(), interest)];
        if wants_input {
            descriptors.push(PollFd::new(self.source.input.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_awake =
            |descriptor: &PollFd<'_>| descriptor.revents().is_some_and(|events| events.intersects(!PollFlags::POLLOUT));
        Ok((descriptors.get(1).is_some_and(is_awake), is_awake(&descriptors[0])))
    }

    fn send(&mut self) -> io::Result<()> {
        while self.output_start < self.output.len() {
            match self.stream.write(&self.output[self.output_start..]) {
                Ok(0) => break,
                Ok(count) => self.output_start += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What it said before it closed is still to be read.
                Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.output.drain(..self.output_start);
        self.output_start = 0;
        match self.stream.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, bytes: &mut [u8]) -> Result<(), ClientError> {
        loop {
            match self.stream.read(bytes) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => {
                    self.answers.take(&bytes[..count])?;
                    // The rest of a full buffer waits for its turn, unless nobody would be told of it.
                    if count < bytes.len() || !self.stream.holds_input() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ClientError::Closed),
                Err(error) => return Err(ClientError::Io(error)),
            }
        }
    }
}

/// The commands of the input.
struct Source {
    input: File,
    parser: RequestParser,
    limits: Limits,
    /// Read and not parsed.
    unread: Vec<u8>,
    bytes: u64,
    /// Handed on.
    commands: u64,
    /// True exactly when there will be no more commands.
    is_over: bool,
    /// Why it ended before its end.
    problem: Option<String>,
}

impl Source {
    fn new(input: File) -> Self {
        let limits = Limits { inline_bytes_max: LINE_BYTES_MAX, ..Limits::default() };
        let parser = RequestParser::new();
        Self { input, parser, limits, unread: Vec::new(), bytes: 0, commands: 0, is_over: false, problem: None }
    }

    /// Once, because it may wait otherwise.
    fn read(&mut self) {
        let kept = self.unread.len();
        self.unread.resize(kept + READ_BYTES, 0);
        let count = match self.input.read(&mut self.unread[kept..]) {
            Ok(0) => None,
            Ok(count) => Some(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
            Err(error) => {
                self.problem = Some(format!("standard input cannot be read: {error}"));
                None
            }
        };
        self.unread.truncate(kept + count.unwrap_or(0));
        self.bytes += count.unwrap_or(0) as u64;
        if count.is_none() {
            self.is_over = true;
            // The last line needs no end.
            if self.unread.first().is_some_and(|first| *first != b'*') {
                self.unread.push(b'\n');
            }
        }
    }

    /// All that are whole. Lines become RESP: the service reads that faster, and has no limit on its length.
    fn take_commands(&mut self, output: &mut Vec<u8>) {
        let mut start = 0;
        loop {
            let rest = &self.unread[start..];
            match self.parser.parse(rest, &self.limits) {
                Ok(Parsed::NeedMore) => break,
                Ok(Parsed::Empty(count)) => start += count,
                Ok(Parsed::Complete(count)) => {
                    if rest[0] == b'*' {
                        output.extend_from_slice(&rest[..count]);
                    } else {
                        let args: Vec<&[u8]> = self.parser.args(rest).iter().collect();
                        encode_command(&args, output);
                    }
                    self.commands += 1;
                    start += count;
                }
                Err(error) => {
                    self.problem = Some(format!("command {} of the input: {error}", self.commands + 1));
                    self.is_over = true;
                    self.unread.clear();
                    return;
                }
            }
        }
        self.unread.drain(..start);
        if self.is_over && !self.unread.is_empty() && self.problem.is_none() {
            self.problem = Some(format!("the input ends inside command {}", self.commands + 1));
        }
    }
}

/// The replies, counted.
#[derive(Default)]
struct Answers {
    parser: ResponseParser,
    replies: u64,
    errors: u64,
    /// Text: how often, and the number of the first command that it answered.
    texts: BTreeMap<String, (u64, u64)>,
}

impl Answers {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), ClientError> {
        while let Some(reply) = self.parser.parse(&mut bytes).map_err(ClientError::Protocol)? {
            match reply {
                Reply::Push(_) => continue,
                Reply::Error(text) => self.note(text.into_owned()),
                _ => {}
            }
            self.replies += 1;
        }
        Ok(())
    }

    fn note(&mut self, text: String) {
        self.errors += 1;
        let number = self.replies + 1;
        let has_room = self.texts.len() < ERRORS_MAX;
        match self.texts.get_mut(&text) {
            Some((count, _)) => *count += 1,
            None if has_room => {
                self.texts.insert(text, (1, number));
            }
            None => {}
        }
    }

    fn report_errors(&self) {
        for (text, (count, first)) in &self.texts {
            eprintln!("emptyserver cli: {count} x {text} (first: command {first})");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;

    fn source(bytes: &[u8]) -> (Source, String) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let (mut source, mut output) = (Source::new(file), Vec::new());
        while !source.is_over {
            source.read();
            source.take_commands(&mut output);
        }
        (source, output.escape_ascii().to_string().replace("\\r\\n", "|"))
    }

    #[test]
    fn lines_and_resp_may_alternate_and_the_last_line_needs_no_end() {
        let (source, output) = source(b"set a 'b c'\n\n*1\r\n$4\r\nPING\r\nget a");
        assert_eq!(output, "*3|$3|set|$1|a|$3|b c|*1|$4|PING|*2|$3|get|$1|a|");
        assert_eq!((source.commands, source.problem), (3, None));
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_number() {
        for (bytes, problem) in [
            (&b"ping\nset \"a\n"[..], "command 2 of the input: "),
            (b"*2\r\n$3\r\nGET\r\n$1\r\n", "the input ends inside command 1"),
        ] {
            let told = source(bytes).0.problem.unwrap();
            assert!(told.starts_with(problem), "{told}");
        }
    }

    #[test]
    fn errors_are_counted_by_their_text() {
        let mut answers = Answers::default();
        answers.take(b"+OK\r\n-ERR no\r\n:1\r\n-ERR no\r\n>1\r\n+news\r\n-ERR other\r\n").unwrap();
        assert_eq!((answers.replies, answers.errors), (5, 3));
        assert_eq!(answers.texts["ERR no"], (2, 2));
    }
}
