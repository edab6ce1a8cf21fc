//! Rules of the write path that can be switched off one at a time, to see that the simulator finds what is wrong then (`storage/sim`).
//! Only the tests of this crate have the switch, each thread its own: in every other build `is` is a constant, and nothing of a variant
//! is compiled in.

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// A reader reads S before it opens its snapshot.
    SequenceBeforeSnapshot,
    /// A reader reads the newest generation before it opens its snapshot.
    NewestBeforeSnapshot,
    /// A reader reads the newest generation before S, found by the models beside the memtable.
    NewestBeforeSequence,
    /// A reader neither pins nor checks a nonce.
    NeitherPinNorNonce,
    /// The nonce is checked when the view is opened, and not again after a lookup.
    NonceNotCheckedAgain,
    /// After a lookup the newest generation's nonce is checked instead of the oldest one's.
    NewestNonceChecked,
    /// A new writer puts the journal's groups above S into a fresh generation.
    Regrouped,
    /// The sweeper takes an orphan that a half-merged generation has put into the table.
    OrphanSweptEarly,
    /// A loop takes a row of a generation at or below M.
    LoopTakesMerged,
    /// A reader or a loop takes a row above S.
    RowAboveSequenceTaken,
    /// A merge takes a row above S. There is none: what a predecessor left above S is published before anything is merged.
    RowAboveSequenceMerged,
    /// A merge goes by the origin of a row's newest version in the generation.
    BlindnessOfLast,
    /// The same, and a SET does not ask memory before it is blind: after RENAME and SET the value that was renamed is given up.
    RenamedIdOrphaned,
    /// A merge leaves out a row whose time has passed, or removes nothing for it.
    ExpiredMergedAsNothing,
    /// Versions are made even before S moves.
    VersionsBeforeSequence,
    /// A writer begins with the base's next id, whatever the journal's groups have used.
    IdsGivenTwice,
    /// The same of a database's space in memory.
    SpacesGivenTwice,
    /// M's transaction does not store the tickets.
    TicketsLostInMerge,
    /// A reader looks at the word M before S: a group that went into the tables alone is in neither.
    MergedReadBeforeSequence,
    /// A reader does not compare D with its snapshot's `ahead`.
    AheadUnchecked,
    /// When a generation is merged again after a start, its rows' origins count as facts.
    HintsTrustedAgain,
    /// M is told before the COMMIT that stores it.
    MergedBeforeCommit,
    /// S is told before the rows are in memory.
    SequenceBeforeRows,

    // Found by the tests beside the memtable, not by the simulator: what other processors may see, and a death between two stores.
    /// A row is linked without a release: whoever follows the link may see bytes that are not there yet.
    LinkRelaxed,
    /// S moves without a release.
    SequenceRelaxed,
    /// A generation's bytes are used again, and others may see that before they see that its nonce is gone.
    RecycledUnfenced,
    /// A generation is recycled although somebody has pinned it.
    PinIgnored,
    /// A pin is set without looking whether its generation is on its way out.
    PinUnseen,
    /// A new writer takes the place of a row that its predecessor has linked.
    PlaceTakenTwice,
}

impl Variant {
    #[cfg(test)]
    pub(crate) const ALL: [Variant; 21] = [
        Variant::SequenceBeforeSnapshot,
        Variant::NewestBeforeSnapshot,
        Variant::NeitherPinNorNonce,
        Variant::NonceNotCheckedAgain,
        Variant::NewestNonceChecked,
        Variant::Regrouped,
        Variant::OrphanSweptEarly,
        Variant::LoopTakesMerged,
        Variant::RowAboveSequenceTaken,
        Variant::BlindnessOfLast,
        Variant::RenamedIdOrphaned,
        Variant::ExpiredMergedAsNothing,
        Variant::VersionsBeforeSequence,
        Variant::IdsGivenTwice,
        Variant::SpacesGivenTwice,
        Variant::TicketsLostInMerge,
        Variant::MergedReadBeforeSequence,
        Variant::AheadUnchecked,
        Variant::HintsTrustedAgain,
        Variant::MergedBeforeCommit,
        Variant::SequenceBeforeRows,
    ];
}

/// Whether this rule is broken here.
#[cfg(not(test))]
#[must_use]
pub(crate) const fn is(_: Variant) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Variant>> = const { std::cell::Cell::new(None) };
}

/// Whether this rule is broken in this thread.
#[cfg(test)]
#[must_use]
pub(crate) fn is(variant: Variant) -> bool {
    CHOSEN.get() == Some(variant)
}

#[cfg(test)]
thread_local! {
    static NOW_MS: std::cell::Cell<i64> = const { std::cell::Cell::new(i64::MIN) };
}

/// For a rule that no clock is needed to keep.
#[cfg(not(test))]
pub(crate) const fn now_ms() -> i64 {
    i64::MIN
}

/// As `set_now_ms` has told this thread.
#[cfg(test)]
pub(crate) fn now_ms() -> i64 {
    NOW_MS.get()
}

#[cfg(test)]
pub(crate) fn set_now_ms(now_ms: i64) {
    NOW_MS.set(now_ms);
}

/// Breaks this rule in this thread, and mends the one before.
#[cfg(test)]
pub(crate) fn choose(variant: Option<Variant>) {
    CHOSEN.set(variant);
}
