//! Every row of the command table, family by family. Knows no command by name.

use crate::kv::commands;
use crate::kv::commands::table::Command;

pub const FAMILIES: &[&[Command]] = &[
    commands::acl::COMMANDS,
    commands::backup::COMMANDS,
    commands::bits::COMMANDS,
    commands::blocking_lists::COMMANDS,
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
    commands::functions::COMMANDS,
    commands::geo::COMMANDS,
    commands::geo_search::COMMANDS,
    commands::hashes::COMMANDS,
    commands::hyperloglog::COMMANDS,
    commands::info::COMMANDS,
    commands::keys::COMMANDS,
    commands::latency::COMMANDS,
    commands::list_moves::COMMANDS,
    commands::list_positions::COMMANDS,
    commands::lists::COMMANDS,
    commands::memory::COMMANDS,
    commands::object::COMMANDS,
    commands::persistence::COMMANDS,
    commands::pubsub::COMMANDS,
    commands::scan::COMMANDS,
    commands::scripting::COMMANDS,
    commands::server::COMMANDS,
    commands::set_algebra::COMMANDS,
    commands::sets::COMMANDS,
    commands::slowlog::COMMANDS,
    commands::sort::COMMANDS,
    commands::sorted_set_algebra::COMMANDS,
    commands::sorted_set_pops::COMMANDS,
    commands::sorted_set_ranges::COMMANDS,
    commands::sorted_sets::COMMANDS,
    commands::stream_groups::COMMANDS,
    commands::stream_info::COMMANDS,
    commands::stream_reading::COMMANDS,
    commands::streams::COMMANDS,
    commands::strings::COMMANDS,
    commands::transactions::COMMANDS,
    #[cfg(test)]
    commands::test_rows::ROWS,
];

/// Rows that no name leads to: what other commands let a lane run for them.
pub const PARTS: &[&[Command]] = &[commands::debug::PARTS];
