//! One synchronous connection: connect, introduce oneself, send commands, read replies in their order.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::interrupt::{Interrupts, Woken};
use super::stream::Stream;
use super::subscription::{Subscription, is_answer, subscribes};
use super::target::{Target, UrlError};
use super::tls::TlsError;
use crate::resp::{Reply, ResponseError, ResponseParser, encode_command};

const READ_BYTES: usize = 64 * 1024;
/// A pipeline is sent in pieces of at most so many commands and (but for a single command) bytes: that much fits into the
/// buffers of both sides, so that neither waits for the other to read.
const PIECE_COMMANDS_MAX: usize = 1000;
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// A connection that has authenticated and selected its database.
///
/// ```
/// use emptyserver::client::Connection;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("redis://{}", listener.local_addr()?);
/// # std::thread::spawn(move || {
/// #     let (mut stream, _) = listener.accept().unwrap();
/// #     std::io::Write::write_all(&mut stream, b"+OK\r\n$5\r\nhello\r\n:1\r\n:2\r\n").unwrap();
/// #     std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
/// # });
///
/// let mut kv = Connection::open(&url)?; // redis://[[user]:password@]host[:port][/database]
/// kv.call(&["SET", "greeting", "hello"])?;
/// let greeting = kv.call(&["GET", "greeting"])?;
/// assert_eq!(greeting, emptyserver::resp::Reply::Bulk(b"hello".to_vec()));
///
/// let replies = kv.pipeline(&[["INCR", "visits"], ["INCR", "visits"]])?;
/// assert_eq!(replies.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    stream: Stream,
    parser: ResponseParser,
    /// What has been read and not parsed.
    input: Vec<u8>,
    input_start: usize,
    interrupts: Option<Arc<Interrupts>>,
}

/// How long to wait; `None`: for ever.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub connect: Duration,
    pub read: Option<Duration>,
}

/// Why there is no reply, by what the caller can do about it.
#[derive(Debug)]
pub enum ClientError {
    /// The URL cannot be understood.
    Url(UrlError),
    /// Nobody there.
    Connect {
        target: String,
        error: io::Error,
    },
    /// The service is there and refused the introduction (password, database, version): its own words.
    Refused(String),
    /// It went away.
    Closed,
    Io(io::Error),
    /// Ctrl-C came before the reply; only who asks for it sees this.
    Interrupted,
    /// It does not speak the protocol.
    Protocol(ResponseError),
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), read: None }
    }
}

impl Connection {
    /// Connects to the service that a URL names: see [`Target::from_url`].
    ///
    /// # Errors
    /// A URL that cannot be understood, no connection, or a service that refuses the introduction.
    pub fn open(url: &str) -> Result<Self, ClientError> {
        Self::connect(&Target::from_url(url).map_err(ClientError::Url)?, Patience::default())
    }

    /// Tries each address of the host, then sends HELLO or AUTH, and SELECT, where they are needed.
    ///
    /// # Errors
    /// No connection, or a service that refuses the introduction.
    pub fn connect(target: &Target, patience: Patience) -> Result<Self, ClientError> {
        let stream = Stream::dial(target, patience)
            .map_err(|error| ClientError::Connect { target: target.to_string(), error })?;
        let mut connection =
            Self { stream, parser: ResponseParser::default(), input: Vec::new(), input_start: 0, interrupts: None };
        let introduction = introduction(target);
        for reply in connection.pipeline(&introduction)? {
            if let Reply::Error(text) = reply {
                return Err(ClientError::Refused(text.into_owned()));
            }
        }
        Ok(connection)
    }

    /// Sends one command and waits for its reply. (A command that is about several channels has a reply for each: the
    /// last one.)
    ///
    /// # Errors
    /// The connection is of no more use. An error *reply* is a reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Reply, ClientError> {
        self.send(command)?;
        self.receive_answer(command)
    }

    /// Sends all commands, many at once; gives their replies in the same order.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn pipeline<A: AsRef<[u8]>, C: AsRef<[A]>>(&mut self, commands: &[C]) -> Result<Vec<Reply>, ClientError> {
        let mut replies = Vec::with_capacity(commands.len());
        let mut bytes = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            encode_command(command.as_ref(), &mut bytes);
            let waiting = index + 1 - replies.len();
            if index + 1 == commands.len() || waiting == PIECE_COMMANDS_MAX || bytes.len() >= PIECE_BYTES_MAX {
                self.send_bytes(&bytes)?;
                bytes.clear();
                for sent in &commands[replies.len()..=index] {
                    replies.push(self.receive_answer(sent.as_ref())?);
                }
            }
        }
        Ok(replies)
    }

    /// Subscribes to channels. The connection is the subscription's until that is dropped or left.
    ///
    /// ```
    /// # use emptyserver::client::Connection;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let url = format!("redis://{}", listener.local_addr()?);
    /// # std::thread::spawn(move || {
    /// #     let (mut stream, _) = listener.accept().unwrap();
    /// #     std::io::Write::write_all(&mut stream, b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n$25\r\nemptyserver-client-leaves\r\n").unwrap();
    /// #     std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    /// # });
    /// let mut kv = Connection::open(&url)?;
    /// for message in kv.subscribe(&["news"])? {
    ///     let message = message?;
    ///     assert_eq!((message.channel.as_slice(), message.payload.as_slice()), (&b"news"[..], &b"hello"[..]));
    ///     break; // and leaves
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The connection is of no more use, or the service refuses.
    pub fn subscribe<A: AsRef<[u8]>>(&mut self, channels: &[A]) -> Result<Subscription<'_>, ClientError> {
        Subscription::begin(self, b"SUBSCRIBE", channels)
    }

    /// The same for all channels whose names match one of the patterns.
    ///
    /// # Errors
    /// The connection is of no more use, or the service refuses.
    pub fn subscribe_patterns<A: AsRef<[u8]>>(&mut self, patterns: &[A]) -> Result<Subscription<'_>, ClientError> {
        Subscription::begin(self, b"PSUBSCRIBE", patterns)
    }

    /// The next reply, whatever it is: what MONITOR and out-of-band messages need.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn receive(&mut self) -> Result<Reply, ClientError> {
        loop {
            if let Some(reply) = self.parse_one()? {
                return Ok(reply);
            }
            self.read_more()?;
        }
    }

    /// Sends a command and does not wait for what it answers.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn send<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        encode_command(command, &mut bytes);
        self.send_bytes(&bytes)
    }

    /// From now on Ctrl-C ends the waiting for a reply, with [`ClientError::Interrupted`].
    pub(crate) fn heed(&mut self, interrupts: &Arc<Interrupts>) {
        self.interrupts = Some(Arc::clone(interrupts));
    }

    /// True exactly when the other side has closed, as far as is known without asking it.
    pub(crate) fn is_closed(&mut self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let outcome = self.read_once();
        let is_open = match outcome {
            Ok(()) => true,
            Err(ClientError::Io(error)) => error.kind() == io::ErrorKind::WouldBlock,
            Err(_) => false,
        };
        self.stream.set_nonblocking(false).is_err() || !is_open
    }

    /// The stream below, for who sends and receives at the same time; nothing may have been received and not parsed.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    fn parse_one(&mut self) -> Result<Option<Reply>, ClientError> {
        let mut unread = &self.input[self.input_start..];
        let reply = self.parser.parse(&mut unread).map_err(ClientError::Protocol)?;
        self.input_start = self.input.len() - unread.len();
        Ok(reply)
    }

    /// Waits for bytes and appends them to what there is.
    fn read_more(&mut self) -> Result<(), ClientError> {
        if let Some(interrupts) = self.interrupts.as_ref().filter(|_| !self.stream.holds_input()) {
            while match interrupts.wait(Some(self.stream.as_fd()), None).map_err(ClientError::Io)? {
                Woken::Interrupted => return Err(ClientError::Interrupted),
                Woken::TimedOut => true,
                Woken::Readable => false,
            } {}
        }
        self.read_once()
    }

    fn read_once(&mut self) -> Result<(), ClientError> {
        self.input.drain(..self.input_start);
        self.input_start = 0;
        let kept = self.input.len();
        self.input.resize(kept + READ_BYTES, 0);
        let count = read_some(&mut self.stream, &mut self.input[kept..]);
        self.input.truncate(kept + *count.as_ref().unwrap_or(&0));
        match count.map_err(ClientError::Io)? {
            0 => Err(ClientError::Closed),
            _ => Ok(()),
        }
    }

    /// The next reply that answers this command. RESP3 confirms subscriptions out of band.
    fn receive_answer<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Reply, ClientError> {
        let is_about_channels = subscribes(command).is_some();
        let mut missing = if is_about_channels { command.len().saturating_sub(1).max(1) } else { 1 };
        loop {
            let reply = self.receive()?;
            if matches!(reply, Reply::Push(_)) && !(is_about_channels && is_answer(&reply, command)) {
                continue;
            }
            missing -= 1;
            if missing == 0 || matches!(reply, Reply::Error(_)) {
                return Ok(reply);
            }
        }
    }

    fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(ClientError::Io)
    }
}

fn introduction(target: &Target) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let user = target.user.as_deref();
    let mut commands = Vec::new();
    match (target.is_resp3, target.password.as_deref()) {
        (true, Some(password)) => commands.push(words(&["HELLO", "3", "AUTH", user.unwrap_or("default"), password])),
        (true, None) => commands.push(words(&["HELLO", "3"])),
        (false, Some(password)) => match user {
            Some(user) => commands.push(words(&["AUTH", user, password])),
            None => commands.push(words(&["AUTH", password])),
        },
        (false, None) => {}
    }
    if target.database != 0 {
        commands.push(words(&["SELECT", &target.database.to_string()]));
    }
    commands
}

/// Waits until there is something. 0: the other side has closed.
fn read_some(stream: &mut Stream, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What closes while our bytes are on their way resets the connection: the same to us.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
            outcome => return outcome,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            // TLS' own errors say what they are about.
            Self::Connect { error, .. } if is_about_tls(error) => error.fmt(f),
            Self::Connect { target, error } => write!(f, "cannot connect to {target}: {error}"),
            Self::Refused(text) => f.write_str(text),
            Self::Interrupted => f.write_str("interrupted before the service answered"),
            Self::Closed => f.write_str("the service closed the connection"),
            Self::Io(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                f.write_str("the service does not answer")
            }
            Self::Io(error) => write!(f, "the connection broke: {error}"),
            Self::Protocol(error) => write!(f, "the service does not speak the protocol: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl ClientError {
    /// True exactly when no other service would be answered: the way there is wrong, not the service.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Url(_) => true,
            Self::Connect { error, .. } => is_about_tls(error),
            _ => false,
        }
    }
}

fn is_about_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TlsError>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    /// A service that expects `request`, answers `response` and closes.
    fn service(request: &'static str, response: &'static str) -> (Target, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::listening_at(listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = vec![0; request.len()];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), request);
            for byte in response.as_bytes() {
                stream.write_all(&[*byte]).unwrap();
            }
        });
        (target, thread)
    }

    #[test]
    fn a_call_gives_its_reply_and_skips_what_is_out_of_band() {
        let (target, thread) = service("*1\r\n$4\r\nPING\r\n", ">1\r\n+news\r\n+PONG\r\n");
        let mut connection = Connection::connect(&target, Patience::default()).unwrap();
        assert_eq!(connection.call(&["PING"]).unwrap(), Reply::Simple("PONG".into()));
        thread.join().unwrap();
        assert!(matches!(connection.call(&["PING"]), Err(ClientError::Closed | ClientError::Io(_))));
    }

    #[test]
    fn a_pipeline_keeps_the_order() {
        let (target, thread) = service("*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n", ":1\r\n-ERR no\r\n");
        let mut connection = Connection::connect(&target, Patience::default()).unwrap();
        let replies = connection.pipeline(&[["a"], ["b"]]).unwrap();
        assert_eq!(replies, [Reply::Integer(1), Reply::Error("ERR no".into())]);
        thread.join().unwrap();
    }

    #[test]
    fn the_introduction_names_user_version_and_database() {
        let mut target = Target { password: Some("pw".into()), database: 3, ..Target::default() };
        assert_eq!(introduction(&target), [vec!["AUTH", "pw"], vec!["SELECT", "3"]]);
        target.user = Some("me".into());
        assert_eq!(introduction(&target)[0], ["AUTH", "me", "pw"]);
        target.is_resp3 = true;
        assert_eq!(introduction(&target)[0], ["HELLO", "3", "AUTH", "me", "pw"]);
        assert_eq!(introduction(&Target::default()), [] as [Vec<String>; 0]);
    }

    #[test]
    fn a_refused_introduction_says_why() {
        let (mut target, thread) = service("*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n", "-WRONGPASS no\r\n");
        target.password = Some("x".into());
        let error = Connection::connect(&target, Patience::default()).err().unwrap();
        assert_eq!(error.to_string(), "WRONGPASS no");
        thread.join().unwrap();
    }

    #[test]
    fn a_silent_service_is_left_after_the_time_that_was_given() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::listening_at(listener.local_addr().unwrap());
        let patience = Patience { read: Some(Duration::from_millis(20)), ..Patience::default() };
        let mut connection = Connection::connect(&target, patience).unwrap();
        assert_eq!(connection.call(&["PING"]).unwrap_err().to_string(), "the service does not answer");
    }

    #[test]
    fn nobody_there_is_said_with_the_address() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Connection::connect(&Target::listening_at(unused), Patience::default()).err().unwrap().to_string();
        assert!(error.starts_with(&format!("cannot connect to {unused}: ")), "{error}");
    }
}
