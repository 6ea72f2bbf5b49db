//! MQTT topic filters: parsing, matching, covering and joining (MQTT 5, section 4.7).

use std::fmt;
use std::str::FromStr;

use super::syntax::{SyntaxError, check_text};

/// A valid MQTT topic filter [MQTT-4.7.1-1], [MQTT-4.7.1-2].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(String);

impl TopicFilter {
    /// Returns the filter `TOPIC/#`. `topic` must be a valid topic name or root.
    pub(super) fn below(topic: &str) -> Self {
        Self(format!("{topic}/#"))
    }

    /// Returns the filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the filter holds a wildcard, so that it can match more than one topic.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Returns the filter of a shared subscription: `$share/GROUP/FILTER`.
    ///
    /// A filter that is already shared stays as it is.
    #[must_use]
    pub fn shared_by(&self, group: &str) -> Self {
        if self.0.starts_with("$share/") { self.clone() } else { Self(format!("$share/{group}/{}", self.0)) }
    }

    /// Returns the part that is compared with topics: the filter without `$share/GROUP/`.
    fn matched_part(&self) -> &str {
        match self.0.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
            Some((_group, filter)) => filter,
            None => &self.0,
        }
    }

    /// Returns whether the filter matches `topic`.
    ///
    /// `#` also matches its parent [MQTT-4.7.1-2]. `+` matches one level, which may be empty [MQTT-4.7.1-3]. A wildcard
    /// in the first level does not match topics that begin with `$` [MQTT-4.7.2-1].
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let filter = self.matched_part();
        if topic.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let (mut filter, mut topic) = (filter.as_bytes(), topic.as_bytes());
        loop {
            // Topics contain no wildcards [MQTT-3.3.2-2], so the equal part ends before the filter's next wildcard.
            let equal = filter.iter().zip(topic).take_while(|(a, b)| a == b).count();
            (filter, topic) = (&filter[equal..], &topic[equal..]);
            match filter {
                [] => return topic.is_empty(),
                [b'#', ..] => return true,
                b"/#" => return topic.is_empty(),
                [b'+', rest @ ..] => {
                    filter = rest;
                    topic = &topic[topic.iter().position(|it| *it == b'/').unwrap_or(topic.len())..];
                }
                _ => return false,
            }
        }
    }

    /// Returns whether this filter matches every topic that `other` matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (filter, other) = (self.matched_part(), other.matched_part());
        if other.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let mut other_levels = other.split('/');
        for level in filter.split('/') {
            match (level, other_levels.next()) {
                ("#", _) => return true,
                (_, Some("#") | None) => return false,
                ("+", Some(_)) => {}
                (_, Some(other_level)) if other_level == level => {}
                _ => return false,
            }
        }
        other_levels.next().is_none()
    }
}

/// Returns whether at least one topic is matched by both filters.
#[must_use]
pub fn intersect(a: &TopicFilter, b: &TopicFilter) -> bool {
    let (a, b) = (a.matched_part(), b.matched_part());
    let reserved_and_wild = |a: &str, b: &str| a.starts_with('$') && b.starts_with(['+', '#']);
    if reserved_and_wild(a, b) || reserved_and_wild(b, a) {
        return false;
    }
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(a), Some(b)) if a == b => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

/// Returns filters that cover `filters`, and of which no two match the same topic.
///
/// Filters that intersect are replaced by the narrowest filter that covers them.
#[must_use]
pub fn disjoint(filters: &[TopicFilter]) -> Vec<TopicFilter> {
    let mut result: Vec<TopicFilter> = Vec::with_capacity(filters.len());
    for filter in filters {
        let mut joined = filter.clone();
        while let Some(i) = result.iter().position(|other| intersect(other, &joined)) {
            joined = join(&result.swap_remove(i), &joined);
        }
        result.push(joined);
    }
    result
}

/// Returns the narrowest filter that covers both filters.
fn join(a: &TopicFilter, b: &TopicFilter) -> TopicFilter {
    let (mut a, mut b) = (a.matched_part().split('/'), b.matched_part().split('/'));
    let mut levels = Vec::new();
    loop {
        match (a.next(), b.next()) {
            (None, None) => break,
            (Some("#"), _) | (_, Some("#")) | (None, Some(_)) | (Some(_), None) => {
                levels.push("#");
                break;
            }
            (Some(a), Some(b)) => levels.push(if a == b { a } else { "+" }),
        }
    }
    TopicFilter(levels.join("/"))
}

impl FromStr for TopicFilter {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        check_text(text)?;
        if let Some(rest) = text.strip_prefix("$share/") {
            let (group, filter) = rest.split_once('/').ok_or(SyntaxError::Share)?;
            if group.is_empty() || group.contains(['+', '#']) || filter.is_empty() {
                return Err(SyntaxError::Share);
            }
            check_wildcards(filter, &format!("$share/{group}/"))?;
        } else {
            check_wildcards(text, "")?;
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Checks that each wildcard is a whole level and that `#` is the last level.
///
/// The suggestion in the error begins with `prefix`.
fn check_wildcards(filter: &str, prefix: &str) -> Result<(), SyntaxError> {
    let depth = filter.split('/').count();
    let misplaced = filter.split('/').enumerate().find_map(|(i, level)| match level {
        "+" => None,
        "#" if i + 1 == depth => None,
        _ if level.contains('#') => Some('#'),
        _ if level.contains('+') => Some('+'),
        _ => None,
    });
    match misplaced {
        None => Ok(()),
        Some(wildcard) => {
            let suggestion = format!("{prefix}{}", suggest(filter));
            Err(SyntaxError::MisplacedWildcard { wildcard, suggestion })
        }
    }
}

/// Returns the valid filter that an invalid one probably meant.
///
/// A `#` that is not last becomes `+`, and `#` is appended. In a level that mixes text and wildcards, `#` moves to a
/// level of its own, and `+` replaces the level.
fn suggest(filter: &str) -> String {
    let depth = filter.split('/').count();
    let mut open_ended = false;
    let mut levels: Vec<&str> = Vec::with_capacity(depth + 1);
    for (i, level) in filter.split('/').enumerate() {
        let is_last = i + 1 == depth;
        match level {
            "#" => {
                open_ended = true;
                if !is_last {
                    levels.push("+");
                }
            }
            _ if level.contains('#') && is_last && !level.contains('+') => {
                open_ended = true;
                levels.extend(Some(level.trim_matches('#')).filter(|text| !text.is_empty() && !text.contains('#')));
            }
            _ if level.contains(['#', '+']) => levels.push("+"),
            _ => levels.push(level),
        }
    }
    if open_ended {
        levels.push("#");
    }
    levels.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> TopicFilter {
        text.parse().expect("a filter")
    }

    #[test]
    fn filters_match_as_mqtt_defines() {
        for (pattern, topic, expected) in [
            ("#", "a", true),
            ("#", "/a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("a/#", "a", true),
            ("a/#", "a/", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("+", "/a", false),
            ("+/+", "/a", true),
            ("/+", "/a", true),
            ("a//b", "a//b", true),
            ("a/+/b", "a//b", true),
            ("a/b", "a/b/", false),
            ("a/b/", "a/b", false),
            ("A/b", "a/b", false),
            ("$share/group/a/#", "a", true),
            ("$share/group/a/+", "a/b/c", false),
        ] {
            assert_eq!(filter(pattern).matches(topic), expected, "{pattern} on {topic}");
        }
    }

    #[test]
    fn an_invalid_filter_is_an_error_with_a_suggestion() {
        for (typed, wildcard, suggestion) in [
            ("../registration/#/mic_jagger", '#', "../registration/+/mic_jagger/#"),
            ("a/#/b/#", '#', "a/+/b/#"),
            ("a/b#", '#', "a/b/#"),
            ("a#/b", '#', "+/b"),
            ("a/b+/c", '+', "a/+/c"),
            ("+a", '+', "+"),
            ("##", '#', "#"),
            ("$share/g/a/#/b", '#', "$share/g/a/+/b/#"),
        ] {
            let error = typed.parse::<TopicFilter>().expect_err(typed);
            assert_eq!(error, SyntaxError::MisplacedWildcard { wildcard, suggestion: suggestion.into() }, "{typed}");
            assert!(suggestion.parse::<TopicFilter>().is_ok(), "{suggestion}");
        }
        assert_eq!("$share/g".parse::<TopicFilter>(), Err(SyntaxError::Share));
        assert_eq!("$share//a".parse::<TopicFilter>(), Err(SyntaxError::Share));
        assert_eq!("a\0".parse::<TopicFilter>(), Err(SyntaxError::Nul));
        assert_eq!("a".repeat(65_536).parse::<TopicFilter>(), Err(SyntaxError::TooLong));
    }

    prop_compose! {
        fn any_filter()(levels in prop::collection::vec(prop_oneof!["[ab$]?", Just("+".to_owned())], 1..5), open in any::<bool>()) -> String {
            let filter = levels.join("/");
            if open { format!("{filter}/#") } else { filter }
        }
    }

    prop_compose! {
        fn any_topic()(levels in prop::collection::vec("[ab$]?", 1..6)) -> String {
            levels.join("/")
        }
    }

    /// Matches level by level, as MQTT defines it.
    fn levels_match(filter: &str, topic: &str) -> bool {
        let (mut expected, mut levels) = (filter.split('/'), topic.split('/'));
        let is_reserved = topic.starts_with('$') && filter.starts_with(['+', '#']);
        let matches = loop {
            match (expected.next(), levels.next()) {
                (Some("#"), _) | (None, None) => break true,
                (Some(expected), Some(level)) if expected == "+" || expected == level => {}
                _ => break false,
            }
        };
        matches && !is_reserved
    }

    proptest! {
        #[test]
        fn a_filter_matches_level_by_level(pattern in any_filter(), topic in any_topic()) {
            prop_assume!(!pattern.is_empty());
            prop_assert_eq!(filter(&pattern).matches(&topic), levels_match(&pattern, &topic));
        }

        #[test]
        fn a_covering_filter_matches_what_the_covered_filter_matches(a in any_filter(), b in any_filter(), topic in any_topic()) {
            prop_assume!(!a.is_empty() && !b.is_empty());
            let (a, b) = (filter(&a), filter(&b));
            prop_assert!(a.covers(&a));
            if a.covers(&b) && b.matches(&topic) {
                prop_assert!(a.matches(&topic));
            }
        }

        #[test]
        fn filters_that_match_one_topic_intersect(a in any_filter(), b in any_filter(), topic in any_topic()) {
            prop_assume!(!a.is_empty() && !b.is_empty());
            let (a, b) = (filter(&a), filter(&b));
            prop_assert_eq!(intersect(&a, &b), intersect(&b, &a));
            if a.matches(&topic) && b.matches(&topic) {
                prop_assert!(intersect(&a, &b));
            }
        }

        #[test]
        fn disjoint_filters_match_each_topic_of_the_originals_once(
            filters in prop::collection::vec(any_filter(), 1..5),
            topic in any_topic(),
        ) {
            let filters: Vec<_> = filters.iter().filter_map(|it| it.parse::<TopicFilter>().ok()).collect();
            let result = disjoint(&filters);
            let hits = result.iter().filter(|it| it.matches(&topic)).count();
            prop_assert!(hits <= 1);
            prop_assert!(hits == 1 || !filters.iter().any(|it| it.matches(&topic)));
        }

        #[test]
        fn a_suggestion_is_always_valid(text in "[a+#/$]{1,12}") {
            if let Err(SyntaxError::MisplacedWildcard { suggestion, .. }) = text.parse::<TopicFilter>() {
                prop_assert!(suggestion.parse::<TopicFilter>().is_ok(), "{}", suggestion);
            }
        }

        #[test]
        fn parsing_any_text_never_panics(text in ".*") {
            let _ = text.parse::<TopicFilter>();
        }
    }
}
