//! The users as one thread knows them: read again whenever their version is another. So whoever looks after a change was answered has it,
//! and nobody needs to be told.

use crate::kv::shared::Shared;
use crate::kv::users::{self, Defaults, Users, Vocabulary};

pub struct UsersView {
    vocabulary: &'static Vocabulary,
    users: Users,
    /// Of the list, and of the password that CONFIG SET has given.
    seen: (u64, u64),
    needs_login: bool,
}

impl UsersView {
    /// Of nobody, until `look`.
    #[must_use]
    pub fn new(vocabulary: &'static Vocabulary) -> UsersView {
        UsersView { vocabulary, users: Users::default(), seen: (0, 0), needs_login: true }
    }

    /// Looks whether there are others; true if so.
    #[inline]
    pub fn look(&mut self, shared: &Shared) -> bool {
        let now = (shared.user_list.version(), shared.runtime.password_changes());
        let are_others = now != self.seen;
        if are_others {
            self.read(shared);
        }
        are_others
    }

    #[cold]
    fn read(&mut self, shared: &Shared) {
        let Some(listed) = shared.user_list.read() else {
            // Rather nobody than those who may have been changed.
            tracing::error!("the users can't be read: nobody may do anything until they can");
            *self = UsersView::new(self.vocabulary);
            return;
        };
        let (changes, password) = shared.runtime.password_and_changes();
        self.seen = (listed.version, changes);
        let mut users = Users::default();
        if listed.version > 0 {
            // The writer has told of what it does not know.
            let (read, _) = users::parse_list(&listed.lines, &self.users, Defaults::default(), self.vocabulary);
            users = read.with_default(self.vocabulary);
            if listed.password_changes != changes {
                users = users.with_password(&password);
            }
        }
        self.needs_login = users.default_user().is_none_or(|user| user.needs_login());
        self.users = users;
    }

    #[must_use]
    pub fn users(&self) -> &Users {
        &self.users
    }

    #[must_use]
    pub fn vocabulary(&self) -> &'static Vocabulary {
        self.vocabulary
    }

    /// Of these users; never 0. Two that are equal are of the same users.
    #[must_use]
    pub fn version(&self) -> u64 {
        (self.seen.0 << 32 | self.seen.1 & 0xffff_ffff).max(1)
    }

    /// True while a connection must log in before it may do anything.
    #[must_use]
    pub fn needs_login(&self) -> bool {
        self.needs_login
    }
}
