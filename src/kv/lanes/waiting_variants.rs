//! Rules of waiting that can be switched off one at a time, to see that the model beside `waiting_model` finds what is wrong then. Only
//! the tests of this crate have the switch, each thread its own: in every other build `is` is a constant.

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// No ticket says that a parked job was served: after the writer's death it waits again.
    ServedUnrecorded,
    /// Of those who wait for a key the last one comes first.
    YoungerFirst,
    /// A new writer serves, and takes new calls, before all that waited have registered again.
    RegistrationIgnored,
    /// Who begins to wait is woken only by what comes after that group.
    WakeInFlightLost,
    /// A cancelled call stays in its queue.
    CancelledServed,
    /// What a group did to those who wait stands although the group is undone.
    NotUndone,
    /// Who waits for several keys takes the first, whichever was served to it.
    FirstKeyOvertakes,
}

#[cfg(test)]
impl Variant {
    pub const ALL: [Variant; 7] = [
        Variant::ServedUnrecorded,
        Variant::YoungerFirst,
        Variant::RegistrationIgnored,
        Variant::WakeInFlightLost,
        Variant::CancelledServed,
        Variant::NotUndone,
        Variant::FirstKeyOvertakes,
    ];
}

/// Whether this rule is broken here.
#[cfg(not(test))]
#[must_use]
pub const fn is(_: Variant) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Variant>> = const { std::cell::Cell::new(None) };
    static IS_UNDONE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The next group of this thread is undone before its commit, as one with a row that can't be written, and runs again.
#[cfg(test)]
pub fn undo_next_group() {
    IS_UNDONE.set(true);
}

/// Whether the group that is about to be committed must be undone.
#[cfg(test)]
#[must_use]
pub fn takes_undo() -> bool {
    IS_UNDONE.take()
}

/// Whether the group that is about to be committed must be undone.
#[cfg(not(test))]
#[must_use]
pub const fn takes_undo() -> bool {
    false
}

/// Whether this rule is broken in this thread.
#[cfg(test)]
#[must_use]
pub fn is(variant: Variant) -> bool {
    CHOSEN.get() == Some(variant)
}

/// Breaks this rule in this thread, and mends the one before.
#[cfg(test)]
pub fn choose(variant: Option<Variant>) {
    CHOSEN.set(variant);
}
