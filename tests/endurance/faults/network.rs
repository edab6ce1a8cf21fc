//! Backups that go to a directory which hangs, as one on a network does when its server is gone: a file system of FUSE whose program
//! is stopped. It needs root, and `fuse-overlayfs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::Signal;

use crate::support::{Connection, Service, encoded, signal, wait_until};

const SOON: Duration = Duration::from_secs(60);
/// After an order to end: the limit is 3 s, and the machine is shared.
const END_WITHIN: Duration = Duration::from_secs(20);

/// A directory that is no disk of this machine, for as long as this lives.
struct Remote {
    place: Option<tempfile::TempDir>,
    program: Child,
}

impl Remote {
    /// `None`, and a printed line, where there can't be one.
    fn mount() -> Option<Self> {
        let place = tempfile::Builder::new().prefix("remote-").tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        ["lower", "upper", "work", "merged"].iter().for_each(|name| fs::create_dir(at(name)).unwrap());
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| at(name).display().to_string());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let mut command = Command::new("fuse-overlayfs");
        command.args(["-f", "-o", &options]).arg(at("merged")).stdin(Stdio::null()).stderr(Stdio::null());
        let Ok(mut program) = command.spawn() else {
            println!("SKIPPED: fuse-overlayfs is not installed (Debian: apt-get install fuse-overlayfs)");
            return None;
        };
        let is_mounted =
            || fs::read_to_string("/proc/self/mounts").unwrap().contains(&at("merged").display().to_string());
        let mounted = wait_until("the mount, or its refusal", SOON, || {
            program.try_wait().unwrap().map(|_| false).or_else(|| is_mounted().then_some(true))
        });
        if !mounted {
            println!("SKIPPED: a file system of FUSE can't be mounted here");
            return None;
        }
        Some(Self { place: Some(place), program })
    }

    fn directory(&self) -> PathBuf {
        self.place.as_ref().unwrap().path().join("merged")
    }

    /// What is in it, also while it hangs.
    fn files(&self) -> Vec<String> {
        files_in(&self.place.as_ref().unwrap().path().join("upper"))
    }

    fn hang(&self, hangs: bool) {
        signal(i32::try_from(self.program.id()).unwrap(), if hangs { Signal::SIGSTOP } else { Signal::SIGCONT });
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg("-l").arg(self.directory()).status();
        self.program.kill().unwrap();
        self.program.wait().unwrap();
        if !ended.is_ok_and(|status| status.success()) {
            println!("{} stays mounted", self.directory().display());
            let _kept = self.place.take().map(tempfile::TempDir::keep);
        }
    }
}

fn files_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

fn started(remote: &Remote) -> Service {
    let directory = remote.directory().display().to_string();
    let service = Service::start(&[("WORKERS", "1"), ("BACKUP_DIR", &directory), ("DRAIN_SECONDS", "3")]);
    let mut connection = service.connect();
    let value = vec![b'v'; 2_000];
    for thousand in 0..10 {
        let keys = (0..1000).map(|n| format!("key:{thousand}:{n}"));
        connection.send_bytes(&keys.flat_map(|key| encoded(&[b"SET", key.as_bytes(), &value])).collect::<Vec<u8>>());
        (0..1000).for_each(|_| assert!(!connection.read().is_error()));
    }
    service
}

fn begin(connection: &mut Connection) -> String {
    let name = connection.ask("BACKUP START").trim_matches('"').to_owned();
    assert!(name.starts_with("backup-"), "{name}");
    name
}

fn until_status(connection: &mut Connection, what: &str, words: &str) -> String {
    wait_until(what, SOON, || Some(connection.ask("BACKUP STATUS")).filter(|status| status.contains(words)))
}

/// So many writes, each acknowledged: nobody waits for the directory.
fn assert_writes_go_on(connection: &mut Connection) {
    let begun = clock::monotonic();
    for n in 0..500 {
        assert_eq!(connection.ask(&format!("SET beside:{n} 1")), "+OK");
    }
    assert!(clock::monotonic().duration_since(begun) < Duration::from_secs(20), "writes wait");
}

#[test]
fn a_backup_reaches_a_directory_on_a_network_by_way_of_the_data_disk() {
    let Some(remote) = Remote::mount() else { return };
    let service = started(&remote);
    let mut connection = service.connect();
    let name = begin(&mut connection);
    until_status(&mut connection, "the backup", &format!("\"last_name\" \"{name}\""));
    assert_eq!(remote.files(), [name]);
    let has_part = || files_in(service.data()).iter().any(|name| name.ends_with(".part"));
    wait_until("the copy beside the data to be gone", SOON, || (!has_part()).then_some(()));
    let restored = Service::start(&[("RESTORE_FROM", remote.directory().to_str().unwrap())]);
    assert_eq!(restored.connect().ask("DBSIZE"), ":10000");
}

#[test]
fn a_directory_that_hangs_stops_no_write_and_no_end() {
    let Some(remote) = Remote::mount() else { return };
    let mut service = started(&remote);
    let mut connection = service.connect();
    let name = begin(&mut connection);
    until_status(&mut connection, "the first backup", &format!("\"last_name\" \"{name}\""));

    // Before it begins.
    remote.hang(true);
    let name = begin(&mut connection);
    assert_writes_go_on(&mut connection);
    let line = service.log().wait_for(0, SOON, |line| line.contains("the directory of backups does not answer"));
    assert!(line.is_some(), "the log says nothing");
    let status = connection.ask("BACKUP STATUS");
    // Waiting: for the thread of the one before, which looks for old ones to remove.
    assert!(
        ["preparing", "waiting"].iter().any(|state| status.contains(&format!("\"state\" \"{state}\""))),
        "{status}"
    );
    assert!(!status.contains("\"stalled_seconds\" :0"), "{status}");
    assert_writes_go_on(&mut connection);
    remote.hang(false);
    let status = until_status(&mut connection, "the backup that waited", &format!("\"last_name\" \"{name}\""));
    assert!(status.contains("\"stalled_seconds\" :0"), "{status}");

    // An end does not wait for it, nor does the next start.
    remote.hang(true);
    begin(&mut connection);
    drop(connection);
    signal(service.pid(), Signal::SIGTERM);
    assert!(service.wait_for_end(END_WITHIN).success());
    service.restart();
    let mut connection = service.connect();
    assert_eq!(connection.ask("DBSIZE"), ":10500");
    assert_writes_go_on(&mut connection);
    // One that is asked for now waits for the look at the directory.
    let name = begin(&mut connection);
    assert_writes_go_on(&mut connection);
    remote.hang(false);
    until_status(&mut connection, "the backup after the start", &format!("\"last_name\" \"{name}\""));
    assert!(remote.files().iter().all(|name| name.ends_with(".db")), "{:?}", remote.files());
}

#[test]
fn a_directory_that_hangs_amid_a_backup_stops_no_write() {
    let Some(remote) = Remote::mount() else { return };
    let service = started(&remote);
    let mut connection = service.connect();
    // The copy lies beside the data: whether all of it does yet or not, it goes on without the directory.
    let name = (0..20).find_map(|_| {
        let name = begin(&mut connection);
        let is_begun = |status: &String| !["waiting", "preparing"].iter().any(|state| status.contains(state));
        let status = wait_until("the copy", SOON, || Some(connection.ask("BACKUP STATUS")).filter(is_begun));
        if status.contains("\"state\" \"copying\"") {
            remote.hang(true);
            return Some(name);
        }
        until_status(&mut connection, "its end", &format!("\"last_name\" \"{name}\""));
        None
    });
    let name = name.expect("no backup was met in the middle");
    let status = until_status(&mut connection, "the copy to be on its way", "\"state\" \"moving\"");
    assert!(status.contains(&name), "{status}");
    assert_writes_go_on(&mut connection);
    let line = service.log().wait_for(0, SOON, |line| line.contains("the directory of backups does not answer"));
    assert!(line.is_some(), "the log says nothing");
    assert!(!connection.ask("BACKUP STATUS").contains("\"stalled_seconds\" :0"));
    remote.hang(false);
    until_status(&mut connection, "the backup", &format!("\"last_name\" \"{name}\""));
    assert!(
        remote.files().contains(&name) && remote.files().iter().all(|name| name.ends_with(".db")),
        "{:?}",
        remote.files()
    );
}
