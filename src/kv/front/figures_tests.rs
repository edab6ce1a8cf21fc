//! INFO of a service whose counters have fixed values.

use crate::kv::front::stage::Stage;
use crate::kv::metrics::golden::{compare, fill};

#[test]
fn figures_are_shown_as_they_always_were() {
    let mut stage = Stage::with(|settings| settings.workers = 2);
    let client = stage.pump.connect();
    fill(stage.shared.scoreboard);
    stage.pump.receive(client, b"INFO everything\r\n");
    compare("info.txt", &String::from_utf8(stage.pump.sent_to(client)).unwrap());
}
