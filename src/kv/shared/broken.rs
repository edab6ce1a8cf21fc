//! Rules of the cache that can be switched off one at a time, to see that the tests find what is wrong then
//! (`tests/broken_variants.sh`). Only a build with the feature `broken-variants` has the switch: in every other one `is` is a
//! constant, and nothing of a variant is compiled in.

#[cfg(feature = "broken-variants")]
use std::sync::atomic::{AtomicU8, Ordering};

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Variant {
    /// Each write adds 1 to its slot before and after, instead of each slot once for the group. There are 16 slots, so that most
    /// groups touch one twice, and a pause before COMMIT gives the readers time.
    CountedPerWrite = 1,
    /// A flush or a swap changes the epoch only when its group is over.
    EpochAfterCommit,
    /// What EXEC watches is compared before the group runs: it does not see what an earlier job of the group touches.
    ExecBlindToItsGroup,
    /// A reader begins its snapshot before it has taken its jobs: at the end of the batch before.
    JoinedSnapshot,
    /// The slot changes only when the group is over: between COMMIT and then, what is remembered looks current.
    MarkedAfterCommit,
    /// A write does not touch its slot at all.
    NeverMarked,
    /// What a lane has brought is kept as if it had been read now.
    NoCheckOnFill,
    /// A new writer gives what its predecessor left in flight the version before, also if that was committed, and voids nothing.
    RestartTakesBack,
    /// The same for the epoch alone: a flush that was committed and not finished is taken back.
    RestartTakesBackTheEpoch,
    /// What a client that tracks reads is noted when it has the reply.
    TrackedAfterReading,
}

impl Variant {
    /// In the words of `tests/broken_variants.sh`.
    #[cfg(feature = "broken-variants")]
    const ALL: [(&'static str, Variant); 10] = [
        ("counted-per-write", Variant::CountedPerWrite),
        ("epoch-after-commit", Variant::EpochAfterCommit),
        ("exec-blind-to-its-group", Variant::ExecBlindToItsGroup),
        ("joined-snapshot", Variant::JoinedSnapshot),
        ("marked-after-commit", Variant::MarkedAfterCommit),
        ("never-marked", Variant::NeverMarked),
        ("no-check-on-fill", Variant::NoCheckOnFill),
        ("restart-takes-back", Variant::RestartTakesBack),
        ("restart-takes-back-the-epoch", Variant::RestartTakesBackTheEpoch),
        ("tracked-after-reading", Variant::TrackedAfterReading),
    ];
}

/// Whether this rule is broken in this process.
#[cfg(not(feature = "broken-variants"))]
#[must_use]
pub const fn is(_: Variant) -> bool {
    false
}

/// The variant of this process and of those that are forked from it; 0: none.
#[cfg(feature = "broken-variants")]
static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Whether this rule is broken in this process.
#[cfg(feature = "broken-variants")]
#[must_use]
pub fn is(variant: Variant) -> bool {
    CHOSEN.load(Ordering::Relaxed) == variant as u8
}

/// Breaks the rule of this name. False when there is none. To be called before the first fork.
#[cfg(feature = "broken-variants")]
#[must_use]
pub fn choose(name: &str) -> bool {
    let variant = Variant::ALL.iter().find(|(known, _)| *known == name);
    variant.inspect(|(_, variant)| CHOSEN.store(*variant as u8, Ordering::Relaxed)).is_some()
}
