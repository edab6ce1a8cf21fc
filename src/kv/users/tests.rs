//! Rules and what they allow, over a small vocabulary. The cases are those of Redis' tests/unit/acl.tcl and acl-v2.tcl.

use super::*;

const READ: u64 = 1;
const WRITE: u64 = 1 << 1;
const ADMIN: u64 = 1 << 2;
const SLOW: u64 = 1 << 3;

const GET: u16 = 0;
const SET: u16 = 1;
const CONFIG: u16 = 2;
const CONFIG_GET: u16 = 3;
const CONFIG_SET: u16 = 4;
const SELECT: u16 = 5;
const PUBLISH: u16 = 6;
const AUTH: u16 = 7;

fn vocabulary() -> Vocabulary {
    let word = |name, categories| Word { name, categories, parent: None, children: 0..0 };
    let child = |name| Word { parent: Some(CONFIG), ..word(name, ADMIN) };
    Vocabulary::new(
        vec![
            word("get", READ),
            word("set", WRITE | SLOW),
            Word { children: CONFIG_GET..CONFIG_SET + 1, ..word("config", SLOW) },
            child("config|get"),
            child("config|set"),
            word("select", 0),
            word("publish", 0),
            word("auth", 0),
        ],
        vec!["read", "write", "admin", "slow"],
    )
}

fn user(rules: &str) -> User {
    let mut user = User::new(7, b"ann", Defaults::default());
    words(rules.as_bytes()).for_each(|rule| user.apply(rule, Defaults::default(), &vocabulary()).unwrap());
    user
}

/// The selectors are whole rules here.
fn user_of(rules: &[&str]) -> Result<User, RuleError> {
    let rules: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
    User::parse(7, b"ann", &rules, Defaults::default(), &vocabulary())
}

fn error(rules: &[&str]) -> RuleError {
    user_of(rules).unwrap_err()
}

/// Keys are written `r:key`, `w:key`, `rw:key`, `-:key` (looked at only).
fn ask(user: &User, command: u16, call: &str) -> Result<(), Denied> {
    let words: Vec<&str> = call.split(' ').collect();
    let split = |word: &&str| word.split_once(':').map(|(how, key)| (how.to_owned(), key.to_owned()));
    let keys: Vec<Option<(String, String)>> = words.iter().map(split).collect();
    let args: Vec<&[u8]> = words
        .iter()
        .zip(&keys)
        .map(|(word, key)| key.as_ref().map_or(word.as_bytes(), |key| key.1.as_bytes()))
        .collect();
    let find = || {
        let named = keys.iter().enumerate().filter_map(|(index, key)| key.as_ref().map(|(how, _)| (index, how)));
        named.map(|(index, how)| KeyUse { index, reads: how.contains('r'), writes: how.contains('w') }).collect()
    };
    let channels = if command == PUBLISH { Channels::First } else { Channels::None };
    user.permits(&Request { command, is_for_strangers: command == AUTH, args: &args, keys: &find, channels })
}

fn denied(reason: Reason, index: usize) -> Result<(), Denied> {
    Err(Denied { reason, index })
}

#[test]
fn a_new_user_can_do_nothing_but_log_in() {
    let new = user("");
    assert_eq!(ask(&new, GET, "get"), denied(Reason::Command, 0));
    assert_eq!(ask(&new, AUTH, "auth x"), Ok(()));
    assert_eq!(new.describe(), b"off sanitize-payload resetchannels -@all");
    assert!(!new.admits(b"") && new.needs_login());
}

#[test]
fn passwords_are_added_removed_and_tried() {
    let hash = Digest::of(b"foo").hex();
    let user = user(&format!("on >bar #{hash} >bar"));
    assert_eq!(user.passwords().len(), 2);
    assert!(user.admits(b"foo") && user.admits(b"bar") && !user.admits(b"baz") && !user.admits(b""));
    let changed = |rule: &str| {
        let mut user = user.clone();
        user.apply(rule.as_bytes(), Defaults::default(), &vocabulary()).map(|()| user)
    };
    assert!(!changed("<bar").unwrap().admits(b"bar") && !changed(&format!("!{hash}")).unwrap().admits(b"foo"));
    assert!(changed("nopass").unwrap().admits(b"anything") && !changed("resetpass").unwrap().admits(b"bar"));
    assert!(!changed("off").unwrap().admits(b"bar"));
    assert_eq!(changed("<baz"), Err(RuleError::NoSuchPassword));
    for wrong in ["#x", "!x", &format!("#{}", hash.to_uppercase())] {
        assert_eq!(changed(wrong), Err(RuleError::BadHash), "{wrong}");
    }
    let mut set = changed("nopass").unwrap();
    set.set_only_password(b"new");
    assert!(set.admits(b"new") && !set.admits(b"bar") && set.needs_login());
    set.set_only_password(b"");
    assert!(set.is_open && !set.needs_login());
}

#[test]
fn commands_containers_and_categories_go_together_as_in_redis() {
    let may = |rules: &str, command, call: &str| ask(&user(&format!("{rules} ~*")), command, call).is_ok();
    assert!(may("+get", GET, "get") && may("+GET", GET, "get") && !may("+get -get", GET, "get"));
    assert!(may("+@read", GET, "get") && !may("+@read", SET, "set") && !may("+@all -@write", SET, "set"));
    assert!(may("+config", CONFIG_SET, "config set x") && !may("+config -config|set", CONFIG_SET, "config set x"));
    assert!(may("+config|get", CONFIG_GET, "config get x") && !may("+config|get", CONFIG_SET, "config set x"));
    assert!(may("+@slow", CONFIG_GET, "config get x"), "a container's category holds its subcommands");
    assert!(may("+@all -config +config|get", CONFIG_GET, "config get x"));
    assert!(!may("+@all -config +config|get", CONFIG_SET, "config set x"));
    assert!(may("allcommands", SET, "set") && !may("allcommands nocommands", SET, "set"));
}

#[test]
fn a_first_argument_can_be_allowed_of_a_command_that_is_not() {
    let may = |rules: &str, call: &str| ask(&user(rules), SELECT, call).is_ok();
    assert!(may("+select|0", "select 0") && !may("+select|0", "select 1") && !may("+select|0", "select"));
    assert!(may("+select|0 +select|1", "select 1") && may("+select|A", "select a"));
    assert!(may("+select +select|0", "select 1") && !may("+select|0 -select", "select 0"));
    assert_eq!(error(&["+select|"]), RuleError::Syntax);
    assert_eq!(error(&["+config|get|x"]), RuleError::FirstArgumentOfSubcommand);
    assert_eq!(error(&["-select|0"]), RuleError::Unknown);
    assert_eq!(error(&["+select|a b"]), RuleError::Syntax, "it could not be read again");
}

#[test]
fn keys_are_allowed_by_pattern_and_by_what_is_done_with_them() {
    let of = |rules: &str, call: &str| ask(&user(&format!("+@all {rules}")), GET, call);
    assert_eq!(of("~foo:* ~bar:*", "get r:foo:1 r:bar:2"), Ok(()));
    assert_eq!(of("~foo:* ~bar:*", "get r:foo:1 r:zap:2"), denied(Reason::Key, 2));
    assert_eq!(of("%R~a* %W~b*", "get r:a1 w:b1"), Ok(()));
    assert_eq!(of("%R~a* %W~b*", "get w:a1"), denied(Reason::Key, 1));
    assert_eq!(of("%R~a* %W~a*", "get rw:a1"), Ok(()), "the same pattern twice is both");
    assert_eq!(of("%RW~a*", "get rw:a1"), Ok(()));
    assert_eq!(of("%R~a* %W~?1", "get rw:a1"), denied(Reason::Key, 1), "two patterns do not add up");
    assert_eq!(of("%W~a*", "get -:a1"), Ok(()), "what is only looked at needs any right");
    assert_eq!(of("", "get -:a1"), denied(Reason::Key, 1));
    assert_eq!(of("allkeys resetkeys ~x", "get r:x"), Ok(()));
    assert_eq!(error(&["~*", "~a"]), RuleError::KeysAfterAll);
    for wrong in ["%~a", "%X~a", "%RR~a", "%R", "%", "~a b", "~a\0b", "bogus"] {
        assert_eq!(error(&[wrong]), RuleError::Syntax, "{wrong}");
    }
}

#[test]
fn channels_are_allowed_by_pattern() {
    let of = |rules: &str, call: &str| ask(&user(&format!("+@all {rules}")), PUBLISH, call);
    assert_eq!(of("&news.*", "publish news.a x"), Ok(()));
    assert_eq!(of("&news.*", "publish other x"), denied(Reason::Channel, 1));
    assert_eq!(of("&a allchannels", "publish other x"), Ok(()));
    assert_eq!(error(&["&*", "&a"]), RuleError::ChannelsAfterAll);
    let selector = user("&a*").selectors()[0].clone();
    assert!(selector.names_channel(b"abc", false) && !selector.names_channel(b"abc", true));
    assert!(selector.names_channel(b"a*", true), "a pattern is named as it is");
    let open = Defaults { all_channels: true };
    assert!(User::new(1, b"x", open).selectors()[0].allows_all_channels());
}

#[test]
fn one_selector_must_allow_all_of_a_call() {
    let user = user_of(&["+get", "~a*", "(+set ~b*)", "(+@all %R~c*)"]).unwrap();
    assert_eq!(ask(&user, GET, "get r:a1"), Ok(()));
    assert_eq!(ask(&user, SET, "set w:b1"), Ok(()));
    assert_eq!(ask(&user, GET, "get r:b1"), denied(Reason::Key, 1));
    assert_eq!(ask(&user, SET, "set w:a1"), denied(Reason::Key, 1));
    assert_eq!(ask(&user, SELECT, "select 1"), Ok(()));
    assert_eq!(ask(&user, SET, "set w:b1 w:a1"), denied(Reason::Key, 2), "the last that none could match");
    let described = b"off sanitize-payload ~a* resetchannels -@all +get (~b* resetchannels -@all +set) \
        (%R~c* resetchannels +@all)";
    assert_eq!(user.describe(), described);
    let mut cleared = user.clone();
    cleared.apply(b"clearselectors", Defaults::default(), &vocabulary()).unwrap();
    assert_eq!(cleared.selectors().len(), 1);
    assert_eq!(user_of(&["(+get", "~x)", "on"]).unwrap().selectors().len(), 2, "spread over several words");
    assert_eq!(error(&["(+get", "~x"]), RuleError::Syntax);
    assert_eq!(error(&["(+get (~x))"]), RuleError::Syntax);
    assert_eq!(error(&["(on)"]), RuleError::Syntax);
    assert_eq!(merged_rules(&[b"on", b"(a", b"b"]), Err(1));
}

#[test]
fn all_keys_are_those_of_one_selector() {
    let may = |rules: &[&str]| {
        let request = Request {
            command: GET,
            is_for_strangers: false,
            args: &[b"get"],
            keys: &Vec::new,
            channels: Channels::None,
        };
        user_of(rules).unwrap().permits_with_all_keys(&request, true, false)
    };
    assert!(may(&["+get", "~*"]) && may(&["+get", "%R~*"]) && may(&["(+get %RW~*)"]));
    assert!(!may(&["+get", "~a*"]) && !may(&["+get", "%W~*"]) && !may(&["+get", "(+set %R~*)"]));
}

#[test]
fn the_rules_of_a_user_are_shown_so_that_they_make_it_again() {
    for (rules, shown) in [
        (vec!["on", "nopass", "~*", "&*", "+@all"], "on nopass sanitize-payload ~* &* +@all"),
        (vec!["skip-sanitize-payload"], "off skip-sanitize-payload resetchannels -@all"),
        (vec!["%r~a", "%W~b", "~c", "&x", "&y"], "off sanitize-payload %R~a %W~b ~c resetchannels &x &y -@all"),
        (vec!["%R~*", "%W~*", "~a"], "off sanitize-payload %RW~* ~a resetchannels -@all"),
        (vec!["+@READ", "+Get", "-@read"], "off sanitize-payload resetchannels -@all +get -@read"),
        (vec!["+config|get", "+config"], "off sanitize-payload resetchannels -@all +config"),
        (vec!["+config", "-config|get"], "off sanitize-payload resetchannels -@all +config -config|get"),
        (vec!["+@all", "-get", "+get"], "off sanitize-payload resetchannels +@all +get"),
        (vec!["+select|0", "+select|1"], "off sanitize-payload resetchannels -@all +select|0 +select|1"),
        (vec!["+@all", "-@all", "+get"], "off sanitize-payload resetchannels -@all +get"),
        (vec!["on", ">x", "~a", "+get", "(+set)", "reset"], "off sanitize-payload resetchannels -@all"),
    ] {
        let user = user_of(&rules).unwrap();
        assert_eq!(String::from_utf8(user.describe()).unwrap(), shown);
        let again: Vec<&str> = shown.split(' ').collect();
        assert_eq!(user_of(&again).unwrap().describe(), user.describe());
    }
}

#[test]
fn nothing_is_looked_up_of_who_may_do_everything() {
    assert!(user("+@all ~* &*").is_unrestricted());
    for less in ["+@all ~*", "+@all &*", "~* &* +@all -get", "~* &* +@all -get +get"] {
        assert!(!user(less).is_unrestricted(), "{less}");
    }
    assert_eq!(User::default_user(&vocabulary()).describe(), b"on nopass sanitize-payload ~* &* +@all");
}

#[test]
fn a_subscriber_stays_while_it_is_allowed_what_it_listens_to() {
    let stays = |before: &str, after: &str, channels: &[&[u8]], patterns: &[&[u8]]| {
        user(after).lets_stay(&user(before), channels.iter().copied(), patterns.iter().copied())
    };
    assert!(stays("&a", "&b &*", &[b"a"], &[b"a*"]));
    assert!(stays("&a &b", "&a &b &c", &[b"zap"], &[]), "nothing was taken away");
    assert!(!stays("&*", "resetchannels &foo", &[b"foo", b"bar"], &[]));
    assert!(stays("&*", "resetchannels &foo*", &[b"foo", b"foobar"], &[b"foo*"]));
    assert!(!stays("&*", "resetchannels &foo*", &[], &[b"fo*"]), "a pattern is named as it is");
}

#[test]
fn files_are_read_whole_or_not_at_all() {
    let read = |text: &str| {
        parse_file("acl", text.as_bytes(), &Users::default(), Defaults::default(), &vocabulary())
            .map(|users| users.all().map(|known| String::from_utf8(known.rules.clone()).unwrap()).collect::<Vec<_>>())
    };
    let good = "user ann on +get ~a*\r\n\n  user bob on nopass (+set ~x)  \n";
    let described = [
        "on sanitize-payload ~a* resetchannels -@all +get",
        "on nopass sanitize-payload resetchannels -@all (~x resetchannels -@all +set)",
    ];
    assert_eq!(read(good).unwrap(), described);
    for (text, what) in [
        ("ann on", "acl:1 should start with user keyword followed by the username. "),
        ("\nuser", "acl:2 should start with user keyword followed by the username. "),
        ("user a\nuser a", "WARNING: Duplicate user 'a' found on line 2. "),
        ("user a +bogus", "acl:1: Error in applying operation '+bogus': Unknown command or category name in ACL. "),
        ("user a ~* ~a", "acl:1: Adding a pattern after the * pattern"),
        ("user a (+get", "acl:1: Unmatched parenthesis in selector definition. "),
    ] {
        let error = read(&format!("{good}{text}").replacen(good, "", 1)).unwrap_err();
        assert!(error.starts_with(what), "{error}");
        assert!(error.ends_with("no change to the previously active ACL rules was performed"), "{error}");
    }
}

#[test]
fn all_users_cross_to_other_processes_as_lines_and_keep_their_numbers() {
    let vocabulary = vocabulary();
    let users = Users::new([user("on +get >x"), User::new(9, b"bob\xff", Defaults::default())].map(Into::into));
    let users = users.with_default(&vocabulary);
    let lines = users.lines();
    let (again, _) = parse_list(&lines, &users, Defaults::default(), &vocabulary);
    assert!(std::sync::Arc::ptr_eq(again.named(b"ann").unwrap(), users.named(b"ann").unwrap()), "not read again");
    let (again, unknown) = parse_list(&again.lines(), &Users::default(), Defaults::default(), &vocabulary);
    assert_eq!((again.lines(), unknown), (lines, Vec::new()));
    assert_eq!(again.of_id(9).unwrap().name, b"bob\xff");
    assert_eq!(again.default_user().unwrap().id, DEFAULT_ID);
    let (strange, unknown) = parse_list(b"5 eve on nopass ~* +@all +bogus\n", &users, Defaults::default(), &vocabulary);
    assert_eq!(unknown, [b"eve"]);
    assert_eq!(strange.named(b"eve").unwrap().describe(), b"off sanitize-payload resetchannels -@all");
}
