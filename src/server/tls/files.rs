//! Where certificate, key and authorities lie, and when they were replaced.
//!
//! Looked at once a second by who watches: a look is a stat of each, which follows symbolic links (Kubernetes and cert-manager swap a
//! link to a directory). They are read when they have changed and a second look saw the same, since they may be written one after the other;
//! what can't be used is refused, and what was there stays.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::counters::{Global, Scoreboard};
use super::super::service::StartError;
use super::current::Certificates;
use super::material::{ClientCertificates, Material, Policy};
use super::tickets::{TURN_SECONDS, TicketKeys};
use crate::sys::clock;

/// More than any chain is long.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The service's own certificate first, then those that lead to an authority; PEM, as the others.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whose certificates clients may show.
    pub authorities: Option<PathBuf>,
}

/// The files, and what was made of them when they were last good. `look` is for one process alone.
pub struct Watched {
    files: TlsFiles,
    certificates: Arc<Certificates>,
    material: Material,
    /// What the files were when they were last read, good or not.
    read: Stamps,
    /// What they were at the last look.
    seen: Stamps,
    tickets_turn_at_ms: u64,
    not_after_seconds: Option<i64>,
}

/// One file as a stat shows it. Whoever writes into it or puts another in its place changes one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

/// `None`: it can't be looked at.
type Stamps = [Option<Stamp>; 3];

/// Why the files can't be used.
struct Unusable(String);

impl Watched {
    /// Reads the files for the first time.
    pub fn new(files: TlsFiles, policy: Policy) -> Result<Watched, StartError> {
        let seen = files.stamps();
        let cannot = |Unusable(text)| StartError::new(format!("TLS: {text}"));
        let material = files.read(&policy).map_err(cannot)?;
        let configured = material.configure(&policy).map_err(|text| cannot(files.unusable(&text)))?;
        let not_after_seconds = configured.not_after_seconds;
        warn_if_over(not_after_seconds);
        let certificates = Arc::new(Certificates::new(policy, configured));
        let tickets_turn_at_ms = next_turn_ms();
        Ok(Watched { files, certificates, material, read: seen, seen, tickets_turn_at_ms, not_after_seconds })
    }

    /// What this process serves with: the same in every process that is forked from here on.
    #[must_use]
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// To be told once, when the counters are there.
    pub(in crate::server) fn publish(&self, scoreboard: Scoreboard) {
        let seconds = self.not_after_seconds.map_or(0, |seconds| seconds.max(1).cast_unsigned());
        scoreboard.global(Global::TlsNotAfterSeconds).store(seconds, Ordering::Relaxed);
    }

    /// Looks at the files, and reads them where they have changed, or where somebody asks for it. What is to be handed on to the other
    /// processes, where there is something new; this one has it then.
    pub(in crate::server) fn look(&mut self, is_asked: bool, scoreboard: Scoreboard) -> Option<OwnedFd> {
        let now = self.files.stamps();
        let is_settled = now == std::mem::replace(&mut self.seen, now);
        let has_changed = now != self.read && is_settled;
        if has_changed || is_asked {
            self.read = now;
            return self.reload(scoreboard);
        }
        if clock::uptime_ms() < self.tickets_turn_at_ms {
            return None;
        }
        self.tickets_turn_at_ms = next_turn_ms();
        let tickets = self.material.tickets.turned()?;
        self.take(Material { tickets, ..self.material.clone() }).ok().map(|(handed, _)| handed)
    }

    fn reload(&mut self, scoreboard: Scoreboard) -> Option<OwnedFd> {
        let taken = self.files.read(&self.certificates.policy()).and_then(|material| self.take(material));
        match taken {
            Ok((handed, not_after_seconds)) => {
                scoreboard.global(Global::TlsReloads).fetch_add(1, Ordering::Relaxed);
                self.not_after_seconds = not_after_seconds;
                self.publish(scoreboard);
                self.tickets_turn_at_ms = next_turn_ms();
                let days_left = not_after_seconds.map(days_left);
                tracing::info!(certificate = %self.files.certificate.display(), days_left, "the certificate was read again");
                warn_if_over(not_after_seconds);
                Some(handed)
            }
            Err(Unusable(error)) => {
                scoreboard.global(Global::TlsReloadFailures).fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the new certificate can't be used: the one before it stays");
                None
            }
        }
    }

    fn take(&mut self, material: Material) -> Result<(OwnedFd, Option<i64>), Unusable> {
        let not_after_seconds = self.certificates.replace(&material).map_err(|text| self.files.unusable(&text))?;
        let handed = material.hand_on().map_err(|error| Unusable(format!("it can't be handed on: {error}")))?;
        self.material = material;
        Ok((handed, not_after_seconds))
    }
}

impl TlsFiles {
    fn all(&self) -> [Option<&Path>; 3] {
        [Some(&self.certificate), Some(&self.key), self.authorities.as_deref()]
    }

    fn stamps(&self) -> Stamps {
        self.all().map(|path| std::fs::metadata(path?).ok().map(|found| Stamp::of(&found)))
    }

    fn read(&self, policy: &Policy) -> Result<Material, Unusable> {
        let authorities = self.authorities.as_deref().filter(|_| policy.clients != ClientCertificates::Off);
        Ok(Material {
            chain: read(&self.certificate)?,
            key: read(&self.key)?,
            authorities: authorities.map(read).transpose()?,
            tickets: TicketKeys::drawn().ok_or(Unusable("the machine gives no random bytes".to_owned()))?,
        })
    }

    fn unusable(&self, what: &str) -> Unusable {
        Unusable(format!("{} and {}: {what}", self.certificate.display(), self.key.display()))
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Stamp {
        Stamp {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            changed: (found.ctime(), found.ctime_nsec()),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let unusable = |what: &dyn fmt::Display| Unusable(format!("{} can't be read: {what}", path.display()));
    // A pipe would be waited for.
    match std::fs::metadata(path) {
        Err(error) => return Err(unusable(&error)),
        Ok(found) if !found.is_file() => return Err(unusable(&"it is no file")),
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(unusable(&"it is too long for a certificate or a key"));
        }
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unusable(&error))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| unusable(&error))?;
    Ok(bytes)
}

fn days_left(not_after_seconds: i64) -> i64 {
    (not_after_seconds - clock::wall_ms() / 1000).div_euclid(24 * 60 * 60)
}

fn warn_if_over(not_after_seconds: Option<i64>) {
    if not_after_seconds.is_some_and(|seconds| days_left(seconds) < 0) {
        tracing::warn!("the validity of the TLS certificate is over: clients will refuse it");
    }
}

fn next_turn_ms() -> u64 {
    clock::uptime_ms() + 1000 * TURN_SECONDS
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Authority;
    use super::*;

    #[test]
    fn files_that_are_replaced_are_read_when_they_have_settled_and_a_bad_pair_never_counts() {
        let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new("one"));
        let path = |name: &str| directory.path().join(name);
        let files = TlsFiles { certificate: path("now/tls.crt"), key: path("now/tls.key"), authorities: None };
        // As Kubernetes keeps a Secret: a link to a directory, which is swapped.
        let place = |name: &str, common_name: &str| {
            let (chain, key) = authority.certify(common_name);
            std::fs::create_dir(path(name)).unwrap();
            std::fs::write(path(name).join("tls.crt"), chain).unwrap();
            std::fs::write(path(name).join("tls.key"), key).unwrap();
            std::os::unix::fs::symlink(path(name), path("next")).unwrap();
            std::fs::rename(path("next"), path("now")).unwrap();
        };
        let policy = Policy { clients: ClientCertificates::Off, version_min: super::super::VersionMin::Tls12 };
        let scoreboard = Scoreboard::new(1, 0).unwrap();
        let figures = || {
            [Global::TlsReloads, Global::TlsReloadFailures]
                .map(|which| scoreboard.global(which).load(Ordering::Relaxed))
        };
        assert!(Watched::new(files.clone(), policy).err().unwrap().to_string().contains("now/tls.crt can't be read"));
        place("first", "kv");
        let mut watched = Watched::new(files.clone(), policy).unwrap();
        assert!(watched.look(false, scoreboard).is_none());
        place("second", "kv");
        assert!(watched.look(false, scoreboard).is_none(), "it may not be complete yet");
        let handed = watched.look(false, scoreboard).unwrap();
        let elsewhere = Watched::new(files.clone(), policy).unwrap();
        elsewhere.certificates().take(std::os::fd::AsFd::as_fd(&handed)).unwrap();
        assert!(watched.look(false, scoreboard).is_none());
        assert_eq!(figures(), [1, 0]);
        // The key of another certificate, and then none.
        let before = watched.certificates().service();
        std::fs::write(path("now/tls.key"), authority.certify("kv").1).unwrap();
        for _ in 0..3 {
            assert!(watched.look(false, scoreboard).is_none());
        }
        std::fs::remove_file(path("now/tls.key")).unwrap();
        for _ in 0..3 {
            assert!(watched.look(false, scoreboard).is_none());
        }
        assert_eq!(figures(), [1, 2], "each once");
        assert!(Arc::ptr_eq(&before, &watched.certificates().service()));
        place("third", "kv");
        assert!(watched.look(true, scoreboard).is_some(), "who asks does not wait");
        assert_eq!(figures(), [2, 2]);
    }
}
