//! The prompt at a terminal: what the screen shows.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::program::run;
use super::terminal::{CTRL_C, CTRL_D, CTRL_R, ENTER, TAB, Terminal, UP};
use crate::support::{Redis, Service};

#[test]
fn a_live_key_is_completed_and_a_dim_hint_shows_what_is_to_come() {
    let service = Service::start(&[("WORKERS", "1")]);
    run(service.address(), &["set", "user:1001:name", "Ann"]);
    let mut terminal = Terminal::start(service.address(), &[], &[]);
    terminal.wait_for_prompt();
    terminal.keys("getrange ");
    terminal.wait_for("the dim hint", |screen| {
        let (line, column) = screen.cursor_position();
        screen.contents().ends_with("getrange key start end")
            && screen.cell(line, column).is_some_and(|cell| cell.dim() && cell.contents() == "k")
    });
    terminal.keys("user:");
    terminal.keys(TAB);
    terminal.sees("getrange user:1001:name start end");
    terminal.keys(" 0 ");
    terminal.sees("getrange user:1001:name 0 end");
    terminal.keys("-1");
    terminal.keys(ENTER);
    terminal.sees("\"Ann\"");
    terminal.keys("conf");
    terminal.keys(TAB);
    terminal.sees("config subcommand");
}

#[test]
fn the_history_is_kept_without_passwords_and_searched() {
    let service = Service::start(&[("WORKERS", "1"), ("PASSWORD", "hunter2")]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let variables = [("EMPTYSERVER_HISTORY", path.to_str().unwrap())];
    let mut terminal = Terminal::start(service.address(), &[], &variables);
    terminal.line("auth hunter2");
    terminal.sees("auth *******");
    terminal.line("set remembered 1");
    terminal.line("config set requirepass hunter2");
    terminal.line("exit");
    assert!(terminal.end().success());
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept.contains("set remembered 1") && !kept.contains("hunter2"), "{kept}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);

    let mut terminal = Terminal::start(service.address(), &[], &[variables[0], ("REDISCLI_AUTH", "hunter2")]);
    terminal.wait_for_prompt();
    terminal.keys(UP);
    terminal.keys(UP);
    terminal.sees("> set remembered 1");
    terminal.keys(CTRL_C);
    terminal.wait_for_prompt();
    terminal.keys(CTRL_R);
    terminal.keys("remem");
    terminal.sees("set remembered 1");
    terminal.keys(ENTER);
    terminal.sees("OK");
}

#[test]
fn replies_are_tables_where_they_are_tables() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut terminal = Terminal::start(redis.address(), &[], &[]);
    terminal.line("hset user:1 name Ann city \"New York\"");
    terminal.line("hgetall user:1");
    terminal.sees("field │ value\n──────┼─────────\nname  │ Ann\ncity  │ New York\n");
    terminal.line("zadd scores 1.5 a 10 bob");
    terminal.line("zrange scores 0 -1 withscores");
    terminal.sees("member │ score\n───────┼──────\na      │   1.5\nbob    │    10\n");
    terminal.line("set binary \"\\xff\\x00\"");
    terminal.line("get binary");
    terminal.sees("\"\\xff\\x00\"");
    terminal.line(":format json");
    terminal.line("hgetall user:1");
    terminal.sees("[\"name\",\"Ann\",\"city\",\"New York\"]");
}

#[test]
fn commands_that_only_the_service_knows_are_completed_and_explained() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut terminal = Terminal::start(redis.address(), &[], &[]);
    terminal.wait_for_prompt();
    terminal.keys("zrevrangebysc");
    terminal.keys(TAB);
    terminal.sees("zrevrangebyscore key max min [WITHSCORES] [LIMIT offset count]");
    terminal.keys(CTRL_C);
    terminal.line("help getdel");
    terminal.sees("GETDEL key\n  summary");
}

#[test]
fn a_transaction_shows_in_the_prompt() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut terminal = Terminal::start(service.address(), &[], &[]);
    terminal.line("multi");
    terminal.sees("(TX)>");
    terminal.line("incr n");
    terminal.sees("QUEUED");
    terminal.line("exec");
    terminal.sees("1) (integer) 1");
    terminal.wait_for_prompt();
    let contents = terminal.contents();
    assert!(!contents.lines().next_back().unwrap().contains("(TX)"), "{contents}");
}

#[test]
fn nothing_of_a_transaction_that_was_lost_is_run() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut terminal = Terminal::start(service.address(), &[], &[]);
    for begin in ["multi", "watch n"] {
        terminal.line(begin);
        terminal.wait_for_prompt();
        assert_ne!(run(service.address(), &["client", "kill", "type", "normal"]).out, "0\n");
        terminal.line("incr n");
        terminal.sees("the command was not sent");
        terminal.line("clear");
    }
    assert_eq!(run(service.address(), &["exists", "n"]).out, "0\n");
    terminal.line("incr n");
    terminal.sees("(integer) 1");
}

#[test]
fn a_subscription_is_followed_and_left() {
    let Some(redis) = Redis::start(&[]) else { return };
    for flag in ["-2", "-3"] {
        let mut terminal = Terminal::start(redis.address(), &[flag, "-n", "3"], &[]);
        terminal.line("subscribe news");
        terminal.sees("Ctrl-C leaves");
        assert_eq!(run(redis.address(), &["publish", "news", "hello"]).out, "1\n");
        terminal.sees("\"hello\"");
        terminal.keys(CTRL_C);
        terminal.sees("(left)");
        terminal.line("get nothing");
        terminal.sees("(nil)");
        terminal.wait_for_prompt();
        assert!(terminal.contents().trim_end().ends_with("[3]>"), "{}", terminal.contents());
        terminal.line("monitor");
        terminal.wait_for("the second hint", |screen| screen.contents().matches("Ctrl-C leaves").count() == 2);
        run(redis.address(), &["echo", "seen by monitor"]);
        terminal.sees("\"echo\" \"seen by monitor\"");
        terminal.keys(CTRL_C);
        terminal.line("exit");
        assert!(terminal.end().success());
    }
}

#[test]
fn the_connection_comes_back_as_it_was_after_the_service_restarts() {
    let mut service = Service::start(&[("WORKERS", "1"), ("PASSWORD", "pw")]);
    let mut terminal = Terminal::start(service.address(), &[], &[]);
    terminal.line("auth pw");
    terminal.sees("OK");
    terminal.line("select 5");
    terminal.sees("[5]>");
    terminal.line("set kept here");
    terminal.wait_for("both replies", |screen| screen.contents().matches("OK").count() == 3);
    terminal.line("multi");
    terminal.sees("(TX)>");
    assert!(service.stop().success());
    terminal.line("ping");
    terminal.sees("cannot connect to");
    terminal.sees("not connected>");
    service.restart();
    terminal.line("get kept");
    terminal.sees("\"here\"");
    terminal.wait_for_prompt();
    let contents = terminal.contents();
    assert!(contents.trim_end().ends_with("[5]>"), "{contents}");
    // Broken and back between two commands: the person is told.
    assert!(service.stop().success());
    service.restart();
    terminal.line("get kept");
    terminal.sees("this is a new one");
    terminal.wait_for("the reply again", |screen| screen.contents().matches("\"here\"").count() == 2);
}

#[test]
fn ctrl_c_cancels_the_line_or_the_command_and_not_the_client() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut terminal = Terminal::start(redis.address(), &["-n", "2"], &[]);
    terminal.wait_for_prompt();
    terminal.keys("get half-typed");
    terminal.sees("half-typed");
    terminal.keys(CTRL_C);
    terminal.line("blpop nothing 0");
    let is_blocked = || run(redis.address(), &["info", "clients"]).out.contains("blocked_clients:1");
    crate::support::wait_until("a blocked client", crate::support::PATIENCE, || is_blocked().then_some(()));
    terminal.keys(CTRL_C);
    terminal.sees("(cancelled; this is a new connection)");
    crate::support::wait_until("no blocked client", crate::support::PATIENCE, || (!is_blocked()).then_some(()));
    terminal.line("echo alive");
    terminal.sees("\"alive\"");
    terminal.wait_for_prompt();
    assert!(terminal.contents().trim_end().ends_with("[2]>"), "{}", terminal.contents());
}

#[test]
fn exit_and_ctrl_d_leave_with_0() {
    let service = Service::start(&[("WORKERS", "1")]);
    for keys in ["exit\r", "QUIT\r", CTRL_D] {
        let mut terminal = Terminal::start(service.address(), &[], &[]);
        terminal.wait_for_prompt();
        terminal.keys(keys);
        assert_eq!(terminal.end().code(), Some(0));
    }
}

#[test]
fn an_open_quote_goes_on_in_the_next_line() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut terminal = Terminal::start(service.address(), &[], &[]);
    terminal.line("set poem \"one");
    terminal.keys("two\"");
    terminal.keys(ENTER);
    terminal.sees("OK");
    assert_eq!(run(service.address(), &["get", "poem"]).out, "one\ntwo\n");
}

#[test]
fn long_replies_go_to_the_pager_and_timing_is_on_request() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut terminal = Terminal::start(service.address(), &[], &[("PAGER", "head -n 2")]);
    terminal.line("command list");
    terminal.sees("  2) ");
    terminal.wait_for_prompt();
    assert!(!terminal.contents().contains("  3) "), "{}", terminal.contents());
    terminal.line(":timing on");
    terminal.line("ping");
    terminal.sees(" ms)");
    terminal.line(":pager off");
    terminal.line("command list");
    terminal
        .wait_for("all of it", |screen| screen.contents().lines().filter(|line| line.contains(") \"")).count() > 15);
}

#[test]
fn flags_and_variables_say_how_it_looks() {
    let service = Service::start(&[("WORKERS", "1")]);
    let variables = [("PAGER", "head -n 2"), ("NO_COLOR", "1")];
    let mut terminal = Terminal::start(service.address(), &["--no-pager", "--timing", "--no-raw"], &variables);
    terminal.line("command list");
    terminal.sees(" ms)");
    terminal
        .wait_for("all of it", |screen| screen.contents().lines().filter(|line| line.contains(") \"")).count() > 15);
    terminal.wait_for_prompt();
    terminal.keys("get ");
    terminal.sees("get key");
    terminal.wait_for("a hint like any text", |screen| {
        let (line, column) = screen.cursor_position();
        screen.cell(line, column).is_some_and(|cell| cell.contents() == "k" && !cell.dim())
    });
}

#[test]
fn what_the_service_has_is_learnt_after_the_login() {
    let Some(redis) = Redis::start(&["--requirepass", "pw"]) else { return };
    let mut terminal = Terminal::start(redis.address(), &[], &[]);
    terminal.line("auth pw");
    terminal.sees("OK");
    terminal.wait_for_prompt();
    terminal.keys("hget ");
    terminal.sees("hget key field");
}

#[test]
fn a_password_that_is_asked_for_is_not_shown() {
    let service = Service::start(&[("WORKERS", "1"), ("PASSWORD", "hunter2")]);
    let mut terminal = Terminal::start(service.address(), &["--askpass", "ping"], &[]);
    terminal.sees("Password: ");
    terminal.keys("hunter2");
    terminal.keys(ENTER);
    terminal.sees("PONG");
    assert!(!terminal.contents().contains("hunter2"));
    assert_eq!(terminal.end().code(), Some(0));
    let mut terminal = Terminal::start(service.address(), &["--askpass", "ping"], &[]);
    terminal.sees("Password: ");
    terminal.keys(CTRL_C);
    terminal.sees("no password was given");
    assert_eq!(terminal.end().code(), Some(2));
}

#[test]
fn a_service_that_is_silent_can_be_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for arguments in [&["--latency"][..], &["--bigkeys"], &["ping"]] {
        let mut terminal = Terminal::start(listener.local_addr().unwrap(), arguments, &[]);
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        terminal.keys(CTRL_C);
        assert!(!terminal.end().success());
    }
    let mut terminal = Terminal::start(listener.local_addr().unwrap(), &[], &[]);
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    terminal.keys(CTRL_C);
    terminal.line("exit");
    assert!(terminal.end().success());
}

#[test]
fn long_runs_have_a_bar_at_a_terminal_and_latency_is_live() {
    let service = Service::start(&[("WORKERS", "1")]);
    let terminal = Terminal::start(service.address(), &["--latency"], &[]);
    terminal.sees("samples ");
    terminal.wait_for("a second drawing over the first", |screen| {
        let count = |line: &str| line.strip_prefix("samples ")?.split(' ').next()?.parse::<u32>().ok();
        let contents = screen.contents();
        contents.lines().filter(|line| line.starts_with("samples ")).count() == 1
            && contents.lines().find_map(count).is_some_and(|count| count > 40)
    });
    drop(terminal);
    let mut terminal = Terminal::start(service.address(), &["--pipe"], &[]);
    // Typed lines are its input, until the bar has been drawn.
    crate::support::wait_until("the bar", crate::support::PATIENCE, || {
        terminal.keys("set a 1\n");
        terminal.contents().contains(" per second, 0 errors").then_some(())
    });
    terminal.keys(CTRL_D);
    terminal.sees("errors: 0, seconds: ");
    assert_eq!(terminal.end().code(), Some(0));
}
