//! What is measured: every load by name, with the data that it needs. A table, and nothing that runs.

/// One load, which every peer gets in turn.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) data: Data,
    pub(crate) kind: Kind,
}

/// What a server holds before a load begins, and its settings. Loads that agree in this share a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) keys: u64,
    pub(crate) value_bytes: u64,
    pub(crate) of: Of,
    pub(crate) cache: Cache,
    /// Its load comes over TLS.
    pub(crate) tls: bool,
}

/// What each key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Strings,
    /// Of so many fields (`hash:000000000001`), of a value each.
    Hashes(u64),
    /// Of so many items (`list:000000000001`), of a value each.
    Lists(u64),
    /// All are members of one sorted set, `board`.
    Board,
}

/// Of our own service; peers hold everything in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    Default,
    Off,
    /// A tenth of the values' bytes.
    Tenth,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Requests at a standing server.
    Traffic(Traffic),
    /// The same once the rate no longer rises.
    Warm(Traffic),
    /// GETs while somebody repeats KEYS without a match, with pauses between.
    BesideKeys(Traffic),
    /// PUBLISH into one channel that has so many subscribers, who read all that they get.
    Published { subscribers: usize, traffic: Traffic },
    /// An empty server takes all keys.
    Fill,
    /// SETs at full rate for so long beside a few readers: the longest of them, and how far the `-wal` grew.
    LongestSet { seconds: f64 },
    /// Killed with all its processes after a load of SETs, and started again.
    Restart,
    /// Connections that have sent one PING.
    Idle { connections: u64 },
    /// An element at a time is pushed while so many wait for it by BLPOP.
    HandOver { waiters: u64 },
    /// Entries are added to one stream while so many wait for each by XREAD, over four workers.
    FanOut { readers: usize, traffic: Traffic },
    /// All processes together have so much memory.
    Limited { memory_bytes: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) connections: u64,
    pub(crate) pipeline: u64,
    /// As `emptyserver bench --mix` has it.
    pub(crate) mix: &'static str,
    pub(crate) distribution: &'static str,
}

const MILLION: u64 = 1_000_000;

impl Cache {
    /// The setting for values of so many bytes in all; `None`: not set.
    pub(crate) fn bytes(self, data: &Data) -> Option<u64> {
        match self {
            Self::Default => None,
            Self::Off => Some(0),
            Self::Tenth => Some(data.keys * data.of.values() * data.value_bytes / 10),
        }
    }
}

impl Of {
    /// How many values a key has.
    pub(crate) fn values(self) -> u64 {
        match self {
            Self::Strings | Self::Board => 1,
            Self::Hashes(values) | Self::Lists(values) => values,
        }
    }
}

impl Data {
    const fn new(keys: u64, value_bytes: u64) -> Self {
        Self { keys, value_bytes, of: Of::Strings, cache: Cache::Default, tls: false }
    }

    const fn of_hashes(keys: u64, fields: u64, value_bytes: u64) -> Self {
        Self { of: Of::Hashes(fields), ..Self::new(keys, value_bytes) }
    }

    const fn of_lists(keys: u64, items: u64, value_bytes: u64) -> Self {
        Self { of: Of::Lists(items), ..Self::new(keys, value_bytes) }
    }

    const fn of_board(members: u64) -> Self {
        Self { of: Of::Board, ..Self::new(members, 16) }
    }

    const fn with_cache(self, cache: Cache) -> Self {
        Self { cache, ..self }
    }
}

impl Load {
    fn new(name: &str, title: &str, data: Data, kind: Kind) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), data, kind }
    }

    /// A title that says how many of what.
    pub(crate) fn full_title(&self) -> String {
        let Data { keys, value_bytes, of, .. } = self.data;
        let of_keys = match of {
            Of::Strings => format!("{keys} keys of {value_bytes} B"),
            Of::Hashes(fields) => format!("{keys} hashes of {fields} fields of {value_bytes} B"),
            Of::Board => format!("one sorted set of {keys} members"),
            Of::Lists(items) => format!("{keys} lists of {items} items of {value_bytes} B"),
        };
        match &self.kind {
            Kind::FanOut { readers, traffic } => {
                format!("{}, c={} P={}, {readers} readers", self.title, traffic.connections, traffic.pipeline)
            }
            Kind::Published { subscribers, traffic } => {
                format!("{}, c={} P={}, {subscribers} subscribers", self.title, traffic.connections, traffic.pipeline)
            }
            Kind::Traffic(traffic) | Kind::Warm(traffic) | Kind::BesideKeys(traffic) => {
                format!("{}, c={} P={}, {of_keys}", self.title, traffic.connections, traffic.pipeline)
            }
            Kind::Idle { connections } => format!("{connections} {}", self.title),
            Kind::LongestSet { seconds } => format!("{} for {seconds} s, {of_keys}", self.title),
            Kind::HandOver { waiters } => format!("{}, {waiters} wait", self.title),
            Kind::Fill | Kind::Restart | Kind::Limited { .. } => format!("{}, {of_keys}", self.title),
        }
    }
}

fn traffic(mix: &'static str, connections: u64, pipeline: u64) -> Traffic {
    Traffic { connections, pipeline, mix, distribution: "uniform" }
}

/// All of them, those that share data side by side. `scale` divides keys and connections.
pub(crate) fn all(scale: u64) -> Vec<Load> {
    let mut loads = Vec::new();
    for value_bytes in [128, 16, 4096] {
        loads.extend(sets_and_gets(value_bytes));
        if value_bytes == 128 {
            loads.extend(more_traffic());
        }
    }
    loads.extend(of_the_cache());
    loads.extend(over_tls());
    loads.extend(of_hashes());
    loads.extend(of_sets());
    loads.extend(of_lists());
    loads.extend(of_sorted_sets());
    loads.extend(of_streams());
    loads.extend(of_channels());
    loads.extend(of_scripts());
    loads.extend(alone());
    for load in &mut loads {
        load.data.keys = (load.data.keys / scale).max(1);
        if let Kind::Idle { connections } = &mut load.kind {
            *connections = (*connections / scale).max(1);
        }
        if let Kind::LongestSet { seconds } = &mut load.kind {
            *seconds = (*seconds / scale as f64).max(1.0);
        }
    }
    loads
}

fn sets_and_gets(value_bytes: u64) -> Vec<Load> {
    let mut loads = Vec::new();
    for mix in ["set", "get"] {
        for pipeline in [1, 16] {
            for connections in [1, 50, 256] {
                let name = format!("{mix}-{value_bytes}-c{connections}-p{pipeline}");
                let kind = Kind::Traffic(traffic(mix, connections, pipeline));
                loads.push(Load::new(&name, &mix.to_uppercase(), Data::new(MILLION, value_bytes), kind));
            }
        }
    }
    loads
}

fn more_traffic() -> Vec<Load> {
    let data = Data::new(MILLION, 128);
    let hot = |pipeline| Kind::Traffic(Traffic { distribution: "one", ..traffic("set", 50, pipeline) });
    let even = |mix, pipeline| Kind::Traffic(traffic(mix, 50, pipeline));
    vec![
        Load::new("hot-set-p1", "SET of one hot key", data, hot(1)),
        Load::new("hot-set-p16", "SET of one hot key", data, hot(16)),
        Load::new("mix-p1", "90 % GET, 10 % SET", data, even("get:90,set:10", 1)),
        Load::new("mix-p16", "90 % GET, 10 % SET", data, even("get:90,set:10", 16)),
        Load::new("mset10", "MSET of 10 keys", data, even("mset10", 1)),
        Load::new("mget10", "MGET of 10 keys", data, even("mget10", 1)),
        Load::new("incr", "INCR", data, even("incr", 1)),
        Load::new("keys", "GET beside KEYS without a match", data, Kind::BesideKeys(traffic("get", 50, 1))),
    ]
}

fn of_the_cache() -> Vec<Load> {
    let data = Data::new(MILLION, 128);
    let warm = |pipeline| Kind::Warm(traffic("get", 50, pipeline));
    let warm_of_many = Kind::Warm(traffic("get", 256, 1));
    let past = data.with_cache(Cache::Tenth);
    let off = data.with_cache(Cache::Off);
    vec![
        Load::new("warm-p1", "GET, warm", data, warm(1)),
        Load::new("warm-c256-p1", "GET, warm", data, warm_of_many),
        Load::new("warm-p16", "GET, warm", data, warm(16)),
        Load::new("past-cache-p1", "GET past the cache (a tenth of the values)", past, warm(1)),
        Load::new("past-cache-p16", "GET past the cache (a tenth of the values)", past, warm(16)),
        Load::new("cache-off-p1", "GET without the cache", off, warm(1)),
        Load::new("cache-off-p16", "GET without the cache", off, warm(16)),
    ]
}

fn over_tls() -> Vec<Load> {
    let data = Data { tls: true, ..Data::new(MILLION, 128) };
    let load = |mix: &'static str, pipeline| {
        let title = format!("{} over TLS", mix.to_uppercase());
        Load::new(&format!("tls-{mix}-p{pipeline}"), &title, data, Kind::Traffic(traffic(mix, 50, pipeline)))
    };
    vec![load("set", 1), load("set", 16), load("get", 1), load("get", 16)]
}

/// Ten fields lie in their key's row here and in a listpack there; a hundred have a row each here.
fn of_hashes() -> Vec<Load> {
    let (ten, hundred) = (Data::of_hashes(MILLION, 10, 16), Data::of_hashes(MILLION / 10, 100, 16));
    let even = |mix, pipeline| Kind::Traffic(traffic(mix, 50, pipeline));
    let warm = |mix, pipeline| Kind::Warm(traffic(mix, 50, pipeline));
    vec![
        Load::new("hset-p1", "HSET of a field", ten, even("hset", 1)),
        Load::new("hset-p16", "HSET of a field", ten, even("hset", 16)),
        Load::new("hget-p1", "HGET, warm", ten, warm("hget", 1)),
        Load::new("hget-p16", "HGET, warm", ten, warm("hget", 16)),
        Load::new("hgetall10", "HGETALL, warm", ten, warm("hgetall", 1)),
        Load::new("hgetall10-p16", "HGETALL, warm", ten, warm("hgetall", 16)),
        Load::new("hset100", "HSET of a field", hundred, even("hset", 1)),
        Load::new("hgetall100", "HGETALL", hundred, even("hgetall", 1)),
    ]
}

/// In this order: what is read and taken out has been put in before.
fn of_sets() -> Vec<Load> {
    let data = Data::new(MILLION, 16);
    let even = |mix, pipeline| Kind::Traffic(traffic(mix, 50, pipeline));
    vec![
        Load::new("sadd-p1", "SADD into many small sets", data, even("sadd", 1)),
        Load::new("sadd-p16", "SADD into many small sets", data, even("sadd", 16)),
        Load::new("sismember-p1", "SISMEMBER", data, even("sismember", 1)),
        Load::new("sismember-p16", "SISMEMBER", data, even("sismember", 16)),
        Load::new("spop", "50 % SADD, 50 % SPOP", data, even("sadd,spop", 1)),
        Load::new("sinter", "SINTER of two small sets", data, even("sinter", 1)),
    ]
}

/// A hundred items of 3 bytes lie in their key's row here and in a listpack there; of 16 bytes they have a row each here.
fn of_lists() -> Vec<Load> {
    let data = Data::new(MILLION, 16);
    let (small, large) = (Data::of_lists(MILLION / 10, 100, 3), Data::of_lists(MILLION / 10, 100, 16));
    let even = |mix, pipeline| Kind::Traffic(traffic(mix, 50, pipeline));
    let one = |mix, pipeline| Kind::Traffic(Traffic { distribution: "one", ..traffic(mix, 50, pipeline) });
    let warm = |mix, pipeline| Kind::Warm(traffic(mix, 50, pipeline));
    vec![
        Load::new("lpush-p1", "LPUSH onto many lists", data, even("lpush", 1)),
        Load::new("lpush-p16", "LPUSH onto many lists", data, even("lpush", 16)),
        Load::new("lpush-one-p1", "LPUSH onto one list", data, one("lpush", 1)),
        Load::new("lpush-one-p16", "LPUSH onto one list", data, one("lpush", 16)),
        Load::new("queue-p1", "50 % RPUSH, 50 % LPOP of one list", data, even("rpush,lpop", 1)),
        Load::new("queue-p16", "50 % RPUSH, 50 % LPOP of one list", data, even("rpush,lpop", 16)),
        Load::new("lrange100-small", "LRANGE of 100 items, warm", small, warm("lrange100", 1)),
        Load::new("lrange100", "LRANGE of 100 items, warm", large, warm("lrange100", 1)),
        Load::new("lrange100-p16", "LRANGE of 100 items, warm", large, warm("lrange100", 16)),
    ]
}

/// One set of all members, and as many small ones.
fn of_sorted_sets() -> Vec<Load> {
    let (small, board) = (Data::new(MILLION, 16), Data::of_board(MILLION));
    let even = |mix, pipeline| Kind::Traffic(traffic(mix, 50, pipeline));
    let warm = |mix, pipeline| Kind::Warm(traffic(mix, 50, pipeline));
    vec![
        Load::new("zadd-small-p1", "ZADD into many small sets", small, even("zadd", 1)),
        Load::new("zadd-small-p16", "ZADD into many small sets", small, even("zadd", 16)),
        Load::new("zscore-p1", "ZSCORE, warm", small, warm("zscore", 1)),
        Load::new("zscore-p16", "ZSCORE, warm", small, warm("zscore", 16)),
        Load::new("zadd-p1", "ZADD into one large set", board, even("zadd-board", 1)),
        Load::new("zadd-p16", "ZADD into one large set", board, even("zadd-board", 16)),
        Load::new("zrange100", "ZRANGE of 100 members in the middle", board, even("zrange100", 1)),
        Load::new("zrank", "ZRANK", board, even("zrank", 1)),
        Load::new("zpopmin", "50 % ZADD, 50 % ZPOPMIN of one large set", board, even("zadd-board,zpopmin", 1)),
    ]
}

/// Entries of one field of 128 bytes: into many streams, into one, and to those who wait for them.
fn of_streams() -> Vec<Load> {
    let (data, single) = (Data::new(MILLION, 128), Data::new(1, 128));
    let even = |pipeline| Kind::Traffic(traffic("xadd", 50, pipeline));
    let one = |pipeline| Kind::Traffic(Traffic { distribution: "one", ..traffic("xadd", 50, pipeline) });
    let fan_out = |readers, connections| {
        let kind = Kind::FanOut { readers, traffic: traffic("xadd", connections, 1) };
        Load::new(&format!("xread-{readers}-c{connections}"), "XADD to the answers of XREAD", single, kind)
    };
    vec![
        Load::new("xadd-p1", "XADD into many streams", data, even(1)),
        Load::new("xadd-p16", "XADD into many streams", data, even(16)),
        Load::new("xadd-one-p1", "XADD into one stream", data, one(1)),
        Load::new("xadd-one-p16", "XADD into one stream", data, one(16)),
        fan_out(1, 1),
        fan_out(50, 1),
        fan_out(50, 10),
    ]
}

/// Messages of 128 bytes: to nobody, to one, and to many.
fn of_channels() -> Vec<Load> {
    let data = Data::new(1, 128);
    let load = |subscribers, connections, pipeline| {
        let kind = Kind::Published { subscribers, traffic: traffic("publish", connections, pipeline) };
        Load::new(&format!("publish-{subscribers}-c{connections}-p{pipeline}"), "PUBLISH", data, kind)
    };
    vec![load(0, 50, 1), load(0, 50, 16), load(1, 50, 1), load(1, 1, 1), load(50, 10, 1), load(1000, 4, 1)]
}

/// Locks that are taken and released, and windows of requests that are counted: half of the first, and all of the last, are EVALSHA.
fn of_scripts() -> Vec<Load> {
    let data = Data::new(MILLION, 16);
    let even = |mix, pipeline| Kind::Traffic(traffic(mix, 50, pipeline));
    vec![
        Load::new("lock-p1", "50 % SET NX, 50 % EVALSHA of a release", data, even("lock,release", 1)),
        Load::new("lock-p16", "50 % SET NX, 50 % EVALSHA of a release", data, even("lock,release", 16)),
        Load::new("limit-p1", "EVALSHA of a rate limiter", data, even("limit", 1)),
        Load::new("limit-p16", "EVALSHA of a rate limiter", data, even("limit", 16)),
    ]
}

/// These start servers of their own.
fn alone() -> Vec<Load> {
    let data = Data::new(MILLION, 128);
    let ten = Data::new(10 * MILLION, 128);
    vec![
        Load::new("fill", "First fill in deep pipelines", data, Kind::Fill),
        Load::new("longest-set", "SET at full rate beside readers", data, Kind::LongestSet { seconds: 60.0 }),
        Load::new("restart-1m", "kill -9 to the first GET", data, Kind::Restart),
        Load::new("restart-10m", "kill -9 to the first GET", ten, Kind::Restart),
        Load::new("idle", "idle connections", Data::new(1, 1), Kind::Idle { connections: 10_000 }),
        Load::new("blpop-1", "RPUSH to the answer of BLPOP", Data::new(1, 1), Kind::HandOver { waiters: 1 }),
        Load::new("blpop", "RPUSH to the answer of BLPOP", Data::new(1, 1), Kind::HandOver { waiters: 100 }),
        Load::new("memory-256m", "Within 256 MB of memory", ten, Kind::Limited { memory_bytes: 256 << 20 }),
    ]
}
