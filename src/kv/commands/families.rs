//! Every row of the command table, family by family. Knows no command by name.

use crate::kv::commands;
use crate::kv::table::Command;

pub const FAMILIES: &[&[Command]] = &[
    commands::bits::COMMANDS,
    commands::client::COMMANDS,
    commands::command::COMMANDS,
    commands::connection::COMMANDS,
    commands::counters::COMMANDS,
    commands::databases::COMMANDS,
    commands::dump::COMMANDS,
    commands::expire::COMMANDS,
    commands::keys::COMMANDS,
    commands::memory::COMMANDS,
    commands::object::COMMANDS,
    commands::scan::COMMANDS,
    commands::strings::COMMANDS,
    commands::transactions::COMMANDS,
];
