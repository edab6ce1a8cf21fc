//! What is going on, in one look. The figures are of one moment: they are read in one MULTI.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use redis::pipe;

use crate::drugs::DRUG;
use crate::web::{App, DashboardPage, Linked, Page, Problem, Visit, show};
use crate::{clock, notices};

const LOW_MAX: usize = 10;

/// GET /
pub(crate) async fn page(State(app): State<App>, Extension(visit): Extension<Visit>) -> Result<Response, Problem> {
    let mut commands = pipe();
    commands.atomic().zcard("bed:free").zcard("bed:all").zcard("admission:in:open");
    commands.zcard(format!("booking:in:{}", clock::today())).zcard("drug:low").zcard("patient:all");
    let (free, beds, admitted, bookings, low, patients): (u64, u64, u64, u64, u64, u64) =
        app.store.ask_all(&commands).await?;
    let figure = |number: String, key, address| (number, visit.language.text(key), address);
    let mut figures = vec![
        figure(format!("{free} / {beds}"), "beds_free", "/beds"),
        figure(admitted.to_string(), "admitted_now", "/admissions?in=open"),
        figure(bookings.to_string(), "bookings_today", "/bookings"),
        figure(low.to_string(), "stock_low", "/drugs"),
        figure(patients.to_string(), "patients", "/patients"),
    ];
    figures
        .retain(|(.., address)| visit.may_read(address.trim_start_matches('/').split('?').next().unwrap_or_default()));
    let low = app.store.range("drug:low", 0, LOW_MAX).await?;
    let low = app.store.records(&DRUG, &low).await?.into_iter().map(|drug| {
        let name = Linked { text: drug.value("name").to_owned(), address: format!("/drugs/{}", drug.id) };
        (name, format!("{} / {}", drug.value("stock"), drug.value("stock_min")))
    });
    let notices = notices::present(&app.store).await?.into_iter().map(|notice| {
        let title = Linked { text: notice.value("title").to_owned(), address: format!("/notices/{}", notice.id) };
        (title, notice.value("text").to_owned())
    });
    show(&DashboardPage {
        page: Page::new(&visit, "dashboard", visit.language.text("dashboard")),
        figures,
        low: low.collect(),
        notices: notices.collect(),
    })
}
