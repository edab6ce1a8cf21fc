//! `help`: from the dictionary, for a command, a group, or everything.

use super::dictionary::Dictionary;
use super::line::COMMANDS_OF_OURS;

pub(super) fn help(words: &[Vec<u8>], dictionary: &Dictionary) -> String {
    if words.is_empty() {
        return overview(dictionary);
    }
    let asked =
        words.iter().map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect::<Vec<_>>().join(" ");
    if let Some((_, usage)) = COMMANDS_OF_OURS.iter().find(|(name, _)| *name == asked) {
        return format!("{usage}\n");
    }
    if let Some(names) = dictionary.groups().get(asked.as_str()) {
        return format!("{}\n", names.join("  "));
    }
    let Some((name, entry, _)) = dictionary.find(words) else {
        return format!("nothing is known of {asked}; help alone lists what is\n");
    };
    let mut text = format!("{} {}", name.to_ascii_uppercase(), entry.syntax).trim_end().to_owned() + "\n";
    for (title, value) in [
        ("summary", &entry.summary),
        ("since", &entry.since),
        ("group", &entry.group),
        ("complexity", &entry.complexity),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("  {title:<12}{value}\n"));
        }
    }
    if entry.is_container {
        let parts: Vec<&str> = dictionary.names_with(&format!("{name} ")).map(|part| &part[name.len() + 1..]).collect();
        text.push_str(&format!("  {:<12}{}\n", "with", parts.join("  ")));
    }
    text
}

fn overview(dictionary: &Dictionary) -> String {
    let mut text = String::from("Commands of the service, by group; `help <command>` says more of one:\n");
    for (group, names) in dictionary.groups() {
        text.push_str(&format!("  {group}: {}\n", names.join(" ")));
    }
    text.push_str("Commands of the prompt:\n");
    for (_, usage) in COMMANDS_OF_OURS {
        text.push_str(&format!("  {usage}\n"));
    }
    text.push_str("Keys: Tab completes, Ctrl-R searches the history, Ctrl-C cancels the line or the command.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> String {
        let words: Vec<Vec<u8>> = line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        help(&words, &Dictionary::built_in())
    }

    #[test]
    fn help_is_about_a_command_a_group_or_everything() {
        let get = asked("get");
        assert!(get.starts_with("GET key\n") && get.contains("summary") && get.contains("complexity"), "{get}");
        assert!(asked("config get").starts_with("CONFIG GET "));
        assert!(asked("config").contains("resetstat"));
        assert!(asked("string").contains("incrby"));
        assert!(asked("").contains(":timing") && asked("").contains("  string: "));
        assert!(asked(":timing").starts_with(":timing on|off"));
        assert!(asked("nonsense").contains("nothing is known"));
    }
}
