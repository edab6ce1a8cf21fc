//! What somebody entered in a form of fields, examined, and as the call of a function of rules/*.lua.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::fields::{Field, Input, Kind, is_number};
use crate::store::{Record, words};
use crate::texts::Language;
use crate::web::{App, Entered, Problem, Visit};
use crate::{bookings, clock, doctors, kinds, login, prescriptions, sessions};

pub(crate) struct Change {
    kind: &'static Kind,
    before: Option<Record>,
    /// What is written.
    fields: HashMap<String, String>,
    entry: String,
    version: String,
    /// What the references are called in both languages: records are found by it.
    titles: Vec<HashMap<String, String>>,
    /// What is wrong, by the names of fields; empty: nothing.
    pub(crate) wrong: BTreeMap<String, &'static str>,
    /// Of a field that several records answer to: their numbers.
    pub(crate) candidates: HashMap<String, Vec<String>>,
}

/// Records that are offered where several have the words.
const CANDIDATES_MAX: usize = 20;

impl Change {
    /// Looks at what was entered for `fields`. `before`: the record that changes; none: a new one.
    pub(crate) async fn examined(
        app: &App,
        kind: &'static Kind,
        fields: impl Iterator<Item = &'static Field>,
        before: Option<Record>,
        entered: &Entered,
    ) -> Result<Change, Problem> {
        let given = |name: &str| entered.get(name).cloned().unwrap_or_default();
        let mut change = Change {
            kind,
            before,
            fields: HashMap::new(),
            entry: entry_of(entered)?,
            version: given("version"),
            titles: Vec::new(),
            wrong: BTreeMap::new(),
            candidates: HashMap::new(),
        };
        for field in fields {
            match field.check(&given(field.name)) {
                Ok(value) => drop(change.fields.insert(field.name.to_owned(), value)),
                Err(wrong) => drop(change.wrong.insert(field.name.to_owned(), wrong)),
            }
            change.find_reference(app, field).await?;
        }
        if change.wrong.is_empty() {
            change.look_further(app).await?;
        }
        if kind.name == "account" && change.wrong.is_empty() {
            change.keep_password().await;
        }
        for language in [Language::English, Language::Chinese] {
            change.titles.push(app.store.titles(language, change.references()).await?);
        }
        Ok(change)
    }

    /// Of the demonstration: nothing to examine. `titles`: what the records that it names are called.
    pub(crate) fn made_up(
        kind: &'static Kind,
        before: Option<Record>,
        fields: HashMap<String, String>,
        titles: &HashMap<String, String>,
        entry: String,
    ) -> Change {
        let version = if before.is_some() { "1".to_owned() } else { String::new() };
        let mut change = Change {
            kind,
            before,
            fields,
            entry,
            version,
            titles: Vec::new(),
            wrong: BTreeMap::new(),
            candidates: HashMap::new(),
        };
        let named = change.references().into_iter().filter_map(|key| Some((key.clone(), titles.get(&key)?.clone())));
        change.titles.push(named.collect());
        change
    }

    /// What a field has after the change.
    pub(crate) fn value(&self, name: &str) -> &str {
        let before = || self.before.as_ref().map_or("", |before| before.value(name));
        self.fields.get(name).map_or_else(before, String::as_str)
    }

    /// Words in place of a number become the number, and a number must be one of a record that the field may name.
    async fn find_reference(&mut self, app: &App, field: &Field) -> Result<(), Problem> {
        let value = self.fields.get(field.name).cloned().unwrap_or_default();
        if value.is_empty() {
            return Ok(());
        }
        let wrong = match field.input {
            Input::Of(kind, set) => {
                // What is no longer offered stays where it is.
                let is_kept = self.before.as_ref().is_some_and(|before| before.value(field.name) == value);
                let is_there = is_kept || app.store.is_member(&format!("{kind}:{set}"), &value).await?;
                (!is_there).then_some("wrong_choice")
            }
            Input::Search(kind) if is_number(&value) => {
                let is_there = app.store.is_member(&format!("{kind}:all"), &value).await?;
                (!is_there).then_some("wrong_nobody")
            }
            Input::Search(name) => {
                let kind = kinds::named(name).ok_or(Problem::NotFound)?;
                let mut found = app.store.search(kind, &value).await?;
                found.truncate(CANDIDATES_MAX);
                match found.len() {
                    0 => Some("wrong_nobody"),
                    1 => {
                        self.fields.extend(found.pop().map(|id| (field.name.to_owned(), id)));
                        None
                    }
                    _ => {
                        self.candidates.insert(field.name.to_owned(), found);
                        Some("wrong_several")
                    }
                }
            }
            _ => None,
        };
        self.wrong.extend(wrong.map(|wrong| (field.name.to_owned(), wrong)));
        Ok(())
    }

    /// What no field can tell by itself.
    async fn look_further(&mut self, app: &App) -> Result<(), Problem> {
        let wrong = match self.kind.name {
            "prescription" => prescriptions::wrong_line(|name| !self.value(name).is_empty()),
            "booking" if self.before.is_none() => {
                let doctor = app.store.record(&doctors::DOCTOR, self.value("doctor")).await?.unwrap_or_default();
                bookings::wrong_time(&doctor, self.value("date"), self.value("time"))
            }
            "doctor" if self.value("from") >= self.value("to") => Some(("to".to_owned(), "wrong_hours")),
            "account" if self.before.is_none() && self.value("password").is_empty() => {
                Some(("password".to_owned(), "wrong_empty"))
            }
            _ => None,
        };
        self.wrong.extend(wrong);
        Ok(())
    }

    /// The hash in place of the password. A new stamp ends the sessions that began with the old one.
    async fn keep_password(&mut self) {
        if let Some(login) = self.fields.get_mut("login") {
            *login = login.to_lowercase();
        }
        if let Some(password) = self.fields.remove("password").filter(|password| !password.is_empty()) {
            self.fields.insert("_password".to_owned(), login::hash(&password).await);
            self.fields.insert("_stamp".to_owned(), sessions::random());
        }
    }

    /// The keys of the records that this one names.
    fn references(&self) -> BTreeSet<String> {
        let named = |field: &Field| Some((field.refers_to()?, self.value(field.name)));
        let all = self.kind.fields.iter().filter_map(named).filter(|(_, id)| is_number(id));
        all.map(|(kind, id)| format!("{kind}:{id}")).collect()
    }

    fn words(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for field in self.kind.fields.iter().filter(|field| field.is_searched) {
            let value = self.value(field.name);
            match field.refers_to() {
                None => all.extend(words(value)),
                Some(kind) => {
                    let key = format!("{kind}:{value}");
                    all.extend(self.titles.iter().filter_map(|titles| titles.get(&key)).flat_map(|title| words(title)));
                }
            }
        }
        all
    }

    /// The argument of the function.
    pub(crate) fn call(&self, login: &str) -> Value {
        let part = |name: &str| if name.is_empty() { String::new() } else { self.value(name).to_lowercase() };
        let mut call = json!({
            "kind": self.kind.name,
            "version": self.version,
            "fields": self.fields,
            "words": self.words(),
            "refers": self.references(),
            "group": part(self.kind.grouped_by),
            "unique": part(self.kind.unique),
            "entry": format!("{login}:{}", self.entry),
            "who": login,
            "now": clock::now_ms(),
        });
        if let Some(before) = &self.before {
            call["id"] = json!(before.id);
        }
        call
    }
}

/// The number of a form, which is made once. Without it the form is not ours, or an old page's.
fn entry_of(entered: &Entered) -> Result<String, Problem> {
    let entry = entered.get("entry").filter(|entry| (1..=64).contains(&entry.len()));
    entry.cloned().ok_or(Problem::Forged)
}

/// The call that removes a record.
pub(crate) fn removal(kind: &Kind, id: &str, entered: &Entered, visit: &Visit) -> Result<Value, Problem> {
    let entry = entry_of(entered)?;
    let version = entered.get("version").ok_or(Problem::Forged)?;
    Ok(
        json!({ "kind": kind.name, "id": id, "version": version, "fields": {}, "words": [], "refers": [], "group": "", "unique": "",
        "entry": format!("{}:{entry}", visit.login()), "who": visit.login(), "now": clock::now_ms() }),
    )
}
