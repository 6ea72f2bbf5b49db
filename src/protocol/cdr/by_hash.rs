//! A map from hashes of keys. It does not keep the keys, so a search reads less memory than one for a text.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from hashes. They must be keyed with a random number, so that nobody can choose keys with equal hashes.
pub(super) type ByHash<V> = HashMap<u64, V, BuildHasherDefault<HashOfHash>>;

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
