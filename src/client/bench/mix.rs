//! Which command comes next: named or written out, each with its weight.

use super::random::Random;
use super::template::Template;

#[derive(Clone, Debug)]
pub(super) struct Mix {
    entries: Vec<Entry>,
    weights: u64,
    scripts: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    template: Template,
    weight: u64,
}

/// (name, its template). The key of INCR is not one that SET fills with bytes that are no number.
pub(super) const NAMED: &[(&str, &str)] = &[
    ("get", "GET __key__"),
    ("set", "SET __key__ __value__"),
    ("mget10", "MGET __key__ __key__ __key__ __key__ __key__ __key__ __key__ __key__ __key__ __key__"),
    (
        "mset10",
        "MSET __key__ __value__ __key__ __value__ __key__ __value__ __key__ __value__ __key__ __value__ \
         __key__ __value__ __key__ __value__ __key__ __value__ __key__ __value__ __key__ __value__",
    ),
    ("incr", "INCR counter:__number__"),
    ("hset", "HSET hash:__number__ field:3 __value__"),
    ("hget", "HGET hash:__number__ field:3"),
    ("hgetall", "HGETALL hash:__number__"),
    // Many small sets, whose members are numbers too.
    ("sadd", "SADD set:__number__ member:__number__"),
    ("sismember", "SISMEMBER set:__number__ member:__number__"),
    ("spop", "SPOP set:__number__"),
    ("sinter", "SINTER set:__number__ set:__number__"),
    // Many lists, and one that is a queue.
    ("lpush", "LPUSH list:__number__ __value__"),
    ("lrange100", "LRANGE list:__number__ 0 99"),
    ("rpush", "RPUSH queue __value__"),
    ("lpop", "LPOP queue"),
    // Many small sorted sets, and one of all members.
    ("zadd", "ZADD scores:__number__ __number__ member:__number__"),
    ("zscore", "ZSCORE scores:__number__ member:__number__"),
    ("zadd-board", "ZADD board __number__ member:__number__"),
    ("zrank", "ZRANK board member:__number__"),
    ("zrange100", "ZRANGE board 500000 500099"),
    ("zpopmin", "ZPOPMIN board"),
    // Many streams, or one where all keys are one.
    ("xadd", "XADD stream:__number__ * field __value__"),
    ("publish", "PUBLISH channel __value__"),
    // Locks, as clients take and release them, and a rate limiter of a window of a minute.
    ("lock", "SET lock:__number__ token NX PX 30000"),
    ("release", "EVALSHA d02e481a9c91ceec59c5822a58a49d5d5d7ac80b 1 lock:__number__ token"),
    ("limit", "EVALSHA d23a0b21133209c713b679bf36cbb42db77bf6e6 1 limit:__number__ 60000"),
    ("ping", "PING"),
];

/// (name of an entry, the script that its EVALSHA names).
const SCRIPTS: &[(&str, &str)] = &[
    ("release", "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"),
    (
        "limit",
        "local count = redis.call('INCR', KEYS[1]) \
         if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end return count",
    ),
];

impl Mix {
    /// `named`: `get`, or `get:90,set:10`. `templates`: whole command lines, each after a weight or none:
    /// `10 HSET __key__ field __value__`. Without any of them it is `get`.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub(super) fn new(named: &[String], templates: &[String]) -> Result<Self, String> {
        let mut entries = named.iter().map(|text| named_entry(text)).collect::<Result<Vec<_>, _>>()?;
        for text in templates {
            entries.push(template_entry(text)?);
        }
        if entries.is_empty() {
            entries.push(named_entry("get")?);
        }
        let weights = entries.iter().map(|entry| entry.weight).sum();
        if weights == 0 {
            return Err("no command has a weight above 0".to_owned());
        }
        let is_in = |name: &str| entries.iter().any(|entry| entry.name == name);
        let scripts = SCRIPTS.iter().filter(|(name, _)| is_in(name)).map(|(_, script)| *script).collect();
        Ok(Self { entries, weights, scripts })
    }

    /// What the service is to know before.
    pub(super) fn scripts(&self) -> &[&'static str] {
        &self.scripts
    }

    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    pub(super) fn template(&self, index: usize) -> &Template {
        &self.entries[index].template
    }

    pub(super) fn choose(&self, random: &mut Random) -> usize {
        if self.entries.len() == 1 {
            return 0;
        }
        let mut place = random.below(self.weights);
        let chosen = self.entries.iter().position(|entry| {
            let is_here = place < entry.weight;
            place = place.saturating_sub(entry.weight);
            is_here
        });
        chosen.expect("a place below the sum of the weights is in one of them")
    }
}

fn named_entry(text: &str) -> Result<Entry, String> {
    let (name, weight) = text.split_once(':').unwrap_or((text, "1"));
    let names = || NAMED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let weight = weight.parse().map_err(|_| format!("`{text}`: the weight after the colon is not a number"))?;
    let (name, template) =
        NAMED.iter().find(|(known, _)| *known == name).ok_or_else(|| format!("`{name}` is none of {}", names()))?;
    Ok(Entry { name: (*name).to_owned(), template: Template::parse(template)?, weight })
}

fn template_entry(text: &str) -> Result<Entry, String> {
    let weighted = text.trim().split_once(' ').and_then(|(first, rest)| Some((first.parse().ok()?, rest)));
    let (weight, template) = weighted.unwrap_or((1, text.trim()));
    let parsed = Template::parse(template).map_err(|what| format!("`{text}`: {what}"))?;
    Ok(Entry { name: template.to_owned(), template: parsed, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(named: &[&str], templates: &[&str]) -> Result<Mix, String> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Mix::new(&owned(named), &owned(templates))
    }

    #[test]
    fn commands_are_chosen_by_weight() {
        let mix = mix(&["get:90", "set:8"], &["2 HGET __key__ f"]).unwrap();
        assert_eq!(mix.names().collect::<Vec<_>>(), ["get", "set", "HGET __key__ f"]);
        let (mut random, mut counts) = (Random::new(5), [0u32; 3]);
        for _ in 0..100_000 {
            counts[mix.choose(&mut random)] += 1;
        }
        assert!(counts[0].abs_diff(90_000) < 900 && counts[1].abs_diff(8_000) < 500, "{counts:?}");
        assert!(counts[2].abs_diff(2_000) < 300, "{counts:?}");
    }

    #[test]
    fn without_a_word_it_is_get() {
        assert_eq!(mix(&[], &[]).unwrap().names().collect::<Vec<_>>(), ["get"]);
        assert_eq!(mix(&[], &["LPUSH l 1"]).unwrap().names().collect::<Vec<_>>(), ["LPUSH l 1"]);
    }

    #[test]
    fn scripts_are_loaded_for_those_who_name_them() {
        assert!(mix(&["get"], &[]).unwrap().scripts().is_empty());
        let both = mix(&["lock", "release", "limit"], &[]).unwrap();
        let names = both.scripts().iter().map(|script| {
            let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, script.as_bytes());
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        let named = SCRIPTS.iter().map(|(name, _)| NAMED.iter().find(|(known, _)| known == name).unwrap().1);
        for (template, sha) in named.zip(names) {
            assert!(template.starts_with(&format!("EVALSHA {sha} ")), "{sha}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(mix(&["gte"], &[]).unwrap_err().contains("`gte` is none of get, set"));
        assert!(mix(&["get:x"], &[]).unwrap_err().contains("`get:x`"));
        assert!(mix(&[], &["3 SET 'a"]).unwrap_err().contains("unbalanced quotes"));
        assert!(mix(&["get:0"], &[]).is_err());
    }
}
