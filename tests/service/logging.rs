//! The log of the real program: what strangers do is told once a minute, and nobody who reads it slowly, or not at all, stops the
//! service.

use nix::sys::signal::Signal;

use crate::support::{Connection, PATIENCE, Service, signal};

#[test]
fn what_strangers_do_is_one_line_of_each_kind_however_many_they_are() {
    let service = Service::start(&[("WORKERS", "1")]);
    for _ in 0..40 {
        for bytes in [&b"POST / HTTP/1.1\r\n"[..], b"GET key\r\nHost: here\r\n", b"*1\r\n$x\r\n"] {
            let mut stranger = service.connect();
            stranger.send_bytes(bytes);
            while !stranger.is_closed() {}
        }
    }
    // The last line of the one worker: all before it are there.
    let mut client = service.connect();
    client.send(&["SHUTDOWN"]);
    service.log().wait_for(0, PATIENCE, |line| line.contains("a client ends the service")).unwrap();
    let lines = service.log().lines();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("a web browser was made to speak to this service"), 1);
    assert_eq!(count("a client does not speak the protocol"), 1);
}

#[test]
fn a_log_that_nobody_reads_stops_nobody_and_what_was_dropped_is_told_when_it_is_read_again() {
    let service = Service::start(&[("WORKERS", "2"), ("ADMIN_LISTEN", "off")]);
    let mut clients: Vec<_> = (0..8).map(|_| service.connect()).collect();
    service.log().pause(true);
    // Each is a line of the supervisor: more than any pipe holds.
    for _ in 0..3000 {
        signal(service.pid(), Signal::SIGHUP);
        assert_eq!(clients[0].ask("PING"), "+PONG");
    }
    // A line of a worker, of each.
    for _ in 0..8 {
        let mut stranger = service.connect();
        stranger.send_bytes(b"POST / HTTP/1.1\r\n");
        assert!(stranger.is_closed());
    }
    for client in &mut clients {
        assert_eq!(client.ask("SET key value"), "+OK");
    }
    // The supervisor works too.
    service.replace("worker-0");
    let dropped = |info: &str| -> u64 {
        let line = info.split("\\r\\n").find_map(|line| line.strip_prefix("log_lines_dropped:"));
        line.unwrap_or_else(|| panic!("{info}")).parse().unwrap()
    };
    let count = dropped(&service.connect().ask("INFO stats"));
    assert!(count > 0);
    service.log().pause(false);
    let line = service.log().wait_for(0, PATIENCE, |line| line.contains("log lines were dropped")).unwrap();
    let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(fields["lines"].as_u64().unwrap() >= count, "{line}");
}

#[test]
fn a_secret_with_a_line_end_is_told_of_at_the_start_by_the_name_of_its_variable() {
    let service = Service::start(&[("WORKERS", "1"), ("PASSWORD", "hunter2\n"), ("ADMIN_TOKEN", "\u{feff}token")]);
    let lines = service.log().lines();
    for words in
        [["EMPTYSERVER_PASSWORD", "ends in a line end"], ["EMPTYSERVER_ADMIN_TOKEN", "begins with a byte order mark"]]
    {
        assert!(lines.iter().any(|line| words.iter().all(|word| line.contains(word))), "{words:?} {lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("hunter2")), "{lines:?}");
    assert_eq!(service.connect().call(&["AUTH", "hunter2\n"]).to_string(), "+OK");
}

#[test]
fn wrong_tokens_are_told_of_once() {
    let service = Service::start(&[("WORKERS", "1"), ("ADMIN_TOKEN", "let me"), ("ADMIN_LISTEN", "127.0.0.1:0")]);
    let line =
        service.log().wait_for(0, PATIENCE, |line| line.contains("health, metrics and the status page")).unwrap();
    let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
    let admin: std::net::SocketAddr = fields["address"].as_str().unwrap().parse().unwrap();
    for token in ["guess", "let m", "let me!"] {
        let mut stream = Connection::open(admin);
        let head = format!("POST /backup HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.send_bytes(head.as_bytes());
        assert_eq!(stream.read_bytes(12).unwrap(), b"HTTP/1.1 401");
    }
    let lines = service.log().lines();
    assert_eq!(lines.iter().filter(|line| line.contains("had no token, or a wrong one")).count(), 1, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("guess")));
}

/// Whatever goes well or wrong with it.
#[test]
fn the_log_has_no_key_no_value_and_no_password() {
    let service = Service::start(&[("WORKERS", "2"), ("LOG", "debug"), ("SLOWLOG_MICROSECONDS", "0")]);
    let mut client = service.connect();
    for call in [
        "SET thekey-a thevalue-a",
        "GET thekey-a",
        "LPUSH thekey-a thevalue-b",
        "EVAL \"return redis.call('set', KEYS[1], ARGV[1])\" 1 thekey-c thevalue-c",
        "EVAL \"return redis.call('lpush', KEYS[1], ARGV[1])\" 1 thekey-a thevalue-c",
        "ACL SETUSER ann on >thepassword-a ~none +get",
        "ACL SETUSER ann >thepassword-b bogus",
        "CONFIG SET requirepass thepassword-c",
        "AUTH thepassword-d",
        "AUTH ann thepassword-e",
        "AUTH ann thepassword-a",
        "GET thekey-a",
        "HELLO 3 AUTH ann thepassword-f",
        "MIGRATE thekey-a thevalue-d",
    ] {
        client.ask(call);
    }
    for bytes in [&b"*2\r\n$3\r\nGET\r\n$x\r\nthekey-d\r\n"[..], b"POST /thekey-e HTTP/1.1\r\nHost: thevalue-f\r\n\r\n"]
    {
        let mut stranger = service.connect();
        stranger.send_bytes(bytes);
        while !stranger.is_closed() {}
    }
    let mut admin = service.connect();
    assert_eq!(admin.ask("AUTH thepassword-c"), "+OK");
    admin.send(&["SHUTDOWN"]);
    service.log().wait_for(0, PATIENCE, |line| line.contains("a client ends the service")).unwrap();
    let lines = service.log().lines();
    assert!(lines.iter().any(|line| line.contains("\"DEBUG\"")), "nothing is told at that level");
    for word in ["thekey", "thevalue", "thepassword"] {
        let shown: Vec<&String> = lines.iter().filter(|line| line.contains(word)).collect();
        assert!(shown.is_empty(), "{shown:?}");
    }
}

#[test]
fn what_a_page_in_a_browser_sends_is_never_run() {
    let service = Service::start(&[("WORKERS", "1")]);
    assert_eq!(service.connect().ask("SET key value"), "+OK");
    for head in [
        "POST / HTTP/1.1\r\nHost: here\r\n",
        "GET key\r\nHost: here\r\n",
        "PING\r\nHost: here\r\n",
        "PUT /\r\nhost: x\r\n",
    ] {
        // The body of a request is what its page likes.
        for body in [&b"FLUSHALL\r\nSET key other\r\n"[..], b"*1\r\n$8\r\nFLUSHALL\r\n"] {
            let mut browser = service.connect();
            browser.send_bytes(&[head.as_bytes(), b"Content-Length: 30\r\n\r\n", body].concat());
            while !browser.is_closed() {}
        }
    }
    assert_eq!(service.connect().ask("GET key"), "\"value\"");
}
