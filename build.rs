//! Tells the program which commit it is: BUILD_COMMIT, or what git says, or "unknown".

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=BUILD_COMMIT");
    let given = option_env_at_build("BUILD_COMMIT");
    let commit = given.or_else(commit_from_git).unwrap_or_else(|| "unknown".to_owned());
    // Not with our prefix: `cargo run` hands this variable on to the program, which refuses unknown settings.
    println!("cargo:rustc-env=BUILD_COMMIT={commit}");
}

fn option_env_at_build(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

/// Only in a checkout of its own: a package that was unpacked inside another repository is not that repository's commit.
fn commit_from_git() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // HEAD changes when another branch is checked out, its ref when something is committed. A path that does not exist
    // would rebuild the package every time.
    let reference = git(&["rev-parse", "--symbolic-full-name", "HEAD"]).unwrap_or_default();
    for name in ["HEAD", reference.as_str(), "packed-refs"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).is_file()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    println!("cargo:rerun-if-changed=build.rs");
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
