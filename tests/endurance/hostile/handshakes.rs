//! Many TLS handshakes at a steady rate, beside clients that GET as fast as they are answered.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use emptyserver::sys::clock;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::arena::{Arena, Measured, PEACE, Scenario};
use super::innocents::SetAtEnd;
use crate::support::{Authority, Files, Secure, Service, number_from_environment, program};

const PER_SECOND: u32 = 500;
const GREETERS: u32 = 4;
const CLIENTS: &str = "50";
const KEYS: &str = "1000";
/// Of the GETs, 999 of 1,000 are answered by then; beside much else on the same cores `HOSTILE_LATENCY_MS` says otherwise.
const LATENCY_MS_MAX: u64 = 20;

/// Believes everything: what a client looks at costs the machine of the test, and is not what is asked.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Full handshakes alone: nothing is resumed.
fn newcomer() -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Handshakes at this thread's share of the rate until it is over; whoever is late catches up.
fn greet(address: SocketAddr, number: u32, is_over: &AtomicBool, made: &AtomicU64) -> Result<(), String> {
    let config = newcomer();
    let pace = Duration::from_secs(1) * GREETERS / PER_SECOND;
    let mut due = clock::monotonic() + pace * number / GREETERS;
    while !is_over.load(Ordering::Relaxed) {
        let now = clock::monotonic();
        if now < due {
            thread::park_timeout(due - now);
            continue;
        }
        due += pace;
        Secure::try_open(address, &config).map_err(|error| format!("a handshake failed: {error}"))?;
        made.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// What the program's own generator says: calls per second, and how slow one of 1,000 was.
struct Gets {
    per_second: f64,
    latency: Duration,
}

fn bench(address: SocketAddr, flags: &[&str]) -> Result<serde_json::Value, String> {
    let port = address.port().to_string();
    let output = Command::new(program())
        .env_clear()
        .args(["bench", "--json", "-h", "127.0.0.1", "-p", &port, "-r", KEYS])
        .args(flags)
        .output()
        .map_err(|error| error.to_string())?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { serde_json::from_slice(&output.stdout).map_err(|_| error) } else { Err(error) }
}

fn gets(address: SocketAddr, flags: &[&str], seconds: u64) -> Result<Gets, String> {
    let seconds = seconds.to_string();
    let report = bench(address, &[&["-t", "get", "-c", CLIENTS, "--seconds", &seconds], flags].concat())?;
    let measured = &report["measurements"][0];
    let number = |value: &serde_json::Value| value.as_f64().ok_or_else(|| format!("no figure in {measured}"));
    let latency_ms = number(&measured["latency_ms"]["p99.9"])?;
    Ok(Gets { per_second: number(&measured["per_second"])?, latency: Duration::from_secs_f64(latency_ms / 1000.0) })
}

/// GETs alone, and then beside the handshakes.
fn beside_handshakes(arena: &Arena, of: &str, address: SocketAddr, flags: &[&str]) -> Result<String, String> {
    let seconds = number_from_environment("HOSTILE_SECONDS", 1).max(2);
    let greeted = arena.service.tls_address();
    let alone = gets(address, flags, seconds)?;
    let (is_over, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = clock::monotonic();
    let beside = thread::scope(|scope| {
        let (is_over, made) = (&is_over, &made);
        let end = SetAtEnd(is_over);
        let greeters: Vec<_> =
            (0..GREETERS).map(|number| scope.spawn(move || greet(greeted, number, is_over, made))).collect();
        let beside = gets(address, flags, seconds);
        drop(end);
        greeters.into_iter().try_for_each(|greeter| greeter.join().unwrap())?;
        beside
    })?;
    let rate = made.load(Ordering::Relaxed) as f64 / (clock::monotonic() - begun).as_secs_f64();
    if rate < f64::from(PER_SECOND) * 0.8 {
        return Err(format!("only {rate:.0} handshakes a second could be made"));
    }
    let bound = Duration::from_millis(number_from_environment("HOSTILE_LATENCY_MS", LATENCY_MS_MAX));
    arena.measured(Measured { of: of.to_owned(), alone: alone.latency, beside: beside.latency, bound });
    Ok(format!("{rate:.0} handshakes a second beside {:.0} {of}, of {:.0} alone", beside.per_second, alone.per_second))
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn five_hundred_handshakes_a_second_hold_up_no_get() {
    let (authority, files) = (Authority::new("an authority"), Files::new());
    files.write(&authority.certify("the service"));
    std::fs::write(files.path("ca.crt"), &authority.pem).unwrap();
    let [certificate, key, authorities] = ["tls.crt", "tls.key", "ca.crt"].map(|name| files.text(name));
    let settings =
        [("TLS_LISTEN", "127.0.0.1:0"), ("TLS_CERT_FILE", certificate.as_str()), ("TLS_KEY_FILE", key.as_str())];
    Scenario {
        settings: &settings,
        prepare: &|service: &Service| drop(bench(service.address(), &["--prefill", "-n", "0"]).unwrap()),
        attack: &|arena| {
            let plain = beside_handshakes(arena, "GETs of 50 clients", arena.service.address(), &[])?;
            let flags = ["--tls", "--cacert", &authorities];
            let secure = beside_handshakes(arena, "GETs of 50 clients over TLS", arena.service.tls_address(), &flags)?;
            Ok(format!("{plain}; {secure}"))
        },
        ..PEACE
    }
    .judge();
}
