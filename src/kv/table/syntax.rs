//! Reads a row's `syntax`, as the reference pages of Redis write it, into arguments: for COMMAND DOCS and the client's
//! hints. Knows no command; where the text does not say an argument's type, its name does.
//!
//! ```text
//! sequence     item*
//! item         word | TOKEN | [ alternatives ] | < alternatives >       brackets: may be left out; angles: one of
//! alternatives sequence ( | sequence )*
//! repetition   item* [ the same items ... ]                             key [key ...]
//!              alternatives [ the same alternatives ... ]               GET key | SET key [GET key | SET key ...]
//! ```

use std::borrow::Cow;

/// One argument of a command, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument<'a> {
    pub name: Cow<'a, str>,
    pub kind: ArgumentKind,
    /// The word that introduces the argument, or, for a pure token, is it.
    pub token: Option<&'a str>,
    pub is_optional: bool,
    pub is_multiple: bool,
    /// With `is_multiple`: each repetition begins with the token again.
    pub is_multiple_token: bool,
    /// The alternatives of a one-of, the parts of a block.
    pub arguments: Vec<Argument<'a>>,
}

/// What an argument is, by the names of COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    Key,
    String,
    Integer,
    Double,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgumentKind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ArgumentKind::Key => "key",
            ArgumentKind::String => "string",
            ArgumentKind::Integer => "integer",
            ArgumentKind::Double => "double",
            ArgumentKind::Pattern => "pattern",
            ArgumentKind::UnixTime => "unix-time",
            ArgumentKind::PureToken => "pure-token",
            ArgumentKind::OneOf => "oneof",
            ArgumentKind::Block => "block",
        }
    }

    /// What a word of this name stands for.
    fn named(name: &str) -> ArgumentKind {
        match name {
            "key" | "key1" | "key2" | "newkey" | "source" | "sourcekey" | "destination" | "destkey" | "dst" | "src" => {
                ArgumentKind::Key
            }
            "pattern" | "by-pattern" | "get-pattern" => ArgumentKind::Pattern,
            "entries-added" | "ms" | "bit" | "bits" | "client-id" | "cluster-bus-port" | "config-epoch" | "count"
            | "cursor" | "db" | "decrement" | "destination-db" | "end" | "end-slot" | "frequency" | "increment"
            | "index" | "index1" | "index2" | "iteration" | "len" | "limit" | "milliseconds" | "min-match-len"
            | "num-matches" | "numkeys" | "numlocal" | "numreplicas" | "offset" | "port" | "protover" | "rank"
            | "seconds" | "slot" | "start" | "start-slot" | "stop" | "timeout" | "ttl" | "version" | "weight" => {
                ArgumentKind::Integer
            }
            "score" | "longitude" | "latitude" | "radius" | "width" | "height" => ArgumentKind::Double,
            _ if name.starts_with("unix-time") => ArgumentKind::UnixTime,
            _ => ArgumentKind::String,
        }
    }
}

/// The text is not a syntax. Rows are tested, so that only tests see this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyntaxError {
    /// A bracket or angle is open at the end.
    Unclosed(char),
    /// This sign is where none belongs: a closing one without its opening, `...` without what is repeated.
    Unexpected(String),
}

/// The arguments that follow the command's name.
pub fn parse(syntax: &str) -> Result<Vec<Argument<'_>>, SyntaxError> {
    let mut words = Words { rest: syntax };
    let mut alternatives = parse_alternatives(&mut words, None)?;
    match (alternatives.pop(), alternatives.is_empty()) {
        (Some(nodes), true) => arguments_of(&nodes),
        _ => Err(SyntaxError::Unexpected("|".to_owned())),
    }
}

/// The text's structure, before it is known which words belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node<'a> {
    Word(&'a str),
    Ellipsis,
    Optional(Vec<Vec<Node<'a>>>),
    OneOf(Vec<Vec<Node<'a>>>),
    /// These nodes, once or more.
    Repeated(Vec<Node<'a>>),
}

/// Splits at blanks and around brackets, angles and bars.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let is_sign = |sign: char| matches!(sign, '[' | ']' | '<' | '>' | '|');
        let end = match self.rest.chars().next()? {
            sign if is_sign(sign) => 1,
            _ => self.rest.find(|sign: char| sign == ' ' || is_sign(sign)).unwrap_or(self.rest.len()),
        };
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

/// Sequences separated by bars, up to `close`, which is taken, or the end of the text.
fn parse_alternatives<'a>(words: &mut Words<'a>, close: Option<char>) -> Result<Vec<Vec<Node<'a>>>, SyntaxError> {
    let (mut alternatives, mut sequence) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        match word {
            "[" => sequence.push(Node::Optional(parse_alternatives(words, Some(']'))?)),
            "<" => sequence.push(Node::OneOf(parse_alternatives(words, Some('>'))?)),
            "|" => alternatives.push(repetitions_joined(std::mem::take(&mut sequence))),
            "..." => sequence.push(Node::Ellipsis),
            "]" | ">" if word.chars().next() == close => {
                alternatives.push(repetitions_joined(sequence));
                return Ok(repeated_choice_joined(alternatives));
            }
            "]" | ">" => return Err(SyntaxError::Unexpected(word.to_owned())),
            _ => sequence.push(Node::Word(word)),
        }
    }
    alternatives.push(repetitions_joined(sequence));
    close.map_or(Ok(alternatives), |close| Err(SyntaxError::Unclosed(close)))
}

/// `a b [a b ...]` becomes one node.
fn repetitions_joined(sequence: Vec<Node<'_>>) -> Vec<Node<'_>> {
    let mut joined: Vec<Node<'_>> = Vec::with_capacity(sequence.len());
    for node in sequence {
        if let Node::Optional(alternatives) = &node
            && let [repeated] = alternatives.as_slice()
            && let [repeated @ .., Node::Ellipsis] = repeated.as_slice()
            && !repeated.is_empty()
            && joined.ends_with(repeated)
        {
            joined.truncate(joined.len() - repeated.len());
            joined.push(Node::Repeated(repeated.to_vec()));
        } else {
            joined.push(node);
        }
    }
    joined
}

/// `a | b [a | b ...]` repeats the whole choice, not its last alternative.
fn repeated_choice_joined(alternatives: Vec<Vec<Node<'_>>>) -> Vec<Vec<Node<'_>>> {
    let Some((last, earlier)) = alternatives.split_last() else { return alternatives };
    let Some((Node::Optional(repeated), last)) = last.split_last() else { return alternatives };
    let Some((repeated_last, repeated_earlier)) = repeated.split_last() else { return alternatives };
    if repeated_earlier.is_empty() || repeated_earlier != earlier {
        return alternatives;
    }
    match repeated_last.split_last() {
        Some((Node::Ellipsis, repeated_last)) if repeated_last == last => {
            let choice = earlier.iter().cloned().chain([last.to_vec()]).collect();
            vec![vec![Node::Repeated(vec![Node::OneOf(choice)])]]
        }
        _ => alternatives,
    }
}

fn arguments_of<'a>(nodes: &[Node<'a>]) -> Result<Vec<Argument<'a>>, SyntaxError> {
    let mut arguments = Vec::new();
    let mut nodes = nodes.iter();
    while let Some(node) = nodes.next() {
        arguments.push(match node {
            Node::Word(token) if is_token(token) => match nodes.as_slice().first() {
                // A token introduces the word, the choice or the repetition behind it.
                Some(Node::Word(word)) if is_token(word) => Argument::pure_token(token),
                Some(next @ (Node::Word(_) | Node::OneOf(_) | Node::Repeated(_))) => {
                    nodes.next();
                    introduced(token, argument_of(next)?)
                }
                _ => Argument::pure_token(token),
            },
            node => argument_of(node)?,
        });
    }
    Ok(arguments)
}

fn argument_of<'a>(node: &Node<'a>) -> Result<Argument<'a>, SyntaxError> {
    Ok(match node {
        Node::Word(token) if is_token(token) => Argument::pure_token(token),
        Node::Word(name) => Argument::new(Cow::Borrowed(name), ArgumentKind::named(name)),
        Node::Ellipsis => return Err(SyntaxError::Unexpected("...".to_owned())),
        Node::Optional(alternatives) => Argument { is_optional: true, ..choice(alternatives)? },
        Node::OneOf(alternatives) => choice(alternatives)?,
        Node::Repeated(nodes) => {
            let mut argument = together(nodes)?;
            argument.is_multiple = true;
            argument.is_multiple_token = argument.token.is_some() && argument.kind != ArgumentKind::PureToken;
            match (argument.kind, argument.token) {
                (ArgumentKind::Block, None) => argument.name = Cow::Borrowed("data"),
                (ArgumentKind::OneOf, None) => argument.name = Cow::Borrowed("operation"),
                _ => {}
            }
            argument
        }
    })
}

/// An argument with the token before it. A repetition whose first word is itself introduced stands in a block.
fn introduced<'a>(token: &'a str, argument: Argument<'a>) -> Argument<'a> {
    if argument.token.is_some() {
        let arguments = vec![argument];
        return Argument { token: Some(token), arguments, ..Argument::new(lower(token), ArgumentKind::Block) };
    }
    match argument.kind {
        ArgumentKind::OneOf | ArgumentKind::Block => Argument { name: lower(token), token: Some(token), ..argument },
        _ => Argument { token: Some(token), ..argument },
    }
}

/// One of several sequences, or the only one.
fn choice<'a>(alternatives: &[Vec<Node<'a>>]) -> Result<Argument<'a>, SyntaxError> {
    if let [only] = alternatives {
        return together(only);
    }
    let arguments = alternatives.iter().map(|nodes| together(nodes)).collect::<Result<Vec<_>, _>>()?;
    Ok(Argument { arguments, ..Argument::new(name_of_choice(alternatives), ArgumentKind::OneOf) })
}

/// A sequence as one argument: itself, or a block.
fn together<'a>(nodes: &[Node<'a>]) -> Result<Argument<'a>, SyntaxError> {
    // `INCRBY encoding offset increment`: the token introduces all the words, not the first alone.
    if let [Node::Word(token), words @ ..] = nodes
        && is_token(token)
        && words.len() > 1
        && words.iter().all(|node| matches!(node, Node::Word(word) if !is_token(word)))
    {
        let arguments = arguments_of(words)?;
        let name = match *token {
            "LIMIT" => Cow::Borrowed("limit"),
            token => Cow::Owned(format!("{}-block", token.to_ascii_lowercase())),
        };
        return Ok(Argument { token: Some(token), arguments, ..Argument::new(name, ArgumentKind::Block) });
    }
    let mut arguments = arguments_of(nodes)?;
    match (arguments.pop(), arguments.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            arguments.push(last);
            let name = match arguments[0].name.as_ref() {
                "start" => Cow::Borrowed("range"),
                _ => {
                    let parts: Vec<&str> = arguments.iter().map(|part| part.name.as_ref()).collect();
                    Cow::Owned(format!("{}-block", parts.join("-")))
                }
            };
            Ok(Argument { arguments, ..Argument::new(name, ArgumentKind::Block) })
        }
        (None, _) => Err(SyntaxError::Unexpected("|".to_owned())),
    }
}

/// What Redis calls the usual choices; others go by their alternatives.
fn name_of_choice<'a>(alternatives: &[Vec<Node<'a>>]) -> Cow<'a, str> {
    let first_words = || alternatives.iter().filter_map(|nodes| first_word(nodes));
    match first_words().next() {
        Some("NX" | "XX") => Cow::Borrowed("condition"),
        Some("GT" | "LT") => Cow::Borrowed("comparison"),
        Some("ASC" | "DESC") => Cow::Borrowed("order"),
        Some("M" | "KM") => Cow::Borrowed("unit"),
        Some("EX" | "PX") => Cow::Borrowed("expiration"),
        Some("AND" | "OR") => Cow::Borrowed("operation"),
        Some("ASYNC" | "SYNC") => Cow::Borrowed("flush-type"),
        Some("BYTE" | "BIT") => Cow::Borrowed("unit"),
        Some("FORCE" | "TAKEOVER") => Cow::Borrowed("options"),
        Some("HARD" | "SOFT") => Cow::Borrowed("reset-type"),
        Some("BYSCORE" | "BYLEX") => Cow::Borrowed("sortby"),
        Some("MIN" | "MAX") => Cow::Borrowed("where"),
        Some("IMPORTING") => Cow::Borrowed("subcommand"),
        _ => Cow::Owned(first_words().map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-or-")),
    }
}

fn first_word<'a>(nodes: &[Node<'a>]) -> Option<&'a str> {
    match nodes.first()? {
        Node::Word(word) => Some(word),
        Node::Ellipsis => None,
        Node::Optional(alternatives) | Node::OneOf(alternatives) => first_word(alternatives.first()?),
        Node::Repeated(nodes) => first_word(nodes),
    }
}

/// True exactly when the word is written as it stands: `EX`, `*`, `""`, but not `seconds`.
fn is_token(word: &str) -> bool {
    !word.contains(|letter: char| letter.is_ascii_lowercase())
}

fn lower<'a>(token: &str) -> Cow<'a, str> {
    Cow::Owned(token.to_ascii_lowercase())
}

impl<'a> Argument<'a> {
    fn new(name: Cow<'a, str>, kind: ArgumentKind) -> Argument<'a> {
        Argument {
            name,
            kind,
            token: None,
            is_optional: false,
            is_multiple: false,
            is_multiple_token: false,
            arguments: Vec::new(),
        }
    }

    fn pure_token(token: &'a str) -> Argument<'a> {
        Argument { token: Some(token), ..Argument::new(lower(token), ArgumentKind::PureToken) }
    }
}
