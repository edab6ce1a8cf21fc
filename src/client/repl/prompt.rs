//! The loop: a line is read, and what it asks for is done. Only leaving ends it: no error does, and neither does Ctrl-C.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;

use super::dictionary::Dictionary;
use super::display::Display;
use super::editor::{Assistant, Shared, editor};
use super::help::help;
use super::line::{Line, is_secret};
use super::session::{Session, Trouble};
use crate::client::clock;
use crate::client::connection::ClientError;
use crate::client::failure::{Failure, Outcome};
use crate::client::interrupt::Interrupts;
use crate::client::print::Style;
use crate::client::script::{streams, timing};
use crate::client::target::Target;
use crate::resp::Reply;

/// How the person wants it, from the flags and the environment.
#[derive(Clone, Debug)]
pub(crate) struct Preferences {
    /// `None`: nowhere.
    pub(crate) history: Option<PathBuf>,
    pub(crate) pager: Option<String>,
    pub(crate) is_paged: bool,
    pub(crate) is_coloured: bool,
    pub(crate) is_timed: bool,
    /// `None`: tables where a reply is one.
    pub(crate) style: Option<Style>,
}

/// Until the person leaves.
pub(crate) fn run(target: Target, preferences: Preferences) -> Result<Outcome, Failure> {
    let interrupts = Interrupts::new().map_err(|error| Failure::Usage(error.to_string()))?;
    let shared = Rc::new(Shared {
        dictionary: RefCell::new(Dictionary::built_in()),
        target: RefCell::new(target.clone()),
        is_connected: Cell::new(false),
    });
    let editor = editor(Rc::clone(&shared), preferences.history.as_deref(), preferences.is_coloured)
        .map_err(|error| Failure::Usage(format!("the prompt cannot begin: {error}")))?;
    let display = Display {
        style: preferences.style,
        is_coloured: preferences.is_coloured,
        is_paged: preferences.is_paged,
        pager: preferences.pager,
    };
    let session = Session::new(target, interrupts);
    let (is_timed, history) = (preferences.is_timed, preferences.history);
    let mut prompt = Prompt { editor, session, shared, display, is_timed, history };
    prompt.run().map_err(|error| Failure::of_output(&error))?;
    Ok(Outcome::Ok)
}

struct Prompt {
    editor: Editor<Assistant, FileHistory>,
    session: Session,
    shared: Rc<Shared>,
    display: Display,
    is_timed: bool,
    history: Option<PathBuf>,
}

impl Prompt {
    fn run(&mut self) -> io::Result<()> {
        match self.session.connect() {
            Ok(()) => self.learn(),
            Err(error) => self.display.complaint(&error.to_string())?,
        }
        loop {
            self.shared.is_connected.set(self.session.is_connected());
            self.shared.target.borrow_mut().clone_from(self.session.target());
            match self.editor.readline(&self.prompt()) {
                Ok(line) => {
                    self.remember(&line)?;
                    if self.obey(Line::read(&line))? {
                        return Ok(());
                    }
                }
                // The line is given up.
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// `127.0.0.1:6379[3](TX)> `.
    fn prompt(&self) -> String {
        if !self.session.is_connected() {
            return "not connected> ".to_owned();
        }
        let target = self.session.target();
        let database = if target.database == 0 { String::new() } else { format!("[{}]", target.database) };
        let transaction = if self.session.is_in_transaction() { "(TX)" } else { "" };
        format!("{target}{database}{transaction}> ")
    }

    /// What the service has beyond our table. One that does not say adds nothing; in a transaction it would be queued.
    fn learn(&mut self) {
        if self.session.is_in_transaction() {
            return;
        }
        let command = [b"COMMAND".to_vec(), b"DOCS".to_vec()];
        if let Ok(answer) = self.session.call(&command, |_| {}) {
            self.shared.dictionary.borrow_mut().add_docs(&answer.reply);
        }
    }

    /// Kept at once, so that a killed terminal loses nothing; never with a password.
    fn remember(&mut self, line: &str) -> io::Result<()> {
        if line.trim().is_empty() || is_secret(line) {
            return Ok(());
        }
        let is_new = self.editor.add_history_entry(line).map_err(io::Error::other)?;
        if let Some(path) = self.history.clone().filter(|_| is_new)
            && let Err(error) = self.editor.append_history(&path)
        {
            self.history = None;
            let text = format!("{} takes no history ({error}); EMPTYSERVER_HISTORY names another", path.display());
            self.display.complaint(&text)?;
        }
        Ok(())
    }

    /// True: leave.
    fn obey(&mut self, line: Line) -> io::Result<bool> {
        match line {
            Line::Blank => {}
            Line::Exit => return Ok(true),
            Line::Clear => self.editor.clear_screen().map_err(io::Error::other)?,
            Line::Timing(is_on) => self.is_timed = is_on,
            Line::Pager(is_on) => self.display.is_paged = is_on,
            Line::Format(style) => self.display.style = style,
            Line::Wrong(text) => self.display.complaint(&text)?,
            Line::Help(words) => self.display.remark(help(&words, &self.shared.dictionary.borrow()).trim_end())?,
            Line::Command(command) => self.run_command(&command)?,
        }
        Ok(false)
    }

    fn run_command(&mut self, command: &[Vec<u8>]) -> io::Result<()> {
        let was_connected = self.session.is_connected();
        let began = clock::monotonic();
        let mut pushes = Vec::new();
        let answer = self.session.call(command, |push| pushes.push(push.clone()));
        let took = clock::monotonic() - began;
        for push in &pushes {
            self.display.message(push)?;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(trouble) => return self.explain(&trouble),
        };
        if answer.is_reconnected {
            self.display.remark("(the connection had ended: this is a new one)")?;
        }
        self.display.reply(command, &answer.reply)?;
        if self.is_timed {
            self.display.remark(&timing(took))?;
        }
        // A service may tell nothing to somebody that it does not know.
        let is_login = command[0].eq_ignore_ascii_case(b"auth") && answer.reply == Reply::Ok;
        if (!was_connected || is_login) && !streams(command) {
            self.learn();
        }
        if streams(command) && !matches!(answer.reply, Reply::Error(_)) {
            self.follow()?;
        }
        Ok(())
    }

    /// Messages, until Ctrl-C.
    fn follow(&mut self) -> io::Result<()> {
        self.display.remark("(messages follow; Ctrl-C leaves)")?;
        loop {
            match self.session.next_message() {
                Ok(Some(message)) => self.display.message(&message)?,
                Ok(None) => return self.display.remark("(left)"),
                Err(error) => return self.display.complaint(&error.to_string()),
            }
        }
    }

    fn explain(&self, trouble: &Trouble) -> io::Result<()> {
        match trouble {
            Trouble::Unreachable(error) => self.display.complaint(&error.to_string()),
            Trouble::Lost(ClientError::Closed) => self
                .display
                .complaint("the service closed the connection before it answered: perhaps the command was run"),
            Trouble::Lost(error) => self.display.complaint(&format!("{error}: perhaps the command was run")),
            Trouble::TransactionLost => self.display.complaint(
                "the connection had ended, and with it the transaction and what was watched: the command was not sent",
            ),
            Trouble::Interrupted { is_transaction_lost: false } => {
                self.display.remark("(cancelled; this is a new connection)")
            }
            Trouble::Interrupted { is_transaction_lost: true } => self
                .display
                .remark("(cancelled; this is a new connection, without the transaction and what was watched)"),
        }
    }
}
