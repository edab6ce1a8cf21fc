//! The names that rules may use: commands, subcommands, categories. Made from the command table, by who knows it.

use std::collections::HashMap;
use std::ops::Range;

/// One command, or one subcommand of a container.
#[derive(Clone, Debug)]
pub struct Word {
    /// Lower case; a subcommand's is its full name: "config|get".
    pub name: &'static str,
    /// A bit for each category that it is in, by its place in the vocabulary.
    pub categories: u64,
    /// The container of a subcommand.
    pub parent: Option<u16>,
    /// The subcommands of a container.
    pub children: Range<u16>,
}

/// All words by their numbers, which are those of the rows of the command table.
#[derive(Debug)]
pub struct Vocabulary {
    words: Vec<Word>,
    by_name: HashMap<&'static str, u16>,
    categories: Vec<&'static str>,
}

impl Vocabulary {
    #[must_use]
    pub fn new(words: Vec<Word>, categories: Vec<&'static str>) -> Vocabulary {
        let by_name = words.iter().enumerate().map(|(number, word)| (word.name, number as u16)).collect();
        Vocabulary { words, by_name, categories }
    }

    /// The number of the word with this full name, whatever its case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.by_name.get(name.as_str()).copied()
    }

    #[must_use]
    pub fn word(&self, number: u16) -> &Word {
        &self.words[usize::from(number)]
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The bit of the category with this name, whatever its case.
    #[must_use]
    pub fn category(&self, name: &[u8]) -> Option<u64> {
        let place = self.categories.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(1 << place)
    }

    /// The numbers of all words of a category.
    pub fn of_category(&self, category: u64) -> impl Iterator<Item = u16> {
        let words = self.words.iter().enumerate();
        words.filter(move |(_, word)| word.categories & category != 0).map(|(number, _)| number as u16)
    }
}
