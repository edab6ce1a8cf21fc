//! Kernels and sandboxes that lack a system call: the service does without, as strace makes it believe.

use std::collections::BTreeMap;

use crate::support::{PATIENCE, Service, strace, wait_until};

/// What each process has open, by the process's name: how many sockets, and how many of each other kind.
fn descriptors(service: &Service) -> BTreeMap<String, BTreeMap<String, usize>> {
    let kind = |target: std::path::PathBuf| {
        let text = target.to_string_lossy().into_owned();
        let kind = text.split(':').next().unwrap_or_default().to_owned();
        kind.rsplit('/').next().unwrap_or_default().to_owned()
    };
    let of = |pid: i32| {
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut kinds = BTreeMap::new();
        // The log's pipe, which strace hands on.
        let links =
            links.filter(|link| link.file_name().to_str().is_none_or(|number| number.len() > 1 || number > "2"));
        for target in links.filter_map(|link| std::fs::read_link(link.path()).ok()) {
            *kinds.entry(kind(target)).or_default() += 1;
        }
        kinds
    };
    service.processes().into_iter().map(|process| (process.name.clone(), of(process.pid))).collect()
}

fn started_without(calls: &str, error: &str) -> Service {
    let inject = format!("inject={calls}:error={error}");
    let trace = format!("trace={calls}");
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", &trace, "-e", &inject];
    Service::start_under(&wrapper, &[("WORKERS", "2")])
}

/// What a service does that has all it needs: processes are replaced, and the others notice each death.
fn serves(service: &Service) {
    let mut connection = service.connect();
    assert_eq!(connection.ask("SET a 1"), "+OK");
    for name in ["write", "worker-0", "worker-1"] {
        service.replace(name);
        let mut connection = service.connect();
        assert!(connection.ask("INCR n").starts_with(':'));
        assert_eq!(connection.ask("GET a"), "\"1\"");
    }
    assert!(connection.is_closed(), "its worker is gone, and nobody else has its socket");
}

#[test]
fn without_close_range_each_process_has_its_own_descriptors_and_no_other() {
    if !strace::is_available() {
        return;
    }
    let usual = Service::start(&[("WORKERS", "2")]);
    for error in ["ENOSYS", "EPERM"] {
        let service = started_without("close_range", error);
        serves(&service);
        wait_until("the usual descriptors", PATIENCE, || (descriptors(&service) == descriptors(&usual)).then_some(()));
    }
}

#[test]
fn what_only_makes_things_faster_may_be_missing() {
    if !strace::is_available() {
        return;
    }
    let calls = "sync_file_range,madvise,fadvise64,setpriority,sched_getaffinity,sched_setaffinity,statx,fallocate,copy_file_range";
    for error in ["ENOSYS", "EPERM"] {
        let service = started_without(calls, error);
        serves(&service);
        let mut connection = service.connect();
        assert_eq!(connection.ask("SAVE"), "+OK");
    }
}
