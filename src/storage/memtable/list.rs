//! Rows of all tables but that of the keys: a skip list in the order of their names, so that a range of elements is walked in order.

use std::cmp::Ordering as Order;

use super::node::{self, Node};
use super::shape::{LEVELS, TOWER};
use super::slot::{Link, Lost, Slot};
use crate::storage::rows::{Direction, RowKey, Stretch, Table};

/// Where the links of each level are that lead to the place of a row, or past it; and the row's own node, if there is one.
pub(super) struct Path {
    pub(super) links: [usize; LEVELS],
    pub(super) node: Option<Node>,
}

/// The place of the link of a level: the tower's for the first node.
fn link_at(before: Option<usize>, level: usize) -> usize {
    before.map_or(TOWER + level, |node| node::next_at(node, level))
}

/// A walk that has taken more steps than there can be nodes is lost.
struct Steps(usize);

impl Steps {
    fn of(slot: &Slot<'_>) -> Self {
        Self(slot.layout.arena_words())
    }

    fn take(&mut self, slot: &Slot<'_>) -> Result<(), Lost> {
        self.0 = self.0.checked_sub(1).ok_or(Lost)?;
        if self.0.is_multiple_of(64) { slot.check() } else { Ok(()) }
    }
}

/// The node behind the link, if it is before `key`, or is it where `is_past` says so.
fn search(slot: &Slot<'_>, key: RowKey<'_>, links: &mut [usize; LEVELS]) -> Result<Option<Node>, Lost> {
    let mut before = None;
    let mut steps = Steps::of(slot);
    // A node that was found not to be before the key need not be compared again a level below.
    let mut known = None;
    for level in (0..LEVELS).rev() {
        loop {
            let at = link_at(before, level);
            links[level] = at;
            let Some(link) = (if before.is_none() { slot.root(at)? } else { slot.link(at)? }) else { break };
            if known.is_some_and(|(known, _)| known == link.at) {
                break;
            }
            steps.take(slot)?;
            let node = Node::read(slot, link.at)?;
            match node.compare(slot, key)? {
                Order::Less => before = Some(link.at),
                order => {
                    known = Some((link.at, order));
                    break;
                }
            }
        }
    }
    match known {
        Some((at, order)) => {
            let is_first = slot.root(links[0])?.is_some_and(|link| link.at == at);
            if is_first && order == Order::Equal { Node::read(slot, at).map(Some) } else { Ok(None) }
        }
        None => Ok(None),
    }
}

pub(super) fn find(slot: &Slot<'_>, key: RowKey<'_>) -> Result<Option<Node>, Lost> {
    search(slot, key, &mut [0; LEVELS])
}

/// For the writer: where the row is, or would go.
pub(super) fn path(slot: &Slot<'_>, key: RowKey<'_>) -> Result<Path, Lost> {
    let mut links = [0; LEVELS];
    let node = search(slot, key, &mut links)?;
    Ok(Path { links, node })
}

/// Links a new node on the levels above the first. A writer that dies between them leaves a list that is right, and a little slower.
pub(super) fn link_upper(slot: &Slot<'_>, at: usize, levels: usize, path: &Path) {
    let word = slot.link_word(Link::to(at));
    (1..levels).for_each(|level| slot.publish(path.links[level], word));
}

/// What lies behind the links of a path: the next nodes of a new node.
pub(super) fn next_word(slot: &Slot<'_>, path: &Path, level: usize) -> u64 {
    match slot.root(path.links[level]) {
        Ok(Some(link)) => slot.link_word(link),
        _ => 0,
    }
}

/// Rows of a table in order.
#[derive(Clone)]
pub(super) struct ListWalk {
    /// The link to the next one.
    link: usize,
    table: Table,
    last: u128,
}

impl ListWalk {
    /// From the row `first`, or the next one behind it, to the last one whose fields are not beyond `last`.
    pub(super) fn from(slot: &Slot<'_>, first: RowKey<'_>, last: u128) -> Result<Self, Lost> {
        let path = path(slot, first)?;
        Ok(Self { link: path.links[0], table: first.table(), last })
    }

    pub(super) fn next(&mut self, slot: &Slot<'_>) -> Result<Option<Node>, Lost> {
        let Some(link) = slot.root(self.link)? else { return Ok(None) };
        let node = Node::read(slot, link.at)?;
        if !node.is_of(self.table) || node.fields > self.last {
            return Ok(None);
        }
        self.link = node::next_at(link.at, 0);
        Ok(Some(node))
    }
}

/// Rows of a stretch, in its direction. Backwards each one is searched for from the top: the list has no links back.
#[derive(Clone)]
pub(super) enum StretchWalk {
    Forward(ListWalk),
    Backward { next: Option<Node>, table: Table, first: u128, tail: Vec<u8> },
}

impl StretchWalk {
    pub(super) fn of(slot: &Slot<'_>, stretch: &Stretch<'_>, begin: RowKey<'_>) -> Result<Self, Lost> {
        Ok(match stretch.direction {
            Direction::Forward => Self::Forward(ListWalk::from(slot, begin, stretch.last_fields())?),
            Direction::Backward => {
                let path = path(slot, begin)?;
                let next = if path.node.is_some() { path.node } else { before(slot, &path)? };
                Self::Backward { next, table: begin.table(), first: stretch.last_fields(), tail: Vec::new() }
            }
        })
    }

    pub(super) fn next(&mut self, slot: &Slot<'_>) -> Result<Option<Node>, Lost> {
        let (next, table, first, tail) = match self {
            Self::Forward(walk) => return walk.next(slot),
            Self::Backward { next, table, first, tail } => (next, *table, *first, tail),
        };
        let Some(node) = next.take().filter(|node| node.is_of(table) && node.fields >= first) else { return Ok(None) };
        tail.clear();
        node.tail(slot, tail)?;
        *next = before(slot, &path(slot, RowKey::new(table, node.fields, tail))?)?;
        Ok(Some(node))
    }
}

/// The last node before the place that a path leads to.
fn before(slot: &Slot<'_>, path: &Path) -> Result<Option<Node>, Lost> {
    if path.links[0] == link_at(None, 0) {
        return Ok(None);
    }
    Node::read(slot, path.links[0] - node::next_at(0, 0)).map(Some)
}
