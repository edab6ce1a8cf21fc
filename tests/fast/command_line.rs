//! The real program's command line: what it prints, where, and the codes that scripts rely on.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

fn program(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emptyserver"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    program(arguments, variables).output().unwrap()
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// One connection to a service that answers each command with the next of `replies` and then closes. Gives the last
/// words of the commands.
fn service(replies: &'static [&'static str]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut requests = BufReader::new(stream.try_clone().unwrap());
        let answered = replies.iter().map_while(|reply| {
            let words = read_command(&mut requests)?;
            stream.write_all(reply.as_bytes()).unwrap();
            Some(words.join(" "))
        });
        answered.collect()
    });
    (address, thread)
}

/// The words of one command; `None` at the end of the stream.
fn read_command(requests: &mut impl BufRead) -> Option<Vec<String>> {
    let header = |requests: &mut dyn BufRead| {
        let mut line = String::new();
        requests.read_line(&mut line).unwrap();
        line.get(1..).and_then(|number| number.trim().parse::<usize>().ok())
    };
    let count = header(requests)?;
    let word = |_| {
        let mut bytes = vec![0; header(requests).unwrap() + 2];
        requests.read_exact(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned()
    };
    Some((0..count).map(word).collect())
}

/// `EMPTYSERVER_LISTEN` that nobody listens at.
fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn the_version_names_the_commit() {
    let (code, out, _) = told(&run(&["--version"], &[]));
    let commit = out.trim().strip_prefix(concat!("emptyserver ", env!("CARGO_PKG_VERSION"), " (")).unwrap();
    assert_eq!(code, 0);
    assert!(commit.ends_with(')') && commit.len() > 1, "{out}");
}

#[test]
fn config_shows_what_is_set_and_hides_secrets() {
    let (code, out, _) = told(&run(&["config"], &[("EMPTYSERVER_PASSWORD", "hunter2"), ("EMPTYSERVER_WORKERS", "3")]));
    assert_eq!(code, 0);
    assert!(!out.contains("hunter2"));
    let line = out.lines().find(|line| line.starts_with("EMPTYSERVER_WORKERS ")).unwrap();
    assert_eq!(line.split_whitespace().nth(1), Some("3"));
    let json = told(&run(&["config", "--json"], &[])).1;
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
}

#[test]
fn every_wrong_setting_is_named_before_anything_starts() {
    let variables = [("EMPTYSERVER_WORKRES", "3"), ("EMPTYSERVER_DURABILITY", "sometimes")];
    for arguments in [&[][..], &["serve"], &["config"], &["check"], &["health"], &["cli", "ping"]] {
        let (code, out, err) = told(&run(arguments, &variables));
        assert_eq!((code, out.as_str()), (2, ""));
        assert_eq!(
            err,
            "emptyserver: EMPTYSERVER_DURABILITY cannot be `sometimes`: it must be one of always, everysec, os\n\
             emptyserver: EMPTYSERVER_WORKRES is not a setting: did you mean EMPTYSERVER_WORKERS?\n"
        );
    }
}

#[test]
fn serve_takes_no_flags() {
    assert_eq!(told(&run(&["serve", "--port", "1"], &[])).0, 2);
}

#[test]
fn cli_prints_a_reply_and_says_by_its_code_whether_it_was_an_error() {
    for (reply, code, printed) in [("+OK\r\n", 0, "OK\n"), ("$2\r\nhi\r\n", 0, "hi\n"), ("-ERR no\r\n", 1, "ERR no\n")]
    {
        let replies: &'static [&'static str] = Box::leak(Box::new([reply]));
        let (address, service) = service(replies);
        let port = address.port().to_string();
        let output = run(&["cli", "-p", &port, "set", "a", "-1"], &[]);
        assert_eq!(told(&output), (code, printed.to_owned(), String::new()));
        assert_eq!(service.join().unwrap(), ["set a -1"]);
    }
}

#[test]
fn cli_takes_one_command_a_line_and_goes_on_after_an_error() {
    let (address, service) = service(&["+OK\r\n", "-ERR no\r\n", "*2\r\n:1\r\n$-1\r\n", "+OK\r\n"]);
    let mut child = program(&["cli"], &[("EMPTYSERVER_URL", &format!("redis://{address}"))]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"set 'a b' \"\\x41\"\n\nnonsense\nmget a b\nQUIT\nping\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(told(&output), (1, "OK\nERR no\n1\n\nOK\n".to_owned(), String::new()));
    assert_eq!(service.join().unwrap(), ["set a b A", "nonsense", "mget a b", "QUIT"]);
}

#[test]
fn cli_ends_with_2_for_what_it_cannot_read() {
    let (code, _, err) = told(&run(&["cli", "-u", "http://x", "ping"], &[]));
    assert_eq!(
        (code, err.as_str()),
        (2, "emptyserver cli: a URL begins with redis:// or valkey://, or with rediss:// or valkeys:// for TLS\n")
    );
    assert_eq!(told(&run(&["cli", "-p", "no", "ping"], &[])).0, 2);
}

#[test]
fn cli_ends_with_3_without_a_connection() {
    let address = unused_address();
    let (code, out, err) = told(&run(&["cli", "ping"], &[("EMPTYSERVER_LISTEN", &address)]));
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.starts_with(&format!("emptyserver cli: cannot connect to {address}: ")), "{err}");

    let (address, service) = service(&[""]);
    let (code, _, err) = told(&run(&["cli", "-u", &format!("redis://{address}"), "ping"], &[]));
    assert_eq!((code, err.as_str()), (3, "emptyserver cli: the service closed the connection\n"));
    service.join().unwrap();
}

#[test]
fn cli_authenticates_with_what_the_environment_says() {
    let (address, service) = service(&["+OK\r\n", "+OK\r\n", "+PONG\r\n"]);
    let (address, variables) = (address.to_string(), [("REDISCLI_AUTH", "pw")]);
    let (_, port) = address.split_once(':').unwrap();
    assert_eq!(told(&run(&["cli", "-h", "127.0.0.1", "-p", port, "-n", "2", "ping"], &variables)).1, "PONG\n");
    assert_eq!(service.join().unwrap(), ["AUTH pw", "SELECT 2", "ping"]);
}

#[test]
fn completions_know_the_commands_and_flags_for_each_shell() {
    for (shell, checker) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")] {
        let (code, script, _) = told(&run(&["completions", shell], &[]));
        assert_eq!(code, 0);
        assert!(script.contains("health") && script.contains("bigkeys") && script.contains("cacert"), "{script}");
        assert!(script.contains("bench") && script.contains("warm-up"), "{script}");
        // Only the shells that are here can say whether they understand it.
        let mut syntax = Command::new(checker);
        let Ok(mut child) = syntax.arg("-n").stdin(Stdio::piped()).spawn() else { continue };
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{shell}");
    }
    assert_eq!(told(&run(&["completions", "tcl"], &[])).0, 2);
}

#[test]
fn bash_completes_with_the_script() {
    let script = told(&run(&["completions", "bash"], &[])).1;
    let asking = format!(
        "{script}\nCOMP_WORDS=(emptyserver cli --big); COMP_CWORD=2; _emptyserver emptyserver --big cli; echo \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["-c", &asking]).output().unwrap();
    assert_eq!(told(&output).1, "--bigkeys\n");
}

#[test]
fn the_man_page_is_one_of_the_program_or_of_a_command() {
    let (code, page, _) = told(&run(&["man"], &[]));
    assert!(code == 0 && page.contains(".TH emptyserver 1") && page.contains("emptyserver\\-cli(1)"), "{page}");
    assert!(page.contains("emptyserver\\-bench(1)"), "{page}");
    for (command, flag) in [("cli", "\\-\\-bigkeys"), ("bench", "\\-\\-warm\\-up")] {
        let (code, page, _) = told(&run(&["man", command], &[]));
        assert!(code == 0 && page.matches(".TH ").count() == 1 && page.contains(flag), "{page}");
    }
    assert_eq!(told(&run(&["man", "nonsense"], &[])).0, 2);
}

#[test]
fn health_is_one_line_and_a_code() {
    let (address, service) = service(&["+OK\r\n", "+PONG\r\n"]);
    let listen = format!("0.0.0.0:{}", address.port());
    let output = run(&["health"], &[("EMPTYSERVER_LISTEN", &listen), ("EMPTYSERVER_PASSWORD", "pw")]);
    assert_eq!(told(&output), (0, format!("{address} answers\n"), String::new()));
    assert_eq!(service.join().unwrap(), ["AUTH pw", "PING"]);

    let (code, out, err) = told(&run(&["health"], &[("EMPTYSERVER_LISTEN", &unused_address())]));
    assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1));
}
