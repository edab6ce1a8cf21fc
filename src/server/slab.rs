//! Values under ids that are never used twice: a late answer never reaches a place's next tenant.

use super::service::ConnectionId;

pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

struct Entry<T> {
    /// Counts the tenants of this place, from 1; so no id is below 2^32, where the loop's other tokens are.
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { entries: Vec::new(), free: Vec::new() }
    }

    /// `make` is told the id that its value will have.
    pub(super) fn insert(&mut self, make: impl FnOnce(ConnectionId) -> T) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, value: None });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1).max(1);
        let id = ConnectionId(u64::from(entry.generation) << 32 | u64::from(index));
        entry.value = Some(make(id));
        id
    }

    pub(super) fn find(&mut self, id: ConnectionId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.0 as u32 as usize)?;
        if entry.generation == (id.0 >> 32) as u32 { entry.value.as_mut() } else { None }
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&T> {
        let entry = self.entries.get(id.0 as u32 as usize)?;
        if entry.generation == (id.0 >> 32) as u32 { entry.value.as_ref() } else { None }
    }

    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<T> {
        self.find(id)?;
        self.free.push(id.0 as u32);
        self.entries[id.0 as u32 as usize].value.take()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let id = ConnectionId(u64::from(entry.generation) << 32 | index as u64);
            entry.value.as_ref().map(|value| (id, value))
        })
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.iter().map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_never_finds_the_next_tenant() {
        let mut slab = Slab::new();
        let first = slab.insert(|_| 'a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert(|_| 'b');
        assert_eq!(first.0 as u32, second.0 as u32, "the place is used again");
        assert_eq!(slab.find(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.find(second), Some(&mut 'b'));
        assert_eq!((slab.len(), slab.ids()), (1, vec![second]));
    }
}
