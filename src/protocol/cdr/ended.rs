//! A bounded cache of sessions and events that have ended, so that late copies of their events are recognized.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Remembers the last hashes that were added.
#[derive(Debug, Default)]
pub(super) struct EndedCache {
    hashes: HashSet<u64, BuildHasherDefault<HashOfHash>>,
    /// The hashes in the order in which they were added. A hash that was removed stays here until it is the oldest.
    order: VecDeque<u64>,
}

impl EndedCache {
    /// Maximum number of hashes. A full cache takes about 5 MB.
    pub(super) const CAPACITY: usize = 1 << 18;

    /// Adds a hash. If the cache is full, the oldest hash is removed.
    pub(super) fn insert(&mut self, hash: u64) {
        if self.order.len() == Self::CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        self.order.push_back(hash);
        self.hashes.insert(hash);
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.hashes.contains(&hash)
    }

    pub(super) fn remove(&mut self, hash: u64) {
        self.hashes.remove(&hash);
    }
}

/// Hashes a number that is a hash already.
#[derive(Debug, Default)]
pub(super) struct HashOfHash(u64);

impl Hasher for HashOfHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_hash_is_removed_when_the_cache_is_full() {
        let mut cache = EndedCache::default();
        let last = EndedCache::CAPACITY as u64;
        (0..=last).for_each(|hash| cache.insert(hash));
        assert!(!cache.contains(0) && cache.contains(1) && cache.contains(last));
        assert_eq!((cache.hashes.len(), cache.order.len()), (EndedCache::CAPACITY, EndedCache::CAPACITY));
        cache.remove(last);
        assert!(!cache.contains(last));
    }
}
