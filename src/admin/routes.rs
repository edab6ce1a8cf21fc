//! The addresses of the admin process, and what each answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::exposition::Format;
use super::view::View;
use super::{metrics, readiness, status};
use crate::kv::shared::backups::{Kind, Refusal};
use crate::server::LogLimit;
use crate::sys::clock;

/// One file without anything from elsewhere.
const PAGE: &str = include_str!("page.html");
/// What the page needs, and nothing that it does not.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Shared = State<Arc<View>>;

pub(super) fn router(view: Arc<View>) -> Router {
    // For people, whose browsers a stranger's page may use: see `hosts`. The others are asked by programs, under any name.
    let for_people = Router::new()
        .route("/", get(page))
        .route("/status.json", get(status_json))
        .route("/backup", post(backup))
        .route_layer(from_fn_with_state(Arc::clone(&view), known_host));
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(prometheus))
        .merge(for_people)
        .fallback(async || {
            (StatusCode::NOT_FOUND, "there is /, /livez, /readyz, /metrics, /status.json and POST /backup\n")
        })
        .layer(map_response(careful))
        .with_state(view)
}

/// Figures of a moment are not to be kept, and a browser is not to guess what they are.
async fn careful(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}

/// Lets only those requests through that were sent to a name which no stranger can have.
async fn known_host(State(view): Shared, request: Request, next: Next) -> Response {
    static UNKNOWN: LogLimit = LogLimit::new();
    if view.facts.hosts.know(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    if let Some(left_out) = UNKNOWN.admit() {
        tracing::warn!(
            left_out,
            "a request to the admin port was sent to an unknown name: EMPTYSERVER_ADMIN_HOSTS has those that are allowed"
        );
    }
    let text = "this name is not known here: use the IP address, or set EMPTYSERVER_ADMIN_HOSTS to the names of this service\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

async fn page() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, PAGE_POLICY)], PAGE)
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(view): Shared) -> (StatusCode, String) {
    let reasons = readiness::reasons(&view);
    if reasons.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.into_iter().map(|reason| reason + "\n").collect())
}

async fn prometheus(State(view): Shared, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let text = view.metrics[format as usize].text(|| metrics::text(&view, format));
    ([(CONTENT_TYPE, format.content_type())], text)
}

async fn status_json(State(view): Shared) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], view.status.text(|| status::json(&view).to_string()))
}

/// Starts a backup in the directory of backups, and names it. The only address that changes anything.
async fn backup(State(view): Shared, headers: HeaderMap) -> Response {
    if let Some(refusal) = refusal(&view, &headers) {
        if refusal.status() == StatusCode::UNAUTHORIZED {
            static WRONG: LogLimit = LogLimit::new();
            if let Some(left_out) = WRONG.admit() {
                tracing::warn!(left_out, "a request to the admin port had no token, or a wrong one");
            }
            // Who guesses waits: a connection carries one guess, and there are so many at a time.
            tokio::time::sleep(WRONG_TOKEN_DELAY).await;
        }
        return refusal;
    }
    match view.backups.ask(Kind::Kept, clock::wall_ms().unsigned_abs()) {
        Ok(name) => as_json(StatusCode::ACCEPTED, &json!({ "name": name.to_string() })),
        Err(Refusal::Running(running)) => {
            let error = "a backup is being made already";
            as_json(StatusCode::CONFLICT, &json!({ "error": error, "name": running.to_string() }))
        }
        Err(refusal) => as_json(StatusCode::INSUFFICIENT_STORAGE, &json!({ "error": refusal.to_string() })),
    }
}

/// The answer to who may not change anything. A token in a header is something that no page of somebody else can make a
/// browser send.
fn refusal(view: &View, headers: &HeaderMap) -> Option<Response> {
    let Some(token) = &view.facts.token else {
        let text = "nothing can be changed over HTTP: EMPTYSERVER_ADMIN_TOKEN is not set\n";
        return Some((StatusCode::FORBIDDEN, text).into_response());
    };
    let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_right = match sent.split_at_checked(BEARER.len()) {
        Some((scheme, sent)) => scheme.eq_ignore_ascii_case(BEARER) && bool::from(sent.ct_eq(token.as_bytes())),
        None => false,
    };
    let text = "send the token: Authorization: Bearer (EMPTYSERVER_ADMIN_TOKEN)\n";
    (!is_right).then(|| (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text).into_response())
}

/// The answer to a wrong token comes after so long.
const WRONG_TOKEN_DELAY: Duration = Duration::from_millis(300);

const BEARER: &[u8] = b"Bearer ";

fn as_json(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}
