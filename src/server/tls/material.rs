//! Certificate, key and authorities as bytes, what rustls makes of them, and what is asked of clients.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use serde::{Deserialize, Serialize};

use super::certificate;
use super::tickets::{TicketKeys, Tickets};

/// What holds whatever the certificates are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub clients: ClientCertificates,
    pub version_min: VersionMin,
}

/// Whether a client shows a certificate. One that it shows has to be good either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    Off,
    Optional,
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMin {
    Tls12,
    Tls13,
}

/// What is handed to the other processes: the files' bytes, which are PEM, and the keys of session tickets.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Material {
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) authorities: Option<Vec<u8>>,
    pub(super) tickets: TicketKeys,
}

/// What a process serves with.
#[derive(Clone)]
pub(super) struct Configured {
    pub(super) service: Arc<ServerConfig>,
    /// For the sidecar: its clients show no certificate.
    pub(super) sidecar: Arc<ServerConfig>,
    pub(super) not_after_seconds: Option<i64>,
}

impl Material {
    /// What is wrong with them, in words, where they can't be served with.
    pub(super) fn configure(&self, policy: &Policy) -> Result<Configured, String> {
        let chain: Vec<CertificateDer<'static>> = certificates(&self.chain)?;
        let first = chain.first().ok_or("the certificate's file holds no certificate in PEM form")?;
        let not_after_seconds = certificate::not_after_seconds(first);
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| "the key's file holds no private key in PEM form; one with a passphrase can't be used")?;
        let provider = Arc::new(ring::default_provider());
        let service = Arc::new(self.server(&provider, policy, (chain.clone(), key.clone_key()))?);
        let sidecar = match policy.clients {
            ClientCertificates::Off => Arc::clone(&service),
            _ => {
                let anybody = Policy { clients: ClientCertificates::Off, ..*policy };
                Arc::new(self.server(&provider, &anybody, (chain, key))?)
            }
        };
        Ok(Configured { service, sidecar, not_after_seconds })
    }

    fn server(
        &self,
        provider: &Arc<CryptoProvider>,
        policy: &Policy,
        (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    ) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions(policy.version_min))
            .map_err(|error| error.to_string())?;
        let builder = match policy.clients {
            ClientCertificates::Off => builder.with_no_client_auth(),
            asked => {
                let roots = Arc::new(self.roots()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
                let verifier = match asked {
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
            }
        };
        // Refuses a key that does not fit the certificate.
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("certificate and key can't be used together: {error}"))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if policy.clients == ClientCertificates::Off {
            config.ticketer = Arc::new(Tickets::new(&self.tickets));
            config.send_tls13_tickets = 1;
        } else {
            // Who shows a certificate shows it each time: a ticket would outlive the certificate, and its authority.
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(self.authorities.as_deref().unwrap_or_default())? {
            roots.add(authority).map_err(|error| format!("a certificate of the authorities can't be used: {error}"))?;
        }
        if roots.is_empty() {
            return Err("the authorities' file holds no certificate in PEM form".to_owned());
        }
        Ok(roots)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the PEM is damaged: {error}"))
}

fn versions(min: VersionMin) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match min {
        VersionMin::Tls12 => &BOTH,
        VersionMin::Tls13 => &BOTH[..1],
    }
}
