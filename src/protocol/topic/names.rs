//! Endpoint IDs, topic names and roots: text that is valid in a topic (MQTT 5, section 4.7).

use std::fmt;
use std::str::FromStr;

use super::filter::{TopicFilter, disjoint};
use super::syntax::{SyntaxError, check_text};

/// Checks a topic name: the rules of [`check_text`], and no wildcards.
fn check_name(text: &str) -> Result<(), SyntaxError> {
    check_text(text)?;
    match text.chars().find(|c| matches!(c, '+' | '#')) {
        Some(c) => Err(SyntaxError::Wildcard(c)),
        None => Ok(()),
    }
}

/// An endpoint's ID, such as `iggy_pop` or `sip:dankojones@xyz.com`.
///
/// It is valid as one level of a topic name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(String);

impl EndpointId {
    /// Returns the ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointId {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        check_name(text)?;
        if text.contains('/') {
            return Err(SyntaxError::Separator);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A topic that can be published to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicName(String);

impl TopicName {
    /// Returns the topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the filter that matches this topic and all topics below it: `TOPIC/#`.
    #[must_use]
    pub fn and_below(&self) -> TopicFilter {
        TopicFilter::below(&self.0)
    }

    /// Returns the topic one level below.
    #[must_use]
    pub fn child(&self, endpoint: &EndpointId) -> Self {
        Self(format!("{}/{endpoint}", self.0))
    }
}

impl FromStr for TopicName {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        check_name(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The first levels of a tree of topics, such as `/rtcomm` or `/rtcomm/event`.
///
/// Parsing removes one slash at the end. The root `/` is one empty level.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Root(String);

impl Root {
    /// Returns the root as text, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the root one level below: `/rtcomm` and `event` give `/rtcomm/event`.
    #[must_use]
    pub fn child(&self, level: &str) -> Self {
        Self(format!("{}/{level}", self.0))
    }

    /// Returns the root as a topic name.
    #[must_use]
    pub fn to_topic(&self) -> TopicName {
        TopicName(self.0.clone())
    }

    /// Returns the filter that matches the root and all topics below it: `ROOT/#`.
    #[must_use]
    pub fn everything(&self) -> TopicFilter {
        TopicFilter::below(&self.0)
    }

    /// Returns the part of `topic` after `ROOT/`, or `None` if the topic is not below the root.
    #[must_use]
    pub fn strip<'t>(&self, topic: &'t str) -> Option<&'t str> {
        topic.strip_prefix(&self.0)?.strip_prefix('/')
    }
}

impl FromStr for Root {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        check_name(text)?;
        Ok(Self(text.strip_suffix('/').unwrap_or(text).to_owned()))
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The topics that a deployment uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Root of all topics that have no setting of their own, such as `/rtcomm`.
    pub root: Root,
    /// Root of the events, such as `/rtcomm/event`.
    pub events: Root,
    /// Topic of third-party call requests, such as `/rtcomm/callControl`.
    pub calls: TopicName,
    sphere: Root,
}

impl Topics {
    /// Returns the root of the presence documents, such as `/rtcomm/sphere` (protocol, section 6).
    #[must_use]
    pub fn sphere(&self) -> &Root {
        &self.sphere
    }

    /// Sets the root of the presence documents, `ROOT/sphere` by default.
    pub fn set_sphere(&mut self, sphere: Root) {
        self.sphere = sphere;
    }

    /// Returns filters that match all topics of the deployment. No two of them match the same topic.
    #[must_use]
    pub fn everything(&self) -> Vec<TopicFilter> {
        let Self { root, events, calls, sphere } = self;
        disjoint(&[root.everything(), events.everything(), calls.and_below(), sphere.everything()])
    }

    /// Returns the root of the service queries (protocol, section 7).
    #[must_use]
    pub fn management(&self) -> Root {
        self.root.child("management")
    }
}

impl From<Root> for Topics {
    /// Returns the topics that servers use by default.
    fn from(root: Root) -> Self {
        let (events, calls) = (root.child("event"), root.child("callControl").to_topic());
        Self { events, calls, sphere: root.child("sphere"), root }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_id_is_one_topic_level() {
        for (id, error) in [
            ("", SyntaxError::Empty),
            ("a/b", SyntaxError::Separator),
            ("a+", SyntaxError::Wildcard('+')),
            ("#", SyntaxError::Wildcard('#')),
            ("a\0b", SyntaxError::Nul),
        ] {
            assert_eq!(id.parse::<EndpointId>(), Err(error), "{id:?}");
        }
        for id in ["iggy_pop", "Danko Jones", "sip:dankojones@xyz.com", "$x", "é𝄞"] {
            assert_eq!(id.parse::<EndpointId>().expect(id).as_str(), id);
        }
    }

    #[test]
    fn a_root_is_not_empty_and_has_no_wildcards() {
        assert_eq!("".parse::<Root>(), Err(SyntaxError::Empty));
        assert_eq!("a/+/b".parse::<Root>(), Err(SyntaxError::Wildcard('+')));
    }
}
