//! Keyspace events: what a write tells of its keys, as `notify-keyspace-events` names it. Knows nobody who listens.

/// What kind of event it is: the letter by which `notify-keyspace-events` asks for it. `K` and `E` say where an event is published, and
/// `A` stands for all of these but `m` and `n`: neither is the class of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `g`: whatever the key holds (DEL, EXPIRE, RENAME).
    Generic,
    /// `$`
    String,
    /// `l`
    List,
    /// `s`
    Set,
    /// `h`
    Hash,
    /// `z`
    SortedSet,
    /// `x`: its time had passed.
    Expired,
    /// `e`: it made room.
    Evicted,
    /// `t`
    Stream,
    /// `d`: what a module's type tells.
    Module,
    /// `m`: a key that is not there was read.
    Miss,
    /// `n`: a key that was not there is there now.
    New,
}

impl Class {
    /// The letter of the configuration.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Class::Generic => 'g',
            Class::String => '$',
            Class::List => 'l',
            Class::Set => 's',
            Class::Hash => 'h',
            Class::SortedSet => 'z',
            Class::Expired => 'x',
            Class::Evicted => 'e',
            Class::Stream => 't',
            Class::Module => 'd',
            Class::Miss => 'm',
            Class::New => 'n',
        }
    }
}

/// This happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub database: u8,
    pub class: Class,
    /// As Redis names it: "set", "rename_from".
    pub name: &'static str,
    pub key: Vec<u8>,
}

/// What one call tells, in order. It costs next to nothing while nobody wants it.
#[derive(Debug, Default)]
pub struct Events {
    /// `None`: nobody listens.
    told: Option<Vec<Event>>,
}

impl Events {
    /// Of a call to which nobody listens.
    #[must_use]
    pub const fn unwanted() -> Events {
        Events { told: None }
    }

    #[must_use]
    pub const fn wanted() -> Events {
        Events { told: Some(Vec::new()) }
    }

    /// True exactly when somebody listens: what a handler must look up only for an event is not looked up otherwise.
    #[must_use]
    pub fn are_wanted(&self) -> bool {
        self.told.is_some()
    }

    pub fn tell(&mut self, event: impl FnOnce() -> Event) {
        if let Some(told) = &mut self.told {
            told.push(event());
        }
    }

    #[must_use]
    pub fn told(self) -> Vec<Event> {
        self.told.unwrap_or_default()
    }
}
