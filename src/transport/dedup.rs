//! Recognizes copies of a message that matches several filters, so that it is handled once.
//!
//! A broker may send one copy for each matching filter, or one for all of them [MQTT-3.3.4-2].

use super::codec::Properties;
use crate::protocol::topic::{TopicFilter, disjoint, intersect};

/// The number of subscription identifiers that are reserved for one set of filters.
const NUMBERS_PER_SET: u64 = 1 << 10;

/// The number of sets that are distinguished. With this number, all identifiers are below 268,435,455.
const SETS: u64 = 1 << 17;

/// The filters to subscribe to, and the rule that selects one copy of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deduplicator {
    /// No topic matches two of these filters, so there are no copies.
    Disjoint(Vec<TopicFilter>),
    /// The broker adds to each copy the subscription identifiers of the filters that the copy is for.
    Numbered(Vec<(u32, TopicFilter)>),
    /// The client subscribes to fewer, wider filters that do not overlap. These are the requested filters.
    Widened(Vec<TopicFilter>),
}

impl Deduplicator {
    /// Chooses the rule. `can_number` means that the broker supports subscription identifiers and sends all copies to this
    /// client.
    pub(super) fn new(filters: &[TopicFilter], can_number: bool) -> Self {
        let overlap = filters.iter().enumerate().any(|(i, a)| filters[i + 1..].iter().any(|b| intersect(a, b)));
        match (overlap, can_number) {
            (false, _) => Self::Disjoint(filters.to_vec()),
            (true, true) => Self::Numbered(identifiers(filters).zip(filters.iter().cloned()).collect()),
            (true, false) => Self::Widened(filters.to_vec()),
        }
    }

    /// Returns the filters to subscribe to, each with its subscription identifier, if any.
    pub(super) fn subscriptions(&self) -> Vec<(Option<u32>, TopicFilter)> {
        match self {
            Self::Disjoint(filters) => filters.iter().map(|filter| (None, filter.clone())).collect(),
            Self::Numbered(numbered) => {
                numbered.iter().map(|(number, filter)| (Some(*number), filter.clone())).collect()
            }
            Self::Widened(requested) => disjoint(requested).into_iter().map(|filter| (None, filter)).collect(),
        }
    }

    /// Returns whether to handle this copy. Of the copies for several numbered filters, only the one for the first matching
    /// filter is handled. A copy without an identifier is the only one. A copy with an unknown identifier is left from an
    /// earlier run.
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

/// Returns a subscription identifier for each filter [MQTT-3.8.2.1.2], 1 to 268,435,455. Identifiers depend on the whole set
/// of filters, so a copy that a kept session has queued for another set has an unknown identifier.
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
        let [first, second, third] = numbers[..] else { panic!("one identifier per filter: {numbers:?}") };
        assert!(numbers.iter().all(|number| (1..=268_435_455).contains(number)));
        let Deduplicator::Numbered(numbered) = &deduplicator else { panic!("the filters overlap") };
        let is_handled = |topic: &str, copy: &[u32]| is_first_copy(numbered, topic, || copy.iter().copied());
        for (topic, own) in [("a/b", first), ("x/b", second), ("c/b", second), ("c/x", third)] {
            let handled: Vec<u32> = numbers.iter().copied().filter(|number| is_handled(topic, &[*number])).collect();
            assert_eq!(handled, [own], "{topic}");
            assert!(is_handled(topic, &numbers), "one copy for all filters");
            assert!(is_handled(topic, &[]), "a broker that sends no identifiers");
            assert!(is_handled(topic, &[third + 1]), "an identifier of another set of filters");
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
