//! Walks: SCAN's steps and a random key. The order is that of the keys' homes.

use std::ops::ControlFlow;

use super::keyspace::{Keyspace, Store};
use crate::storage::error::Result;
use crate::storage::rows::{Head, Name, POSITION_BITS, Range};

const LAST_POSITION: u64 = (1 << POSITION_BITS) - 1;

impl<S: Store> Keyspace<S> {
    /// Shows live keys from `cursor` (0 at the start) on, looking at about `rows_max` rows, and returns the cursor to
    /// go on with, 0 when all were seen. A key that is there from the first call to the last is shown at least once.
    ///
    /// Why that holds while keys change: a cursor is a home, a walk stops only between two homes, and a key never changes its own.
    pub fn scan(&self, cursor: u64, rows_max: usize, visit: &mut dyn FnMut(&[u8], &Head)) -> Result<u64> {
        let range = self.keys_from(cursor & LAST_POSITION, LAST_POSITION)?;
        let (mut seen, mut previous, mut next) = (0, None, 0);
        self.view().scan(range, &mut |name, row| {
            let Name::Key { position, key, .. } = name.name() else { return ControlFlow::Continue(()) };
            if let Some(previous) = previous
                && seen >= rows_max.max(1)
                && position > previous
            {
                next = previous + 1;
                return ControlFlow::Break(());
            }
            let head = row.of_key().head;
            if self.is_live(&head) {
                visit(key, &head);
            }
            seen += 1;
            previous = Some(position);
            ControlFlow::Continue(())
        })?;
        Ok(next)
    }

    /// A live key, chosen by `random`: the first one at or after that place in the order of the hash.
    pub fn random_key(&self, random: u64) -> Result<Option<Vec<u8>>> {
        let start = random & LAST_POSITION;
        for range in [self.keys_from(start, LAST_POSITION)?, self.keys_from(0, start)?] {
            let mut found = None;
            self.view().scan(range, &mut |name, row| match name.name() {
                Name::Key { key, .. } if self.is_live(&row.of_key().head) => {
                    found = Some(key.to_vec());
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn keys_from(&self, first: u64, last: u64) -> Result<Range> {
        Ok(Range::Keys { space: self.space(self.selected)?, first, last })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use crate::storage::Expiry;
    use crate::storage::fixture::{Fixture, NOW_MS};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Keys below 40 stay; the others come and go between the steps, in the same runs.
        #[test]
        fn a_scan_shows_every_key_that_stays_however_others_come_and_go(
            count in 1..8usize,
            homes in 1..400u64,
            changes in prop::collection::vec((40..120u8, any::<bool>()), 0..400),
        ) {
            let mut fixture = Fixture::new();
            fixture.crowd_homes(homes);
            fixture.write(|keyspace| {
                for key in 0..80u8 {
                    keyspace.put_string(&[key], b"", Expiry::Clear).unwrap();
                }
            });
            let mut seen = BTreeSet::new();
            let mut changes = changes.into_iter();
            let mut cursor = 0;
            loop {
                cursor = fixture.write(|keyspace| {
                    let next = keyspace.scan(cursor, count, &mut |key, _| { seen.insert(key[0]); }).unwrap();
                    for (key, is_put) in changes.by_ref().take(11) {
                        if is_put {
                            keyspace.put_string(&[key], b"", Expiry::At(NOW_MS + 1)).unwrap();
                        } else {
                            keyspace.delete(&[key]).unwrap();
                        }
                    }
                    next
                });
                if cursor == 0 {
                    break;
                }
            }
            prop_assert!((0..40).all(|key| seen.contains(&key)), "{:?}", seen);
        }
    }

    #[test]
    fn any_cursor_is_answered_and_a_walk_by_ones_ends() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            for key in 0..100u8 {
                keyspace.put_string(&[key], b"", Expiry::Clear).unwrap();
            }
            for cursor in [1, 77, u64::MAX, 1 << 48, (1 << 48) - 1, i64::MAX.cast_unsigned()] {
                keyspace.scan(cursor, 10, &mut |_, _| {}).unwrap();
            }
            let (mut cursor, mut steps, mut shown) = (0, 0, 0);
            loop {
                cursor = keyspace.scan(cursor, 0, &mut |_, _| shown += 1).unwrap();
                steps += 1;
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!((steps, shown), (100, 100));
            let chosen: BTreeSet<_> =
                (0..200u64).map(|n| keyspace.random_key(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unwrap()).collect();
            assert!(chosen.len() > 50);
        });
    }
}
