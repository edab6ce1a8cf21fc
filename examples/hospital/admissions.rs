//! Admissions: a bed is taken, changed for another one, and given back. rules/beds.lua sees to it that a bed has one patient.

use crate::fields::{Action, Field, Input, Kind};

const BED: Field = Field::new("bed", Input::Of("bed", "free")).required().listed().searched().fixed();

pub(crate) static ADMISSION: Kind = Kind {
    grouped_by: "state",
    groups: &["open", "closed"],
    create: "admit",
    change: "save_admission",
    // Who lay where stays known.
    remove: "",
    actions: &[
        Action { name: "move", function: "move", fields: &[BED], state: "open" },
        Action {
            name: "discharge",
            function: "discharge",
            fields: &[Field::new("discharged", Input::Date).required()],
            state: "open",
        },
    ],
    ..Kind::new("admission", "admissions", FIELDS)
};

const FIELDS: &[Field] = &[
    Field::new("patient", Input::Search("patient")).required().listed().searched().fixed(),
    BED,
    Field::new("doctor", Input::Of("doctor", "all")).required(),
    Field::new("diagnosis", Input::Of("word", "in:diagnoses")).listed().searched(),
    Field::new("admitted", Input::Date).required().listed(),
    Field::new("discharged", Input::Date).listed().shown_only(),
    Field::new("state", Input::Choice(&["open", "closed"])).listed().shown_only(),
    Field::new("note", Input::Text),
];
