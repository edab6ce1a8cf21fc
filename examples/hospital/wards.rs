//! Wards, their beds, and the picture of who lies where.
//!
//! A bed's `_admission`, written by rules/beds.lua, is the open admission that has it. The sorted set `bed:free` has those without one.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;

use crate::fields::{Field, Input, Kind};
use crate::web::{App, BedShown, BedsPage, Page, Problem, Visit, show};

pub(crate) static WARD: Kind = Kind {
    title: &["name"],
    unique: "name",
    links: &[("/wards/{id}/beds", "beds_of_ward"), ("/beds/new?ward={id}", "new_bed")],
    ..Kind::new("ward", "wards", WARD_FIELDS)
};

const WARD_FIELDS: &[Field] = &[
    Field::new("name", Input::Line).required().listed().searched(),
    Field::new("department", Input::Of("word", "in:departments")).required().listed().searched(),
    Field::new("floor", Input::Number(-5, 100)).listed(),
    Field::new("note", Input::Text),
];

pub(crate) static BED: Kind = Kind {
    title: &["name"],
    unique: "name",
    grouped_by: "ward",
    create: "save_bed",
    change: "save_bed",
    remove: "remove_bed",
    links: &[("/admissions/new?bed={id}", "new_admission")],
    ..Kind::new("bed", "beds", BED_FIELDS)
};

const BED_FIELDS: &[Field] = &[
    Field::new("name", Input::Line).required().listed().searched(),
    Field::new("ward", Input::Of("ward", "all")).required().listed().searched(),
    Field::new("note", Input::Text).listed(),
];

/// Beds of one ward that are drawn.
const BEDS_MAX: usize = 200;

/// GET /wards/{id}/beds
pub(crate) async fn beds(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let ward = app.store.record(&WARD, &id).await?.ok_or(Problem::NotFound)?;
    let ids = app.store.range(&format!("bed:in:{id}"), 0, BEDS_MAX).await?;
    let beds = app.store.records(&BED, &ids).await?;
    let patients = app.store.patients_in(&beds).await?;
    let shown = beds.iter().zip(patients).map(|(bed, patient)| BedShown {
        id: bed.id.clone(),
        name: bed.value("name").to_owned(),
        admission: bed.value("_admission").to_owned(),
        patient: patient.unwrap_or_default(),
    });
    let page = Page::new(&visit, "wards", ward.value("name"));
    show(&BedsPage { may_admit: visit.may_write("admissions"), beds: shown.collect(), page })
}
