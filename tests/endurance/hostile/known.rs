//! What is not bounded yet: one call, or one transaction, that is one change runs in the shared group as a whole, and so long nobody else's
//! writes are committed. `tests/hostile.sh known::` shows how long; `.ci/run` leaves it out.

use std::time::Duration;

use super::arena::{Arena, MEBI, PEACE, Scenario};
use super::loops::{BIG_FITS, big_value};
use super::replies::drain_until;
use crate::support::encoded;

fn pushed_through(arena: &Arena, requests: &[u8], what: &str) -> Result<String, String> {
    let mut client = arena.connect();
    client.patience = Duration::from_secs(60);
    client.send_bytes(requests);
    client.send(&["ECHO", "the end of it all"]);
    let length = drain_until(&mut client, b"the end of it all\r\n")?;
    Ok(format!("{what}: {length} bytes of answers"))
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn copies_of_a_large_value_give_way_to_other_writes() {
    let requests: Vec<u8> = (0..20).flat_map(|number| encoded(&["COPY", "big", &format!("copy:{number}")])).collect();
    Scenario {
        settings: &BIG_FITS,
        prepare: &big_value,
        attack: &|arena| pushed_through(arena, &requests, "20 x COPY of 64 MiB"),
        ..PEACE
    }
    .judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_bitop_over_many_large_values_holds_no_commits() {
    let bitop =
        encoded(&["BITOP", "AND", "target"].into_iter().chain(std::iter::repeat_n("big", 50)).collect::<Vec<_>>());
    Scenario {
        settings: &BIG_FITS,
        prepare: &big_value,
        attack: &|arena| pushed_through(arena, &bitop, "BITOP over 50 x 64 MiB"),
        ..PEACE
    }
    .judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_transaction_of_a_write_and_costly_reads_holds_no_commits() {
    let mut requests = encoded(&["MULTI"]);
    requests.extend(encoded(&["SET", "x", "1"]));
    requests.extend(encoded(&["BITCOUNT", "big"]).repeat(50));
    requests.extend(encoded(&["EXEC"]));
    Scenario {
        settings: &BIG_FITS,
        prepare: &big_value,
        attack: &|arena| pushed_through(arena, &requests, "EXEC of a SET and 50 BITCOUNTs of 64 MiB"),
        ..PEACE
    }
    .judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_mset_of_200_000_keys_holds_no_commits() {
    let words: Vec<String> = (0..200_000).flat_map(|number| [format!("many:{number}"), "v".to_owned()]).collect();
    let mset = encoded(&["MSET".to_owned()].into_iter().chain(words).collect::<Vec<_>>());
    assert!((mset.len() as u64) < 32 * MEBI);
    Scenario { attack: &|arena| pushed_through(arena, &mset, "MSET of 200,000 keys"), ..PEACE }.judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn an_unlink_of_100_000_keys_holds_no_commits() {
    let unlink = encoded(&["UNLINK"].into_iter().chain(std::iter::repeat_n("k", 100_000)).collect::<Vec<_>>());
    Scenario { attack: &|arena| pushed_through(arena, &unlink, "UNLINK of 100,000 keys"), ..PEACE }.judge();
}
