//! A run of bytes that is handed on without being copied: in memory of its own, or a part of memory that several share, such as a
//! frame that was received.

use std::ops::Deref;

use bytes::Bytes;

#[derive(Clone, Debug)]
pub enum Block {
    Own(Vec<u8>),
    Shared(Bytes),
}

impl Block {
    /// The bytes as memory of its own, which may grow. Copies those that others have, too.
    pub fn own(&mut self) -> &mut Vec<u8> {
        if let Block::Shared(bytes) = self {
            *self = Block::Own(Vec::from(std::mem::take(bytes)));
        }
        match self {
            Block::Own(bytes) => bytes,
            Block::Shared(_) => unreachable!("just made its own"),
        }
    }

    /// The same memory again: nothing is copied.
    pub fn share(&mut self) -> Bytes {
        match self {
            Block::Shared(bytes) => bytes.clone(),
            Block::Own(bytes) => {
                let bytes = Bytes::from(std::mem::take(bytes));
                *self = Block::Shared(bytes.clone());
                bytes
            }
        }
    }

    /// The memory that it takes, as far as that is its own affair.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match self {
            Block::Own(bytes) => bytes.capacity(),
            Block::Shared(bytes) => bytes.len(),
        }
    }
}

impl Default for Block {
    fn default() -> Block {
        Block::Own(Vec::new())
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Block::Own(bytes) => bytes,
            Block::Shared(bytes) => bytes,
        }
    }
}

impl PartialEq for Block {
    fn eq(&self, other: &Block) -> bool {
        **self == **other
    }
}

impl From<Vec<u8>> for Block {
    fn from(bytes: Vec<u8>) -> Block {
        Block::Own(bytes)
    }
}

impl From<Bytes> for Block {
    fn from(bytes: Bytes) -> Block {
        Block::Shared(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_not_copied_until_it_grows_beside_another_holder() {
        let mut block = Block::from(vec![7; 100]);
        let place = block.as_ptr();
        let shared = block.share();
        assert_eq!((shared.as_ptr(), block.as_ptr(), block.share().as_ptr()), (place, place, place));
        block.own().push(8);
        assert_eq!((shared.len(), block.len()), (100, 101));
        assert_ne!(block.as_ptr(), place, "the other holder's bytes stay as they are");
        let mut alone = Block::from(shared);
        assert_eq!(alone.own().as_ptr(), place);
    }
}
