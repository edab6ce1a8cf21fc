//! docs/client.md: its examples are run, and the screen that it shows is drawn.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::program::run;
use super::terminal::{CTRL_D, ENTER, TAB, Terminal};
use crate::support::{Redis, Service};

const BEGIN: &str = "<!-- screen: begin (UPDATE_SCREEN=1 cargo test --test service client::document) -->\n```text\n";
const END: &str = "```\n<!-- screen: end -->";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/client.md")
}

/// A command, and what is written below it.
struct Example {
    command: String,
    expected: Vec<String>,
}

/// Those of the blocks with this fence.
fn examples(text: &str, fence: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        match (is_inside, line.strip_prefix("$ ")) {
            (false, _) => is_inside = line == fence,
            (true, _) if line == "```" => is_inside = false,
            (true, Some(command)) => examples.push(Example { command: command.to_owned(), expected: Vec::new() }),
            (true, None) => examples.last_mut().expect("a block begins with a command").expected.push(line.to_owned()),
        }
    }
    examples
}

/// `…` stands for what differs from run to run.
fn fits(line: &str, pattern: &str) -> bool {
    let pattern = regex::escape(pattern).replace('…', "[^,]*?");
    regex::Regex::new(&format!("^{pattern}$")).unwrap().is_match(line)
}

/// With both streams in the order in which a terminal would have them.
fn output_of(command: &str, variables: &[(&str, &str)]) -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_emptyserver")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var_os("PATH").unwrap().to_string_lossy());
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("exec 2>&1; {command}")]).env_clear().env("PATH", path).envs(variables.iter().copied());
    let output = shell.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run_examples(examples: &[Example], variables: &[(&str, &str)]) {
    for Example { command, expected } in examples {
        let output = output_of(command, variables);
        let lines: Vec<&str> = output.lines().collect();
        let is_as_written =
            lines.len() == expected.len() && lines.iter().zip(expected).all(|(line, it)| fits(line, it));
        assert!(is_as_written, "$ {command}\n{output}\nis written as\n{}", expected.join("\n"));
    }
}

#[test]
fn every_example_does_what_is_written_below_it() {
    let text = std::fs::read_to_string(path()).unwrap();
    let ours = examples(&text, "```console");
    assert!(ours.len() >= 20, "{}", ours.len());
    let service = Service::start(&[("WORKERS", "1")]);
    run_examples(&ours, &[("EMPTYSERVER_LISTEN", &service.address().to_string())]);
    let theirs = examples(&text, "```console redis");
    assert!(!theirs.is_empty());
    let Some(redis) = Redis::start(&[]) else { return };
    run_examples(&theirs, &[("EMPTYSERVER_URL", &format!("redis://{}", redis.address()))]);
}

/// A first look around, as a person would have it.
fn draw(address: SocketAddr) -> String {
    run(address, &["set", "user:1001:visits", "41"]);
    let mut terminal = Terminal::start(address, &[], &[]);
    terminal.line("hset user:1001 name Ann city \"New York\" avatar \"\\xff\\xd8\"");
    terminal.line("hgetall user:1001");
    terminal.line("zadd scores 1.5 Ann 10 Bob");
    terminal.line("zrange scores 0 -1 withscores");
    terminal.line("multi");
    terminal.wait_for_prompt();
    terminal.keys("incrby user:1001:");
    terminal.keys(TAB);
    terminal.sees("incrby user:1001:visits increment");
    terminal.keys(" 1");
    terminal.keys(ENTER);
    terminal.line("exec");
    terminal.wait_for_prompt();
    terminal.keys("getrange user:1001:visits ");
    terminal.sees("getrange user:1001:visits start end");
    let screen = terminal.contents().replace(&address.to_string(), "127.0.0.1:6379");
    terminal.keys(CTRL_D);
    screen.trim_end().to_owned() + "\n"
}

#[test]
fn the_screen_in_the_document_is_what_a_terminal_shows() {
    let Some(redis) = Redis::start(&[]) else { return };
    let drawn = draw(redis.address());
    let text = std::fs::read_to_string(path()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the document has the mark where the screen begins");
    let (shown, after) = rest.split_once(END).expect("the document has the mark where the screen ends");
    if std::env::var_os("UPDATE_SCREEN").is_some() {
        std::fs::write(path(), format!("{before}{BEGIN}{drawn}{END}{after}")).unwrap();
    } else {
        assert!(shown == drawn, "put this between the marks of docs/client.md (UPDATE_SCREEN=1 does it):\n{drawn}");
    }
}
