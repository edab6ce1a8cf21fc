//! The options of XADD and XTRIM: what is to be removed, and how a new entry comes.

use crate::kv::commands::{args, stream_ids};
use crate::kv::errors::{self, CommandError};
use crate::storage::{NewId, Thresholds, Trim, TrimTo};

/// What stands before the fields of XADD, or all of XTRIM.
#[derive(Debug, Default)]
pub struct TrimOptions {
    pub trim: Option<Trim>,
    pub must_be_there: bool,
    /// Of XADD, with the number of the argument behind it.
    pub id: Option<(NewId, usize)>,
}

/// `~` without LIMIT removes what so many nodes hold, within these bounds.
const NODES_MAX: u64 = 100;
const ENTRIES_MAX_WITHOUT_NODES: u64 = 10_000;
const ENTRIES_MAX: u64 = 1_000_000;

impl TrimOptions {
    /// `is_adding`: of XADD.
    pub fn parse(call: &[&[u8]], is_adding: bool, thresholds: &Thresholds) -> Result<TrimOptions, CommandError> {
        let (mut options, mut limit) = (TrimOptions::default(), None);
        let mut at = 2;
        while at < call.len() {
            let (option, rest) = (call[at], &call[at + 1..]);
            if is_adding && option == b"*" {
                options.id = Some((NewId::Next, at + 1));
                break;
            }
            let is_length = args::is_word(option, "maxlen");
            if (is_length || args::is_word(option, "minid")) && !rest.is_empty() {
                if options.trim.is_some() {
                    return Err(errors::TRIM_TWICE.into());
                }
                let has_sign = rest.len() > 1 && matches!(rest[0], b"~" | b"=");
                let is_approximate = has_sign && rest[0] == b"~";
                let threshold = rest[usize::from(has_sign)];
                let to = if is_length { length(threshold)? } else { TrimTo::Id(stream_ids::exact(threshold)?) };
                options.trim = Some(Trim { to, is_approximate, entries_max: 0 });
                at += 2 + usize::from(has_sign);
            } else if args::is_word(option, "limit") && !rest.is_empty() {
                let entries = args::integer(rest[0])?;
                limit = Some(u64::try_from(entries).map_err(|_| CommandError::from(errors::TRIM_LIMIT_NEGATIVE))?);
                at += 2;
            } else if is_adding && args::is_word(option, "nomkstream") {
                options.must_be_there = true;
                at += 1;
            } else if is_adding {
                options.id = Some((stream_ids::new(option)?, at + 1));
                break;
            } else {
                return Err(errors::SYNTAX.into());
            }
        }
        options.limit(limit, is_adding, thresholds.stream_node_max_entries)?;
        Ok(options)
    }

    fn limit(&mut self, limit: Option<u64>, is_adding: bool, node_entries_max: u64) -> Result<(), CommandError> {
        match (&mut self.trim, limit) {
            (None, Some(1..)) => Err(errors::TRIM_LIMIT_ALONE.into()),
            (None, _) if !is_adding => Err(errors::TRIM_MISSING.into()),
            (None, Some(0)) => Err(errors::TRIM_LIMIT_EXACT.into()),
            (Some(trim), Some(_)) if !trim.is_approximate => Err(errors::TRIM_LIMIT_EXACT.into()),
            (Some(trim), None) if trim.is_approximate => {
                let entries = NODES_MAX.saturating_mul(node_entries_max).min(ENTRIES_MAX);
                trim.entries_max = if entries == 0 { ENTRIES_MAX_WITHOUT_NODES } else { entries };
                Ok(())
            }
            (Some(trim), limit) => {
                trim.entries_max = limit.unwrap_or(0);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}

fn length(arg: &[u8]) -> Result<TrimTo, CommandError> {
    let length = u64::try_from(args::integer(arg)?).map_err(|_| CommandError::from(errors::TRIM_LENGTH_NEGATIVE))?;
    Ok(TrimTo::Length(length))
}
