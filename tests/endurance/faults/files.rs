//! Files and places that the service must not serve from: it says why, and leaves them as they are.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::Signal;

use crate::support::{Connection, Service, program, signal, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// A service that was there and ended in good order, so that everything is in the one file.
fn stopped() -> Service {
    let mut service = Service::start(&[("WORKERS", "2")]);
    assert_eq!(service.connect().ask("SET a 1"), "+OK");
    assert_eq!(service.stop().code(), Some(0));
    service
}

fn patch(service: &Service, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let path = service.data().join("data.db");
    let mut file = fs::read(&path).unwrap();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    fs::write(&path, &file).unwrap();
    file
}

#[test]
fn what_is_not_our_file_is_refused_with_the_way_out_and_not_touched() {
    let mut service = stopped();
    let whole = fs::read(service.data().join("data.db")).unwrap();
    // Places in SQLite's header: application_id, user_version; then the magic word itself.
    let cases: [(usize, &[u8], &str); 4] = [
        (68, b"ABCD", "belongs to another program"),
        (60, &[0, 0, 99, 0], "run the newer program"),
        (0, b"not a database, but a text", "restore a backup"),
        (100, &[0xAA; 60], "restore a backup"),
    ];
    for (offset, bytes, words) in cases {
        let patched = patch(&service, offset, bytes);
        let said = service.refused_start();
        assert!(said.contains(words), "{offset}: {said}");
        assert!(fs::read(service.data().join("data.db")).unwrap() == patched, "{offset}: it was changed");
        fs::write(service.data().join("data.db"), &whole).unwrap();
    }
    // Half of it is gone.
    fs::write(service.data().join("data.db"), &whole[..whole.len() / 2]).unwrap();
    let said = service.refused_start();
    assert!(said.contains("restore a backup"), "{said}");
    fs::write(service.data().join("data.db"), &whole).unwrap();
    service.restart();
    assert_eq!(service.connect().ask("GET a"), "\"1\"");
}

#[test]
fn a_place_that_cannot_be_a_data_directory_is_refused_with_its_name() {
    let mut service = stopped();
    let file = service.data().join("data.db").to_str().unwrap().to_owned();
    for place in [file.as_str(), "/proc/self/data", "/dev/null/data"] {
        service.set("DATA", place);
        let said = service.refused_start();
        assert!(said.contains("EMPTYSERVER_DATA") && said.contains(place), "{said}");
    }
}

const PAGE_BYTES: usize = 2048;

/// Where the pages begin that have the rows of keys: leaves of that tree, in order.
fn leaves(service: &Service) -> Vec<usize> {
    let path = service.data().join("data.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    let root = database.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'keyspace'", [], |row| row.get(0));
    let file = fs::read(&path).unwrap();
    let number =
        |at: usize, bytes: usize| file[at..at + bytes].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (mut pages, mut leaves) = (vec![root.unwrap()], Vec::new());
    while let Some(page) = pages.pop() {
        let page: usize = page;
        let at = (page - 1) * PAGE_BYTES;
        // SQLite's file format, "b-tree pages": 5 is one within the tree of a table, 13 a leaf.
        if file[at] == 5 {
            pages.push(number(at + 8, 4));
            pages.extend((0..number(at + 3, 2)).map(|cell| number(at + number(at + 12 + 2 * cell, 2), 4)));
        } else {
            assert_eq!(file[at], 13);
            leaves.push(at);
        }
    }
    leaves.sort_unstable();
    leaves
}

const DAMAGED: &str = "-ERR The data file is damaged";

#[test]
fn a_damaged_page_that_is_met_later_is_an_error_and_not_an_end() {
    let mut service = Service::start(&[("WORKERS", "2")]);
    let mut connection = service.connect();
    for n in 0..500 {
        assert_eq!(connection.call(&["SET", &format!("key:{n}"), &"v".repeat(300)]).to_string(), "+OK");
    }
    service.stop();
    let path = service.data().join("data.db");
    let mut file = fs::read(&path).unwrap();
    for leaf in leaves(&service).into_iter().step_by(5) {
        file[leaf..leaf + 200].fill(0xEE);
    }
    fs::write(&path, &file).unwrap();
    service.restart();
    let mut connection = service.connect();
    let replies: Vec<String> = (0..500).map(|n| connection.ask(&format!("STRLEN key:{n}"))).collect();
    let damaged = replies.iter().filter(|reply| reply.starts_with(DAMAGED)).count();
    let fine = replies.iter().filter(|reply| *reply == ":300").count();
    println!("{damaged} keys lie in damaged pages, {fine} do not");
    assert!(damaged > 0 && fine > 0, "{damaged} {fine}");
    assert_eq!(damaged + fine, 500, "no value is wrong, and none is silently gone");
    // Changes as well, beside others of the same group: only they are refused, and the service stays ready. The other key is one that
    // does not lie in a damaged page itself.
    let other = replies.iter().position(|reply| reply == ":300").map(|n| format!("key:{n}")).unwrap();
    for (n, reply) in replies.iter().enumerate().filter(|(n, _)| format!("key:{n}") != other) {
        connection.send(&["SET", &other, "1"]);
        connection.send(&["APPEND", &format!("key:{n}"), "x"]);
        connection.send(&["STRLEN", &format!("key:{n}")]);
        connection.send(&["INCR", &other]);
        assert_eq!(connection.read().to_string(), "+OK");
        let changed = connection.read().to_string();
        assert!(changed == ":301" || changed.starts_with(DAMAGED), "{n} {reply} {changed}");
        assert_eq!(connection.read().to_string(), changed, "a read that rides along");
        assert_eq!(connection.read().to_string(), ":2");
    }
    assert!(!service.log().lines().iter().any(|line| line.contains("a snapshot can't be let go")));
    // What is set without having been read: refused, or acknowledged and then found to be in the way of its merge. The others come.
    let set = |n: usize, connection: &mut Connection| {
        let reply = connection.ask(&format!("SET key:{n} new"));
        assert!(reply == "+OK" || reply.starts_with(DAMAGED), "{reply}");
        reply == "+OK"
    };
    let acknowledged: Vec<bool> = (0..500).map(|n| set(n, &mut connection)).collect();
    assert_eq!(connection.ask("SAVE"), "+OK");
    let are_well = |connection: &mut Connection| {
        for (n, (before, is_acknowledged)) in replies.iter().zip(&acknowledged).enumerate() {
            let reply = connection.ask(&format!("GET key:{n}"));
            let is_damaged = before.starts_with(DAMAGED);
            assert!(*is_acknowledged || is_damaged, "{n} is well and was refused");
            let is_new = reply == "\"new\"" && *is_acknowledged;
            assert!(is_new || is_damaged && reply.starts_with(DAMAGED), "{n} {before} {reply}");
        }
    };
    are_well(&mut connection);
    let said = connection.ask("INFO writer");
    assert!(said.contains("writes_failing:0") && said.contains("group_failures:0"), "{said}");
    assert!(!service.log().lines().iter().any(|line| line.contains("a process died")));
    // Nobody has it in memory any more.
    service.stop();
    service.restart();
    let mut connection = service.connect();
    are_well(&mut connection);
    assert_eq!(connection.ask("DBSIZE"), ":500");
}

#[test]
fn a_second_service_on_the_same_directory_is_refused_and_names_the_first() {
    let first = Service::start(&[("WORKERS", "2")]);
    let mut second = stopped();
    let begun = clock::monotonic();
    second.set("DATA", first.data().to_str().unwrap());
    let said = second.refused_start();
    let waited = clock::monotonic().duration_since(begun);
    assert!(said.contains(&format!("process {}", first.pid())), "{said}");
    assert!(Duration::from_secs(8) < waited && waited < Duration::from_secs(15), "{waited:?}");
    assert_eq!(first.connect().ask("SET a 1"), "+OK");
}

#[test]
fn after_a_killed_predecessor_a_start_takes_no_time_and_after_one_that_hangs_it_waits_for_its_end() {
    let mut service = Service::start(&[("WORKERS", "2")]);
    for round in 0..3 {
        assert_eq!(service.connect().ask("INCR a"), format!(":{}", round + 1));
        if round % 2 == 0 {
            service.kill_all();
        } else {
            service.kill_supervisor();
        }
        let begun = clock::monotonic();
        service.restart();
        let took = clock::monotonic().duration_since(begun);
        println!("served again {took:?} after the start");
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    // The supervisor is gone and one of its children is not yet.
    let worker = service.process("worker-0").unwrap();
    let mut second = stopped();
    second.set("DATA", service.data().to_str().unwrap());
    let from = second.begin();
    assert!(second.log().wait_for(from, Duration::from_millis(300), |line| line.contains("ready")).is_none());
    signal(worker, Signal::SIGSTOP);
    service.kill_supervisor();
    second.wait_until_ready(from);
    assert_eq!(second.connect().ask("GET a"), "\"3\"");
    wait_until("the end of the stopped one", Duration::from_secs(5), || {
        (!crate::support::is_alive(worker)).then_some(())
    });
}

/// All that lies in a directory, with what others may do with it.
fn modes(directory: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let facts = path.symlink_metadata().unwrap();
        found.push((path.clone(), facts.permissions().mode() & 0o777));
        if facts.is_dir() {
            found.extend(modes(&path));
        }
    }
    found
}

fn assert_modes(directory: &Path, file_mode: u32, directory_mode: u32) {
    for (path, mode) in modes(directory) {
        let expected = if path.is_dir() { directory_mode } else { file_mode };
        assert_eq!(mode, expected, "{} is {mode:o}", path.display());
    }
}

#[test]
fn nobody_else_may_read_what_the_service_writes() {
    // The usual mask of a login, and of most containers.
    let wrapper = ["sh", "-c", "umask 022; exec \"$0\" \"$@\""];
    for (place_mode, file_mode, directory_mode) in
        [(0o755, 0o600, 0o700), (0o775, 0o660, 0o770), (0o1777, 0o600, 0o700)]
    {
        let data = tempfile::tempdir().unwrap();
        fs::set_permissions(data.path(), Permissions::from_mode(place_mode)).unwrap();
        let mut service = Service::start_on(data, &wrapper, &[("WORKERS", "1"), ("READERS", "1")]);
        let mut connection = service.connect();
        assert_eq!(connection.ask("SET a 1"), "+OK");
        assert_eq!(connection.ask("STRLEN a"), ":1");
        let name = connection.ask("BACKUP START").trim_matches('"').to_owned();
        let backup = service.data().join("backups").join(name);
        wait_until("the backup", SOON, || backup.is_file().then_some(()));
        let names: Vec<PathBuf> = modes(service.data()).into_iter().map(|(path, _)| path).collect();
        for name in ["data.db", "data.db-wal", "data.db-shm", "lock", "backups"] {
            assert!(names.contains(&service.data().join(name)), "{names:?}");
        }
        assert_modes(service.data(), file_mode, directory_mode);

        // What an earlier version has left, also after a kill.
        drop(connection);
        service.kill_all();
        fs::write(service.data().join("data.db-sync-failed"), b"").unwrap();
        for (path, _) in modes(service.data()) {
            let mode = if path.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let theirs = service.data().join("theirs");
        fs::write(&theirs, b"").unwrap();
        fs::set_permissions(&theirs, Permissions::from_mode(0o644)).unwrap();
        service.restart();
        assert_eq!(service.connect().ask("GET a"), "\"1\"");
        assert_eq!(theirs.metadata().unwrap().permissions().mode() & 0o777, 0o644, "no file of ours");
        fs::remove_file(&theirs).unwrap();
        let is_closed = || modes(service.data()).iter().all(|(_, mode)| mode & 0o007 == 0);
        wait_until("old files to be closed", SOON, || is_closed().then_some(()));

        // The subcommands, beside the service and without it.
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(place_mode)).unwrap();
        let address = service.address().to_string();
        let run = |arguments: &[&str], data: &Path| {
            let mut command = Command::new(wrapper[0]);
            command.args(&wrapper[1..]).arg(program()).args(arguments).env_clear();
            command.env("EMPTYSERVER_LISTEN", &address).env("EMPTYSERVER_DATA", data);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let (beside, alone) = (place.path().join("beside.db"), place.path().join("alone.db"));
        run(&["backup", beside.to_str().unwrap()], service.data());
        service.stop();
        run(&["backup", alone.to_str().unwrap()], service.data());
        run(&["backup"], service.data());
        run(&["restore", "--replace", beside.to_str().unwrap()], service.data());
        run(&["restore", alone.to_str().unwrap()], &place.path().join("new/data"));
        assert_modes(place.path(), file_mode, directory_mode);
        assert!(modes(service.data()).iter().all(|(_, mode)| mode & 0o007 == 0), "{:?}", modes(service.data()));
    }
}

/// The refusal that a client gets once the files are known to be lost; what was acknowledged until then.
fn set_until_files_are_lost(service: &Service) -> Vec<String> {
    let mut connection = service.connect();
    let mut acknowledged = Vec::new();
    wait_until("the loss to be noticed", Duration::from_secs(20), || {
        let key = format!("key:{}", acknowledged.len());
        let reply = connection.call(&["SET", &key, &"v".repeat(500)]).to_string();
        if reply == "+OK" {
            acknowledged.push(key);
            return None;
        }
        assert!(reply.starts_with("-MISCONF The data files were deleted, replaced or moved away"), "{reply}");
        Some(())
    });
    acknowledged
}

fn assert_lost(service: &Service) {
    let mut connection = service.connect();
    assert!(connection.ask("INFO writer").contains("writes_failing:1"));
    let replies = ["SET a 2", "DEL a", "INCR n"].map(|call| connection.ask(call));
    assert!(replies.iter().all(|reply| reply.starts_with("-MISCONF The data files")), "{replies:?}");
}

#[test]
fn a_side_file_that_is_deleted_or_replaced_stops_writes_and_nothing_acknowledged_is_lost() {
    for (name, is_replaced) in [("data.db-wal", false), ("data.db-wal", true), ("data.db-shm", false)] {
        println!("{name}, replaced: {is_replaced}");
        let mut service = Service::start(&[("WORKERS", "2")]);
        let mut connection = service.connect();
        assert_eq!(connection.ask("SET a 1"), "+OK");
        let (file, other) = (service.data().join(name), service.data().join("other"));
        fs::copy(&file, &other).unwrap();
        for n in 0..100 {
            assert_eq!(connection.call(&["SET", &format!("before:{n}"), &"v".repeat(500)]).to_string(), "+OK");
        }
        if is_replaced {
            fs::rename(&other, &file).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        let acknowledged = set_until_files_are_lost(&service);
        println!("{} were acknowledged until it was noticed", acknowledged.len());
        assert_lost(&service);
        assert_eq!(connection.ask("GET a"), "\"1\"", "reads go on");
        let saved = |line: &str| line.contains("all that was acknowledged is in data.db now");
        assert!(service.log().wait_for(0, Duration::from_secs(20), saved).is_some());
        // Whoever takes a place now opens nothing.
        service.replace("write");
        wait_until("the next writer", Duration::from_secs(20), || {
            connection.ask("SET a 3").starts_with("-MISCONF The data files").then_some(())
        });
        service.replace("worker-1");
        assert_lost(&service);
        service.kill_all();
        service.restart();
        let mut connection = service.connect();
        assert_eq!(connection.ask("GET a"), "\"1\"");
        assert_eq!(connection.ask("DBSIZE"), format!(":{}", 101 + acknowledged.len()));
        assert_eq!(connection.ask("SET a 2"), "+OK");
        let asides = fs::read_dir(service.data())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("data.db-wal.not-ours-"));
        assert_eq!(asides.count(), usize::from(is_replaced));
    }
}

#[test]
fn a_data_file_or_directory_that_is_moved_away_stops_writes_and_can_be_moved_back() {
    let mut service = Service::start(&[("WORKERS", "2")]);
    assert_eq!(service.connect().ask("SET a 1"), "+OK");
    let (file, aside) = (service.data().join("data.db"), service.data().join("aside"));
    fs::rename(&file, &aside).unwrap();
    let mut acknowledged = set_until_files_are_lost(&service).len();
    assert_lost(&service);
    let told = |line: &str| line.contains("BACKUP START");
    assert!(service.log().wait_for(0, Duration::from_secs(20), told).is_some());
    // It still can be saved from the file that is open.
    let name = service.connect().ask("BACKUP START").trim_matches('"').to_owned();
    let backup = service.data().join("backups").join(name);
    wait_until("the backup", Duration::from_secs(20), || backup.is_file().then_some(()));
    fs::rename(&aside, &file).unwrap();
    assert_lost(&service);
    service.kill_all();
    service.restart();
    assert_eq!(service.connect().ask("DBSIZE"), format!(":{}", 1 + acknowledged));
    let elsewhere = service.data().with_extension("moved");
    fs::rename(service.data(), &elsewhere).unwrap();
    acknowledged = acknowledged.max(set_until_files_are_lost(&service).len());
    service.kill_all();
    if service.data().exists() {
        fs::remove_dir_all(service.data()).unwrap();
    }
    fs::rename(&elsewhere, service.data()).unwrap();
    service.restart();
    assert_eq!(service.connect().ask("DBSIZE"), format!(":{}", 1 + acknowledged));
}

#[test]
fn an_orderly_end_without_its_files_touches_nothing_that_has_their_names() {
    let mut service = Service::start(&[("WORKERS", "2")]);
    assert_eq!(service.connect().ask("SET a 1"), "+OK");
    let elsewhere = service.data().with_extension("moved");
    fs::rename(service.data(), &elsewhere).unwrap();
    fs::create_dir(service.data()).unwrap();
    for name in ["data.db", "data.db-wal", "data.db-shm"] {
        fs::write(service.data().join(name), "somebody else's").unwrap();
    }
    let acknowledged = set_until_files_are_lost(&service).len();
    service.stop();
    for name in ["data.db", "data.db-wal", "data.db-shm"] {
        assert_eq!(fs::read(service.data().join(name)).unwrap(), b"somebody else's", "{name}");
    }
    fs::remove_dir_all(service.data()).unwrap();
    fs::rename(&elsewhere, service.data()).unwrap();
    service.restart();
    assert_eq!(service.connect().ask("DBSIZE"), format!(":{}", 1 + acknowledged));
}

#[test]
fn a_page_that_cannot_be_read_ends_the_writer_once_and_is_an_error_from_then_on() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut connection = service.connect();
    for n in 0..500 {
        assert_eq!(connection.call(&["SET", &format!("key:{n}"), &"v".repeat(300)]).to_string(), "+OK");
    }
    assert_eq!(connection.ask("SAVE"), "+OK");
    let leaves = leaves(&service);
    let middle = leaves[leaves.len() / 2];
    // One that has none of the pages in its memory.
    service.replace("write");
    assert_eq!(connection.ask("SET fresh 1"), "+OK");
    // What is mapped and not in the file is what a bad sector is: SIGBUS for whoever reads it.
    let file = fs::File::options().write(true).open(service.data().join("data.db")).unwrap();
    file.set_len(middle as u64 / 4096 * 4096).unwrap();
    // The one death may come between a commit and its replies, which are lost with their connection then; what they told is so.
    let mut append = |n: usize| match connection.try_call(&["APPEND", &format!("key:{n}"), "x"]) {
        Ok(reply) => reply.to_string(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            connection = service.connect();
            let length = connection.ask(&format!("STRLEN key:{n}"));
            assert_eq!(length, ":301");
            length
        }
    };
    let replies: Vec<String> = (0..500).map(&mut append).collect();
    let damaged = replies.iter().filter(|reply| reply.starts_with(DAMAGED)).count();
    println!("{damaged} of 500 can't be read");
    assert!(damaged > 0, "{:?}", &replies[..3]);
    // Nor can they be written: whoever merges them meets that as well.
    for n in 0..500 {
        let reply = connection.ask(&format!("SET key:{n} new"));
        assert!(reply == "+OK" || reply.starts_with(DAMAGED), "{reply}");
    }
    wait_until("the merge", SOON, || connection.ask("INFO").contains("unmerged_rows:0").then_some(()));
    for n in 0..500 {
        let reply = connection.ask(&format!("GET key:{n}"));
        assert!(reply == "\"new\"" || reply.starts_with(DAMAGED), "{reply}");
    }
    let others: Vec<String> = (0..50).map(|n| connection.ask(&format!("INCR other:{n}"))).collect();
    assert!(others.iter().all(|reply| reply == ":1" || reply.starts_with(DAMAGED)), "{others:?}");
    assert!(others.iter().any(|reply| reply == ":1"), "{others:?}");
    let deaths =
        service.log().lines().iter().filter(|line| line.contains("\"write\"") && line.contains("Killed(7)")).count();
    assert_eq!(deaths, 1, "{replies:?}");
}
