//! Backups: the service makes them (`BACKUP START`), this page asks for them and remembers which (`backups`, a sorted set by time).

use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use redis::{cmd, pipe};
use serde_json::json;

use crate::web::{App, BackupsPage, Page, Problem, Visit, show};
use crate::{clock, sessions};

const SHOWN: isize = 100;

/// Lines of `BACKUP STATUS` that people want to know.
const STATUS: &[&str] = &["state", "directory", "keep", "last_name", "last_failure"];

/// GET /backups
pub(crate) async fn page(State(app): State<App>, Extension(visit): Extension<Visit>) -> Result<Response, Problem> {
    draw(&app, &visit, String::new()).await
}

async fn draw(app: &App, visit: &Visit, refusal: String) -> Result<Response, Problem> {
    let status: HashMap<String, redis::Value> = app.store.ask(cmd("BACKUP").arg("STATUS")).await?;
    let told = |name: &str| status.get(name).map(text_of).unwrap_or_default();
    // The service tells the size of the last one alone: it is kept for the list. So is one that was made by its clock.
    let (name, time) = (told("last_name"), told("last_time"));
    if !name.is_empty() {
        let mut commands = pipe();
        commands.atomic().hset(format!("backup:{name}"), "bytes", told("last_bytes")).ignore();
        let ms = format!("{time}000");
        commands.cmd("ZADD").arg("backups").arg("NX").arg(ms).arg(&name).ignore();
        app.store.ask_all::<()>(&commands).await?;
    }
    let known: Vec<(String, f64)> = app.store.ask(&redis::Cmd::zrevrange_withscores("backups", 0, SHOWN - 1)).await?;
    let mut backups = Vec::new();
    for (name, ms) in known {
        let more = app.store.hash(&format!("backup:{name}")).await?;
        let value = |key: &str| more.get(key).cloned().unwrap_or_default();
        let time = clock::shown(&format!("{ms:.0}"));
        backups.push([name, time, value("who"), value("bytes")]);
    }
    show(&BackupsPage {
        page: Page::new(visit, "backups", visit.language.text("backups")),
        status: STATUS.iter().map(|name| (visit.language.text(&format!("backup_{name}")), told(name))).collect(),
        backups,
        refusal,
        entry: sessions::random(),
    })
}

fn text_of(value: &redis::Value) -> String {
    match value {
        redis::Value::Int(number) => number.to_string(),
        other => redis::from_redis_value(other.clone()).unwrap_or_default(),
    }
}

/// POST /backups
pub(crate) async fn start(State(app): State<App>, Extension(visit): Extension<Visit>) -> Result<Response, Problem> {
    let asked = app.store.ask::<String>(cmd("BACKUP").arg("START")).await;
    let name = match asked {
        Ok(name) => name,
        // It says why: one is being made already, or there is no room.
        Err(Problem::Unreachable(Some(error))) => return draw(&app, &visit, error.to_string()).await,
        Err(other) => return Err(other),
    };
    let now = clock::now_ms();
    let mut commands = pipe();
    commands.atomic().zadd("backups", &name, now).ignore();
    commands.hset(format!("backup:{name}"), "who", visit.login()).ignore();
    app.store.ask_all::<()>(&commands).await?;
    let note = json!({ "kind": "", "action": "backup_started", "who": visit.login(), "now": now, "details": name });
    app.store.call("note", &note).await?;
    Ok(Redirect::to("/backups").into_response())
}
