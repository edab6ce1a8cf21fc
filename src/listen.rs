//! Where the service listens: addresses, names and a Unix socket, bound before the first fork; and the files of TLS.

use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use emptyserver::admin::{self, View};
use emptyserver::config::{AdminSettings, AuthClients, ServerSettings, Settings, TlsVersionMin};
use emptyserver::kv::shared::settings::{Listening, TlsWords};
use emptyserver::server::supervisor::{self, Sidecar};
use emptyserver::server::tls::{Certificates, ClientCertificates, Policy, TlsFiles, VersionMin, Watched};
use emptyserver::server::{Address, Listener, ListenerKind, Network, StartError};
use emptyserver::sys::{clock, socket};

/// How long a start waits for the processes of the service before it to be gone.
const PREDECESSOR_WAIT: Duration = Duration::from_secs(10);

pub(crate) fn listeners(settings: &ServerSettings) -> Result<Vec<Listener>, Box<dyn Error>> {
    let plain = resolved(settings.plain_addresses(), "EMPTYSERVER_LISTEN")?;
    let tls = resolved(settings.tls_addresses(), "EMPTYSERVER_TLS_LISTEN")?;
    let mut listeners = Vec::new();
    for (places, kind, setting) in
        [(plain, ListenerKind::Tcp, "EMPTYSERVER_LISTEN"), (tls, ListenerKind::Tls, "EMPTYSERVER_TLS_LISTEN")]
    {
        for place in &places {
            for &address in &place.addresses {
                match bound(address, has_v4_beside(&places, address), setting) {
                    Ok(fd) => listeners.push(Listener { fd, kind }),
                    // A name may have addresses of a family that this machine has not.
                    Err(error) if place.addresses.len() > 1 => {
                        tracing::warn!(%error, name = place.text, "one address of a name is not listened on");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    if let Some(path) = &settings.unix_socket {
        let fd = wait_for(|| {
            let attempt = || supervisor::listen_on_path(path, settings.unix_socket_mode);
            listen(attempt, "EMPTYSERVER_UNIX_SOCKET", "")
        })??;
        listeners.push(Listener { fd, kind: ListenerKind::Unix });
    }
    if listeners.is_empty() {
        return Err("EMPTYSERVER_LISTEN and EMPTYSERVER_TLS_LISTEN: none of their addresses can be listened on".into());
    }
    Ok(listeners)
}

/// What clients are told of it.
pub(crate) fn listening(listeners: &[Listener], settings: &ServerSettings) -> std::io::Result<Listening> {
    let mut listening = Listening { unix_mode: settings.unix_socket_mode, ..Listening::default() };
    for listener in listeners {
        match (listener.address()?, listener.kind) {
            (Address::Unix(path), _) => listening.unix = Some(path.to_string()),
            (Address::Internet(address), ListenerKind::Tls) => listening.tls.push(address),
            (Address::Internet(address), _) => listening.tcp.push(address),
        }
    }
    Ok(listening)
}

/// Takes the path away that nobody listens on any more; where somebody else has it by now, it is theirs.
pub(crate) fn remove_socket(path: &Path) {
    if let Err(error) = socket::remove_unused(path) {
        tracing::warn!(%error, path = %path.display(), "the Unix socket can't be removed");
    }
}

pub(crate) fn proxies(settings: &ServerSettings) -> Vec<Network> {
    let words = settings.proxy_peers.as_deref().unwrap_or_default().split(',');
    words.filter_map(|word| word.parse().ok()).collect()
}

/// The certificate and what belongs to it, where TLS is spoken anywhere.
pub(crate) fn tls(settings: &Settings) -> Result<Option<Watched>, StartError> {
    let (server, admin) = (&settings.server, &settings.admin);
    let is_spoken = server.tls_addresses().next().is_some() || (admin.admin_tls && admin.address().is_some());
    let (true, Some(certificate), Some(key)) = (is_spoken, server.tls_cert_file.clone(), server.tls_key_file.clone())
    else {
        return Ok(None);
    };
    let policy = Policy {
        clients: match server.tls_auth_clients {
            AuthClients::Off => ClientCertificates::Off,
            AuthClients::Optional => ClientCertificates::Optional,
            AuthClients::Required => ClientCertificates::Required,
        },
        version_min: match server.tls_version_min {
            TlsVersionMin::Tls12 => VersionMin::Tls12,
            TlsVersionMin::Tls13 => VersionMin::Tls13,
        },
    };
    Watched::new(TlsFiles { certificate, key, authorities: server.tls_ca_file.clone() }, policy).map(Some)
}

pub(crate) fn tls_words(settings: &ServerSettings) -> Option<TlsWords> {
    settings.tls_addresses().next()?;
    let path =
        |path: &Option<std::path::PathBuf>| path.as_ref().map_or_else(String::new, |path| path.display().to_string());
    Some(TlsWords {
        certificate: path(&settings.tls_cert_file),
        key: path(&settings.tls_key_file),
        authorities: path(&settings.tls_ca_file),
        clients: match settings.tls_auth_clients {
            AuthClients::Off => "no",
            AuthClients::Optional => "optional",
            AuthClients::Required => "yes",
        },
        protocols: match settings.tls_version_min {
            TlsVersionMin::Tls12 => "TLSv1.2 TLSv1.3",
            TlsVersionMin::Tls13 => "TLSv1.3",
        },
    })
}

/// Bound before the first fork, so that a port that is taken stops the start, and nothing is lost while the process is replaced.
pub(crate) fn admin_listener(settings: &AdminSettings) -> Result<Option<OwnedFd>, Box<dyn Error>> {
    let Some(address) = settings.address() else { return Ok(None) };
    let attempt = || supervisor::listen(address, false);
    let listener = wait_for(|| listen(attempt, "EMPTYSERVER_ADMIN_LISTEN", ", `off` does without"))??;
    tracing::info!(address = %socket::local_address(listener.as_fd())?, tls = settings.admin_tls, "health, metrics and the status page");
    Ok(Some(listener))
}

/// `certificates`: where it speaks TLS.
pub(crate) fn sidecar(listener: OwnedFd, view: View, certificates: Option<Arc<Certificates>>) -> Sidecar {
    let view = Arc::new(view);
    let body = move |listener| admin::serve(listener, Arc::clone(&view), certificates.clone());
    Sidecar { name: "admin", listener, body: Box::new(body) }
}

/// What a setting names, and the addresses that it has.
struct Place {
    text: String,
    addresses: Vec<SocketAddr>,
}

fn resolved<'a>(texts: impl Iterator<Item = &'a str>, setting: &str) -> Result<Vec<Place>, StartError> {
    let resolve = |text: &str| {
        let cannot = |what: &dyn std::fmt::Display| StartError::new(format!("{setting}: {text}: {what}"));
        let mut addresses: Vec<SocketAddr> = text.to_socket_addrs().map_err(|error| cannot(&error))?.collect();
        addresses.sort();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(cannot(&"the name has no address"));
        }
        Ok(Place { text: text.to_owned(), addresses })
    };
    texts.map(resolve).collect()
}

/// A socket on `[::]` takes the port for IPv4 as well, unless somebody else is to have it.
fn has_v4_beside(places: &[Place], address: SocketAddr) -> bool {
    let mut all = places.iter().flat_map(|place| &place.addresses);
    address.is_ipv6() && all.any(|other| other.is_ipv4() && other.port() == address.port() && other.port() != 0)
}

fn bound(address: SocketAddr, is_v6_only: bool, setting: &str) -> Result<OwnedFd, StartError> {
    wait_for(|| listen(|| supervisor::listen(address, is_v6_only), setting, ""))?
}

/// `Err` of the inner result: the address is in use, which may pass.
fn listen(
    attempt: impl FnOnce() -> Result<OwnedFd, StartError>,
    setting: &str,
    or: &str,
) -> Result<Result<OwnedFd, StartError>, StartError> {
    match attempt() {
        Ok(listener) => Ok(Ok(listener)),
        Err(error) if error.0.contains("in use") => {
            Ok(Err(StartError::new(format!("{error}; {setting} chooses another address{or}"))))
        }
        Err(error) => Err(error),
    }
}

/// Tries until it works, or has not for as long as a predecessor may need.
pub(crate) fn wait_for<T, E>(
    mut attempt: impl FnMut() -> Result<Result<T, E>, StartError>,
) -> Result<Result<T, E>, StartError> {
    let deadline = clock::monotonic() + PREDECESSOR_WAIT;
    loop {
        let outcome = attempt()?;
        if outcome.is_ok() || clock::monotonic() >= deadline {
            return Ok(outcome);
        }
        clock::pause(Duration::from_millis(20));
    }
}
