//! Certificates are replaced while clients go on, and nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;

use super::started::Tls;
use crate::support::{Authority, Files, PATIENCE, Secure, number_from_environment, signal, wait_until};

const READ_AGAIN: &str = "the certificate was read again";

/// How many certificates are replaced under load; `.ci/long` takes 100.
fn replacements() -> usize {
    number_from_environment("REPLACEMENTS", 12) as usize
}

#[test]
fn no_client_sees_an_error_while_certificates_are_replaced() {
    let (authority, files) = (Authority::new("an authority"), Files::new());
    files.swap(0, &authority.certify("the service"));
    let here = Tls::start_with(authority, files, &[("WORKERS", "2"), ("DURABILITY", "os")]);
    let (is_over, calls, connections) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let config = here.authority.client(None);
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (address, config) = (here.address, Arc::clone(&config));
            let (is_over, calls, connections) = (Arc::clone(&is_over), Arc::clone(&calls), Arc::clone(&connections));
            std::thread::spawn(move || {
                let mut lasting = Secure::open(address, &config);
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(lasting.ask(&format!("SET key:{number} value")), "+OK");
                    calls.fetch_add(1, Ordering::Relaxed);
                    // And those that come and go.
                    if number % 2 == 0 {
                        assert_eq!(Secure::open(address, &config).ask("PING"), "+PONG");
                        connections.fetch_add(1, Ordering::Relaxed);
                    }
                }
                assert_eq!(lasting.ask("PING"), "+PONG");
            })
        })
        .collect();
    for number in 1..=replacements() {
        let (before, from) = (Secure::open(here.address, &config).certificate(), here.service.log().len());
        here.files.swap(number, &here.authority.certify("the service"));
        // Most of them by a signal; every fourth is found by who looks.
        if number % 4 != 0 {
            signal(here.service.pid(), Signal::SIGHUP);
        }
        assert!(here.service.log().wait_for(from, PATIENCE, |line| line.contains(READ_AGAIN)).is_some());
        wait_until("both workers show the new one", PATIENCE, || {
            (0..4).all(|_| Secure::open(here.address, &config).certificate() != before).then_some(())
        });
    }
    is_over.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("a client saw no error"));
    println!(
        "{} replacements beside {} calls and {} connections",
        replacements(),
        calls.load(Ordering::Relaxed),
        connections.load(Ordering::Relaxed)
    );
    // A worker that starts later has the newest one.
    let newest = Secure::open(here.address, &config).certificate();
    here.service.replace("worker-0");
    here.service.replace("worker-1");
    wait_until("the new workers serve", PATIENCE, || {
        Secure::try_open(here.address, &config).ok().map(|client| assert_eq!(client.certificate(), newest))
    });
}

#[test]
fn a_pair_that_does_not_fit_is_refused_and_the_one_before_it_stays() {
    for workers in ["0", "1"] {
        let here = Tls::start(&[("WORKERS", workers)]);
        let config = here.authority.client(None);
        let before = Secure::open(here.address, &config).certificate();
        let from = here.service.log().len();
        std::fs::write(here.files.path("tls.key"), here.authority.certify("another").key).unwrap();
        signal(here.service.pid(), Signal::SIGHUP);
        let refused = |line: &str| line.contains("the one before it stays") && line.contains("tls.key");
        assert!(here.service.log().wait_for(from, PATIENCE, refused).is_some());
        assert_eq!(Secure::open(here.address, &config).certificate(), before);
        // Without a signal: whoever looks sees that it is good again.
        let from = here.service.log().len();
        here.files.write(&here.authority.certify("the service"));
        assert!(here.service.log().wait_for(from, PATIENCE, |line| line.contains(READ_AGAIN)).is_some());
        wait_until("it is shown", PATIENCE, || {
            (Secure::open(here.address, &config).certificate() != before).then_some(())
        });
    }
}

#[test]
fn a_start_without_a_good_certificate_says_what_is_wrong() {
    let mut here = Tls::start(&[("WORKERS", "1")]);
    here.service.stop();
    std::fs::remove_file(here.files.path("tls.key")).unwrap();
    let told = here.service.refused_start();
    assert!(told.contains("tls.key can't be read"), "{told}");
    std::fs::write(
        here.files.path("tls.key"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let told = here.service.refused_start();
    assert!(told.contains("one with a passphrase can't be used"), "{told}");
    here.service.set("TLS_CA_FILE", &here.files.text("tls.key"));
    here.service.set("TLS_AUTH_CLIENTS", "required");
    here.files.write(&here.authority.certify("the service"));
    let told = here.service.refused_start();
    assert!(told.contains("the authorities' file holds no certificate"), "{told}");
}
