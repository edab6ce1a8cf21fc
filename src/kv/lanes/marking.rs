//! What hears of each change of a row before it is made: the versions' slots are marked, those who wait for the key are to be looked at, and
//! it is noted for those who track it.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::kv::lanes::queues::Queues;
use crate::kv::shared::versions::Marks;
use crate::storage::{Change, ChangeHook};

/// The row layer marks and notes, the writer takes it: one thread, but the hook must be `Send`.
#[derive(Clone)]
pub struct Marking(Arc<Mutex<Marked>>);

pub struct Marked {
    pub marks: Marks,
    /// Of those who wait for keys.
    pub queues: Queues,
    /// True while some client tracks keys.
    pub is_tracking: bool,
    /// What was touched since it was taken, while somebody tracks.
    pub touched: Vec<Touched>,
    /// Something was touched while nobody did.
    pub is_untracked: bool,
}

/// What a change touches.
#[derive(Debug, PartialEq, Eq)]
pub enum Touched {
    Key(Vec<u8>),
    /// All keys of one database or more.
    All,
}

impl Marking {
    #[must_use]
    pub fn of(marks: Marks) -> Marking {
        let (queues, touched) = (Queues::default(), Vec::new());
        Marking(Arc::new(Mutex::new(Marked { marks, queues, is_tracking: false, touched, is_untracked: false })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Marked> {
        self.0.lock().expect("marking does not panic")
    }

    #[must_use]
    pub fn hook(&self) -> ChangeHook {
        let marking = self.clone();
        Box::new(move |change: Change<'_>| marking.lock().note(change))
    }
}

impl Marked {
    pub(super) fn note(&mut self, change: Change<'_>) {
        self.queues.mark(change);
        self.is_untracked |= !self.is_tracking;
        match change {
            Change::Key { database, key } | Change::Quiet { database, key } => {
                self.marks.mark(database, key);
                // A call often announces a key more than once.
                let is_noted = |last: &Touched| matches!(last, Touched::Key(last) if last == key);
                if self.is_tracking && !self.touched.last().is_some_and(is_noted) {
                    self.touched.push(Touched::Key(key.to_vec()));
                }
            }
            Change::Flush { databases } => {
                self.marks.mark_flush(databases);
                if self.is_tracking {
                    self.touched.push(Touched::All);
                }
            }
            // As in Redis whoever tracks keys is not told of this.
            Change::Swap { a, b } => self.marks.mark_swap(a, b),
        }
    }
}
