//! Sources that were met, by SHA-1: what EVALSHA finds without a look into the file. Bounded: the one that was used longest ago goes first.

use std::collections::HashMap;
use std::rc::Rc;

use crate::kv::scripts::{ScriptFlags, Sha1};

/// A source that compiles.
#[derive(Clone)]
pub(super) struct KnownSource {
    pub(super) source: Rc<[u8]>,
    pub(super) flags: ScriptFlags,
    /// It has a row, so that it can be met again.
    pub(super) has_row: bool,
    used: u64,
}

/// As many scripts as Redis 7.4 keeps of those that EVAL brought.
const SOURCES_MAX: usize = 500;
/// And so many bytes of them together: one source may have all of it.
const BYTES_MAX: usize = 4 << 20;

#[derive(Default)]
pub(super) struct KnownSources {
    by_sha: HashMap<Sha1, KnownSource>,
    bytes: usize,
    /// How many have no row.
    without_row: usize,
    uses: u64,
    /// Sources without rows that had to go, until somebody counts them.
    pub(super) evicted: u64,
}

impl KnownSources {
    pub(super) fn get(&mut self, sha: &Sha1) -> Option<KnownSource> {
        self.uses += 1;
        let known = self.by_sha.get_mut(sha)?;
        known.used = self.uses;
        Some(known.clone())
    }

    /// Without counting as a use.
    #[must_use]
    pub(super) fn has(&self, sha: &Sha1) -> bool {
        self.by_sha.contains_key(sha)
    }

    pub(super) fn add(&mut self, sha: Sha1, source: &[u8], flags: ScriptFlags, has_row: bool) -> KnownSource {
        self.uses += 1;
        let known = KnownSource { source: source.into(), flags, has_row, used: self.uses };
        self.bytes += source.len();
        self.without_row += usize::from(!has_row);
        if let Some(before) = self.by_sha.insert(sha, known.clone()) {
            self.gone(&before);
        }
        while self.by_sha.len() > SOURCES_MAX || self.bytes > BYTES_MAX && self.by_sha.len() > 1 {
            self.evict();
        }
        known
    }

    /// It has a row from now on.
    pub(super) fn is_kept(&mut self, sha: &Sha1) {
        if let Some(known) = self.by_sha.get_mut(sha) {
            self.without_row -= usize::from(!known.has_row);
            known.has_row = true;
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_sha = HashMap::new();
        (self.bytes, self.without_row) = (0, 0);
    }

    /// How many have no row, and the bytes of all.
    #[must_use]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.without_row, self.bytes)
    }

    fn gone(&mut self, known: &KnownSource) {
        self.bytes -= known.source.len();
        self.without_row -= usize::from(!known.has_row);
    }

    fn evict(&mut self) {
        let oldest = self.by_sha.iter().min_by_key(|(_, known)| known.used).map(|(sha, _)| *sha);
        if let Some(known) = oldest.and_then(|sha| self.by_sha.remove(&sha)) {
            self.gone(&known);
            self.evicted += u64::from(!known.has_row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_that_was_used_longest_ago_goes_first() {
        let mut known = KnownSources::default();
        let flags = ScriptFlags::default();
        let sha = |name: &str| Sha1::of(name.as_bytes());
        for number in 0..SOURCES_MAX {
            known.add(sha(&number.to_string()), b"return 1", flags, false);
        }
        assert!(known.get(&sha("0")).is_some());
        known.add(sha("new"), b"return 2", flags, false);
        assert!(known.has(&sha("0")) && !known.has(&sha("1")) && known.has(&sha("new")));
        assert_eq!((known.evicted, known.size()), (1, (SOURCES_MAX, 8 * SOURCES_MAX)));
        known.add(sha("large"), &vec![b' '; BYTES_MAX], flags, true);
        assert_eq!(known.size(), (0, BYTES_MAX), "one may have all of it");
        known.add(sha("large"), b"", flags, true);
        assert_eq!(known.size(), (0, 0));
    }
}
