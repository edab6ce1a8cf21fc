//! Who connects: client certificates, what is told of each, resumption, and the program's own client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use super::started::Tls;
use crate::support::{Authority, Files, PATIENCE, Secure, program, wait_until};

/// True when a client with this certificate is served.
fn is_served(here: &Tls, config: &std::sync::Arc<rustls::ClientConfig>) -> bool {
    // With TLS 1.3 the client learns only later that its certificate was refused.
    Secure::try_open(here.address, config).and_then(|mut client| client.try_ask("PING")).is_ok()
}

#[test]
fn client_certificates_are_asked_for_as_the_setting_says() {
    let strangers = Authority::new("strangers");
    for (setting, [without, good, foreign, over]) in [
        ("off", [true, true, true, true]),
        ("optional", [true, true, false, false]),
        ("required", [false, true, false, false]),
    ] {
        let (authority, files) = (Authority::new("an authority"), Files::new());
        files.write(&authority.certify("the service"));
        std::fs::write(files.path("ca.crt"), &authority.pem).unwrap();
        let authorities = files.text("ca.crt");
        let settings = [("WORKERS", "1"), ("TLS_AUTH_CLIENTS", setting), ("TLS_CA_FILE", authorities.as_str())];
        let here = Tls::start_with(authority, files, &settings);
        let ann = here.authority.certify("ann");
        let expired = here.authority.certify_with("old ann", |params| {
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        });
        let served = [None, Some(&ann), Some(&strangers.certify("ann")), Some(&expired)]
            .map(|shown| is_served(&here, &here.authority.client(shown)));
        assert_eq!(served, [without, good, foreign, over], "{setting}");
        let mut client = Secure::open(here.address, &here.authority.client(Some(&ann)));
        let line = client.ask("CLIENT INFO");
        let name = if setting == "off" { "" } else { "ann" };
        assert!(line.contains(&format!(" tls=1.3 tls-name={name}")), "{line}");
        let words = match setting {
            "off" => "no",
            "optional" => setting,
            _ => "yes",
        };
        assert!(client.ask("CONFIG GET tls-auth-clients").contains(words));
    }
}

#[test]
fn a_certificate_names_a_user_only_where_that_is_asked_for() {
    for (setting, ann, stranger) in [("no", "default", "default"), ("yes", "ann", "default")] {
        let (authority, files) = (Authority::new("an authority"), Files::new());
        files.write(&authority.certify("the service"));
        std::fs::write(files.path("ca.crt"), &authority.pem).unwrap();
        let authorities = files.text("ca.crt");
        let tls = [("TLS_AUTH_CLIENTS", "optional"), ("TLS_CA_FILE", authorities.as_str()), ("TLS_USERS", setting)];
        let here = Tls::start_with(authority, files, &[&[("WORKERS", "1")][..], &tls].concat());
        let mut admin = here.service.connect();
        assert_eq!(admin.ask("ACL SETUSER ann on >pw +ping +acl|whoami"), "+OK");
        assert_eq!(admin.ask("ACL SETUSER off +acl|whoami"), "+OK");
        let who = |shown: Option<&str>| {
            let pair = shown.map(|name| here.authority.certify(name));
            Secure::open(here.address, &here.authority.client(pair.as_ref())).ask("ACL WHOAMI")
        };
        assert_eq!(who(Some("ann")), format!("\"{ann}\""), "{setting}");
        // Nobody's name, that of a user who is off, and no certificate at all.
        assert_eq!([who(Some("bob")), who(Some("off")), who(None)], [0; 3].map(|_| format!("\"{stranger}\"")));
        // It needs no password, where others need one.
        assert_eq!(admin.ask("CONFIG SET requirepass secret"), "+OK");
        let asked = "-NOAUTH Authentication required.".to_owned();
        let expected = if setting == "yes" { "\"ann\"".to_owned() } else { asked.clone() };
        assert_eq!((who(Some("ann")), who(Some("bob")), who(None)), (expected, asked.clone(), asked));
    }
}

#[test]
fn what_is_told_of_tls_is_told_without_and_with_it() {
    let here = Tls::start(&[("WORKERS", "2"), ("TLS_VERSION_MIN", "1.3")]);
    let mut client = Secure::open(here.address, &here.authority.client(None));
    let port = here.address.port();
    let mut plain = here.service.connect();
    let plain_port = here.service.address().port();
    let info = plain.call(&["INFO", "server"]).text();
    assert!(info.contains(&format!("tcp_port:{plain_port}\r\n")), "{info}");
    assert!(info.contains(&format!("listener0:name=tcp,bind=127.0.0.1,port={plain_port}\r\n")), "{info}");
    assert!(info.contains(&format!("listener1:name=tls,bind=127.0.0.1,port={port}\r\n")), "{info}");
    // The workers tell of their figures twenty times a second.
    wait_until("it is counted", PATIENCE, || (plain.of_info("tls_clients") == 1).then_some(()));
    assert!(client.ask("CONFIG GET tls-port").contains(&port.to_string()));
    assert!(client.ask("CONFIG GET tls-protocols").contains("TLSv1.3"));
    assert!(plain.ask("CONFIG GET tls-cert-file").contains("tls.crt"));
    assert!(plain.ask("CONFIG SET tls-port 0").starts_with("-ERR"));
    let list = plain.call(&["CLIENT", "LIST"]).text();
    assert_eq!(list.lines().filter(|line| line.contains(" tls=1.3")).count(), 1, "{list}");
    drop(client);
    wait_until("it is not counted any more", PATIENCE, || (plain.of_info("tls_clients") == 0).then_some(()));
}

#[test]
fn a_client_that_comes_again_needs_no_signature_at_any_worker_until_the_certificate_is_replaced() {
    let here = Tls::start(&[("WORKERS", "2")]);
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let mut roots = rustls::RootCertStore::empty();
        let authority = <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(
            here.authority.pem.as_bytes(),
        );
        roots.add(authority.unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = std::sync::Arc::new(config);
        let kind = || {
            let mut client = Secure::open(here.address, &config);
            // Its ticket comes with the reply, or before.
            assert_eq!(client.ask("PING"), "+PONG");
            client.stream.conn.handshake_kind().unwrap()
        };
        assert_eq!(kind(), rustls::HandshakeKind::Full);
        for _ in 0..10 {
            assert_eq!(kind(), rustls::HandshakeKind::Resumed);
        }
        let reloaded = here.service.log().len();
        crate::support::signal(here.service.pid(), nix::sys::signal::Signal::SIGHUP);
        let is_it = |line: &str| line.contains("the certificate was read again");
        assert!(here.service.log().wait_for(reloaded, PATIENCE, is_it).is_some());
        // Each worker hears of it by itself.
        wait_until("the keys of tickets are new", PATIENCE, || (kind() == rustls::HandshakeKind::Full).then_some(()));
    }
}

#[test]
fn the_programs_own_client_and_probe_speak_it() {
    let (authority, files) = (Authority::new("an authority"), Files::new());
    files.write(&authority.certify("the service"));
    std::fs::write(files.path("ca.crt"), &authority.pem).unwrap();
    let here = Tls::start_with(authority, files, &[("WORKERS", "1"), ("PASSWORD", "secret")]);
    let run = |arguments: &[&str], settings: &[(&str, &str)]| {
        let mut command = Command::new(program());
        command.args(arguments).env_clear();
        command.envs(settings.iter().map(|(name, value)| (format!("EMPTYSERVER_{name}"), *value)));
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (address, port) = (here.address.to_string(), here.address.port().to_string());
    let (certificate, key) = (here.files.text("tls.crt"), here.files.text("tls.key"));
    let own = [
        ("LISTEN", "off"),
        ("TLS_LISTEN", address.as_str()),
        ("TLS_CERT_FILE", certificate.as_str()),
        ("TLS_KEY_FILE", key.as_str()),
        ("PASSWORD", "secret"),
    ];
    let (is_healthy, out, err) = run(&["health"], &own);
    assert!(is_healthy && out.contains("answers"), "{out}{err}");
    let (is_well, out, _) = run(&["cli", "ping"], &own);
    assert!(is_well && out == "PONG\n", "{out}");
    let authorities = here.files.text("ca.crt");
    let flags = ["-p", &port, "-a", "secret", "--tls", "--cacert", &authorities];
    let (is_well, out, err) = run(&[&["cli"][..], &flags, &["ping"]].concat(), &[]);
    assert!(is_well && out == "PONG\n", "{out}{err}");
    let (is_well, out, err) = run(&[&["bench"][..], &flags, &["-n", "2000", "-c", "4", "-t", "set,get"]].concat(), &[]);
    assert!(is_well, "{out}{err}");
}

#[test]
fn a_probe_that_has_no_certificate_to_show_sees_a_service_that_asks_for_one() {
    let (authority, files) = (Authority::new("an authority"), Files::new());
    files.write(&authority.certify("the service"));
    std::fs::write(files.path("ca.crt"), &authority.pem).unwrap();
    let authorities = files.text("ca.crt");
    let settings = [("WORKERS", "1"), ("TLS_AUTH_CLIENTS", "required"), ("TLS_CA_FILE", authorities.as_str())];
    let here = Tls::start_with(authority, files, &settings);
    let output = Command::new(program())
        .arg("health")
        .env_clear()
        .env("EMPTYSERVER_LISTEN", "off")
        .env("EMPTYSERVER_TLS_LISTEN", here.address.to_string())
        .env("EMPTYSERVER_TLS_CERT_FILE", here.files.text("tls.crt"))
        .env("EMPTYSERVER_TLS_KEY_FILE", here.files.text("tls.key"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_admin_port_speaks_tls_with_the_certificate_of_the_service() {
    for workers in ["0", "1"] {
        let here = Tls::start(&[("WORKERS", workers), ("ADMIN_LISTEN", "127.0.0.1:0"), ("ADMIN_TLS", "yes")]);
        let is_it = |line: &str| line.contains("health, metrics and the status page\"");
        let line = here.service.log().wait_for(0, PATIENCE, is_it).unwrap();
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
        let admin: std::net::SocketAddr = fields["address"].as_str().unwrap().parse().unwrap();
        let config = here.authority.client(None);
        let get = |path: &str| {
            let mut client = Secure::open(admin, &config);
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            client.stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            client.stream.read_to_string(&mut answer).unwrap();
            (answer, client.certificate())
        };
        let (answer, before) = get("/livez");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
        let mut client = Secure::open(here.address, &config);
        assert_eq!(client.certificate(), before);
        assert_eq!(client.ask("PING"), "+PONG");
        // Without TLS nothing is answered.
        let mut plain = TcpStream::connect(admin).unwrap();
        plain.write_all(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        drop(plain.read_to_end(&mut answer));
        assert!(!answer.starts_with(b"HTTP"));
        here.files.write(&here.authority.certify("the service"));
        wait_until("the new one is shown", PATIENCE, || (get("/livez").1 != before).then_some(()));
        let metrics = get("/metrics").0;
        let sample = |name: &str| -> f64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
        };
        assert!(sample("emptyserver_tls_certificate_reloads_total") >= 1.0);
        assert!(sample("emptyserver_tls_certificate_expiry_timestamp_seconds") > 1.7e9);
        assert!(sample("emptyserver_transport_connections{transport=\"tls\"}") >= 1.0);
        assert!(sample("emptyserver_tls_handshakes_total") >= 1.0);
    }
}
