//! The log of the real program: what strangers do is told once a minute, and nobody who reads it slowly, or not at all, stops the
//! service.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{PATIENCE, Service};

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
