//! The flags of a command row, their names in COMMAND INFO, and the ACL categories that follow from them.

/// A set of command flags. Rows write `Flags::WRITE.or(Flags::FAST)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u64);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const WRITE: Flags = Flags(1);
    pub const READONLY: Flags = Flags(1 << 1);
    /// The command may make the data grow: refused while the disk is nearly full.
    pub const DENYOOM: Flags = Flags(1 << 2);
    pub const ADMIN: Flags = Flags(1 << 3);
    pub const PUBSUB: Flags = Flags(1 << 4);
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    pub const BLOCKING: Flags = Flags(1 << 6);
    pub const LOADING: Flags = Flags(1 << 7);
    pub const STALE: Flags = Flags(1 << 8);
    pub const SKIP_MONITOR: Flags = Flags(1 << 9);
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 10);
    pub const ASKING: Flags = Flags(1 << 11);
    pub const FAST: Flags = Flags(1 << 12);
    pub const NO_AUTH: Flags = Flags(1 << 13);
    pub const MAY_REPLICATE: Flags = Flags(1 << 14);
    pub const NO_MANDATORY_KEYS: Flags = Flags(1 << 15);
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 16);
    pub const NO_MULTI: Flags = Flags(1 << 17);
    pub const ALLOW_BUSY: Flags = Flags(1 << 18);

    // Ours: never shown by COMMAND INFO.
    /// The call runs on the heavy lane, whatever its arguments are.
    pub const HEAVY: Flags = Flags(1 << 32);
    /// The work grows with what its keys hold: the call runs on the heavy lane where that is much.
    pub const BY_SIZE: Flags = Flags(1 << 41);
    /// Categories that neither the group nor another flag implies.
    pub const ACL_DANGEROUS: Flags = Flags(1 << 33);
    pub const ACL_KEYSPACE: Flags = Flags(1 << 34);
    pub const ACL_CONNECTION: Flags = Flags(1 << 35);
    pub const ACL_READ: Flags = Flags(1 << 36);
    /// The answer is the same at all times; docs/compatibility.md lists these commands.
    pub const FIXED: Flags = Flags(1 << 37);
    pub const ACL_ADMIN: Flags = Flags(1 << 38);
    /// Of sets, sorted sets and lists.
    pub const ACL_COLLECTIONS: Flags = Flags(1 << 60);
    /// The group implies no category.
    pub const ACL_NOT_GROUP: Flags = Flags(1 << 39);
    /// Refused inside MULTI, where Redis queues it: it decides which replies are sent, so EXEC's array would not have the elements that
    /// its header announces.
    pub const MUTES: Flags = Flags(1 << 40);

    /// Run at once inside MULTI, where others are queued.
    pub const NOT_QUEUED: Flags = Flags(1 << 45);
    /// Runs what MULTI has queued: admitted as all of that together.
    pub const EXECUTES: Flags = Flags(1 << 46);
    /// Runs while all clients are paused: else nobody could end the pause.
    pub const DURING_PAUSE: Flags = Flags(1 << 47);
    /// Runs while a RESP2 client is subscribed to something, and may do little else.
    pub const WHILE_SUBSCRIBED: Flags = Flags(1 << 50);
    /// There only where the operator allows DEBUG.
    pub const DEBUGS: Flags = Flags(1 << 48);
    /// The call chooses the database of those behind it.
    pub const SELECTS: Flags = Flags(1 << 43);
    /// The call may change the protocol's version for the replies behind its own.
    pub const SETS_VERSION: Flags = Flags(1 << 44);
    /// The answer follows from the arguments and the session, and nobody else can see what the call did: it does not cut a pipeline's
    /// run. What `Handler::Pure` runs is so by itself.
    pub const INERT: Flags = Flags(1 << 42);

    /// It looks at its keys without meeting them: one that is not there is no miss that others hear of.
    pub const QUIET: Flags = Flags(1 << 56);

    /// The union of two sets.
    #[must_use]
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// True exactly when every flag of `other` is set.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names as COMMAND INFO lists them, in its order. "movablekeys" is derived from the key specs and not here.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }
}

const NAMES: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ASKING, "asking"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

/// A command's group, as COMMAND DOCS names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    HyperLogLog,
    List,
    PubSub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

impl Group {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Geo => "geo",
            Group::Hash => "hash",
            Group::HyperLogLog => "hyperloglog",
            Group::List => "list",
            Group::PubSub => "pubsub",
            Group::Scripting => "scripting",
            Group::Server => "server",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::String => "string",
            Group::Transactions => "transactions",
        }
    }

    /// The ACL category that every command of the group is in.
    const fn category(self) -> Option<Category> {
        match self {
            Group::Bitmap => Some(Category::Bitmap),
            Group::Connection => Some(Category::Connection),
            Group::Generic => Some(Category::Keyspace),
            Group::Geo => Some(Category::Geo),
            Group::Hash => Some(Category::Hash),
            Group::HyperLogLog => Some(Category::HyperLogLog),
            Group::List => Some(Category::List),
            Group::PubSub => Some(Category::PubSub),
            Group::Scripting => Some(Category::Scripting),
            Group::Cluster | Group::Server => None,
            Group::Set => Some(Category::Set),
            Group::SortedSet => Some(Category::SortedSet),
            Group::Stream => Some(Category::Stream),
            Group::String => Some(Category::String),
            Group::Transactions => Some(Category::Transaction),
        }
    }
}

/// An ACL category. The order is the one in which Redis lists a command's categories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Category {
    Keyspace,
    Read,
    Write,
    Set,
    SortedSet,
    List,
    Hash,
    String,
    Bitmap,
    HyperLogLog,
    Geo,
    Stream,
    PubSub,
    Admin,
    Fast,
    Slow,
    Blocking,
    Dangerous,
    Connection,
    Transaction,
    Scripting,
}

impl Category {
    pub const ALL: [Category; 21] = [
        Category::Keyspace,
        Category::Read,
        Category::Write,
        Category::Set,
        Category::SortedSet,
        Category::List,
        Category::Hash,
        Category::String,
        Category::Bitmap,
        Category::HyperLogLog,
        Category::Geo,
        Category::Stream,
        Category::PubSub,
        Category::Admin,
        Category::Fast,
        Category::Slow,
        Category::Blocking,
        Category::Dangerous,
        Category::Connection,
        Category::Transaction,
        Category::Scripting,
    ];

    /// The name without the `@`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Category::Keyspace => "keyspace",
            Category::Read => "read",
            Category::Write => "write",
            Category::Set => "set",
            Category::SortedSet => "sortedset",
            Category::List => "list",
            Category::Hash => "hash",
            Category::String => "string",
            Category::Bitmap => "bitmap",
            Category::HyperLogLog => "hyperloglog",
            Category::Geo => "geo",
            Category::Stream => "stream",
            Category::PubSub => "pubsub",
            Category::Admin => "admin",
            Category::Fast => "fast",
            Category::Slow => "slow",
            Category::Blocking => "blocking",
            Category::Dangerous => "dangerous",
            Category::Connection => "connection",
            Category::Transaction => "transaction",
            Category::Scripting => "scripting",
        }
    }

    /// The category of this name, whatever its case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Category> {
        Category::ALL.into_iter().find(|category| category.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// True exactly when a command of this group with these flags is in the category (Redis: setImplicitACLCategories).
    #[must_use]
    pub fn holds(self, group: Group, flags: Flags) -> bool {
        if group.category() == Some(self) && !flags.has(Flags::ACL_NOT_GROUP) {
            return true;
        }
        match self {
            Category::Keyspace => flags.has(Flags::ACL_KEYSPACE),
            Category::Read => flags.has(Flags::ACL_READ) || (flags.has(Flags::READONLY) && group != Group::Scripting),
            Category::Write => flags.has(Flags::WRITE),
            Category::PubSub => flags.has(Flags::PUBSUB),
            Category::Admin => flags.has(Flags::ADMIN) || flags.has(Flags::ACL_ADMIN),
            Category::Fast => flags.has(Flags::FAST),
            Category::Slow => !flags.has(Flags::FAST),
            Category::Blocking => flags.has(Flags::BLOCKING),
            Category::Dangerous => flags.has(Flags::ADMIN) || flags.has(Flags::ACL_DANGEROUS),
            Category::Connection => flags.has(Flags::ACL_CONNECTION),
            Category::Set | Category::SortedSet | Category::List => flags.has(Flags::ACL_COLLECTIONS),
            Category::Hash
            | Category::String
            | Category::Bitmap
            | Category::HyperLogLog
            | Category::Geo
            | Category::Stream
            | Category::Transaction
            | Category::Scripting => false,
        }
    }
}
