//! The audit trail: the list `audit`, to which each function of rules/*.lua appends a line in the step that it tells of. No page changes it.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use redis::pipe;
use serde::Deserialize;

use crate::web::{App, AuditLine, AuditPage, Linked, Page, Problem, Visit, show};
use crate::{clock, kinds};

const PAGE_LINES: usize = 50;

#[derive(Deserialize)]
pub(crate) struct Asked {
    page: Option<usize>,
}

/// As rules/records.lua writes it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Kept {
    now: i64,
    who: String,
    action: String,
    kind: String,
    id: String,
    details: String,
}

/// GET /audit
pub(crate) async fn page(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let number = asked.page.unwrap_or(1).clamp(1, 1_000_000);
    let (first, last) = ((number * PAGE_LINES) as isize, ((number - 1) * PAGE_LINES) as isize);
    let (lines, total): (Vec<String>, usize) =
        app.store.ask_all(pipe().lrange("audit", -first, -last - 1).llen("audit")).await?;
    let lines = lines.iter().rev().map(|line| {
        let kept: Kept = serde_json::from_str(line).unwrap_or_default();
        let path = kinds::named(&kept.kind).map_or("", |kind| kind.path);
        let address = if kept.id.is_empty() { String::new() } else { format!("/{path}/{}", kept.id) };
        let text = if kept.kind.is_empty() { "" } else { visit.language.text(&kept.kind) };
        AuditLine {
            time: clock::shown(&kept.now.to_string()),
            what: visit.language.text(&format!("did_{}", kept.action)),
            record: Linked { text: format!("{text} {}", kept.id), address },
            who: kept.who,
            details: kept.details,
        }
    });
    let other = |is_there: bool, number: usize| if is_there { format!("/audit?page={number}") } else { String::new() };
    show(&AuditPage {
        page: Page::new(&visit, "audit", visit.language.text("audit")),
        lines: lines.collect(),
        previous: other(number > 1, number - 1),
        next: other(number * PAGE_LINES < total, number + 1),
    })
}
