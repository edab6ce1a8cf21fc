//! Users over several workers, deaths and restarts: when a change counts, and for whom.

use emptyserver::sys::clock;
use nix::sys::signal::Signal;

use crate::support::{Connection, PATIENCE, Service, signal, wait_until};

const CLIENTS: usize = 24;

/// A client that acts as this user; some worker has it.
fn act_as(service: &Service, user: &str) -> Connection {
    let mut client = service.connect();
    assert_eq!(client.ask(&format!("AUTH {user} any")), "+OK");
    client
}

/// With four workers, each with some of them.
fn crowd(service: &Service, user: &str) -> Vec<Connection> {
    (0..CLIENTS).map(|_| act_as(service, user)).collect()
}

fn may_read(client: &mut Connection) -> bool {
    let reply = client.ask("GET a");
    assert!(reply == "$-1" || reply.starts_with("-NOPERM "), "{reply}");
    reply == "$-1"
}

/// Whoever was killed takes its clients along: they come again.
fn come_again(service: &Service, user: &str, clients: &mut [Connection]) {
    for client in clients {
        if client.try_call(&["PING"]).is_err() {
            *client = act_as(service, user);
        }
    }
}

#[test]
fn a_change_of_a_user_is_in_force_on_all_workers_before_it_is_answered_whoever_dies() {
    let service = Service::start(&[("WORKERS", "4"), ("DEBUG_COMMANDS", "yes")]);
    let mut admin = service.connect();
    assert_eq!(admin.ask("ACL SETUSER ann on nopass ~* +ping +get +echo"), "+OK");
    let mut clients = crowd(&service, "ann");
    for round in 0..60 {
        let rule = if round % 2 == 0 { "-get" } else { "+get" };
        let change = ["ACL", "SETUSER", "ann", rule];
        // Deaths amid the change itself, and of workers beside it.
        let point = ["before-commit", "after-commit", "before-unmark", "amid-replies"].get(round % 12);
        if let Some(point) = point {
            assert_eq!(service.connect().ask(&format!("DEBUG KILL-WRITER {point}")), "+OK");
        }
        if round % 12 == 6 {
            service.replace(&format!("worker-{}", round / 12 % 4));
            come_again(&service, "ann", &mut clients);
        }
        match admin.try_call(&change) {
            Ok(reply) => assert_eq!(reply.to_string(), "+OK"),
            Err(_) => {
                // It was not answered: committed or not, all see the same, and it can be said again.
                admin = service.connect();
                come_again(&service, "ann", &mut clients);
                let seen: Vec<bool> = clients.iter_mut().map(may_read).collect();
                assert!(seen.iter().all(|one| *one == seen[0]), "{round}: {seen:?}");
                assert_eq!(admin.call(&change).to_string(), "+OK");
            }
        }
        let seen: Vec<bool> = clients.iter_mut().map(may_read).collect();
        assert_eq!(seen, [round % 2 == 1; CLIENTS], "round {round}, {rule}");
    }
}

#[test]
fn a_worker_that_was_stopped_goes_on_with_the_new_rights_and_holds_nobody_up() {
    let service = Service::start(&[("WORKERS", "2"), ("LOOP_STALL_SECONDS", "0")]);
    let mut admin = service.connect();
    assert_eq!(admin.ask("ACL SETUSER ann on nopass ~* +ping +get"), "+OK");
    let mut clients: Vec<Connection> = (0..8).map(|_| act_as(&service, "ann")).collect();
    for stopped in service.workers() {
        assert_eq!(admin.ask("ACL SETUSER ann +get"), "+OK");
        assert!(clients.iter_mut().all(may_read));
        signal(stopped, Signal::SIGSTOP);
        // Through whichever worker can answer.
        let begun = clock::monotonic();
        let mut others: Vec<Connection> = (0..8).map(|_| service.connect()).collect();
        others.iter_mut().for_each(|other| other.send(&["ACL", "SETUSER", "ann", "-get"]));
        wait_until("one of them is answered", PATIENCE, || {
            others
                .iter_mut()
                .any(|other| {
                    other.patience = std::time::Duration::from_millis(50);
                    other.try_read().is_ok_and(|reply| reply.to_string() == "+OK")
                })
                .then_some(())
        });
        assert!(clock::monotonic().duration_since(begun) < PATIENCE / 2);
        // Sent after the answer, read when it goes on.
        clients.iter_mut().for_each(|client| client.send(&["GET", "a"]));
        signal(stopped, Signal::SIGCONT);
        for client in &mut clients {
            assert_eq!(client.read().to_string(), "-NOPERM User ann has no permissions to run the 'get' command");
        }
        for other in &mut others {
            other.patience = PATIENCE;
            drop(other.try_read());
        }
        admin = service.connect();
    }
}

#[test]
fn users_are_there_after_a_kill_of_all() {
    let mut service = Service::start(&[("WORKERS", "2"), ("PASSWORD", "first")]);
    let mut admin = service.connect();
    assert_eq!(admin.ask("AUTH first"), "+OK");
    assert_eq!(admin.ask("ACL SETUSER ann on >pw ~a* %R~b* resetchannels &c +@read (+set ~d)"), "+OK");
    assert_eq!(admin.ask("ACL SETUSER gone on nopass"), "+OK");
    assert_eq!(admin.ask("ACL SETUSER default >second -flushdb"), "+OK");
    assert_eq!(admin.ask("ACL DELUSER gone"), ":1");
    assert_eq!(admin.ask("FLUSHALL"), "+OK");
    let listed = admin.ask("ACL LIST");
    assert_eq!(admin.ask("AUTH second"), "+OK");
    service.kill_all();
    service.restart();
    let mut ann = service.connect();
    assert_eq!(ann.ask("AUTH ann pw"), "+OK");
    assert_eq!(ann.ask("GET a1"), "$-1");
    assert!(ann.ask("SET a1 x").starts_with("-NOPERM "));
    assert_eq!(ann.ask("SET d x"), "+OK");
    assert!(ann.ask("AUTH gone x").starts_with("-WRONGPASS "));
    // The setting's password is that of `default` at each start, and the only one; all else of it is as it was.
    let mut admin = service.connect();
    assert!(admin.ask("AUTH second").starts_with("-WRONGPASS "));
    assert_eq!(admin.ask("AUTH first"), "+OK");
    assert!(admin.ask("FLUSHDB").starts_with("-NOPERM "));
    let rest = |list: &str| list.split("user default").next().unwrap().to_owned();
    assert_eq!(rest(&admin.ask("ACL LIST")), rest(&listed));
    // CONFIG SET counts until the end, also beyond a death of the writer.
    assert_eq!(admin.ask("CONFIG SET requirepass third"), "+OK");
    service.replace("write");
    assert_eq!(service.connect().ask("AUTH third"), "+OK");
    assert!(service.connect().ask("AUTH first").starts_with("-WRONGPASS "));
    assert_eq!(admin.ask("ACL SETUSER default resetpass >fourth"), "+OK");
    service.replace("write");
    assert_eq!(service.connect().ask("AUTH fourth"), "+OK");
    assert!(service.connect().ask("AUTH third").starts_with("-WRONGPASS "));
    service.restart_after_stop(&[]);
    assert_eq!(service.connect().ask("AUTH first"), "+OK");
}

#[test]
fn whose_user_is_removed_is_closed_on_every_worker() {
    let service = Service::start(&[("WORKERS", "4")]);
    let mut admin = service.connect();
    assert_eq!(admin.ask("ACL SETUSER ann on nopass ~* &* +@all"), "+OK");
    let mut clients = crowd(&service, "ann");
    assert_eq!(clients[0].ask("SUBSCRIBE c"), "[\"subscribe\" \"c\" :1]");
    clients[1].send(&["BLPOP", "jobs", "0"]);
    wait_until("one waits", PATIENCE, || (admin.of_info("blocked_clients") == 1).then_some(()));
    // Made again by the same name it is another.
    admin.send_bytes(b"ACL DELUSER ann\r\nACL SETUSER ann on nopass ~* &* +@all\r\n");
    assert_eq!((admin.read().to_string(), admin.read().to_string()), (":1".to_owned(), "+OK".to_owned()));
    for (number, client) in clients.iter_mut().enumerate() {
        // What is on its way may be refused before.
        let is_over = client.try_call(&["GET", "a"]).is_err() || client.is_closed();
        assert!(is_over, "client {number}");
    }
    assert_eq!(act_as(&service, "ann").ask("GET a"), "$-1");
    assert_eq!(admin.ask("LPUSH jobs x"), ":1");
    assert_eq!(admin.ask("LLEN jobs"), ":1", "who waited is gone");
}

#[test]
fn rights_that_are_taken_away_stop_what_waits_or_is_queued() {
    let service = Service::start(&[("WORKERS", "4")]);
    let mut admin = service.connect();
    assert_eq!(admin.ask("ACL SETUSER ann on nopass ~* &* +@all"), "+OK");
    let (mut waits, mut queues, mut stays) =
        (act_as(&service, "ann"), act_as(&service, "ann"), act_as(&service, "ann"));
    waits.send(&["BLPOP", "jobs", "0"]);
    stays.send(&["BLPOP", "other", "0"]);
    for call in ["MULTI", "SET jobs:count 1", "PING", "GET public", "SET public 2"] {
        queues.ask(call);
    }
    wait_until("both wait", PATIENCE, || (admin.of_info("blocked_clients") == 2).then_some(()));
    assert_eq!(admin.ask("ACL SETUSER ann resetkeys ~public ~other -ping"), "+OK");
    assert_eq!(admin.ask("RPUSH jobs one"), ":1");
    assert_eq!(waits.read().to_string(), "-NOPERM No permissions to access a key");
    assert_eq!(admin.ask("LRANGE jobs 0 -1"), "[\"one\"]", "it has taken nothing");
    // A death of the writer forgets no rights.
    service.replace("write");
    assert_eq!(admin.ask("RPUSH other two"), ":1");
    assert_eq!(stays.read().to_string(), "[\"other\" \"two\"]");
    let executed = queues.ask("EXEC");
    assert_eq!(executed.matches("no longer allowed").count(), 2, "{executed}");
    assert!(executed.ends_with(" $-1 +\"OK\"]") || executed.ends_with(" _ +\"OK\"]"), "{executed}");
    assert_eq!(admin.ask("EXISTS jobs:count"), ":0");
    // All of them are told of, by whichever worker.
    let log = admin.ask("ACL LOG");
    assert_eq!((log.matches("\"username\" \"ann\"").count(), log.matches("\"multi\"").count()), (3, 2), "{log}");
    assert_eq!(admin.of_info("acl_access_denied_key"), 2);
    assert_eq!(admin.of_info("acl_access_denied_cmd"), 1);
}

#[test]
fn calls_of_every_kind_that_wait_have_the_rights_of_when_they_are_served() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut admin = service.connect();
    assert_eq!(admin.ask("XGROUP CREATE log g $ MKSTREAM"), "+OK");
    for (call, taken, brought, left, count) in [
        ("BLPOP jobs 0", "-blpop", "RPUSH jobs one", "LLEN jobs", ":1"),
        ("BLMOVE tasks out LEFT RIGHT 0", "resetkeys ~tasks", "RPUSH tasks one", "LLEN tasks", ":1"),
        ("BLMPOP 0 2 none more LEFT", "resetkeys ~none %R~more", "RPUSH more one", "LLEN more", ":1"),
        ("BZPOPMIN scores 0", "resetkeys ~other", "ZADD scores 1 a", "ZCARD scores", ":1"),
        ("XREAD BLOCK 0 STREAMS log $", "resetkeys %W~*", "XADD log 1-1 f v", "XLEN log", ":1"),
        ("XREADGROUP GROUP g c BLOCK 0 STREAMS log >", "-@stream", "XADD log 2-1 f v", "XLEN log", ":2"),
    ] {
        assert_eq!(admin.ask("ACL SETUSER ann reset on nopass ~* &* +@all"), "+OK");
        if call.starts_with("XREADGROUP") {
            // What came before is read, so that it waits.
            assert!(admin.ask("XREADGROUP GROUP g d STREAMS log >").contains("1-1"));
        }
        let mut waits = act_as(&service, "ann");
        let id = waits.ask("CLIENT ID");
        waits.send(&call.split(' ').collect::<Vec<_>>());
        let list = format!("CLIENT LIST ID {}", id.trim_start_matches(':'));
        wait_until("it waits", PATIENCE, || admin.ask(&list).contains(" flags=b ").then_some(()));
        assert_eq!(admin.ask(&format!("ACL SETUSER ann {taken}")), "+OK");
        assert!(!admin.ask(brought).starts_with('-'), "{brought}");
        let refused = waits.read().to_string();
        assert!(refused.starts_with("-NOPERM "), "{call} after {taken}: {refused}");
        assert_eq!(admin.ask(left), count, "{call} has taken something");
    }
    assert_eq!(admin.ask("EXISTS out"), ":0");
    let pending = admin.ask("XPENDING log g");
    assert!(pending.starts_with("[:1 "), "{pending}");
}

#[test]
fn the_log_of_what_was_refused_is_one_over_all_workers() {
    let service = Service::start(&[("WORKERS", "4")]);
    let mut admin = service.connect();
    assert_eq!(admin.ask("ACL SETUSER ann on nopass +ping"), "+OK");
    for client in &mut crowd(&service, "ann") {
        assert!(client.ask("GET a").starts_with("-NOPERM "));
    }
    let log = admin.ask("ACL LOG");
    assert!(log.starts_with(&format!("[[\"count\" :{CLIENTS} \"reason\" \"command\"")), "{log}");
    assert_eq!(log.matches("\"count\"").count(), 1, "{log}");
    assert_eq!(admin.ask("ACL LOG RESET"), "+OK");
    assert_eq!(admin.ask("ACL LOG"), "[]");
}

#[test]
fn a_file_of_users_rules_alone_and_is_read_again_at_a_hangup_and_at_acl_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.acl");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let admin_line = "user admin on >admin ~* &* +@all\n";
    let lines = format!("{admin_line}user default off\n\nuser ann on >ann ~a* +get +ping\n");
    write(&lines);
    let setting = path.to_str().unwrap();
    let mut service = Service::start(&[("WORKERS", "2"), ("ACL_FILE", setting), ("PASSWORD", "ignored")]);
    assert!(service.log().lines().iter().any(|line| line.contains("EMPTYSERVER_PASSWORD sets no password")));
    let mut admin = service.connect();
    assert_eq!(admin.ask("PING"), "-NOAUTH Authentication required.");
    assert!(admin.ask("AUTH ignored").starts_with("-WRONGPASS "));
    assert_eq!(admin.ask("AUTH admin admin"), "+OK");
    for refused in ["ACL SETUSER x on", "ACL DELUSER ann", "ACL SAVE"] {
        assert!(admin.ask(refused).starts_with("-ERR The users are those of the file"), "{refused}");
    }
    assert!(admin.ask("CONFIG GET aclfile").contains("users.acl"));
    let mut ann = service.connect();
    assert_eq!((ann.ask("AUTH ann ann"), ann.ask("GET a")), ("+OK".to_owned(), "$-1".to_owned()));
    // With an error nothing changes, and it is said what is wrong.
    write(&format!("{lines}user bob on +bogus\nuser ann on\n"));
    let error = admin.ask("ACL LOAD");
    assert!(error.contains("users.acl:5: Error in applying operation '+bogus'"), "{error}");
    assert!(error.contains("Duplicate user 'ann' found on line 6"), "{error}");
    assert!(error.contains("no change to the previously active ACL rules was performed"), "{error}");
    assert_eq!(ann.ask("GET a"), "$-1");
    // ACL LOAD counts when it is answered.
    write(&format!("{admin_line}user ann on >ann ~a* +ping\n"));
    assert_eq!(admin.ask("ACL LOAD"), "+OK");
    assert!(ann.ask("GET a").starts_with("-NOPERM "));
    assert_eq!(ann.ask("PING"), "+PONG", "it is the same user");
    assert_eq!(service.connect().ask("PING"), "+PONG", "without a line `default` is open");
    // A signal, when the writer has read it; a file that is not there changes nothing.
    let hang_up = |what: &str| {
        let from = service.log().len();
        signal(service.pid(), Signal::SIGHUP);
        assert!(service.log().wait_for(from, PATIENCE, |line| line.contains(what)).is_some(), "{what}");
    };
    std::fs::remove_file(&path).unwrap();
    hang_up("the file of users can't be used");
    assert_eq!(ann.ask("PING"), "+PONG");
    write(admin_line);
    hang_up("the file of users was read again");
    assert!(ann.try_call(&["PING"]).is_err() || ann.is_closed(), "its user is gone");
    assert_eq!(admin.ask("ACL USERS"), "[\"admin\" \"default\"]");
    // A writer that dies before it has heard of the signal: the next one reads.
    write(&format!("{admin_line}user late on nopass\n"));
    let (writer, from) = (service.process("write").unwrap(), service.log().len());
    signal(writer, Signal::SIGSTOP);
    signal(service.pid(), Signal::SIGHUP);
    assert!(service.log().wait_for(from, PATIENCE, |line| line.contains("SIGHUP")).is_some());
    signal(writer, Signal::SIGKILL);
    let was_read = |line: &str| line.contains("the file of users was read again");
    assert!(service.log().wait_for(from, PATIENCE, was_read).is_some());
    write(admin_line);
    hang_up("the file of users was read again");
    service.replace("worker-0");
    let mut admin = service.connect();
    assert_eq!(
        (admin.ask("AUTH admin admin"), admin.ask("ACL USERS")),
        ("+OK".to_owned(), "[\"admin\" \"default\"]".to_owned())
    );
    // A start with an error ends with what is wrong.
    service.stop();
    write("user admin on bogus\n");
    let refused = service.refused_start();
    assert!(refused.contains("EMPTYSERVER_ACL_FILE") && refused.contains("users.acl:1: Syntax error"), "{refused}");
}

#[test]
fn users_of_a_file_may_do_what_its_lines_say_from_the_first_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.acl");
    let lines = "user alice on allcommands allkeys &* >alice\n\
                 user bob on -@all +@set +acl ~set* &* >any\n\
                 user carol on nopass (+set %W~w*) (+get %R~r*)\n\
                 user harry on nopass resetchannels &test +@all ~*\n\
                 user default on nopass ~* +@all\n";
    std::fs::write(&path, lines).unwrap();
    let mut service = Service::start(&[("WORKERS", "2"), ("ACL_FILE", path.to_str().unwrap())]);
    let mut alice = service.connect();
    assert_eq!(alice.ask("SUBSCRIBE foo"), "-NOPERM No permissions to access a channel", "`default` has none");
    assert_eq!(alice.ask("AUTH alice alice"), "+OK");
    assert_eq!((alice.ask("SET key value"), alice.ask("PUBLISH any x")), ("+OK".to_owned(), ":0".to_owned()));
    let mut bob = act_as(&service, "bob");
    assert_eq!((bob.ask("SADD set 1 2 3"), bob.ask("ACL WHOAMI")), (":3".to_owned(), "\"bob\"".to_owned()));
    assert!(bob.ask("SET set value").starts_with("-NOPERM "));
    let mut carol = act_as(&service, "carol");
    assert_eq!((carol.ask("SET w 1"), carol.ask("GET r")), ("+OK".to_owned(), "$-1".to_owned()));
    assert!(carol.ask("SET r 1").starts_with("-NOPERM ") && carol.ask("GET w").starts_with("-NOPERM "));
    let selectors = r#""selectors" [["commands" "-@all +set" "keys" "%W~w*" "channels" ""] ["commands" "-@all +get" "keys" "%R~r*" "channels" ""]]"#;
    let described = alice.ask("ACL GETUSER carol");
    assert!(described.contains(selectors), "{described}");
    let mut harry = act_as(&service, "harry");
    assert_eq!(harry.ask("PUBLISH test x"), ":0");
    assert!(harry.ask("PUBLISH test1 x").starts_with("-NOPERM "));
    // A name that is there twice leaves all as it is, and starts nothing.
    let twice = format!("{lines}user default on nopass ~* -@all\n");
    std::fs::write(&path, &twice).unwrap();
    let error = alice.ask("ACL LOAD");
    assert!(error.contains("Duplicate user 'default' found on line 6"), "{error}");
    assert_eq!(alice.ask("ACL USERS"), "[\"alice\" \"bob\" \"carol\" \"default\" \"harry\"]");
    assert_eq!(service.connect().ask("GET key"), "\"value\"");
    service.stop();
    let refused = service.refused_start();
    assert!(refused.contains("Duplicate user 'default' found"), "{refused}");
}
