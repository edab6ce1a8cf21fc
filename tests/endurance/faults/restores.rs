//! Restores that are killed, or that have no room: the next start serves all of the old data or all of the new.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Connection, Service, program, strace};

/// Data whose last writes are in the `-wal` alone, as a kill leaves it, and a backup of other data.
struct Scene {
    service: Service,
    backup: PathBuf,
    /// Copies of the data directory, one for each kill.
    place: tempfile::TempDir,
}

fn put(connection: &mut Connection, which: &str, count: u32) {
    for n in 0..count {
        assert_eq!(connection.ask(&format!("SET {which}:{n} {which}")), "+OK");
    }
    assert_eq!(connection.ask(&format!("SET which {which}")), "+OK");
}

impl Scene {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut other = Service::start(&[("WORKERS", "1")]);
        put(&mut other.connect(), "new", 70);
        other.stop();
        let backup = place.path().join("backup.db");
        fs::copy(other.data().join("data.db"), &backup).unwrap();
        let mut service = Service::start(&[("WORKERS", "1")]);
        put(&mut service.connect(), "old", 50);
        service.kill_all();
        assert!(fs::metadata(service.data().join("data.db-wal")).unwrap().len() > 0);
        Self { service, backup, place }
    }

    /// The data directory anew.
    fn data(&self) -> tempfile::TempDir {
        let data = tempfile::tempdir_in(self.place.path()).unwrap();
        for name in ["data.db", "data.db-wal", "data.db-shm"] {
            fs::copy(self.service.data().join(name), data.path().join(name)).unwrap();
        }
        data
    }

    fn restore(&self, wrapper: &[&str], data: &Path) -> Output {
        let program = program();
        let words: Vec<&str> = wrapper.iter().copied().chain([program.as_str()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("restore").arg("--replace").arg(&self.backup).env_clear();
        command.env("EMPTYSERVER_DATA", data).env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap()
    }
}

/// What a start finds, as long as that is all of it.
fn served(data: tempfile::TempDir, what: &str) -> &'static str {
    let service = Service::start_on(data, &[], &[("WORKERS", "1")]);
    let mut connection = service.connect();
    let (which, count) = (connection.ask("GET which"), connection.ask("DBSIZE"));
    match (which.as_str(), count.as_str()) {
        ("\"old\"", ":51") => "old",
        ("\"new\"", ":71") => "new",
        ("$-1", ":0") => "nothing",
        other => panic!("{what}: the start serves {other:?}"),
    }
}

#[test]
fn a_kill_at_any_call_of_a_restore_leaves_all_of_the_old_data_or_all_of_the_new() {
    if !strace::is_available() {
        return;
    }
    let scene = Scene::new();
    let (mut kills, mut new) = (0, 0);
    for (call, step) in
        [("rename", 1), ("unlink", 2), ("fsync", 1), ("fdatasync", 1), ("ftruncate", 1), ("pwrite64", 15)]
    {
        for nth in (1..).step_by(step) {
            let data = scene.data();
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            let output = scene.restore(&["strace", "-f", "-o", "/dev/null", "-e", &inject], data.path());
            if output.status.success() {
                break;
            }
            kills += 1;
            let served = served(data, &inject);
            assert_ne!(served, "nothing", "{inject}");
            new += u32::from(served == "new");
        }
    }
    // Where there was nothing, as at a first start: nothing or all of it.
    for (call, nth) in [("rename", 1), ("rename", 2), ("fsync", 2), ("fsync", 4)] {
        let data = tempfile::tempdir_in(scene.place.path()).unwrap();
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        assert!(!scene.restore(&["strace", "-f", "-o", "/dev/null", "-e", &inject], data.path()).status.success());
        assert_ne!(served(data, &inject), "old");
    }
    println!("{kills} kills, {new} of them after the new data counted");
    assert!(kills > 15 && new > 0 && new < kills, "{kills} {new}");
    let data = scene.data();
    assert!(scene.restore(&[], data.path()).status.success());
    assert_eq!(served(data, "no kill"), "new");
}

/// A power cut may lose what was not synced, and keep the rest in any order.
#[test]
fn a_restore_syncs_the_directory_between_its_steps() {
    if !strace::is_available() {
        return;
    }
    let scene = Scene::new();
    let (data, recording) = (scene.data(), scene.place.path().join("recording"));
    let wrapper = ["strace", "-f", "-y", "-e", "trace=rename,fsync", "-o", recording.to_str().unwrap()];
    assert!(scene.restore(&wrapper, data.path()).status.success());
    let text = fs::read_to_string(recording).unwrap().replace(data.path().to_str().unwrap(), "DATA");
    let mut lines = text.lines();
    let rename = |from: &str, to: &str| (format!("rename(\"DATA/{from}"), format!("\"DATA/{to}"));
    let sync = |what: &str| ("fsync(".to_owned(), format!("<DATA{what}>"));
    for (call, argument) in [
        sync("/data.db.part"),
        rename("data.db.part\"", "data.db.restored-"),
        sync(""),
        rename("data.db-wal\"", "data.db.replaced-"),
        rename("data.db\"", "data.db.replaced-"),
        sync(""),
        rename("data.db.restored-", "data.db\""),
        sync(""),
    ] {
        assert!(lines.any(|line| line.contains(&call) && line.contains(&argument)), "no {call}…{argument} in {text}");
    }
}

#[test]
fn a_check_of_data_in_the_middle_of_a_restore_is_refused_and_the_next_start_completes_it() {
    if !strace::is_available() {
        return;
    }
    let scene = Scene::new();
    let data = scene.data();
    // The second rename moves the -wal away.
    let inject = "inject=rename:signal=KILL:when=3";
    assert!(!scene.restore(&["strace", "-f", "-o", "/dev/null", "-e", inject], data.path()).status.success());
    let checked =
        Command::new(program()).arg("check").env_clear().env("EMPTYSERVER_DATA", data.path()).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && said.contains("a restore was interrupted"), "{said}");
    let mut service = Service::start_on(data, &[], &[("WORKERS", "1")]);
    assert!(service.log().lines().iter().any(|line| line.contains("a restore that was interrupted is completed")));
    assert_eq!(service.connect().ask("GET which"), "\"new\"");
    service.stop();
    // What was moved aside is whole.
    let names = fs::read_dir(service.data()).unwrap().map(|entry| entry.unwrap().path());
    let aside = names
        .filter(|path| path.to_str().unwrap().contains("replaced"))
        .find(|path| path.to_str().unwrap().ends_with('Z'));
    let restored = Service::start(&[("RESTORE_FROM", aside.unwrap().to_str().unwrap())]);
    assert_eq!(restored.connect().ask("DBSIZE"), ":51");
}
