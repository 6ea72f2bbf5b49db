//! A bounded cache of sessions and events that have ended, so that late copies of their events are recognized.

/// Number of hashes in a group.
const GROUP: usize = 16;

/// Number of groups. The cache takes 4 MB.
const GROUPS: usize = 1 << 15;

/// Remembers the last hashes that were added: practically all of 100,000, and 99 of 100 of 250,000.
///
/// The low bits of a hash choose its group, so that each call reads one place in memory. The newest hash of a group is the
/// first one. A full group forgets its oldest hash.
#[derive(Debug, Default)]
pub(super) struct EndedCache {
    /// Hashes that are not zero, then zeros for free places. Empty until the first hash is added.
    groups: Vec<[u64; GROUP]>,
}

impl EndedCache {
    /// Adds a hash.
    pub(super) fn insert(&mut self, hash: u64) {
        if self.groups.is_empty() {
            self.groups = vec![[0; GROUP]; GROUPS];
        }
        self.remove(hash);
        let group = &mut self.groups[index(hash)];
        group.rotate_right(1);
        group[0] = not_zero(hash);
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.groups.get(index(hash)).is_some_and(|group| group.contains(&not_zero(hash)))
    }

    pub(super) fn remove(&mut self, hash: u64) {
        let Some(group) = self.groups.get_mut(index(hash)) else { return };
        if let Some(at) = group.iter().position(|it| *it == not_zero(hash)) {
            group[at..].rotate_left(1);
            group[GROUP - 1] = 0;
        }
    }
}

/// Returns the index of a hash's group.
fn index(hash: u64) -> usize {
    usize::try_from(hash % GROUPS as u64).expect("less than the number of groups")
}

/// Returns the hash as it is stored. Zero marks a free place.
fn not_zero(hash: u64) -> u64 {
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the n-th hash of a group.
    fn in_group(group: usize, n: u64) -> u64 {
        group as u64 + n * GROUPS as u64
    }

    #[test]
    fn a_full_group_forgets_its_oldest_hash() {
        let mut cache = EndedCache::default();
        let last = GROUP as u64;
        (0..=last).for_each(|n| cache.insert(in_group(7, n)));
        cache.insert(in_group(8, 0));
        let contained: Vec<bool> = (0..=last).map(|n| cache.contains(in_group(7, n))).collect();
        assert_eq!((contained[0], contained.iter().filter(|it| **it).count()), (false, GROUP));
        assert!(cache.contains(in_group(8, 0)));
    }

    #[test]
    fn a_removed_hash_leaves_a_free_place_and_a_repeated_one_takes_none() {
        let mut cache = EndedCache::default();
        (0..GROUP as u64).for_each(|n| cache.insert(in_group(0, n)));
        cache.insert(in_group(0, 0));
        cache.remove(in_group(0, 3));
        cache.insert(in_group(0, 99));
        for n in (0..GROUP as u64).chain([99]) {
            assert_eq!(cache.contains(in_group(0, n)), n != 3, "{n}");
        }
    }

    #[test]
    fn a_hundred_thousand_hashes_are_remembered() {
        let mut cache = EndedCache::default();
        let mut random = fastrand::Rng::with_seed(1);
        let hashes: Vec<u64> = (0..100_000).map(|_| random.u64(..)).collect();
        for hash in &hashes {
            cache.insert(*hash);
        }
        assert!(hashes.iter().all(|hash| cache.contains(*hash)));
    }
}
