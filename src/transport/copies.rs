//! How the copies of a message that several filters match are told apart, so that it is handled once.
//!
//! A broker may send one copy for each filter that matches, or one for all of them [MQTT-3.3.4-2].

use crate::protocol::topic::{TopicFilter, disjoint, intersect};

/// How many filters of a set have numbers of their own.
const PER_SET: u64 = 1 << 10;

/// What is subscribed to, and how copies are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Copies {
    /// No topic is matched by two of these filters.
    Single(Vec<TopicFilter>),
    /// The broker numbers each copy with the filters that it is for.
    Numbered(Vec<(i32, TopicFilter)>),
    /// Fewer and wider filters are subscribed to, no two of which match the same topic; these are the ones that were
    /// meant.
    Widened(Vec<TopicFilter>),
}

impl Copies {
    /// Of a broker that numbers copies, or of one that does not, and where each copy may go to somebody else.
    pub(super) fn of(filters: &[TopicFilter], are_numbered: bool) -> Self {
        let overlap = filters.iter().enumerate().any(|(i, a)| filters[i + 1..].iter().any(|b| intersect(a, b)));
        match (overlap, are_numbered) {
            (false, _) => Self::Single(filters.to_vec()),
            (true, true) => Self::Numbered(identifiers(filters).zip(filters.iter().cloned()).collect()),
            (true, false) => Self::Widened(filters.to_vec()),
        }
    }

    /// What to subscribe to: a filter, and its subscription identifier where it has one.
    pub(super) fn wanted(self) -> Vec<(Option<i32>, TopicFilter)> {
        match self {
            Self::Single(filters) => filters.into_iter().map(|filter| (None, filter)).collect(),
            Self::Numbered(numbered) => numbered.into_iter().map(|(number, filter)| (Some(number), filter)).collect(),
            Self::Widened(meant) => disjoint(&meant).into_iter().map(|filter| (None, filter)).collect(),
        }
    }

    /// Whether a copy with this topic, and with these subscription identifiers, is the one to handle: of the copies for
    /// several numbered filters, the one for the first filter that matches. A broker that gives no number sent only one
    /// copy; a strange number was given by an earlier run.
    pub(super) fn accept(&self, topic: &str, numbers: impl FnOnce() -> Vec<i32>) -> bool {
        match self {
            Self::Single(_) => true,
            Self::Widened(meant) => meant.iter().any(|filter| filter.matches(topic)),
            Self::Numbered(numbered) => {
                let numbers = numbers();
                let is_ours = |number: &i32| numbered.iter().any(|(ours, _)| ours == number);
                let first = numbered.iter().find(|(_, filter)| filter.matches(topic));
                numbers.is_empty() || !numbers.iter().all(is_ours) || first.is_none_or(|(it, _)| numbers.contains(it))
            }
        }
    }
}

/// A subscription identifier for each filter [MQTT-3.8.2.1.2], 1 to 268,435,455. They depend on the whole set, so that a
/// copy that a kept session queued for another set of filters is recognised by its strange number.
fn identifiers(filters: &[TopicFilter]) -> impl Iterator<Item = i32> + use<> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in filters.iter().flat_map(|filter| filter.as_str().bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    let base = i32::try_from((hash % (1 << 17)) * PER_SET).unwrap_or_default();
    (1..).map(move |number| base + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Vec<TopicFilter> {
        texts.iter().map(|text| text.parse().expect("a filter")).collect()
    }

    #[test]
    fn filters_that_match_no_common_topic_need_nothing() {
        let copies = Copies::of(&filters(&["a/+", "b/#"]), true);
        assert_eq!(copies, Copies::Single(filters(&["a/+", "b/#"])));
        assert!(copies.accept("a/b", Vec::new));
    }

    #[test]
    fn of_the_copies_that_are_numbered_one_is_handled() {
        let copies = Copies::of(&filters(&["a/+", "+/b", "c/#"]), true);
        let numbers: Vec<i32> = copies.clone().wanted().into_iter().filter_map(|(number, _)| number).collect();
        let [first, second, third] = numbers[..] else { panic!("a number for each: {numbers:?}") };
        assert!(numbers.iter().all(|number| (1..=268_435_455).contains(number)));
        let is_handled = |topic: &str, numbers: &[i32]| copies.accept(topic, || numbers.to_vec());
        for (topic, own) in [("a/b", first), ("x/b", second), ("c/b", second), ("c/x", third)] {
            let handled: Vec<i32> = numbers.iter().copied().filter(|number| is_handled(topic, &[*number])).collect();
            assert_eq!(handled, [own], "{topic}");
            assert!(is_handled(topic, &numbers), "one copy for all of them");
            assert!(is_handled(topic, &[]), "a broker that gives no numbers");
            assert!(is_handled(topic, &[third + 1]), "what another set of filters left in a kept session");
        }
        let other = Copies::of(&filters(&["a/+", "+/b"]), true).wanted();
        assert!(other.iter().all(|(number, _)| number.is_some_and(|number| !numbers.contains(&number))));
    }

    #[test]
    fn where_copies_are_not_numbered_there_is_only_one() {
        let copies = Copies::of(&filters(&["a/+", "+/b"]), false);
        let wanted = copies.clone().wanted();
        for (i, (number, one)) in wanted.iter().enumerate() {
            assert!(number.is_none() && wanted[i + 1..].iter().all(|(_, other)| !intersect(one, other)), "{wanted:?}");
        }
        assert!(copies.accept("a/b", Vec::new) && copies.accept("a/x", Vec::new) && !copies.accept("x/x", Vec::new));
    }
}
