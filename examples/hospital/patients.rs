//! Patients. `_admission`, written by rules/beds.lua, is the admission that is open.

use crate::fields::{Field, Input, Kind};

pub(crate) static PATIENT: Kind = Kind {
    title: &["name"],
    unique: "identity",
    links: &[
        ("/admissions/new?patient={id}", "new_admission"),
        ("/bookings/new?patient={id}", "new_booking"),
        ("/cases/new?patient={id}", "new_case"),
        ("/prescriptions/new?patient={id}", "new_prescription"),
    ],
    ..Kind::new("patient", "patients", FIELDS)
};

const FIELDS: &[Field] = &[
    Field::new("name", Input::Line).labelled("full_name").required().listed().searched(),
    Field::new("identity", Input::Line).required().listed().searched(),
    Field::new("born", Input::Date).required().listed(),
    Field::new("sex", Input::Choice(&["female", "male", "diverse"])).required().listed(),
    Field::new("phone", Input::Line).listed().searched(),
    Field::new("address", Input::Line),
    Field::new("blood_group", Input::Of("word", "in:blood_groups")),
    Field::new("allergies", Input::Text),
    Field::new("note", Input::Text),
];
