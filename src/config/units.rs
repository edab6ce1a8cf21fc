//! What a setting's text may be, and its plain form: `64Mi` becomes `67108864`, `on` becomes `true`. After this the
//! layers' structs need nothing but serde's own types. No names and no environment here.

use std::net::SocketAddr;

pub(super) const KIBI: u64 = 1 << 10;
pub(super) const MEBI: u64 = 1 << 20;
pub(super) const GIBI: u64 = 1 << 30;

/// The kind of a setting's value. Limits are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Text,
    /// An IP address and a port.
    Address,
    /// The same, or the word `off`.
    AddressOrOff,
    /// A directory or a file.
    Path,
    Url,
    /// What is logged.
    Filter,
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
            Self::Text | Self::Path => Some(text.to_owned()),
            Self::Address => text.parse::<SocketAddr>().ok().map(|address| address.to_string()),
            Self::AddressOrOff if text == "off" => Some(text.to_owned()),
            Self::AddressOrOff => Self::Address.normalize(text).ok(),
            Self::Url => crate::client::Target::from_url(text).is_ok().then(|| text.to_owned()),
            Self::Filter => crate::logging::parse_filter(text).is_ok().then(|| text.to_owned()),
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
            Self::Address | Self::AddressOrOff => "address",
            Self::Path => "path",
            Self::Url => "url",
            Self::Filter => "filter",
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
            Self::Address => "an IP address and a port, such as 127.0.0.1:6379 or [::]:6379".to_owned(),
            Self::AddressOrOff => "an IP address and a port, such as 127.0.0.1:9180 or [::]:9180, or off".to_owned(),
            Self::Url => "redis://[[user]:password@]host[:port][/database]".to_owned(),
            Self::Filter => {
                "a level or levels by module, such as `info` or `warn,emptyserver::server=debug`".to_owned()
            }
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
        for text in ["127.0.0.1:6379", "[::]:0", "0.0.0.0:65535"] {
            assert_eq!(Unit::Address.normalize(text).as_deref(), Ok(text));
        }
        for text in ["6379", "127.0.0.1", "localhost:6379", "1.2.3.4:65536"] {
            assert!(Unit::Address.normalize(text).is_err(), "{text}");
        }
    }
}
