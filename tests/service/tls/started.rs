//! A service that speaks TLS, and what its clients need.

use std::net::SocketAddr;

use crate::support::{Authority, Files, Service};

/// A service that speaks TLS on a port of its own, beside the plain one.
pub(super) struct Tls {
    pub(super) service: Service,
    pub(super) address: SocketAddr,
    pub(super) authority: Authority,
    pub(super) files: Files,
}

impl Tls {
    pub(super) fn start(settings: &[(&str, &str)]) -> Tls {
        let (authority, files) = (Authority::new("an authority"), Files::new());
        files.write(&authority.certify("the service"));
        std::fs::write(files.path("ca.crt"), &authority.pem).unwrap();
        Tls::start_with(authority, files, settings)
    }

    pub(super) fn start_with(authority: Authority, files: Files, settings: &[(&str, &str)]) -> Tls {
        let (certificate, key) = (files.text("tls.crt"), files.text("tls.key"));
        let own =
            [("TLS_LISTEN", "127.0.0.1:0"), ("TLS_CERT_FILE", certificate.as_str()), ("TLS_KEY_FILE", key.as_str())];
        let all: Vec<_> = own.iter().chain(settings).copied().collect();
        let service = Service::start(&all);
        let address = service.tls_address();
        Tls { service, address, authority, files }
    }
}
