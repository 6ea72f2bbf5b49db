//! Endpoint IDs, topic names and roots: text that is valid in a topic (MQTT 5, section 4.7).

use std::fmt;
use std::str::FromStr;

use super::filter::TopicFilter;

/// Maximum length of a topic or filter in bytes [MQTT-4.7.3-3].
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// Why a text is not a valid endpoint ID, topic, root or filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxError {
    /// The text is empty.
    Empty,
    /// The text contains U+0000, which MQTT strings must not contain [MQTT-1.5.4-2].
    Nul,
    /// The text is longer than [`MAX_TOPIC_BYTES`].
    TooLong,
    /// An endpoint ID contains `/`, which would split it into two topic levels.
    Separator,
    /// A name contains `+` or `#`, which are valid in filters only [MQTT-4.7.1-1].
    Wildcard(char),
    /// A filter has a wildcard where MQTT does not allow one.
    MisplacedWildcard {
        /// `#` or `+`.
        wildcard: char,
        /// The valid filter that was probably meant.
        suggestion: String,
    },
    /// `$share/GROUP/FILTER` has no group or no filter [MQTT-4.8.2-1].
    Share,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::Nul => f.write_str("must not contain NUL, which MQTT forbids"),
            Self::TooLong => write!(f, "must not be longer than {MAX_TOPIC_BYTES} bytes, the limit of MQTT"),
            Self::Separator => f.write_str("must not contain '/', which separates topic levels"),
            Self::Wildcard(c) => write!(f, "must not contain '{c}', which is for topic filters only"),
            Self::MisplacedWildcard { wildcard: '#', suggestion } => {
                write!(f, "'#' must be the last level, on its own; write '{suggestion}'")
            }
            Self::MisplacedWildcard { wildcard, suggestion } => {
                write!(f, "'{wildcard}' must be a level on its own; write '{suggestion}'")
            }
            Self::Share => f.write_str("a shared subscription must have the form '$share/GROUP/FILTER'"),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Checks the rules that apply to every topic and filter: not empty, no NUL, not too long.
pub(super) fn check_text(text: &str) -> Result<(), SyntaxError> {
    if text.is_empty() {
        Err(SyntaxError::Empty)
    } else if text.contains('\0') {
        Err(SyntaxError::Nul)
    } else if text.len() > MAX_TOPIC_BYTES {
        Err(SyntaxError::TooLong)
    } else {
        Ok(())
    }
}

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
}

impl Topics {
    /// Returns the root of the presence documents (protocol, section 6).
    #[must_use]
    pub fn sphere(&self) -> Root {
        self.root.child("sphere")
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
        Self { events: root.child("event"), calls: root.child("callControl").to_topic(), root }
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
