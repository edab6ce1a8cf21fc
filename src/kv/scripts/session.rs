//! What an interpreter's functions share: the host of the call that runs, whether it is over, and what is read-only. Knows no function.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use mlua::{Function, HookTriggers, Lua, MultiValue, Table, Value, VmState};

use super::json::JsonSettings;
use super::raise::{OUT_OF_MEMORY, Raised, ended};
use super::random::Random;
use super::seam::{Limits, LogLevel, Over};
use crate::resp::Version;

/// How many instructions a script runs between two questions whether it is over.
pub(super) const INSTRUCTIONS_A_QUESTION: u32 = 1000;

/// How much a library does between two: bytes that it compares or copies, elements that it moves.
pub(super) const STEPS_A_QUESTION: u32 = 50_000;

/// What one call has of the state, and what stays for the next.
pub(super) struct Session {
    pub(super) limits: Limits,
    /// Passes a [`Question`] to the host of the running call. None: no call runs.
    pub(super) host: RefCell<Option<Function>>,
    pub(super) exchange: RefCell<Exchange>,
    pub(super) version: Cell<Version>,
    pub(super) random: RefCell<Random>,
    /// Of the `cjson` that all scripts share.
    pub(super) json: Rc<Cell<JsonSettings>>,
    /// True exactly when the code of a function runs, or of a library: its chunks get that environment.
    pub(super) is_function: Cell<bool>,
    pub(super) loading: RefCell<Option<super::libraries::Loading>>,
    pub(super) natives: RefCell<Option<Natives>>,
    over: Cell<Option<Over>>,
    steps: Cell<u32>,
    /// Address of a read-only table -> what it stands for, and what `getmetatable` tells of it. They live as long as the state.
    protected: RefCell<HashMap<usize, Protected>>,
}

/// Functions of Lua itself that libraries call.
pub(super) struct Natives {
    pub(super) pcall: Function,
    pub(super) next: Function,
}

#[derive(Clone)]
pub(super) struct Protected {
    pub(super) contents: Table,
    pub(super) metatable: Option<Table>,
}

/// What the host's function is asked, as a number. The rest is in the [`Exchange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    IsOver,
    Call,
    MayCall,
    Log(LogLevel),
}

/// Bytes on their way to the host and back. Its memory is used again for the next call.
#[derive(Default)]
pub(super) struct Exchange {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    pub(super) reply: Vec<u8>,
    /// What the host says to `MayCall`; None: there is no such command.
    pub(super) may_call: Option<bool>,
}

/// What a buffer keeps of its memory until the next call.
const KEPT_BYTES: usize = 64 * 1024;

impl Exchange {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.ends.clear();
        self.reply.clear();
        self.reply.shrink_to(KEPT_BYTES);
    }

    pub(super) fn push(&mut self, argument: &[u8]) {
        self.bytes.extend_from_slice(argument);
        self.ends.push(self.bytes.len());
    }

    /// The arguments, and where the reply goes.
    pub(super) fn parts(&mut self) -> (smallvec::SmallVec<[&[u8]; 16]>, &mut Vec<u8>) {
        let mut begin = 0;
        let args = self.ends.iter().map(|end| &self.bytes[std::mem::replace(&mut begin, *end)..*end]).collect();
        (args, &mut self.reply)
    }
}

impl Question {
    pub(super) fn number(self) -> u8 {
        match self {
            Question::IsOver => 0,
            Question::Call => 1,
            Question::MayCall => 2,
            Question::Log(level) => 3 + level as u8,
        }
    }

    pub(super) fn of(number: u8) -> Question {
        match number {
            0 => Question::IsOver,
            1 => Question::Call,
            2 => Question::MayCall,
            3 => Question::Log(LogLevel::Debug),
            4 => Question::Log(LogLevel::Verbose),
            5 => Question::Log(LogLevel::Notice),
            _ => Question::Log(LogLevel::Warning),
        }
    }
}

impl Session {
    pub(super) fn new(limits: Limits) -> Rc<Session> {
        Rc::new(Session {
            limits,
            host: RefCell::new(None),
            exchange: RefCell::default(),
            version: Cell::new(Version::Resp2),
            random: RefCell::default(),
            json: Rc::default(),
            is_function: Cell::new(false),
            loading: RefCell::new(None),
            natives: RefCell::new(None),
            over: Cell::new(None),
            steps: Cell::new(0),
            protected: RefCell::default(),
        })
    }

    /// Asks the host of the running call. The answer to `IsOver`, and after a `Call`, is a reason's number, see [`Session::over_of`].
    pub(super) fn ask(&self, question: Question) -> mlua::Result<u8> {
        let host = self.host.borrow().clone();
        host.map_or(Ok(0), |host| host.call(question.number()))
    }

    pub(super) fn over_number(over: Option<Over>) -> u8 {
        over.map_or(0, |over| 1 + over as u8)
    }

    fn over_of(number: u8) -> Option<Over> {
        match number {
            0 => None,
            1 => Some(Over::Killed),
            2 => Some(Over::OutOfTime),
            _ => Some(Over::OutOfMemory),
        }
    }

    /// Why the running script is to end, once that is settled.
    pub(super) fn over(&self) -> Option<Over> {
        self.over.get()
    }

    /// Ends the script: from here on each of its instructions fails, so that no `pcall` goes on.
    pub(super) fn end(self: &Rc<Session>, lua: &Lua, over: Over) -> mlua::Error {
        if self.over.get().is_none() {
            self.over.set(Some(over));
            let armed = lua.set_global_hook(HookTriggers::new().every_nth_instruction(1), |_, _| Err(ended()));
            if let Err(error) = armed {
                return error;
            }
        }
        ended()
    }

    /// Has the host run the command that is in the exchange.
    ///
    /// # Errors
    /// The script is over.
    pub(super) fn call_host(self: &Rc<Session>, lua: &Lua) -> mlua::Result<()> {
        let over = Session::over_of(self.ask(Question::Call)?);
        over.map_or(Ok(()), |over| Err(self.end(lua, over)))
    }

    /// Counts what a library does, and asks now and then whether the script is over.
    pub(super) fn charge(self: &Rc<Session>, lua: &Lua, steps: usize) -> mlua::Result<()> {
        let left = self.steps.get().saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if left < STEPS_A_QUESTION {
            self.steps.set(left);
            return Ok(());
        }
        self.steps.set(0);
        self.check(lua)
    }

    /// # Errors
    /// The script is over.
    pub(super) fn check(self: &Rc<Session>, lua: &Lua) -> mlua::Result<()> {
        let over =
            self.over.get().map_or_else(|| self.ask(Question::IsOver).map(Session::over_of), |over| Ok(Some(over)));
        over?.map_or(Ok(()), |over| Err(self.end(lua, over)))
    }

    /// Whether a buffer may have so many bytes; they are counted as steps too.
    ///
    /// # Errors
    /// The script is over, for want of memory.
    pub(super) fn check_bytes(self: &Rc<Session>, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        if bytes > self.limits.memory_max { Err(self.end(lua, Over::OutOfMemory)) } else { Ok(()) }
    }

    /// Has the host asked every so many instructions, in every coroutine: one is born with its creator's hook.
    pub(super) fn watch(self: &Rc<Session>, lua: &Lua) -> mlua::Result<()> {
        let session = Rc::downgrade(self);
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(INSTRUCTIONS_A_QUESTION), move |lua, _| {
            session.upgrade().map_or(Ok(()), |session| session.check(lua)).map(|()| VmState::Continue)
        })
    }

    /// After a call: the next one begins as this one did.
    pub(super) fn reset(self: &Rc<Session>, lua: &Lua) -> mlua::Result<()> {
        *self.host.borrow_mut() = None;
        self.exchange.borrow_mut().clear();
        self.version.set(Version::Resp2);
        self.json.take();
        self.steps.set(0);
        if self.over.take().is_some() {
            self.watch(lua)?;
        }
        Ok(())
    }

    pub(super) fn protect(&self, table: &Table, protected: Protected) {
        self.protected.borrow_mut().insert(table.to_pointer() as usize, protected);
    }

    pub(super) fn protected(&self, table: &Table) -> Option<Protected> {
        self.protected.borrow().get(&(table.to_pointer() as usize)).cloned()
    }

    pub(super) fn is_protected(&self, table: &Table) -> bool {
        self.protected.borrow().contains_key(&(table.to_pointer() as usize))
    }

    /// Calls a function of the script from a library. Its error stays the value that it is.
    pub(super) fn call(&self, function: &Function, args: Vec<Value>) -> mlua::Result<Value> {
        let pcall = self.natives.borrow().as_ref().map(|natives| natives.pcall.clone());
        let pcall = pcall.ok_or_else(|| mlua::Error::runtime("no sandbox"))?;
        let mut values = VecDeque::from(args);
        values.push_front(Value::Function(function.clone()));
        let mut answer: MultiValue = pcall.call(MultiValue::from_vec(values.into()))?;
        let is_done = matches!(answer.pop_front(), Some(Value::Boolean(true)));
        match answer.pop_front().unwrap_or(Value::Nil) {
            value if is_done => Ok(value),
            Value::Error(error) => Err(*error),
            Value::String(text) if text.as_bytes() == OUT_OF_MEMORY => {
                Err(mlua::Error::MemoryError(text.to_string_lossy()))
            }
            value => Err(Raised::Value(value).into()),
        }
    }
}
