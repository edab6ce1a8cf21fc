//! Where to connect to and as whom, and the URL that says so. No I/O.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::tls::Tls;

/// The port of the protocol's servers, unless something else is said.
pub const PORT: u16 = 6379;

/// One service, one user, one of its numbered databases. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// A unix socket, instead of host and port.
    pub socket: Option<PathBuf>,
    /// `None`: in the clear.
    pub tls: Option<Tls>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: u32,
    pub is_resp3: bool,
}

/// What is wrong with a URL. It never repeats the URL, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Another protocol.
    Scheme,
    Port,
    Database,
    /// `%` without two hexadecimal digits, or bytes that are not UTF-8.
    Escape,
    /// `?` or `#`: there are no options.
    Options,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: PORT,
            socket: None,
            tls: None,
            user: None,
            password: None,
            database: 0,
            is_resp3: false,
        }
    }
}

impl Target {
    /// `redis://[[user]:password@]host[:port][/database]`, each part with `%XX` escapes; `rediss://` for TLS; `valkey://`
    /// and `valkeys://` are the same. An absent host is 127.0.0.1.
    ///
    /// ```
    /// use emptyserver::client::Target;
    ///
    /// let target = Target::from_url("redis://:secret@kv.example:7000/5")?;
    /// assert_eq!((target.host.as_str(), target.port, target.database), ("kv.example", 7000, 5));
    /// # Ok::<(), emptyserver::client::UrlError>(())
    /// ```
    ///
    /// # Errors
    /// Which part is wrong.
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme {
            "redis" | "valkey" => None,
            "rediss" | "valkeys" => Some(Tls::default()),
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(UrlError::Options);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // The last @: somebody may have forgotten to escape one in the password.
        let (user_info, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let (host, port) = split_port(address)?;
        let filled = |text: &str| -> Result<Option<String>, UrlError> {
            if text.is_empty() { Ok(None) } else { unescape(text).map(Some) }
        };
        Ok(Self {
            host: filled(host)?.unwrap_or_else(|| Self::default().host),
            port,
            user: filled(user)?,
            password: filled(password)?,
            database: if path.is_empty() { 0 } else { path.parse().map_err(|_| UrlError::Database)? },
            tls,
            ..Self::default()
        })
    }

    /// A service that listens at these addresses and names: by loopback where that is one of them.
    pub fn listening<'a>(places: impl Iterator<Item = &'a str>) -> Option<Self> {
        let target = |place: &str| match place.parse() {
            Ok(address) => Some(Self::listening_at(address)),
            Err(_) => {
                let (host, port) = place.rsplit_once(':')?;
                Some(Self { host: host.to_owned(), port: port.parse().ok()?, ..Self::default() })
            }
        };
        let targets: Vec<Self> = places.filter_map(target).collect();
        let is_near = |target: &&Self| target.host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
        targets.iter().find(is_near).or(targets.first()).cloned()
    }

    /// A service that listens at the address; one that listens everywhere is reached by loopback.
    #[must_use]
    pub fn listening_at(address: SocketAddr) -> Self {
        let host = match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            host => host,
        };
        Self { host: host.to_string(), port: address.port(), ..Self::default() }
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(address: &str) -> Result<(&str, u16), UrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(UrlError::Port)?,
        None => address.find(':').map_or((address, ""), |colon| address.split_at(colon)),
    };
    match port.strip_prefix(':') {
        Some(port) => Ok((host, port.parse().map_err(|_| UrlError::Port)?)),
        None if port.is_empty() => Ok((host, PORT)),
        None => Err(UrlError::Port),
    }
}

fn unescape(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        bytes.push(match byte {
            b'%' => match (digit(), digit()) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => return Err(UrlError::Escape),
            },
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Escape)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("socket", &self.socket)
            .field("tls", &self.tls)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("database", &self.database)
            .field("is_resp3", &self.is_resp3)
            .finish()
    }
}

/// `host:port`, or the socket's path, for messages.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, self.port);
        if let Some(socket) = &self.socket {
            return write!(f, "{}", socket.display());
        }
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a URL begins with redis:// or valkey://, or with rediss:// or valkeys:// for TLS",
            Self::Port => "the URL's port is not a number from 0 to 65535",
            Self::Database => "the URL's database is not a number",
            Self::Escape => "the URL has a % that is not followed by two hexadecimal digits of UTF-8 text",
            Self::Options => "the URL has options (? or #), and there are none; write %3F and %23 in a password",
        })
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16, user: Option<&str>, password: Option<&str>, database: u32) -> Target {
        let (user, password) = (user.map(str::to_owned), password.map(str::to_owned));
        Target { host: host.to_owned(), port, user, password, database, ..Target::default() }
    }

    #[test]
    fn a_url_has_all_parts_or_few() {
        let cases = [
            ("redis://", target("127.0.0.1", 6379, None, None, 0)),
            ("redis://kv", target("kv", 6379, None, None, 0)),
            ("redis://kv:1/", target("kv", 1, None, None, 0)),
            ("redis://:pw@kv/5", target("kv", 6379, None, Some("pw"), 5)),
            ("redis://me:p%40w%3a@kv:7", target("kv", 7, Some("me"), Some("p@w:"), 0)),
            ("redis://:a@b@kv", target("kv", 6379, None, Some("a@b"), 0)),
            ("redis://[::1]", target("::1", 6379, None, None, 0)),
            ("valkey://me:pw@kv:7/2", target("kv", 7, Some("me"), Some("pw"), 2)),
            ("redis://:pw@[::1]:7/15", target("::1", 7, None, Some("pw"), 15)),
        ];
        for (url, target) in cases {
            assert_eq!(Target::from_url(url), Ok(target), "{url}");
        }
    }

    #[test]
    fn a_second_s_asks_for_tls() {
        let expected = Target { tls: Some(Tls::default()), ..target("kv", 7, None, None, 0) };
        for url in ["rediss://kv:7", "valkeys://kv:7"] {
            assert_eq!(Target::from_url(url), Ok(expected.clone()), "{url}");
        }
    }

    #[test]
    fn a_service_is_reached_by_the_nearest_of_its_addresses() {
        let nearest = |places: &[&str]| Target::listening(places.iter().copied()).map(|target| target.to_string());
        assert_eq!(nearest(&[]), None);
        assert_eq!(nearest(&["0.0.0.0:7"]).as_deref(), Some("127.0.0.1:7"));
        assert_eq!(nearest(&["10.0.0.1:7", "[::]:8"]).as_deref(), Some("[::1]:8"));
        assert_eq!(nearest(&["kv.example:7", "10.0.0.1:8"]).as_deref(), Some("kv.example:7"));
    }

    #[test]
    fn a_url_that_is_wrong_says_where() {
        let cases = [
            ("kv:6379", UrlError::Scheme),
            ("unix:///kv", UrlError::Scheme),
            ("valkeyss://kv", UrlError::Scheme),
            ("://kv", UrlError::Scheme),
            ("redis://kv:port", UrlError::Port),
            ("redis://kv:65536", UrlError::Port),
            ("redis://[::1", UrlError::Port),
            ("redis://[::1]7", UrlError::Port),
            ("redis://kv/x", UrlError::Database),
            ("redis://:%4@kv", UrlError::Escape),
            ("redis://:%ff@kv", UrlError::Escape),
            ("redis://kv?timeout=1", UrlError::Options),
        ];
        for (url, error) in cases {
            assert_eq!(Target::from_url(url), Err(error), "{url}");
        }
    }

    #[test]
    fn a_service_that_listens_everywhere_is_reached_by_loopback() {
        for (listen, shown) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("10.0.0.1:3", "10.0.0.1:3"),
            ("127.0.0.1:4", "127.0.0.1:4"),
        ] {
            assert_eq!(Target::listening_at(listen.parse().unwrap()).to_string(), shown);
        }
    }

    #[test]
    fn debug_output_hides_the_password() {
        assert!(!format!("{:?}", target("kv", 1, None, Some("hunter2"), 0)).contains("hunter2"));
    }
}
