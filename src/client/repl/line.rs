//! One line of the prompt, understood: something for the prompt itself, or a command for the service.

use crate::client::print::Style;
use crate::client::words::split_line;
use crate::kv::table::is_secret_argument;

/// What the prompt does itself, for completion and `help`.
pub(super) const COMMANDS_OF_OURS: &[(&str, &str)] = &[
    ("help", "help [command]: what a command does and how it is written"),
    ("clear", "clear: an empty screen"),
    ("exit", "exit: leave (so do quit and Ctrl-D)"),
    (":timing", ":timing on|off: how long each command took"),
    (":pager", ":pager on|off: whether long replies go to $PAGER"),
    (":format", ":format pretty|quoted|raw|json|csv: how replies are printed"),
];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Blank,
    Command(Vec<Vec<u8>>),
    Help(Vec<Vec<u8>>),
    Clear,
    Exit,
    Timing(bool),
    Pager(bool),
    /// `None`: tables where a reply is one.
    Format(Option<Style>),
    /// What is wrong, for the person.
    Wrong(String),
}

impl Line {
    pub(super) fn read(line: &str) -> Self {
        let Some(words) = split_line(line.as_bytes()) else {
            return Self::Wrong("the quotes do not match".to_owned());
        };
        let Some(first) = words.first() else { return Self::Blank };
        let argument =
            || words.get(1).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).unwrap_or_default();
        match first.to_ascii_lowercase().as_slice() {
            b"help" | b"?" => Self::Help(words[1..].to_vec()),
            b"clear" if words.len() == 1 => Self::Clear,
            b"exit" | b"quit" if words.len() == 1 => Self::Exit,
            b":timing" => switch(&argument()).map_or_else(|| usage_of(":timing"), Self::Timing),
            b":pager" => switch(&argument()).map_or_else(|| usage_of(":pager"), Self::Pager),
            b":format" => match argument().as_str() {
                "pretty" => Self::Format(None),
                "quoted" => Self::Format(Some(Style::Quoted)),
                "raw" => Self::Format(Some(Style::Raw)),
                "json" => Self::Format(Some(Style::Json)),
                "csv" => Self::Format(Some(Style::Csv)),
                _ => usage_of(":format"),
            },
            [b':', ..] => Self::Wrong("there is no such command of the prompt; help lists them".to_owned()),
            _ => Self::Command(words),
        }
    }
}

fn switch(word: &str) -> Option<bool> {
    match word {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn usage_of(name: &str) -> Line {
    let usage = COMMANDS_OF_OURS.iter().find(|(known, _)| *known == name).map_or("", |(_, usage)| usage);
    Line::Wrong(usage.to_owned())
}

/// True exactly when the line must not be remembered: it has a secret, or nobody can tell.
pub(super) fn is_secret(line: &str) -> bool {
    let Some(words) = split_line(line.as_bytes()) else { return true };
    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    (0..args.len()).any(|index| is_secret_argument(&args, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_the_prompt_or_for_the_service() {
        assert_eq!(Line::read("  "), Line::Blank);
        assert_eq!(Line::read("get 'a b'"), Line::Command(vec![b"get".to_vec(), b"a b".to_vec()]));
        assert_eq!(Line::read("HELP config get"), Line::Help(vec![b"config".to_vec(), b"get".to_vec()]));
        assert_eq!(Line::read("quit"), Line::Exit);
        assert_eq!(Line::read(":timing on"), Line::Timing(true));
        assert_eq!(Line::read(":format json"), Line::Format(Some(Style::Json)));
        assert_eq!(Line::read(":format pretty"), Line::Format(None));
        assert!(matches!(Line::read(":pager maybe"), Line::Wrong(usage) if usage.starts_with(":pager on|off")));
        assert!(matches!(Line::read(":nonsense"), Line::Wrong(_)));
        assert!(matches!(Line::read("get \"a"), Line::Wrong(_)));
    }

    #[test]
    fn a_line_with_a_password_is_not_remembered() {
        for line in ["auth pw", "HELLO 3 AUTH ann pw", "config set requirepass pw", "acl setuser ann >pw", "auth \"pw"]
        {
            assert!(is_secret(line), "{line}");
        }
        assert!(!is_secret("set auth 1") && !is_secret("config get requirepass"));
    }
}
