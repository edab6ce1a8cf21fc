//! From the environment to one value per setting: files, aliases, defaults; names that mean nothing and values that
//! cannot be are refused, all of them at once. What a value then means is the layers' business.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::table::{Layer, PREFIX, SETTINGS, Setting};
use super::units::Unit;
use crate::sys::container::Container;

/// More than any setting is long; a larger file is not a setting.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The value of every setting, in the order of the table.
#[derive(Debug)]
pub struct Values {
    pub rows: Vec<Value>,
}

/// One setting's value. `Debug` shows no secret.
pub struct Value {
    pub setting: &'static Setting,
    /// The plain form of its unit; `None` where nothing is set and nothing is the default.
    plain: Option<String>,
    pub source: Source,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Default,
    Variable(String),
    File { variable: String, path: PathBuf },
}

/// Everything that is wrong with the settings. Its text names each setting and the way out, and shows no secret.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingsError {
    pub problems: Vec<Problem>,
}

/// One sentence that begins with a setting's name.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem(pub String);

impl Values {
    /// Reads the environment of this process: the only place that does.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_environment(container: &Container) -> Result<Self, SettingsError> {
        Self::read(std::env::vars_os(), container)
    }

    /// Which rule of the cache this process breaks: for `tests/broken_variants.sh`.
    #[cfg(feature = "broken-variants")]
    #[must_use]
    pub fn broken_variant() -> Option<String> {
        std::env::var_os("BROKEN_VARIANT").map(|name| name.to_string_lossy().into_owned())
    }

    /// The same from any pairs.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        container: &Container,
    ) -> Result<Self, SettingsError> {
        let mut problems = Vec::new();
        let mut given = given_variables(variables, &mut problems);
        let mut rows = Vec::with_capacity(SETTINGS.len());
        for setting in SETTINGS {
            match read_setting(setting, &mut given, container) {
                Ok(value) => rows.push(value),
                Err(problem) => problems.push(problem),
            }
        }
        problems.sort_by(|one, other| one.0.cmp(&other.0));
        if problems.is_empty() { Ok(Self { rows }) } else { Err(SettingsError { problems }) }
    }

    /// (variable, setting) of everything that was set by a name of another program.
    pub fn foreign(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let names = self.rows.iter().filter_map(|value| Some((value.source.variable()?, value.setting.name)));
        names.filter(|(variable, setting)| !variable.starts_with(PREFIX) && !variable.starts_with(setting))
    }

    /// (variable, what is strange) of every secret that has something at its edges which is easily there by mistake: all of it counts.
    pub fn strange_secrets(&self) -> impl Iterator<Item = (&str, Layer, &'static str)> {
        let secrets = self.rows.iter().filter(|value| value.setting.secret);
        secrets.filter_map(|value| {
            Some((value.source.variable()?, value.setting.layer, strangeness(value.plain.as_deref()?)?))
        })
    }

    /// True when nobody has set it.
    #[must_use]
    pub fn is_default(&self, name: &str) -> bool {
        self.rows.iter().any(|value| value.setting.name == name && value.source == Source::Default)
    }

    /// One layer's own pairs as its struct: fields are named as the settings are, without the prefix.
    ///
    /// # Errors
    /// Where struct and table do not fit each other, which a test excludes.
    pub fn layer<T: DeserializeOwned>(&self, layer: Layer) -> Result<T, SettingsError> {
        let own = self.rows.iter().filter(|value| value.setting.layer == layer);
        let pairs = own.filter_map(|value| Some((value.setting.field(), value.plain.clone()?)));
        envy::from_iter(pairs)
            .map_err(|error| SettingsError::one(format!("the settings of the layer {}: {error}", layer.name())))
    }
}

impl Value {
    /// As people write it; a secret is hidden.
    #[must_use]
    pub fn display(&self) -> String {
        match &self.plain {
            None => String::new(),
            Some(_) if self.setting.secret => "(hidden)".to_owned(),
            Some(plain) => self.setting.unit.display(plain),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} ({:?})", self.setting.name, self.display(), self.source)
    }
}

impl Source {
    /// The variable that it came by.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        match self {
            Source::Default => None,
            Source::Variable(variable) | Source::File { variable, .. } => Some(variable),
        }
    }
}

impl SettingsError {
    pub(super) fn one(text: String) -> Self {
        Self { problems: vec![Problem(text)] }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&str> = self.problems.iter().map(|problem| problem.0.as_str()).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// The variables that set something, by name. Empty means not set. What has our prefix and is no setting is a problem.
fn given_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> HashMap<String, OsString> {
    let known: Vec<String> = SETTINGS.iter().flat_map(Setting::variables).collect();
    let mut given = HashMap::new();
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        if known.contains(&name) {
            if !value.is_empty() {
                given.insert(name, value);
            }
        } else if name.starts_with(PREFIX) && !is_service_link(&name, &value) {
            problems.push(unknown(&name, &known));
        }
    }
    given
}

/// True exactly for what Kubernetes injects into every pod for a Service whose name begins with `emptyserver`:
/// `EMPTYSERVER_PORT=tcp://…`, `EMPTYSERVER_SERVICE_HOST`, `EMPTYSERVER_SERVICE_PORT_RESP`, `EMPTYSERVER_PORT_6379_TCP_ADDR`,
/// and the same with more words after the prefix. A port that a person wrote (`EMPTYSERVER_PORT=6379`) is none of these.
pub(super) fn is_service_link(name: &str, value: impl AsRef<OsStr>) -> bool {
    let Some(rest) = name.strip_prefix("EMPTYSERVER") else { return false };
    let words: Vec<&str> = rest.split('_').skip(1).collect();
    let is_link = |value: &OsStr| value.to_string_lossy().contains("://");
    (0..words.len()).any(|start| match &words[start..] {
        ["SERVICE", "HOST"] | ["SERVICE", "PORT", ..] => true,
        ["PORT"] => is_link(value.as_ref()),
        ["PORT", number, "TCP" | "UDP" | "SCTP"] => is_port(number) && is_link(value.as_ref()),
        ["PORT", number, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"] => is_port(number),
        _ => false,
    })
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// The value is never shown: it may be a password behind a misspelt name.
fn unknown(name: &str, known: &[String]) -> Problem {
    let own = name.trim_start_matches(PREFIX);
    let is_about_address = own.split('_').any(|word| matches!(word, "PORT" | "HOST" | "BIND" | "ADDRESS" | "ADDR"));
    let nearest = known.iter().map(|candidate| (strsim::osa_distance(name, candidate), candidate)).min();
    let hint = match nearest {
        Some((distance, candidate)) if distance <= (own.len() / 3).min(3) => format!("did you mean {candidate}?"),
        _ if is_about_address => "the address and the port of the service are EMPTYSERVER_LISTEN".to_owned(),
        _ => "`emptyserver config` lists all settings".to_owned(),
    };
    Problem(format!("{name} is not a setting: {hint}"))
}

/// Takes the setting's variables out of `given` and makes a value of them or of the default.
fn read_setting(
    setting: &'static Setting,
    given: &mut HashMap<String, OsString>,
    container: &Container,
) -> Result<Value, Problem> {
    let mut sources: Vec<(String, OsString)> =
        setting.variables().filter_map(|name| given.remove_entry(&name)).collect();
    let (text, source) = match (sources.pop(), sources.pop()) {
        (None, _) => (setting.default.value(container), Source::Default),
        (Some((second, _)), Some((first, _))) => {
            return Err(Problem(format!("{first} and {second} set the same thing: keep one of them")));
        }
        (Some((variable, path)), None) if variable.ends_with("_FILE") && setting.unit != Unit::File => {
            let path = PathBuf::from(path);
            (Some(read_file(&variable, &path)?), Source::File { variable, path })
        }
        (Some((variable, text)), None) => {
            let text = text.into_string().map_err(|_| Problem(format!("{variable} is not UTF-8 text")))?;
            (Some(text), Source::Variable(variable))
        }
    };
    let mut plain = text.map(|text| normalize(setting, &text, &source)).transpose()?;
    if let (Some(opposite), Some(variable), Some(plain)) = (setting.opposite, source.variable(), plain.as_mut())
        && variable.strip_suffix("_FILE").unwrap_or(variable) == opposite
    {
        *plain = (plain == "false").to_string();
    }
    Ok(Value { setting, plain, source })
}

fn normalize(setting: &Setting, text: &str, source: &Source) -> Result<String, Problem> {
    setting.unit.normalize(text).map_err(|expectation| {
        let shown = if setting.secret { "(hidden)".to_owned() } else { format!("`{}`", text.escape_debug()) };
        let place = match source {
            Source::Default => setting.name.to_owned(),
            Source::Variable(variable) => variable.clone(),
            Source::File { variable, path } => format!("{variable} ({})", path.display()),
        };
        Problem(format!("{place} cannot be {shown}: it must be {expectation}"))
    })
}

/// What in a secret its owner mostly does not know of.
fn strangeness(secret: &str) -> Option<&'static str> {
    let is_blank = |letter: Option<char>| letter.is_some_and(char::is_whitespace);
    match secret {
        _ if secret.starts_with('\u{feff}') => Some("begins with a byte order mark"),
        _ if secret.ends_with(['\n', '\r']) => Some("ends in a line end"),
        _ if is_blank(secret.chars().next()) => Some("begins with a blank"),
        _ if is_blank(secret.chars().next_back()) => Some("ends in a blank"),
        _ if secret.contains(char::is_control) => Some("contains a control character"),
        _ => None,
    }
}

/// The file's text without one newline at its end, which editors and `echo` add.
fn read_file(variable: &str, path: &PathBuf) -> Result<String, Problem> {
    let problem = |what: &str| Problem(format!("{variable} names {}, {what}", path.display()));
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| problem(&format!("which cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(problem("which is too long for a setting"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| problem("which is not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    // A secret that is still to be written must not silently mean "no password".
    if text.is_empty() {
        Err(problem("which is empty: write the value into it or unset the variable"))
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Container {
        Container { allowed_cpus: vec![0, 1, 2], cores: 3, memory_bytes: 8 << 30 }
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Values, SettingsError> {
        Values::read(pairs.iter().map(|(name, value)| (name.into(), value.into())), &container())
    }

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        read(pairs).unwrap_err().problems.into_iter().map(|problem| problem.0).collect()
    }

    fn plain(values: &Values, name: &str) -> Option<String> {
        values.rows.iter().find(|value| value.setting.name == name).unwrap().plain.clone()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let values = read(&[("PATH", "/bin"), ("EMPTYSERVER_WORKERS", "")]).unwrap();
        assert_eq!(plain(&values, "EMPTYSERVER_LISTEN").as_deref(), Some("127.0.0.1:6379"));
        assert_eq!(plain(&values, "EMPTYSERVER_WORKERS").as_deref(), Some("3"));
        assert_eq!(plain(&values, "EMPTYSERVER_WAL_BYTES_MAX").as_deref(), Some("134217728"));
        assert_eq!(plain(&values, "EMPTYSERVER_PASSWORD"), None);
        assert!(values.rows.iter().all(|value| value.source == Source::Default));
    }

    #[test]
    fn a_variable_and_its_aliases_set_the_same_setting() {
        for name in ["EMPTYSERVER_MAX_CONNECTIONS", "EMPTYSERVER_MAXCLIENTS"] {
            let values = read(&[(name, "7")]).unwrap();
            assert_eq!(plain(&values, "EMPTYSERVER_MAX_CONNECTIONS").as_deref(), Some("7"));
        }
    }

    #[test]
    fn the_names_that_images_of_redis_know_are_understood_and_told() {
        let values =
            read(&[("REDIS_PASSWORD", "pw"), ("ALLOW_EMPTY_PASSWORD", "yes"), ("REDISCLI_AUTH", "x")]).unwrap();
        assert_eq!(plain(&values, "EMPTYSERVER_PASSWORD").as_deref(), Some("pw"));
        assert_eq!(plain(&values, "EMPTYSERVER_PROTECTED_MODE").as_deref(), Some("false"));
        let foreign: Vec<_> = values.foreign().collect();
        assert_eq!(
            foreign,
            [("REDIS_PASSWORD", "EMPTYSERVER_PASSWORD"), ("ALLOW_EMPTY_PASSWORD", "EMPTYSERVER_PROTECTED_MODE")]
        );
        let file = file("pw\n");
        let values =
            read(&[("REDIS_PASSWORD_FILE", file.path().to_str().unwrap()), ("ALLOW_EMPTY_PASSWORD", "no")]).unwrap();
        assert_eq!(plain(&values, "EMPTYSERVER_PASSWORD").as_deref(), Some("pw"));
        assert_eq!(plain(&values, "EMPTYSERVER_PROTECTED_MODE").as_deref(), Some("true"));
        assert_eq!(
            problems(&[("ALLOW_EMPTY_PASSWORD", "perhaps"), ("REDIS_PASSWORD", "a"), ("EMPTYSERVER_PASSWORD", "b")]),
            [
                "ALLOW_EMPTY_PASSWORD cannot be `perhaps`: it must be yes or no (also true/false, on/off, 1/0)",
                "EMPTYSERVER_PASSWORD and REDIS_PASSWORD set the same thing: keep one of them",
            ]
        );
    }

    #[test]
    fn a_secret_that_has_more_than_its_owner_sees_is_kept_and_told_of() {
        let strange = |name: &str, value: &str| {
            let values = read(&[(name, value)]).unwrap();
            let told: Vec<_> = values.strange_secrets().map(|(name, _, what)| (name.to_owned(), what)).collect();
            let setting = name.strip_suffix("_FILE").unwrap_or(name);
            (plain(&values, setting).unwrap(), told)
        };
        for (value, what) in [
            ("secret\n", "ends in a line end"),
            ("secret\r", "ends in a line end"),
            (" secret", "begins with a blank"),
            ("secret ", "ends in a blank"),
            ("secret\u{a0}", "ends in a blank"),
            ("\u{feff}secret", "begins with a byte order mark"),
            ("sec\tret", "contains a control character"),
        ] {
            for name in ["EMPTYSERVER_PASSWORD", "EMPTYSERVER_ADMIN_TOKEN", "REDISCLI_AUTH"] {
                assert_eq!(strange(name, value), (value.to_owned(), vec![(name.to_owned(), what)]));
            }
        }
        for (text, kept, what) in [
            ("secret\n", "secret", None),
            ("secret\r\n", "secret", None),
            ("secret\n\n", "secret\n", Some("ends in a line end")),
            ("\u{feff}secret\n", "\u{feff}secret", Some("begins with a byte order mark")),
            ("\0secret", "\0secret", Some("contains a control character")),
        ] {
            let file = file(text);
            let name = "EMPTYSERVER_PASSWORD_FILE";
            let (plain, told) = strange(name, file.path().to_str().unwrap());
            assert_eq!((plain.as_str(), told), (kept, what.map(|what| (name.to_owned(), what)).into_iter().collect()));
        }
        // What is no secret, and what is a usual one.
        let usual = read(&[("EMPTYSERVER_PASSWORD", "pass word"), ("EMPTYSERVER_DATA", "data ")]).unwrap();
        assert_eq!(usual.strange_secrets().count(), 0);
    }

    #[test]
    fn two_sources_for_one_setting_are_refused() {
        assert_eq!(
            problems(&[("EMPTYSERVER_MAXCLIENTS", "7"), ("EMPTYSERVER_MAX_CONNECTIONS", "7")]),
            ["EMPTYSERVER_MAX_CONNECTIONS and EMPTYSERVER_MAXCLIENTS set the same thing: keep one of them"]
        );
        assert_eq!(
            problems(&[("EMPTYSERVER_PASSWORD", "a"), ("EMPTYSERVER_PASSWORD_FILE", "/b")]),
            ["EMPTYSERVER_PASSWORD and EMPTYSERVER_PASSWORD_FILE set the same thing: keep one of them"]
        );
        assert!(read(&[("EMPTYSERVER_PASSWORD", "a"), ("EMPTYSERVER_PASSWORD_FILE", "")]).is_ok());
    }

    #[test]
    fn a_file_loses_one_newline_at_its_end() {
        for (text, value) in
            [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("s3cret\n\n", "s3cret\n"), (" s ", " s ")]
        {
            let file = file(text);
            let values = read(&[("EMPTYSERVER_PASSWORD_FILE", file.path().to_str().unwrap())]).unwrap();
            assert_eq!(plain(&values, "EMPTYSERVER_PASSWORD").as_deref(), Some(value));
        }
    }

    #[test]
    fn a_file_that_is_missing_empty_or_endless_is_refused() {
        let empty = file("\n");
        for (path, what) in
            [("/nonexistent", "cannot be read"), (empty.path().to_str().unwrap(), "empty"), ("/dev/zero", "too long")]
        {
            let problems = problems(&[("EMPTYSERVER_PASSWORD_FILE", path)]);
            assert!(
                problems[0].starts_with("EMPTYSERVER_PASSWORD_FILE names ") && problems[0].contains(what),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn unknown_names_are_refused_with_a_way_out() {
        assert_eq!(
            problems(&[
                ("EMPTYSERVER_LISTNE", "secret-1"),
                ("EMPTYSERVER_PORT", "6380"),
                ("EMPTYSERVER_COLOUR_OF_THE_SKY", "secret-3"),
                ("EMPTYSERVER_", "x"),
            ]),
            [
                "EMPTYSERVER_ is not a setting: `emptyserver config` lists all settings",
                "EMPTYSERVER_COLOUR_OF_THE_SKY is not a setting: `emptyserver config` lists all settings",
                "EMPTYSERVER_LISTNE is not a setting: did you mean EMPTYSERVER_LISTEN?",
                "EMPTYSERVER_PORT is not a setting: the address and the port of the service are EMPTYSERVER_LISTEN",
            ]
        );
    }

    #[test]
    fn what_kubernetes_injects_is_ignored() {
        let injected = [
            ("EMPTYSERVER_PORT", "tcp://10.0.0.1:6379"),
            ("EMPTYSERVER_SERVICE_HOST", "10.0.0.1"),
            ("EMPTYSERVER_SERVICE_PORT", "6379"),
            ("EMPTYSERVER_SERVICE_PORT_RESP", "6379"),
            ("EMPTYSERVER_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
            ("EMPTYSERVER_PORT_6379_TCP_ADDR", "10.0.0.1"),
            ("EMPTYSERVER_PORT_6379_TCP_PORT", "6379"),
            ("EMPTYSERVER_PORT_6379_TCP_PROTO", "tcp"),
            ("EMPTYSERVER_HEADLESS_SERVICE_HOST", "10.0.0.1"),
            ("EMPTYSERVER_HEADLESS_PORT_9180_TCP", "tcp://10.0.0.1:9180"),
            ("EMPTYSERVER_HEADLESS_PORT", "tcp://10.0.0.1:9180"),
        ];
        assert!(read(&injected).unwrap().rows.iter().all(|value| value.source == Source::Default));
    }

    #[test]
    fn a_wrong_value_is_named_and_a_secret_is_not_shown() {
        assert_eq!(
            problems(&[("EMPTYSERVER_WORKERS", "many"), ("EMPTYSERVER_WAL_BYTES_MAX", "64M")]),
            [
                "EMPTYSERVER_WAL_BYTES_MAX cannot be `64M`: it must be a number of bytes, plain or with Ki, Mi or Gi, from 1Mi to 64Gi",
                "EMPTYSERVER_WORKERS cannot be `many`: it must be a whole number from 0 to 256",
            ]
        );
        let problems = problems(&[("EMPTYSERVER_URL", "http://:hunter2@host")]);
        assert!(problems[0].starts_with("EMPTYSERVER_URL cannot be (hidden): it must be redis://"), "{problems:?}");
    }

    #[test]
    fn secrets_are_hidden_from_debug_output() {
        let values = read(&[("EMPTYSERVER_PASSWORD", "hunter2")]).unwrap();
        assert!(!format!("{values:?}").contains("hunter2"));
    }

    #[cfg(unix)]
    #[test]
    fn values_that_are_not_text_are_refused() {
        use std::os::unix::ffi::OsStringExt;
        let pair = (OsString::from("EMPTYSERVER_DATA"), OsString::from_vec(vec![0xff]));
        let error = Values::read([pair], &container()).unwrap_err();
        assert_eq!(error.to_string(), "EMPTYSERVER_DATA is not UTF-8 text");
    }
}
