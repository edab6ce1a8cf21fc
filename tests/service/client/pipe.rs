//! Mass insertion.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::Stdio;

use nix::poll::{PollFd, PollFlags, poll};

use super::program::{Servers, cli, run, run_with, told};
use crate::support::{Service, anonymous_bytes};

#[test]
fn lines_and_resp_are_sent_and_every_reply_is_counted() {
    let servers = Servers::start();
    for address in servers.addresses() {
        let mut input: Vec<u8> =
            (0..5_000).flat_map(|number| format!("SET line:{number} 'a b'\r\n").into_bytes()).collect();
        for number in 0..5_000 {
            let key = format!("resp:{number}");
            input.extend(format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$3\r\na\nb\r\n", key.len()).into_bytes());
        }
        let told = told(&run_with(cli(address, &["--pipe"]), &input));
        assert!(told.code == 0 && told.err.is_empty(), "{told:?}");
        assert!(told.out.starts_with("commands: 10000, replies: 10000, errors: 0, seconds: "), "{}", told.out);
        assert_eq!(run(address, &["dbsize"]).out, "10000\n");
        assert_eq!(run(address, &["--no-raw", "mget", "line:7", "resp:4999"]).out, "1) \"a b\"\n2) \"a\\nb\"\n");
    }
}

#[test]
fn errors_are_counted_with_the_command_that_met_them_first() {
    let service = Service::start(&[("WORKERS", "1")]);
    let told = told(&run_with(cli(service.address(), &["--pipe"]), b"set a x\nincr a\nget\nincr a\n"));
    assert_eq!(told.code, 1);
    assert!(told.out.starts_with("commands: 4, replies: 4, errors: 3, "), "{}", told.out);
    assert!(told.err.contains("2 x ERR value is not an integer or out of range (first: command 2)"), "{}", told.err);
    assert!(
        told.err.contains("1 x ERR wrong number of arguments for 'get' command (first: command 3)"),
        "{}",
        told.err
    );
}

#[test]
fn what_cannot_be_read_ends_it_after_what_was_sent() {
    let service = Service::start(&[("WORKERS", "1")]);
    for (input, problem) in [
        (&b"set a 1\nset \"b\nset c 1\n"[..], "command 2 of the input: "),
        (b"set a 1\n*2\r\n$3\r\nGET\r\n", "the input ends inside command 2"),
    ] {
        let told = told(&run_with(cli(service.address(), &["--pipe"]), input));
        assert_eq!(told.code, 2);
        assert!(told.out.starts_with("commands: 1, replies: 1, errors: 0, "), "{}", told.out);
        assert!(told.err.contains(problem), "{}", told.err);
    }
}

#[test]
fn a_service_that_leaves_is_the_end_with_what_was_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let service = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Read::read_exact(&mut stream, &mut [0; 14]).unwrap();
        stream.write_all(b"+PONG\r\n").unwrap();
        // All of it is read, so that nothing resets what was answered.
        std::io::Read::read_exact(&mut stream, &mut [0; 14]).unwrap();
    });
    let told = told(&run_with(cli(address, &["--pipe"]), b"ping\nping\n"));
    service.join().unwrap();
    assert_eq!(told.code, 3);
    assert!(told.out.starts_with("commands: 2, replies: 1, errors: 0, "), "{}", told.out);
}

#[test]
fn its_memory_is_bounded_whatever_the_input_and_however_slow_the_service() {
    // Accepts and reads nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = cli(listener.local_addr().unwrap(), &["--pipe"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (_stream, _) = listener.accept().unwrap();
    // A pipe that has room has room for 4 KiB.
    let line = format!("SET key {}\n", "v".repeat(1000)).repeat(4);
    assert!(line.len() <= 4096);
    let mut taken = 0;
    // Until it takes no more for a while: what it has read by then it holds, or the sockets do.
    while is_writable(&stdin) {
        taken += stdin.write(line.as_bytes()).unwrap();
        assert!(taken < 100 << 20, "it takes everything");
    }
    let held = anonymous_bytes(i32::try_from(child.id()).unwrap());
    assert!(held < 32 << 20, "{held} bytes after {taken} bytes of input");
    child.kill().and_then(|()| child.wait()).unwrap();
}

fn is_writable(stream: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], 1000_u16).unwrap() > 0
}
