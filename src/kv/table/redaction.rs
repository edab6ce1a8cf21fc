//! Which arguments of a call are secrets: neither MONITOR nor the slow log nor a log line shows them, and the client keeps
//! them out of its history. So it knows commands of other servers too.

use crate::kv::table::args::is_word;

/// Stands in a secret's place.
pub const REDACTED: &[u8] = b"(redacted)";

/// True exactly when the argument of this index must not be shown. `name` is the row's.
#[must_use]
pub fn is_secret(name: &str, args: &[&[u8]], index: usize) -> bool {
    match name {
        "auth" => index > 0,
        // What follows AUTH is user and password, also where the version before it was forgotten. Only the two before an argument are looked
        // at: it costs the same however many there are.
        "hello" => (1.max(index.saturating_sub(2))..index).any(|place| is_word(args[place], "auth")),
        "config|set" => {
            index >= 3
                && index % 2 == 1
                && SECRET_PARAMETERS.iter().any(|parameter| is_word(args[index - 1], parameter))
        }
        // Passwords and their hashes, to add and to take away.
        "acl|setuser" => index >= 3 && matches!(args[index].first(), Some(b'>' | b'<' | b'#' | b'!')),
        "migrate" => {
            let follows = |word: &str, within: usize| {
                (6.max(index.saturating_sub(within))..index).any(|place| is_word(args[place], word))
            };
            follows("auth", 1) || follows("auth2", 2)
        }
        _ => false,
    }
}

const SECRET_PARAMETERS: &[&str] = &["requirepass", "masterauth", "tls-key-file-pass", "tls-client-key-file-pass"];

/// The same for a call whose row is not known, or not ours: the name is the first argument, or the first two.
#[must_use]
pub fn is_secret_argument(args: &[&[u8]], index: usize) -> bool {
    let word = |place: usize| args.get(place).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase());
    let Some(name) = word(0) else { return false };
    is_secret(&name, args, index) || word(1).is_some_and(|second| is_secret(&format!("{name}|{second}"), args, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, call: &str) -> String {
        let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        let shown = (0..args.len()).map(|index| if is_secret(name, &args, index) { b"*" } else { args[index] });
        shown.map(|arg| String::from_utf8_lossy(arg).into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn passwords_are_secrets_and_nothing_else_is() {
        assert_eq!(shown("auth", "AUTH me hunter2"), "AUTH * *");
        assert_eq!(shown("hello", "HELLO 3 auth me hunter2 SETNAME me"), "HELLO 3 auth * * SETNAME me");
        assert_eq!(shown("hello", "HELLO auth me hunter2"), "HELLO auth * *");
        assert_eq!(
            shown("config|set", "CONFIG SET maxclients 9 RequirePass x timeout 1"),
            "CONFIG SET maxclients 9 RequirePass * timeout 1"
        );
        assert_eq!(shown("acl|setuser", "ACL SETUSER ann on >pw ~*"), "ACL SETUSER ann on * ~*");
        assert_eq!(
            shown("migrate", "MIGRATE host 1 key 0 9 COPY AUTH2 ann pw KEYS k"),
            "MIGRATE host 1 key 0 9 COPY AUTH2 * * KEYS k"
        );
        assert_eq!(shown("migrate", "MIGRATE host 1 key 0 9 AUTH pw"), "MIGRATE host 1 key 0 9 AUTH *");
        assert_eq!(shown("set", "SET auth x"), "SET auth x");
    }

    /// Looking at all that came before each argument takes minutes here.
    #[test]
    fn of_many_arguments_each_costs_the_same() {
        let args: Vec<&[u8]> =
            [b"HELLO".as_slice(), b"3"].into_iter().chain(std::iter::repeat_n(b"auth".as_slice(), 200_000)).collect();
        let secrets = |name: &str| (0..args.len()).filter(|index| is_secret(name, &args, *index)).count();
        assert_eq!((secrets("hello"), secrets("migrate")), (199_999, 199_995));
    }

    #[test]
    fn a_call_is_known_by_its_first_words() {
        let holds_secret = |call: &str| {
            let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
            (0..args.len()).any(|index| is_secret_argument(&args, index))
        };
        for call in ["auth pw", "Hello 3 AUTH a b", "CONFIG set requirepass x", "acl setuser ann >pw"] {
            assert!(holds_secret(call), "{call}");
        }
        for call in ["get auth", "config get requirepass", "acl setuser ann on", "hello 3", "set a b"] {
            assert!(!holds_secret(call), "{call}");
        }
    }
}
