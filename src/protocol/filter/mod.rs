//! Selects events and presence documents by the protocol's own terms, and derives the MQTT subscriptions for them.
//!
//! A [`Filter`] has groups: category, action, FROM, TO, either endpoint, application, session, reason, state. Values in a
//! group are ORed, groups are ANDed, and an empty group matches everything. Presence is a category of its own, which is
//! selected only on request. The part that topics can express becomes topic filters ([`Filter::subscriptions`]).
//! [`Filter::matches`] and [`Filter::matches_presence`] decide exactly, including the payload.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the filter |
//! | `subscriptions` | the smallest set of topic filters that covers it |
//! | `prefilter` | a fast byte search that skips recorded lines without parsing them |
//! | `session_id` | a session ID, or its beginning |

use std::fmt;

use uuid::Uuid;

use super::event::Event;
use super::presence::Presence;
use super::text_pattern::TextPattern;
use super::topic::{Action, Category, EndpointId, EventTopic, TopicFilter, Topics};

mod prefilter;
mod session_id;
mod subscriptions;

pub use prefilter::Prefilter;
pub use session_id::{SessionIdError, SessionIdPrefix};
use subscriptions::Pattern;

/// The values that a filter accepts, one group per field. An empty group accepts everything.
#[derive(Debug, Clone, Default)]
pub struct FilterSpec {
    /// Accepted categories of events. If it is empty and `presence` is set, no events are accepted.
    pub categories: Vec<Category>,
    /// Whether presence documents are accepted too.
    pub presence: bool,
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
    pub reasons: Vec<TextPattern>,
    /// Accepted states of presence documents, compared exactly. Only documents have one.
    pub states: Vec<String>,
}

/// Why a filter can never match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterError {
    /// The filter requires a TO endpoint of registrations, which have none.
    ToOfRegistration,
    /// The filter requires something of presence documents that they do not have.
    EventPart(EventPart),
    /// The filter requires a state of events, which have none.
    StateOfEvent,
    /// The endpoint groups exclude each other.
    Nothing,
}

/// A part of events that presence documents do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventPart {
    /// One of the four actions.
    Action(Action),
    /// The TO endpoint.
    To,
    /// The session's ID.
    SessionId,
    /// The reason.
    Reason,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToOfRegistration => "registrations have no TO endpoint",
            Self::EventPart(EventPart::Action(_)) => "presence documents are present or gone",
            Self::EventPart(EventPart::To) => "presence documents have no TO endpoint",
            Self::EventPart(EventPart::SessionId) => "presence documents have no session",
            Self::EventPart(EventPart::Reason) => "presence documents have no reason",
            Self::StateOfEvent => "only presence documents have a state",
            Self::Nothing => "no event can match: the given endpoints exclude each other",
        })
    }
}

impl std::error::Error for FilterError {}

impl FilterSpec {
    /// Returns whether the category group accepts events.
    fn accepts_events(&self) -> bool {
        !self.presence || !self.categories.is_empty()
    }

    /// Returns the first part that only events have.
    fn event_part(&self) -> Option<EventPart> {
        let Self { actions, to, session_ids, reasons, .. } = self;
        let parts = [
            actions.first().map(|action| EventPart::Action(*action)),
            to.first().map(|_| EventPart::To),
            session_ids.first().map(|_| EventPart::SessionId),
            reasons.first().map(|_| EventPart::Reason),
        ];
        parts.into_iter().flatten().next()
    }

    /// Returns whether a presence document can pass.
    fn may_match_presence(&self) -> bool {
        let Self { from, endpoints, .. } = self;
        let is_possible = from.is_empty() || endpoints.is_empty() || from.iter().any(|id| endpoints.contains(id));
        self.presence && self.event_part().is_none() && is_possible
    }

    /// Returns why no event and no document can pass.
    fn contradiction(&self) -> FilterError {
        match self.event_part() {
            _ if !self.presence && !self.states.is_empty() => FilterError::StateOfEvent,
            Some(part) if !self.accepts_events() => FilterError::EventPart(part),
            Some(_) if !self.states.is_empty() => FilterError::StateOfEvent,
            _ => FilterError::Nothing,
        }
    }
}

/// A filter that at least one event or presence document can pass.
#[derive(Debug, Clone)]
pub struct Filter {
    spec: FilterSpec,
    /// The topics of the events that can pass. Empty if none can.
    patterns: Vec<Pattern>,
    /// Whether presence documents can pass.
    presence: bool,
}

impl Default for Filter {
    /// Returns the filter that every event passes.
    fn default() -> Self {
        let spec = FilterSpec::default();
        let patterns = subscriptions::patterns(&spec);
        Self { spec, patterns, presence: false }
    }
}

impl Filter {
    /// Makes a filter from its groups.
    ///
    /// # Errors
    /// If no event and no document can match.
    pub fn new(spec: FilterSpec) -> Result<Self, FilterError> {
        if spec.categories == [Category::Registration] && !spec.to.is_empty() {
            return Err(FilterError::ToOfRegistration);
        }
        let presence = spec.may_match_presence();
        let has_events = spec.accepts_events() && spec.states.is_empty();
        let patterns = if has_events { subscriptions::patterns(&spec) } else { Vec::new() };
        if patterns.is_empty() && !presence {
            return Err(spec.contradiction());
        }
        Ok(Self { spec, patterns, presence })
    }

    /// Returns whether all groups are empty, so that every event passes.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        let FilterSpec {
            categories,
            presence,
            actions,
            from,
            to,
            endpoints,
            app_contexts,
            session_ids,
            reasons,
            states,
        } = &self.spec;
        categories.is_empty()
            && !presence
            && states.is_empty()
            && actions.is_empty()
            && from.is_empty()
            && to.is_empty()
            && endpoints.is_empty()
            && app_contexts.is_empty()
            && session_ids.is_empty()
            && reasons.is_empty()
    }

    /// Returns the smallest set of topic filters that covers all matching events and presence documents.
    ///
    /// It matches exactly the topics of events that the filter accepts. Of documents it matches all, because the endpoint
    /// is the last level at any depth. No topic filter in it covers another one, unless one root is below the other.
    #[must_use]
    pub fn subscriptions(&self, topics: &Topics) -> Vec<TopicFilter> {
        let events = self.patterns.iter().map(|pattern| pattern.under(&topics.events));
        events.chain(self.presence.then(|| topics.sphere().everything())).collect()
    }

    /// Returns whether presence documents are selected, and can pass.
    #[must_use]
    pub fn selects_presence(&self) -> bool {
        self.presence
    }

    /// Returns whether registration events are selected, and nothing else is.
    #[must_use]
    pub fn selects_only_registrations(&self) -> bool {
        !self.presence && self.spec.categories == [Category::Registration]
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

    /// Returns whether a presence document, or its removal, passes.
    ///
    /// A removal has no application and no state, so it passes no filter for those.
    #[must_use]
    pub fn matches_presence(&self, presence: &Presence<'_>) -> bool {
        let FilterSpec { app_contexts, states, .. } = &self.spec;
        let document = presence.document.unwrap_or_default();
        self.matches_endpoint(presence.from)
            && matches_any(app_contexts, |text| document.app_context.is_some_and(|it| it.is(text)))
            && matches_any(states, |text| document.state.is_some_and(|it| it.is(text)))
    }

    /// Returns whether presence documents of an endpoint can pass.
    #[must_use]
    pub fn matches_endpoint(&self, endpoint: &str) -> bool {
        let FilterSpec { from, endpoints, .. } = &self.spec;
        self.presence && [from, endpoints].iter().all(|group| matches_any(group, |id| id.as_str() == endpoint))
    }

    /// Returns whether an event's topic passes.
    #[must_use]
    pub fn matches_topic(&self, topic: &EventTopic<'_>) -> bool {
        let FilterSpec { categories, actions, from, to, endpoints, states, .. } = &self.spec;
        let is_from = |id: &EndpointId| id.as_str() == topic.from;
        let is_to = |id: &EndpointId| topic.to() == Some(id.as_str());
        self.spec.accepts_events()
            && states.is_empty()
            && matches_any(categories, |it| *it == topic.category())
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
            && matches_any(reasons, |pattern| fields.reason.is_some_and(|it| pattern.is_match(&it.text())))
    }
}

/// Returns whether a group is empty or one of its values matches.
pub(super) fn matches_any<T>(group: &[T], matches: impl FnMut(&T) -> bool) -> bool {
    group.is_empty() || group.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::topic::Root;
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
        let presence = || FilterSpec { presence: true, ..FilterSpec::default() };
        let stopped = vec![Action::Stopped];
        for (spec, error) in [
            (
                FilterSpec { actions: stopped.clone(), ..presence() },
                FilterError::EventPart(EventPart::Action(Action::Stopped)),
            ),
            (FilterSpec { to: vec![id("a")], ..presence() }, FilterError::EventPart(EventPart::To)),
            (
                FilterSpec { session_ids: vec![Uuid::nil().into()], ..presence() },
                FilterError::EventPart(EventPart::SessionId),
            ),
            (
                FilterSpec { reasons: vec!["x".parse().expect("a pattern")], ..presence() },
                FilterError::EventPart(EventPart::Reason),
            ),
            (FilterSpec { from: vec![id("a")], endpoints: vec![id("b")], ..presence() }, FilterError::Nothing),
            (FilterSpec { states: vec!["busy".into()], ..FilterSpec::default() }, FilterError::StateOfEvent),
            (
                FilterSpec {
                    categories: vec![Category::Session],
                    actions: stopped,
                    states: vec!["busy".into()],
                    ..presence()
                },
                FilterError::StateOfEvent,
            ),
        ] {
            assert_eq!(Filter::new(spec.clone()).err(), Some(error), "{spec:?}");
        }
    }

    #[test]
    fn a_document_is_compared_with_the_groups_that_it_has() {
        let sphere = "/rtcomm/sphere".parse().expect("a root");
        let payload = br#"{"method":"DOCUMENT","appContext":"x","state":"busy"}"#;
        let present = Presence::decode(&sphere, "/rtcomm/sphere/agents/a", payload).expect("a document");
        let gone = Presence::decode(&sphere, "/rtcomm/sphere/agents/a", b"").expect("no document");
        let spec = || FilterSpec { presence: true, ..FilterSpec::default() };
        let text = |text: &str| vec![text.to_owned()];
        for (spec, is_present, is_gone) in [
            (spec(), true, true),
            (FilterSpec { from: vec![id("a"), id("b")], ..spec() }, true, true),
            (FilterSpec { from: vec![id("agents")], ..spec() }, false, false),
            (FilterSpec { endpoints: vec![id("a")], from: vec![id("a")], ..spec() }, true, true),
            (FilterSpec { endpoints: vec![id("b")], ..spec() }, false, false),
            (FilterSpec { app_contexts: text("x"), states: text("busy"), ..spec() }, true, false),
            (FilterSpec { app_contexts: text("y"), ..spec() }, false, false),
            (FilterSpec { states: vec!["available".into(), "busy".into()], ..spec() }, true, false),
            (FilterSpec { states: text("available"), ..spec() }, false, false),
            (FilterSpec { categories: vec![Category::Session], ..spec() }, true, true),
            (FilterSpec::default(), false, false),
            (FilterSpec { from: vec![id("a")], ..FilterSpec::default() }, false, false),
        ] {
            let filter = Filter::new(spec.clone()).expect("a filter");
            assert_eq!(filter.matches_presence(&present), is_present, "{spec:?}");
            assert_eq!(filter.matches_presence(&gone), is_gone, "{spec:?}");
        }
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
        let pattern = |text: &str| vec![text.parse().expect("a pattern")];
        assert!(matches(FilterSpec { app_contexts: vec!["x".into(), "café".into()], ..FilterSpec::default() }));
        assert!(!matches(FilterSpec { app_contexts: vec!["caf".into()], ..FilterSpec::default() }));
        assert!(matches(FilterSpec { reasons: pattern("\"A\".*busy$"), ..FilterSpec::default() }));
        assert!(!matches(FilterSpec { reasons: pattern("^busy"), ..FilterSpec::default() }));
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
            presence in any::<bool>(),
            actions in subsequence(Action::ALL.to_vec(), 0..=4),
            from in ids(),
            to in ids(),
            endpoints in ids(),
            app_contexts in subsequence(["100", "true", "x"].map(str::to_owned).to_vec(), 0..=2),
            states in subsequence(["100", "busy"].map(str::to_owned).to_vec(), 0..=2),
        ) -> FilterSpec {
            // Without `presence`, a state can never match.
            let states = if presence { states } else { vec![] };
            FilterSpec { categories, presence, actions, from, to, endpoints, app_contexts, states, ..FilterSpec::default() }
        }
    }
}
