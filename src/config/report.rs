//! The table of settings for people (text, Markdown) and programs (JSON). Secrets are hidden in each.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::table::{SETTINGS, Setting};
use super::units::Unit;
use super::values::{Source, Value, Values};

/// Present values, where they come from and what they mean, in columns.
#[must_use]
pub fn text(values: &Values) -> String {
    let rows: Vec<[String; 3]> = values.rows.iter().map(columns).collect();
    let widths: [usize; 3] = std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let mut out = String::new();
    for ([name, value, source], row) in rows.iter().zip(&values.rows) {
        let meaning = row.setting.meaning.replace('`', "");
        writeln!(out, "{name:0$}  {value:1$}  {source:2$}  {meaning}", widths[0], widths[1], widths[2])
            .expect("a String takes every write");
    }
    out
}

/// The table for docs/configuration.md: the same on every machine.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from("| setting | default | meaning |\n|---|---|---|\n");
    for setting in SETTINGS {
        writeln!(out, "| `{}` | {} | {} |", setting.name, default_words(setting), meaning_words(setting))
            .expect("a String takes every write");
    }
    out
}

/// The settings one by one, for docs/configuration.md: the same on every machine.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    for setting in SETTINGS {
        let Setting { name, meaning, unit, .. } = setting;
        let default = match &setting.default {
            super::DefaultValue::Fixed(text) => format!("`{text}`"),
            other => other.describe().unwrap_or("not set").to_owned(),
        };
        let aliases: Vec<String> = setting.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let facts = [
            ("Value", Some(unit.expectation())),
            ("Default", Some(default)),
            ("In the image", setting.image.map(|image| format!("`{image}`"))),
            ("Other names", (!aliases.is_empty()).then(|| aliases.join(", "))),
            ("The opposite of", setting.opposite.map(|name| format!("`{name}`"))),
            ("From a file", (*unit != Unit::File).then(|| format!("`{name}_FILE`"))),
            ("Secret", setting.secret.then(|| "yes: never shown and never logged".to_owned())),
            (
                "While the service runs",
                setting.changeable.then(|| "CONFIG SET changes it until the next start".to_owned()),
            ),
        ];
        let upper: String =
            meaning.chars().take(1).flat_map(char::to_uppercase).chain(meaning.chars().skip(1)).collect();
        write!(out, "\n### `{name}`\n\n{upper}.\n\n").expect("a String takes every write");
        for (what, fact) in facts {
            if let Some(fact) = fact {
                writeln!(out, "- {what}: {fact}").expect("a String takes every write");
            }
        }
    }
    out
}

/// Everything about every setting, one object each.
#[must_use]
pub fn json(values: &Values) -> String {
    let rows: Vec<Json> = values.rows.iter().map(object).collect();
    format!("{:#}\n", Json::Array(rows))
}

fn columns(value: &Value) -> [String; 3] {
    let source = match &value.source {
        Source::Default => "default".to_owned(),
        Source::Variable(variable) if variable == value.setting.name => "environment".to_owned(),
        Source::Variable(variable) => variable.clone(),
        Source::File { path, .. } => path.display().to_string(),
    };
    let shown = value.display();
    [value.setting.name.to_owned(), if shown.is_empty() { "-".to_owned() } else { shown }, source]
}

fn default_words(setting: &Setting) -> String {
    let default = match &setting.default {
        super::DefaultValue::Fixed(text) => format!("`{text}`"),
        other => other.describe().unwrap_or("none").to_owned(),
    };
    setting.image.map_or_else(|| default.clone(), |image| format!("{default} (image: `{image}`)"))
}

fn meaning_words(setting: &Setting) -> String {
    let mut words = setting.meaning.to_owned();
    for alias in setting.aliases {
        words += &format!("; also `{alias}`");
    }
    if let Some(name) = setting.opposite {
        words += &format!("; the opposite of `{name}`");
    }
    if setting.changeable {
        words += "; CONFIG SET changes it";
    }
    words
}

fn object(value: &Value) -> Json {
    let setting = value.setting;
    let (source, path) = match &value.source {
        Source::Default => ("default", None),
        Source::Variable(variable) => (variable.as_str(), None),
        Source::File { variable, path } => (variable.as_str(), Some(path.display().to_string())),
    };
    let shown = value.display();
    json!({
        "name": setting.name,
        "aliases": setting.aliases,
        "opposite": setting.opposite,
        "layer": setting.layer.name(),
        "unit": setting.unit.name(),
        "default": setting.default.describe(),
        "image": setting.image,
        "meaning": setting.meaning,
        "secret": setting.secret,
        "changeable": setting.changeable,
        "value": if shown.is_empty() { Json::Null } else { Json::String(shown) },
        "source": source,
        "path": path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::container::Container;

    fn values() -> Values {
        let container = Container { allowed_cpus: vec![0], cores: 1, memory_bytes: 1 << 30 };
        let pairs = [("EMPTYSERVER_PASSWORD", "hunter2"), ("EMPTYSERVER_MAXCLIENTS", "5")];
        Values::read(pairs.map(|(name, value)| (name.into(), value.into())), &container).unwrap()
    }

    #[test]
    fn every_form_names_every_setting_and_no_form_shows_a_secret() {
        for report in [text(&values()), json(&values()), markdown()] {
            for setting in SETTINGS {
                assert!(report.contains(setting.name), "{}", setting.name);
            }
            assert!(!report.contains("hunter2"));
        }
    }

    #[test]
    fn text_has_one_line_for_a_setting() {
        let text = text(&values());
        assert_eq!(text.lines().count(), SETTINGS.len());
        let words = |name: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        assert_eq!(words("EMPTYSERVER_PASSWORD")[1..3], ["(hidden)", "environment"]);
        assert_eq!(words("EMPTYSERVER_MAX_CONNECTIONS")[1..3], ["5", "EMPTYSERVER_MAXCLIENTS"]);
        assert_eq!(words("EMPTYSERVER_VALUE_BYTES_MAX")[1..3], ["128Mi", "default"]);
        assert_eq!(words("EMPTYSERVER_URL")[1..3], ["-", "default"]);
    }

    #[test]
    fn json_is_json() {
        let json: Json = serde_json::from_str(&json(&values())).unwrap();
        assert_eq!(json[0]["name"], "EMPTYSERVER_LISTEN");
        assert_eq!(json[0]["value"], "127.0.0.1:6379");
        assert_eq!(json.as_array().unwrap().len(), SETTINGS.len());
    }
}
