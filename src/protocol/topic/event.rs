//! The topic of an event: `ROOT/CATEGORY/ACTION/FROM[/TO]` (protocol, section 2).

use std::fmt;

use super::names::Root;
use crate::protocol::excerpt;

/// The kind of thing that an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// An endpoint's registration with a server.
    Registration,
    /// A media session between two endpoints.
    Session,
}

impl Category {
    /// Both categories, in the protocol's order.
    pub const ALL: [Self; 2] = [Self::Registration, Self::Session];

    /// Returns the category's topic level.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Session => "session",
        }
    }

    /// Reads a topic level, and returns `None` if it is not a category.
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

/// What happened to a registration or a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It began.
    Started,
    /// It changed.
    Modified,
    /// It ended normally.
    Stopped,
    /// It did not begin, or it broke; the payload's `reason` says why.
    Failed,
}

impl Action {
    /// All four actions, in the protocol's order.
    pub const ALL: [Self; 4] = [Self::Started, Self::Modified, Self::Stopped, Self::Failed];

    /// Returns the action's topic level.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Modified => "modified",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Reads a topic level, and returns `None` if it is not an action.
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

/// Why a topic is not the topic of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicError {
    /// The topic is not below the event root.
    OutsideRoot,
    /// The first level below the root is neither `registration` nor `session`.
    Category(String),
    /// The second level is missing or is not one of the four actions.
    Action(String),
    /// The endpoint ID after the action is missing or empty.
    From,
    /// The session's second endpoint ID is missing or empty.
    To,
    /// The topic has more levels than its category allows.
    TooDeep(Category),
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideRoot => f.write_str("topic is not below the event root"),
            Self::Category(level) => write!(f, "unknown category {level:?}: expected registration or session"),
            Self::Action(level) => {
                write!(f, "unknown action {level:?}: expected started, modified, stopped or failed")
            }
            Self::From => f.write_str("topic has no FROM endpoint"),
            Self::To => f.write_str("session topic has no TO endpoint"),
            Self::TooDeep(Category::Registration) => f.write_str("registration topic has levels after FROM"),
            Self::TooDeep(Category::Session) => f.write_str("session topic has levels after TO"),
        }
    }
}

impl std::error::Error for TopicError {}

/// The parts of an event's topic, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTopic<'a> {
    /// What the event is about, with a session's called endpoint.
    pub subject: Subject<'a>,
    /// What happened.
    pub action: Action,
    /// The endpoint that registers or calls.
    pub from: &'a str,
}

/// What an event is about. Only sessions have a TO endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The registration of the FROM endpoint.
    Registration,
    /// A session that the FROM endpoint started.
    Session {
        /// The endpoint that is called.
        to: &'a str,
    },
}

impl<'a> EventTopic<'a> {
    /// Parses a topic below `root`.
    ///
    /// # Errors
    /// If the topic is not below `root`, or if one of its levels is wrong; the error names the level.
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

    /// Returns the event's category.
    #[must_use]
    pub fn category(&self) -> Category {
        match self.subject {
            Subject::Registration => Category::Registration,
            Subject::Session { .. } => Category::Session,
        }
    }

    /// Returns the endpoint that is called, or `None` for a registration.
    #[must_use]
    pub fn to(&self) -> Option<&'a str> {
        match self.subject {
            Subject::Registration => None,
            Subject::Session { to } => Some(to),
        }
    }

    /// Formats the topic below `root`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root(text: &str) -> Root {
        text.parse().expect("a root")
    }

    #[test]
    fn a_registration_topic_ends_with_from_and_a_session_topic_with_to() {
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
    fn the_error_names_the_wrong_level() {
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
    fn a_root_may_begin_and_end_with_a_slash() {
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
    }

    proptest! {
        #[test]
        fn parsing_any_text_never_panics(topic in ".*") {
            let _ = EventTopic::parse(&root("/"), &topic);
        }

        #[test]
        fn a_formatted_topic_is_parsed_back(from in "[^/+#\0]{1,8}", to in proptest::option::of("[^/+#\0]{1,8}"), action in 0..4usize) {
            let root = root("x/y");
            let subject = to.as_deref().map_or(Subject::Registration, |to| Subject::Session { to });
            let built = EventTopic { subject, action: Action::ALL[action], from: &from };
            let text = built.under(&root);
            prop_assert_eq!(EventTopic::parse(&root, &text), Ok(built));
        }
    }
}
