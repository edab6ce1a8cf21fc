//! One synchronous connection: connect, introduce oneself, send commands, read replies in their order.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::target::Target;
use crate::resp::{Reply, ResponseError, ResponseParser, encode_command};

const READ_BYTES: usize = 64 * 1024;

/// A connection that has authenticated and selected its database.
pub struct Connection {
    stream: TcpStream,
    parser: ResponseParser,
    /// What has been read and not parsed.
    input: Vec<u8>,
    input_start: usize,
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
    /// It does not speak the protocol.
    Protocol(ResponseError),
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), read: None }
    }
}

impl Connection {
    /// Tries each address of the host, then sends HELLO or AUTH, and SELECT, where they are needed.
    ///
    /// # Errors
    /// No connection, or a service that refuses the introduction.
    pub fn connect(target: &Target, patience: Patience) -> Result<Self, ClientError> {
        let stream =
            dial(target, patience).map_err(|error| ClientError::Connect { target: target.to_string(), error })?;
        let mut connection = Self { stream, parser: ResponseParser::default(), input: Vec::new(), input_start: 0 };
        let introduction = introduction(target);
        for reply in connection.pipeline(&introduction)? {
            if let Reply::Error(text) = reply {
                return Err(ClientError::Refused(text.into_owned()));
            }
        }
        Ok(connection)
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// The connection is of no more use. An error *reply* is a reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Reply, ClientError> {
        self.send(&[command])?;
        self.receive_answer()
    }

    /// Sends all commands at once; gives their replies in the same order.
    ///
    /// To be used for as many commands as fit into the socket buffers of both sides: it reads nothing before it has sent
    /// everything.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn pipeline<A: AsRef<[u8]>, C: AsRef<[A]>>(&mut self, commands: &[C]) -> Result<Vec<Reply>, ClientError> {
        self.send(commands)?;
        commands.iter().map(|_| self.receive_answer()).collect()
    }

    /// The next reply, whatever it is: what MONITOR and out-of-band messages need.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn receive(&mut self) -> Result<Reply, ClientError> {
        loop {
            let mut unread = &self.input[self.input_start..];
            let reply = self.parser.parse(&mut unread).map_err(ClientError::Protocol)?;
            self.input_start = self.input.len() - unread.len();
            if let Some(reply) = reply {
                return Ok(reply);
            }
            self.input.resize(READ_BYTES, 0);
            self.input_start = 0;
            let count = read_some(&mut self.stream, &mut self.input);
            self.input.truncate(*count.as_ref().unwrap_or(&0));
            if count.map_err(ClientError::Io)? == 0 {
                return Err(ClientError::Closed);
            }
        }
    }

    /// The socket, for somebody who does its own reading and writing. Nothing must be on its way.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The next reply that answers a command.
    fn receive_answer(&mut self) -> Result<Reply, ClientError> {
        loop {
            match self.receive()? {
                Reply::Push(_) => {}
                reply => return Ok(reply),
            }
        }
    }

    fn send<A: AsRef<[u8]>, C: AsRef<[A]>>(&mut self, commands: &[C]) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        for command in commands {
            encode_command(command.as_ref(), &mut bytes);
        }
        self.stream.write_all(&bytes).map_err(ClientError::Io)
    }
}

fn dial(target: &Target, patience: Patience) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience.connect) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(patience.read)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
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
fn read_some(stream: &mut TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
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
            Self::Connect { target, error } => write!(f, "cannot connect to {target}: {error}"),
            Self::Refused(text) => f.write_str(text),
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
