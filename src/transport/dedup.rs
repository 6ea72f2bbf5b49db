//! Recognizes copies of a message that several filters match, so that it is handled once.
//!
//! A broker may send one copy for each filter that matches, or one for all of them [MQTT-3.3.4-2].

use super::codec::Properties;
use crate::protocol::topic::{TopicFilter, disjoint, intersect};

/// How many filters of a set have numbers of their own.
const NUMBERS_PER_SET: u64 = 1 << 10;

/// How many sets of filters have numbers of their own: all of them are below 268,435,455.
const SETS: u64 = 1 << 17;

/// What to subscribe to, and which copy of a message to handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deduplicator {
    /// No topic matches two of these filters.
    Disjoint(Vec<TopicFilter>),
    /// The broker sends with each copy the numbers of the filters that it is for.
    Numbered(Vec<(u32, TopicFilter)>),
    /// Fewer and wider filters are subscribed to, no two of which match the same topic; these are the requested ones.
    Widened(Vec<TopicFilter>),
}

impl Deduplicator {
    /// Chooses how to recognize copies. `can_number`: the broker numbers copies, and all of them come to this client.
    pub(super) fn new(filters: &[TopicFilter], can_number: bool) -> Self {
        let overlap = filters.iter().enumerate().any(|(i, a)| filters[i + 1..].iter().any(|b| intersect(a, b)));
        match (overlap, can_number) {
            (false, _) => Self::Disjoint(filters.to_vec()),
            (true, true) => Self::Numbered(identifiers(filters).zip(filters.iter().cloned()).collect()),
            (true, false) => Self::Widened(filters.to_vec()),
        }
    }

    /// What to subscribe to: a filter, and its subscription identifier if it has one.
    pub(super) fn subscriptions(&self) -> Vec<(Option<u32>, TopicFilter)> {
        match self {
            Self::Disjoint(filters) => filters.iter().map(|filter| (None, filter.clone())).collect(),
            Self::Numbered(numbered) => {
                numbered.iter().map(|(number, filter)| (Some(*number), filter.clone())).collect()
            }
            Self::Widened(requested) => disjoint(requested).into_iter().map(|filter| (None, filter)).collect(),
        }
    }

    /// Whether to handle a copy with this topic and these properties: of the copies for several numbered filters, the one
    /// for the first filter that matches. A broker that gives no number sent only one copy; an unknown number was given by
    /// an earlier run.
    pub(super) fn accepts(&self, topic: &str, properties: Properties<'_>) -> bool {
        match self {
            Self::Disjoint(_) => true,
            Self::Widened(requested) => requested.iter().any(|filter| filter.matches(topic)),
            Self::Numbered(numbered) => is_first_copy(numbered, topic, || properties.subscription_identifiers()),
        }
    }
}

fn is_first_copy<I: Iterator<Item = u32>>(
    numbered: &[(u32, TopicFilter)],
    topic: &str,
    numbers: impl Fn() -> I,
) -> bool {
    let is_known = |number: u32| numbered.iter().any(|(known, _)| *known == number);
    let first = numbered.iter().find(|(_, filter)| filter.matches(topic));
    numbers().next().is_none()
        || !numbers().all(is_known)
        || first.is_none_or(|(first, _)| numbers().any(|number| number == *first))
}

/// A subscription identifier for each filter [MQTT-3.8.2.1.2], 1 to 268,435,455. They depend on the whole set, so that a
/// copy that a kept session queued for another set of filters has an unknown number.
fn identifiers(filters: &[TopicFilter]) -> impl Iterator<Item = u32> + use<> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in filters.iter().flat_map(|filter| filter.as_str().bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    let base = u32::try_from((hash % SETS) * NUMBERS_PER_SET).unwrap_or_default();
    (1..).map(move |number| base + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Vec<TopicFilter> {
        texts.iter().map(|text| text.parse().expect("a filter")).collect()
    }

    fn numbers(deduplicator: &Deduplicator) -> Vec<u32> {
        deduplicator.subscriptions().into_iter().filter_map(|(number, _)| number).collect()
    }

    #[test]
    fn filters_that_match_no_common_topic_are_subscribed_to_as_they_are() {
        let deduplicator = Deduplicator::new(&filters(&["a/+", "b/#"]), true);
        assert_eq!(deduplicator, Deduplicator::Disjoint(filters(&["a/+", "b/#"])));
        assert!(deduplicator.accepts("a/b", Properties::default()));
    }

    #[test]
    fn one_of_the_numbered_copies_is_handled() {
        let deduplicator = Deduplicator::new(&filters(&["a/+", "+/b", "c/#"]), true);
        let numbers = numbers(&deduplicator);
        let [first, second, third] = numbers[..] else { panic!("a number for each: {numbers:?}") };
        assert!(numbers.iter().all(|number| (1..=268_435_455).contains(number)));
        let Deduplicator::Numbered(numbered) = &deduplicator else { panic!("they overlap") };
        let is_handled = |topic: &str, copy: &[u32]| is_first_copy(numbered, topic, || copy.iter().copied());
        for (topic, own) in [("a/b", first), ("x/b", second), ("c/b", second), ("c/x", third)] {
            let handled: Vec<u32> = numbers.iter().copied().filter(|number| is_handled(topic, &[*number])).collect();
            assert_eq!(handled, [own], "{topic}");
            assert!(is_handled(topic, &numbers), "one copy for all of them");
            assert!(is_handled(topic, &[]), "a broker that gives no numbers");
            assert!(is_handled(topic, &[third + 1]), "what another set of filters left in a kept session");
        }
    }

    #[test]
    fn another_set_of_filters_has_other_numbers() {
        let of = |texts: &[&str]| numbers(&Deduplicator::new(&filters(texts), true));
        let (one, other) = (of(&["a/+", "+/b", "c/#"]), of(&["a/+", "+/b"]));
        assert!(other.iter().all(|number| !one.contains(number)), "{one:?} {other:?}");
    }

    #[test]
    fn without_numbers_no_two_subscriptions_overlap() {
        let deduplicator = Deduplicator::new(&filters(&["a/+", "+/b"]), false);
        let subscriptions = deduplicator.subscriptions();
        for (i, (number, one)) in subscriptions.iter().enumerate() {
            let overlaps = subscriptions[i + 1..].iter().any(|(_, other)| intersect(one, other));
            assert!(number.is_none() && !overlaps, "{subscriptions:?}");
        }
        let is_handled = |topic| deduplicator.accepts(topic, Properties::default());
        assert!(is_handled("a/b") && is_handled("a/x") && !is_handled("x/x"));
    }
}
