//! What another implementation sees: versions, ciphers, renegotiation, as scanners ask for them. Without `openssl` nothing is asked.

use std::io::Write;
use std::process::{Command, Stdio};

use super::started::Tls;

/// True when a handshake with these flags comes to an end.
fn agrees(here: &Tls, flags: &[&str]) -> bool {
    let text = talk(here, flags, b"PING\r\nQUIT\r\n");
    text.contains("+PONG")
}

fn talk(here: &Tls, flags: &[&str], sent: &[u8]) -> String {
    let authorities = here.files.text("ca.crt");
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &here.address.to_string(), "-CAfile", &authorities, "-ign_eof"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who has refused the handshake reads nothing.
    drop(child.stdin.take().unwrap().write_all(sent));
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_installed() -> bool {
    let is_there = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("SKIPPED: no openssl");
    }
    is_there
}

#[test]
fn only_versions_and_ciphers_that_are_safe_are_spoken() {
    if !is_installed() {
        return;
    }
    let here = Tls::start(&[("WORKERS", "1")]);
    let old = |version: &'static str| vec![version, "-cipher", "ALL:@SECLEVEL=0"];
    let with = |version: &'static str, cipher: &'static str| match version {
        "-tls1_3" => vec![version, "-ciphersuites", cipher],
        _ => vec![version, "-cipher", cipher],
    };
    for (flags, expected) in [
        (old("-tls1"), false),
        (old("-tls1_1"), false),
        (vec!["-tls1_2"], true),
        (vec!["-tls1_3"], true),
        (with("-tls1_3", "TLS_AES_128_GCM_SHA256"), true),
        (with("-tls1_3", "TLS_AES_256_GCM_SHA384"), true),
        (with("-tls1_3", "TLS_CHACHA20_POLY1305_SHA256"), true),
        (with("-tls1_3", "TLS_AES_128_CCM_SHA256"), false),
        (with("-tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256"), true),
        (with("-tls1_2", "ECDHE-ECDSA-AES256-GCM-SHA384"), true),
        (with("-tls1_2", "ECDHE-ECDSA-CHACHA20-POLY1305"), true),
        // Without forward secrecy, without authenticated encryption, weak, or without a certificate.
        (with("-tls1_2", "ECDHE-ECDSA-AES128-SHA256"), false),
        (with("-tls1_2", "ECDHE-ECDSA-AES256-SHA"), false),
        (with("-tls1_2", "AES128-GCM-SHA256"), false),
        (with("-tls1_2", "AES256-SHA"), false),
        (with("-tls1_2", "DHE-RSA-AES256-GCM-SHA384"), false),
        (with("-tls1_2", "kRSA:!eNULL"), false),
        (with("-tls1_2", "aNULL:@SECLEVEL=0"), false),
        (with("-tls1_2", "eNULL:@SECLEVEL=0"), false),
        (with("-tls1_2", "3DES:RC4:@SECLEVEL=0"), false),
    ] {
        assert_eq!(agrees(&here, &flags), expected, "{flags:?}");
    }
    let text = talk(&here, &["-tls1_3"], b"PING\r\nQUIT\r\n");
    assert!(text.contains("No ALPN negotiated") && text.contains("Compression: NONE"), "{text}");
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    let newest = Tls::start(&[("WORKERS", "1"), ("TLS_VERSION_MIN", "1.3")]);
    assert!(agrees(&newest, &["-tls1_3"]) && !agrees(&newest, &["-tls1_2"]));
}

/// The loop has to send by itself what a read brought about: nothing else is to be sent here.
#[test]
fn a_peer_that_renegotiates_is_refused_at_once() {
    if !is_installed() {
        return;
    }
    let here = Tls::start(&[("WORKERS", "1")]);
    // `R` at the start of a line asks for it. openssl ends when it is refused.
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &here.address.to_string(), "-tls1_2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"R\n").unwrap();
    let error = child.stderr.take().unwrap();
    let (said, says) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(error)).map_while(Result::ok) {
            if line.contains("no renegotiation") {
                said.send(()).unwrap();
            }
        }
    });
    let is_refused = says.recv_timeout(crate::support::PATIENCE).is_ok();
    drop(input);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_refused, "the refusal does not come");
}
