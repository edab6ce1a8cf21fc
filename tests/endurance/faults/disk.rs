//! A disk that is full: a small file system of its own, which needs root to be made.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Connection, Service, program, signal, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// A file system in memory, for as long as this lives. The service on it has to end before.
struct SmallDisk {
    directory: Option<tempfile::TempDir>,
}

impl SmallDisk {
    /// `None`, and a printed line, where this user may not mount.
    fn mount(mebibytes: u32) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("small-disk-").tempdir().unwrap();
        let options = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "emptyserver-test"])
            .arg(directory.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { directory: Some(directory) });
        }
        println!("SKIPPED: only root may mount the small file system that this test fills");
        None
    }

    fn path(&self) -> &Path {
        self.directory.as_ref().unwrap().path()
    }

    fn start(&self, settings: &[(&str, &str)]) -> Service {
        let data = tempfile::Builder::new().prefix("data-").tempdir_in(self.path()).unwrap();
        let all: Vec<(&str, &str)> = [("WORKERS", "2"), ("WAL_BYTES_MAX", "1Mi"), ("VALUE_BYTES_MAX", "8Mi")]
            .into_iter()
            .chain(settings.iter().copied())
            .collect();
        Service::start_on(data, &[], &all)
    }

    /// Somebody else's file takes all that is left.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let piece = vec![1; 1 << 16];
        while std::io::Write::write_all(&mut file, &piece).is_ok() {}
        path
    }

    fn set_read_only(&self, is_read_only: bool) {
        let options = if is_read_only { "remount,ro" } else { "remount,rw" };
        assert!(Command::new("mount").args(["-o", options]).arg(self.path()).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg("-l").arg(self.path()).status();
        if !ended.is_ok_and(|status| status.success()) {
            println!("{} stays mounted", self.path().display());
            // Deleting what is in it would be deleting what somebody else may look at.
            let _kept = self.directory.take().map(tempfile::TempDir::keep);
        }
    }
}

/// Shows what is on the disk when a test fails: to be made behind the service, whose files go with it.
struct Listing<'a>(&'a SmallDisk);

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let listed = Command::new("ls").arg("-lR").arg(self.0.path()).output();
            let text =
                listed.map_or_else(|error| error.to_string(), |ls| String::from_utf8_lossy(&ls.stdout).into_owned());
            println!("{text}{} bytes are free", free_bytes(self.0));
        }
    }
}

/// Sets `key:N` from `from` on until that is refused. Returns how many were not.
fn set_until_refused(connection: &mut Connection, value: &str, from: u32) -> (u32, String) {
    for n in from..100_000 {
        let reply = connection.call(&["SET", &format!("key:{n}"), value]).to_string();
        if reply != "+OK" {
            return (n, reply);
        }
    }
    panic!("the disk never gets full");
}

fn free_bytes(disk: &SmallDisk) -> u64 {
    emptyserver::storage::file_system::available_bytes(disk.path()).unwrap()
}

#[test]
fn near_the_end_of_the_disk_growth_is_refused_and_deleting_heals_it() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let mut service = disk.start(&[]);
    let _listing = Listing(&disk);
    let mut connection = service.connect();
    let value = "v".repeat(8_000);
    let (count, reply) = set_until_refused(&mut connection, &value, 0);
    assert!(reply.starts_with("-MISCONF The disk is nearly full"), "{reply}");
    println!("refused after {count} values, {} bytes free", free_bytes(&disk));
    assert_eq!(connection.ask("STRLEN key:0"), ":8000", "reads go on");
    assert_eq!(connection.ask("PEXPIRE key:0 1"), ":1");
    wait_until("expiry goes on", SOON, || (connection.ask("EXISTS key:0") == ":0").then_some(()));
    let swept = format!(":{}", count - 1);
    wait_until("the sweeper", SOON, || (connection.ask("DBSIZE") == swept).then_some(()));
    // Deleting gives room back without any write that grows the data.
    for n in 1..count / 2 {
        let command = if n % 2 == 0 { "DEL" } else { "UNLINK" };
        assert_eq!(connection.ask(&format!("{command} key:{n}")), ":1");
    }
    wait_until("room again", SOON, || (connection.ask("SET healed 1") == "+OK").then_some(()));
    // Some of it is swept and merged while others are refused.
    let mut more = count;
    wait_until("what was deleted is room for others", SOON, || {
        let (reached, reply) = set_until_refused(&mut connection, &value, more);
        assert!(reply.starts_with("-MISCONF"), "{reply}");
        more = reached;
        (more > count + count / 4).then_some(())
    });
    assert_eq!(connection.ask("FLUSHALL"), "+OK");
    wait_until("room again", SOON, || (connection.ask("SET healed 2") == "+OK").then_some(()));
    assert_eq!(set_until_refused(&mut connection, &value, 0).1.split(' ').next(), Some("-MISCONF"));
    drop(connection);
    service.kill_all();
    service.restart();
    assert_eq!(service.connect().ask("GET healed"), "\"2\"");
    assert_eq!(service.connect().ask("FLUSHALL"), "+OK");
}

#[test]
fn a_disk_that_gets_full_in_the_middle_of_a_commit_loses_nothing_that_was_acknowledged() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let mut service = disk.start(&[]);
    let _listing = Listing(&disk);
    let mut connection = service.connect();
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    for round in 0..4 {
        let filler = disk.fill();
        // Before the writer looks at the disk again, and after.
        let mut refused = 0;
        for n in 0..200 {
            let (key, value) = (format!("{round}:{n}"), format!("{round}.").repeat(10_000));
            match connection.call(&["SET", &key, &value]).to_string().as_str() {
                "+OK" => acknowledged.push((key, value)),
                error => {
                    assert!(error.starts_with("-MISCONF The disk is"), "{error}");
                    refused += 1;
                    assert_eq!(connection.call(&["EXISTS", &key]).to_string(), ":0");
                }
            }
        }
        assert!(refused > 0, "round {round}: the disk is full");
        std::fs::remove_file(filler).unwrap();
        // Nobody writes, since the service is not ready: it finds out by itself.
        wait_until("the writer to try", SOON, || {
            connection.ask("INFO writer").contains("writes_failing:0").then_some(())
        });
        wait_until("room again", SOON, || (connection.ask("SET room 1") == "+OK").then_some(()));
        let last = acknowledged.len().saturating_sub(100);
        for (key, value) in &acknowledged[last..] {
            assert_eq!(connection.call(&["GET", key]).to_string(), format!("\"{value}\""));
        }
        for (key, _) in acknowledged.drain(..last) {
            assert_eq!(connection.call(&["DEL", &key]).to_string(), ":1");
        }
    }
    let failures = service.log().lines().iter().filter(|line| line.contains("a group of changes failed")).count();
    println!("{failures} groups met the end of the disk");
    service.kill_all();
    service.restart();
    let mut connection = service.connect();
    for (key, value) in &acknowledged {
        assert_eq!(connection.call(&["GET", key]).to_string(), format!("\"{value}\""));
    }
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_still_takes_deletions() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let service = disk.start(&[]);
    let mut connection = service.connect();
    let value = "v".repeat(8_000);
    let (count, _) = set_until_refused(&mut connection, &value, 0);
    assert_eq!(connection.ask("SAVE"), "+OK");
    let filler = disk.fill();
    let mut refused = 0;
    for n in 0..count {
        // One that meets readers in the way of the -wal's new beginning is refused, and goes through a moment later.
        wait_until("the deletion", SOON, || {
            let reply = connection.ask(&format!("DEL key:{n}"));
            refused += usize::from(reply != ":1");
            (reply == ":1").then_some(())
        });
    }
    println!("{refused} of {count} deletions were refused at first");
    assert!(refused <= 5, "{refused} of {count}");
    assert_eq!(connection.ask("DBSIZE"), ":0");
    // What it gave back is enough to go on, though the other file is still there.
    wait_until("room again", SOON, || (connection.ask("SET healed 1") == "+OK").then_some(()));
    std::fs::remove_file(filler).unwrap();
}

#[test]
fn a_start_on_a_full_disk_serves_reads_and_heals_whatever_the_end_before_it_was() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let mut service = disk.start(&[]);
    for is_orderly in [true, false, true] {
        assert_eq!(service.connect().ask("SET a 1"), "+OK");
        if is_orderly {
            assert_eq!(service.stop().code(), Some(0));
        } else {
            service.kill_all();
        }
        let filler = disk.fill();
        assert_eq!(free_bytes(&disk), 0);
        service.restart();
        let mut connection = service.connect();
        assert_eq!(connection.ask("GET a"), "\"1\"", "after an orderly end: {is_orderly}");
        let reply = connection.ask("SET b 1");
        assert!(reply.starts_with("-MISCONF The disk is"), "{reply}");
        std::fs::remove_file(filler).unwrap();
        wait_until("room again", SOON, || (connection.ask("SET b 1") == "+OK").then_some(()));
        assert_eq!(connection.ask("DEL b"), ":1");
        // What is in the file of this start's tickets is this start's.
        service.replace("write");
        assert_eq!(connection.ask("SET a 1"), "+OK");
    }
}

#[test]
fn a_file_system_that_turns_read_only_refuses_changes_and_heals() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    // A file system does not turn read-only while files are open for writing, but a new start may meet one.
    let mut service = disk.start(&[]);
    assert_eq!(service.connect().ask("SET a 1"), "+OK");
    service.stop();
    disk.set_read_only(true);
    let said = service.refused_start();
    assert!(said.contains("EMPTYSERVER_DATA") && said.contains("Read-only"), "{said}");
    disk.set_read_only(false);
    service.restart();
    assert_eq!(service.connect().ask("GET a"), "\"1\"");
}

#[test]
fn a_backup_that_does_not_fit_is_given_up_and_the_service_goes_on() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let backups = tempfile::tempdir_in(disk.path()).unwrap();
    let service = disk.start(&[("BACKUP_DIR", backups.path().to_str().unwrap())]);
    let mut connection = service.connect();
    for n in 0..1_500 {
        assert_eq!(connection.call(&["SET", &format!("key:{n}"), &"v".repeat(8_000)]).to_string(), "+OK");
    }
    // At once, with the figures.
    let filler = disk.fill();
    let refused = wait_until("a refusal", SOON, || {
        Some(connection.ask("BACKUP START ONCE")).filter(|reply| reply.starts_with("-ERR Not enough room for a backup"))
    });
    assert!(refused.contains("have to stay free"), "{refused}");
    std::fs::remove_file(filler).unwrap();
    wait_until("room again", SOON, || (connection.ask("SET key:0 again") == "+OK").then_some(()));
    let writer = service.process("write").unwrap();
    // What is asked for while the writer stands still begins later.
    let begin = |connection: &mut Connection, stands_still: bool| {
        wait_until("the room to be seen", SOON, || {
            signal(writer, if stands_still { Signal::SIGSTOP } else { Signal::SIGCONT });
            let reply = connection.ask("BACKUP START").trim_matches('"').to_owned();
            if reply.starts_with('-') {
                signal(writer, Signal::SIGCONT);
                return None;
            }
            Some(reply)
        })
    };
    // Full before it begins, or in the middle of it.
    let mut outcome = |begins_full: bool| {
        let name = begin(&mut connection, begins_full);
        let filler = disk.fill();
        signal(writer, Signal::SIGCONT);
        let status = wait_until("the end of the backup", SOON, || {
            let status = connection.ask("BACKUP STATUS");
            status.contains(&format!("\"last_failed_name\" \"{name}\"")).then_some(status)
        });
        assert!(status.contains("there is not enough room for it"), "{status}");
        std::fs::remove_file(filler).unwrap();
        wait_until("room again", SOON, || (connection.ask("SET key:0 again") == "+OK").then_some(()));
        let is_empty = || std::fs::read_dir(backups.path()).unwrap().next().is_none();
        wait_until("what was copied to be gone", SOON, || is_empty().then_some(()));
    };
    outcome(false);
    outcome(true);
    let name = begin(&mut connection, false);
    wait_until("a backup that fits", SOON, || backups.path().join(&name).is_file().then_some(()));
}

#[test]
fn a_restore_that_does_not_fit_leaves_the_data_as_it_was() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let mut service = disk.start(&[]);
    let _listing = Listing(&disk);
    let mut connection = service.connect();
    for n in 0..800 {
        assert_eq!(connection.call(&["SET", &format!("key:{n}"), &"v".repeat(8_000)]).to_string(), "+OK");
    }
    drop(connection);
    service.kill_all();
    // The copy begins, and the disk ends in the middle of it.
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup.db");
    let run = |command: &str, arguments: &[&str], data: &Path| {
        let mut command_line = Command::new(program());
        command_line.arg(command).args(arguments).env_clear().env("EMPTYSERVER_DATA", data).output().unwrap()
    };
    assert!(run("backup", &[backup.to_str().unwrap()], service.data()).status.success());
    let files = || -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(service.data())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let before = files();
    for left in [2 << 20, 0] {
        let filled = disk.fill();
        let file = std::fs::File::options().write(true).open(&filled).unwrap();
        file.set_len(file.metadata().unwrap().len() - left).unwrap();
        let output = run("restore", &[backup.to_str().unwrap(), "--replace"], service.data());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("the disk is full"), "{said}");
        assert_eq!(files(), before);
        std::fs::remove_file(filled).unwrap();
    }
    service.restart();
    let mut connection = service.connect();
    assert_eq!(connection.ask("DBSIZE"), ":800");
    assert_eq!(connection.ask("SET healed 1"), "+OK");
}
