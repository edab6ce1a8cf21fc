//! The gate that every request passes: who it is, whether he may, and whether a form is ours. Behind it no page asks that again.

use axum::Form;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use subtle::ConstantTimeEq;

use crate::rights::{Right, Role};
use crate::sessions;
use crate::texts::Language;
use crate::web::{App, Entered, Problem, Visit};

/// Addresses for whoever has not logged in.
const OPEN: &[&str] = &["login", "setup", "language", "style.css"];

/// No script, nothing from elsewhere, in no frame, and forms to here alone.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(crate) async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    let known = cookie(request.headers(), "visitor").filter(|visitor| visitor.len() == 64);
    let is_new = known.is_none();
    let visitor = known.unwrap_or_else(sessions::random);
    let mut visit = Visit {
        language: language(request.headers()),
        account: None,
        csrf: visitor.clone(),
        address: request.uri().path_and_query().map_or("/", |address| address.as_str()).to_owned(),
    };
    let response = match pass(&app, &mut visit, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let mut response = match response.extensions().get::<Problem>() {
        Some(Problem::LogIn) => Redirect::to("/login").into_response(),
        Some(problem) => problem.page(&visit),
        None => response,
    };
    if is_new {
        set_cookie(&app, response.headers_mut(), "visitor", &visitor, 86400);
    }
    guard(response.headers_mut());
    response
}

async fn pass(app: &App, visit: &mut Visit, request: Request) -> Result<Request, Problem> {
    if let Some(session) = cookie(request.headers(), "session")
        && let Some((account, csrf)) = sessions::find(app, &session).await?
    {
        visit.account = Some(account);
        visit.csrf = csrf;
    }
    let path = request.uri().path();
    let module = path.split('/').nth(1).filter(|module| !module.is_empty()).unwrap_or("dashboard");
    if !OPEN.contains(&module) {
        let account = visit.account.as_ref().ok_or(Problem::LogIn)?;
        let is_form = ["new", "change"].contains(&path.rsplit('/').next().unwrap_or_default());
        let is_writing = request.method() == Method::POST || is_form;
        let needed = if is_writing { Right::Write } else { Right::Read };
        if account.role.may(module) < needed {
            // What is not there at all is told to administrators only.
            let is_there = account.role != Role::Administrator;
            return Err(if is_there { Problem::Forbidden } else { Problem::NotFound });
        }
    }
    let mut request = if request.method() == Method::POST { take_form(visit, request).await? } else { request };
    request.extensions_mut().insert(visit.clone());
    Ok(request)
}

/// Reads the form, and lets it pass if it has the token that this visitor was given.
async fn take_form(visit: &Visit, request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), body);
    let Form(pairs) = Form::<Vec<(String, String)>>::from_request(whole, &()).await.map_err(|_| Problem::Forged)?;
    let mut entered = Entered::new();
    for (name, value) in pairs {
        entered.entry(name).and_modify(|all| *all = format!("{all} {value}")).or_insert(value);
    }
    let token = entered.get("csrf").map_or("", String::as_str);
    if !bool::from(token.as_bytes().ct_eq(visit.csrf.as_bytes())) {
        return Err(Problem::Forged);
    }
    let mut request = Request::from_parts(parts, Body::empty());
    request.extensions_mut().insert(entered);
    Ok(request)
}

pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(one, _)| *one == name).map(|(_, value)| value.to_owned())
}

/// Scripts do not see it, other sites do not send it. No time: it is taken away.
pub(crate) fn set_cookie(app: &App, headers: &mut HeaderMap, name: &str, value: &str, seconds: i64) {
    let secure = if app.is_behind_tls { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}

/// What was chosen, or else what the browser asks for.
fn language(headers: &HeaderMap) -> Language {
    let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let chosen = cookie(headers, "language").unwrap_or_else(|| asked.chars().take(2).collect());
    if chosen == "zh" { Language::Chinese } else { Language::English }
}

fn guard(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
