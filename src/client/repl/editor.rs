//! rustyline's side of the prompt: it asks here for completion, hints, colours, and whether a line is finished.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::colours::{DIM, RESET, coloured};
use super::completion::{KeyFinder, complete};
use super::dictionary::Dictionary;
use super::grammar::{open_after, rendered};
use crate::client::target::Target;
use crate::client::words::words_of;

const HISTORY_LINES_MAX: usize = 5000;

/// What the editor and the loop both see.
pub(super) struct Shared {
    pub(super) dictionary: RefCell<Dictionary>,
    /// Where the prompt's connection is; the keys that completion offers are from there.
    pub(super) target: RefCell<Target>,
    pub(super) is_connected: Cell<bool>,
}

pub(super) struct Assistant {
    shared: Rc<Shared>,
    keys: KeyFinder,
    is_coloured: bool,
}

/// With the history of that file, if there is one.
pub(super) fn editor(
    shared: Rc<Shared>,
    history: Option<&Path>,
    is_coloured: bool,
) -> rustyline::Result<Editor<Assistant, FileHistory>> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let empty = FileHistory::with_config(&config);
    let mut editor = Editor::with_history(config, empty)?;
    editor.set_helper(Some(Assistant { shared, keys: KeyFinder::default(), is_coloured }));
    if let Some(path) = history.filter(|path| path.exists()) {
        editor.load_history(path)?;
    }
    Ok(editor)
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let keys = |prefix: &[u8]| {
            if self.shared.is_connected.get() {
                self.keys.find(&self.shared.target.borrow(), prefix)
            } else {
                Vec::new()
            }
        };
        let (start, candidates) = complete(&line[..position], &self.shared.dictionary.borrow(), keys);
        let pair = |text: String| Pair { display: text.clone(), replacement: text };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

/// Shown and never taken over: it says what is to be typed.
pub(super) struct Syntax(String);

impl Hint for Syntax {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = Syntax;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<Syntax> {
        if position < line.len() { None } else { hint(line, &self.shared.dictionary.borrow()).map(Syntax) }
    }
}

/// The arguments still to come, for who stands at the end of the line.
fn hint(line: &str, dictionary: &Dictionary) -> Option<String> {
    let words = words_of(line);
    if words.last()?.open_quote.is_some() {
        return None;
    }
    let texts: Vec<Vec<u8>> = words.into_iter().map(|word| word.text).collect();
    let (_, entry, count) = dictionary.find(&texts)?;
    let rest = if entry.is_container {
        "subcommand".to_owned()
    } else {
        rendered(&open_after(&entry.arguments(), &texts[count..])?)
    };
    let blank = if line.ends_with(' ') { "" } else { " " };
    (!rest.is_empty()).then(|| format!("{blank}{rest}"))
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Owned(coloured(line, &self.shared.dictionary.borrow(), self.is_coloured))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.is_coloured { Cow::Owned(format!("{DIM}{hint}{RESET}")) } else { Cow::Borrowed(hint) }
    }

    /// Any letter may turn a word into a command or out of one.
    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

impl Validator for Assistant {
    /// A quote that is open goes on in the next line.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_open = words_of(context.input()).last().is_some_and(|word| word.open_quote.is_some());
        Ok(if is_open { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_follows_what_is_typed() {
        let shown = |line: &str| hint(line, &Dictionary::built_in());
        assert_eq!(shown("get").as_deref(), Some(" key"));
        assert_eq!(shown("get ").as_deref(), Some("key"));
        assert_eq!(shown("getrange a ").as_deref(), Some("start end"));
        assert_eq!(shown("config").as_deref(), Some(" subcommand"));
        assert_eq!(shown("config get").as_deref(), Some(" parameter [parameter ...]"));
        for line in ["", "ge", "get a", "get \"a", "get a b", "nonsense a"] {
            assert_eq!(shown(line), None, "{line}");
        }
    }
}
