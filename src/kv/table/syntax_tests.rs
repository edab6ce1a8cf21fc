//! Syntax lines of the reference pages and the arguments in them.

use crate::kv::table::syntax::{Argument, SyntaxError, parse};

/// `name:type=TOKEN`, with `?` optional, `*` multiple, `+` multiple token, parts in parentheses.
fn text(argument: &Argument<'_>) -> String {
    let token = argument.token.map(|token| format!("={token}")).unwrap_or_default();
    let flags = [(argument.is_optional, '?'), (argument.is_multiple, '*'), (argument.is_multiple_token, '+')];
    let flags: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, sign)| *sign).collect();
    let parts: Vec<String> = argument.arguments.iter().map(text).collect();
    let parts = if parts.is_empty() { String::new() } else { format!("({})", parts.join(" ")) };
    format!("{}:{}{token}{flags}{parts}", argument.name, argument.kind.name())
}

fn parsed(syntax: &str) -> String {
    parse(syntax).unwrap().iter().map(text).collect::<Vec<_>>().join(" ")
}

#[test]
fn words_are_arguments_and_capitals_are_tokens() {
    assert_eq!(parsed(""), "");
    assert_eq!(parsed("key value"), "key:key value:string");
    assert_eq!(parsed("ON name"), "name:string=ON");
    assert_eq!(parsed("[LEN] [DB destination-db]"), "len:pure-token=LEN? destination-db:integer=DB?");
    assert_eq!(parsed("A B name"), "a:pure-token=A name:string=B");
}

#[test]
fn repetitions_are_one_argument() {
    assert_eq!(parsed("key [key ...]"), "key:key*");
    assert_eq!(parsed("[command-name [command-name ...]]"), "command-name:string?*");
    assert_eq!(parsed("key value [key value ...]"), "data:block*(key:key value:string)");
    assert_eq!(
        parsed("numkeys key [key ...] [WEIGHTS weight [weight ...]]"),
        "numkeys:integer key:key* weight:integer=WEIGHTS?*"
    );
    assert_eq!(parsed("[PREFIX prefix [PREFIX prefix ...]]"), "prefix:string=PREFIX?*+");
    assert_eq!(parsed("[KEYS key [key ...]]"), "key:key=KEYS?*");
}

#[test]
fn choices_are_named_after_their_alternatives() {
    let nx_xx = "nx:pure-token=NX xx:pure-token=XX";
    assert_eq!(parsed("[NX | XX]"), format!("condition:oneof?({nx_xx})"));
    assert_eq!(parsed("<SAVE|NOSAVE>"), "save-or-nosave:oneof(save:pure-token=SAVE nosave:pure-token=NOSAVE)");
    assert_eq!(
        parsed("[EX seconds | PXAT unix-time-milliseconds | KEEPTTL]"),
        "expiration:oneof?(seconds:integer=EX unix-time-milliseconds:unix-time=PXAT keepttl:pure-token=KEEPTTL)"
    );
    assert_eq!(
        parsed("[FILTERBY <MODULE module-name | PATTERN pattern>]"),
        "filterby:oneof=FILTERBY?(module-name:string=MODULE pattern:pattern=PATTERN)"
    );
}

#[test]
fn blocks_hold_what_belongs_together() {
    assert_eq!(parsed("[LIMIT offset count]"), "limit:block=LIMIT?(offset:integer count:integer)");
    assert_eq!(
        parsed("key [start end [BYTE | BIT]]"),
        "key:key range:block?(start:integer end:integer unit:oneof?(byte:pure-token=BYTE bit:pure-token=BIT))"
    );
    assert_eq!(
        parsed(
            "key [<GET encoding offset | [OVERFLOW <WRAP | FAIL>] SET encoding> [<GET encoding offset | [OVERFLOW <WRAP | FAIL>] SET encoding> ...]]"
        ),
        "key:key operation:oneof?*(get-block:block=GET(encoding:string offset:integer) \
         overflow-encoding-block:block(overflow:oneof=OVERFLOW?(wrap:pure-token=WRAP fail:pure-token=FAIL) encoding:string=SET))"
    );
}

#[test]
fn a_repeated_choice_may_be_written_without_angles() {
    let angles = parsed("[<GET a b | [OVERFLOW x] SET c> [<GET a b | [OVERFLOW x] SET c> ...]]");
    assert_eq!(parsed("[GET a b | [OVERFLOW x] SET c [GET a b | [OVERFLOW x] SET c ...]]"), angles);
    assert_eq!(parsed("[A | B c [c ...]]"), "a-or-b:oneof?(a:pure-token=A c:string=B*)");
}

#[test]
fn what_is_no_syntax_is_refused() {
    for (text, error) in [
        ("[key", SyntaxError::Unclosed(']')),
        ("<a | b", SyntaxError::Unclosed('>')),
        ("key]", SyntaxError::Unexpected("]".to_owned())),
        ("[key>", SyntaxError::Unexpected(">".to_owned())),
        ("a | b", SyntaxError::Unexpected("|".to_owned())),
        ("key ...", SyntaxError::Unexpected("...".to_owned())),
        ("key [value ...]", SyntaxError::Unexpected("...".to_owned())),
        ("[A | B [A | C ...]]", SyntaxError::Unexpected("...".to_owned())),
        ("[]", SyntaxError::Unexpected("|".to_owned())),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}
