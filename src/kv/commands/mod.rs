//! The command families: rows and code of a family in one file.

pub mod bits;
pub mod command;
mod command_docs;
pub mod counters;
pub mod databases;
pub mod dump;
pub mod expire;
pub mod help;
pub mod keys;
pub mod memory;
pub mod object;
pub mod scan;
pub mod strings;

use crate::kv::table::Command;

/// Every row of the command table, family by family.
pub const FAMILIES: &[&[Command]] = &[
    bits::COMMANDS,
    command::COMMANDS,
    counters::COMMANDS,
    databases::COMMANDS,
    dump::COMMANDS,
    expire::COMMANDS,
    keys::COMMANDS,
    memory::COMMANDS,
    object::COMMANDS,
    scan::COMMANDS,
    strings::COMMANDS,
];
