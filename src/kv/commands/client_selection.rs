//! The options of CLIENT LIST and CLIENT KILL: which clients are meant.

use crate::kv::commands::args::{self, is_word};
use crate::kv::errors::{self, CommandError};
use crate::kv::sessions::clients::{ClientKind, Selection};
use crate::kv::users::Users;
use crate::resp::number::parse_integer;
use crate::sys::socket;

/// One CLIENT LIST names so many clients at most: each has its line as often as it is named.
const NUMBERS_MAX: usize = 16 << 10;

/// Which clients CLIENT LIST shows, and in which order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ListOptions {
    /// All, or those of a type.
    ByNumber(Option<ClientKind>),
    /// These, in this order, as often as they are named.
    Named(Vec<i64>),
}

impl ListOptions {
    pub(super) fn parse(args: &[&[u8]]) -> Result<ListOptions, CommandError> {
        match args[2..] {
            [] => Ok(ListOptions::ByNumber(None)),
            [option, name] if is_word(option, "type") => Ok(ListOptions::ByNumber(Some(kind_of_clients(name)?))),
            [option, ref numbers @ ..] if is_word(option, "id") && numbers.len() > NUMBERS_MAX => {
                Err(errors::too_many_names(NUMBERS_MAX))
            }
            [option, ref numbers @ ..] if is_word(option, "id") && !numbers.is_empty() => {
                let numbers = numbers.iter().map(|number| args::integer_or(number, errors::INVALID_CLIENT_ID));
                Ok(ListOptions::Named(numbers.collect::<Result<_, _>>()?))
            }
            _ => Err(errors::SYNTAX.into()),
        }
    }

    pub(super) fn selection(&self) -> Selection {
        match self {
            ListOptions::ByNumber(kind) => Selection { kind: *kind, ..Selection::default() },
            ListOptions::Named(named) => {
                let numbers = named.iter().filter_map(|number| u64::try_from(*number).ok());
                let selection = Selection::default().with_numbers(numbers.collect());
                Selection { is_none: selection.numbers.is_empty(), ..selection }
            }
        }
    }

    /// The text of the reply; `lines` are in the order of the clients' numbers.
    pub(super) fn pick(&self, lines: Vec<(u64, Vec<u8>)>) -> Vec<u8> {
        match self {
            ListOptions::ByNumber(_) => lines.into_iter().flat_map(|(_, line)| line).collect(),
            ListOptions::Named(numbers) => {
                let numbers = numbers.iter().filter_map(|number| u64::try_from(*number).ok());
                let places = numbers.filter_map(|number| lines.binary_search_by_key(&number, |(of, _)| *of).ok());
                places.flat_map(|place| lines[place].1.iter().copied()).collect()
            }
        }
    }
}

/// Which clients CLIENT KILL closes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KillOptions {
    pub(super) selection: Selection,
    pub(super) skips_me: bool,
    /// `CLIENT KILL address`, which is answered in another way.
    pub(super) is_old_form: bool,
}

impl KillOptions {
    pub(super) fn parse(args: &[&[u8]], users: &Users) -> Result<KillOptions, CommandError> {
        if let [_, _, address] = args {
            let selection = Selection { address: Some(as_shown(address)), ..Selection::default() };
            return Ok(KillOptions { selection, skips_me: false, is_old_form: true });
        }
        let mut options = KillOptions { selection: Selection::default(), skips_me: true, is_old_form: false };
        let pairs = args[2..].chunks_exact(2);
        let is_odd = !pairs.remainder().is_empty();
        for pair in pairs {
            options.add(pair[0], pair[1], users)?;
        }
        if is_odd { Err(errors::SYNTAX.into()) } else { Ok(options) }
    }

    /// Of an option that is named twice the last counts.
    fn add(&mut self, option: &[u8], value: &[u8], users: &Users) -> Result<(), CommandError> {
        let selection = &mut self.selection;
        match option {
            option if is_word(option, "id") => {
                let number = parse_integer(value).and_then(|number| u64::try_from(number).ok()).filter(|id| *id > 0);
                selection.numbers = vec![number.ok_or(CommandError::from(errors::CLIENT_ID_NOT_POSITIVE))?];
            }
            option if is_word(option, "type") => selection.kind = Some(kind_of_clients(value)?),
            option if is_word(option, "addr") => selection.address = Some(as_shown(value)),
            option if is_word(option, "laddr") => selection.local = Some(as_shown(value)),
            option if is_word(option, "user") => match users.named(value) {
                Some(_) => selection.user = Some(value.to_vec()),
                None => return Err(errors::no_such_user(value)),
            },
            option if is_word(option, "skipme") => {
                self.skips_me = match value {
                    value if is_word(value, "yes") => true,
                    value if is_word(value, "no") => false,
                    _ => return Err(errors::SYNTAX.into()),
                };
            }
            _ => return Err(errors::SYNTAX.into()),
        }
        Ok(())
    }
}

/// No client's address is as long as this.
const ADDRESS_BYTES_MAX: usize = 64;

/// An address in the one form that it is shown in: IPv4 may be given as a part of IPv6 too.
fn as_shown(address: &[u8]) -> Vec<u8> {
    let parsed = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
    // As much of another text as can matter, for it goes to all workers.
    let other = || address[..address.len().min(ADDRESS_BYTES_MAX)].to_vec();
    parsed.map_or_else(other, |parsed| socket::canonical(parsed).to_string().into_bytes())
}

fn kind_of_clients(name: &[u8]) -> Result<ClientKind, CommandError> {
    match name {
        name if is_word(name, "normal") => Ok(ClientKind::Normal),
        name if is_word(name, "pubsub") => Ok(ClientKind::Subscriber),
        name if ["slave", "replica", "master"].iter().any(|other| is_word(name, other)) => Ok(ClientKind::Replication),
        name => Err(errors::unknown_client_type(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(call: &str) -> Vec<&[u8]> {
        call.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn lists_keep_the_order_in_which_clients_are_named() {
        let lines = vec![(2, b"two\n".to_vec()), (7, b"seven\n".to_vec())];
        let options = ListOptions::parse(&words("client list id 7 2 -1 9 7")).unwrap();
        assert_eq!(options.selection().numbers, [2, 7, 9]);
        assert_eq!(options.pick(lines.clone()), b"seven\ntwo\nseven\n");
        let all = ListOptions::parse(&words("CLIENT LIST TYPE Normal")).unwrap();
        let normal = Selection { kind: Some(ClientKind::Normal), ..Selection::default() };
        assert_eq!((all.selection(), all.pick(lines)), (normal, b"two\nseven\n".to_vec()));
        let nobody = ListOptions::parse(&words("client list id -1")).unwrap();
        assert!(nobody.selection().is_none, "no number is not the same as any number");
    }

    #[test]
    fn an_ipv4_address_is_known_in_both_forms() {
        for address in ["127.0.0.1:6379", "[::ffff:127.0.0.1]:6379"] {
            let options =
                KillOptions::parse(&words(&format!("client kill addr {address}")), &Users::default()).unwrap();
            assert_eq!(options.selection.address.unwrap(), b"127.0.0.1:6379");
        }
        assert_eq!(as_shown(b"[::1]:6379"), b"[::1]:6379");
    }

    #[test]
    fn of_the_options_of_kill_the_last_counts() {
        let options =
            KillOptions::parse(&words("client kill id 1 skipme no ID 2 addr a:1 type pubsub"), &Users::default())
                .unwrap();
        let selection = Selection {
            numbers: vec![2],
            address: Some(b"a:1".to_vec()),
            kind: Some(ClientKind::Subscriber),
            ..Selection::default()
        };
        assert_eq!(options, KillOptions { selection, skips_me: false, is_old_form: false });
        assert!(KillOptions::parse(&words("client kill 127.0.0.1:6379"), &Users::default()).unwrap().is_old_form);
        for wrong in ["client kill id 1 skipme", "client kill id 0", "client kill user me", "client kill id x id 1"] {
            assert!(KillOptions::parse(&words(wrong), &Users::default()).is_err(), "{wrong}");
        }
    }
}
