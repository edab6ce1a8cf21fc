//! Which names a person's browser may have reached the admin address by.
//!
//! A page of a stranger can let its own name mean this address (DNS rebinding) and then read what is answered, as its own. Its browser
//! still sends that name as `Host`. So what is for people is answered under names that no stranger can have: IP addresses, names
//! without a dot, those that are reserved for machines and private networks, and those that the operator names.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::{Authority, Uri};

/// Nobody can register a name below these: RFC 6761 and 6762, ICANN's resolution of 2024, and what Kubernetes resolves.
const PRIVATE: &[&str] = &[".localhost", ".local", ".internal", ".svc"];

/// The names that the operator has added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    names: Vec<String>,
    is_any: bool,
}

impl Hosts {
    /// From a list with commas; `*` stands for any name.
    #[must_use]
    pub fn parse(text: &str) -> Hosts {
        let words = text.split(',').map(|word| word.trim().to_ascii_lowercase()).filter(|word| !word.is_empty());
        let (any, names): (Vec<String>, Vec<String>) = words.partition(|word| word == "*");
        Hosts { names, is_any: !any.is_empty() }
    }

    /// True exactly when the request was sent to a name that is known. One without any name comes from no browser.
    pub(super) fn know(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let sent = headers
            .get_all(HOST)
            .iter()
            .map(|value| value.to_str().ok().and_then(|text| text.parse::<Authority>().ok()));
        sent.chain(uri.authority().map(|authority| Some(authority.clone())))
            .all(|authority| authority.is_some_and(|authority| self.knows(authority.host())))
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let is_v6 = || {
            host.strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
        };
        self.is_any
            || !host.contains(['.', '['])
            || host.parse::<IpAddr>().is_ok()
            || is_v6()
            || PRIVATE.iter().any(|suffix| host.ends_with(suffix))
            || self.names.iter().any(|name| name == host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_stranger_can_have_are_known_and_others_only_if_they_are_named() {
        let (none, named, any) =
            (Hosts::parse(""), Hosts::parse("Status.example.com, other.example.com"), Hosts::parse("*"));
        for host in [
            "127.0.0.1",
            "10.1.2.3",
            "[::1]",
            "[fe80::1]",
            "localhost",
            "LOCALHOST.",
            "emptyserver",
            "emptyserver-0",
            "app.localhost",
            "cache.default.svc",
            "cache.default.svc.cluster.local",
            "machine.local",
            "host.docker.internal",
        ] {
            assert!(none.knows(host) && named.knows(host) && any.knows(host), "{host}");
        }
        for host in [
            "attacker.example",
            "127.0.0.1.attacker.example",
            "localhost.attacker.example",
            "a.svc.example",
            "[x]",
            "1.2.3.4.5",
        ] {
            assert!(!none.knows(host) && !named.knows(host) && any.knows(host), "{host}");
        }
        for host in ["status.example.com", "STATUS.example.com.", "other.example.com"] {
            assert!(!none.knows(host) && named.knows(host), "{host}");
        }
    }

    #[test]
    fn every_name_of_a_request_has_to_be_known() {
        let hosts = Hosts::default();
        let know = |uri: &str, values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HOST, value.parse().unwrap());
            }
            hosts.know(&uri.parse().unwrap(), &headers)
        };
        assert!(know("/", &[]) && know("/", &["localhost:9180"]) && know("/", &["[::1]:9180"]));
        assert!(know("http://localhost:9180/", &["localhost:9180"]));
        for (uri, values) in [
            ("/", &["attacker.example:9180"][..]),
            ("/", &["localhost", "attacker.example"]),
            ("/", &["at tacker"]),
            ("http://attacker.example/", &["localhost"]),
        ] {
            assert!(!know(uri, values), "{uri} {values:?}");
        }
    }
}
