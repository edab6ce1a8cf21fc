//! Each promise of docs/security.md names a test, and there is one of that name.

use std::path::Path;

fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn each_promise_has_its_test() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut program = String::new();
    ["src", "tests"].iter().for_each(|folder| sources(&package.join(folder), &mut program));
    let page = std::fs::read_to_string(package.join("docs/security.md")).unwrap();
    let rows =
        page.split("| promise | test |\n|---|---|\n").nth(1).unwrap().lines().take_while(|line| line.starts_with('|'));
    let (mut promises, mut missing) = (0, Vec::new());
    for row in rows {
        let names: Vec<&str> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        missing.extend(names.into_iter().filter(|name| !program.contains(&format!("fn {name}()"))));
        promises += 1;
    }
    assert!(promises > 15 && missing.is_empty(), "no such tests: {missing:?}");
}
