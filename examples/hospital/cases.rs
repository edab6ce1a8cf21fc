//! Cases: what a doctor found and did.

use crate::fields::{Field, Input, Kind};

pub(crate) static CASE: Kind = Kind::new("case", "cases", FIELDS);

const FIELDS: &[Field] = &[
    Field::new("patient", Input::Search("patient")).required().listed().searched().fixed(),
    Field::new("doctor", Input::Of("doctor", "all")).required().listed(),
    Field::new("date", Input::Date).required().listed().searched(),
    Field::new("diagnosis", Input::Of("word", "in:diagnoses")).required().listed().searched(),
    Field::new("complaint", Input::Text).required(),
    Field::new("findings", Input::Text),
    Field::new("treatment", Input::Text),
];
