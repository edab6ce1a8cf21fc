//! The addresses of the admin process, and what each answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::exposition::Format;
use super::view::View;
use super::{metrics, readiness, status};

/// One file without anything from elsewhere.
const PAGE: &str = include_str!("page.html");
/// What the page needs, and nothing that it does not.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Shared = State<Arc<View>>;

pub(super) fn router(view: Arc<View>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(prometheus))
        .route("/status.json", get(status_json))
        .fallback(async || (StatusCode::NOT_FOUND, "there is /, /livez, /readyz, /metrics and /status.json\n"))
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
    ([(CONTENT_TYPE, format.content_type())], metrics::text(&view, format))
}

async fn status_json(State(view): Shared) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], status::json(&view).to_string())
}
