//! The command table: what a row is, and how a call finds its row. Knows no command by name.

pub use crate::kv::table::{
    Begin, Category, Find, Flags, Group, KeyFlags, KeyPosition, KeySpec, Keys, Named, Nil, Script, Wait,
};
pub use crate::kv::users::Channels;

use std::sync::LazyLock;

use crate::kv::call::{ReadCall, ReadResult, ScriptSession, UserRows, WaitingCalls, WriteCall};
use crate::kv::commands::{FAMILIES, PARTS};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::jobs::job::Call;
use crate::kv::jobs::{HEAVY, READ, WRITE};
use crate::kv::sources::Sources;
use crate::kv::table::look::Look;
use crate::server::LaneId;
use crate::storage::Keyspace;

/// One command, or one subcommand of a container.
#[derive(Clone, Copy)]
pub struct Command {
    /// Lower case; a subcommand's is its full name: "object|encoding".
    pub name: &'static str,
    /// The number of arguments, the name included; negative: at least so many.
    pub arity: i16,
    pub flags: Flags,
    pub keys: Keys,
    /// Which arguments are channels that users need rights to.
    pub channels: Channels,
    pub group: Group,
    pub since: &'static str,
    pub complexity: &'static str,
    pub summary: &'static str,
    /// What follows the name, as the reference pages of Redis write it. COMMAND DOCS' arguments and the client's hints
    /// derive from it.
    pub syntax: &'static str,
    pub handler: Handler,
    /// Of what runs on the loop, beside the session: what it does where a script calls it. `None`: a script can't.
    pub scripted: Option<ScriptedHandler>,
    pub subcommands: &'static [Command],
    /// Which calls run on the heavy lane, where the flag does not say it of all.
    pub heavy_when: Option<HeavyTest>,
    /// Hints for clients and proxies, as COMMAND INFO lists them.
    pub tips: &'static [&'static str],
    /// (version, what changed in it), as COMMAND DOCS lists them.
    pub history: &'static [(&'static str, &'static str)],
    pub deprecated: Option<Deprecated>,
}

/// Since when a command is not to be used any more, and what is used instead.
#[derive(Clone, Copy, Debug)]
pub struct Deprecated {
    pub since: &'static str,
    pub replaced_by: &'static str,
}

/// A command that runs on the loop, beside the session.
pub type SessionHandler =
    fn(&mut crate::kv::sessions::session::SessionCall<'_>, &[&[u8]]) -> crate::kv::sessions::session::Outcome;

/// What such a command does where a script calls it.
pub type ScriptedHandler = fn(&mut dyn ScriptSession, &[&[u8]]) -> CommandResult;

/// True for a call that takes long: it must not hold up a light one.
pub type HeavyTest = fn(&[&[u8]]) -> bool;

/// Where a command runs, and with what.
#[derive(Clone, Copy)]
pub enum Handler {
    /// On the loop, with the session.
    Session(SessionHandler),
    /// On the loop; the answer follows from the arguments and the program alone.
    Pure(fn(&[&[u8]]) -> CommandResult),
    /// On a reader thread.
    Read(fn(&mut ReadCall<'_>) -> ReadResult),
    /// On the loop where its cache knows the keys, else on a reader thread.
    Look(Look),
    /// In the writer.
    Write(fn(&mut WriteCall<'_>) -> CommandResult),
    /// In the writer where the call's arguments say that it changes something, else on a reader thread.
    Either(Either),
    /// In the writer, where it may wait: it answers, or it is to run again when something has come for it. What only reads is run on a
    /// reader before.
    Wait(Wait),
    /// In the writer, which alone knows who waits.
    Waiting(fn(&mut dyn WaitingCalls, &[&[u8]]) -> CommandResult),
    /// A script: in the writer, or on the heavy lane where it changes nothing.
    Script(Script),
    /// In the writer, which keeps the sources of scripts and libraries.
    Sources(fn(&mut Sources, &mut Keyspace, &[&[u8]]) -> CommandResult),
    /// In the writer, which has the users.
    Users(fn(&mut dyn UserRows, &[&[u8]]) -> CommandResult),
    /// Nowhere: only its subcommands run. `resolve` never returns such a row.
    Container,
}

/// A command that only reads most of the time.
#[derive(Clone, Copy)]
pub struct Either {
    pub changes: fn(&[&[u8]]) -> bool,
    pub read: fn(&mut ReadCall<'_>) -> ReadResult,
    pub write: fn(&mut WriteCall<'_>) -> CommandResult,
}

impl Call<'_> {
    /// The row that it names.
    #[must_use]
    pub fn command(&self) -> &'static Command {
        row(self.row)
    }
}

impl Command {
    /// What most rows leave out: `Command { name: "…", …, ..Command::ROW }`.
    pub const ROW: Command = Command {
        name: "",
        arity: 1,
        flags: Flags::NONE,
        keys: Keys::None,
        channels: Channels::None,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "",
        syntax: "",
        handler: Handler::Container,
        scripted: None,
        subcommands: &[],
        heavy_when: None,
        tips: &[],
        history: &[],
        deprecated: None,
    };

    /// True exactly when a call with so many arguments, the name included, is allowed.
    #[must_use]
    pub const fn fits_arity(&self, arguments: usize) -> bool {
        let least = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 { arguments == least } else { arguments >= least }
    }

    /// True exactly when this call runs on the heavy lane.
    #[must_use]
    pub fn is_heavy(&self, args: &[&[u8]]) -> bool {
        self.flags.has(Flags::HEAVY)
            || args.len() > LIGHT_ARGS_MAX
            || self.heavy_when.is_some_and(|is_heavy| is_heavy(args))
    }

    /// Where this call runs: `None` is on the loop.
    #[must_use]
    pub fn lane(&self, args: &[&[u8]]) -> Option<LaneId> {
        match self.handler {
            Handler::Session(_) | Handler::Pure(_) | Handler::Container => None,
            _ if self.changes(args) => Some(WRITE),
            _ if self.is_heavy(args) => Some(HEAVY),
            _ => Some(READ),
        }
    }

    /// True exactly when this call runs in the writer by itself.
    #[must_use]
    pub fn changes(&self, args: &[&[u8]]) -> bool {
        match self.handler {
            Handler::Write(_) | Handler::Waiting(_) | Handler::Sources(_) | Handler::Users(_) => true,
            Handler::Script(script) => !script.only_reads(args),
            Handler::Wait(wait) => wait.read.is_none(),
            Handler::Either(either) => (either.changes)(args),
            _ => false,
        }
    }

    /// What is wrong with this call where a script makes it.
    pub fn check_in_script(&self, args: &[&[u8]]) -> Result<(), CommandError> {
        if let Handler::Wait(wait) = self.handler { (wait.in_scripts)(args) } else { Ok(()) }
    }

    /// True exactly when its calls ride in a run: they are answered at once, and their replies wait for those before them.
    #[must_use]
    pub fn is_inert(&self) -> bool {
        self.flags.has(Flags::INERT) || matches!(self.handler, Handler::Pure(_))
    }

    /// The subcommand of this short name, whatever its case.
    #[must_use]
    pub fn subcommand(&self, short_name: &[u8]) -> Option<&'static Command> {
        self.subcommands.iter().find(|command| command.short_name().as_bytes().eq_ignore_ascii_case(short_name))
    }

    /// The name without the container's: "encoding" of "object|encoding".
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, short)| short)
    }

    pub fn categories(&self) -> impl Iterator<Item = Category> {
        let (group, flags) = (self.group, self.flags);
        let is_container = matches!(self.handler, Handler::Container);
        // A container has no group of its own in Redis' eyes: its subcommands have.
        Category::ALL.into_iter().filter(move |category| {
            if is_container { *category == Category::Slow } else { category.holds(group, flags) }
        })
    }
}

/// A read with more arguments, which are mostly keys, goes to the heavy lane: it would hold up the others of its reader.
pub const LIGHT_ARGS_MAX: usize = 1024;

/// All rows, without subcommands, in the order of the families.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The row of this name, whatever its case. No allocation, no subcommands.
#[must_use]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    INDEX.find(name)
}

/// The row or subcommand of a full name: "object|encoding".
#[must_use]
pub fn lookup_full_name(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|byte| *byte == b'|') {
        None => lookup(name),
        Some(bar) => lookup(&name[..bar])?.subcommand(&name[bar + 1..]),
    }
}

/// The row that a call names, the subcommand where it names one; its arity is not looked at.
#[must_use]
pub fn lookup_row(args: &[&[u8]]) -> Option<&'static Command> {
    let command = lookup(args.first()?)?;
    match args.get(1) {
        Some(name) if !command.subcommands.is_empty() => command.subcommand(name),
        _ => Some(command),
    }
}

/// The row that runs for these arguments (at least one): it exists and its arity fits. The errors are worded as Redis
/// words them.
pub fn resolve(args: &[&[u8]]) -> Result<&'static Command, CommandError> {
    match lookup_row(args) {
        Some(command) if command.fits_arity(args.len()) => Ok(command),
        Some(command) => Err(errors::wrong_arity(command.name)),
        None => Err(match lookup(args[0]) {
            Some(container) => errors::unknown_subcommand(container.name, args[1]),
            None => errors::unknown_command(args),
        }),
    }
}

/// All rows, each container followed by its subcommands, and the parts of commands: a row's place here is its number.
#[must_use]
pub fn rows() -> &'static [&'static Command] {
    static ROWS: LazyLock<Vec<&'static Command>> = LazyLock::new(|| {
        let named = commands().flat_map(|command| std::iter::once(command).chain(command.subcommands));
        named.chain(PARTS.iter().copied().flatten()).collect()
    });
    &ROWS
}

/// The rows that clients can name, in the same order: the parts of commands stand behind them.
#[must_use]
pub fn named_rows() -> &'static [&'static Command] {
    let parts: usize = PARTS.iter().map(|parts| parts.len()).sum();
    &rows()[..rows().len() - parts]
}

/// The part of a command with this name, for `Calls`.
#[must_use]
pub fn part(name: &str) -> &'static Command {
    rows().iter().rev().find(|row| row.name == name).expect("commands name their own parts")
}

#[must_use]
pub fn row(number: u16) -> &'static Command {
    rows()[usize::from(number)]
}

/// The number of a row of the table.
#[must_use]
pub fn number(command: &'static Command) -> u16 {
    static BY_ADDRESS: LazyLock<Vec<(usize, u16)>> = LazyLock::new(|| {
        let mut places: Vec<(usize, u16)> =
            rows().iter().enumerate().map(|(number, row)| (std::ptr::from_ref(*row).addr(), number as u16)).collect();
        places.sort_unstable();
        places
    });
    let address = std::ptr::from_ref(command).addr();
    let place = BY_ADDRESS.binary_search_by_key(&address, |&(address, _)| address).expect("a row of the table");
    BY_ADDRESS[place].1
}

/// The table is well below a quarter full, so that a search seldom looks at a second slot.
const SLOTS: usize = 1024;

/// Open addressing by a hash of the folded name, built at compile time.
struct Index([Option<&'static Command>; SLOTS]);

static INDEX: Index = Index::of(FAMILIES);

impl Index {
    const fn of(families: &'static [&'static [Command]]) -> Index {
        let mut slots: [Option<&'static Command>; SLOTS] = [None; SLOTS];
        let (mut family, mut count) = (0, 0);
        while family < families.len() {
            let mut row = 0;
            while row < families[family].len() {
                let command = &families[family][row];
                let mut slot = slot_of(command.name.as_bytes());
                while slots[slot].is_some() {
                    slot = (slot + 1) % SLOTS;
                }
                slots[slot] = Some(command);
                row += 1;
                count += 1;
                assert!(count < SLOTS / 2, "the index has room for twice the rows");
            }
            family += 1;
        }
        Index(slots)
    }

    fn find(&self, name: &[u8]) -> Option<&'static Command> {
        let mut slot = slot_of(name);
        while let Some(command) = self.0[slot] {
            if command.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }
}

/// A hash of the name's length and its first bytes: no two command names differ only behind the 16th.
const fn slot_of(name: &[u8]) -> usize {
    let mut hash = name.len() as u32;
    let mut index = 0;
    while index < name.len() && index < 16 {
        // Setting bit 5 folds the case of letters; that it folds other bytes too costs a comparison at most.
        hash = (hash ^ (name[index] | 0x20) as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    (hash ^ (hash >> 15)) as usize % SLOTS
}
