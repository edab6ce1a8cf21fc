//! What a setting's text may be, and its plain form: `64Mi` becomes `67108864`, `on` becomes `true`. After this the
//! layers' structs need nothing but serde's own types. No names and no environment here.

use std::net::SocketAddr;

use crate::kv::call::Notifications;
use crate::server::Network;

pub(super) const KIBI: u64 = 1 << 10;
pub(super) const MEBI: u64 = 1 << 20;
pub(super) const GIBI: u64 = 1 << 30;

/// The kind of a setting's value. Limits are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Text,
    /// An IP address and a port, or the word `off`.
    AddressOrOff,
    /// Addresses or host names, each with a port, separated by commas; or the word `off`.
    AddressesOrOff,
    /// Ranges of IP addresses, separated by commas.
    Networks,
    /// A directory or a file.
    Path,
    /// A file whose contents are the setting, and which is read again while the service runs. The variable itself names it.
    File,
    /// Who may use a file, in octal digits.
    Mode,
    Url,
    /// What is logged.
    Filter,
    /// Letters of classes of keyspace events.
    EventClasses,
    /// yes or no.
    Switch,
    Choice(&'static [&'static str]),
    /// `of` says what is counted; empty for things that the name already says.
    Number {
        of: &'static str,
        min: i64,
        max: i64,
    },
    Bytes {
        min: u64,
        max: u64,
    },
}

impl Unit {
    pub(super) const fn count(min: i64, max: i64) -> Self {
        Self::Number { of: "", min, max }
    }

    pub(super) const fn seconds(min: i64, max: i64) -> Self {
        Self::Number { of: "seconds", min, max }
    }

    pub(super) const fn bytes(min: u64, max: u64) -> Self {
        Self::Bytes { min, max }
    }

    /// The plain form of the text.
    ///
    /// # Errors
    /// What the value has to be, as the end of a sentence that begins with "it must be".
    pub fn normalize(&self, text: &str) -> Result<String, String> {
        let valid = match self {
            Self::Text | Self::Path | Self::File => Some(text.to_owned()),
            Self::AddressOrOff | Self::AddressesOrOff if text == "off" => Some(text.to_owned()),
            Self::AddressOrOff => text.parse::<SocketAddr>().ok().map(|address| address.to_string()),
            Self::AddressesOrOff => list(text, place),
            Self::Networks => list(text, |word| word.parse::<Network>().is_ok().then(|| word.to_owned())),
            Self::Mode => u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777).map(|mode| mode.to_string()),
            Self::Url => crate::client::Target::from_url(text).is_ok().then(|| text.to_owned()),
            Self::Filter => crate::logging::parse_filter(text).is_ok().then(|| text.to_owned()),
            Self::EventClasses => Notifications::parse(text.as_bytes()).map(|_| text.to_owned()),
            Self::Switch => switch(text).map(|on| on.to_string()),
            Self::Choice(words) => words.contains(&text).then(|| text.to_owned()),
            Self::Number { min, max, .. } => {
                text.parse::<i64>().ok().filter(|number| (min..=max).contains(&number)).map(|number| number.to_string())
            }
            Self::Bytes { min, max } => {
                bytes(text).filter(|bytes| (min..=max).contains(&bytes)).map(|bytes| bytes.to_string())
            }
        };
        valid.ok_or_else(|| self.expectation())
    }

    /// The plain form as people write it.
    #[must_use]
    pub fn display(&self, plain: &str) -> String {
        match (self, plain) {
            (Self::Mode, _) => plain.parse().map_or_else(|_| plain.to_owned(), |mode: u32| format!("{mode:03o}")),
            (Self::Bytes { .. }, _) => plain.parse().map_or_else(|_| plain.to_owned(), display_bytes),
            (Self::Switch, "true") => "yes".to_owned(),
            (Self::Switch, "false") => "no".to_owned(),
            _ => plain.to_owned(),
        }
    }

    /// One word for tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::AddressOrOff => "address",
            Self::AddressesOrOff => "addresses",
            Self::Networks => "networks",
            Self::Path => "path",
            Self::File => "file",
            Self::Mode => "mode",
            Self::Url => "url",
            Self::Filter => "filter",
            Self::EventClasses => "letters",
            Self::Switch => "yes/no",
            Self::Choice(_) => "choice",
            Self::Number { of: "", .. } => "number",
            Self::Number { of, .. } => of,
            Self::Bytes { .. } => "bytes",
        }
    }

    /// What the value has to be, as the end of a sentence that begins with "it must be".
    #[must_use]
    pub fn expectation(&self) -> String {
        match self {
            Self::Text | Self::Path => "any text".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::Mode => "octal digits, such as 600 or 660".to_owned(),
            Self::AddressesOrOff => {
                "addresses or names with a port, separated by commas, such as 127.0.0.1:6379,[::1]:6379, or off"
                    .to_owned()
            }
            Self::Networks => "IP addresses or ranges, separated by commas, such as 10.0.0.0/8,192.0.2.7".to_owned(),
            Self::AddressOrOff => "an IP address and a port, such as 127.0.0.1:9180 or [::]:9180, or off".to_owned(),
            Self::Url => "redis://[[user]:password@]host[:port][/database]".to_owned(),
            Self::Filter => {
                "a level or levels by module, such as `info` or `warn,emptyserver::server=debug`".to_owned()
            }
            Self::EventClasses => "letters of `Ag$lshzxetdmnKE`".to_owned(),
            Self::Switch => "yes or no (also true/false, on/off, 1/0)".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Number { of, min, max: i64::MAX } => format!("a whole number{} from {min}", of_what(of)),
            Self::Number { of, min, max } => format!("a whole number{} from {min} to {max}", of_what(of)),
            Self::Bytes { min, max } => format!(
                "a number of bytes, plain or with Ki, Mi or Gi, from {} to {}",
                display_bytes(*min),
                display_bytes(*max)
            ),
        }
    }
}

/// Each word between the commas in its plain form.
fn list(text: &str, plain: impl Fn(&str) -> Option<String>) -> Option<String> {
    text.split(',').map(|word| plain(word.trim())).collect::<Option<Vec<_>>>().map(|words| words.join(","))
}

/// An IP address or a host name, and a port.
fn place(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.to_string());
    }
    let (host, port) = text.rsplit_once(':')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    // Digits alone would be an address that is none.
    let is_host = host.bytes().all(is_name) && host.bytes().any(|byte| byte.is_ascii_alphabetic());
    (is_host && port.parse::<u16>().is_ok()).then(|| text.to_owned())
}

fn of_what(of: &str) -> String {
    if of.is_empty() { String::new() } else { format!(" of {of}") }
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Digits, then nothing, Ki, Mi or Gi. K, M and G are refused: half of the world means 1000 by them.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1,
        "Ki" => KIBI,
        "Mi" => MEBI,
        "Gi" => GIBI,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// In the largest of Gi, Mi and Ki that leaves a whole number.
fn display_bytes(bytes: u64) -> String {
    let whole =
        |(factor, suffix): &(u64, &'static str)| bytes.is_multiple_of(*factor).then(|| (bytes / factor, *suffix));
    let (number, suffix) = [(GIBI, "Gi"), (MEBI, "Mi"), (KIBI, "Ki")].iter().find_map(whole).unwrap_or((bytes, ""));
    if bytes == 0 { "0".to_owned() } else { format!("{number}{suffix}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_binary_suffixes_and_nothing_else() {
        let unit = Unit::bytes(0, 8 * GIBI);
        for (text, plain) in [("0", "0"), ("123", "123"), ("1Ki", "1024"), ("64Mi", "67108864"), ("8Gi", "8589934592")]
        {
            assert_eq!(unit.normalize(text).as_deref(), Ok(plain));
        }
        for text in [
            "",
            "Mi",
            "1K",
            "1M",
            "1G",
            "1mi",
            "1MiB",
            "-1",
            " 1",
            "1 Mi",
            "1.5Gi",
            "9Gi",
            "99999999999999999999Gi",
            "é",
        ] {
            assert!(unit.normalize(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_are_shown_as_people_write_them() {
        for (bytes, text) in [(0, "0"), (1, "1"), (1024, "1Ki"), (1536, "1536"), (64 * MEBI, "64Mi"), (3 * GIBI, "3Gi")]
        {
            assert_eq!(display_bytes(bytes), text);
        }
    }

    #[test]
    fn switches_know_eight_words_in_any_case() {
        for text in ["yes", "true", "on", "1", "YES", "True"] {
            assert_eq!(Unit::Switch.normalize(text).as_deref(), Ok("true"));
        }
        for text in ["no", "false", "off", "0", "Off"] {
            assert_eq!(Unit::Switch.normalize(text).as_deref(), Ok("false"));
        }
        assert!(Unit::Switch.normalize("maybe").is_err());
    }

    #[test]
    fn numbers_stay_in_their_range() {
        assert_eq!(Unit::count(1, 64).normalize("64").as_deref(), Ok("64"));
        assert_eq!(Unit::count(1, 64).normalize("65").unwrap_err(), "a whole number from 1 to 64");
        assert_eq!(Unit::seconds(1, 9).normalize("x").unwrap_err(), "a whole number of seconds from 1 to 9");
    }

    #[test]
    fn an_address_has_an_ip_and_a_port() {
        for text in ["127.0.0.1:6379", "[::]:0", "0.0.0.0:65535", "off"] {
            assert_eq!(Unit::AddressOrOff.normalize(text).as_deref(), Ok(text));
        }
        for text in ["6379", "127.0.0.1", "localhost:6379", "1.2.3.4:65536"] {
            assert!(Unit::AddressOrOff.normalize(text).is_err(), "{text}");
        }
    }

    #[test]
    fn several_addresses_are_separated_by_commas_and_may_be_names() {
        for (text, plain) in [
            ("127.0.0.1:6379", "127.0.0.1:6379"),
            ("127.0.0.1:1, [::1]:1", "127.0.0.1:1,[::1]:1"),
            ("kv-0.kv.svc:6379,localhost:0", "kv-0.kv.svc:6379,localhost:0"),
            ("off", "off"),
        ] {
            assert_eq!(Unit::AddressesOrOff.normalize(text).as_deref(), Ok(plain));
        }
        for text in [
            "",
            "6379",
            "127.0.0.1",
            "1.2.3:1",
            "kv:65536",
            "kv:",
            ":1",
            "127.0.0.1:1,",
            "off,kv:1",
            "/run/kv.sock",
            "a b:1",
        ] {
            assert!(Unit::AddressesOrOff.normalize(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_and_modes_are_what_they_say() {
        assert_eq!(Unit::Networks.normalize("10.0.0.0/8, ::1").as_deref(), Ok("10.0.0.0/8,::1"));
        assert!(Unit::Networks.normalize("10.0.0.0/8,proxy").is_err());
        assert_eq!(Unit::Mode.normalize("0660").as_deref(), Ok("432"));
        assert_eq!(Unit::Mode.display("432"), "660");
        for text in ["", "888", "1777", "rw", "-1"] {
            assert!(Unit::Mode.normalize(text).is_err(), "{text}");
        }
    }
}
