//! Topic names, topic filters and endpoint IDs.
//!
//! An event's topic is `ROOT/CATEGORY/ACTION/FROM[/TO]`. What MQTT 5 (OASIS, 4.7) says of names and filters in general
//! is here too; what a filter means in Rtcomm's own words is [`filter`](super::filter)'s.

use std::fmt;
use std::str::FromStr;

use super::excerpt;

/// The longest topic or filter that MQTT can carry, in bytes [MQTT-4.7.3-3].
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// An endpoint's registration with a server.
    Registration,
    /// A media session between two endpoints.
    Session,
}

impl Category {
    /// Both categories, in the order that the protocol names them.
    pub const ALL: [Self; 2] = [Self::Registration, Self::Session];

    /// The topic level that stands for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Session => "session",
        }
    }

    /// Reads a topic level; `None` where it names no category.
    #[must_use]
    pub fn from_level(level: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == level)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It began.
    Started,
    /// It changed while it lasted.
    Modified,
    /// It ended as it should.
    Stopped,
    /// It could not begin, or broke; the payload's `reason` says why.
    Failed,
}

impl Action {
    /// All four actions, in the order that the protocol names them.
    pub const ALL: [Self; 4] = [Self::Started, Self::Modified, Self::Stopped, Self::Failed];

    /// The topic level that stands for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Modified => "modified",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Reads a topic level; `None` where it names no action.
    #[must_use]
    pub fn from_level(level: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == level)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text is no endpoint ID, topic, root or filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxError {
    /// It has no characters.
    Empty,
    /// It holds U+0000, which no MQTT string may [MQTT-1.5.4-2].
    Nul,
    /// It is longer than [`MAX_TOPIC_BYTES`].
    TooLong,
    /// An endpoint ID holds `/`, which would make two topic levels of it.
    Separator,
    /// A name holds `+` or `#`, which only a filter may [MQTT-4.7.1-1].
    Wildcard(char),
    /// A filter's wildcard stands where MQTT does not allow it; with the nearest legal spelling.
    MisplacedWildcard {
        /// `#` or `+`.
        wildcard: char,
        /// The filter that was probably meant.
        legal: String,
    },
    /// `$share/GROUP/FILTER` without its group or its filter [MQTT-4.8.2-1].
    Share,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Nul => f.write_str("it holds a NUL character, which MQTT forbids"),
            Self::TooLong => write!(f, "it is longer than MQTT's {MAX_TOPIC_BYTES} bytes"),
            Self::Separator => f.write_str("it holds '/', which separates topic levels"),
            Self::Wildcard(c) => write!(f, "it holds '{c}', which MQTT keeps for topic filters"),
            Self::MisplacedWildcard { wildcard: '#', legal } => {
                write!(f, "'#' may only stand last and alone in its level; write '{legal}'")
            }
            Self::MisplacedWildcard { wildcard, legal } => {
                write!(f, "'{wildcard}' must stand alone in its level; write '{legal}'")
            }
            Self::Share => f.write_str("a shared subscription is written '$share/GROUP/FILTER'"),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Checks what every MQTT topic and filter must keep: not empty, no NUL, not too long.
fn check_text(text: &str) -> Result<(), SyntaxError> {
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

/// Checks a topic *name*: what [`check_text`] asks, and no wildcard.
fn check_name(text: &str) -> Result<(), SyntaxError> {
    check_text(text)?;
    match text.chars().find(|c| matches!(c, '+' | '#')) {
        Some(c) => Err(SyntaxError::Wildcard(c)),
        None => Ok(()),
    }
}

/// An endpoint's ID: text that can be one level of a topic name, such as `iggy_pop` or `sip:dankojones@xyz.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(String);

impl EndpointId {
    /// The ID's text.
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
    /// The topic's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter that matches this topic and everything below it: `TOPIC/#`.
    #[must_use]
    pub fn and_below(&self) -> TopicFilter {
        TopicFilter(format!("{}/#", self.0))
    }

    /// The topic one level down.
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

/// The levels that stand before a tree of topics, without a slash at the end: `/rtcomm`, `/rtcomm/event`.
///
/// A slash typed at the end is forgiven. `/` alone is the root whose trees begin with one empty level.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Root(String);

impl Root {
    /// The root's text, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The root one level down: `/rtcomm` and `event` give `/rtcomm/event`.
    #[must_use]
    pub fn child(&self, level: &str) -> Self {
        Self(format!("{}/{level}", self.0))
    }

    /// The root as a topic of its own.
    #[must_use]
    pub fn to_topic(&self) -> TopicName {
        TopicName(self.0.clone())
    }

    /// Everything at the root and below: `ROOT/#`.
    #[must_use]
    pub fn everything(&self) -> TopicFilter {
        TopicFilter(format!("{}/#", self.0))
    }

    /// What follows `ROOT/` in `topic`; `None` where the topic is not below the root.
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

/// Where a deployment keeps its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// What all trees but the configured ones below stand under, such as `/rtcomm`.
    pub root: Root,
    /// Under which events are published, such as `/rtcomm/event`.
    pub events: Root,
    /// To which third-party call requests are published, such as `/rtcomm/callControl`.
    pub calls: TopicName,
}

impl Topics {
    /// Under which presence documents are kept (protocol, section 6).
    #[must_use]
    pub fn sphere(&self) -> Root {
        self.root.child("sphere")
    }

    /// Under which services are asked for (protocol, section 7).
    #[must_use]
    pub fn management(&self) -> Root {
        self.root.child("management")
    }
}

impl From<Root> for Topics {
    /// The names that servers use where nothing is configured.
    fn from(root: Root) -> Self {
        Self { events: root.child("event"), calls: root.child("callControl").to_topic(), root }
    }
}

/// Why a topic below the event root is not an event's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicError {
    /// It is not below the event root.
    OutsideRoot,
    /// The first level below the root is neither `registration` nor `session`.
    Category(String),
    /// The second level is none of the four actions, or is missing.
    Action(String),
    /// No endpoint ID stands after the action, or an empty one.
    From,
    /// A session's topic ends without the endpoint that is called, or with an empty one.
    To,
    /// Levels follow where the topic must end.
    TooDeep(Category),
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideRoot => f.write_str("topic is not below the event root"),
            Self::Category(level) => write!(f, "unknown category {level:?}: neither registration nor session"),
            Self::Action(level) => {
                write!(f, "unknown action {level:?}: none of started, modified, stopped, failed")
            }
            Self::From => f.write_str("topic has no FROM endpoint"),
            Self::To => f.write_str("session topic has no TO endpoint"),
            Self::TooDeep(Category::Registration) => f.write_str("registration topic goes on after FROM"),
            Self::TooDeep(Category::Session) => f.write_str("session topic goes on after TO"),
        }
    }
}

impl std::error::Error for TopicError {}

/// The parts of an event's topic, borrowed from it (protocol, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTopic<'a> {
    /// What the event is about, with the endpoint that is called where there is one.
    pub subject: Subject<'a>,
    /// What happened.
    pub action: Action,
    /// The endpoint that registers, or that calls.
    pub from: &'a str,
}

/// What an event is about. Only sessions have a TO, so only sessions can say one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The registration of the event's FROM.
    Registration,
    /// A session from the event's FROM.
    Session {
        /// The endpoint that is called.
        to: &'a str,
    },
}

impl<'a> EventTopic<'a> {
    /// Takes a topic apart.
    ///
    /// # Errors
    /// Where the topic is not below `root`, or is none that an event can have: says which level is wrong.
    pub fn parse(root: &Root, topic: &'a str) -> Result<Self, TopicError> {
        let below = root.strip(topic).ok_or(TopicError::OutsideRoot)?;
        let mut levels = below.split('/');
        let mut next = || levels.next().unwrap_or_default();
        let level = next();
        let category = Category::from_level(level).ok_or_else(|| TopicError::Category(excerpt(level)))?;
        let level = next();
        let action = Action::from_level(level).ok_or_else(|| TopicError::Action(excerpt(level)))?;
        let from = Some(next()).filter(|id| !id.is_empty()).ok_or(TopicError::From)?;
        let subject = match category {
            Category::Registration => Subject::Registration,
            Category::Session => {
                let to = Some(next()).filter(|id| !id.is_empty()).ok_or(TopicError::To)?;
                Subject::Session { to }
            }
        };
        match levels.next() {
            Some(_) => Err(TopicError::TooDeep(category)),
            None => Ok(Self { subject, action, from }),
        }
    }

    /// What the event is about.
    #[must_use]
    pub fn category(&self) -> Category {
        match self.subject {
            Subject::Registration => Category::Registration,
            Subject::Session { .. } => Category::Session,
        }
    }

    /// The endpoint that is called; registrations have none.
    #[must_use]
    pub fn to(&self) -> Option<&'a str> {
        match self.subject {
            Subject::Registration => None,
            Subject::Session { to } => Some(to),
        }
    }

    /// Puts the topic together again below `root`.
    #[must_use]
    pub fn under(&self, root: &Root) -> String {
        let Self { action, from, .. } = self;
        let category = self.category();
        match self.subject {
            Subject::Registration => format!("{root}/{category}/{action}/{from}"),
            Subject::Session { to } => format!("{root}/{category}/{action}/{from}/{to}"),
        }
    }
}

/// A legal MQTT topic filter [MQTT-4.7.1-1], [MQTT-4.7.1-2].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(String);

impl TopicFilter {
    /// The filter's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can match more than one topic: it holds `+` or `#`.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.as_str().contains(['+', '#'])
    }

    /// The filter of a subscription that all members of `group` share: `$share/GROUP/FILTER`. A filter that is shared
    /// already stays as it is.
    #[must_use]
    pub fn shared_by(&self, group: &str) -> Self {
        if self.0.starts_with("$share/") { self.clone() } else { Self(format!("$share/{group}/{}", self.0)) }
    }

    /// The part that is matched with topics: the whole filter, or what follows `$share/GROUP/`.
    fn matched_part(&self) -> &str {
        match self.0.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
            Some((_group, filter)) => filter,
            None => &self.0,
        }
    }

    /// Whether a message published to `topic` goes to a subscriber of this filter.
    ///
    /// `#` matches its parent too [MQTT-4.7.1-2]; `+` matches one level, also an empty one [MQTT-4.7.1-3]; a wildcard
    /// in the first level matches no topic that begins with `$` [MQTT-4.7.2-1].
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let filter = self.matched_part();
        if topic.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let (mut filter, mut topic) = (filter.as_bytes(), topic.as_bytes());
        loop {
            // No topic holds a wildcard [MQTT-3.3.2-2], so what is equal ends before the next one.
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

    /// Whether every topic that `other` matches is matched by this filter too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (filter, other) = (self.matched_part(), other.matched_part());
        if other.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let mut other_levels = other.split('/');
        for wanted in filter.split('/') {
            match (wanted, other_levels.next()) {
                ("#", _) => return true,
                (_, Some("#") | None) => return false,
                ("+", Some(_)) => {}
                (_, Some(level)) if level == wanted => {}
                _ => return false,
            }
        }
        other_levels.next().is_none()
    }
}

/// Whether some topic is matched by both filters.
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

/// Filters that match at least what `filters` match, no two of which match the same topic: where two do, both are
/// replaced by the nearest filter that covers them.
#[must_use]
pub fn disjoint(filters: &[TopicFilter]) -> Vec<TopicFilter> {
    let mut apart: Vec<TopicFilter> = Vec::with_capacity(filters.len());
    for filter in filters {
        let mut joined = filter.clone();
        while let Some(i) = apart.iter().position(|other| intersect(other, &joined)) {
            joined = join(&apart.swap_remove(i), &joined);
        }
        apart.push(joined);
    }
    apart
}

/// The nearest filter that covers both.
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

/// Checks that each wildcard fills its level and that `#` stands last; `prefix` is what the error's proposal begins with.
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
            let legal = format!("{prefix}{}", nearest_legal(filter));
            Err(SyntaxError::MisplacedWildcard { wildcard, legal })
        }
    }
}

/// The legal filter that an illegal one probably meant: a `#` inside becomes `+` and the filter ends with `#` instead;
/// a wildcard glued to text gets a level of its own (`#`) or takes the level over (`+`).
fn nearest_legal(filter: &str) -> String {
    let depth = filter.split('/').count();
    let mut open_ended = false;
    let mut legal: Vec<&str> = Vec::with_capacity(depth + 1);
    for (i, level) in filter.split('/').enumerate() {
        let is_last = i + 1 == depth;
        match level {
            "#" => {
                open_ended = true;
                if !is_last {
                    legal.push("+");
                }
            }
            _ if level.contains('#') && is_last && !level.contains('+') => {
                open_ended = true;
                legal.extend(Some(level.trim_matches('#')).filter(|text| !text.is_empty() && !text.contains('#')));
            }
            _ if level.contains(['#', '+']) => legal.push("+"),
            _ => legal.push(level),
        }
    }
    if open_ended {
        legal.push("#");
    }
    legal.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root(text: &str) -> Root {
        text.parse().expect("a root")
    }

    fn filter(text: &str) -> TopicFilter {
        text.parse().expect("a filter")
    }

    #[test]
    fn a_registration_ends_at_from_and_a_session_at_to() {
        let root = root("/rtcomm/event");
        let registration = EventTopic::parse(&root, "/rtcomm/event/registration/started/iggy_pop").expect("an event");
        assert_eq!(
            (registration.category(), registration.from, registration.to()),
            (Category::Registration, "iggy_pop", None)
        );
        let session =
            EventTopic::parse(&root, "/rtcomm/event/session/failed/Danko Jones/sip:d@xyz.com").expect("an event");
        assert_eq!(
            (session.action, session.from, session.to()),
            (Action::Failed, "Danko Jones", Some("sip:d@xyz.com"))
        );
    }

    #[test]
    fn each_wrong_level_is_named() {
        let root = root("ev");
        for (topic, error) in [
            ("other/session/started/a/b", TopicError::OutsideRoot),
            ("ev", TopicError::OutsideRoot),
            ("event/session/started/a/b", TopicError::OutsideRoot),
            ("ev/", TopicError::Category(String::new())),
            ("ev/sessions/started/a/b", TopicError::Category("sessions".into())),
            ("ev/session", TopicError::Action(String::new())),
            ("ev/session/start/a/b", TopicError::Action("start".into())),
            ("ev/session/started", TopicError::From),
            ("ev/registration/started/", TopicError::From),
            ("ev/session/started//b", TopicError::From),
            ("ev/session/started/a", TopicError::To),
            ("ev/session/started/a/", TopicError::To),
            ("ev/registration/started/a/b", TopicError::TooDeep(Category::Registration)),
            ("ev/registration/started/a/", TopicError::TooDeep(Category::Registration)),
            ("ev/session/started/a/b/c", TopicError::TooDeep(Category::Session)),
        ] {
            assert_eq!(EventTopic::parse(&root, topic), Err(error), "{topic}");
        }
    }

    #[test]
    fn a_root_may_begin_with_a_slash_or_not_and_forgives_one_at_the_end() {
        for (typed, topic) in [
            ("/rtcomm/event/", "/rtcomm/event/registration/stopped/a"),
            ("rtcomm", "rtcomm/registration/stopped/a"),
            ("a/b/c/d", "a/b/c/d/registration/stopped/a"),
            ("/", "/registration/stopped/a"),
        ] {
            let root = root(typed);
            let parsed = EventTopic::parse(&root, topic).expect(typed);
            assert_eq!(parsed.under(&root), topic);
        }
        assert_eq!("".parse::<Root>(), Err(SyntaxError::Empty));
        assert_eq!("a/+/b".parse::<Root>(), Err(SyntaxError::Wildcard('+')));
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
    fn an_illegal_filter_is_told_with_its_legal_spelling() {
        for (typed, wildcard, spelling) in [
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
            assert_eq!(error, SyntaxError::MisplacedWildcard { wildcard, legal: spelling.into() }, "{typed}");
            assert!(spelling.parse::<TopicFilter>().is_ok(), "{spelling}");
        }
        assert_eq!("$share/g".parse::<TopicFilter>(), Err(SyntaxError::Share));
        assert_eq!("$share//a".parse::<TopicFilter>(), Err(SyntaxError::Share));
        assert_eq!("a\0".parse::<TopicFilter>(), Err(SyntaxError::Nul));
        assert_eq!("a".repeat(65_536).parse::<TopicFilter>(), Err(SyntaxError::TooLong));
    }

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

    /// MQTT's definition, level by level.
    fn levels_match(filter: &str, topic: &str) -> bool {
        let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
        let is_reserved = topic.starts_with('$') && filter.starts_with(['+', '#']);
        let matches = loop {
            match (wanted.next(), levels.next()) {
                (Some("#"), _) | (None, None) => break true,
                (Some(wanted), Some(level)) if wanted == "+" || wanted == level => {}
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
        fn what_a_covered_filter_matches_its_cover_matches(a in any_filter(), b in any_filter(), topic in any_topic()) {
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
        fn disjoint_filters_match_what_the_filters_matched_and_each_topic_once(
            filters in prop::collection::vec(any_filter(), 1..5),
            topic in any_topic(),
        ) {
            let filters: Vec<_> = filters.iter().filter_map(|it| it.parse::<TopicFilter>().ok()).collect();
            let apart = disjoint(&filters);
            let hits = apart.iter().filter(|it| it.matches(&topic)).count();
            prop_assert!(hits <= 1);
            prop_assert!(hits == 1 || !filters.iter().any(|it| it.matches(&topic)));
        }

        #[test]
        fn a_proposed_spelling_is_always_legal(text in "[a+#/$]{1,12}") {
            if let Err(SyntaxError::MisplacedWildcard { legal, .. }) = text.parse::<TopicFilter>() {
                prop_assert!(legal.parse::<TopicFilter>().is_ok(), "{}", legal);
            }
        }

        #[test]
        fn parsing_any_text_never_panics(topic in ".*") {
            let _ = EventTopic::parse(&root("/"), &topic);
            let _ = topic.parse::<TopicFilter>();
        }

        #[test]
        fn a_topic_built_is_the_topic_read(from in "[^/+#\0]{1,8}", to in proptest::option::of("[^/+#\0]{1,8}"), action in 0..4usize) {
            let root = root("x/y");
            let subject = to.as_deref().map_or(Subject::Registration, |to| Subject::Session { to });
            let built = EventTopic { subject, action: Action::ALL[action], from: &from };
            let text = built.under(&root);
            prop_assert_eq!(EventTopic::parse(&root, &text), Ok(built));
        }
    }
}
