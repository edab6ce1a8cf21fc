//! What is printed, where, and the code at the end.

use std::time::Duration;

use emptyserver::sys::clock;
use serde_json::json;

use super::program::{Servers, Told, bare_cli, cli, run, run_with, told};
use crate::support::{Redis, Service};

fn printed(out: &str) -> Told {
    Told { code: 0, out: out.to_owned(), err: String::new() }
}

#[test]
fn a_reply_is_plain_in_a_pipe_and_quoted_on_demand() {
    let servers = Servers::start();
    for address in servers.addresses() {
        assert_eq!(run(address, &["set", "a", "x\ty"]), printed("OK\n"));
        assert_eq!(run(address, &["get", "a"]), printed("x\ty\n"));
        assert_eq!(run(address, &["--no-raw", "get", "a"]), printed("\"x\\ty\"\n"));
        assert_eq!(run(address, &["--no-raw", "mget", "a", "nil"]), printed("1) \"x\\ty\"\n2) (nil)\n"));
        assert_eq!(run(address, &["--no-raw", "strlen", "a"]), printed("(integer) 3\n"));
        assert_eq!(run(address, &["--raw", "mget", "a", "nil"]), printed("x\ty\n\n"));
        assert_eq!(run(address, &["--csv", "mget", "a", "nil"]), printed("\"x\ty\",NULL\n"));
        assert_eq!(run(address, &["--json", "mget", "a", "nil"]), printed("[\"x\\ty\",null]\n"));
    }
}

#[test]
fn every_output_in_json_parses_whatever_the_reply() {
    let servers = Servers::start();
    for address in servers.addresses() {
        let lines =
            b"set a \"\\xff\\x00\\\"\"\nget a\nincr n\nmget a nil\nnonsense\nconfig get maxclients\ncommand info get\n\
                      command docs get\ninfo server\nscan 0\nclient id\nexists a\nlcs a a\ngetdel nil\n";
        let told = told(&run_with(cli(address, &["--json"]), lines));
        let values: Vec<serde_json::Value> =
            told.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
        assert_eq!((values.len(), told.code), (14, 1));
        assert_eq!(values[1], json!("\\xff\\x00\\\""));
        assert!(values[4]["error"].as_str().unwrap().starts_with("ERR unknown command"), "{}", values[4]);
        assert!(values[5]["maxclients"].is_string(), "maps are objects: {}", values[5]);
    }
}

#[test]
fn collections_have_their_form_in_each_format() {
    let Some(redis) = Redis::start(&[]) else { return };
    let address = redis.address();
    let fill = b"hset h name Ann age 41\nzadd z 1.5 a 10 b\nxadd s 1-0 t 20\nsadd set x\nrpush l 1 2\n";
    assert_eq!(told(&run_with(cli(address, &[]), fill)).code, 0);
    let json = |arguments: &[&str]| {
        let told = run(address, arguments);
        serde_json::from_str::<serde_json::Value>(&told.out).unwrap_or_else(|_| panic!("{told:?}"))
    };
    assert_eq!(json(&["--json", "hgetall", "h"]), json!({"name": "Ann", "age": "41"}));
    assert_eq!(json(&["--json", "-2", "hgetall", "h"]), json!(["name", "Ann", "age", "41"]));
    assert_eq!(json(&["--json", "zrange", "z", "0", "-1", "withscores"]), json!([["a", 1.5], ["b", 10]]));
    assert_eq!(json(&["--json", "smembers", "set"]), json!(["x"]));
    assert_eq!(json(&["--json", "xrange", "s", "-", "+"]), json!([["1-0", ["t", "20"]]]));
    assert_eq!(run(address, &["--csv", "-3", "hgetall", "h"]).out, "\"name\",\"Ann\"\n\"age\",\"41\"\n");
    assert_eq!(run(address, &["--csv", "lrange", "l", "0", "-1"]).out, "\"1\",\"2\"\n");
    assert_eq!(run(address, &["-3", "--no-raw", "hgetall", "h"]).out, "1# \"name\" => \"Ann\"\n2# \"age\" => \"41\"\n");
}

#[test]
fn any_bytes_survive_the_way_in_by_x_and_out_by_raw() {
    let servers = Servers::start();
    let every_byte: Vec<u8> = (0..=255).chain(*b"\r\n\n").collect();
    for address in servers.addresses() {
        for bytes in [&every_byte[..], b"", b"\n", b"$-1\r\n"] {
            assert_eq!(told(&run_with(cli(address, &["-x", "set", "binary"]), bytes)).code, 0);
            let output = cli(address, &["--raw", "get", "binary"]).output().unwrap();
            assert_eq!(output.stdout.strip_suffix(b"\n").unwrap(), bytes);
        }
    }
}

#[test]
fn the_code_says_how_it_ended() {
    let service = Service::start(&[("WORKERS", "1"), ("PASSWORD", "pw")]);
    let address = service.address();
    let code = |arguments: &[&str]| run(address, arguments).code;
    assert_eq!(code(&["--no-auth-warning", "-a", "pw", "ping"]), 0);
    // The server answered, with an error: to the command, or to the login.
    assert_eq!(code(&["ping"]), 1);
    assert_eq!(code(&["-a", "wrong", "ping"]), 1);
    assert_eq!(code(&["-u", &format!("redis://:pw@{address}"), "no-such-command"]), 1);
    // The command line means nothing.
    assert_eq!(code(&["--no-such-flag"]), 2);
    assert_eq!(code(&["--json", "--csv", "ping"]), 2);
    assert_eq!(code(&["-u", "http://x", "ping"]), 2);
    assert_eq!(code(&["-x"]), 2);
    assert_eq!(told(&run_with(cli(address, &[]), b"set \"a\n")).code, 2);
    // Nobody there.
    drop(service);
    assert_eq!(code(&["ping"]), 3);
    assert_eq!(told(&bare_cli(&["-s", "/nowhere/kv.sock", "ping"]).output().unwrap()).code, 3);
}

#[test]
fn what_is_wrong_with_the_flags_is_said_with_the_way_out() {
    let usage = |arguments: &[&str]| {
        let told = told(&bare_cli(arguments).output().unwrap());
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments:?}");
        told.err
    };
    assert_eq!(usage(&["-r", "3"]), "emptyserver cli: -r repeats a command, and there is none\n");
    assert!(usage(&["--cacert", "ca.pem", "ping"]).contains("add --tls"));
    assert!(usage(&["--tls", "--cacert", "/nowhere.pem", "ping"]).contains("/nowhere.pem cannot be used"));
    assert!(usage(&["--pipe", "--json"]).contains("--pipe prints none"));
    assert!(usage(&["-i", "x", "ping"]).contains("seconds are a number"));
}

#[test]
fn a_command_is_repeated_at_its_interval() {
    let service = Service::start(&[("WORKERS", "1")]);
    let began = clock::monotonic();
    assert_eq!(run(service.address(), &["-r", "3", "-i", "0.05", "incr", "n"]), printed("1\n2\n3\n"));
    assert!(clock::monotonic() - began >= Duration::from_millis(100));
    let told = run(service.address(), &["-r", "2", "lpush"]);
    assert_eq!((told.code, told.out.lines().count()), (1, 2));
}

#[test]
fn timing_is_told_apart_from_the_reply() {
    let service = Service::start(&[("WORKERS", "1")]);
    let told = run(service.address(), &["--timing", "ping"]);
    assert_eq!(told.out, "PONG\n");
    assert!(told.err.starts_with('(') && told.err.ends_with(" ms)\n"), "{}", told.err);
}
