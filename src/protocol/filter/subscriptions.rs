//! The smallest set of topic filters that covers a filter.

use super::FilterSpec;
use crate::protocol::topic::{Action, Category, EndpointId, Root, TopicFilter};

/// The levels of one subscription below the root. `None` matches any level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    category: Option<Category>,
    action: Option<Action>,
    from: Option<EndpointId>,
    /// Only sessions have a TO, so a pattern with one always has [`Category::Session`].
    to: Option<EndpointId>,
}

impl Pattern {
    /// Returns the pattern as a topic filter below `root`.
    pub(super) fn under(&self, root: &Root) -> TopicFilter {
        let category = self.category.map_or("+", Category::as_str);
        let action = self.action.map_or("+", Action::as_str);
        let from = self.from.as_ref().map_or("+", EndpointId::as_str);
        let text = match (&self.to, &self.from, self.action, self.category) {
            (Some(to), ..) => format!("{root}/{category}/{action}/{from}/{to}"),
            (None, Some(from), ..) => format!("{root}/{category}/{action}/{from}/#"),
            (None, None, Some(action), _) => format!("{root}/{category}/{action}/#"),
            (None, None, None, Some(category)) => format!("{root}/{category}/#"),
            (None, None, None, None) => return root.everything(),
        };
        text.parse().expect("roots and endpoint IDs contain no wildcards, so these levels are valid")
    }

    /// Returns whether this pattern matches everything that `other` matches.
    fn covers(&self, other: &Self) -> bool {
        fn level<T: PartialEq>(this: Option<&T>, other: Option<&T>) -> bool {
            this.is_none() || this == other
        }
        level(self.category.as_ref(), other.category.as_ref())
            && level(self.action.as_ref(), other.action.as_ref())
            && level(self.from.as_ref(), other.from.as_ref())
            && level(self.to.as_ref(), other.to.as_ref())
    }
}

/// FROM and TO of a subscription. `None` matches any endpoint.
type EndpointPair = (Option<EndpointId>, Option<EndpointId>);

/// Returns the patterns of all subscriptions to events, empty if no event can match.
pub(super) fn patterns(spec: &FilterSpec) -> Vec<Pattern> {
    let actions = any_or_each(&spec.actions, Action::ALL.len());
    let pairs = endpoint_pairs(spec);
    let mut patterns = Vec::with_capacity(actions.len() * pairs.len());
    for action in &actions {
        for (from, to) in &pairs {
            let category = if to.is_some() { Some(Category::Session) } else { single_category(spec) };
            patterns.push(Pattern { category, action: *action, from: from.clone(), to: to.clone() });
        }
    }
    remove_covered(&patterns)
}

/// Returns the category of all matching events, if there is only one. A TO endpoint implies sessions.
fn single_category(spec: &FilterSpec) -> Option<Category> {
    match spec.categories.split_first() {
        _ if !spec.to.is_empty() => Some(Category::Session),
        Some((first, rest)) if rest.iter().all(|it| it == first) => Some(*first),
        _ => None,
    }
}

/// Returns the pairs of FROM and TO to subscribe to.
///
/// An endpoint that may be on either side gives one pair with it as FROM and one with it as TO.
fn endpoint_pairs(spec: &FilterSpec) -> Vec<EndpointPair> {
    let froms = any_or_each(&spec.from, usize::MAX);
    let tos = any_or_each(&spec.to, usize::MAX);
    let mut pairs = Vec::new();
    for from in &froms {
        for to in &tos {
            if spec.endpoints.is_empty() {
                pairs.push((from.clone(), to.clone()));
            }
            for endpoint in &spec.endpoints {
                let either = Some(endpoint.clone());
                if from.is_none() || *from == either {
                    pairs.push((either.clone(), to.clone()));
                }
                let may_have_to = single_category(spec) != Some(Category::Registration);
                if may_have_to && (to.is_none() || *to == either) {
                    pairs.push((from.clone(), either));
                }
            }
        }
    }
    pairs
}

/// Returns a group as topic levels: one wildcard if it is empty or complete, else each distinct value.
fn any_or_each<T: Clone + PartialEq>(group: &[T], complete_len: usize) -> Vec<Option<T>> {
    let mut each: Vec<Option<T>> = Vec::with_capacity(group.len());
    for member in group {
        if !each.iter().flatten().any(|it| it == member) {
            each.push(Some(member.clone()));
        }
    }
    if each.is_empty() || each.len() == complete_len { vec![None] } else { each }
}

/// Removes duplicates, and patterns that another pattern covers.
fn remove_covered(patterns: &[Pattern]) -> Vec<Pattern> {
    let is_needed = |i: usize, pattern: &Pattern| {
        !patterns.iter().enumerate().any(|(j, other)| {
            let equal_and_earlier = other == pattern && j < i;
            equal_and_earlier || (other != pattern && other.covers(pattern))
        })
    };
    patterns.iter().enumerate().filter(|(i, it)| is_needed(*i, it)).map(|(_, it)| it.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::super::tests::{any_spec, id};
    use super::*;
    use crate::protocol::presence::Presence;
    use crate::protocol::topic::{EventTopic, Topics};
    use proptest::prelude::*;

    fn topics() -> Topics {
        let mut topics = Topics::from("r".parse::<Root>().expect("a root"));
        topics.events = "..".parse().expect("a root");
        topics
    }

    fn subscriptions(spec: FilterSpec) -> Vec<String> {
        let filter = Filter::new(spec).expect("a filter");
        filter.subscriptions(&topics()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn subscriptions_are_those_of_the_protocols_table() {
        use Action::Started;
        use Category::{Registration, Session};
        let iggy = || vec![id("iggy_pop")];
        for (spec, expected) in [
            (FilterSpec::default(), "../#"),
            (FilterSpec { categories: vec![Registration], ..FilterSpec::default() }, "../registration/#"),
            (FilterSpec { categories: vec![Session], ..FilterSpec::default() }, "../session/#"),
            (
                FilterSpec { categories: vec![Registration], actions: vec![Started], ..FilterSpec::default() },
                "../registration/started/#",
            ),
            (
                FilterSpec {
                    categories: vec![Registration],
                    actions: vec![Started],
                    from: iggy(),
                    ..FilterSpec::default()
                },
                "../registration/started/iggy_pop/#",
            ),
            (
                FilterSpec { categories: vec![Session], actions: vec![Started], from: iggy(), ..FilterSpec::default() },
                "../session/started/iggy_pop/#",
            ),
            (
                FilterSpec { categories: vec![Session], actions: vec![Started], to: iggy(), ..FilterSpec::default() },
                "../session/started/+/iggy_pop",
            ),
        ] {
            assert_eq!(subscriptions(spec), [expected]);
        }
    }

    #[test]
    fn presence_is_one_subscription_whatever_the_endpoint() {
        let presence = || FilterSpec { presence: true, ..FilterSpec::default() };
        let session = || FilterSpec { categories: vec![Category::Session], ..presence() };
        for (spec, expected) in [
            (presence(), &["r/sphere/#"][..]),
            (FilterSpec { from: vec![id("a"), id("b")], states: vec!["busy".into()], ..presence() }, &["r/sphere/#"]),
            (session(), &["../session/#", "r/sphere/#"]),
            (FilterSpec { from: vec![id("a")], ..session() }, &["../session/+/a/#", "r/sphere/#"]),
            (FilterSpec { actions: vec![Action::Failed], ..session() }, &["../session/failed/#"]),
            (FilterSpec { states: vec!["busy".into()], ..session() }, &["r/sphere/#"]),
        ] {
            assert_eq!(subscriptions(spec.clone()), expected, "{spec:?}");
        }
    }

    #[test]
    fn groups_combine_into_the_fewest_filters() {
        let all =
            FilterSpec { categories: Category::ALL.to_vec(), actions: Action::ALL.to_vec(), ..FilterSpec::default() };
        assert_eq!(subscriptions(all), ["../#"]);
        let either_side = FilterSpec { endpoints: vec![id("a"), id("a")], ..FilterSpec::default() };
        assert_eq!(subscriptions(either_side), ["../+/+/a/#", "../session/+/+/a"]);
        let either_side_of_own_calls =
            FilterSpec { endpoints: vec![id("a"), id("b")], from: vec![id("a")], ..FilterSpec::default() };
        assert_eq!(subscriptions(either_side_of_own_calls), ["../+/+/a/#"]);
        let registered =
            FilterSpec { endpoints: vec![id("a")], categories: vec![Category::Registration], ..FilterSpec::default() };
        assert_eq!(subscriptions(registered), ["../registration/+/a/#"]);
        let two_by_two = FilterSpec {
            actions: vec![Action::Started, Action::Failed],
            from: vec![id("a")],
            to: vec![id("b")],
            ..FilterSpec::default()
        };
        assert_eq!(subscriptions(two_by_two), ["../session/started/a/b", "../session/failed/a/b"]);
    }

    /// Returns every event topic of four endpoints. No filter names the fourth.
    fn every_topic() -> Vec<String> {
        let names = ["a", "b", "c", "d"];
        let mut topics = Vec::new();
        for action in Action::ALL {
            for from in names {
                topics.push(format!("../registration/{action}/{from}"));
                topics.extend(names.map(|to| format!("../session/{action}/{from}/{to}")));
            }
        }
        topics
    }

    proptest! {
        #[test]
        fn subscriptions_match_exactly_the_topics_that_the_filter_matches(spec in any_spec()) {
            let topics = topics();
            let filter = match Filter::new(spec.clone()) {
                Ok(filter) => filter,
                Err(_) => Filter { patterns: vec![], presence: false, spec },
            };
            let set = filter.subscriptions(&topics);
            for topic in every_topic() {
                let parsed = EventTopic::parse(&topics.events, &topic).expect("an event's topic");
                let is_covered = set.iter().any(|it| it.matches(&topic));
                prop_assert_eq!(filter.matches_topic(&parsed), is_covered, "{} by {:?}", topic, set);
            }
            for endpoint in ["a", "b", "c", "d"] {
                let topic = format!("r/sphere/x/{endpoint}");
                let gone = Presence::decode(topics.sphere(), &topic, b"").expect("no document");
                let is_covered = set.iter().any(|it| it.matches(&topic));
                prop_assert!(is_covered || !filter.matches_presence(&gone), "{} by {:?}", topic, set);
                prop_assert_eq!(is_covered, filter.selects_presence());
            }
            for (i, one) in set.iter().enumerate() {
                for (j, other) in set.iter().enumerate() {
                    prop_assert!(i == j || !one.covers(other), "{} covers {}", one, other);
                }
            }
        }
    }
}
