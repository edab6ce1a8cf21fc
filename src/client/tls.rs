//! TLS for a connection: which authorities are trusted, what the client shows of itself. rustls does the protocol.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};

/// What is said about TLS; files are read when a connection is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities to trust, as PEM; without it those of this machine.
    pub authorities: Option<PathBuf>,
    /// The client's certificate chain and its key, as PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the certificate must have, where it is not the host's.
    pub server_name: Option<String>,
    /// Any certificate will do: whoever sits between can read everything.
    pub is_unverified: bool,
}

/// Why there can be no TLS connection, whoever is at the other end.
#[derive(Debug)]
pub enum TlsError {
    File { path: PathBuf, reason: String },
    NoAuthorities,
    ServerName(String),
    Rejected(rustls::Error),
}

/// Reads the files: what is wrong with them is said whether the service is there or not.
pub(crate) fn prepare(host: &str, tls: &Tls) -> Result<ClientConnection, TlsError> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    let server = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))?;
    ClientConnection::new(configuration(tls)?, server).map_err(TlsError::Rejected)
}

/// Shakes hands, so that a certificate that is not trusted is noticed here and not at the first command.
pub(crate) fn secure(
    mut connection: ClientConnection,
    mut stream: TcpStream,
) -> io::Result<Box<StreamOwned<ClientConnection, TcpStream>>> {
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

fn configuration(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Rejected)?;
    let builder = if tls.is_unverified {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustsEverybody(provider)))
    } else {
        builder.with_root_certificates(trusted(tls.authorities.as_deref())?)
    };
    let configuration = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            builder.with_client_auth_cert(certificates(chain)?, private).map_err(TlsError::Rejected)?
        }
    };
    Ok(Arc::new(configuration))
}

fn trusted(authorities: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let found = match authorities {
        Some(path) => certificates(path)?,
        // What cannot be read of them is missing; none at all is said.
        None => rustls_native_certs::load_native_certs().certs,
    };
    store.add_parsable_certificates(found);
    match (store.is_empty(), authorities) {
        (false, _) => Ok(store),
        (true, None) => Err(TlsError::NoAuthorities),
        (true, Some(path)) => Err(unreadable(path, &"it holds no certificate")),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pieces = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, &error))?;
    pieces.collect::<Result<_, _>>().map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, reason: &dyn fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

/// `--insecure`: checks that the other side holds the key of its certificate, and not whose certificate it is.
#[derive(Debug)]
struct TrustsEverybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustsEverybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, reason } => write!(f, "TLS: {} cannot be used: {reason}", path.display()),
            Self::NoAuthorities => {
                f.write_str("TLS: this machine trusts no authority; --cacert FILE names one, --insecure does without")
            }
            Self::ServerName(name) => write!(f, "TLS: `{name}` cannot be in a certificate; --sni NAME gives another"),
            Self::Rejected(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
