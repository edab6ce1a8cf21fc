//! Keyspace events: what a write tells of its keys, by the names of Redis. Knows nobody who listens.

/// What kind of event it is: a letter by which `notify-keyspace-events` asks for it.
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

/// What a miss is called.
pub const KEY_MISS: &str = "keymiss";

/// The letter of each class, in the order of the classes.
const LETTERS: &[u8; 12] = b"g$lshztxedmn";
/// `A` stands for all classes but the two that come with every other call.
const ALL_BUT_MISS_AND_NEW: u16 = (1 << Class::Miss as u16) - 1;

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u16);

impl Classes {
    pub const NONE: Classes = Classes(0);

    #[must_use]
    pub const fn has(self, class: Class) -> bool {
        self.0 & 1 << class as u16 != 0
    }
}

/// What `notify-keyspace-events` asks for: which classes of events, and whether they are published by key, by event, or both. As a word:
/// the classes, then those two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notifications(u16);

const BY_KEY: u16 = 1 << LETTERS.len();
const BY_EVENT: u16 = BY_KEY << 1;

impl Notifications {
    /// What these letters ask for; `None` for a letter that means nothing.
    #[must_use]
    pub fn parse(letters: &[u8]) -> Option<Notifications> {
        let mut word = 0;
        for letter in letters {
            word |= match letter {
                b'K' => BY_KEY,
                b'E' => BY_EVENT,
                b'A' => ALL_BUT_MISS_AND_NEW,
                letter => 1 << LETTERS.iter().position(|known| known == letter)?,
            };
        }
        Some(Notifications(word))
    }

    /// The letters in the order of Redis, which shows no `n` beside an `A`.
    #[must_use]
    pub fn letters(self) -> String {
        let has =
            |letter: u8| LETTERS.iter().position(|known| *known == letter).is_some_and(|bit| self.0 & 1 << bit != 0);
        let classes = match self.0 & ALL_BUT_MISS_AND_NEW {
            ALL_BUT_MISS_AND_NEW => "A".to_owned(),
            _ => SHOWN.chars().filter(|letter| has(*letter as u8)).collect(),
        };
        let places = [(self.is_by_key(), "K"), (self.is_by_event(), "E"), (has(b'm'), "m")];
        places.into_iter().filter(|(is_set, _)| *is_set).fold(classes, |letters, (_, letter)| letters + letter)
    }

    /// The classes of which somebody may hear: none where they are published nowhere.
    #[must_use]
    pub const fn classes(self) -> Classes {
        if self.0 & (BY_KEY | BY_EVENT) == 0 { Classes::NONE } else { Classes(self.0 & (BY_KEY - 1)) }
    }

    #[must_use]
    pub const fn is_by_key(self) -> bool {
        self.0 & BY_KEY != 0
    }

    #[must_use]
    pub const fn is_by_event(self) -> bool {
        self.0 & BY_EVENT != 0
    }

    #[must_use]
    pub const fn word(self) -> u64 {
        self.0 as u64
    }

    #[must_use]
    pub const fn from_word(word: u64) -> Notifications {
        Notifications(word as u16)
    }
}

/// The order in which the classes are shown, where they are not all.
const SHOWN: &str = "g$lshzxetdn";

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
    use super::{Class, Classes, Events, Notifications};

    #[test]
    fn classes_are_asked_for_by_letter() {
        let has = |letters: &str, class| Notifications::parse(letters.as_bytes()).unwrap().classes().has(class);
        assert!(has("Kg", Class::Generic) && !has("Kg", Class::String));
        assert!(has("E$x", Class::String) && has("E$x", Class::Expired) && !has("E$x", Class::Evicted));
        assert!(has("KEA", Class::Generic) && has("KEA", Class::Module));
        assert!(!has("KEA", Class::Miss) && !has("KEA", Class::New) && has("KEAn", Class::New));
        let nowhere = Notifications::parse(b"Ag$").unwrap();
        assert_eq!((nowhere.classes(), nowhere.letters()), (Classes::NONE, "A".to_owned()));
        assert_eq!(Notifications::parse(b"").map(Notifications::classes), Some(Classes::NONE));
        assert_eq!(Notifications::parse(b"Kq"), None);
    }

    #[test]
    fn the_letters_are_shown_as_redis_shows_them() {
        for (given, shown) in [
            ("", ""),
            ("gKE", "gKE"),
            ("$lshzxeKE", "$lshzxeKE"),
            ("EKezxhsl$", "$lshzxeKE"),
            ("KA", "AK"),
            ("EA", "AE"),
            ("AKEnm", "AKEm"),
            ("mnK", "nKm"),
            ("g$lshzxetdK", "AK"),
            ("K", "K"),
        ] {
            let notifications = Notifications::parse(given.as_bytes()).unwrap();
            assert_eq!(notifications.letters(), shown, "{given}");
            assert_eq!(Notifications::from_word(notifications.word()), notifications);
        }
        let places = Notifications::parse(b"Eg").unwrap();
        assert_eq!((places.is_by_key(), places.is_by_event()), (false, true));
    }

    #[test]
    fn only_what_somebody_wants_is_kept() {
        let mut events = Events::wanted(Notifications::parse(b"K$").unwrap().classes());
        events.tell(0, Class::New, "new", b"a");
        events.tell(0, Class::String, "set", b"a");
        assert_eq!(events.told().iter().map(|event| event.name).collect::<Vec<_>>(), ["set"]);
        let mut events = Events::default();
        events.tell(0, Class::String, "set", b"a");
        assert!(events.told().is_empty());
    }
}
