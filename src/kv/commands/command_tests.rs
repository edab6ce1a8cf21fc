//! COMMAND and its subcommands: shapes, errors, filters.

use crate::kv::fixture::{Fixture, show};
use crate::resp::reply::Reply;

#[test]
fn info_has_ten_elements_and_nulls_for_unknown_names() {
    let mut fixture = Fixture::new();
    fixture.transcript(
        "
        > COMMAND INFO copy nope Object|Freq object|nope
        [[copy :-3 [write denyoom] :1 :2 :1 [@keyspace @write @slow] [] \
[{flags: [RO access] begin_search: {type: index spec: {index: :1}} find_keys: {type: range spec: {lastkey: :0 keystep: :1 limit: :0}}} \
{flags: [OW update] begin_search: {type: index spec: {index: :2}} find_keys: {type: range spec: {lastkey: :0 keystep: :1 limit: :0}}}] []] \
(nil) \
[object|freq :3 [readonly] :2 :2 :1 [@keyspace @read @slow] [nondeterministic_output] \
[{flags: [RO] begin_search: {type: index spec: {index: :2}} find_keys: {type: range spec: {lastkey: :0 keystep: :1 limit: :0}}}] []] \
(nil)]
        ",
    );
}

#[test]
fn all_commands_are_counted_listed_and_described() {
    let mut fixture = Fixture::new();
    let Reply::Array(all) = fixture.run("COMMAND") else { panic!() };
    assert_eq!(fixture.run("COMMAND INFO"), Reply::Array(all.clone()));
    assert_eq!(show(&fixture.run("COMMAND COUNT")), format!(":{}", all.len()));
    let Reply::Map(docs) = fixture.run("COMMAND DOCS") else { panic!() };
    assert_eq!(docs.len(), all.len());
    let Reply::Array(names) = fixture.run("COMMAND LIST") else { panic!() };
    assert!(names.len() > all.len());
}

#[test]
fn docs_describe_arguments_and_leave_unknown_names_out() {
    let mut fixture = Fixture::new();
    fixture.transcript(
        "
        > COMMAND DOCS nope
        {}
        > COMMAND DOCS expire nope
        {expire: {summary: Sets the expiration time of a key in seconds. since: 1.0.0 group: generic complexity: O(1) \
history: [[7.0.0 Added options: `NX`, `XX`, `GT` and `LT`.]] \
arguments: [{name: key type: key display_text: key key_spec_index: :0} {name: seconds type: integer display_text: seconds} \
{name: condition type: oneof flags: [optional] arguments: [{name: nx type: pure-token display_text: nx token: NX} \
{name: xx type: pure-token display_text: xx token: XX} {name: gt type: pure-token display_text: gt token: GT} \
{name: lt type: pure-token display_text: lt token: LT}]}]}}
        > COMMAND DOCS object|freq
        {object|freq: {summary: Returns the logarithmic access frequency counter of an object. since: 4.0.0 group: generic \
complexity: O(1) arguments: [{name: key type: key display_text: key key_spec_index: :0}]}}
        > COMMAND DOCS cluster|keyslot
        {cluster|keyslot: {summary: Returns the hash slot for a key. since: 3.0.0 group: cluster \
complexity: O(N) where N is the number of bytes in the key arguments: [{name: key type: string display_text: key}]}}
        ",
    );
    let object = show(&fixture.run("COMMAND DOCS OBJECT"));
    assert!(object.contains("subcommands: {object|encoding: {summary: "), "{object}");
}

#[test]
fn keys_are_extracted_with_their_flags() {
    let mut fixture = Fixture::new();
    fixture.transcript(
        "
        > COMMAND GETKEYS DEL a b c
        [a b c]
        > COMMAND GETKEYS COPY a b DB 1
        [a b]
        > COMMAND GETKEYS OBJECT FREQ a
        [a]
        > COMMAND GETKEYSANDFLAGS COPY a b
        [[a [RO access]] [b [OW update]]]
        > COMMAND GETKEYS nope a
        -ERR Invalid command specified
        > COMMAND GETKEYS OBJECT nope a
        -ERR Invalid command specified
        > COMMAND GETKEYS DBSIZE
        -ERR wrong number of arguments for 'command|getkeys' command
        > COMMAND GETKEYS KEYS a
        -ERR The command has no key arguments
        > COMMAND GETKEYS OBJECT a
        -ERR Invalid command specified
        > COMMAND GETKEYS COPY a
        -ERR Invalid number of arguments specified for command
        > COMMAND GETKEYS
        -ERR wrong number of arguments for 'command|getkeys' command
        ",
    );
}

#[test]
fn list_filters_by_category_pattern_and_module() {
    let mut fixture = Fixture::new();
    fixture.transcript(
        "
        > COMMAND LIST FILTERBY MODULE nope
        []
        > COMMAND LIST FILTERBY ACLCAT nope
        []
        > COMMAND LIST FILTERBY PATTERN PEXPIREA?
        [pexpireat]
        > COMMAND LIST filterby pattern object|re*
        [object|refcount]
        > COMMAND LIST FILTERBY NOPE x
        -ERR syntax error
        > COMMAND LIST FILTERBY PATTERN
        -ERR syntax error
        > COMMAND LIST nope
        -ERR syntax error
        > COMMAND COUNT x
        -ERR wrong number of arguments for 'command|count' command
        > COMMAND NOPE
        -ERR unknown subcommand 'NOPE'. Try COMMAND HELP.
        ",
    );
    let dangerous = show(&fixture.run("COMMAND LIST FILTERBY ACLCAT DANGEROUS"));
    assert!(
        dangerous.contains("flushall") && dangerous.contains("keys") && !dangerous.contains("expire"),
        "{dangerous}"
    );
}

#[test]
fn help_lists_the_subcommands() {
    let Reply::Array(lines) = Fixture::new().run("COMMAND HELP") else { panic!() };
    assert_eq!(lines.len(), 21);
    assert_eq!(show(&lines[0]), "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
}
