//! What all pages share: the program's state, who visits, the frame of a page, the pages themselves as data, and what goes wrong.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use redis::RedisError;

use crate::rights::{RIGHTS, Right, Role};
use crate::store::Store;
use crate::texts::Language;

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    /// Whoever knows it makes the first account.
    pub(crate) set_up_code: Arc<str>,
    pub(crate) is_behind_tls: bool,
    pub(crate) session_seconds: i64,
}

#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) login: String,
    pub(crate) role: Role,
}

/// One request, as far as every page needs it.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) language: Language,
    /// Nobody has logged in: none.
    pub(crate) account: Option<Account>,
    /// What each form of this visitor sends back, so that no other site can send one for him.
    pub(crate) csrf: String,
    /// With its query.
    pub(crate) address: String,
}

impl Visit {
    pub(crate) fn may_read(&self, module: &str) -> bool {
        self.account.as_ref().is_some_and(|account| account.role.may(module) >= Right::Read)
    }

    pub(crate) fn may_write(&self, module: &str) -> bool {
        self.account.as_ref().is_some_and(|account| account.role.may(module) == Right::Write)
    }

    pub(crate) fn login(&self) -> &str {
        self.account.as_ref().map_or("", |account| account.login.as_str())
    }
}

/// What was entered in a form. Of a name that was sent several times all values, with blanks between them.
pub(crate) type Entered = HashMap<String, String>;

/// The frame: title, menu, language.
pub(crate) struct Page {
    language: Language,
    title: String,
    module: &'static str,
    /// The modules that this visitor may see.
    menu: Vec<&'static str>,
    login: String,
    csrf: String,
    address: String,
}

/// Not in the menu: they stand beside the visitor's name.
const OWN: &[&str] = &["password", "logout"];

impl Page {
    pub(crate) fn new(visit: &Visit, module: &'static str, title: &str) -> Page {
        let menu = RIGHTS.iter().map(|(module, _)| *module).filter(|module| !OWN.contains(module));
        Page {
            language: visit.language,
            title: title.to_owned(),
            module,
            menu: menu.filter(|module| visit.may_read(module)).collect(),
            login: visit.login().to_owned(),
            csrf: visit.csrf.clone(),
            address: visit.address.clone(),
        }
    }

    fn text(&self, key: &str) -> &'static str {
        self.language.text(key)
    }

    fn address_of(&self, module: &str) -> String {
        if module == "dashboard" { "/".to_owned() } else { format!("/{module}") }
    }

    fn address_encoded(&self) -> String {
        encoded(&self.address)
    }
}

/// As a part of an address.
pub(crate) fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A value, and where it leads; an empty address: nowhere.
pub(crate) struct Linked {
    pub(crate) text: String,
    pub(crate) address: String,
}

/// One field of a form, with all that its drawing needs.
pub(crate) struct FormField {
    pub(crate) name: String,
    pub(crate) label: String,
    /// `line`, `text`, `date`, `time`, `number`, `password`, `choice` or `days`.
    pub(crate) input: &'static str,
    pub(crate) value: String,
    pub(crate) options: Vec<Choice>,
    pub(crate) is_required: bool,
    pub(crate) hint: String,
    pub(crate) wrong: String,
}

pub(crate) struct Choice {
    pub(crate) value: String,
    pub(crate) text: String,
    pub(crate) is_chosen: bool,
}

#[derive(Template)]
#[template(path = "list.html")]
pub(crate) struct ListPage {
    pub(crate) page: Page,
    pub(crate) path: &'static str,
    pub(crate) heads: Vec<String>,
    /// The first cell leads to the record.
    pub(crate) rows: Vec<Vec<Linked>>,
    pub(crate) searched: String,
    pub(crate) groups: Vec<Linked>,
    pub(crate) group: String,
    pub(crate) is_by_date: bool,
    pub(crate) total: usize,
    /// Empty: there is none.
    pub(crate) previous: String,
    pub(crate) next: String,
    pub(crate) may_create: bool,
}

#[derive(Template)]
#[template(path = "form.html")]
pub(crate) struct FormPage {
    pub(crate) page: Page,
    pub(crate) action: String,
    pub(crate) fields: Vec<FormField>,
    pub(crate) entry: String,
    pub(crate) version: String,
    /// Why it was not saved; empty: it was not tried.
    pub(crate) refusal: &'static str,
}

#[derive(Template)]
#[template(path = "record.html")]
pub(crate) struct RecordPage {
    pub(crate) page: Page,
    pub(crate) path: &'static str,
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) rows: Vec<(String, Linked)>,
    pub(crate) links: Vec<Linked>,
    pub(crate) actions: Vec<ActionForm>,
    pub(crate) related: Vec<Linked>,
    pub(crate) may_change: bool,
    pub(crate) may_remove: bool,
    pub(crate) entry: String,
    pub(crate) changed: String,
    pub(crate) refusal: &'static str,
}

pub(crate) struct ActionForm {
    pub(crate) name: &'static str,
    pub(crate) fields: Vec<FormField>,
    pub(crate) entry: String,
}

#[derive(Template)]
#[template(path = "dashboard.html")]
pub(crate) struct DashboardPage {
    pub(crate) page: Page,
    /// Number, text, address.
    pub(crate) figures: Vec<(String, &'static str, &'static str)>,
    pub(crate) low: Vec<(Linked, String)>,
    pub(crate) notices: Vec<(Linked, String)>,
}

#[derive(Template)]
#[template(path = "beds.html")]
pub(crate) struct BedsPage {
    pub(crate) page: Page,
    pub(crate) beds: Vec<BedShown>,
    pub(crate) may_admit: bool,
}

pub(crate) struct BedShown {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Empty: the bed is free.
    pub(crate) admission: String,
    pub(crate) patient: String,
}

#[derive(Template)]
#[template(path = "day.html")]
pub(crate) struct DayPage {
    pub(crate) page: Page,
    pub(crate) id: String,
    pub(crate) date: String,
    pub(crate) earlier: String,
    pub(crate) later: String,
    pub(crate) slots: Vec<SlotShown>,
    pub(crate) may_book: bool,
}

pub(crate) struct SlotShown {
    pub(crate) time: String,
    /// Empty: the slot is free.
    pub(crate) booking: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
pub(crate) struct AuditPage {
    pub(crate) page: Page,
    pub(crate) lines: Vec<AuditLine>,
    pub(crate) previous: String,
    pub(crate) next: String,
}

pub(crate) struct AuditLine {
    pub(crate) time: String,
    pub(crate) who: String,
    pub(crate) what: &'static str,
    pub(crate) record: Linked,
    pub(crate) details: String,
}

#[derive(Template)]
#[template(path = "backups.html")]
pub(crate) struct BackupsPage {
    pub(crate) page: Page,
    /// What the service says of backups: name and value.
    pub(crate) status: Vec<(&'static str, String)>,
    /// Name, time, who asked, bytes.
    pub(crate) backups: Vec<[String; 4]>,
    pub(crate) refusal: String,
    pub(crate) entry: String,
}

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage {
    pub(crate) page: Page,
    pub(crate) action: &'static str,
    pub(crate) fields: Vec<FormField>,
    /// The code of the first account; empty elsewhere.
    pub(crate) code: String,
    pub(crate) refusal: &'static str,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    page: Page,
    text: &'a str,
}

pub(crate) fn show(page: &impl Template) -> Result<Response, Problem> {
    match page.render() {
        Ok(text) => Ok(Html(text).into_response()),
        Err(error) => {
            tracing::error!(%error, "a page can't be drawn");
            Err(Problem::Unreachable(None))
        }
    }
}

/// Why there is no page. The gate draws one for it, in the visitor's language.
#[derive(Clone, Debug)]
pub(crate) enum Problem {
    LogIn,
    Forbidden,
    /// The form is not one that this program gave to this visitor.
    Forged,
    NotFound,
    /// The text that says why.
    Refused(String),
    /// The service does not answer, or not as it should.
    Unreachable(Option<Arc<RedisError>>),
}

impl Problem {
    pub(crate) fn page(&self, visit: &Visit) -> Response {
        let (status, key) = match self {
            Problem::LogIn => (StatusCode::UNAUTHORIZED, "problem_log_in"),
            Problem::Forbidden => (StatusCode::FORBIDDEN, "problem_forbidden"),
            Problem::Forged => (StatusCode::FORBIDDEN, "problem_forged"),
            Problem::NotFound => (StatusCode::NOT_FOUND, "problem_not_found"),
            Problem::Refused(why) => (StatusCode::CONFLICT, why.as_str()),
            Problem::Unreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, "problem_unreachable"),
        };
        let text = visit.language.text(key);
        let page = Page::new(visit, "", visit.language.text("problem"));
        match (ProblemPage { page, text }).render() {
            Ok(page) => (status, Html(page)).into_response(),
            Err(_) => (status, text).into_response(),
        }
    }

    pub(crate) fn into_error(self) -> Box<dyn std::error::Error> {
        match self {
            Problem::Unreachable(Some(error)) => error.into(),
            other => format!("{other:?}").into(),
        }
    }
}

impl From<RedisError> for Problem {
    fn from(error: RedisError) -> Problem {
        tracing::warn!(%error, "the service does not do what it is asked");
        Problem::Unreachable(Some(Arc::new(error)))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(axum::body::Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}
