//! What the environment says about the person at a terminal: no settings of ours, but the names that all programs know.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub home: Option<PathBuf>,
    /// The program that shows long texts, with its flags.
    pub pager: Option<String>,
    /// <https://no-color.org>: set, to anything, means without colours.
    pub is_colourless: bool,
}

impl Person {
    #[expect(clippy::disallowed_methods, reason = "config reads the environment")]
    #[must_use]
    pub fn from_environment() -> Self {
        let filled = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            home: filled("HOME").map(PathBuf::from),
            pager: filled("PAGER"),
            is_colourless: filled("NO_COLOR").is_some(),
        }
    }

    /// A path as it is set: `~/` is this person's; `off` is no path, and neither is `~/` of somebody without a home.
    #[must_use]
    pub fn path(&self, set: &Path) -> Option<PathBuf> {
        match set.strip_prefix("~") {
            Ok(below_home) => self.home.as_ref().map(|home| home.join(below_home)),
            Err(_) => (set != Path::new("off")).then(|| set.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_at_home_or_off() {
        let ann = Person { home: Some("/home/ann".into()), ..Person::default() };
        assert_eq!(ann.path(Path::new("~/.history")), Some("/home/ann/.history".into()));
        assert_eq!(ann.path(Path::new("/tmp/h")), Some("/tmp/h".into()));
        assert_eq!(ann.path(Path::new("off")), None);
        assert_eq!(Person::default().path(Path::new("~/.history")), None);
    }
}
