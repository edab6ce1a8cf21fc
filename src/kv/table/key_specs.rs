//! Where a command's keys are among its arguments, and what happens to them: the key specs of COMMAND INFO, GETKEYS and
//! GETKEYSANDFLAGS. Knows arguments only, not the keyspace.

/// What a command does with a key. Rows write `KeyFlags::RW_UPDATE.at(1)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyFlags(u16);

impl KeyFlags {
    pub const RO: KeyFlags = KeyFlags(1);
    pub const RW: KeyFlags = KeyFlags(1 << 1);
    pub const OW: KeyFlags = KeyFlags(1 << 2);
    pub const RM: KeyFlags = KeyFlags(1 << 3);
    pub const ACCESS: KeyFlags = KeyFlags(1 << 4);
    pub const UPDATE: KeyFlags = KeyFlags(1 << 5);
    pub const INSERT: KeyFlags = KeyFlags(1 << 6);
    pub const DELETE: KeyFlags = KeyFlags(1 << 7);
    pub const NOT_KEY: KeyFlags = KeyFlags(1 << 8);
    pub const INCOMPLETE: KeyFlags = KeyFlags(1 << 9);
    pub const VARIABLE: KeyFlags = KeyFlags(1 << 10);

    // The usual pairs.
    pub const RO_ACCESS: KeyFlags = Self::RO.or(Self::ACCESS);
    pub const RW_ACCESS: KeyFlags = Self::RW.or(Self::ACCESS);
    pub const RW_UPDATE: KeyFlags = Self::RW.or(Self::UPDATE);
    pub const RW_DELETE: KeyFlags = Self::RW.or(Self::DELETE);
    pub const RW_INSERT: KeyFlags = Self::RW.or(Self::INSERT);
    pub const RW_ACCESS_UPDATE: KeyFlags = Self::RW_ACCESS.or(Self::UPDATE);
    pub const RW_ACCESS_DELETE: KeyFlags = Self::RW_ACCESS.or(Self::DELETE);
    pub const OW_UPDATE: KeyFlags = Self::OW.or(Self::UPDATE);
    pub const OW_INSERT: KeyFlags = Self::OW.or(Self::INSERT);
    pub const RM_DELETE: KeyFlags = Self::RM.or(Self::DELETE);

    #[must_use]
    pub const fn or(self, other: KeyFlags) -> KeyFlags {
        KeyFlags(self.0 | other.0)
    }

    #[must_use]
    pub const fn has(self, other: KeyFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names as COMMAND INFO and GETKEYSANDFLAGS list them, in their order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }

    /// One key at this argument.
    #[must_use]
    pub const fn at(self, index: i16) -> KeySpec {
        self.range(index, 0, 1)
    }

    /// Keys from `first` on, each `step` arguments. `last` is relative to `first`, or negative: counted from the last
    /// argument (-1).
    #[must_use]
    pub const fn range(self, first: i16, last: i16, step: i16) -> KeySpec {
        KeySpec { flags: self, begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, notes: "" }
    }

    /// An argument at `index` says how many keys follow right behind it.
    #[must_use]
    pub const fn counted_at(self, index: i16) -> KeySpec {
        let find = Find::KeyNumber { index: 0, first: 1, step: 1 };
        KeySpec { flags: self, begin: Begin::Index(index), find, notes: "" }
    }
}

const NAMES: &[(KeyFlags, &str)] = &[
    (KeyFlags::RO, "RO"),
    (KeyFlags::RW, "RW"),
    (KeyFlags::OW, "OW"),
    (KeyFlags::RM, "RM"),
    (KeyFlags::ACCESS, "access"),
    (KeyFlags::UPDATE, "update"),
    (KeyFlags::INSERT, "insert"),
    (KeyFlags::DELETE, "delete"),
    (KeyFlags::NOT_KEY, "not_key"),
    (KeyFlags::INCOMPLETE, "incomplete"),
    (KeyFlags::VARIABLE, "variable_flags"),
];

/// Where the search for keys begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    Index(i16),
    /// Behind the word; the search starts at argument `start`, or, negative, from the end backwards.
    Keyword {
        keyword: &'static str,
        start: i16,
    },
    Unknown,
}

/// Which arguments are keys, from the beginning on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// `limit` n > 1 stops at the n-th part of the remaining arguments.
    Range {
        last: i16,
        step: i16,
        limit: i16,
    },
    KeyNumber {
        index: i16,
        first: i16,
        step: i16,
    },
    Unknown,
}

/// One rule that finds keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeySpec {
    pub flags: KeyFlags,
    pub begin: Begin,
    pub find: Find,
    pub notes: &'static str,
}

impl KeySpec {
    #[must_use]
    pub const fn noted(mut self, notes: &'static str) -> KeySpec {
        self.notes = notes;
        self
    }
}

/// A key's place among the arguments of one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyPosition {
    pub index: usize,
    pub flags: KeyFlags,
}

/// How a command's keys are found.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    None,
    Specs(&'static [KeySpec]),
    /// The specs describe; the function finds (SET's access depends on its GET option).
    Custom(&'static [KeySpec], fn(&[&[u8]]) -> Vec<KeyPosition>),
}

/// The positions that older clients read: first, last (negative: from the end), step; and whether they tell the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LegacyRange {
    pub first: i16,
    pub last: i16,
    pub step: i16,
    pub is_movable: bool,
}

impl Keys {
    #[must_use]
    pub const fn specs(&self) -> &'static [KeySpec] {
        match self {
            Keys::None => &[],
            Keys::Specs(specs) | Keys::Custom(specs, _) => specs,
        }
    }

    /// The keys of a call whose arity was checked; empty when the arguments have none where the specs say.
    #[must_use]
    pub fn positions(&self, args: &[&[u8]]) -> Vec<KeyPosition> {
        match self {
            Keys::None => Vec::new(),
            Keys::Specs(specs) => positions_by_specs(specs, args).unwrap_or_default(),
            Keys::Custom(_, find) => find(args),
        }
    }

    /// What the specs are in the older form (Redis: populateCommandLegacyRangeSpec).
    #[must_use]
    pub fn legacy_range(&self) -> LegacyRange {
        let none = LegacyRange { first: 0, last: 0, step: 0, is_movable: false };
        let specs = self.specs();
        if let [KeySpec { flags, begin: Begin::Index(first), find: Find::Range { last, step, .. }, .. }] = *specs {
            let last = if last >= 0 { first + last } else { last };
            return LegacyRange { first, last, step, is_movable: flags.has(KeyFlags::INCOMPLETE) };
        }
        let mut range = none;
        for spec in specs {
            match (spec.begin, spec.find) {
                (Begin::Index(first), Find::Range { last, step: 1, .. })
                    if range.last == 0 || range.last == first - 1 =>
                {
                    let last = if last >= 0 { first + last } else { last };
                    range.first = if range.first == 0 { first } else { range.first.min(first) };
                    // A negative last (from the end) is past every positive one.
                    range.last = if range.last < 0 || last < 0 { range.last.min(last) } else { range.last.max(last) };
                    range.step = 1;
                    range.is_movable |= spec.flags.has(KeyFlags::INCOMPLETE);
                }
                _ => range.is_movable = true,
            }
        }
        range
    }
}

/// Redis: getKeysUsingKeySpecs. None: the arguments do not fit a spec.
fn positions_by_specs(specs: &[KeySpec], args: &[&[u8]]) -> Option<Vec<KeyPosition>> {
    let mut found = Vec::new();
    for spec in specs.iter().filter(|spec| !spec.flags.has(KeyFlags::NOT_KEY)) {
        let first = match spec.begin {
            Begin::Index(index) => usize::try_from(index).ok()?,
            Begin::Keyword { keyword, start } => match behind_keyword(keyword, start, args) {
                Some(first) => first,
                // An option that the call leaves out.
                None => continue,
            },
            Begin::Unknown => return None,
        };
        let (first, last, step) = range_from(first, spec.find, args)?;
        if last >= args.len() || last < first {
            return None;
        }
        found.extend((first..=last).step_by(step).map(|index| KeyPosition { index, flags: spec.flags }));
        if spec.flags.has(KeyFlags::INCOMPLETE) {
            return None;
        }
    }
    Some(found)
}

/// The place behind the word, which is not the last argument.
fn behind_keyword(keyword: &str, start: i16, args: &[&[u8]]) -> Option<usize> {
    let is_keyword = |index: &usize| args[*index].eq_ignore_ascii_case(keyword.as_bytes());
    let found = match usize::try_from(start) {
        Ok(start) => (start..args.len() - 1).find(is_keyword),
        Err(_) => (2..=args.len().checked_sub(usize::from(start.unsigned_abs()))?).rev().find(is_keyword),
    };
    Some(found? + 1)
}

/// The first and last argument that are keys, and the step between them.
fn range_from(first: usize, find: Find, args: &[&[u8]]) -> Option<(usize, usize, usize)> {
    match find {
        Find::Range { last, step, limit } => {
            let step = usize::try_from(step).ok()?;
            let last = match usize::try_from(last) {
                Ok(last) => first + last,
                Err(_) if limit > 1 => {
                    first + (args.len().checked_sub(first)? / usize::try_from(limit).ok()?).checked_sub(1)?
                }
                Err(_) => args.len().checked_sub(usize::from(last.unsigned_abs()))?,
            };
            Some((first, last, step))
        }
        Find::KeyNumber { index, first: offset, step } => {
            let number = args.get(first + usize::try_from(index).ok()?)?;
            let number: usize = std::str::from_utf8(number).ok()?.parse().ok()?;
            let (first, step) = (first + usize::try_from(offset).ok()?, usize::try_from(step).ok()?);
            Some((first, first.checked_add(number.checked_sub(1)?.checked_mul(step)?)?, step))
        }
        Find::Unknown => None,
    }
}
