//! TLS for tests: authorities and what they certify, and a client that speaks it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::connection::{PATIENCE, encoded};
use super::notation::words;
use super::value::{Parsed, Value, parse};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// For this common name, and for `localhost` and 127.0.0.1.
    pub fn certify(&self, common_name: &str) -> Pair {
        self.certify_with(common_name, |_| {})
    }

    pub fn certify_with(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// What a client that trusts this authority begins with.
    pub fn trusting(
        &self,
        provider: CryptoProvider,
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_root_certificates(roots)
    }

    /// That shows no certificate, or this one.
    pub fn client(&self, shown: Option<&Pair>) -> Arc<ClientConfig> {
        let builder = self.trusting(ring::default_provider());
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect::<Result<_, _>>();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.unwrap(), key).unwrap()
            }
        })
    }
}

/// A directory of files that settings name.
pub struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub fn new() -> Self {
        Self { directory: tempfile::Builder::new().prefix("emptyserver-tls-").tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// One after the other, as a person copies them.
    pub fn write(&self, pair: &Pair) {
        std::fs::write(self.path("tls.crt"), &pair.certificate).unwrap();
        std::fs::write(self.path("tls.key"), &pair.key).unwrap();
    }

    /// As Kubernetes does: the files are links into `..data`, which is a link itself and is swapped.
    pub fn swap(&self, number: usize, pair: &Pair) {
        let target = self.path(&format!("..{number}"));
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("tls.crt"), &pair.certificate).unwrap();
        std::fs::write(target.join("tls.key"), &pair.key).unwrap();
        let link = |to: &Path, at: PathBuf| std::os::unix::fs::symlink(to, at).unwrap();
        link(Path::new(&format!("..{number}")), self.path("..data_tmp"));
        std::fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
        for name in ["tls.crt", "tls.key"] {
            if std::fs::symlink_metadata(self.path(name)).is_err() {
                link(&Path::new("..data").join(name), self.path(name));
            }
        }
        if number > 0 {
            std::fs::remove_dir_all(self.path(&format!("..{}", number - 1))).unwrap();
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

pub struct Secure {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
    input: Vec<u8>,
}

impl Secure {
    /// With the handshake done.
    pub fn try_open(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        Self::over(stream, config)
    }

    pub fn over(stream: TcpStream, config: &Arc<ClientConfig>) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let connection = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream, input: Vec::new() })
    }

    pub fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::try_open(address, config).unwrap_or_else(|error| panic!("no TLS connection to {address}: {error}"))
    }

    /// Words and answer in the notation of the transcripts.
    pub fn ask(&mut self, line: &str) -> String {
        self.try_ask(line).unwrap_or_else(|error| panic!("no answer to {line}: {error}"))
    }

    pub fn try_ask(&mut self, line: &str) -> std::io::Result<String> {
        self.stream.write_all(&encoded(&words(line)))?;
        self.try_read().map(|value| value.to_string())
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.stream.write_all(&encoded(args)).unwrap();
    }

    pub fn try_read(&mut self) -> std::io::Result<Value> {
        loop {
            match parse(&self.input) {
                Ok(Parsed::Complete(value, length)) => {
                    self.input.drain(..length);
                    return Ok(value);
                }
                Ok(Parsed::NeedMore) => {
                    let mut bytes = vec![0; 1 << 16];
                    match self.stream.read(&mut bytes)? {
                        0 => return Err(ErrorKind::UnexpectedEof.into()),
                        count => self.input.extend_from_slice(&bytes[..count]),
                    }
                }
                Err(what) => return Err(std::io::Error::new(ErrorKind::InvalidData, what)),
            }
        }
    }

    /// What the service has shown.
    pub fn certificate(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }
}
