//! Fields as they are drawn in a form, and values as they are shown.

use std::collections::{BTreeSet, HashMap};

use crate::change::Change;
use crate::fields::{Field, Input, Kind};
use crate::store::Record;
use crate::texts::Language;
use crate::web::{App, Choice, FormField, Linked, Problem};

/// Records that a choice offers.
const CHOICES_MAX: usize = 500;

/// A field without a value and without records to choose from.
pub(crate) fn plain(language: Language, field: &Field) -> FormField {
    let input = match field.input {
        Input::Line | Input::Search(_) => "line",
        Input::Text => "text",
        Input::Date => "date",
        Input::Time => "time",
        Input::Number(..) => "number",
        Input::Password => "password",
        Input::Days => "days",
        Input::Choice(_) | Input::Of(..) => "choice",
    };
    let hint = match field.input {
        Input::Search(_) => language.text("hint_search"),
        Input::Password => language.text("hint_password"),
        _ => "",
    };
    FormField {
        name: field.name.to_owned(),
        label: language.label(field.label),
        input,
        value: String::new(),
        options: Vec::new(),
        is_required: field.is_required,
        hint: hint.to_owned(),
        wrong: String::new(),
    }
}

/// The fields with what was entered before, what they offer, and what is wrong with them (after a try).
pub(crate) async fn drawn(
    app: &App,
    language: Language,
    fields: impl Iterator<Item = &Field>,
    values: &HashMap<String, String>,
    tried: Option<&Change>,
) -> Result<Vec<FormField>, Problem> {
    let mut all = Vec::new();
    for field in fields {
        let mut one = plain(language, field);
        let value = values.get(field.name).map_or("", String::as_str);
        if one.input != "password" {
            value.clone_into(&mut one.value);
        }
        let wrong = tried.and_then(|change| change.wrong.get(field.name));
        one.wrong = wrong.map_or("", |wrong| language.text(wrong)).to_owned();
        let candidates = tried.and_then(|change| change.candidates.get(field.name));
        match (&field.input, candidates) {
            (Input::Choice(choices), _) => {
                one.options = choices.iter().map(|choice| option(choice, language.text(choice), value)).collect();
            }
            (Input::Days, _) => {
                let day = |number: u8| {
                    let number = number.to_string();
                    let is_chosen = value.split(' ').any(|one| one == number);
                    Choice { text: language.text(&format!("day_{number}")).to_owned(), value: number, is_chosen }
                };
                one.options = (1..=7).map(day).collect();
            }
            (Input::Of(kind, set), _) => {
                let mut ids = app.store.range(&format!("{kind}:{set}"), 0, CHOICES_MAX).await?;
                if !value.is_empty() && !ids.iter().any(|id| id == value) {
                    ids.push(value.to_owned());
                }
                one.options = options(app, language, kind, &ids, value).await?;
            }
            (Input::Search(kind), Some(ids)) => {
                one.input = "choice";
                one.options = options(app, language, kind, ids, value).await?;
            }
            (Input::Search(kind), None) if !value.is_empty() => {
                let key = format!("{kind}:{value}");
                let titles = app.store.titles(language, BTreeSet::from([key.clone()])).await?;
                one.hint = titles.get(&key).filter(|title| **title != key).cloned().unwrap_or(one.hint);
            }
            _ => {}
        }
        all.push(one);
    }
    Ok(all)
}

fn option(value: &str, text: &str, chosen: &str) -> Choice {
    Choice { value: value.to_owned(), text: text.to_owned(), is_chosen: value == chosen }
}

/// In the order of their names.
async fn options(
    app: &App,
    language: Language,
    kind: &str,
    ids: &[String],
    chosen: &str,
) -> Result<Vec<Choice>, Problem> {
    let key = |id: &String| format!("{kind}:{id}");
    let titles = app.store.titles(language, ids.iter().map(key).collect()).await?;
    let title = |id: &String| titles.get(&key(id)).cloned().unwrap_or_default();
    let mut all: Vec<Choice> = ids.iter().map(|id| option(id, &title(id), chosen)).collect();
    all.sort_by(|left, right| left.text.cmp(&right.text));
    Ok(all)
}

/// Names of what these records refer to.
pub(crate) async fn titles_of(
    app: &App,
    language: Language,
    kind: &Kind,
    records: &[Record],
) -> Result<HashMap<String, String>, Problem> {
    let references = kind.fields.iter().filter_map(|field| Some((field, field.refers_to()?)));
    let keys = references.flat_map(|(field, other)| {
        let ids = records.iter().map(|record| record.value(field.name)).filter(|id| !id.is_empty());
        ids.map(move |id| format!("{other}:{id}"))
    });
    app.store.titles(language, keys.collect()).await
}

/// A value for people. `titles`: of `titles_of`.
pub(crate) fn shown(language: Language, field: &Field, value: &str, titles: &HashMap<String, String>) -> Linked {
    let plain = |text: String| Linked { text, address: String::new() };
    match field.input {
        Input::Choice(_) if !value.is_empty() => plain(language.text(value).to_owned()),
        Input::Days => {
            let names = value.split_whitespace().map(|day| language.text(&format!("day_{day}")));
            plain(names.collect::<Vec<_>>().join(" "))
        }
        Input::Of(kind, _) | Input::Search(kind) if !value.is_empty() => {
            let title = titles.get(&format!("{kind}:{value}")).cloned().unwrap_or_default();
            let path = crate::kinds::named(kind).map_or("", |kind| kind.path);
            Linked { text: title, address: format!("/{path}/{value}") }
        }
        Input::Password => plain(String::new()),
        _ => plain(value.to_owned()),
    }
}
