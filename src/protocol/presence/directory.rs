//! The presence documents that exist, as far as the subscription shows.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;

/// The documents that exist, by their topics.
///
/// A broker lists all retained documents for a new subscription. Between two listings a document may have changed or
/// vanished unseen, so a second listing is compared with what was known before. Of a document only a hash is kept.
#[derive(Debug, Default)]
pub struct Directory {
    documents: HashMap<String, u64>,
    /// Known documents that the current listing has not shown yet.
    unconfirmed: HashSet<String>,
    hashing: RandomState,
}

impl Directory {
    /// Begins a listing.
    pub fn begin_listing(&mut self) {
        self.unconfirmed = self.documents.keys().cloned().collect();
    }

    /// Adds or replaces a document. Returns whether it is new or has changed.
    pub fn insert(&mut self, topic: &str, payload: &[u8]) -> bool {
        self.unconfirmed.remove(topic);
        let hash = self.hashing.hash_one(payload);
        match self.documents.get_mut(topic) {
            Some(known) => std::mem::replace(known, hash) != hash,
            None => self.documents.insert(topic.to_owned(), hash).is_none(),
        }
    }

    /// Removes a document.
    pub fn remove(&mut self, topic: &str) {
        self.unconfirmed.remove(topic);
        self.documents.remove(topic);
    }

    /// Ends a listing. Removes the documents that it did not show, and returns their topics in order.
    pub fn end_listing(&mut self) -> Vec<String> {
        let mut vanished: Vec<String> = std::mem::take(&mut self.unconfirmed).into_iter().collect();
        vanished.sort_unstable();
        for topic in &vanished {
            self.documents.remove(topic);
        }
        vanished
    }

    /// Returns whether the endpoint has a document, on any topic.
    #[must_use]
    pub fn has(&self, endpoint: &str) -> bool {
        self.documents.keys().any(|topic| topic.rsplit('/').next() == Some(endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_listing_shows_changed_and_missing_documents() {
        let mut directory = Directory::default();
        directory.begin_listing();
        for topic in ["s/a", "s/b", "s/c", "s/d"] {
            assert!(directory.insert(topic, b"1"), "{topic} is new");
        }
        assert!(directory.end_listing().is_empty());
        directory.remove("s/d");
        directory.begin_listing();
        assert!(!directory.insert("s/a", b"1") && directory.insert("s/b", b"2") && directory.insert("s/e", b"1"));
        assert_eq!(directory.end_listing(), ["s/c"]);
        assert!(directory.insert("s/c", b"1"), "it is new again");
    }

    #[test]
    fn an_endpoint_is_present_until_its_last_document_is_gone() {
        let mut directory = Directory::default();
        directory.insert("s/iggy_pop", b"1");
        directory.insert("s/agents/iggy_pop", b"1");
        directory.remove("s/iggy_pop");
        assert!(directory.has("iggy_pop") && !directory.has("iggy") && !directory.has("agents"));
        directory.remove("s/agents/iggy_pop");
        assert!(!directory.has("iggy_pop"));
    }
}
