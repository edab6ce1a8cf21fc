//! The command families: rows and code of a family in one file.

use crate::kv::table::Command;

/// Every row of the command table, family by family.
pub const FAMILIES: &[&[Command]] = &[];
