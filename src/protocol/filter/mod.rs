//! Selects events by the protocol's own terms, and derives the MQTT subscriptions for them.
//!
//! A [`Filter`] has groups: category, action, FROM, TO, either endpoint, application, session, reason. Values in a group
//! are ORed, groups are ANDed, and an empty group matches everything. The part that topics can express becomes topic
//! filters ([`Filter::subscriptions`]). [`Filter::matches`] decides exactly, including the payload.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the filter |
//! | `subscriptions` | the smallest set of topic filters that covers it |
//! | `prefilter` | a fast byte search that skips recorded lines without parsing them |
//! | `session_id` | a session ID, or its beginning |

use std::fmt;

use regex::Regex;
use uuid::Uuid;

use super::event::Event;
use super::topic::{Action, Category, EndpointId, EventTopic, Root, TopicFilter};

mod prefilter;
mod session_id;
mod subscriptions;

pub use prefilter::Prefilter;
pub use session_id::{SessionIdError, SessionIdPrefix};
use subscriptions::Pattern;

/// The values that a filter accepts, one group per field. An empty group accepts everything.
#[derive(Debug, Clone, Default)]
pub struct FilterSpec {
    /// Accepted categories.
    pub categories: Vec<Category>,
    /// Accepted actions.
    pub actions: Vec<Action>,
    /// Accepted FROM endpoints.
    pub from: Vec<EndpointId>,
    /// Accepted TO endpoints. Only sessions have one.
    pub to: Vec<EndpointId>,
    /// Accepted endpoints, as FROM or TO.
    pub endpoints: Vec<EndpointId>,
    /// Accepted applications, compared exactly.
    pub app_contexts: Vec<String>,
    /// Accepted session IDs, or their beginnings.
    pub session_ids: Vec<SessionIdPrefix>,
    /// Regular expressions, one of which must match the reason.
    pub reasons: Vec<Regex>,
}

/// Why a filter can never match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterError {
    /// The filter requires a TO endpoint of registrations, which have none.
    ToOfRegistration,
    /// The endpoint groups exclude each other.
    Nothing,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToOfRegistration => "registrations have no TO endpoint",
            Self::Nothing => "no event can match: the given endpoints exclude each other",
        })
    }
}

impl std::error::Error for FilterError {}

/// A filter that at least one event can pass.
#[derive(Debug, Clone)]
pub struct Filter {
    spec: FilterSpec,
    patterns: Vec<Pattern>,
}

impl Default for Filter {
    /// Returns the filter that every event passes.
    fn default() -> Self {
        let spec = FilterSpec::default();
        let patterns = subscriptions::patterns(&spec);
        Self { spec, patterns }
    }
}

impl Filter {
    /// Makes a filter from its groups.
    ///
    /// # Errors
    /// If no event can match.
    pub fn new(spec: FilterSpec) -> Result<Self, FilterError> {
        if spec.categories == [Category::Registration] && !spec.to.is_empty() {
            return Err(FilterError::ToOfRegistration);
        }
        let patterns = subscriptions::patterns(&spec);
        if patterns.is_empty() { Err(FilterError::Nothing) } else { Ok(Self { spec, patterns }) }
    }

    /// Returns whether all groups are empty, so that every event passes.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        let FilterSpec { categories, actions, from, to, endpoints, app_contexts, session_ids, reasons } = &self.spec;
        categories.is_empty()
            && actions.is_empty()
            && from.is_empty()
            && to.is_empty()
            && endpoints.is_empty()
            && app_contexts.is_empty()
            && session_ids.is_empty()
            && reasons.is_empty()
    }

    /// Returns the smallest set of topic filters below `root` that covers all matching events.
    ///
    /// The set matches exactly the topics that the filter accepts. No topic filter in it covers another one.
    #[must_use]
    pub fn subscriptions(&self, root: &Root) -> Vec<TopicFilter> {
        self.patterns.iter().map(|pattern| pattern.under(root)).collect()
    }

    /// Returns a fast test for recorded lines, if there is one for this filter.
    #[must_use]
    pub fn prefilter(&self) -> Option<Prefilter> {
        Prefilter::new(&self.spec)
    }

    /// Returns whether an event passes.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> bool {
        self.matches_topic(&event.topic) && self.matches_payload(event)
    }

    /// Returns whether an event's topic passes.
    #[must_use]
    pub fn matches_topic(&self, topic: &EventTopic<'_>) -> bool {
        let FilterSpec { categories, actions, from, to, endpoints, .. } = &self.spec;
        let is_from = |id: &EndpointId| id.as_str() == topic.from;
        let is_to = |id: &EndpointId| topic.to() == Some(id.as_str());
        matches_any(categories, |it| *it == topic.category())
            && matches_any(actions, |it| *it == topic.action)
            && matches_any(from, is_from)
            && matches_any(to, is_to)
            && matches_any(endpoints, |id| is_from(id) || is_to(id))
    }

    /// Returns whether an event's payload passes.
    fn matches_payload(&self, event: &Event<'_>) -> bool {
        let FilterSpec { app_contexts, session_ids, reasons, .. } = &self.spec;
        let fields = &event.fields;
        matches_any(app_contexts, |text| fields.app_context.is_some_and(|it| it.is(text)))
            && matches_any(session_ids, |id| {
                fields.sig_sess_id.is_some_and(|it| Uuid::try_parse(&it.text()).is_ok_and(|it| id.matches(it)))
            })
            && matches_any(reasons, |regex| fields.reason.is_some_and(|it| regex.is_match(&it.text())))
    }
}

/// Returns whether a group is empty or one of its values matches.
pub(super) fn matches_any<T>(group: &[T], matches: impl FnMut(&T) -> bool) -> bool {
    group.is_empty() || group.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    pub(super) fn id(text: &str) -> EndpointId {
        text.parse().expect("an endpoint ID")
    }

    #[test]
    fn a_filter_that_can_never_match_is_an_error() {
        let to_of_registration =
            FilterSpec { categories: vec![Category::Registration], to: vec![id("a")], ..FilterSpec::default() };
        assert_eq!(Filter::new(to_of_registration).err(), Some(FilterError::ToOfRegistration));
        let exclusive =
            FilterSpec { from: vec![id("a")], to: vec![id("b")], endpoints: vec![id("c")], ..FilterSpec::default() };
        assert_eq!(Filter::new(exclusive).err(), Some(FilterError::Nothing));
    }

    #[test]
    fn application_session_and_reason_are_compared_with_the_payload() {
        let root: Root = "..".parse().expect("a root");
        let session = "5E2A9AF4-6F1E-4D4C-9A3C-8C0F0F7A1D11";
        let payload = format!(
            r#"{{"method":"RTCOMM_EVENT_FIRED","appContext":"caf\u00e9","reason":"line \"A\" is busy","sigSessID":"{session}"}}"#
        );
        let event = Event::decode(&root, "../session/failed/a/b", payload.as_bytes()).expect("an event");
        let matches = |spec: FilterSpec| Filter::new(spec).expect("a filter").matches(&event);
        let regex = |text: &str| vec![Regex::new(text).expect("a regex")];
        assert!(matches(FilterSpec { app_contexts: vec!["x".into(), "café".into()], ..FilterSpec::default() }));
        assert!(!matches(FilterSpec { app_contexts: vec!["caf".into()], ..FilterSpec::default() }));
        assert!(matches(FilterSpec { reasons: regex("\"A\".*busy$"), ..FilterSpec::default() }));
        assert!(!matches(FilterSpec { reasons: regex("^busy"), ..FilterSpec::default() }));
        let session_id = |text: &str| vec![text.parse().expect("a session ID")];
        for text in [session, &session.to_lowercase(), "5e2a", "5e2a9af4-6f1e"] {
            assert!(matches(FilterSpec { session_ids: session_id(text), ..FilterSpec::default() }), "{text}");
        }
        assert!(!matches(FilterSpec { session_ids: session_id("5e2b"), ..FilterSpec::default() }));
        assert!(!matches(FilterSpec { session_ids: vec![Uuid::nil().into()], ..FilterSpec::default() }));
    }

    fn ids() -> impl Strategy<Value = Vec<EndpointId>> {
        subsequence(vec![id("a"), id("b"), id("c")], 0..=2)
    }

    prop_compose! {
        pub(super) fn any_spec()(
            categories in subsequence(Category::ALL.to_vec(), 0..=2),
            actions in subsequence(Action::ALL.to_vec(), 0..=4),
            from in ids(),
            to in ids(),
            endpoints in ids(),
            app_contexts in subsequence(["100", "true", "x"].map(str::to_owned).to_vec(), 0..=2),
        ) -> FilterSpec {
            FilterSpec { categories, actions, from, to, endpoints, app_contexts, ..FilterSpec::default() }
        }
    }
}
