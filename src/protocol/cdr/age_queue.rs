//! The open sessions in the order of their first events, oldest first.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::by_hash::ByHash;
use super::session::OpenSession;

/// A queue of sessions. Sessions that have ended are removed later, in groups, because that is faster.
#[derive(Debug, Default)]
pub(super) struct AgeQueue {
    /// Time and number of the first event, and the hash of the session's key. Sorted.
    queue: VecDeque<(Timestamp, u64, u64)>,
}

impl AgeQueue {
    /// Number of ended sessions that may always stay in the queue.
    const MIN_SURPLUS: usize = 1_024;

    /// Adds a session. Its number must be higher than those before.
    pub(super) fn push(&mut self, first_received: Timestamp, number: u64, hash: u64) {
        let is_last = self.queue.back().is_none_or(|(last, ..)| *last <= first_received);
        let at = if is_last { self.queue.len() } else { self.queue.partition_point(|it| it.0 <= first_received) };
        self.queue.insert(at, (first_received, number, hash));
    }

    /// Removes the oldest session if its first event came before `limit`, and returns the hash of its key.
    pub(super) fn pop_before(&mut self, limit: Timestamp, open: &ByHash<Box<OpenSession>>) -> Option<u64> {
        while self.queue.front().is_some_and(|(first, ..)| *first < limit) {
            if let Some((_, number, hash)) = self.queue.pop_front()
                && is_open(number, hash, open)
            {
                return Some(hash);
            }
        }
        None
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Removes the sessions that have ended if they are more than those that are open.
    pub(super) fn compact(&mut self, open: &ByHash<Box<OpenSession>>) {
        if self.queue.len() > 2 * open.len() + Self::MIN_SURPLUS {
            self.queue.retain(|(_, number, hash)| is_open(*number, *hash, open));
        }
    }
}

fn is_open(number: u64, hash: u64, open: &ByHash<Box<OpenSession>>) -> bool {
    open.get(&hash).is_some_and(|session| session.number == number)
}
