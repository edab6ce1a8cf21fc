//! Every row of the command table, family by family. Knows no command by name.

use crate::kv::commands;
use crate::kv::commands::table::Command;

pub const FAMILIES: &[&[Command]] = &[
    commands::backup::COMMANDS,
    commands::bits::COMMANDS,
    commands::client::COMMANDS,
    commands::cluster::COMMANDS,
    commands::command::COMMANDS,
    commands::connection::COMMANDS,
    commands::config::COMMANDS,
    commands::counters::COMMANDS,
    commands::databases::COMMANDS,
    commands::debug::COMMANDS,
    commands::dump::COMMANDS,
    commands::expire::COMMANDS,
    commands::hashes::COMMANDS,
    commands::info::COMMANDS,
    commands::keys::COMMANDS,
    commands::latency::COMMANDS,
    commands::memory::COMMANDS,
    commands::object::COMMANDS,
    commands::persistence::COMMANDS,
    commands::scan::COMMANDS,
    commands::server::COMMANDS,
    commands::set_algebra::COMMANDS,
    commands::sets::COMMANDS,
    commands::slowlog::COMMANDS,
    commands::strings::COMMANDS,
    commands::transactions::COMMANDS,
    #[cfg(test)]
    commands::test_rows::ROWS,
];

/// Rows that no name leads to: what other commands let a lane run for them.
pub const PARTS: &[&[Command]] = &[commands::debug::PARTS];
