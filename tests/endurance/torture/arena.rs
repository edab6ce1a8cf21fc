//! What all threads of the torture share: the objects, what was found and counted, and who is to be killed next.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use emptyserver::sys::clock;

use super::objects::{Fault, Object};
use crate::support::Connection;

/// Nobody is of special interest.
pub(crate) const NONE: usize = usize::MAX;
/// More findings say nothing new.
const FINDINGS_MAX: usize = 20;
/// Longer than any restart takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Arena {
    pub(crate) address: SocketAddr,
    pub(crate) objects: Vec<Object>,
    pub(crate) is_over: AtomicBool,
    /// Held by each step of a writer; alone, by the step at which the writer process dies.
    pub(crate) gate: RwLock<()>,
    /// The object that the readers look at most: the one that a death is near.
    pub(crate) hot: AtomicUsize,
    /// Readers ask nothing: a worker that does not look while the writer process is gone has to find out later.
    pub(crate) is_quiet: AtomicBool,
    /// An object, and the point of its next step at which the writer process is to die.
    pub(crate) order: Mutex<Option<(usize, &'static str)>>,
    pub(crate) reads: AtomicU64,
    pub(crate) peeks: AtomicU64,
    pub(crate) unjudged: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) unknown_writes: AtomicU64,
    pub(crate) kills_at_points: AtomicU64,
    pub(crate) execs: AtomicU64,
    pub(crate) refused_execs: AtomicU64,
    findings: Mutex<(HashMap<&'static str, u64>, Vec<String>)>,
}

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Read(Fault),
    LostExclusion,
}

impl Finding {
    /// As `tests/broken_variants.sh` looks for it.
    fn name(self) -> &'static str {
        match self {
            Finding::Read(Fault::Stale) => "stale read",
            Finding::Read(Fault::NewThenOld) => "new then old",
            Finding::Read(Fault::Torn) => "torn read",
            Finding::LostExclusion => "lost exclusion",
        }
    }
}

impl Arena {
    pub(crate) fn new(address: SocketAddr, objects: Vec<Object>) -> Arena {
        let zero = || AtomicU64::new(0);
        Arena {
            address,
            objects,
            is_over: AtomicBool::new(false),
            gate: RwLock::new(()),
            hot: AtomicUsize::new(NONE),
            is_quiet: AtomicBool::new(false),
            order: Mutex::new(None),
            reads: zero(),
            peeks: zero(),
            unjudged: zero(),
            writes: zero(),
            unknown_writes: zero(),
            kills_at_points: zero(),
            execs: zero(),
            refused_execs: zero(),
            findings: Mutex::default(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// One is enough: all threads end.
    pub(crate) fn report(&self, finding: Finding, what: &str) {
        let mut findings = self.findings.lock().unwrap();
        *findings.0.entry(finding.name()).or_default() += 1;
        if findings.1.len() < FINDINGS_MAX {
            findings.1.push(format!("finding: {}: {what}", finding.name()));
        }
        self.end();
    }

    /// Lines: how many of each kind, and the first of them.
    pub(crate) fn findings(&self) -> Vec<String> {
        let findings = self.findings.lock().unwrap();
        let counts = findings.0.iter().map(|(name, count)| format!("found {count} x {name}"));
        counts.chain(findings.1.iter().cloned()).collect()
    }

    /// A worker may just have died: again until one takes it, or until all is over.
    pub(crate) fn connect(&self) -> Option<Connection> {
        while !self.is_over() {
            if let Ok(connection) = Connection::try_open(self.address) {
                return Some(connection);
            }
            std::thread::yield_now();
        }
        None
    }

    /// A connection also after the end: for those who have yet to learn what became of their last call.
    pub(crate) fn connect_to_settle(&self) -> Connection {
        let until = clock::monotonic() + PATIENCE;
        loop {
            if let Ok(connection) = Connection::try_open(self.address) {
                return connection;
            }
            assert!(clock::monotonic() < until, "the service does not come back");
            std::thread::yield_now();
        }
    }
}

/// Which of many: xorshift, so that a run can be told by its seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 20) % sides as u64) as usize
    }

    pub(crate) fn is_one_of(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}
