//! The same scripts, run by a `redis-server` where one is installed, and by the interpreter: replies are equal to the last byte.
//! The scripts are lines of `testdata/scripts.txt`; those that only some versions of Redis answer so are left out there.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use super::fixture::Bench;
use crate::resp::{ResponseLimits, ResponseParser};

struct RedisServer {
    process: Child,
    stream: UnixStream,
    _folder: tempfile::TempDir,
}

impl RedisServer {
    /// None: there is none on this machine.
    fn start() -> Option<RedisServer> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let mut process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("ready to accept connections"))), "it ended");
        // It says so before it listens on the socket of a path no more: the line comes last.
        let stream = UnixStream::connect(&socket).unwrap();
        Some(RedisServer { process, stream, _folder: folder })
    }

    fn eval(&mut self, source: &str) -> Vec<u8> {
        let args = ["EVAL", source, "2", "k1", "k2", "a1", "a2"];
        let mut request = format!("*{}\r\n", args.len());
        for arg in args {
            write!(request, "${}\r\n{arg}\r\n", arg.len()).unwrap();
        }
        self.stream.write_all(request.as_bytes()).unwrap();
        let (mut reply, mut parser, mut buffer) =
            (Vec::new(), ResponseParser::new(ResponseLimits::default()), [0; 4096]);
        loop {
            let length = self.stream.read(&mut buffer).unwrap();
            assert!(length > 0, "redis-server closed the connection");
            reply.extend_from_slice(&buffer[..length]);
            if parser.parse(&mut &buffer[..length]).unwrap().is_some() {
                return reply;
            }
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn scripts_answer_as_those_of_redis_do() {
    let Some(mut redis) = RedisServer::start() else { return };
    let mut bench = Bench::new();
    let mut different = String::new();
    for line in include_str!("testdata/scripts.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let source = line.replace("\\n", "\n");
        let theirs = redis.eval(&source);
        let ours = match bench.run(source.as_bytes(), &[b"k1", b"k2"], &[b"a1", b"a2"]) {
            Ok(reply) => reply,
            Err(error) => format!("-{}\r\n", error.text().replace(['\r', '\n'], " ")).into_bytes(),
        };
        if ours != theirs {
            let (ours, theirs) = (ours.escape_ascii(), theirs.escape_ascii());
            writeln!(different, "{line}\n  redis {theirs}\n  ours  {ours}").unwrap();
        }
    }
    assert!(different.is_empty(), "\n{different}");
}
