//! Selects call records by the terms of event filters.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use uuid::Uuid;

use super::CallRecord;
use crate::protocol::filter::{Filter, FilterSpec, Prefilter, matches_any};
use crate::protocol::record::SessionOutcome;
use crate::protocol::topic::{Action, Category, EndpointId, EventTopic, TopicFilter, Topics};

/// Finds the key of a call record. Made once, because that takes longer than searching a line.
static CDR_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"cdr\""));

/// Why a filter cannot select call records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallSelectionError {
    /// The filter selects registrations, which are not calls.
    Registration,
    /// The filter selects presence documents, which are not calls.
    Presence,
    /// The filter selects an action that is not the end of a session.
    Action(Action),
}

impl fmt::Display for CallSelectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration => f.write_str("a registration is not a call"),
            Self::Presence => f.write_str("a presence document is not a call"),
            Self::Action(action) => write!(f, "a call record covers the whole session, not only what was {action}"),
        }
    }
}

impl std::error::Error for CallSelectionError {}

/// Selects call records.
///
/// TO endpoints and endpoints on either side also match an endpoint that answered in place of the one that was called.
/// FROM is the same in all events of a session, so events from other endpoints need not be read.
#[derive(Debug, Clone, Default)]
pub struct CallSelection {
    spec: FilterSpec,
    /// Accepted outcomes. If empty, all are accepted.
    outcomes: Vec<SessionOutcome>,
    /// Matches the events to read.
    events: Filter,
    prefilter: Option<Prefilter>,
}

impl CallSelection {
    /// Makes a selection from the groups of an event filter.
    ///
    /// The action `stopped` selects completed calls, and `failed` selects failed and dropped ones.
    ///
    /// # Errors
    /// If the filter selects registrations, presence documents or other actions.
    pub fn new(spec: FilterSpec) -> Result<Self, CallSelectionError> {
        if spec.categories.contains(&Category::Registration) {
            return Err(CallSelectionError::Registration);
        }
        if spec.presence {
            return Err(CallSelectionError::Presence);
        }
        let mut outcomes = Vec::new();
        for action in &spec.actions {
            match action {
                Action::Stopped => outcomes.push(SessionOutcome::Completed),
                Action::Failed => outcomes.extend([SessionOutcome::Failed, SessionOutcome::Dropped]),
                Action::Started | Action::Modified => return Err(CallSelectionError::Action(*action)),
            }
        }
        let categories = vec![Category::Session];
        let events = FilterSpec { categories, from: spec.from.clone(), ..FilterSpec::default() };
        let events = Filter::new(events).expect("sessions from any endpoint are possible");
        Ok(Self { spec, outcomes, prefilter: events.prefilter(), events })
    }

    /// Returns the smallest set of topic filters that covers the events to read.
    #[must_use]
    pub fn subscriptions(&self, topics: &Topics) -> Vec<TopicFilter> {
        self.events.subscriptions(topics)
    }

    /// Returns whether a recorded line may matter to the selected records, by a fast search in its bytes.
    ///
    /// Never rejects a matching event, a change of the connection or a call record. The times of rejected lines still
    /// matter.
    #[must_use]
    pub fn may_matter(&self, line: &[u8]) -> bool {
        self.prefilter.as_ref().is_none_or(|prefilter| prefilter.may_match(line)) || CDR_KEY.find(line).is_some()
    }

    /// Returns whether an event with this topic can be part of a selected record.
    #[must_use]
    pub fn may_belong(&self, topic: &EventTopic<'_>) -> bool {
        self.events.matches_topic(topic)
    }

    /// Returns whether a record is selected.
    #[must_use]
    pub fn matches(&self, record: &CallRecord) -> bool {
        let FilterSpec { from, to, endpoints, app_contexts, session_ids, reasons, .. } = &self.spec;
        let is_from = |id: &EndpointId| id.as_str() == record.from;
        let is_to = |id: &EndpointId| id.as_str() == record.to || record.answered_by.iter().any(|it| id.as_str() == it);
        matches_any(&self.outcomes, |outcome| *outcome == record.outcome)
            && matches_any(from, is_from)
            && matches_any(to, is_to)
            && matches_any(endpoints, |id| is_from(id) || is_to(id))
            && matches_any(app_contexts, |text| record.app_context.as_ref() == Some(text))
            && matches_any(session_ids, |prefix| {
                let id = record.session_id.as_deref().and_then(|id| Uuid::try_parse(id).ok());
                id.is_some_and(|id| prefix.matches(id))
            })
            && matches_any(reasons, |pattern| record.reason.as_deref().is_some_and(|reason| pattern.is_match(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::topic::Root;

    fn id(text: &str) -> EndpointId {
        text.parse().expect("an endpoint ID")
    }

    fn record() -> CallRecord {
        CallRecord {
            outcome: SessionOutcome::Dropped,
            session_id: Some("6A1F9F3E-2d0b-4c35-8a53-0d9d5b1f5f10".to_owned()),
            from: "iggy_pop".to_owned(),
            to: "queue".to_owned(),
            answered_by: vec!["joan_jett".to_owned()],
            app_context: Some("x".to_owned()),
            started: None,
            ended: None,
            duration: None,
            clock: None,
            reason: Some("line broken".to_owned()),
            modified: 0,
            duplicates: 0,
            incomplete: vec![],
            first_received: None,
            last_received: None,
        }
    }

    fn selects(spec: FilterSpec) -> bool {
        CallSelection::new(spec).expect("a selection").matches(&record())
    }

    #[test]
    fn each_group_is_compared_with_the_record() {
        let default = FilterSpec::default;
        for (spec, is_selected) in [
            (default(), true),
            (FilterSpec { from: vec![id("iggy_pop")], ..default() }, true),
            (FilterSpec { from: vec![id("queue")], ..default() }, false),
            (FilterSpec { to: vec![id("queue")], ..default() }, true),
            (FilterSpec { to: vec![id("joan_jett")], ..default() }, true),
            (FilterSpec { to: vec![id("iggy_pop")], ..default() }, false),
            (FilterSpec { endpoints: vec![id("iggy_pop")], ..default() }, true),
            (FilterSpec { endpoints: vec![id("lemmy"), id("joan_jett")], ..default() }, true),
            (FilterSpec { endpoints: vec![id("lemmy")], ..default() }, false),
            (FilterSpec { app_contexts: vec!["x".into()], ..default() }, true),
            (FilterSpec { app_contexts: vec!["y".into()], ..default() }, false),
            (FilterSpec { session_ids: vec!["6a1f9".parse().expect("a prefix")], ..default() }, true),
            (FilterSpec { session_ids: vec!["6a1f8".parse().expect("a prefix")], ..default() }, false),
            (FilterSpec { reasons: vec!["^line".parse().expect("a pattern")], ..default() }, true),
            (FilterSpec { reasons: vec!["busy".parse().expect("a pattern")], ..default() }, false),
            (FilterSpec { categories: vec![Category::Session], ..default() }, true),
            (
                FilterSpec {
                    from: vec![id("iggy_pop")],
                    to: vec![id("queue")],
                    endpoints: vec![id("joan_jett")],
                    ..default()
                },
                true,
            ),
            (FilterSpec { from: vec![id("iggy_pop")], app_contexts: vec!["y".into()], ..default() }, false),
        ] {
            assert_eq!(selects(spec.clone()), is_selected, "{spec:?}");
        }
    }

    #[test]
    fn a_line_that_may_matter_is_not_rejected() {
        let of = |from: &str| {
            let from = if from.is_empty() { vec![] } else { vec![id(from)] };
            CallSelection::new(FilterSpec { from, ..FilterSpec::default() }).expect("a selection")
        };
        for (line, matters, matters_of_a) in [
            (r#"{"category":"session","from":"a"}"#, true, true),
            (r#"{"category":"session","from":"b"}"#, true, false),
            (r#"{"category":"registration","from":"b"}"#, false, false),
            (r#"{"category":"\u0073ession","from":"b"}"#, true, true),
            (r#"{"status":"gap"}"#, true, true),
            (r#"{"cdr":"open","from":"b"}"#, true, true),
        ] {
            assert_eq!(
                (of("").may_matter(line.as_bytes()), of("a").may_matter(line.as_bytes())),
                (matters, matters_of_a)
            );
        }
    }

    #[test]
    fn the_ends_of_sessions_select_outcomes() {
        use SessionOutcome::{Completed, Dropped, Failed};
        for (actions, expected) in [
            (vec![], &SessionOutcome::ALL[..]),
            (vec![Action::Stopped], &[Completed]),
            (vec![Action::Failed], &[Failed, Dropped]),
            (vec![Action::Failed, Action::Stopped], &[Completed, Failed, Dropped]),
        ] {
            let selection = CallSelection::new(FilterSpec { actions, ..FilterSpec::default() }).expect("a selection");
            let of = |outcome| CallRecord { outcome, ..record() };
            let selected: Vec<_> =
                SessionOutcome::ALL.into_iter().filter(|outcome| selection.matches(&of(*outcome))).collect();
            assert_eq!(selected, expected);
        }
    }

    #[test]
    fn a_filter_that_is_not_about_whole_calls_is_an_error() {
        let default = FilterSpec::default;
        for (spec, error) in [
            (
                FilterSpec { categories: vec![Category::Session, Category::Registration], ..default() },
                "a registration is not a call",
            ),
            (
                FilterSpec { actions: vec![Action::Stopped, Action::Started], ..default() },
                "a call record covers the whole session, not only what was started",
            ),
        ] {
            assert_eq!(CallSelection::new(spec).expect_err(error).to_string(), error);
        }
    }

    #[test]
    fn all_sessions_are_read_except_those_from_other_endpoints() {
        let mut topics = Topics::from("r".parse::<Root>().expect("a root"));
        topics.events = "..".parse().expect("a root");
        let default = FilterSpec::default;
        for (spec, expected) in [
            (default(), "../session/#"),
            (FilterSpec { to: vec![id("a")], actions: vec![Action::Failed], ..default() }, "../session/#"),
            (FilterSpec { endpoints: vec![id("a")], ..default() }, "../session/#"),
            (FilterSpec { from: vec![id("a")], to: vec![id("b")], ..default() }, "../session/+/a/#"),
        ] {
            let selection = CallSelection::new(spec).expect("a selection");
            let subscriptions: Vec<String> = selection.subscriptions(&topics).iter().map(ToString::to_string).collect();
            assert_eq!(subscriptions, [expected]);
            for topic in ["../session/started/a/b", "../session/started/b/a", "../registration/started/a"] {
                let parsed = EventTopic::parse(&topics.events, topic).expect("an event's topic");
                let is_covered = selection.subscriptions(&topics).iter().any(|it| it.matches(topic));
                assert_eq!(selection.may_belong(&parsed), is_covered, "{topic}");
            }
        }
    }
}
