//! Doctors, their hours, and the slots that follow from these.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use crate::clock;
use crate::fields::{Field, Input, Kind};
use crate::store::Record;
use crate::web::{App, DayPage, Page, Problem, SlotShown, Visit, show};

pub(crate) static DOCTOR: Kind = Kind {
    title: &["name"],
    links: &[("/doctors/{id}/day", "day_of_doctor"), ("/bookings/new?doctor={id}", "new_booking")],
    ..Kind::new("doctor", "doctors", FIELDS)
};

const FIELDS: &[Field] = &[
    Field::new("name", Input::Line).labelled("full_name").required().listed().searched(),
    Field::new("department", Input::Of("word", "in:departments")).required().listed().searched(),
    Field::new("phone", Input::Line).listed(),
    Field::new("days", Input::Days).required().listed(),
    Field::new("from", Input::Time).required().listed(),
    Field::new("to", Input::Time).required().listed(),
    Field::new("slot_minutes", Input::Choice(&["10", "15", "20", "30", "60"])).required(),
    Field::new("note", Input::Text),
];

/// The times at which somebody can come on that day: within the hours, one slot after the other.
pub(crate) fn slots(doctor: &Record, date: &str) -> Vec<String> {
    let works =
        clock::weekday(date).is_some_and(|day| doctor.value("days").split(' ').any(|one| one == day.to_string()));
    let minutes = doctor.value("slot_minutes").parse().unwrap_or(60);
    let (from, to) = (minute_of(doctor.value("from")), minute_of(doctor.value("to")));
    if !works {
        return Vec::new();
    }
    (from..to).step_by(minutes).map(|minute| format!("{:02}:{:02}", minute / 60, minute % 60)).collect()
}

fn minute_of(time: &str) -> u32 {
    let (hour, minute) = time.split_once(':').unwrap_or(("0", "0"));
    hour.parse().unwrap_or(0) * 60 + minute.parse().unwrap_or(0)
}

#[derive(Deserialize)]
pub(crate) struct Day {
    date: Option<String>,
}

/// GET /doctors/{id}/day?date=2026-11-30
pub(crate) async fn day(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    Query(day): Query<Day>,
) -> Result<Response, Problem> {
    let doctor = app.store.record(&DOCTOR, &id).await?.ok_or(Problem::NotFound)?;
    // In the one way in which a key has it.
    let asked = day.date.filter(|date| clock::weekday(date).is_some()).map(|date| clock::later(&date, 0));
    let date = asked.unwrap_or_else(clock::today);
    let taken = app.store.hash(&format!("slots:{id}:{date}")).await?;
    let slot = |time: String| SlotShown { booking: taken.get(&time).cloned().unwrap_or_default(), time };
    let page = Page::new(&visit, "doctors", doctor.value("name"));
    show(&DayPage {
        slots: slots(&doctor, &date).into_iter().map(slot).collect(),
        earlier: clock::later(&date, -1),
        later: clock::later(&date, 1),
        may_book: visit.may_write("bookings"),
        id,
        date,
        page,
    })
}
