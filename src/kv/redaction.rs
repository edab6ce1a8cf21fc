//! Which arguments of a call are secrets: neither MONITOR nor the slow log nor a log line shows them.

use crate::kv::args::is_word;

/// Stands in a secret's place.
pub const REDACTED: &[u8] = b"(redacted)";

/// True exactly when the argument of this index must not be shown. `name` is the row's.
#[must_use]
pub fn is_secret(name: &str, args: &[&[u8]], index: usize) -> bool {
    match name {
        "auth" => index > 0,
        // What follows AUTH is user and password.
        "hello" => (2..index).any(|place| place + 2 >= index && is_word(args[place], "auth")),
        "config|set" => index >= 3 && index % 2 == 1 && is_word(args[index - 1], "requirepass"),
        _ => false,
    }
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
        assert_eq!(
            shown("config|set", "CONFIG SET maxclients 9 RequirePass x timeout 1"),
            "CONFIG SET maxclients 9 RequirePass * timeout 1"
        );
        assert_eq!(shown("set", "SET auth x"), "SET auth x");
    }
}
