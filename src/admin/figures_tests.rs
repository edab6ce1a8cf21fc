//! /metrics and status.json of a service whose counters have fixed values.

use super::exposition::Format;
use super::view::tests::serving;
use super::{metrics, status};
use crate::kv::metrics::golden::{compare, fill};

#[test]
fn figures_are_shown_as_they_always_were() {
    let view = serving();
    fill(view.scoreboard);
    compare("metrics.txt", &metrics::text(&view, Format::Text));
    compare("status.txt", &serde_json::to_string_pretty(&status::json(&view)).unwrap());
}
