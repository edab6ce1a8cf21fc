//! Ways to a service: addresses, sockets, URLs, logins, versions, TLS.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use super::program::{bare_cli, cli, run, told};
use crate::support::{Log, PATIENCE, Redis, Service};

#[test]
fn a_unix_socket_is_a_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kv.sock").display().to_string();
    let Some(_redis) = Redis::start(&["--unixsocket", &path]) else { return };
    let told = told(&bare_cli(&["-s", &path, "-n", "2", "client", "info"]).output().unwrap());
    assert!(told.code == 0 && told.out.contains(" db=2 "), "{told:?}");
}

#[test]
fn user_password_and_database_come_by_flag_url_or_variable() {
    let Some(redis) = Redis::start(&["--requirepass", "pw", "--user", "ann", "on", ">secret", "~*", "+@all"]) else {
        return;
    };
    let address = redis.address();
    let whoami = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = cli(address, arguments);
        let told = told(&command.envs(variables.iter().copied()).args(["client", "list"]).output().unwrap());
        let word = |name: &str| {
            let start = told.out.find(name)? + name.len();
            told.out[start..].split(' ').next().map(str::to_owned)
        };
        (word(" user=").unwrap_or_default(), word(" db=").unwrap_or_default(), word(" resp=").unwrap_or_default())
    };
    let expected = |user: &str, database: &str| (user.to_owned(), database.to_owned());
    let two = |(user, database, _)| (user, database);
    assert_eq!(two(whoami(&["-a", "pw"], &[])), expected("default", "0"));
    assert_eq!(two(whoami(&["--user", "ann", "--pass", "secret", "-n", "3"], &[])), expected("ann", "3"));
    for scheme in ["redis", "valkey"] {
        let url = format!("{scheme}://ann:secret@{address}/4");
        assert_eq!(two(whoami(&["-u", &url], &[])), expected("ann", "4"), "{url}");
    }
    assert_eq!(two(whoami(&[], &[("REDISCLI_AUTH", "pw")])), expected("default", "0"));
    let url = format!("redis://ann:secret@{address}/5");
    let told = told(&bare_cli(&["acl", "whoami"]).env("EMPTYSERVER_URL", &url).output().unwrap());
    assert_eq!(told.out, "ann\n");
}

#[test]
fn the_version_of_the_protocol_can_be_chosen() {
    let service = Service::start(&[("WORKERS", "1")]);
    for (flag, version) in [("-2", "2"), ("-3", "3")] {
        let told = run(service.address(), &[flag, "--csv", "hello"]);
        assert!(told.out.replace('\n', ",").contains(&format!("\"proto\",{version},")), "{told:?}");
    }
}

#[test]
fn a_visible_password_is_warned_of_on_standard_error_alone() {
    let service = Service::start(&[("WORKERS", "1"), ("PASSWORD", "pw")]);
    let warned = run(service.address(), &["-a", "pw", "ping"]);
    assert_eq!((warned.code, warned.out.as_str()), (0, "PONG\n"));
    assert!(warned.err.contains("--askpass or REDISCLI_AUTH") && !warned.err.contains("pw"), "{}", warned.err);
    assert_eq!(run(service.address(), &["-a", "pw", "--no-auth-warning", "ping"]).err, "");
    let told = told(&bare_cli(&["--askpass", "ping"]).output().unwrap());
    assert!(told.code == 2 && told.err.contains("--askpass needs a terminal"), "{told:?}");
}

#[test]
fn subscribers_see_messages_in_both_versions() {
    let Some(redis) = Redis::start(&[]) else { return };
    for (flag, expected) in
        [("-2", "subscribe\nnews\n1\nmessage\nnews\nhello\n"), ("-3", "subscribe\nnews\n1\nmessage\nnews\nhello\n")]
    {
        let mut child = cli(redis.address(), &[flag, "subscribe", "news"]).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = String::new();
        for expected_line in expected.lines() {
            if expected_line == "message" {
                assert_eq!(run(redis.address(), &["publish", "news", "hello"]).out, "1\n");
            }
            seen.push_str(&(lines.next().unwrap().unwrap() + "\n"));
        }
        assert_eq!(seen, expected);
        child.kill().and_then(|()| child.wait()).unwrap();
    }
}

/// A TLS port of a redis-server with a certificate of its own authority, and clients that must have one too.
fn start_tls(folder: &Path, more: &[&str]) -> Option<(Redis, u16)> {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    for (name, host) in [("server", "kv.test"), ("client", "ann")] {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), parameters.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port_text, certificate, key, authorities) =
        (port.to_string(), path("server.pem"), path("server.key"), path("ca.pem"));
    let arguments = [
        &[
            "--tls-port",
            &port_text,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authorities,
        ],
        more,
    ]
    .concat();
    Redis::start(&arguments).map(|redis| (redis, port))
}

#[test]
fn tls_checks_the_certificate_unless_it_is_told_not_to() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_redis, port)) = start_tls(folder.path(), &["--tls-auth-clients", "no"]) else { return };
    let port = port.to_string();
    let authorities = folder.path().join("ca.pem").display().to_string();
    let ask = |arguments: &[&str]| {
        let arguments = [&["-h", "127.0.0.1", "-p", &port], arguments, &["ping"]].concat();
        told(&bare_cli(&arguments).output().unwrap())
    };
    assert_eq!(ask(&["--tls", "--cacert", &authorities, "--sni", "kv.test"]).out, "PONG\n");
    assert_eq!(ask(&["--tls", "--insecure"]).out, "PONG\n");
    for scheme in ["rediss", "valkeys"] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        assert_eq!(ask(&["-u", &url, "--cacert", &authorities, "--sni", "kv.test"]).out, "PONG\n", "{url}");
    }
    let other_name = ask(&["--tls", "--cacert", &authorities]);
    assert!(other_name.code == 3 && other_name.err.contains("certificate"), "{other_name:?}");
    let in_the_clear = ask(&[]);
    assert_eq!(in_the_clear.code, 3, "{in_the_clear:?}");
}

#[test]
fn tls_shows_the_certificate_of_the_client_and_carries_large_values() {
    let folder = tempfile::tempdir().unwrap();
    let Some((redis, port)) = start_tls(folder.path(), &[]) else { return };
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (port, authorities, certificate, key) =
        (port.to_string(), path("ca.pem"), path("client.pem"), path("client.key"));
    let base = ["-h", "127.0.0.1", "-p", &port, "--tls", "--cacert", &authorities, "--sni", "kv.test"];
    let without = told(&bare_cli(&[&base[..], &["ping"]].concat()).output().unwrap());
    assert_eq!(without.code, 3, "{without:?}");
    let with = [&base[..], &["--cert", &certificate, "--key", &key]].concat();
    let value = "0123456789abcdef".repeat(20_000);
    let output = super::program::run_with(bare_cli(&[&with[..], &["-x", "set", "large"]].concat()), value.as_bytes());
    assert_eq!(told(&output).out, "OK\n");
    assert_eq!(told(&bare_cli(&[&with[..], &["get", "large"]].concat()).output().unwrap()).out.trim_end(), value);
    let lines: String = (0..20_000).map(|number| format!("set key:{number} {number}\n")).collect();
    let piped = told(&super::program::run_with(bare_cli(&[&with[..], &["--pipe"]].concat()), lines.as_bytes()));
    assert!(piped.out.starts_with("commands: 20000, replies: 20000, errors: 0,"), "{piped:?}");
    assert_eq!(run(redis.address(), &["dbsize"]).out, "20001\n");
}

#[test]
fn monitor_shows_what_others_do() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut child = cli(service.address(), &["--monitor"]).stderr(Stdio::null()).spawn().unwrap();
    let log = Log::default();
    log.gather(child.stdout.take().unwrap());
    log.wait_for(0, PATIENCE, |line| line == "OK").expect("MONITOR is answered");
    assert_eq!(run(service.address(), &["set", "seen", "1"]).code, 0);
    log.wait_for(0, PATIENCE, |line| line.ends_with("\"set\" \"seen\" \"1\"")).expect("the command is shown");
    child.kill().and_then(|()| child.wait()).unwrap();
}
