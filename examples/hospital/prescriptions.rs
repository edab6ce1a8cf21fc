//! Prescriptions of up to four drugs. They are dispensed when they are entered: rules/drugs.lua takes every line from stock, or none.

use crate::fields::{Action, Field, Input, Kind};

pub(crate) static PRESCRIPTION: Kind = Kind {
    grouped_by: "state",
    groups: &["open", "cancelled"],
    create: "dispense",
    // What has left the stock is not rewritten: it is taken back, and entered anew.
    change: "",
    remove: "",
    actions: &[Action { name: "take_back", function: "take_back", fields: &[], state: "open" }],
    ..Kind::new("prescription", "prescriptions", FIELDS)
};

const AMOUNT: Input = Input::Number(1, 10_000);

const FIELDS: &[Field] = &[
    Field::new("patient", Input::Search("patient")).required().listed().searched(),
    Field::new("doctor", Input::Of("doctor", "all")).required().listed(),
    Field::new("date", Input::Date).required().listed().searched(),
    Field::new("drug1", Input::Of("drug", "all")).labelled("drug 1").required().listed().searched(),
    Field::new("amount1", AMOUNT).labelled("amount 1").required(),
    Field::new("dose1", Input::Line).labelled("dose 1"),
    Field::new("drug2", Input::Of("drug", "all")).labelled("drug 2").searched(),
    Field::new("amount2", AMOUNT).labelled("amount 2"),
    Field::new("dose2", Input::Line).labelled("dose 2"),
    Field::new("drug3", Input::Of("drug", "all")).labelled("drug 3").searched(),
    Field::new("amount3", AMOUNT).labelled("amount 3"),
    Field::new("dose3", Input::Line).labelled("dose 3"),
    Field::new("drug4", Input::Of("drug", "all")).labelled("drug 4").searched(),
    Field::new("amount4", AMOUNT).labelled("amount 4"),
    Field::new("dose4", Input::Line).labelled("dose 4"),
    Field::new("state", Input::Choice(&["open", "cancelled"])).listed().shown_only(),
];

/// A drug without its amount, or an amount without its drug: the field, and the text of what is wrong.
pub(crate) fn wrong_line(value: impl Fn(&str) -> bool) -> Option<(String, &'static str)> {
    (2..=4)
        .find(|line| value(&format!("drug{line}")) != value(&format!("amount{line}")))
        .map(|line| (format!("amount{line}"), "wrong_line"))
}
