//! Backups of a service at work, and what is restored from them.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::Signal;

use crate::support::{
    Connection, PATIENCE, Service, Value, encoded, number_from_environment, signal, turn, wait_until,
};

/// A backup waits for a disk that other tests use too.
const BACKUP_WITHIN: Duration = Duration::from_secs(120);

fn status(client: &mut Connection) -> HashMap<String, String> {
    let text = |value: &Value| match value {
        Value::Integer(number) => number.to_string(),
        other => String::from_utf8(other.bytes().unwrap().to_vec()).unwrap(),
    };
    let Value::Array(fields) = client.call(&["BACKUP", "STATUS"]) else { panic!("no map of RESP2") };
    fields.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn start_backup(client: &mut Connection) -> String {
    String::from_utf8(client.call(&["BACKUP", "START"]).bytes().unwrap().to_vec()).unwrap()
}

/// The path of a backup that is made now.
fn back_up(client: &mut Connection) -> PathBuf {
    let name = start_backup(client);
    finished(client, &name)
}

fn finished(client: &mut Connection, name: &str) -> PathBuf {
    let directory = wait_until("the backup to be finished", BACKUP_WITHIN, || {
        let status = status(client);
        assert_ne!(status["last_failed_name"], name, "{status:?}");
        (status["last_name"] == name).then(|| status["directory"].clone())
    });
    Path::new(&directory).join(name)
}

/// About so many megabytes.
fn fill(client: &mut Connection, megabytes: u32) {
    let value = vec![b'v'; 1000];
    for thousand in 0..megabytes {
        let keys = (0..1000).map(|n| format!("fill:{thousand}:{n}"));
        client.send_bytes(&keys.flat_map(|key| encoded(&[b"SET", key.as_bytes(), &value])).collect::<Vec<u8>>());
        (0..1000).for_each(|_| assert!(!client.read().is_error()));
    }
}

/// The finished ones, once those that had to go are gone.
fn until_files(directory: &Path, expected: &[&Path]) {
    let mut names: Vec<String> =
        expected.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    wait_until("the backups that stay", PATIENCE, || (files_in(directory) == names).then_some(()));
}

/// The program on that data, with what else it is told.
fn program(data: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emptyserver"));
    command.args(arguments).env_clear().env("EMPTYSERVER_DATA", data).env("EMPTYSERVER_ADMIN_LISTEN", "off");
    command.envs(settings.iter().map(|(name, value)| (format!("EMPTYSERVER_{name}"), value)));
    command.output().unwrap()
}

/// What it printed; it has to end well.
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it complained of; it has to fail.
fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn files_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn value_of(writer: u64, number: u64) -> String {
    format!("{writer}:{number}:{}", "x".repeat(usize::try_from(number % 300).unwrap()))
}

/// A writer that never stops: new keys, and one that all of them overwrite.
fn write_on(address: SocketAddr, writer: u64, acknowledged: &AtomicU64, longest_us: &AtomicU64, is_over: &AtomicBool) {
    const TOGETHER: u64 = 8;
    let mut client = Connection::open(address);
    let mut number = 0;
    while !is_over.load(Ordering::SeqCst) {
        let mut request = Vec::new();
        for number in number..number + TOGETHER {
            request.extend(encoded(&["SET", &format!("key:{writer}:{number}"), &value_of(writer, number)]));
        }
        request.extend(encoded(&["INCR", &format!("rounds:{writer}")]));
        let begun = clock::monotonic();
        client.send_bytes(&request);
        (0..=TOGETHER).for_each(|_| assert!(!client.read().is_error()));
        longest_us
            .fetch_max(u64::try_from(clock::monotonic().duration_since(begun).as_micros()).unwrap(), Ordering::Relaxed);
        number += TOGETHER;
        acknowledged.store(number, Ordering::SeqCst);
    }
}

/// The issue's own words: a backup under full write load opens, is sound, and has every write that was acknowledged before it began.
#[test]
fn a_backup_under_full_load_has_all_that_was_acknowledged_before_it_began() {
    let _turn = turn();
    let service = Service::start(&[("WORKERS", "2")]);
    let mut client = service.connect();
    fill(&mut client, u32::try_from(number_from_environment("BACKUP_MEGABYTES", 60)).unwrap());
    let (acknowledged, is_over) = ([const { AtomicU64::new(0) }; 4], AtomicBool::new(false));
    let longest_us = AtomicU64::new(0);
    let (backup, before, during) = std::thread::scope(|scope| {
        for (writer, count) in (0..).zip(&acknowledged) {
            let (is_over, longest_us, address) = (&is_over, &longest_us, service.address());
            scope.spawn(move || write_on(address, writer, count, longest_us, is_over));
        }
        wait_until("all writers to be at work", PATIENCE, || {
            acknowledged.iter().all(|count| count.load(Ordering::SeqCst) > 500).then_some(())
        });
        let before: Vec<u64> = acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        let longest_before = longest_us.swap(0, Ordering::Relaxed);
        let name = start_backup(&mut client);
        let backup = finished(&mut client, &name);
        let during: Vec<u64> = acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        println!("longest round of writes: {longest_before} us before, {longest_us:?} us during the backup");
        is_over.store(true, Ordering::SeqCst);
        (backup, before, during)
    });
    println!("acknowledged before: {before:?}, at the end: {during:?}; {:?}", status(&mut client));
    assert!(during.iter().zip(&before).all(|(during, before)| during > before), "nobody wrote beside the backup");

    let restored = Service::start(&[("RESTORE_FROM", backup.to_str().unwrap())]);
    let mut reader = restored.connect();
    for (writer, before) in (0..).zip(&before) {
        for number in 0..*before {
            let key = format!("key:{writer}:{number}");
            assert_eq!(reader.call(&["GET", &key]).bytes(), Some(value_of(writer, number).as_bytes()), "{key}");
        }
    }
    assert_eq!(reader.call(&["GET", "fill:0:999"]).bytes(), Some("v".repeat(1000).as_bytes()));
    // A group is in the backup as a whole or not at all: the round's last key is there exactly when its count is.
    for writer in 0..4_u64 {
        let rounds: u64 =
            String::from_utf8(reader.call(&["GET", &format!("rounds:{writer}")]).bytes().unwrap().to_vec())
                .unwrap()
                .parse()
                .unwrap();
        assert_eq!(reader.ask(&format!("EXISTS key:{writer}:{}", rounds * 8 - 1)), ":1");
        assert_eq!(reader.ask(&format!("EXISTS key:{writer}:{}", rounds * 8)), ":0");
    }
    assert!(printed(&program(restored.data(), &["check"], &[])).contains("no problem found"));
}

#[test]
fn a_backup_holds_scripts_and_functions() {
    const LIBRARY: &str = "#!lua name=shop\nredis.register_function('add', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)";
    let service = Service::start(&[]);
    let mut client = service.connect();
    let sha = client.call(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"]).text();
    assert_eq!(client.call(&["FUNCTION", "LOAD", LIBRARY]).text(), "shop");
    assert_eq!(client.call(&["EVALSHA", &sha, "1", "n"]).to_string(), ":1");
    let file = back_up(&mut client);
    assert_eq!(client.ask("SCRIPT FLUSH"), "+OK");
    assert_eq!(client.ask("FUNCTION FLUSH"), "+OK");
    let restored = Service::start(&[("RESTORE_FROM", file.to_str().unwrap())]);
    let mut client = restored.connect();
    assert_eq!(client.call(&["EVALSHA", &sha, "1", "n"]).to_string(), ":2");
    assert_eq!(client.call(&["FCALL", "add", "1", "n", "5"]).to_string(), ":7");
}

#[test]
fn a_scheduled_backup_is_made_and_the_oldest_go() {
    let mut service = Service::start(&[("BACKUP_INTERVAL_SECONDS", "1"), ("BACKUP_KEEP", "2")]);
    let mut client = service.connect();
    client.ask("SET key value");
    let directory = service.data().join("backups");
    let mut seen = std::collections::BTreeSet::new();
    wait_until("four backups", BACKUP_WITHIN, || {
        let finished = files_in(&directory).into_iter().filter(|name| name.ends_with(".db"));
        seen.extend(finished);
        (seen.len() >= 4).then_some(())
    });
    wait_until("the oldest to be gone", PATIENCE, || (files_in(&directory).len() <= 3).then_some(()));
    assert_eq!(status(&mut client)["keep"], "2");

    // What was made before a start counts: nothing is due for an hour.
    service.stop();
    let newest = files_in(&directory).into_iter().rfind(|name| name.ends_with(".db")).unwrap();
    service.restart_with(&[("BACKUP_INTERVAL_SECONDS", "3600")]);
    let mut client = service.connect();
    // The directory is looked at beside the first requests: it may hang.
    wait_until("the look at what is there", PATIENCE, || (status(&mut client)["last_name"] == newest).then_some(()));
    for _ in 0..50 {
        client.ask("SET key value");
        let status = status(&mut client);
        assert_eq!((status["last_name"].as_str(), status["state"].as_str()), (newest.as_str(), "idle"));
    }
}

#[test]
fn the_newest_backup_is_the_one_that_was_made_last_whatever_clocks_and_names_say() {
    let mut service = Service::start(&[("BACKUP_KEEP", "1")]);
    let mut client = service.connect();
    let directory = service.data().join("backups");
    client.ask("SET key first");
    let first = back_up(&mut client);
    let future = directory.join("backup-2099-01-01T00-00-00.000Z.db");
    std::fs::rename(&first, &future).unwrap();
    client.ask("SET key second");
    let second = back_up(&mut client);
    until_files(&directory, &[&second]);
    client.ask("SET key third");
    let third = back_up(&mut client);
    until_files(&directory, &[&third]);
    assert_eq!(status(&mut client)["last_name"], third.file_name().unwrap().to_str().unwrap());

    // Both dates are wrong, and the newer is in the past.
    std::fs::rename(&third, directory.join("backup-2001-01-01T00-00-00.000Z.db")).unwrap();
    service.restart_after_stop(&[("BACKUP_KEEP", "0")]);
    let mut client = service.connect();
    client.ask("SET key fourth");
    let fourth = back_up(&mut client);
    std::fs::rename(fourth, directory.join("backup-2000-01-01T00-00-00.000Z.db")).unwrap();
    let mut restored = Service::start(&[("RESTORE_FROM", directory.to_str().unwrap())]);
    assert_eq!(restored.connect().ask("GET key"), "\"fourth\"");

    // What goes on from an older one is newer than all that lie there.
    restored.stop();
    let third = directory.join("backup-2001-01-01T00-00-00.000Z.db");
    printed(&program(restored.data(), &["restore", "--replace", third.to_str().unwrap()], &[]));
    restored.restart_with(&[("BACKUP_DIR", directory.to_str().unwrap()), ("BACKUP_KEEP", "1")]);
    let mut client = restored.connect();
    assert_eq!(client.ask("GET key"), "\"third\"");
    client.ask("SET key fifth");
    let fifth = back_up(&mut client);
    until_files(&directory, &[&fifth]);
    // Without a service it is the same.
    restored.stop();
    std::fs::rename(&fifth, directory.join("backup-2099-01-01T00-00-00.000Z.db")).unwrap();
    let settings = [("BACKUP_DIR", directory.to_str().unwrap()), ("BACKUP_KEEP", "1")];
    let said = printed(&program(restored.data(), &["backup"], &settings));
    until_files(&directory, &[Path::new(said.split(": ").next().unwrap())]);
}

#[test]
fn two_services_and_strangers_may_share_a_directory_of_backups() {
    let shared = tempfile::tempdir().unwrap();
    let directory = shared.path().to_str().unwrap();
    let settings = [("BACKUP_DIR", directory), ("BACKUP_KEEP", "1")];
    let foreign = shared.path().join("backup-2098-01-01T00-00-00.000Z.db");
    std::fs::write(&foreign, b"no backup").unwrap();
    let services = [Service::start(&settings), Service::start(&settings)];
    let mut clients = services.each_ref().map(Service::connect);
    let mut last = clients.each_mut().map(back_up);
    for _ in 0..2 {
        for (client, last) in clients.iter_mut().zip(&mut last) {
            *last = back_up(client);
        }
    }
    until_files(shared.path(), &[&last[0], &last[1], &foreign]);
    // A part of another's is not removed by a start, one of our own is.
    let part = |of: &Path| PathBuf::from(format!("{}.part", of.display()));
    std::fs::write(part(&shared.path().join("backup-2020-01-01T00-00-00.000Z.db.00000000")), b"theirs").unwrap();
    let [mut one, _other] = services;
    one.restart_after_stop(&[]);
    back_up(&mut one.connect());
    assert!(
        files_in(shared.path())
            .iter()
            .any(|name| name.ends_with(".00000000.db.part") || name.ends_with("00000000.part"))
    );

    let refused_start = |place: &Path| {
        let mut service = Service::start(&[]);
        service.stop();
        std::fs::remove_file(service.data().join("data.db")).unwrap();
        service.set("RESTORE_FROM", place.to_str().unwrap());
        service.refused_start()
    };
    let said = refused_start(shared.path());
    assert!(said.contains("holds backups of different data; name the file"), "{said}");
    let single = tempfile::tempdir().unwrap();
    std::fs::copy(&last[1], single.path().join(last[1].file_name().unwrap())).unwrap();
    std::fs::copy(&foreign, single.path().join(foreign.file_name().unwrap())).unwrap();
    let said = refused_start(single.path());
    assert!(said.contains("can't be used") && said.contains("backup-2098"), "{said}");
    std::fs::rename(
        single.path().join(foreign.file_name().unwrap()),
        single.path().join("backup-1998-01-01T00-00-00.000Z.db"),
    )
    .unwrap();
    Service::start(&[("RESTORE_FROM", single.path().to_str().unwrap())]);
}

#[test]
fn backups_that_nobody_takes_away_are_bounded() {
    let service = Service::start(&[("BACKUP_KEEP", "1")]);
    let mut client = service.connect();
    let directory = service.data().join("backups");
    let kept = back_up(&mut client);
    let mut last = Vec::new();
    for _ in 0..5 {
        let name = String::from_utf8(client.call(&["BACKUP", "START", "ONCE"]).bytes().unwrap().to_vec()).unwrap();
        last.push(finished(&mut client, &name));
    }
    until_files(&directory, &[&kept, &last[3], &last[4]]);
}

fn post(address: SocketAddr, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("POST /backup HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn admin_of(service: &Service) -> SocketAddr {
    let line = service.log().wait_for(0, PATIENCE, |line| line.contains("health, metrics and the status page\""));
    let fields: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
    fields["address"].as_str().unwrap().parse().unwrap()
}

#[test]
fn over_http_a_backup_starts_for_who_has_the_token() {
    let closed = Service::start(&[("ADMIN_LISTEN", "127.0.0.1:0")]);
    let (code, text) = post(admin_of(&closed), "Authorization: Bearer \r\n");
    assert!(code == 403 && text.contains("EMPTYSERVER_ADMIN_TOKEN is not set"), "{code} {text}");

    let service = Service::start(&[("ADMIN_LISTEN", "127.0.0.1:0"), ("ADMIN_TOKEN", "let me")]);
    let admin = admin_of(&service);
    for wrong in ["", "Authorization: Bearer let\r\n", "Authorization: Basic let me\r\n", "Authorization: Bear\r\n"] {
        assert_eq!(post(admin, wrong).0, 401, "{wrong}");
    }
    let mut client = service.connect();
    client.ask("SET key value");
    // While the writer stands still, one that was asked for is not begun.
    let writer = service.process("write").unwrap();
    signal(writer, Signal::SIGSTOP);
    let (code, body) = post(admin, "Authorization: bearer let me\r\n");
    assert_eq!(code, 202, "{body}");
    let name = serde_json::from_str::<serde_json::Value>(&body).unwrap()["name"].as_str().unwrap().to_owned();
    let (code, body) = post(admin, "Authorization: Bearer let me\r\n");
    assert!(code == 409 && body.contains(&name), "{code} {body}");
    assert_eq!(client.ask("BACKUP START"), format!("-ERR Backup already in progress: {name}"));
    assert_eq!(status(&mut client)["state"], "waiting");
    signal(writer, Signal::SIGCONT);
    assert!(finished(&mut client, &name).is_file());
    assert_eq!(files_in(&service.data().join("backups")), [name]);
}

#[test]
fn a_writer_that_dies_takes_its_backup_along_and_the_next_one_works() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut client = service.connect();
    fill(&mut client, 20);
    let interrupted = (0..50).find_map(|_| {
        let name = start_backup(&mut client);
        let status = wait_until("the backup to begin", PATIENCE, || {
            Some(status(&mut client)).filter(|status| status["state"] != "waiting")
        });
        if status["state"] == "idle" {
            return None;
        }
        service.replace("write");
        Some(name)
    });
    let interrupted = interrupted.expect("no backup lasted long enough to be interrupted");
    let directory = service.data().join("backups");
    wait_until("the interruption to be told", PATIENCE, || {
        let status = status(&mut client);
        (status["last_failed_name"] == interrupted || status["last_name"] == interrupted).then_some(())
    });
    let backup = back_up(&mut client);
    assert!(backup.is_file());
    assert!(files_in(&directory).iter().all(|name| name.ends_with(".db")), "{:?}", files_in(&directory));
}

#[test]
fn a_service_that_ends_does_not_wait_for_its_backup() {
    let mut service = Service::start(&[("WORKERS", "1")]);
    let mut client = service.connect();
    fill(&mut client, 20);
    start_backup(&mut client);
    assert!(service.stop().success());
    service.restart();
    let mut client = service.connect();
    assert_eq!(client.ask("DBSIZE"), ":20000");
    back_up(&mut client);
    let directory = service.data().join("backups");
    assert!(files_in(&directory).iter().all(|name| name.ends_with(".db")), "{:?}", files_in(&directory));
}

#[test]
fn a_directory_that_is_none_fails_the_backup_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, b"mine").unwrap();
    let service = Service::start(&[("BACKUP_DIR", file.to_str().unwrap())]);
    let mut client = service.connect();
    let name = start_backup(&mut client);
    let failed = wait_until("the failure to be told", PATIENCE, || {
        Some(status(&mut client)).filter(|status| status["last_failed_name"] == name)
    });
    assert_eq!(failed["last_failure"], "the directory of backups can't be used");
    assert_eq!(client.ask("SET key value"), "+OK");
    assert!(client.ask("INFO persistence").contains("backup_last_status:err"));
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[test]
fn the_subcommand_makes_a_backup_with_the_service_and_without() {
    let mut service = Service::start(&[("PASSWORD", "secret")]);
    let mut client = service.connect();
    assert_eq!(client.ask("AUTH secret"), "+OK");
    client.ask("SET key value");
    let place = tempfile::tempdir().unwrap();
    let data = service.data().to_owned();
    let address = service.address().to_string();
    let settings = [("LISTEN", address.as_str()), ("PASSWORD", "secret")];
    let beside = place.path().join("beside.db");
    let said = printed(&program(&data, &["backup", beside.to_str().unwrap()], &settings));
    assert!(said.starts_with(&format!("{}: ", beside.display())) && said.ends_with(" bytes, checked\n"), "{said}");
    assert_eq!(files_in(&data.join("backups")), [""; 0], "it was for the one who asked");
    let said = refused(&program(&data, &["backup", beside.to_str().unwrap()], &settings));
    assert!(said.contains("exists; name another file"), "{said}");
    let said = refused(&program(&data, &["backup"], &[("LISTEN", address.as_str()), ("PASSWORD", "wrong")]));
    assert!(said.contains("must make the backup") && said.contains("WRONGPASS"), "{said}");
    let said = printed(&program(&data, &["backup"], &settings));
    let listed = printed(&program(&data, &["backup", "--list"], &settings));
    assert!(listed.trim().ends_with(said.split(": ").next().unwrap()), "{said} {listed}");

    service.stop();
    let alone = place.path().join("alone.db");
    printed(&program(&data, &["backup", alone.to_str().unwrap()], &[]));
    printed(&program(&data, &["backup"], &[]));
    assert_eq!(printed(&program(&data, &["backup", "--list"], &[])).lines().count(), 2);
    assert_eq!(files_in(place.path()), ["alone.db", "beside.db"]);

    let empty = tempfile::tempdir().unwrap();
    assert!(refused(&program(empty.path(), &["backup"], &[])).contains("there is nothing to back up"));
    assert!(printed(&program(empty.path(), &["backup", "--list"], &[])).contains("holds no backup"));
    for file in [alone, beside] {
        let restored = Service::start(&[("RESTORE_FROM", file.to_str().unwrap())]);
        assert_eq!(restored.connect().ask("GET key"), "\"value\"");
    }
}

#[test]
fn a_restore_replaces_nothing_by_accident() {
    let mut service = Service::start(&[]);
    let mut client = service.connect();
    client.ask("SET key old");
    let backup = back_up(&mut client);
    client.ask("SET key new");
    let (data, file) = (service.data().to_owned(), backup.to_str().unwrap());
    let said = refused(&program(&data, &["restore", file, "--replace"], &[]));
    assert!(said.contains("is in use by process"), "{said}");
    service.stop();
    assert!(refused(&program(&data, &["restore", file], &[])).contains("with --replace it is moved aside"));
    let garbage = data.join("garbage.db");
    std::fs::write(&garbage, b"no database").unwrap();
    for wrong in [garbage.to_str().unwrap(), "/no/such/file"] {
        refused(&program(&data, &["restore", wrong, "--replace"], &[]));
    }
    service.restart();
    assert_eq!(service.connect().ask("GET key"), "\"new\"", "nothing was moved for a backup that is none");
    service.stop();
    let said = printed(&program(&data, &["restore", file, "--replace"], &[]));
    let aside = said.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    service.restart();
    assert_eq!(service.connect().ask("GET key"), "\"old\"");
    service.stop();
    printed(&program(&data, &["restore", &aside, "--replace"], &[]));
    service.restart();
    assert_eq!(service.connect().ask("GET key"), "\"new\"", "what was moved aside is a backup as well");
}

#[test]
fn a_first_start_begins_with_the_newest_backup_and_later_ones_with_what_there_is() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    client.ask("SET key first");
    back_up(&mut client);
    client.ask("SET key second");
    let newest = back_up(&mut client);
    let directory = newest.parent().unwrap().to_str().unwrap();

    let mut restored = Service::start(&[("RESTORE_FROM", directory)]);
    assert_eq!(restored.connect().ask("GET key"), "\"second\"");
    restored.connect().ask("SET key third");
    restored.stop();
    restored.restart();
    assert_eq!(restored.connect().ask("GET key"), "\"third\"");

    // A restore that was interrupted is begun again.
    restored.stop();
    for name in ["data.db", "data.db-wal", "data.db-shm"] {
        drop(std::fs::remove_file(restored.data().join(name)));
    }
    std::fs::write(restored.data().join("data.db.part"), b"half").unwrap();
    restored.restart();
    assert_eq!(restored.connect().ask("GET key"), "\"second\"");
    restored.stop();

    let empty = tempfile::tempdir().unwrap();
    for name in ["data.db", "data.db-wal", "data.db-shm"] {
        drop(std::fs::remove_file(restored.data().join(name)));
    }
    restored.set("RESTORE_FROM", empty.path().to_str().unwrap());
    let said = restored.refused_start();
    assert!(said.contains("EMPTYSERVER_RESTORE_FROM") && said.contains("holds no backup"), "{said}");
    assert!(!restored.data().join("data.db").exists());
}
