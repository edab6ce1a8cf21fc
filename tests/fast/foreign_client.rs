//! The real program with a client library that others have written: what it sends at the start, how it reads replies,
//! pipelines, transactions, both protocols, and the password.

use std::collections::HashMap;

use crate::support::Service;
use redis::{Client, Commands, Connection, ExpireOption, IntoConnectionInfo, ProtocolVersion, RedisResult};

fn connect(service: &Service, protocol: ProtocolVersion, password: Option<&str>) -> RedisResult<Connection> {
    let info = format!("redis://{}", service.address()).into_connection_info()?;
    let mut settings = info.redis_settings().clone().set_protocol(protocol);
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    Client::open(info.set_redis_settings(settings))?.get_connection()
}

fn both_protocols(service: &Service) -> [Connection; 2] {
    [ProtocolVersion::RESP2, ProtocolVersion::RESP3].map(|protocol| connect(service, protocol, None).unwrap())
}

#[test]
fn values_come_back_as_they_were_sent() {
    let service = Service::start(&[("WORKERS", "2")]);
    for mut connection in both_protocols(&service) {
        let binary: Vec<u8> = (0..=255).collect();
        let () = connection.set("binary", &binary).unwrap();
        assert_eq!(connection.get::<_, Vec<u8>>("binary").unwrap(), binary);
        let () = connection.mset(&[("a", 1), ("b", 2)]).unwrap();
        assert_eq!(connection.mget::<_, (i64, Option<i64>)>(&["a", "missing"]).unwrap(), (1, None));
        assert_eq!(connection.incr::<_, _, i64>("a", 41).unwrap(), 42);
        assert_eq!(connection.incr::<_, _, f64>("float", 0.5).unwrap(), 0.5);
        assert!(connection.expire_at::<_, bool>("a", 33_177_117_420).unwrap());
        assert_eq!(connection.ttl::<_, i64>("b").unwrap(), -1);
        let option = ExpireOption::NX;
        assert_eq!(redis::cmd("EXPIRE").arg("a").arg(10).arg(option).query::<i64>(&mut connection).unwrap(), 0);
        assert!(!connection.exists::<_, bool>("missing").unwrap());
        let mut keys: Vec<String> = connection.scan().unwrap().map(Result::unwrap).collect();
        keys.sort();
        assert_eq!(keys, ["a", "b", "binary", "float"]);
        let error = connection.incr::<_, _, i64>("binary", 1).unwrap_err();
        assert_eq!(error.code(), Some("ERR"));
        let () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
    }
}

#[test]
fn pipelines_and_transactions_keep_their_order() {
    let service = Service::start(&[("WORKERS", "2")]);
    for mut connection in both_protocols(&service) {
        let mut pipeline = redis::pipe();
        for number in 0..1000 {
            pipeline.set(number, number).ignore().get(number);
        }
        let values: Vec<i64> = pipeline.query(&mut connection).unwrap();
        assert_eq!(values, (0..1000).collect::<Vec<i64>>());
        let key = "counter";
        let counted: (i64,) = redis::transaction(&mut connection, &[key], |connection, pipe| {
            let old: Option<i64> = connection.get(key)?;
            pipe.set(key, old.unwrap_or(0) + 1).ignore().get(key).query(connection)
        })
        .unwrap();
        assert_eq!(counted, (1,));
        let () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
    }
}

#[test]
fn a_password_is_asked_for_and_taken() {
    let service = Service::start(&[("WORKERS", "2"), ("PASSWORD", "secret")]);
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        assert!(connect(&service, protocol, Some("wrong")).is_err());
        let mut connection = connect(&service, protocol, Some("secret")).unwrap();
        assert_eq!(redis::cmd("PING").query::<String>(&mut connection).unwrap(), "PONG");
    }
    let refused = connect(&service, ProtocolVersion::RESP2, None)
        .and_then(|mut connection| connection.get::<_, Option<String>>("a"))
        .unwrap_err();
    assert_eq!(refused.code(), Some("NOAUTH"));
}

#[test]
fn information_reads_as_the_library_expects() {
    let service = Service::start(&[("WORKERS", "2")]);
    for mut connection in both_protocols(&service) {
        let information: redis::InfoDict = redis::cmd("INFO").query(&mut connection).unwrap();
        let version: String = information.get("redis_version").unwrap();
        assert!(version.starts_with("7.2."), "{version}");
        let settings: HashMap<String, String> =
            redis::cmd("CONFIG").arg("GET").arg("maxmemory*").query(&mut connection).unwrap();
        assert!(settings.contains_key("maxmemory"));
    }
}
