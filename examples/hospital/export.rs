//! Lists as CSV files, for spreadsheets.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::fields::Input;
use crate::web::{App, Problem, Visit};
use crate::{clock, forms, kinds};

const PART_ROWS: usize = 500;

/// GET /{module}/export.csv
pub(crate) async fn export(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    let kind = kinds::at(&path).ok_or(Problem::NotFound)?;
    // A spreadsheet takes it for UTF-8 by this sign.
    let mut text = "\u{feff}".to_owned();
    let fields = || kind.fields.iter().filter(|field| !matches!(field.input, Input::Password));
    let labels = fields().map(|field| visit.language.label(field.label));
    line(&mut text, std::iter::once(visit.language.text("number").to_owned()).chain(labels));
    for start in (0..).step_by(PART_ROWS) {
        let ids = app.store.range(&format!("{}:all", kind.name), start, PART_ROWS).await?;
        let records = app.store.records(kind, &ids).await?;
        let titles = forms::titles_of(&app, visit.language, kind, &records).await?;
        for record in &records {
            let shown = |field| forms::shown(visit.language, field, record.value(field.name), &titles).text;
            line(&mut text, std::iter::once(record.id.clone()).chain(fields().map(shown)));
        }
        if ids.len() < PART_ROWS {
            break;
        }
    }
    let note = json!({ "kind": kind.name, "action": "exported", "who": visit.login(), "now": clock::now_ms() });
    app.store.call("note", &note).await?;
    let file = format!("attachment; filename=\"{path}-{}.csv\"", clock::today());
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, file)], text)
        .into_response())
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.map(|cell| quoted(&cell)).collect();
    *text += &cells.join(",");
    *text += "\r\n";
}

/// What a spreadsheet would take for a formula is text there, with a `'` before it.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, cell.replace('"', "\"\""))
}
