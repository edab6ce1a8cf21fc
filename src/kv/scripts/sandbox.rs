//! The globals of scripts, of functions, and of libraries while they load: an allow-list, and all of it read-only.
//!
//! Lua 5.1 has no read-only tables: a script gets an empty one that stands for the table meant, reads through its metatable and fails to
//! write. The functions that go around metatables (`rawset`, `next`, `table.insert` …) are ours and know these tables.

use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, IntoLuaMulti, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value};

use super::arguments::Arguments;
use super::raise::{self, NATIVE, Raised};
use super::session::{Natives, Protected, Session};
use super::{api, bits, json, libraries, loading, msgpack, strings, structs, tables};

/// Where the chunks of scripts and functions find their globals.
pub(super) struct Sandbox {
    /// Of EVAL's scripts, and what it stands for: `KEYS` and `ARGV` are set there.
    pub(super) script_globals: Table,
    pub(super) script_contents: Table,
    /// Of functions. Its metatable leads to one of the two others.
    pub(super) function_globals: Table,
    function_metatable: Table,
    run_contents: Table,
    load_contents: Table,
    /// `prelude.lua`
    pub(super) run: Function,
    pub(super) call: Function,
    pub(super) load: Function,
}

/// Functions of Lua that are as they come: they read what they are given, in a time that follows its size.
const NATIVE_GLOBALS: &[&str] =
    &["_VERSION", "assert", "error", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring", "type"];
const NATIVE_STRING: &[&str] = &["byte", "char", "dump", "format", "gfind", "len", "sub"];
const NATIVE_TABLE: &[&str] = &["concat", "foreach", "foreachi", "getn", "maxn", "setn"];
const NATIVE_COROUTINE: &[&str] = &["create", "running", "status", "wrap", "yield"];
const NATIVE_MATH: &[&str] = &[
    "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor", "fmod", "frexp", "huge",
    "ldexp", "log", "log10", "max", "min", "mod", "modf", "pi", "pow", "rad", "sin", "sinh", "sqrt", "tan", "tanh",
];

const PRELUDE: &str = include_str!("prelude.lua");

pub(super) const READ_ONLY: &str = "Attempt to modify a readonly table";

/// A state that has no more than a sandbox needs.
pub(super) fn state(session: &Session) -> mlua::Result<Lua> {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
    // Otherwise mlua has functions of its own in the place of `pcall` and `xpcall`, which raise panics again: the interpreter does that.
    let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(true))?;
    lua.set_memory_limit(session.limits.memory_max)?;
    Ok(lua)
}

/// A function of a library.
pub(super) fn function<R: IntoLuaMulti + 'static>(
    lua: &Lua,
    session: &Rc<Session>,
    body: fn(&Rc<Session>, &Arguments<'_>) -> mlua::Result<R>,
) -> mlua::Result<Function> {
    let session = Rc::clone(session);
    lua.create_function(move |lua, values: MultiValue| body(&session, &Arguments::new(lua, values)))
}

impl Sandbox {
    pub(super) fn new(lua: &Lua, session: &Rc<Session>) -> mlua::Result<Sandbox> {
        let stock = lua.globals();
        *session.natives.borrow_mut() = Some(Natives { pcall: stock.raw_get("pcall")?, next: stock.raw_get("next")? });
        let prelude = prelude(lua, session)?;
        let refuse = function(lua, session, refuse)?;
        let missing = function(lua, session, missing)?;
        let protector = Protector { lua, session, refuse, missing };

        let run_contents = lua.create_table()?;
        copy(&stock, &run_contents, NATIVE_GLOBALS)?;
        copy(&prelude, &run_contents, &["pcall", "xpcall", "unpack"])?;
        tables::add_globals(lua, session, &run_contents)?;
        loading::add_globals(lua, session, &run_contents)?;
        for (name, contents) in protector.libraries(&stock, &prelude)? {
            let table = protector.protect(&contents, None)?;
            if name == "string" {
                protector.protect_strings(&contents, &table)?;
            }
            run_contents.raw_set(name, table)?;
        }
        let redis = protector.protect(&api::function_table(lua, session)?, None)?;
        run_contents.raw_set("redis", redis)?;

        let script_contents = lua.create_table()?;
        run_contents.for_each(|name: Value, value: Value| script_contents.raw_set(name, value))?;
        script_contents.raw_set("redis", protector.protect(&api::script_table(lua, session)?, None)?)?;
        let (script_globals, _) = protector.globals(&script_contents)?;
        let (function_globals, function_metatable) = protector.globals(&run_contents)?;

        let load_contents = lua.create_table()?;
        let redis = protector.with_error(&libraries::load_table(lua, session)?)?;
        load_contents.raw_set("redis", protector.protect(&redis, None)?)?;
        protector.with_error(&load_contents)?;

        Ok(Sandbox {
            script_globals,
            script_contents,
            function_globals,
            function_metatable,
            run_contents,
            load_contents,
            run: prelude.raw_get("run")?,
            call: prelude.raw_get("call")?,
            load: prelude.raw_get("load")?,
        })
    }

    /// While a library loads, its chunk sees nothing but what registers functions.
    pub(super) fn set_loading(&self, is_loading: bool) -> mlua::Result<()> {
        let contents = if is_loading { &self.load_contents } else { &self.run_contents };
        self.function_metatable.raw_set("__index", contents)
    }
}

fn prelude(lua: &Lua, session: &Rc<Session>) -> mlua::Result<Table> {
    let translate = function(lua, session, |session, args| raise::translate(session, args.lua, args.value(1).clone()))?;
    let place = function(lua, session, |_, args| {
        Ok(raise::place(args.lua).map_or((None, None), |(source, line)| (Some(source), Some(line))))
    })?;
    let is_protected = function(lua, session, |session, args| {
        Ok(args.value(1).as_table().is_some_and(|table| session.is_protected(table)))
    })?;
    let is_over = function(lua, session, |session, _| Ok(session.over().is_some()))?;
    let raise = function(lua, session, |_, args| Err::<(), _>(raise::error(args.lua, args.string(1)?.as_bytes())))?;
    lua.load(PRELUDE).set_name(NATIVE).set_mode(ChunkMode::Text).call((translate, place, is_protected, raise, is_over))
}

fn copy(from: &Table, to: &Table, names: &[&str]) -> mlua::Result<()> {
    names.iter().try_for_each(|name| to.raw_set(*name, from.raw_get::<Value>(*name)?))
}

struct Protector<'a> {
    lua: &'a Lua,
    session: &'a Rc<Session>,
    refuse: Function,
    missing: Function,
}

impl Protector<'_> {
    /// The libraries' tables, by their names.
    fn libraries(&self, stock: &Table, prelude: &Table) -> mlua::Result<Vec<(&'static str, Table)>> {
        let (lua, session) = (self.lua, self.session);
        let natives = |name: &str, names: &[&str]| {
            let table = lua.create_table()?;
            copy(&stock.raw_get(name)?, &table, names).map(|()| table)
        };
        let string = natives("string", NATIVE_STRING)?;
        strings::add(lua, session, &string)?;
        let table = natives("table", NATIVE_TABLE)?;
        tables::add(lua, session, &table)?;
        table.raw_set("sort", prelude.raw_get::<Function>("sort")?)?;
        let math = natives("math", NATIVE_MATH)?;
        api::add_math(lua, session, &math)?;
        let coroutine = natives("coroutine", NATIVE_COROUTINE)?;
        coroutine.raw_set("resume", prelude.raw_get::<Function>("resume")?)?;
        Ok(vec![
            ("string", string),
            ("table", table),
            ("math", math),
            ("coroutine", coroutine),
            ("os", natives("os", &["clock"])?),
            ("bit", bits::table(lua, session)?),
            ("cjson", json::table(lua, session)?),
            ("cmsgpack", msgpack::table(lua, session)?),
            ("struct", structs::table(lua, session)?),
        ])
    }

    /// A table that stands for `contents`. `metatable`: what `getmetatable` tells of it.
    fn protect(&self, contents: &Table, metatable: Option<Table>) -> mlua::Result<Table> {
        let (table, _) = self.stand_in(contents)?;
        self.session.protect(&table, Protected { contents: contents.clone(), metatable });
        self.keep(&table)?;
        Ok(table)
    }

    fn stand_in(&self, contents: &Table) -> mlua::Result<(Table, Table)> {
        let (table, metatable) = (self.lua.create_table()?, self.lua.create_table()?);
        metatable.raw_set("__index", contents)?;
        metatable.raw_set("__newindex", &self.refuse)?;
        metatable.raw_set("__metatable", false)?;
        table.set_metatable(Some(metatable.clone()))?;
        Ok((table, metatable))
    }

    /// Protected tables are known by their addresses, so none may ever be freed.
    fn keep(&self, table: &Table) -> mlua::Result<()> {
        let kept: Option<Table> = self.lua.named_registry_value("protected")?;
        let kept = kept.map_or_else(|| self.lua.create_table(), Ok)?;
        kept.raw_push(table)?;
        self.lua.set_named_registry_value("protected", kept)
    }

    /// `contents` as globals, with `_G` in it, and their metatable.
    fn globals(&self, contents: &Table) -> mlua::Result<(Table, Table)> {
        self.with_error(contents)?;
        let (table, metatable) = self.stand_in(contents)?;
        let told = self.lua.create_table()?;
        told.raw_set("__index", &self.missing)?;
        let told = self.protect(&told, None)?;
        self.session.protect(&table, Protected { contents: contents.clone(), metatable: Some(told) });
        self.keep(&table)?;
        contents.raw_set("_G", &table)?;
        Ok((table, metatable))
    }

    /// Reading what is not there is an error.
    fn with_error(&self, contents: &Table) -> mlua::Result<Table> {
        let metatable = self.lua.create_table()?;
        metatable.raw_set("__index", &self.missing)?;
        contents.set_metatable(Some(metatable))?;
        Ok(contents.clone())
    }

    /// All strings have one metatable: a script that could write to it would reach into every later one.
    fn protect_strings(&self, contents: &Table, table: &Table) -> mlua::Result<()> {
        let metatable = self.lua.create_table()?;
        metatable.raw_set("__index", contents)?;
        let told = self.lua.create_table()?;
        told.raw_set("__index", table)?;
        metatable.raw_set("__metatable", self.protect(&told, None)?)?;
        self.lua.set_type_metatable::<LuaString>(Some(metatable));
        Ok(())
    }
}

/// `__newindex` of what is read-only.
fn refuse(_: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<()> {
    Err(raise::error(args.lua, READ_ONLY))
}

/// `__index` of globals.
fn missing(_: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<()> {
    let text = match super::arguments::string_of(args.lua, args.value(2))? {
        Some(name) => {
            [b"Script attempted to access nonexistent global variable '", &name.as_bytes()[..], b"'"].concat()
        }
        None => b"Second argument to luaProtectedTableError must be a string or number".to_vec(),
    };
    Err(raise::error(args.lua, text))
}

/// Of functions that write around metatables. As Lua says it within a function in C: without a place.
pub(super) fn check_writable(session: &Session, table: &Table) -> mlua::Result<()> {
    if session.is_protected(table) { Err(Raised::Text(READ_ONLY.into()).into()) } else { Ok(()) }
}
