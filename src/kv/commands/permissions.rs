//! What users' rights are asked about a call of a command, and the names that their rules may use: both follow from its row.

use std::sync::LazyLock;

use crate::kv::commands::table::{self, Category, Command, Flags, KeyFlags};
use crate::kv::users::{Denied, KeyUse, Request, User, Vocabulary, Word};

/// The names of commands and categories that rules may use.
#[must_use]
pub fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
        let categories = Category::ALL.iter().map(|category| category.name()).collect();
        Vocabulary::new(table::named_rows().iter().map(|row| word(row)).collect(), categories)
    });
    &VOCABULARY
}

fn word(row: &'static Command) -> Word {
    let number = table::number(row);
    let categories = row.categories().map(|category| 1_u64 << category as u32).fold(0, |all, bit| all | bit);
    let parent = row.name.split_once('|').and_then(|(parent, _)| table::lookup(parent.as_bytes())).map(table::number);
    // A container is followed by its subcommands.
    let children = number + 1..number + 1 + row.subcommands.len() as u16;
    Word { name: row.name, categories, parent, children }
}

impl Command {
    /// The keys of a call, and what it does with them.
    #[must_use]
    pub fn key_uses(&self, args: &[&[u8]]) -> Vec<KeyUse> {
        let uses = self.keys.positions(args).into_iter().map(|position| {
            let does = |flag| position.flags.has(flag);
            KeyUse {
                index: position.index,
                reads: does(KeyFlags::ACCESS),
                writes: does(KeyFlags::INSERT) || does(KeyFlags::DELETE) || does(KeyFlags::UPDATE),
            }
        });
        uses.collect()
    }

    fn ask<T>(&'static self, args: &[&[u8]], ask: impl FnOnce(&Request<'_>) -> T) -> T {
        let keys = || self.key_uses(args);
        ask(&Request {
            command: table::number(self),
            is_for_strangers: self.flags.has(Flags::NO_AUTH),
            args,
            keys: &keys,
            channels: self.channels,
        })
    }
}

impl User {
    /// Whether it may run this call, whose arity was checked. A part of a command was checked as that.
    pub fn check(&self, command: &'static Command, args: &[&[u8]]) -> Result<(), Denied> {
        if self.is_unrestricted() || usize::from(table::number(command)) >= table::named_rows().len() {
            return Ok(());
        }
        command.ask(args, |request| self.permits(request))
    }

    /// Whether it may run this call and read all keys there may be.
    #[must_use]
    pub fn may_read_all_keys(&self, command: &'static Command, args: &[&[u8]]) -> bool {
        self.is_unrestricted() || command.ask(args, |request| self.permits_with_all_keys(request, true, false))
    }
}
