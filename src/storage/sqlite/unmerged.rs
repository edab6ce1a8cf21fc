//! What the journal makes known of a file besides its tables, gathered for whoever verifies it. The service itself has this in memory.

use std::collections::{HashMap, HashSet};

use super::base::Base;
use crate::storage::error::Result;
use crate::storage::journal::Group;
use crate::storage::keyspace::DATABASES;
use crate::storage::rows::{Name, Origin, Part, Row, RowKey};

#[derive(Debug, Default)]
pub(super) struct Unmerged {
    /// Whether a key ends. None: it is deleted.
    keys: HashMap<KeyName, Option<bool>>,
    /// The spaces of databases that got others.
    pub(super) spaces: [Option<u64>; DATABASES],
    /// Values that a group is about: a merge may have come to one of their rows and not to another.
    pub(super) ids: HashSet<i64>,
}

/// Space, position, key.
type KeyName = (u64, u64, Box<[u8]>);

impl Unmerged {
    fn add(&mut self, group: &Group<'_>) -> Result<()> {
        for change in group.changes() {
            let change = change?;
            if let Origin::Present { id: Some(id), .. } = change.origin {
                self.ids.insert(id);
            }
            match (change.key.name(), change.row) {
                (Name::Key { space, position, key }, row) => {
                    let head = row.map(|row| row.of_key().head);
                    self.ids.extend(head.and_then(|head| head.id));
                    self.keys.insert((space, position, key.into()), head.map(|head| head.expires_at_ms.is_some()));
                }
                (Name::Database(number), Some(Row::Database(space))) => {
                    if let Some(place) = self.spaces.get_mut(usize::from(number)) {
                        *place = Some(space);
                    }
                }
                (Name::Element(element), row) => {
                    let apart = match row {
                        Some(Row::Element(row)) => row.apart,
                        _ => None,
                    };
                    self.ids.extend([Some(element.id), apart.map(|apart| apart.id)].into_iter().flatten());
                }
                (
                    Name::OrphanValue(id)
                    | Name::OrphanItems { id, .. }
                    | Name::OrphanEntries(id)
                    | Name::Chunk { id, .. },
                    _,
                ) => {
                    self.ids.insert(id);
                }
                (Name::Database(_), _) => {}
            }
        }
        Ok(())
    }

    /// By how many the keys of a space, and those of them that end, are more than what its table has.
    pub(super) fn count_changes(&self, base: &Base, of: u64) -> Result<(i64, i64)> {
        let (mut keys, mut expires) = (0, 0);
        for ((space, position, key), above) in self.keys.iter().filter(|((space, ..), _)| *space == of) {
            let name = RowKey::key(*space, *position, key);
            let below = base.row_in_table(name, Part::Head, |row| row.of_key().head.expires_at_ms.is_some())?;
            keys += i64::from(above.is_some()) - i64::from(below.is_some());
            expires += i64::from(*above == Some(true)) - i64::from(below == Some(true));
        }
        Ok((keys, expires))
    }
}

impl Base {
    /// # Errors
    /// `Corrupt`: the journal is damaged.
    pub(super) fn unmerged(&self) -> Result<Unmerged> {
        let mut unmerged = Unmerged::default();
        self.replay(self.merged()?.place(), &mut |group, _| unmerged.add(group))?;
        Ok(unmerged)
    }
}
