//! Accounts: who may log in, and as what. rules/accounts.lua keeps one administrator.

use crate::fields::{Field, Input, Kind};
use crate::rights::Role;

pub(crate) static ACCOUNT: Kind = Kind {
    title: &["login"],
    unique: "login",
    grouped_by: "role",
    groups: Role::NAMES,
    create: "save_account",
    change: "save_account",
    remove: "remove_account",
    ..Kind::new("account", "administrators", FIELDS)
};

const FIELDS: &[Field] = &[
    Field::new("login", Input::Line).required().listed().searched().fixed(),
    Field::new("name", Input::Line).labelled("full_name").required().listed().searched(),
    Field::new("role", Input::Choice(Role::NAMES)).required().listed(),
    // Kept as its argon2 hash, in `_password`. When it is empty in a change, it stays.
    Field::new("password", Input::Password),
];
