//! Logging in and out, the first account, and everybody's own password.
//!
//! Whoever tries passwords is slowed down by two counters that end by themselves: of one login from one address, and of one address.

use std::net::{IpAddr, SocketAddr};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use axum::Extension;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use redis::{Cmd, pipe};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::administrators::ACCOUNT;
use crate::change::Change;
use crate::fields::{Field, Input};
use crate::gate::{cookie, set_cookie};
use crate::sessions;
use crate::store::{Outcome, Record};
use crate::web::{App, Entered, LoginPage, Page, Problem, Visit, show};
use crate::{clock, forms};

const FAILURES_MAX: i64 = 5;
const ADDRESS_FAILURES_MAX: i64 = 100;
const FAILURES_SECONDS: i64 = 900;

/// Hashes that are made at a time: each takes 19 MiB and a core.
static HASHES: Semaphore = Semaphore::const_new(2);

const LOGIN: &[Field] =
    &[Field::new("login", Input::Line).required(), Field::new("password", Input::Password).required()];
const FIRST: &[Field] = &[
    Field::new("login", Input::Line).required(),
    Field::new("name", Input::Line).labelled("full_name").required(),
    Field::new("password", Input::Password).required(),
];
const OWN: &[Field] = &[
    Field::new("password_now", Input::Password).required(),
    Field::new("password", Input::Password).labelled("password_new").required(),
];

#[derive(Deserialize)]
pub(crate) struct Code {
    code: Option<String>,
}

/// GET /login
pub(crate) async fn form(Extension(visit): Extension<Visit>) -> Result<Response, Problem> {
    draw(&visit, "/login", LOGIN, "", "")
}

fn draw(visit: &Visit, action: &'static str, fields: &[Field], code: &str, refusal: &str) -> Result<Response, Problem> {
    let (title, module) = match action {
        "/login" => ("log_in", ""),
        "/setup" => ("set_up", ""),
        _ => ("password", "password"),
    };
    show(&LoginPage {
        page: Page::new(visit, module, visit.language.text(title)),
        action,
        fields: fields.iter().map(|field| forms::plain(visit.language, field)).collect(),
        code: code.to_owned(),
        refusal: if refusal.is_empty() { "" } else { visit.language.text(refusal) },
    })
}

/// POST /login
pub(crate) async fn log_in(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Extension(entered): Extension<Entered>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let address = address(&app, &headers, peer.ip());
    let value = |name: &str| entered.get(name).map_or("", |value| value.trim());
    let login: String = value("login").to_lowercase().chars().take(100).collect();
    let one = format!("throttle:{address}:{login}");
    let all = format!("throttle:{address}");
    // Counted before the password is looked at, so that a hundred tries at once are a hundred.
    let mut commands = pipe();
    commands.atomic();
    for key in [&one, &all] {
        // From the first of them on: who is refused does not prolong it.
        commands.incr(key, 1).cmd("EXPIRE").arg(key).arg(FAILURES_SECONDS).arg("NX").ignore();
    }
    let (of_one, of_all): (i64, i64) = app.store.ask_all(&commands).await?;
    if of_one > FAILURES_MAX || of_all > ADDRESS_FAILURES_MAX {
        return draw(&visit, "/login", LOGIN, "", "refused_throttled");
    }
    let account = account_of(&app, &login).await?;
    let kept = account.as_ref().map_or("", |account| account.value("_password"));
    let is_right = is_password(value("password"), kept).await;
    let (Some(account), true) = (account, is_right) else {
        note(&app, "login_failed", &login, "").await?;
        return draw(&visit, "/login", LOGIN, "", "refused_login");
    };
    app.store.ask_all::<()>(pipe().atomic().del(&one).ignore().decr(&all, 1).ignore()).await?;
    note(&app, "logged_in", &login, &account.id).await?;
    enter(&app, &account.id, account.value("_stamp")).await
}

/// Where the visitor is: a proxy in front is everybody's peer, and writes whose request it passes on behind what others wrote there.
fn address(app: &App, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back().filter(|_| app.is_behind_tls);
    let last = forwarded.and_then(|line| line.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or(peer)
}

async fn enter(app: &App, account: &str, stamp: &str) -> Result<Response, Problem> {
    let session = sessions::begin(app, account, stamp).await?;
    let mut response = Redirect::to("/").into_response();
    // A day at most. The key, which is renewed while it is used, mostly ends before, and it rules.
    set_cookie(app, response.headers_mut(), "session", &session, 86400);
    Ok(response)
}

async fn account_of(app: &App, login: &str) -> Result<Option<Record>, Problem> {
    let id: Option<String> = app.store.ask(&Cmd::hget("account:unique", login)).await?;
    match id {
        Some(id) => app.store.record(&ACCOUNT, &id).await,
        None => Ok(None),
    }
}

/// POST /logout
pub(crate) async fn log_out(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(session) = cookie(&headers, "session") {
        sessions::end(&app, &session).await?;
    }
    let id = visit.account.as_ref().map_or("", |account| account.id.as_str());
    note(&app, "logged_out", visit.login(), id).await?;
    let mut response = Redirect::to("/login").into_response();
    set_cookie(&app, response.headers_mut(), "session", "", 0);
    Ok(response)
}

async fn note(app: &App, action: &str, login: &str, id: &str) -> Result<(), Problem> {
    let note = json!({ "kind": "account", "id": id, "action": action, "who": login, "now": clock::now_ms() });
    app.store.call("note", &note).await.map(|_| ())
}

/// GET /setup?code=…, while there is no account
pub(crate) async fn first_form(
    Extension(visit): Extension<Visit>,
    Query(code): Query<Code>,
) -> Result<Response, Problem> {
    draw(&visit, "/setup", FIRST, &code.code.unwrap_or_default(), "")
}

/// POST /setup
pub(crate) async fn make_first(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Extension(mut entered): Extension<Entered>,
) -> Result<Response, Problem> {
    let code = entered.remove("code").unwrap_or_default();
    if !bool::from(code.as_bytes().ct_eq(app.set_up_code.as_bytes())) {
        return draw(&visit, "/setup", FIRST, &code, "refused_code");
    }
    entered.insert("role".to_owned(), "administrator".to_owned());
    if entered.get("password").is_none_or(|password| password.trim().is_empty()) {
        return draw(&visit, "/setup", FIRST, &code, "wrong_empty");
    }
    entered.insert("entry".to_owned(), sessions::random());
    let change = Change::examined(&app, &ACCOUNT, ACCOUNT.fields.iter(), None, &entered).await?;
    if let Some(wrong) = change.wrong.values().next() {
        return draw(&visit, "/setup", FIRST, &code, wrong);
    }
    match app.store.call("first_account", &change.call(change.value("login"))).await? {
        Outcome::Done(id) => {
            let account = app.store.record(&ACCOUNT, &id).await?.ok_or(Problem::NotFound)?;
            enter(&app, &id, account.value("_stamp")).await
        }
        Outcome::Refused(why) => draw(&visit, "/setup", FIRST, &code, &why),
    }
}

/// GET /password
pub(crate) async fn own_form(Extension(visit): Extension<Visit>) -> Result<Response, Problem> {
    draw(&visit, "/password", OWN, "", "")
}

/// POST /password: ends all sessions of the account but this visitor's, who gets a new one.
pub(crate) async fn change_own(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Extension(mut entered): Extension<Entered>,
) -> Result<Response, Problem> {
    let account = visit.account.clone().ok_or(Problem::LogIn)?;
    let before = app.store.record(&ACCOUNT, &account.id).await?.ok_or(Problem::LogIn)?;
    let now = entered.remove("password_now").unwrap_or_default();
    if !is_password(now.trim(), before.value("_password")).await {
        return draw(&visit, "/password", OWN, "", "refused_login");
    }
    if entered.get("password").is_none_or(|password| password.trim().is_empty()) {
        return draw(&visit, "/password", OWN, "", "wrong_empty");
    }
    entered.insert("entry".to_owned(), sessions::random());
    entered.insert("version".to_owned(), before.value("_version").to_owned());
    let password = ACCOUNT.field("password").into_iter();
    let change = Change::examined(&app, &ACCOUNT, password, Some(before), &entered).await?;
    if let Some(wrong) = change.wrong.values().next() {
        return draw(&visit, "/password", OWN, "", wrong);
    }
    match app.store.call("save", &change.call(visit.login())).await? {
        Outcome::Done(_) => enter(&app, &account.id, change.value("_stamp")).await,
        Outcome::Refused(why) => draw(&visit, "/password", OWN, "", &why),
    }
}

/// The hash as it is kept, with its salt and parameters.
pub(crate) async fn hash(password: &str) -> String {
    let password = password.to_owned();
    let made = in_background(move || {
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).expect("the kernel has random bytes");
        let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
        let hash =
            Argon2::default().hash_password(password.as_bytes(), &salt).expect("the parameters are the usual ones");
        hash.to_string()
    });
    made.await
}

/// Takes as long when there is no such account: nobody learns who has one.
async fn is_password(password: &str, kept: &str) -> bool {
    if kept.is_empty() {
        hash(password).await;
        return false;
    }
    let (password, kept) = (password.to_owned(), kept.to_owned());
    let compared = in_background(move || {
        let kept = PasswordHash::new(&kept);
        kept.is_ok_and(|kept| Argon2::default().verify_password(password.as_bytes(), &kept).is_ok())
    });
    compared.await
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _turn = HASHES.acquire().await.expect("it is never closed");
    tokio::task::spawn_blocking(work).await.expect("a hash does not panic")
}

/// Whether anybody can log in yet.
pub(crate) async fn has_accounts(app: &App) -> Result<bool, Problem> {
    app.store.ask(&Cmd::exists("account:all")).await
}
