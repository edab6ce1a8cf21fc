//! What is written about the settings is what the program says of them.

use std::path::Path;
use std::process::Command;

use emptyserver::config::SETTINGS;
use emptyserver::kv::shared::parameters::PARAMETERS;

const BEGIN: &str = "<!-- settings: begin (emptyserver config --markdown) -->\n";
const END: &str = "<!-- settings: end -->";

/// As the program prints it; no variable of the person who runs the tests gets in.
fn printed(form: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_emptyserver")).args(["config", form]).env_clear().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn between_the_marks(text: &str) -> Option<&str> {
    text.split_once(BEGIN)?.1.split_once(END).map(|(table, _)| table)
}

#[test]
fn the_table_at_a_glance_is_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let document = std::fs::read_to_string(path).unwrap();
    let written = between_the_marks(&document).expect("docs/configuration.md has both marks");
    let printed = printed("--markdown");
    assert!(written == printed, "put this between the marks of docs/configuration.md:\n{printed}");
}

#[test]
fn the_reference_ends_with_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap();
    let printed = printed("--reference");
    assert!(written.ends_with(&printed), "docs/configuration.md has to end with this:\n{printed}");
}

#[test]
fn what_the_table_calls_changeable_is_what_config_set_changes() {
    for setting in SETTINGS {
        let parameters: Vec<_> = PARAMETERS.iter().filter(|parameter| parameter.setting == setting.name).collect();
        let is_changed = parameters.iter().any(|parameter| parameter.is_changeable());
        assert_eq!(is_changed, setting.changeable, "{}", setting.name);
    }
    for parameter in PARAMETERS.iter().filter(|parameter| !parameter.setting.is_empty()) {
        assert!(SETTINGS.iter().any(|setting| setting.name == parameter.setting), "{}", parameter.setting);
    }
}
