//! Bookings of doctors. rules/bookings.lua gives each slot once.

use crate::doctors;
use crate::fields::{Action, Field, Input, Kind};
use crate::store::Record;

pub(crate) static BOOKING: Kind = Kind {
    grouped_by: "date",
    create: "book",
    // Another time is another slot: the old one is cancelled, and one is booked anew.
    change: "",
    remove: "",
    actions: &[Action { name: "cancel", function: "cancel_booking", fields: &[], state: "open" }],
    ..Kind::new("booking", "bookings", FIELDS)
};

const FIELDS: &[Field] = &[
    Field::new("patient", Input::Search("patient")).required().listed().searched(),
    Field::new("doctor", Input::Of("doctor", "all")).required().listed().searched(),
    Field::new("date", Input::Date).required().listed().searched(),
    Field::new("time", Input::Time).required().listed(),
    Field::new("reason", Input::Line),
    Field::new("state", Input::Choice(&["open", "cancelled"])).listed().shown_only(),
];

/// What is wrong with a time outside of the doctor's hours.
pub(crate) fn wrong_time(doctor: &Record, date: &str, time: &str) -> Option<(String, &'static str)> {
    let is_slot = doctors::slots(doctor, date).iter().any(|slot| slot == time);
    (!is_slot).then(|| ("time".to_owned(), "wrong_slot"))
}
