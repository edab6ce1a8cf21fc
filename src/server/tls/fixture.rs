//! Authorities and certificates for tests.

use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::material::{Material, Policy};
use super::tickets::TicketKeys;
use super::{Certificates, ClientCertificates, VersionMin};

/// Signs certificates. All PEM.
pub(in crate::server) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(in crate::server) pem: String,
}

impl Authority {
    pub(in crate::server) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate and its key.
    pub(in crate::server) fn certify(&self, common_name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// What a loop serves with that asks clients for no certificate.
pub(in crate::server) fn certificates(authority: &Authority) -> Arc<Certificates> {
    let (chain, key) = authority.certify("a service");
    let (authorities, tickets) = (None, TicketKeys::drawn().unwrap());
    let material = Material { chain: chain.into_bytes(), key: key.into_bytes(), authorities, tickets };
    let policy = Policy { clients: ClientCertificates::Off, version_min: VersionMin::Tls12 };
    let configured = material.configure(&policy).unwrap();
    Arc::new(Certificates::new(policy, configured))
}

pub(in crate::server) type Client = StreamOwned<ClientConnection, TcpStream>;

/// One that trusts the authority.
pub(in crate::server) fn client(authority: &Authority, socket: TcpStream) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    StreamOwned::new(connection, socket)
}
