//! The pages that all kinds of records have: list, search, one record, a form for a new one or a change, and removal.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::change::{Change, removal};
use crate::fields::{Action, Field, Input, Kind, is_number};
use crate::store::{Outcome, Record};
use crate::texts::Language;
use crate::web::{
    ActionForm, App, Entered, FormPage, Linked, ListPage, Page, Problem, RecordPage, Visit, encoded, show,
};
use crate::{clock, forms, kinds, sessions};

const PAGE_ROWS: usize = 25;
const RELATED_MAX: usize = 30;

#[derive(Deserialize)]
pub(crate) struct Asked {
    /// Searched words.
    q: Option<String>,
    /// One group of the list.
    r#in: Option<String>,
    page: Option<usize>,
}

fn kind_at(path: &str) -> Result<&'static Kind, Problem> {
    kinds::at(path).ok_or(Problem::NotFound)
}

/// GET /{module}
pub(crate) async fn list(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Path(path): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let kind = kind_at(&path)?;
    let searched = asked.q.unwrap_or_default().trim().to_owned();
    let group = asked.r#in.unwrap_or_default();
    let number = asked.page.unwrap_or(1).clamp(1, 1_000_000);
    let start = (number - 1) * PAGE_ROWS;
    let (ids, total) = if !searched.is_empty() {
        let found = app.store.search(kind, &searched).await?;
        (found.iter().skip(start).take(PAGE_ROWS).cloned().collect(), found.len())
    } else if !group.is_empty() {
        app.store.newest(&format!("{}:in:{group}", kind.name), start, PAGE_ROWS).await?
    } else {
        app.store.newest(&format!("{}:all", kind.name), start, PAGE_ROWS).await?
    };
    let records = app.store.records(kind, &ids).await?;
    let query = format!("q={}&in={}", encoded(&searched), encoded(&group));
    let other = |is_there: bool, number: usize| {
        if is_there { format!("/{path}?{query}&page={number}") } else { String::new() }
    };
    let page = Page::new(&visit, kind.path, visit.language.text(kind.path));
    show(&ListPage {
        path: kind.path,
        heads: heads(kind, visit.language),
        rows: rows(&app, visit.language, kind, &records).await?,
        groups: groups(kind, visit.language),
        is_by_date: kind.grouped_by == "date",
        previous: other(number > 1, number - 1),
        next: other(start + PAGE_ROWS < total, number + 1),
        may_create: !kind.create.is_empty() && visit.may_write(kind.path),
        searched,
        group,
        total,
        page,
    })
}

fn listed(kind: &Kind) -> impl Iterator<Item = &'static Field> {
    kind.fields.iter().filter(|field| field.is_listed)
}

fn heads(kind: &Kind, language: Language) -> Vec<String> {
    let number = language.text("number").to_owned();
    std::iter::once(number).chain(listed(kind).map(|field| language.label(field.label))).collect()
}

fn groups(kind: &Kind, language: Language) -> Vec<Linked> {
    let group = |name: &&str| Linked { text: language.text(name).to_owned(), address: (*name).to_owned() };
    kind.groups.iter().map(group).collect()
}

async fn rows(app: &App, language: Language, kind: &Kind, records: &[Record]) -> Result<Vec<Vec<Linked>>, Problem> {
    let titles = forms::titles_of(app, language, kind, records).await?;
    let row = |record: &Record| {
        let number = Linked { text: record.id.clone(), address: format!("/{}/{}", kind.path, record.id) };
        let cells = listed(kind).map(|field| forms::shown(language, field, record.value(field.name), &titles));
        // A cell that leads elsewhere would be one link beside the other: in lists the first one alone leads.
        std::iter::once(number).chain(cells.map(|cell| Linked { address: String::new(), ..cell })).collect()
    };
    Ok(records.iter().map(row).collect())
}

/// GET /{module}/{id}
pub(crate) async fn one(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Path((path, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    record_page(&app, &visit, kind_at(&path)?, &id, None, "").await
}

/// The page of a record; `tried`: an action whose form was not right, and what was entered in it.
async fn record_page(
    app: &App,
    visit: &Visit,
    kind: &'static Kind,
    id: &str,
    tried: Option<(&'static Action, &Entered, &Change)>,
    refusal: &str,
) -> Result<Response, Problem> {
    let record = app.store.record(kind, id).await?.ok_or(Problem::NotFound)?;
    let language = visit.language;
    let titles = forms::titles_of(app, language, kind, std::slice::from_ref(&record)).await?;
    let value = |field: &Field| forms::shown(language, field, record.value(field.name), &titles);
    let may_write = visit.may_write(kind.path);
    let mut actions = Vec::new();
    for action in kind.actions.iter().filter(|action| may_write && is_offered(action, &record)) {
        let entered = tried.filter(|(one, ..)| one.name == action.name);
        let values = entered.map_or_else(|| defaults(action.fields), |(_, entered, _)| entered.clone());
        let change = entered.map(|(.., change)| change);
        actions.push(ActionForm {
            name: action.name,
            fields: forms::drawn(app, language, action.fields.iter(), &values, change).await?,
            entry: sessions::random(),
        });
    }
    let own = app.store.titles(language, [format!("{}:{id}", kind.name)].into()).await?;
    let title = own.into_values().next().unwrap_or_default();
    let links = kind.links.iter().filter(|(address, _)| may_follow(visit, address));
    show(&RecordPage {
        page: Page::new(visit, kind.path, &title),
        path: kind.path,
        version: record.value("_version").to_owned(),
        rows: kind.fields.iter().map(|field| (language.label(field.label), value(field))).filter(is_told).collect(),
        links: links.map(|(address, text)| link(language, address, text, id)).collect(),
        actions,
        related: related(app, visit, kind, id).await?,
        may_change: may_write && !kind.change.is_empty(),
        may_remove: may_write && !kind.remove.is_empty(),
        entry: sessions::random(),
        changed: format!("{} · {}", clock::shown(record.value("_changed")), record.value("_by")),
        refusal: if refusal.is_empty() { "" } else { language.text(refusal) },
        id: record.id,
    })
}

fn is_told((_, value): &(String, Linked)) -> bool {
    !value.text.is_empty()
}

fn is_offered(action: &Action, record: &Record) -> bool {
    action.state.is_empty() || record.value("state") == action.state
}

fn may_follow(visit: &Visit, address: &str) -> bool {
    let module = address.split('/').nth(1).unwrap_or_default();
    if address.contains("/new") { visit.may_write(module) } else { visit.may_read(module) }
}

fn link(language: Language, address: &str, text: &str, id: &str) -> Linked {
    Linked { text: language.text(text).to_owned(), address: address.replace("{id}", id) }
}

/// The newest of what refers to a record, as far as this visitor may see it.
async fn related(app: &App, visit: &Visit, kind: &Kind, id: &str) -> Result<Vec<Linked>, Problem> {
    let (keys, _) = app.store.newest(&format!("of:{}:{id}", kind.name), 0, RELATED_MAX).await?;
    let titles = app.store.titles(visit.language, keys.iter().cloned().collect()).await?;
    let linked = keys.iter().filter_map(|key| {
        let (name, id) = key.split_once(':')?;
        let other = kinds::named(name).filter(|other| visit.may_read(other.path))?;
        let title = titles.get(key).cloned().unwrap_or_default();
        let text = if other.title.is_empty() { title } else { format!("{} {title}", visit.language.text(name)) };
        Some(Linked { text, address: format!("/{}/{id}", other.path) })
    });
    Ok(linked.collect())
}

/// What a form begins with: today.
fn defaults(fields: &[Field]) -> HashMap<String, String> {
    let dates = fields.iter().filter(|field| matches!(field.input, Input::Date) && field.name != "born");
    dates.map(|field| (field.name.to_owned(), clock::today())).collect()
}

/// The fields that a form has: for a new record, or a change.
fn entered_fields(kind: &Kind, is_new: bool) -> impl Iterator<Item = &'static Field> {
    kind.fields.iter().filter(move |field| !field.is_shown_only && (is_new || !field.is_fixed))
}

/// GET /{module}/new?patient=17: a field may be filled in by the address.
pub(crate) async fn new_form(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Path(path): Path<String>,
    Query(given): Query<HashMap<String, String>>,
) -> Result<Response, Problem> {
    let kind = kind_at(&path).and_then(|kind| allowed(kind, kind.create))?;
    let mut values = defaults(kind.fields);
    values.extend(given);
    form(&app, &visit, kind, None, &values, None, "").await
}

/// GET /{module}/{id}/change
pub(crate) async fn change_form(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Path((path, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let kind = kind_at(&path).and_then(|kind| allowed(kind, kind.change))?;
    let record = app.store.record(kind, &id).await?.ok_or(Problem::NotFound)?;
    let values = record.fields.clone();
    form(&app, &visit, kind, Some(&record), &values, None, "").await
}

/// A kind without this function has no such page.
fn allowed(kind: &'static Kind, function: &str) -> Result<&'static Kind, Problem> {
    if function.is_empty() { Err(Problem::NotFound) } else { Ok(kind) }
}

async fn form(
    app: &App,
    visit: &Visit,
    kind: &'static Kind,
    record: Option<&Record>,
    values: &HashMap<String, String>,
    tried: Option<&Change>,
    refusal: &str,
) -> Result<Response, Problem> {
    let language = visit.language;
    let (title, action) = match record {
        None => (language.text("new"), format!("/{}/new", kind.path)),
        Some(record) => (language.text("change"), format!("/{}/{}/change", kind.path, record.id)),
    };
    // After a try the form is the same entry still: it was not saved.
    let entry = values.get("entry").filter(|_| tried.is_some()).cloned().unwrap_or_else(sessions::random);
    let version = values.get(if tried.is_some() { "version" } else { "_version" }).cloned().unwrap_or_default();
    show(&FormPage {
        page: Page::new(visit, kind.path, &format!("{}: {title}", language.text(kind.path))),
        action,
        fields: forms::drawn(app, language, entered_fields(kind, record.is_none()), values, tried).await?,
        entry,
        version: if record.is_some() { version } else { String::new() },
        refusal: if refusal.is_empty() { "" } else { language.text(refusal) },
    })
}

/// POST /{module}/new
pub(crate) async fn create(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Extension(entered): Extension<Entered>,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    let kind = kind_at(&path).and_then(|kind| allowed(kind, kind.create))?;
    save(&app, &visit, kind, None, kind.create, &entered).await
}

/// POST /{module}/{id}/change
pub(crate) async fn change(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Extension(entered): Extension<Entered>,
    Path((path, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let kind = kind_at(&path).and_then(|kind| allowed(kind, kind.change))?;
    let record = app.store.record(kind, &id).await?.ok_or(Problem::NotFound)?;
    save(&app, &visit, kind, Some(record), kind.change, &entered).await
}

async fn save(
    app: &App,
    visit: &Visit,
    kind: &'static Kind,
    record: Option<Record>,
    function: &str,
    entered: &Entered,
) -> Result<Response, Problem> {
    let fields = entered_fields(kind, record.is_none());
    let change = Change::examined(app, kind, fields, record.clone(), entered).await?;
    let refusal = if change.wrong.is_empty() {
        match app.store.call(function, &change.call(visit.login())).await? {
            Outcome::Done(id) => return Ok(Redirect::to(&format!("/{}/{id}", kind.path)).into_response()),
            Outcome::Refused(why) => why,
        }
    } else {
        "refused_wrong".to_owned()
    };
    form(app, visit, kind, record.as_ref(), entered, Some(&change), &refusal).await
}

/// POST /{module}/{id}/remove
pub(crate) async fn remove(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Extension(entered): Extension<Entered>,
    Path((path, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let kind = kind_at(&path).and_then(|kind| allowed(kind, kind.remove))?;
    if !is_number(&id) {
        return Err(Problem::NotFound);
    }
    match app.store.call(kind.remove, &removal(kind, &id, &entered, &visit)?).await? {
        Outcome::Done(_) => Ok(Redirect::to(&format!("/{}", kind.path)).into_response()),
        Outcome::Refused(why) => record_page(&app, &visit, kind, &id, None, &why).await,
    }
}

/// POST /{module}/{id}/do/{action}
pub(crate) async fn act(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Extension(entered): Extension<Entered>,
    Path((path, id, name)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let kind = kind_at(&path)?;
    let action = kind.actions.iter().find(|action| action.name == name).ok_or(Problem::NotFound)?;
    let record = app.store.record(kind, &id).await?.ok_or(Problem::NotFound)?;
    let change = Change::examined(&app, kind, action.fields.iter(), Some(record), &entered).await?;
    let refusal = if change.wrong.is_empty() {
        match app.store.call(action.function, &change.call(visit.login())).await? {
            Outcome::Done(_) => return Ok(Redirect::to(&format!("/{}/{id}", kind.path)).into_response()),
            Outcome::Refused(why) => why,
        }
    } else {
        "refused_wrong".to_owned()
    };
    record_page(&app, &visit, kind, &id, Some((action, &entered, &change)), &refusal).await
}
