//! Walks over all keys.

use super::program::{Servers, cli, run, run_with, told};
use crate::support::Redis;

fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn scan_prints_every_key_that_was_asked_for() {
    let servers = Servers::start();
    for address in servers.addresses() {
        let fill: String = (0..300).map(|number| format!("set key:{number} x\n")).collect();
        run_with(cli(address, &["--pipe"]), (fill + "set 'odd one' x\n").as_bytes());
        let all = run(address, &["--scan", "--count", "20"]);
        assert_eq!((all.code, sorted_lines(&all.out).len()), (0, 301));
        let some = run(address, &["--scan", "--pattern", "key:29?"]);
        assert_eq!(sorted_lines(&some.out), (290..300).map(|number| format!("key:{number}")).collect::<Vec<_>>());
        assert_eq!(run(address, &["--scan", "--pattern", "odd*", "--no-raw"]).out, "\"odd one\"\n");
        assert_eq!(run(address, &["--scan", "--pattern", "odd*", "--json"]).out, "\"odd one\"\n");
        assert_eq!(run(address, &["--scan", "--type", "hash"]).out, "");
        assert_eq!(run(address, &["--scan", "--type", "string", "--pattern", "odd*"]).out, "odd one\n");
    }
}

/// Strings of 1, 2 and 3000 bytes.
const STRINGS: &str = "set one 1\nset two 12\n";

#[test]
fn the_largest_keys_are_found_on_both_servers() {
    let servers = Servers::start();
    for address in servers.addresses() {
        let fill = format!("{STRINGS}set large {}\n", "x".repeat(3000));
        run_with(cli(address, &["--pipe"]), fill.as_bytes());
        let big = run(address, &["--bigkeys"]);
        assert_eq!(
            big.out,
            "type   │ keys │   mean │ largest │ of    │ key\n\
             ───────┼──────┼────────┼─────────┼───────┼──────\n\
             string │    3 │ 1001.0 │    3000 │ bytes │ large\n\
             3 keys\n"
        );
        let memory = run(address, &["--memkeys"]);
        assert!(memory.out.lines().nth(2).unwrap().ends_with("│ bytes │ large"), "{memory:?}");
        let pattern = run(address, &["--bigkeys", "--pattern", "*o*"]);
        assert!(pattern.out.contains("string │    2 │  1.5 │       2 │ bytes │ two"), "{pattern:?}");
        let json: serde_json::Value = serde_json::from_str(&run(address, &["--keystats", "--json"]).out).unwrap();
        assert_eq!(json["keys"], 3);
        assert_eq!(json["types"]["string"]["length"]["max"], 3000);
        assert_eq!(json["types"]["string"]["memory"]["largest"], "large");
    }
}

#[test]
fn each_type_has_its_own_length() {
    let Some(redis) = Redis::start(&[]) else { return };
    let fill =
        "rpush list a b c\nsadd set a b\nzadd zset 1 a\nhset hash a 1 b 2 c 3 d 4\nxadd stream * f v\nset s 12345\n";
    run_with(cli(redis.address(), &["--pipe"]), fill.as_bytes());
    let big = run(redis.address(), &["--bigkeys"]);
    for row in [
        "hash   │    1 │  4.0 │       4 │ fields  │ hash",
        "list   │    1 │  3.0 │       3 │ items   │ list",
        "set    │    1 │  2.0 │       2 │ members │ set",
        "stream │    1 │  1.0 │       1 │ entries │ stream",
        "string │    1 │  5.0 │       5 │ bytes   │ s",
        "zset   │    1 │  1.0 │       1 │ members │ zset",
        "6 keys",
    ] {
        assert!(big.out.lines().any(|line| line == row), "{row}\n{}", big.out);
    }
}

#[test]
fn keystats_shows_distributions_and_the_top_keys() {
    let Some(redis) = Redis::start(&[]) else { return };
    let fill: String = (1..=100).map(|length| format!("set key:{length} {}\n", "x".repeat(length * 100))).collect();
    run_with(cli(redis.address(), &["--pipe"]), fill.as_bytes());
    let told = told(&cli(redis.address(), &["--keystats", "--top", "2"]).output().unwrap());
    let lengths = told.out.lines().skip_while(|line| !line.starts_with("length")).nth(2).unwrap();
    let cells: Vec<&str> = lengths.split('│').map(str::trim).collect();
    assert_eq!(&cells[..3], ["string", "100", "505000"]);
    assert!((4900..=5100).contains(&cells[3].parse::<u32>().unwrap()), "{lengths}");
    let top: Vec<&str> = told.out.lines().skip_while(|line| !line.starts_with("largest key")).skip(2).collect();
    assert_eq!(top.len(), 3, "{}", told.out);
    assert!(top[0].starts_with("key:100 ") && top[2] == "100 keys", "{}", told.out);
}
