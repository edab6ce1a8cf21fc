//! Keyspace events: what a write tells of its keys, by the names of Redis. Knows nobody who listens.

/// What kind of event it is: the letters by which `notify-keyspace-events` asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Whatever the key holds: DEL, EXPIRE, RENAME.
    Generic,
    String,
    List,
    Set,
    Hash,
    SortedSet,
    Stream,
    /// The key's time had passed.
    Expired,
    /// The key was removed to make room.
    Evicted,
    /// Of a type that a module has brought.
    Module,
    /// A key that is not there was read.
    Miss,
    /// A key that was not there is there now.
    New,
}

/// The letter of each class, in the order of the classes.
const LETTERS: &[u8; 12] = b"g$lshztxedmn";
/// `A` stands for all classes but the two that come with every other call.
const ALL_BUT_MISS_AND_NEW: u16 = (1 << Class::Miss as u16) - 1;

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u16);

impl Classes {
    pub const NONE: Classes = Classes(0);

    /// The classes that a value of `notify-keyspace-events` names; `None` for a letter that it does not know. `K` and `E` say where
    /// events are published: without either nobody listens, whatever else there is.
    #[must_use]
    pub fn parse(letters: &[u8]) -> Option<Classes> {
        let (mut classes, mut is_published) = (0, false);
        for letter in letters {
            match letter {
                b'K' | b'E' => is_published = true,
                b'A' => classes |= ALL_BUT_MISS_AND_NEW,
                letter => classes |= 1 << LETTERS.iter().position(|known| known == letter)?,
            }
        }
        Some(Classes(if is_published { classes } else { 0 }))
    }

    #[must_use]
    pub const fn has(self, class: Class) -> bool {
        self.0 & 1 << class as u16 != 0
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

/// What one call tells, in order. It costs a comparison where nobody wants to hear it.
#[derive(Debug, Default)]
pub struct Events {
    wanted: Classes,
    told: Vec<Event>,
}

impl Events {
    /// Of a call of which somebody wants to hear these.
    #[must_use]
    pub const fn wanted(wanted: Classes) -> Events {
        Events { wanted, told: Vec::new() }
    }

    /// True exactly when somebody listens: what a handler must look up only for an event it looks up only then.
    #[must_use]
    pub const fn are_wanted(&self, class: Class) -> bool {
        self.wanted.has(class)
    }

    #[inline]
    pub fn tell(&mut self, database: u8, class: Class, name: &'static str, key: &[u8]) {
        if self.wanted.has(class) {
            self.told.push(Event { database, class, name, key: key.to_vec() });
        }
    }

    #[must_use]
    pub fn told(self) -> Vec<Event> {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Classes, Events};

    #[test]
    fn classes_are_asked_for_by_letter() {
        let has = |letters: &str, class| Classes::parse(letters.as_bytes()).unwrap().has(class);
        assert!(has("Kg", Class::Generic) && !has("Kg", Class::String));
        assert!(has("E$x", Class::String) && has("E$x", Class::Expired) && !has("E$x", Class::Evicted));
        assert!(has("KEA", Class::Generic) && has("KEA", Class::Module));
        assert!(!has("KEA", Class::Miss) && !has("KEA", Class::New) && has("KEAn", Class::New));
        assert_eq!(Classes::parse(b"Ag$"), Some(Classes::NONE), "published nowhere");
        assert_eq!(Classes::parse(b""), Some(Classes::NONE));
        assert_eq!(Classes::parse(b"Kq"), None);
    }

    #[test]
    fn only_what_somebody_wants_is_kept() {
        let mut events = Events::wanted(Classes::parse(b"K$").unwrap());
        events.tell(0, Class::New, "new", b"a");
        events.tell(0, Class::String, "set", b"a");
        assert_eq!(events.told().iter().map(|event| event.name).collect::<Vec<_>>(), ["set"]);
        let mut events = Events::default();
        events.tell(0, Class::String, "set", b"a");
        assert!(events.told().is_empty());
    }
}
