//! Which replies are tables. RESP3 says so itself of maps; for the rest, and for RESP2, it follows from the command.

use super::table::{Align, cell, table};
use crate::resp::Reply;

/// How a person would draw the reply of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Alternating, or a map: field and value.
    Pairs,
    /// Member and score.
    Scores,
    /// (id, field, value …) entries of one stream.
    Entries,
    /// Streams by name, each with its entries.
    Streams,
    /// A value a line, numbered as they are.
    Plain,
}

/// For the command as it was typed.
pub(crate) fn shape_of<A: AsRef<[u8]>>(command: &[A]) -> Shape {
    let word = |index: usize| command.get(index).map(|word| word.as_ref().to_ascii_lowercase()).unwrap_or_default();
    let has = |option: &str| command.iter().any(|word| word.as_ref().eq_ignore_ascii_case(option.as_bytes()));
    match word(0).as_slice() {
        b"hgetall" => Shape::Pairs,
        b"config" if word(1) == b"get" => Shape::Pairs,
        b"hrandfield" if has("withvalues") => Shape::Pairs,
        b"memory" if word(1) == b"stats" => Shape::Pairs,
        b"xinfo" if matches!(word(1).as_slice(), b"stream") => Shape::Pairs,
        b"zrange" | b"zrevrange" | b"zrangebyscore" | b"zrevrangebyscore" | b"zunion" | b"zinter" | b"zdiff"
        | b"zrandmember"
            if has("withscores") =>
        {
            Shape::Scores
        }
        b"zpopmin" | b"zpopmax" => Shape::Scores,
        b"xrange" | b"xrevrange" => Shape::Entries,
        b"xread" | b"xreadgroup" => Shape::Streams,
        _ => Shape::Plain,
    }
}

/// The reply as a table. `None`: it is none, or it is not of that shape.
pub(crate) fn tabulate(reply: &Reply, shape: Shape) -> Option<String> {
    match shape {
        Shape::Pairs => {
            pairs_of(reply).map(|pairs| two_columns(("field", Align::Left), ("value", Align::Left), &pairs))
        }
        Shape::Scores => {
            pairs_of(reply).map(|pairs| two_columns(("member", Align::Left), ("score", Align::Right), &pairs))
        }
        Shape::Entries => entries(reply),
        Shape::Streams => streams(reply),
        Shape::Plain => match reply {
            Reply::Map(_) => tabulate(reply, Shape::Pairs),
            _ => None,
        },
    }
}

/// A map, an array of pairs, or an array that alternates.
fn pairs_of(reply: &Reply) -> Option<Vec<(&Reply, &Reply)>> {
    let pairs: Vec<(&Reply, &Reply)> = match reply {
        Reply::Map(pairs) => pairs.iter().map(|(key, value)| (key, value)).collect(),
        Reply::Array(items) => {
            let nested = items.iter().map(|item| match item {
                Reply::Array(pair) if pair.len() == 2 => Some((&pair[0], &pair[1])),
                _ => None,
            });
            match nested.collect::<Option<Vec<_>>>() {
                Some(pairs) => pairs,
                None if items.len() % 2 == 0 => items.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
                None => return None,
            }
        }
        _ => return None,
    };
    (!pairs.is_empty()).then_some(pairs)
}

fn two_columns(left: (&str, Align), right: (&str, Align), pairs: &[(&Reply, &Reply)]) -> String {
    let rows: Vec<Vec<String>> = pairs.iter().map(|(key, value)| vec![cell(key), cell(value)]).collect();
    table(&[left, right], &rows)
}

/// A column for each field, if all entries have the same ones; otherwise the fields in one column.
fn entries(reply: &Reply) -> Option<String> {
    let Reply::Array(items) = reply else { return None };
    let mut parsed = Vec::new();
    for item in items {
        let Reply::Array(entry) = item else { return None };
        let [id, Reply::Array(fields)] = entry.as_slice() else { return None };
        parsed
            .push((cell(id), fields.chunks_exact(2).map(|pair| (cell(&pair[0]), cell(&pair[1]))).collect::<Vec<_>>()));
    }
    let names: Vec<String> = parsed.first()?.1.iter().map(|(name, _)| name.clone()).collect();
    let is_uniform = parsed.iter().all(|(_, fields)| fields.iter().map(|(name, _)| name).eq(&names));
    let mut heading = vec![("id", Align::Left)];
    if is_uniform {
        heading.extend(names.iter().map(|name| (name.as_str(), Align::Left)));
    } else {
        heading.push(("fields", Align::Left));
    }
    let row = |(id, fields): (String, Vec<(String, String)>)| {
        let mut row = vec![id];
        if is_uniform {
            row.extend(fields.into_iter().map(|(_, value)| value));
        } else {
            let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            row.push(fields.join("  "));
        }
        row
    };
    Some(table(&heading, &parsed.into_iter().map(row).collect::<Vec<_>>()))
}

fn streams(reply: &Reply) -> Option<String> {
    let mut out = String::new();
    for (name, content) in pairs_of(reply)? {
        out.push_str(&format!("{}\n{}", cell(name), entries(content)?));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulks(words: &[&str]) -> Reply {
        Reply::Array(words.iter().map(|word| Reply::Bulk((*word).into())).collect())
    }

    fn shape(line: &str) -> Shape {
        shape_of(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn the_command_says_which_flat_replies_are_tables() {
        assert_eq!(shape("HGETALL h"), Shape::Pairs);
        assert_eq!(shape("config get max*"), Shape::Pairs);
        assert_eq!(shape("zrange z 0 -1 withscores"), Shape::Scores);
        assert_eq!(shape("zrange z 0 -1"), Shape::Plain);
        assert_eq!(shape("xrange s - +"), Shape::Entries);
        assert_eq!(shape("lrange l 0 -1"), Shape::Plain);
    }

    #[test]
    fn both_versions_of_a_hash_are_the_same_table() {
        let flat = bulks(&["name", "Ann", "age", "41"]);
        let map = Reply::Map(vec![
            (Reply::Bulk("name".into()), Reply::Bulk("Ann".into())),
            (Reply::Bulk("age".into()), Reply::Bulk("41".into())),
        ]);
        let drawn = "field │ value\n──────┼──────\nname  │ Ann\nage   │ 41\n";
        assert_eq!(tabulate(&flat, Shape::Pairs).as_deref(), Some(drawn));
        assert_eq!(tabulate(&map, Shape::Plain).as_deref(), Some(drawn));
        assert_eq!(tabulate(&bulks(&[]), Shape::Pairs), None);
    }

    #[test]
    fn scores_are_right_aligned_in_both_versions() {
        let drawn = "member │ score\n───────┼──────\na      │   1.5\nb      │    10\n";
        assert_eq!(tabulate(&bulks(&["a", "1.5", "b", "10"]), Shape::Scores).as_deref(), Some(drawn));
        let pair = |member: &str, score| Reply::Array(vec![Reply::Bulk(member.into()), Reply::Double(score)]);
        assert_eq!(
            tabulate(&Reply::Array(vec![pair("a", 1.5), pair("b", 10.0)]), Shape::Scores).as_deref(),
            Some(drawn)
        );
    }

    #[test]
    fn entries_of_a_stream_have_a_column_for_each_field_they_share() {
        let entry = |id: &str, fields: &[&str]| Reply::Array(vec![Reply::Bulk(id.into()), bulks(fields)]);
        let same = Reply::Array(vec![entry("1-0", &["t", "20"]), entry("2-0", &["t", "21"])]);
        assert_eq!(tabulate(&same, Shape::Entries).as_deref(), Some("id  │ t\n────┼───\n1-0 │ 20\n2-0 │ 21\n"));
        let mixed = Reply::Array(vec![entry("1-0", &["t", "20"]), entry("2-0", &["h", "3", "t", "4"])]);
        let drawn = "id  │ fields\n────┼─────────\n1-0 │ t=20\n2-0 │ h=3  t=4\n";
        assert_eq!(tabulate(&mixed, Shape::Entries).as_deref(), Some(drawn));
        let read = Reply::Array(vec![Reply::Array(vec![Reply::Bulk("s".into()), same])]);
        let drawn = tabulate(&read, Shape::Streams).unwrap();
        assert!(drawn.starts_with("s\nid  │ t\n"), "{drawn}");
    }
}
