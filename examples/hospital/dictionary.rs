//! The dictionary: the words that the other forms offer, in both languages.

use crate::fields::{Field, Input, Kind};

pub(crate) const LISTS: &[&str] = &["departments", "diagnoses", "drug_forms", "blood_groups"];

pub(crate) static WORD: Kind = Kind {
    title: &["english", "chinese"],
    grouped_by: "list",
    groups: LISTS,
    ..Kind::new("word", "dictionary", FIELDS)
};

const FIELDS: &[Field] = &[
    Field::new("list", Input::Choice(LISTS)).required().listed(),
    Field::new("english", Input::Line).required().listed().searched(),
    Field::new("chinese", Input::Line).required().listed().searched(),
];
