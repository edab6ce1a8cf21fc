//! One Lua state: compiles scripts and libraries, runs them, and is as it was afterwards.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mlua::{Function as LuaFunction, Lua, LuaString, Table, Value};

use super::libraries::Loading;
use super::loading::compile;
use super::raise::{self, OUT_OF_MEMORY, Raised};
use super::sandbox::{self, Sandbox};
use super::seam::{Host, Library, Limits, Over, ScriptError, ScriptFlags, Sha1};
use super::session::{Question, Session};
use super::shebang;
use super::writing::{self, Stop};
use crate::kv::errors;
use crate::resp::ReplyWriter;

/// A state with its sandbox. It belongs to one thread; scripts run in it one after the other, and leave nothing behind but what libraries keep in
/// their own variables.
pub struct Interpreter {
    limits: Limits,
    /// None: the last one broke, or there was no memory for it. It is made anew when it is needed, and libraries are loaded again from `libraries`.
    state: Option<State>,
    /// The code of each library that is loaded.
    libraries: HashMap<Vec<u8>, Vec<u8>>,
}

struct State {
    lua: Lua,
    session: Rc<Session>,
    sandbox: Sandbox,
    /// The bytes of its SHA-1 -> compiled script.
    scripts: Table,
    /// What is in `scripts`, and when it ran last.
    known: HashMap<Sha1, Known>,
    runs: u64,
    /// Library -> function -> what FCALL calls.
    libraries: Table,
    /// False: it was made in the place of one that broke, and the libraries of that are not loaded yet.
    has_libraries: bool,
}

struct Known {
    flags: ScriptFlags,
    last_run: u64,
}

/// Two things of the caller, where the host's function finds both.
struct HostCell<'a>(RefCell<&'a mut dyn Host>);

impl Interpreter {
    /// Nothing is made before it is needed.
    #[must_use]
    pub fn new(limits: Limits) -> Interpreter {
        Interpreter { limits, state: None, libraries: HashMap::new() }
    }

    /// Compiles a script without running it, and reads its first line.
    ///
    /// # Errors
    /// `ScriptError::Reply`: it is no script.
    pub fn check(&mut self, source: &[u8]) -> Result<ScriptFlags, ScriptError> {
        self.with_state(|state| state.script(&Sha1::of(source), source).map(|(flags, _)| flags))
    }

    /// Runs a script, and writes what it returns. The reply of one that fails is not whole: the caller takes it back.
    ///
    /// # Errors
    /// `ScriptError`
    pub fn eval(
        &mut self,
        sha: &Sha1,
        source: &[u8],
        keys: &[&[u8]],
        argv: &[&[u8]],
        reply: &mut ReplyWriter<'_>,
        host: &mut dyn Host,
    ) -> Result<(), ScriptError> {
        self.with_state(|state| {
            let (_, script) = state.script(sha, source)?;
            let contents = &state.sandbox.script_contents;
            state.lua_result(contents.raw_set("KEYS", state.array(keys)?))?;
            state.lua_result(contents.raw_set("ARGV", state.array(argv)?))?;
            state.run(host, |state| state.sandbox.run.call((script,)), sha, reply)
        })
    }

    /// Loads a library, in the place of one with its name. Where it fails, nothing has changed.
    ///
    /// # Errors
    /// `ScriptError`
    pub fn load_library(&mut self, code: &[u8], host: &mut dyn Host) -> Result<Library, ScriptError> {
        self.restore_libraries(host);
        let library = self.with_state(|state| state.load_library(code, host))?;
        self.libraries.insert(library.name.clone(), code.to_vec());
        Ok(library)
    }

    pub fn unload_library(&mut self, name: &[u8]) {
        self.libraries.remove(name);
        if let Some(state) = &self.state {
            let forgotten = state.lua.create_string(name).and_then(|name| state.libraries.raw_set(name, Value::Nil));
            // Without memory for a name there is no state to keep: the next one is made of what is left.
            if forgotten.is_err() {
                self.state = None;
            }
        }
    }

    /// Runs a function of a loaded library; like `eval`.
    ///
    /// # Errors
    /// `ScriptError`
    pub fn call_function(
        &mut self,
        library: &[u8],
        function: &[u8],
        keys: &[&[u8]],
        argv: &[&[u8]],
        reply: &mut ReplyWriter<'_>,
        host: &mut dyn Host,
    ) -> Result<(), ScriptError> {
        self.restore_libraries(host);
        self.with_state(|state| {
            let callback = state.callback(library, function)?;
            let callback = callback.ok_or_else(|| ScriptError::reply(errors::FUNCTION_NOT_FOUND))?;
            let (keys, argv) = (state.array(keys)?, state.array(argv)?);
            let name = String::from_utf8_lossy(function);
            state.session.is_function.set(true);
            let result = state.run(host, |state| state.sandbox.call.call((callback, keys, argv)), &name, reply);
            state.session.is_function.set(false);
            result
        })
    }

    /// Forgets every compiled script (SCRIPT FLUSH).
    pub fn forget_scripts(&mut self) {
        if let Some(state) = &mut self.state
            && state.forget_scripts().is_err()
        {
            self.state = None;
        }
    }

    /// Bytes of the state.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.lua.used_memory())
    }

    /// What breaks leaves with the state that it broke: the libraries that were loaded are loaded again. They were once, so they do not fail but for
    /// want of memory, and then their functions are not found.
    fn restore_libraries(&mut self, host: &mut dyn Host) {
        if self.state.as_ref().is_some_and(|state| state.has_libraries) {
            return;
        }
        for code in self.libraries.values().cloned().collect::<Vec<_>>() {
            if let Err(error) = self.with_state(|state| state.load_library(&code, host)) {
                tracing::warn!(error = %error.text(), "a library could not be loaded again");
            }
        }
        if let Some(state) = &mut self.state {
            state.has_libraries = true;
        }
    }

    /// Runs `body` with the state, which is made if need be, and given up where it panics: so it does when a script holds more values
    /// than mlua can count.
    fn with_state<R>(&mut self, body: impl FnOnce(&mut State) -> Result<R, ScriptError>) -> Result<R, ScriptError> {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => {
                State::new(self.limits, self.libraries.is_empty()).map_err(|_| ScriptError::Ended(Over::OutOfMemory))?
            }
        };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = body(&mut state);
            state.clean().map(|()| result)
        }));
        match result {
            Ok(Ok(result)) => {
                self.state = Some(state);
                result
            }
            Ok(Err(_)) | Err(_) => Err(ScriptError::Ended(Over::OutOfMemory)),
        }
    }
}

impl State {
    /// `has_libraries`: there are none to be loaded again.
    fn new(limits: Limits, has_libraries: bool) -> mlua::Result<State> {
        let session = Session::new(limits);
        let lua = sandbox::state(&session)?;
        let sandbox = Sandbox::new(&lua, &session)?;
        lua.set_named_registry_value("scripts", &sandbox.script_globals)?;
        lua.set_named_registry_value("functions", &sandbox.function_globals)?;
        session.watch(&lua)?;
        let (scripts, libraries) = (lua.create_table()?, lua.create_table()?);
        Ok(State { lua, session, sandbox, scripts, known: HashMap::new(), runs: 0, libraries, has_libraries })
    }

    /// The compiled script, and its flags.
    fn script(&mut self, sha: &Sha1, source: &[u8]) -> Result<(ScriptFlags, LuaFunction), ScriptError> {
        self.runs += 1;
        let name = self.script_name(sha)?;
        if let Some(known) = self.known.get_mut(sha) {
            known.last_run = self.runs;
            let flags = known.flags;
            return Ok((flags, self.lua_result(self.scripts.raw_get(name))?));
        }
        if source.len() > self.session.limits.source_bytes_max {
            return Err(ScriptError::reply(errors::SCRIPT_TOO_LONG));
        }
        let (flags, begin) = shebang::of_script(source)?;
        let compiled = compile(&self.lua, &source[begin..], "@user_script", &self.sandbox.script_globals);
        let script = self.lua_result(compiled)?.map_err(|text| {
            ScriptError::reply(format!("{}{}", errors::SCRIPT_DOES_NOT_COMPILE, String::from_utf8_lossy(&text)))
        })?;
        if self.known.len() >= self.session.limits.scripts_max {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.last_run).map(|(sha, _)| *sha);
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
                let oldest = self.script_name(&oldest)?;
                self.lua_result(self.scripts.raw_set(oldest, Value::Nil))?;
            }
        }
        self.lua_result(self.scripts.raw_set(name, &script))?;
        self.known.insert(*sha, Known { flags, last_run: self.runs });
        Ok((flags, script))
    }

    /// What it has in `scripts`.
    fn script_name(&self, sha: &Sha1) -> Result<LuaString, ScriptError> {
        self.lua_result(self.lua.create_string(sha.0))
    }

    fn forget_scripts(&mut self) -> mlua::Result<()> {
        self.known.clear();
        self.scripts = self.lua.create_table()?;
        Ok(())
    }

    fn array(&self, values: &[&[u8]]) -> Result<Table, ScriptError> {
        let array = || {
            let table = self.lua.create_table_with_capacity(values.len(), 0)?;
            for (number, value) in (1..).zip(values) {
                table.raw_set(number, self.lua.create_string(value)?)?;
            }
            Ok(table)
        };
        self.lua_result(array())
    }

    fn callback(&self, library: &[u8], function: &[u8]) -> Result<Option<LuaFunction>, ScriptError> {
        let find = || {
            let functions: Option<Table> = self.libraries.raw_get(self.lua.create_string(library)?)?;
            functions.map_or(Ok(None), |functions| functions.raw_get(self.lua.create_string(function)?))
        };
        self.lua_result(find())
    }

    /// What goes wrong outside of a script's own calls is want of memory.
    fn lua_result<R>(&self, result: mlua::Result<R>) -> Result<R, ScriptError> {
        result.map_err(|error| self.ended_by(&error))
    }

    /// Runs what `call` calls, and writes what it returns.
    fn run(
        &self,
        host: &mut dyn Host,
        call: impl FnOnce(&State) -> mlua::Result<(bool, Value)>,
        name: &dyn Display,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), ScriptError> {
        let host = HostCell(RefCell::new(host));
        let mut outcome = Ok(());
        let ran = self.with_host(&host, || {
            let answer = call(self);
            outcome = match (self.session.over(), answer) {
                (Some(over), _) => Err(ScriptError::Ended(over)),
                (None, Err(error)) => Err(self.ended_by(&error)),
                (None, Ok((false, error))) => Err(self.uncaught(&error, name)),
                (None, Ok((true, value))) => self.write(&value, reply),
            };
        });
        ran.map_err(|error| self.ended_by(&error)).and(outcome)
    }

    fn write(&self, value: &Value, reply: &mut ReplyWriter<'_>) -> Result<(), ScriptError> {
        writing::value(&self.lua, &self.session, value, reply).map_err(|stop| match stop {
            Stop::TooLarge => ScriptError::ReplyTooLarge,
            Stop::Error { text, is_counted } => ScriptError::of_text(&text, is_counted),
            Stop::Lua(error) => self.ended_by(&error),
        })
    }

    /// Lets the script reach its host while `body` runs.
    fn with_host(&self, host: &HostCell<'_>, body: impl FnOnce()) -> mlua::Result<()> {
        let session = &self.session;
        self.lua.scope(|scope| {
            let answer = scope.create_function(|_, number: u8| Ok(answer(session, host, Question::of(number))))?;
            *session.host.borrow_mut() = Some(answer);
            body();
            *session.host.borrow_mut() = None;
            Ok(())
        })
    }

    /// The reply to a script whose error nobody caught.
    fn uncaught(&self, error: &Value, name: &dyn Display) -> ScriptError {
        match error {
            Value::Table(table) => self.uncaught_table(table, name).unwrap_or_else(|error| self.ended_by(&error)),
            Value::String(text) if text.as_bytes() == OUT_OF_MEMORY => ScriptError::Ended(Over::OutOfMemory),
            Value::String(text) => {
                ScriptError::reply(format!("ERR Error running script {name}, {:.100}", text.to_string_lossy()))
            }
            Value::Error(error) => self.ended_by(error),
            _ => ScriptError::reply(format!("ERR Error running script {name}, execution failure")),
        }
    }

    fn uncaught_table(&self, table: &Table, name: &dyn Display) -> mlua::Result<ScriptError> {
        let field = |key: &str| Ok::<_, mlua::Error>(self.lua.coerce_string(table.raw_get(key)?).ok().flatten());
        let text = field("err")?.map_or_else(|| b"ERR unknown error".to_vec(), |text| writing::c_string(&text));
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if let (Some(source), Some(line)) = (field("source")?, field("line")?) {
            let (source, line) = (source.to_string_lossy(), line.to_string_lossy());
            text.push_str(&format!(" script: {name}, on {source}:{line}."));
        }
        let is_counted = matches!(table.raw_get("ignore_error_stats_update")?, Value::Boolean(true));
        Ok(ScriptError::Reply { text, is_counted })
    }

    /// Errors that come out of Lua without having been a script's: it was ended, or memory is short.
    fn ended_by(&self, error: &mlua::Error) -> ScriptError {
        if let Some(over) = self.session.over() {
            return ScriptError::Ended(over);
        }
        match raise::cause(error) {
            mlua::Error::MemoryError(_) => ScriptError::Ended(Over::OutOfMemory),
            mlua::Error::ExternalError(external) => match external.downcast_ref::<Raised>() {
                Some(Raised::Text(text)) => ScriptError::of_text(&[b"ERR ", &text[..]].concat(), false),
                Some(Raised::Reply { text, is_counted }) => ScriptError::of_text(text, *is_counted),
                _ => ScriptError::reply(errors::INTERNAL),
            },
            mlua::Error::RuntimeError(text) if text.as_bytes().starts_with(OUT_OF_MEMORY) => {
                ScriptError::Ended(Over::OutOfMemory)
            }
            other => ScriptError::reply(format!("ERR {other}")),
        }
    }

    fn load_library(&mut self, code: &[u8], host: &mut dyn Host) -> Result<Library, ScriptError> {
        if code.len() > self.session.limits.source_bytes_max {
            return Err(ScriptError::reply(errors::SCRIPT_TOO_LONG));
        }
        let metadata = shebang::of_library(code)?;
        let compiled = compile(&self.lua, &code[metadata.length..], "@user_function", &self.sandbox.function_globals);
        let chunk = self.lua_result(compiled)?.map_err(|text| {
            ScriptError::reply(format!("{}{}", errors::LIBRARY_DOES_NOT_COMPILE, String::from_utf8_lossy(&text)))
        })?;
        let callbacks = self.lua_result(self.lua.create_table())?;
        *self.session.loading.borrow_mut() = Some(Loading { functions: Vec::new(), callbacks });
        let result = self.run_library(chunk, host);
        let loaded = self.session.loading.borrow_mut().take();
        result?;
        let loaded = loaded.filter(|loaded| !loaded.functions.is_empty());
        let Some(Loading { functions, callbacks }) = loaded else {
            return Err(ScriptError::reply(errors::NO_FUNCTIONS_REGISTERED));
        };
        let name = self.lua_result(self.lua.create_string(&metadata.name))?;
        self.lua_result(self.libraries.raw_set(name, callbacks))?;
        Ok(Library { name: metadata.name, engine: metadata.engine, functions })
    }

    fn run_library(&self, chunk: LuaFunction, host: &mut dyn Host) -> Result<(), ScriptError> {
        self.lua_result(self.sandbox.set_loading(true))?;
        self.session.is_function.set(true);
        let host = HostCell(RefCell::new(host));
        let mut answer = None;
        let ran = self.with_host(&host, || answer = Some(self.sandbox.load.call::<(bool, Value)>((chunk,))));
        self.session.is_function.set(false);
        self.lua_result(self.sandbox.set_loading(false))?;
        self.lua_result(ran)?;
        if let Some(over) = self.session.over() {
            return Err(ScriptError::Ended(over));
        }
        match answer {
            Some(Ok((true, _))) => Ok(()),
            Some(Ok((false, error))) => Err(self.not_registered(&error)),
            Some(Err(error)) => Err(self.ended_by(&error)),
            None => Err(ScriptError::reply(errors::INTERNAL)),
        }
    }

    fn not_registered(&self, error: &Value) -> ScriptError {
        let text = match error {
            Value::Table(table) => writing::error_of(table).ok().flatten().map(|(text, _)| text),
            value => self
                .lua
                .coerce_string(value.clone())
                .ok()
                .flatten()
                .map(|text| [b"ERR ", &writing::c_string(&text)[..]].concat()),
        };
        let text = text.unwrap_or_else(|| b"ERR unknown error".to_vec());
        ScriptError::reply(format!("{}{}", errors::FUNCTIONS_NOT_REGISTERED, String::from_utf8_lossy(&text)))
    }

    /// After a call: what it left is collected, so that the next one has the memory that it had.
    fn clean(&mut self) -> mlua::Result<()> {
        let was_over = self.session.over().is_some();
        self.session.reset(&self.lua)?;
        let half = self.session.limits.memory_max / 2;
        if was_over || self.lua.used_memory() > half {
            for name in ["KEYS", "ARGV"] {
                self.sandbox.script_contents.raw_set(name, Value::Nil)?;
            }
            self.lua.gc_collect()?;
            if self.lua.used_memory() > half {
                self.forget_scripts()?;
                self.lua.gc_collect()?;
            }
        }
        Ok(())
    }
}

/// What the host says. Nothing is passed but a number, so that no value of Lua is made on the way.
fn answer(session: &Session, host: &HostCell<'_>, question: Question) -> u8 {
    let mut host = host.0.borrow_mut();
    if question == Question::IsOver {
        return Session::over_number(host.is_over());
    }
    let mut exchange = session.exchange.borrow_mut();
    match question {
        Question::IsOver => {}
        Question::Call => {
            let (args, reply) = exchange.parts();
            host.call(&args, session.version.get(), reply);
            // A call may take long, and a script of few instructions may make many.
            return Session::over_number(host.is_over());
        }
        Question::MayCall => {
            let answer = host.may_call(&exchange.parts().0).ok();
            exchange.may_call = answer;
        }
        Question::Log(level) => {
            let (args, _) = exchange.parts();
            host.log(level, args.first().copied().unwrap_or_default());
        }
    }
    0
}
