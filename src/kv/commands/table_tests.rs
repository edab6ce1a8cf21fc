//! The command table as a table: names, arity, keys, lanes, and its likeness to that of redis-server 7.0.

use std::collections::{BTreeMap, BTreeSet};

use crate::kv::commands::table::{Begin, Category, Command, Find, Flags, Handler, KeyFlags, KeySpec};
use crate::kv::commands::table::{commands, lookup, lookup_full_name, resolve};
use crate::kv::errors::CommandError;
use crate::kv::table::syntax::{self, Argument};

/// Rows and subcommands.
fn rows() -> impl Iterator<Item = &'static Command> {
    commands().flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

#[test]
fn names_are_unique_and_lower_case() {
    let mut names = BTreeSet::new();
    for row in rows() {
        assert!(names.insert(row.name), "{} is there twice", row.name);
        assert_eq!(row.name, row.name.to_ascii_lowercase());
    }
}

#[test]
fn subcommands_carry_their_containers_name() {
    for command in commands() {
        assert!(!command.name.contains('|'), "{}", command.name);
        for subcommand in command.subcommands {
            assert_eq!(subcommand.name, format!("{}|{}", command.name, subcommand.short_name()));
            assert!(subcommand.subcommands.is_empty(), "{}", subcommand.name);
            assert!(!matches!(subcommand.handler, Handler::Container), "{}", subcommand.name);
        }
        let is_container = matches!(command.handler, Handler::Container);
        assert!(!is_container || !command.subcommands.is_empty() && command.arity == -2, "{}", command.name);
    }
}

#[test]
fn every_row_is_found_whatever_its_case() {
    for row in rows() {
        let upper = row.name.to_ascii_uppercase();
        assert_eq!(lookup_full_name(upper.as_bytes()).map(|found| found.name), Some(row.name));
        assert_eq!(lookup(row.name.as_bytes()).is_some(), !row.name.contains('|'));
    }
    for name in [&b""[..], b"nope", b"delx", b"de", b"de\0", b"d\x05l", &[0xff; 100]] {
        assert!(lookup(name).is_none(), "{name:?}");
    }
}

#[test]
fn the_handler_agrees_with_the_flags() {
    for row in rows() {
        let (write, read) = (row.flags.has(Flags::WRITE), row.flags.has(Flags::READONLY));
        match row.handler {
            Handler::Write(_) | Handler::Either(_) => assert!(write && !read, "{}", row.name),
            // XREAD waits and changes nothing.
            Handler::Wait(_) => assert!(write != read && row.flags.has(Flags::BLOCKING), "{}", row.name),
            Handler::Read(_) | Handler::Look(_) => assert!(read && !write, "{}", row.name),
            Handler::Pure(_) | Handler::Container => assert!(!write && !read, "{}", row.name),
            Handler::Session(_) | Handler::Waiting(_) | Handler::Users(_) => assert!(!write, "{}", row.name),
            Handler::Script(script) => assert!(!write && read == script.is_read_only, "{}", row.name),
            Handler::Sources(_) => assert!(!read, "{}", row.name),
        }
        assert!(write || !row.flags.has(Flags::DENYOOM), "{}", row.name);
    }
}

#[test]
fn every_row_documents_itself() {
    for row in rows() {
        assert!(!row.summary.is_empty() && row.summary.ends_with('.'), "{}", row.name);
        assert!(!row.complexity.is_empty(), "{}", row.name);
        assert_eq!(row.since.split('.').filter(|part| part.parse::<u8>().is_ok()).count(), 3, "{}", row.name);
    }
}

/// The number of arguments that a call needs, without those that may be left out.
fn least_arguments(arguments: &[Argument<'_>]) -> usize {
    let needed = arguments.iter().filter(|argument| !argument.is_optional);
    needed
        .map(|argument| {
            let token = usize::from(argument.token.is_some() && argument.kind != syntax::ArgumentKind::PureToken);
            token
                + match argument.kind {
                    syntax::ArgumentKind::OneOf => {
                        let one = |alternative| least_arguments(std::slice::from_ref(alternative));
                        argument.arguments.iter().map(one).min().unwrap_or_default()
                    }
                    syntax::ArgumentKind::Block => least_arguments(&argument.arguments),
                    _ => 1,
                }
        })
        .sum()
}

#[test]
fn every_syntax_parses_and_fits_the_arity() {
    // Their arity asks for more than their syntax does.
    let exceptions: BTreeMap<&str, &str> = [
        ("client|kill", "an address or at least one option"),
        ("debug", "its subcommands are no rows, in Redis neither"),
        ("quit", "its arguments mean nothing"),
        ("cluster|setslot", "it depends on one argument whether there is another, in Redis' syntax too"),
        ("command|getkeys", "a command with keys has an argument"),
        ("command|getkeysandflags", "a command with keys has an argument"),
    ]
    .into();
    for row in rows() {
        let arguments = syntax::parse(row.syntax).unwrap_or_else(|error| panic!("{}: {error:?}", row.name));
        let is_container = !row.subcommands.is_empty();
        if is_container || exceptions.contains_key(row.name) {
            continue;
        }
        let names = row.name.split('|').count();
        let least = names + least_arguments(&arguments);
        assert_eq!(least, usize::from(row.arity.unsigned_abs()), "{} {}", row.name, row.syntax);
        let is_open = arguments.iter().any(|argument| argument.is_optional || argument.is_multiple);
        assert_eq!(is_open, row.arity < 0, "{} {}", row.name, row.syntax);
    }
}

#[test]
fn keys_lie_within_the_arity() {
    for row in rows() {
        // PFMERGE needs no source, and as in Redis its specs then name no key at all; SUNSUBSCRIBE needs no channel.
        let is_open = ["pfmerge", "sunsubscribe"].contains(&row.name);
        for spec in row.keys.specs() {
            let Begin::Index(first) = spec.begin else { continue };
            assert!(first >= 1 && (first < row.arity.abs() || is_open), "{}", row.name);
            if let Find::Range { last, step, .. } = spec.find {
                assert!(step >= 1 && last >= -2, "{}", row.name);
            }
        }
        // The shortest call that is allowed names its keys.
        let mut args = vec![&b"1"[..]; usize::from(row.arity.unsigned_abs())];
        for spec in row.keys.specs() {
            if let Begin::Keyword { keyword, start } = spec.begin
                && let Some(arg) = usize::try_from(start).ok().and_then(|start| args.get_mut(start))
            {
                *arg = keyword.as_bytes();
            }
        }
        let is_empty = row.keys.positions(&args).is_empty();
        let may_be_empty = row.flags.has(Flags::NO_MANDATORY_KEYS) || is_open;
        let has_keys = row.keys.specs().iter().any(|spec| !spec.flags.has(KeyFlags::NOT_KEY));
        assert!(has_keys != is_empty || may_be_empty, "{}", row.name);
    }
}

#[test]
fn arity_counts_the_name() {
    let row = |arity| Command { arity, ..Command::ROW };
    assert!(row(2).fits_arity(2) && !row(2).fits_arity(1) && !row(2).fits_arity(3));
    assert!(row(-2).fits_arity(2) && row(-2).fits_arity(9) && !row(-2).fits_arity(1));
}

fn refusal(call: &str) -> String {
    let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
    match resolve(&args) {
        Err(CommandError::Reply(text)) => text.into_owned(),
        Err(error) => panic!("{error:?}"),
        Ok(command) => command.name.to_owned(),
    }
}

#[test]
fn calls_without_a_row_are_refused_as_redis_words_it() {
    assert_eq!(refusal("DEL a b"), "del");
    assert_eq!(refusal("object FREQ a"), "object|freq");
    assert_eq!(refusal("nope"), "ERR unknown command 'nope', with args beginning with: ");
    assert_eq!(refusal("nope a b"), "ERR unknown command 'nope', with args beginning with: 'a' 'b' ");
    assert_eq!(refusal("del"), "ERR wrong number of arguments for 'del' command");
    assert_eq!(refusal("OBJECT"), "ERR wrong number of arguments for 'object' command");
    assert_eq!(refusal("OBJECT freq"), "ERR wrong number of arguments for 'object|freq' command");
    assert_eq!(refusal("object Nope a"), "ERR unknown subcommand 'Nope'. Try OBJECT HELP.");
    let long = "x".repeat(200);
    let shown = format!("ERR unknown command '{}', with args beginning with: '{}' ", &long[..128], &long[..128]);
    assert_eq!(refusal(&format!("{long} {long} b")), shown);
    let shown = format!("ERR unknown command 'n', with args beginning with: 'abc' '{}' ", &long[..122]);
    assert_eq!(refusal(&format!("n abc {long} b")), shown);
}

// ---- likeness to redis-server 7.0

/// What Redis does not have.
fn is_ours(row: &Command) -> bool {
    matches!(row.name.split('|').next(), Some("backup" | "testwait"))
}

/// (row, column, why it differs).
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("blmove", "flags", IN_SCRIPTS),
    ("blpop", "flags", IN_SCRIPTS),
    ("brpop", "flags", IN_SCRIPTS),
    ("brpoplpush", "flags", IN_SCRIPTS),
    ("bzpopmax", "flags", IN_SCRIPTS),
    ("bzpopmin", "flags", IN_SCRIPTS),
    ("wait", "flags", IN_SCRIPTS),
    ("zrank", "arity", "7.2 has WITHSCORE"),
    ("zrevrank", "arity", "7.2 has WITHSCORE"),
];
const IN_SCRIPTS: &str = "7.2 lets scripts call it: it does not wait there";

fn joined<'a>(names: impl Iterator<Item = &'a str>, separator: &str) -> String {
    let joined = names.collect::<Vec<_>>().join(separator);
    if joined.is_empty() { "-".to_owned() } else { joined }
}

fn spec_text(spec: &KeySpec) -> String {
    let begin = match spec.begin {
        Begin::Index(index) => format!("index:{index}"),
        Begin::Keyword { keyword, start } => format!("keyword:{keyword}:{start}"),
        Begin::Unknown => "unknown".to_owned(),
    };
    let find = match spec.find {
        Find::Range { last, step, limit } => format!("range:{last}:{step}:{limit}"),
        Find::KeyNumber { index, first, step } => format!("keynum:{index}:{first}:{step}"),
        Find::Unknown => "unknown".to_owned(),
    };
    format!("{}@{begin}/{find}", joined(spec.flags.names(), "+"))
}

#[test]
fn rows_equal_those_of_redis_7_0() {
    let columns = ["arity", "flags", "positions", "categories", "key specs"];
    let lines = include_str!("testdata/commands-7.0.tsv").lines().filter(|line| !line.starts_with('#'));
    let theirs: BTreeMap<&str, Vec<&str>> =
        lines.filter_map(|line| line.split_once('\t')).map(|(name, rest)| (name, rest.split('\t').collect())).collect();
    for row in rows().filter(|row| row.since < "7.2" && !is_ours(row)) {
        let Some(theirs) = theirs.get(row.name) else { panic!("redis-server 7.0 has no {}", row.name) };
        let range = row.keys.legacy_range();
        let movable = range.is_movable.then_some("movablekeys");
        let categories: Vec<String> = row.categories().map(|category| format!("@{}", category.name())).collect();
        let specs: Vec<String> = row.keys.specs().iter().map(spec_text).collect();
        let ours = [
            row.arity.to_string(),
            joined(row.flags.names().chain(movable), ","),
            format!("{} {} {}", range.first, range.last, range.step),
            joined(categories.iter().map(String::as_str), ","),
            joined(specs.iter().map(String::as_str), " "),
        ];
        for ((column, ours), theirs) in columns.iter().zip(ours).zip(theirs) {
            let is_excepted = EXCEPTIONS.iter().any(|(name, one, _)| *name == row.name && one == column);
            assert_eq!(ours == **theirs, !is_excepted, "{} {column}: {ours} / {theirs}", row.name);
        }
    }
}

#[test]
fn scripts_may_call_what_they_may_in_redis_7_2() {
    let (refused, others) = include_str!("testdata/noscript-7.2.txt").split_once("# others\n").unwrap();
    let names = |lines: &'static str| lines.lines().filter(|line| !line.starts_with('#')).collect::<BTreeSet<_>>();
    let (refused, others) = (names(refused), names(others));
    for row in rows().filter(|row| !matches!(row.handler, Handler::Container) && !is_ours(row)) {
        let is_known = refused.contains(row.name) || others.contains(row.name);
        assert!(is_known || row.since > "7.2.5", "redis-server 7.2 has no {}", row.name);
        assert_eq!(row.flags.has(Flags::NOSCRIPT), refused.contains(row.name), "{}: noscript", row.name);
    }
    // What is ours and dangerous.
    for name in ["backup|start", "backup|status"] {
        assert!(lookup_full_name(name.as_bytes()).unwrap().flags.has(Flags::NOSCRIPT), "{name}");
    }
}

const CHOICE_NAMES: &str = "Redis has a name of its own for the choice, or for the group";
const FLOAT_TIMEOUT: &str = "a `timeout` is an integer elsewhere";
const INNER_NAMES: &str = "the names of its inner groups are made up from their parts";

/// Rows whose arguments the syntax cannot say as Redis does, with the reason.
const ARGUMENT_EXCEPTIONS: &[(&str, &str)] = &[
    ("bgsave", "a choice of one stands for itself"),
    ("blmove", CHOICE_NAMES),
    ("blmpop", CHOICE_NAMES),
    ("blpop", FLOAT_TIMEOUT),
    ("brpop", FLOAT_TIMEOUT),
    ("brpoplpush", FLOAT_TIMEOUT),
    ("client|caching", CHOICE_NAMES),
    ("client|kill", CHOICE_NAMES),
    ("client|list", CHOICE_NAMES),
    ("client|no-evict", CHOICE_NAMES),
    ("client|no-touch", CHOICE_NAMES),
    ("client|pause", CHOICE_NAMES),
    ("client|reply", CHOICE_NAMES),
    ("client|tracking", CHOICE_NAMES),
    ("client|setinfo", CHOICE_NAMES),
    ("client|unblock", CHOICE_NAMES),
    ("cluster|addslotsrange", INNER_NAMES),
    ("cluster|delslotsrange", INNER_NAMES),
    ("cluster|keyslot", "COMMAND DOCS makes a string of it: the command has no key specs"),
    ("cluster|replicate", "a choice of one stands for itself"),
    ("cluster|setslot", INNER_NAMES),
    ("replicaof", INNER_NAMES),
    ("slaveof", INNER_NAMES),
    ("geoadd", "Redis calls CH `change`"),
    ("georadius", INNER_NAMES),
    ("georadius_ro", INNER_NAMES),
    ("georadiusbymember", INNER_NAMES),
    ("georadiusbymember_ro", INNER_NAMES),
    ("geosearch", INNER_NAMES),
    ("geosearchstore", INNER_NAMES),
    ("hello", CHOICE_NAMES),
    ("acl|log", CHOICE_NAMES),
    ("bitfield", "the names of its inner groups are made up from their parts; a `value` is a string elsewhere"),
    ("hincrbyfloat", "an `increment` is an integer elsewhere"),
    ("hrandfield", CHOICE_NAMES),
    ("linsert", CHOICE_NAMES),
    ("lmove", CHOICE_NAMES),
    ("lmpop", CHOICE_NAMES),
    ("incrbyfloat", "an `increment` is an integer elsewhere"),
    ("shutdown", INNER_NAMES),
    ("sort", "Redis calls ALPHA `sorting`"),
    ("sort_ro", "Redis calls ALPHA `sorting`"),
    ("function|restore", CHOICE_NAMES),
    ("script|debug", CHOICE_NAMES),
    ("setbit", "a `value` is a string elsewhere"),
    ("bzmpop", "a `timeout` is an integer elsewhere"),
    ("bzpopmax", FLOAT_TIMEOUT),
    ("bzpopmin", FLOAT_TIMEOUT),
    ("zadd", "Redis has names of its own for CH and INCR"),
    ("zcount", "a bound is a string elsewhere"),
    ("zrandmember", CHOICE_NAMES),
    ("zrange", "a rank is an integer elsewhere"),
    ("zrangebyscore", "a bound is a string elsewhere"),
    ("zremrangebyscore", "a bound is a string elsewhere"),
    ("zrevrangebyscore", "a bound is a string elsewhere"),
    ("xadd", CHOICE_NAMES),
    ("xautoclaim", "a `start` is an integer elsewhere"),
    ("xgroup|create", CHOICE_NAMES),
    ("xgroup|setid", CHOICE_NAMES),
    ("xinfo|stream", INNER_NAMES),
    ("xpending", "a `start` and an `end` are integers elsewhere"),
    ("xrange", "a `start` and an `end` are integers elsewhere"),
    ("xread", INNER_NAMES),
    ("xreadgroup", INNER_NAMES),
    ("xrevrange", "a `start` and an `end` are integers elsewhere"),
    ("xtrim", CHOICE_NAMES),
];

fn argument_text(argument: &Argument<'_>) -> String {
    let token = argument.token.map(|token| format!("={token}")).unwrap_or_default();
    let sign = |is_set, sign| if is_set { sign } else { "" };
    let flags =
        [sign(argument.is_optional, "?"), sign(argument.is_multiple, "*"), sign(argument.is_multiple_token, "+")];
    let parts: Vec<String> = argument.arguments.iter().map(argument_text).collect();
    let parts = if parts.is_empty() { String::new() } else { format!("({})", parts.join(" ")) };
    format!("{}:{}{token}{}{parts}", argument.name, argument.kind.name(), flags.concat())
}

#[test]
fn each_command_of_redis_7_2_is_there_or_its_absence_is_explained() {
    let document = include_str!("../../../docs/compatibility.md");
    let (_, absent) = document.split_once("## Commands that are not there").unwrap();
    let (absent, _) = absent.split_once("\n## ").unwrap();
    let explained: BTreeSet<String> = absent
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line.split('|').nth(1).unwrap().split(','))
        .map(|name| name.trim().trim_matches('`').to_lowercase().replace(' ', "|"))
        .collect();
    let ours: BTreeSet<&str> = rows().map(|row| row.name).collect();
    let lines = include_str!("testdata/arguments-7.2.tsv").lines().filter(|line| !line.starts_with('#'));
    let theirs: BTreeSet<String> = lines.filter_map(|line| line.split('\t').next()).map(str::to_owned).collect();
    assert!(theirs.len() > 350, "all of 7.2, with their subcommands");
    let missing: BTreeSet<String> = theirs.iter().filter(|name| !ours.contains(name.as_str())).cloned().collect();
    assert_eq!(missing, explained);
}

#[test]
fn arguments_equal_those_of_redis_7_2() {
    let lines = include_str!("testdata/arguments-7.2.tsv").lines().filter(|line| !line.starts_with('#'));
    let theirs: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('\t')).collect();
    let mut different = Vec::new();
    for row in rows().filter(|row| !is_ours(row)) {
        let arguments = syntax::parse(row.syntax).unwrap();
        let ours = arguments.iter().map(argument_text).collect::<Vec<_>>().join(" ");
        let is_excepted = ARGUMENT_EXCEPTIONS.iter().any(|(name, _)| *name == row.name);
        if (theirs.get(row.name) == Some(&ours.as_str())) == is_excepted {
            different.push(format!("{}\n  {ours}\n  {:?}", row.name, theirs.get(row.name)));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn categories_follow_from_group_and_flags() {
    let row = Command {
        flags: Flags::ADMIN.or(Flags::WRITE),
        ..Command { handler: Handler::Pure(|_| unreachable!()), ..Command::ROW }
    };
    let categories: Vec<_> = row.categories().collect();
    assert_eq!(categories, [Category::Keyspace, Category::Write, Category::Admin, Category::Slow, Category::Dangerous]);
}

#[test]
fn key_positions_follow_the_specs() {
    let positions = |spec: KeySpec, call: &str| {
        let specs: &'static [KeySpec] = Box::leak(Box::new([spec]));
        let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        let found = crate::kv::table::Keys::Specs(specs).positions(&args);
        found.into_iter().map(|position| position.index).collect::<Vec<_>>()
    };
    let keyword = |keyword, start| KeySpec {
        flags: KeyFlags::RO,
        begin: Begin::Keyword { keyword, start },
        find: Find::Range { last: -1, step: 1, limit: 0 },
        notes: "",
    };
    assert_eq!(positions(KeyFlags::RO.range(1, -1, 2), "MSET a 1 b 2"), [1, 3]);
    assert_eq!(positions(KeyFlags::RO.range(1, -2, 1), "BLPOP a b 0"), [1, 2]);
    assert_eq!(positions(KeyFlags::RO.counted_at(2), "EVAL x 2 a b c"), [3, 4]);
    assert_eq!(positions(KeyFlags::RO.counted_at(2), "EVAL x 3 a b"), [0_usize; 0]);
    assert_eq!(positions(KeyFlags::RO.counted_at(2), "EVAL x 0 a b"), [0_usize; 0]);
    assert_eq!(positions(KeyFlags::RO.counted_at(2), "EVAL x 18446744073709551615 a b"), [0_usize; 0]);
    assert_eq!(positions(keyword("STREAMS", 1), "XREAD COUNT 1 streams a b"), [4, 5]);
    assert_eq!(positions(keyword("KEYS", -2), "MIGRATE h p '' 0 1 KEYS a b"), [7, 8]);
    assert_eq!(positions(keyword("KEYS", -2), "MIGRATE h p a 0 1"), [0_usize; 0]);
    let half = Find::Range { last: -1, step: 1, limit: 2 };
    assert_eq!(positions(KeySpec { find: half, ..keyword("STREAMS", 1) }, "XREAD STREAMS a b 0 0"), [2, 3]);
}
