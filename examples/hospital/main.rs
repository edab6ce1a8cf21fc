//! The hospital's back office: a web application whose only store is emptyServer. README.md draws the data; this file is the table of
//! addresses.
//!
//! ```text
//! cargo run --example hospital -- --demo
//! ```

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query};
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use clap::Parser;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;

use crate::store::Store;
use crate::web::{App, Problem};

mod administrators;
mod admissions;
mod audit;
mod backups;
mod bookings;
mod cases;
mod change;
mod clock;
mod dashboard;
mod demo;
mod dictionary;
mod doctors;
mod drugs;
mod export;
mod fields;
mod forms;
mod gate;
mod kinds;
mod login;
mod notices;
mod patients;
mod prescriptions;
mod records;
mod rights;
mod sessions;
mod store;
mod texts;
mod wards;
mod web;

/// The hospital's back office, on a running emptyServer.
#[derive(Parser)]
struct Flags {
    /// The service.
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    service: String,
    /// The service's password is the text of this file.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Fills an empty store with 5,000 made-up patients and all that belongs to them.
    #[arg(long)]
    demo: bool,
    /// Browsers come through a proxy that speaks TLS: cookies are sent over that alone, and the end of X-Forwarded-For says who tries to log in.
    #[arg(long)]
    behind_tls: bool,
    /// A session that is not used ends after so long.
    #[arg(long, default_value_t = 1800)]
    session_seconds: i64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(flags))
}

async fn run(flags: Flags) -> Result<(), Box<dyn Error>> {
    let (sender, pushes) = unbounded_channel();
    let password = flags.password_file.as_deref().map(password).transpose()?;
    let store = Store::connect(&flags.service, password, sender).await.map_err(Problem::into_error)?;
    if flags.demo {
        demo::fill(&store).await.map_err(Problem::into_error)?;
    }
    tokio::spawn(sessions::watch_ends(store.clone(), pushes));
    let app = App {
        store,
        set_up_code: Arc::from(sessions::random()),
        is_behind_tls: flags.behind_tls,
        session_seconds: flags.session_seconds,
    };
    let listener = TcpListener::bind(flags.listen).await?;
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        // As a browser on this machine finds it, also where a container's port is published.
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    if !login::has_accounts(&app).await.map_err(Problem::into_error)? {
        eprintln!("nobody can log in yet; make the first account at http://{address}/setup?code={}", app.set_up_code);
    }
    eprintln!("the hospital is at http://{address}/");
    let service = routes(app).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(told_to_end()?).await?;
    Ok(())
}

fn password(file: &Path) -> Result<String, String> {
    let read = std::fs::read_to_string(file);
    let text = read.map_err(|error| format!("--password-file: can't read {}: {error}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Ctrl-C, or what `docker stop` sends. As the first process of a container it would not end by itself.
fn told_to_end() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

/// Everything behind the gate.
fn routes(app: App) -> Router {
    Router::new()
        .route("/", get(dashboard::page))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/setup", get(login::first_form).post(login::make_first))
        .route("/password", get(login::own_form).post(login::change_own))
        .route("/language", get(choose_language))
        .route("/style.css", get(style))
        .route("/audit", get(audit::page))
        .route("/backups", get(backups::page).post(backups::start))
        .route("/wards/{id}/beds", get(wards::beds))
        .route("/doctors/{id}/day", get(doctors::day))
        .route("/{module}", get(records::list))
        .route("/{module}/export.csv", get(export::export))
        .route("/{module}/new", get(records::new_form).post(records::create))
        .route("/{module}/{id}", get(records::one))
        .route("/{module}/{id}/change", get(records::change_form).post(records::change))
        .route("/{module}/{id}/remove", post(records::remove))
        .route("/{module}/{id}/do/{action}", post(records::act))
        .fallback(async || Problem::NotFound)
        .layer(from_fn_with_state(app.clone(), gate::gate))
        .layer(DefaultBodyLimit::max(64 << 10))
        .with_state(app)
}

#[derive(Deserialize)]
struct Chosen {
    to: String,
    back: String,
}

/// GET /language?to=zh&back=/patients
async fn choose_language(Query(chosen): Query<Chosen>) -> Result<Response, Problem> {
    // To a page of ours only: `//elsewhere` is an address of another machine, and browsers leave out tabs and line ends.
    let is_ours = chosen.back.starts_with('/')
        && !chosen.back[1..].starts_with(['/', '\\'])
        && !chosen.back.contains(char::is_control);
    let language = if chosen.to == "zh" { "zh" } else { "en" };
    let cookie = format!("language={language}; Path=/; SameSite=Lax; Max-Age=31536000");
    let back = if is_ours { chosen.back.as_str() } else { "/" };
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(back)).into_response())
}

async fn style() -> Response {
    let kind = (header::CONTENT_TYPE, "text/css; charset=utf-8");
    ([kind, (header::CACHE_CONTROL, "max-age=300")], include_str!("style.css")).into_response()
}
