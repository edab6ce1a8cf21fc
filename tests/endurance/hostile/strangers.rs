//! What whoever reaches a port can do, without a password: the log, the admin port, requests before login (issue 13, points 6 to 8).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use emptyserver::sys::clock;

use super::arena::{Arena, PEACE, Scenario};
use crate::support::{Connection, encoded};

/// What a browser, or a scanner of ports, sends.
fn post(arena: &Arena, count: usize) -> Result<String, String> {
    let mut clients: Vec<Connection> = (0..count).map(|_| arena.connect()).collect();
    for client in &mut clients {
        client.try_send_bytes(b"POST / HTTP/1.1\r\nHost: here\r\n\r\n").map_err(|error| error.to_string())?;
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.patience = Duration::from_secs(5);
        if !client.is_closed() {
            return Err(format!("connection {number} of {count} that sent POST was not closed: {:?}", client.unread()));
        }
    }
    Ok(format!("{count} connections sent POST and were closed"))
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn post_from_400_connections_with_an_unread_log_stops_no_worker() {
    Scenario {
        attack: &|arena| {
            arena.service.log().pause(true);
            let outcome = post(arena, 400);
            arena.service.log().pause(false);
            outcome
        },
        ..PEACE
    }
    .judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_talkative_log_that_nobody_reads_stops_no_process() {
    Scenario {
        settings: &[("LOG", "trace")],
        attack: &|arena| {
            arena.service.log().pause(true);
            let before = arena.service.log().len();
            let outcome = (0..3).try_for_each(|_| post(arena, 300).map(|_| ()));
            arena.service.log().pause(false);
            outcome?;
            Ok(format!("900 connections came and went; {before} lines had been read before"))
        },
        ..PEACE
    }
    .judge();
}

/// While they last, for some seconds; the witness asks for /livez all the while.
fn occupy_admin(arena: &Arena, count: usize, request: &[u8]) -> Result<String, String> {
    let mut connections = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect_timeout(&arena.admin, Duration::from_secs(5))
            .map_err(|error| format!("admin connection {number}: {error}"))?;
        stream.set_nonblocking(true).unwrap();
        send_what_goes(&mut stream, request)?;
        connections.push(stream);
    }
    let end = clock::monotonic() + Duration::from_secs(3);
    while clock::monotonic() < end {
        connections.iter_mut().try_for_each(|stream| send_what_goes(stream, request))?;
        clock::pause(Duration::from_millis(100));
    }
    let is_closed = |stream: &mut TcpStream| {
        let mut bytes = vec![0; 1 << 16];
        loop {
            match stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    };
    let closed = connections.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count();
    Ok(format!("{count} connections to the admin port, {closed} of them closed meanwhile"))
}

/// A peer that has closed is nobody's fault.
fn send_what_goes(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), String> {
    match stream.write(bytes) {
        Ok(_) => Ok(()),
        Err(error)
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
        {
            Ok(())
        }
        Err(error) => Err(format!("admin: {error}")),
    }
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn admin_connections_that_ask_and_do_not_read_leave_room_for_probes() {
    let requests = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(200);
    Scenario { attack: &|arena| occupy_admin(arena, 128, &requests), ..PEACE }.judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn silent_admin_connections_leave_room_for_probes() {
    Scenario { attack: &|arena| occupy_admin(arena, 128, b""), ..PEACE }.judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn admin_connections_that_send_half_a_request_leave_room_for_probes() {
    Scenario { attack: &|arena| occupy_admin(arena, 300, b"GET /livez HTTP/1.1\r\nX: "), ..PEACE }.judge();
}

/// Each sends it and stays; what it was answered is read up to the first line's end.
fn strangers(arena: &Arena, count: usize, request: &[u8]) -> Result<String, String> {
    let mut clients: Vec<Connection> = (0..count).map(|_| arena.connect()).collect();
    let mut refused = 0;
    for (number, client) in clients.iter_mut().enumerate() {
        client.try_send_bytes(request).map_err(|error| format!("client {number}: {error}"))?;
        match client.try_read() {
            Ok(answer) if answer.to_string().starts_with("-NOAUTH") => {}
            Ok(_) => refused += 1,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(format!("client {number} has no answer")),
            Err(_) => refused += 1,
        }
    }
    // They stay for a second.
    clock::pause(Duration::from_secs(1));
    Ok(format!("{count} strangers were answered, {refused} of them closed or told something else than to log in"))
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn lines_of_65_kb_of_short_words_before_login_cost_nothing_that_stays() {
    let mut line = b"a ".repeat(32_500);
    line.extend_from_slice(b"\r\n");
    Scenario { settings: &[("PASSWORD", "secret")], attack: &|arena| strangers(arena, 500, &line), ..PEACE }.judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn what_strangers_begin_and_do_not_end_is_bounded() {
    // A frame that announces as much as may be announced before login, and brings nearly all of it.
    let mut frame = b"*10\r\n".to_vec();
    frame.extend(b"$16384\r\n".iter().chain(&[b'x'; 16384]).chain(b"\r\n").copied().collect::<Vec<u8>>().repeat(9));
    Scenario {
        settings: &[("PASSWORD", "secret")],
        attack: &|arena| {
            let mut clients: Vec<Connection> = (0..300).map(|_| arena.connect()).collect();
            let sent = clients.iter_mut().map(|client| client.try_send_bytes(&frame)).filter(Result::is_ok).count();
            clock::pause(Duration::from_secs(1));
            Ok(format!("{sent} of 300 strangers sent most of a request"))
        },
        ..PEACE
    }
    .judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn wrong_passwords_in_a_pipeline_hold_nobody_up() {
    let guesses = encoded(&["AUTH", "wrong"]).repeat(2000);
    Scenario {
        settings: &[("PASSWORD", "secret")],
        attack: &|arena| {
            let mut clients: Vec<Connection> = (0..16).map(|_| arena.connect()).collect();
            for client in &mut clients {
                client.try_send_bytes(&guesses).map_err(|error| error.to_string())?;
            }
            for client in &mut clients {
                let answer = client.try_read().map_err(|error| format!("AUTH: {error}"))?.to_string();
                if !answer.starts_with("-WRONGPASS") {
                    return Err(format!("AUTH was answered {answer:?}"));
                }
            }
            Ok("16 clients sent 2,000 wrong passwords each".to_owned())
        },
        ..PEACE
    }
    .judge();
}
