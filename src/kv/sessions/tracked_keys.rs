//! Which of a worker's clients are to be told of which keys: those that have read a key, and those that named a prefix of it. Knows numbers
//! of clients and nothing else of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use smallvec::SmallVec;

/// The numbers of clients, in order.
pub type Numbers = SmallVec<[u64; 2]>;

/// Keys and who has read them since they were told of the key for the last time.
#[derive(Default)]
pub struct TrackedKeys {
    places: HashMap<Rc<[u8]>, usize>,
    entries: Vec<Entry>,
    items: usize,
    bytes: usize,
    random: RandomState,
    draws: u64,
}

struct Entry {
    key: Rc<[u8]>,
    clients: Numbers,
}

/// What a key takes beside its name, and each client of it beyond the second.
const ENTRY_BYTES: usize = 120;
const ITEM_BYTES: usize = size_of::<u64>();

impl TrackedKeys {
    pub fn add(&mut self, key: &[u8], client: u64) {
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => {
                let key: Rc<[u8]> = Rc::from(key);
                self.bytes += ENTRY_BYTES + key.len();
                self.places.insert(Rc::clone(&key), self.entries.len());
                self.entries.push(Entry { key, clients: Numbers::new() });
                self.entries.len() - 1
            }
        };
        let clients = &mut self.entries[place].clients;
        if let Err(at) = clients.binary_search(&client) {
            clients.insert(at, client);
            self.items += 1;
            self.bytes += ITEM_BYTES;
        }
    }

    /// Forgets the key. Who had read it; empty: nobody.
    pub fn take(&mut self, key: &[u8]) -> Numbers {
        let Some(place) = self.places.remove(key) else { return Numbers::new() };
        let Entry { key, clients } = self.entries.swap_remove(place);
        if let Some(moved) = self.entries.get(place)
            && let Some(known) = self.places.get_mut(&moved.key)
        {
            *known = place;
        }
        self.items -= clients.len();
        self.bytes -= ENTRY_BYTES + key.len() + ITEM_BYTES * clients.len();
        clients
    }

    /// A key that chance chooses.
    pub fn any(&mut self) -> Option<Rc<[u8]>> {
        self.draws += 1;
        let count = self.entries.len() as u64;
        let place = self.random.hash_one(self.draws).checked_rem(count)?;
        Some(Rc::clone(&self.entries[place as usize].key))
    }

    pub fn clear(&mut self) {
        (self.places, self.entries) = (HashMap::new(), Vec::new());
        (self.items, self.bytes) = (0, 0);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Clients of all keys together.
    #[must_use]
    pub fn items(&self) -> usize {
        self.items
    }

    /// The memory that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Prefixes, and who is told of every key that begins with one.
#[derive(Default)]
pub struct Prefixes {
    clients: BTreeMap<Rc<[u8]>, BTreeSet<u64>>,
    /// How many prefixes have this length: a key is looked up once for each length.
    lengths: BTreeMap<usize, usize>,
}

impl Prefixes {
    pub fn add(&mut self, prefix: &[u8], client: u64) {
        if let Some(clients) = self.clients.get_mut(prefix) {
            clients.insert(client);
            return;
        }
        *self.lengths.entry(prefix.len()).or_default() += 1;
        self.clients.insert(Rc::from(prefix), BTreeSet::from([client]));
    }

    pub fn remove(&mut self, prefix: &[u8], client: u64) {
        let Some(clients) = self.clients.get_mut(prefix) else { return };
        clients.remove(&client);
        if !clients.is_empty() {
            return;
        }
        self.clients.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// Those that a key begins with.
    pub fn of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Rc<[u8]>> {
        let lengths = self.lengths.range(..=key.len());
        lengths.filter_map(|(length, _)| Some(self.clients.get_key_value(&key[..*length])?.0))
    }

    pub fn clients(&self, prefix: &[u8]) -> impl Iterator<Item = u64> {
        self.clients.get(prefix).into_iter().flatten().copied()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_table_says_what_a_map_of_sets_says(steps in prop::collection::vec((0..4_u8, 0..12_u8, 0..5_u64), 0..300)) {
            let (mut table, mut model) = (TrackedKeys::default(), BTreeMap::<Vec<u8>, BTreeSet<u64>>::new());
            for (step, key, client) in steps {
                let key = vec![key; usize::from(key)];
                match step {
                    0 | 1 => {
                        table.add(&key, client);
                        model.entry(key).or_default().insert(client);
                    }
                    2 => {
                        let taken: Vec<u64> = table.take(&key).into_iter().collect();
                        prop_assert_eq!(taken, model.remove(&key).unwrap_or_default().into_iter().collect::<Vec<_>>());
                    }
                    _ => match table.any() {
                        Some(any) => prop_assert!(model.contains_key(&any[..])),
                        None => prop_assert!(model.is_empty()),
                    },
                }
                prop_assert_eq!(table.len(), model.len());
                let items: usize = model.values().map(BTreeSet::len).sum();
                prop_assert_eq!(table.items(), items);
                let bytes: usize = model.keys().map(|key| ENTRY_BYTES + key.len()).sum();
                prop_assert_eq!(table.bytes(), bytes + ITEM_BYTES * items);
            }
        }

        #[test]
        fn a_key_has_the_prefixes_that_it_begins_with(given in prop::collection::vec(("[ab]{0,4}", 0..3_u64, any::<bool>()), 0..60), key in "[ab]{0,5}") {
            let (mut prefixes, mut model) = (Prefixes::default(), BTreeMap::<String, BTreeSet<u64>>::new());
            for (prefix, client, is_added) in given {
                if is_added {
                    prefixes.add(prefix.as_bytes(), client);
                    model.entry(prefix).or_default().insert(client);
                } else {
                    prefixes.remove(prefix.as_bytes(), client);
                    if let Some(clients) = model.get_mut(&prefix) {
                        clients.remove(&client);
                    }
                    model.retain(|_, clients| !clients.is_empty());
                }
            }
            let mut found: Vec<&[u8]> = prefixes.of(key.as_bytes()).map(|prefix| &prefix[..]).collect();
            found.sort_unstable();
            let expected: Vec<&[u8]> =
                model.keys().filter(|prefix| key.starts_with(*prefix)).map(|prefix| prefix.as_bytes()).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(prefixes.len(), model.len());
            for (prefix, clients) in model {
                prop_assert_eq!(prefixes.clients(prefix.as_bytes()).collect::<BTreeSet<_>>(), clients);
            }
        }
    }
}
