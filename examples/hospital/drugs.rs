//! Drugs and their stock. `stock` is written by rules/drugs.lua alone; the sorted set `drug:low` has those that run out.

use crate::fields::{Action, Field, Input, Kind};

pub(crate) static DRUG: Kind = Kind {
    title: &["name"],
    unique: "name",
    create: "save_drug",
    change: "save_drug",
    remove: "remove_drug",
    actions: &[Action {
        name: "stock",
        function: "stock",
        fields: &[Field::new("amount", Input::Number(-100_000, 100_000)).labelled("stock_change").required()],
        state: "",
    }],
    ..Kind::new("drug", "drugs", FIELDS)
};

const FIELDS: &[Field] = &[
    Field::new("name", Input::Line).required().listed().searched(),
    Field::new("form", Input::Of("word", "in:drug_forms")).required().listed().searched(),
    Field::new("strength", Input::Line).listed(),
    Field::new("stock_min", Input::Number(0, 100_000)).required().listed(),
    Field::new("stock", Input::Number(0, 1_000_000)).listed().shown_only(),
    Field::new("note", Input::Text),
];
