//! `emptyserver::client` as a library.

use emptyserver::client::{Connection, Patience, Target};
use emptyserver::resp::Reply;

use super::program::Servers;
use crate::support::Redis;

#[test]
fn a_pipeline_of_any_length_is_answered_in_its_order() {
    let servers = Servers::start();
    for address in servers.addresses() {
        let mut kv = Connection::open(&format!("redis://{address}/2")).unwrap();
        let value = "v".repeat(20_000);
        kv.call(&["SET", "large", &value]).unwrap();
        // Far more than both sides' buffers hold, both ways.
        let numbers: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
        let commands: Vec<Vec<&str>> =
            numbers.iter().flat_map(|number| [vec!["ECHO", number], vec!["GET", "large"]]).collect();
        let replies = kv.pipeline(&commands).unwrap();
        assert_eq!(replies.len(), 6_000);
        for (number, pair) in replies.chunks(2).enumerate() {
            assert_eq!(pair[0], Reply::Bulk(number.to_string().into_bytes()));
            assert!(matches!(&pair[1], Reply::Bulk(bytes) if bytes.len() == 20_000));
        }
    }
}

#[test]
fn a_subscription_yields_messages_and_gives_the_connection_back() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut publisher = Connection::connect(&Target::listening_at(redis.address()), Patience::default()).unwrap();
    for is_resp3 in [false, true] {
        let target = Target { is_resp3, ..Target::listening_at(redis.address()) };
        let mut kv = Connection::connect(&target, Patience::default()).unwrap();
        let mut subscription = kv.subscribe(&["news", "weather"]).unwrap();
        publisher.call(&["PUBLISH", "weather", "rain"]).unwrap();
        let message = subscription.next().unwrap().unwrap();
        assert_eq!((message.channel.as_slice(), message.payload.as_slice()), (&b"weather"[..], &b"rain"[..]));
        subscription.leave().unwrap();
        // Dropped while a message is under way.
        let subscription = kv.subscribe_patterns(&["n*"]).unwrap();
        publisher.call(&["PUBLISH", "news", "late"]).unwrap();
        drop(subscription);
        assert_eq!(kv.call(&["ECHO", "mine"]).unwrap(), Reply::Bulk(b"mine".to_vec()));
        assert_eq!(publisher.call(&["PUBLISH", "news", "unheard"]).unwrap(), Reply::Integer(0));
    }
}
