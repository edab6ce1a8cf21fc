//! On whose behalf a call runs.

/// A user of the service. There is one, until ACL users are built.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// As CLIENT INFO says it.
    pub name: &'static str,
}

impl User {
    pub const DEFAULT: User = User { name: "default" };
}
