//! What can be wrong with a rule.

use crate::kv::errors;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// No command and no category has that name.
    Unknown,
    Syntax,
    /// A pattern of keys is added where all keys are allowed already.
    KeysAfterAll,
    ChannelsAfterAll,
    NoSuchPassword,
    BadHash,
    FirstArgumentOfSubcommand,
}

impl RuleError {
    /// As Redis words it (ACLSetUserStringError).
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            RuleError::Unknown => errors::RULE_UNKNOWN,
            RuleError::Syntax => errors::RULE_SYNTAX,
            RuleError::KeysAfterAll => errors::RULE_KEYS_AFTER_ALL,
            RuleError::ChannelsAfterAll => errors::RULE_CHANNELS_AFTER_ALL,
            RuleError::NoSuchPassword => errors::RULE_NO_SUCH_PASSWORD,
            RuleError::BadHash => errors::RULE_BAD_HASH,
            RuleError::FirstArgumentOfSubcommand => errors::RULE_FIRST_ARGUMENT,
        }
    }
}
