//! The reply of every container's HELP subcommand. Status lines, as Redis sends them.

use std::borrow::Cow;

use crate::resp::reply::Reply;

/// `container` is in upper case; the lines about HELP itself are added here.
#[must_use]
pub fn reply(container: &str, lines: &'static [&'static str]) -> Reply {
    let title = format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let mut reply = Vec::with_capacity(lines.len() + 3);
    reply.push(Reply::Simple(Cow::Owned(title)));
    reply.extend(lines.iter().chain(&["HELP", "    Prints this help."]).map(|line| Reply::Simple(Cow::Borrowed(line))));
    Reply::Array(reply)
}
