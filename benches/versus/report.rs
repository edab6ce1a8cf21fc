//! The results as Markdown: the machine, a summary, and a table for each load.

use std::fmt::Write;
use std::process::Command;

use crate::options::Durability;
use crate::results::{Figure, LoadResult, PeerResult};
use crate::statistics::{shown, shown_spread};

pub(crate) struct Report<'a> {
    pub(crate) results: &'a [LoadResult],
    pub(crate) command_line: String,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
}

impl Report<'_> {
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("# Measured beside its peers\n\n");
        out += &self.circumstances();
        for durability in [Durability::Always, Durability::Everysec] {
            let results: Vec<&LoadResult> =
                self.results.iter().filter(|result| result.durability == durability).collect();
            if !results.is_empty() {
                let (name, chart) = (durability.name(), chart_name(durability));
                add(&mut out, format_args!("\n## Durability `{name}`\n\n![ours by theirs]({chart})\n\n"));
                out += &summary(&results);
                for result in results {
                    out += &table(result);
                }
            }
        }
        out
    }

    fn circumstances(&self) -> String {
        let mut out = String::new();
        add(&mut out, format_args!("Written by `{}`", self.command_line));
        add(&mut out, format_args!(" on {}.\n\n", told("date", &["-u", "+%Y-%m-%d"])));
        add(&mut out, format_args!("- machine: {}, {}\n", processor(), memory()));
        add(&mut out, format_args!("- kernel: {}\n", told("uname", &["-sr"])));
        add(&mut out, format_args!("- ours: {}\n", told(env!("CARGO_BIN_EXE_emptyserver"), &["--version"])));
        add(&mut out, format_args!("- {} rounds of {} s, ", self.rounds, self.seconds));
        out += "every load at one peer after the other; generator and servers share the CPUs\n\
                - peers run with `--appendonly yes --appendfsync always` (or `everysec`) \
                `--save \"\" --auto-aof-rewrite-percentage 0`; ours with default settings, unless a row says so\n\
                - figures are medians (least-most) over the rounds; a ratio is taken in each round, ours by the peer's, and \
                its median shown; `!`: others used the machine during a run, also when it was repeated\n\
                - memory and CPU are those of all processes of a service together; a page that several processes map is \
                counted for each\n\
                - the generator is `emptyserver bench` unless a row says redis-benchmark: that one sends the same value \
                again and again, and is itself the limit in many of these loads\n";
        out
    }
}

/// The file of the picture.
pub(crate) fn chart_name(durability: Durability) -> String {
    format!("chart-{}.svg", durability.name())
}

/// What each load is about, with the ratios.
fn summary(results: &[&LoadResult]) -> String {
    let Some(first) = results.first() else { return String::new() };
    let mut out = String::from("| load | figure |");
    first.peers.iter().for_each(|peer| add(&mut out, format_args!(" {} |", peer.name)));
    first.peers.iter().skip(1).for_each(|peer| add(&mut out, format_args!(" by {} |", peer.name)));
    out += "\n|---|---|";
    out += &"---:|".repeat(first.peers.len() * 2 - 1);
    out.push('\n');
    for result in results {
        let Some(figure) = result.columns().first().copied() else { continue };
        add(&mut out, format_args!("| {} | {} |", result.load.full_title(), figure.name));
        for peer in &result.peers {
            add(&mut out, format_args!(" {} |", cell(peer, figure)));
        }
        for peer in 1..result.peers.len() {
            let ratio = result.ratio(peer, figure).map_or("-".to_owned(), |ratio| format!("{:.2}", ratio.median));
            add(&mut out, format_args!(" {ratio} |"));
        }
        out.push('\n');
    }
    out
}

/// Everything about one load.
pub(crate) fn table(result: &LoadResult) -> String {
    let columns = result.columns();
    let mut out = String::new();
    add(&mut out, format_args!("\n### {}\n\n", result.load.full_title()));
    add(&mut out, format_args!("`--loads {}`, generator: {}\n\n| peer |", result.load.name, result.generator));
    columns.iter().for_each(|figure| add(&mut out, format_args!(" {} |", figure.name)));
    out += " ours by this |\n|---|";
    out += &"---:|".repeat(columns.len() + 1);
    out.push('\n');
    for (index, peer) in result.peers.iter().enumerate() {
        add(&mut out, format_args!("| {} |", peer.name));
        for figure in &columns {
            add(&mut out, format_args!(" {} |", cell(peer, *figure)));
        }
        let ratio = columns.first().filter(|_| index > 0).and_then(|figure| result.ratio(index, *figure));
        let shown_ratio = |ratio: crate::statistics::Spread| {
            format!("{} ({}-{})", shown(ratio.median), shown(ratio.min), shown(ratio.max))
        };
        add(&mut out, format_args!(" {} |\n", ratio.map_or(String::new(), shown_ratio)));
    }
    for peer in &result.peers {
        let mut notes: Vec<&String> = peer.samples.iter().filter_map(|sample| sample.note.as_ref()).collect();
        notes.dedup();
        notes.iter().for_each(|note| add(&mut out, format_args!("\n{}: {note}\n", peer.name)));
    }
    out
}

fn cell(peer: &PeerResult, figure: Figure) -> String {
    let mark = if peer.is_disturbed() { " !" } else { "" };
    format!("{}{mark}", shown_spread(peer.spread(figure)))
}

/// The first line of what a program prints.
fn told(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let name = names.first().map_or("unknown", |name| name.trim_start_matches([' ', '\t', ':']));
    format!("{} CPUs ({name})", names.len())
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    format!("{:.0} GiB of memory", kib.unwrap_or_default() / 1024.0 / 1024.0)
}

fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes every write");
}
