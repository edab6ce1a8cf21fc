//! The users' rows. What is in them is not known here. A group's changes of them wait as those of sources do.

use rusqlite::params;

use super::base::Base;
use crate::storage::error::Result;

/// A user as its row has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub name: Vec<u8>,
    pub id: u64,
    pub rules: Vec<u8>,
}

/// What a group does with a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChange {
    Put(UserRow),
    Remove(Vec<u8>),
}

impl Base {
    /// All users as committed, by name.
    pub fn user_rows(&self) -> Result<Vec<UserRow>> {
        let mut statement = self.connection.prepare_cached("SELECT name, id, rules FROM user ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            Ok(UserRow { name: row.get(0)?, id: row.get::<_, i64>(1)?.cast_unsigned(), rules: row.get(2)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The group at hand does this, too. A rollback forgets it.
    pub fn record_user(&mut self, change: UserChange) -> Result<()> {
        self.check_writing()?;
        self.users.push(change);
        Ok(())
    }

    /// Before COMMIT. As with sources, they stay until it has returned.
    pub(super) fn store_users(&self) -> Result<()> {
        for change in &self.users {
            match change {
                UserChange::Put(UserRow { name, id, rules }) => self
                    .connection
                    .prepare_cached("REPLACE INTO user (name, id, rules) VALUES (?1, ?2, ?3)")?
                    .execute(params![name, id.cast_signed(), rules])?,
                UserChange::Remove(name) => {
                    self.connection.prepare_cached("DELETE FROM user WHERE name = ?1")?.execute([name])?
                }
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{UserChange, UserRow};
    use crate::storage::Expiry;
    use crate::storage::fixture::{Fixture, NOW_MS, memory};

    fn user(name: &str, id: u64) -> UserRow {
        UserRow { name: name.into(), id, rules: b"on nopass".to_vec() }
    }

    #[test]
    fn users_are_committed_with_their_group_and_undone_with_it() {
        for mut fixture in [Fixture::new(), Fixture::on(memory())] {
            fixture.write(|keyspace| {
                keyspace.put_string(b"beside", b"1", Expiry::Clear).unwrap();
                keyspace.record_user(UserChange::Put(user("ann", u64::MAX >> 1))).unwrap();
                keyspace.record_user(UserChange::Put(user("bob", 2))).unwrap();
            });
            assert_eq!(fixture.writer.user_rows().unwrap(), [user("ann", u64::MAX >> 1), user("bob", 2)]);
            // A group of nothing else.
            fixture.write(|keyspace| keyspace.record_user(UserChange::Remove(b"ann".to_vec())).unwrap());
            fixture.writer.begin_write(NOW_MS).unwrap();
            fixture.writer.record_user(UserChange::Put(user("eve", 3))).unwrap();
            fixture.writer.rollback().unwrap();
            fixture.write(|keyspace| keyspace.put_string(b"later", b"1", Expiry::Clear).unwrap());
            assert_eq!(fixture.writer.user_rows().unwrap(), [user("bob", 2)]);
        }
    }

    #[test]
    fn users_survive_a_transaction_that_is_begun_again() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            keyspace.record_user(UserChange::Put(user("ann", 1))).unwrap();
            assert!(keyspace.recover().unwrap());
        });
        assert_eq!(fixture.writer.user_rows().unwrap(), [user("ann", 1)]);
    }
}
