//! What a step of the simulation publishes.

use crate::protocol::topic::EventTopic;

/// An effect of a step, to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Effect {
    /// An event (protocol, section 3).
    Event(SimulatedEvent),
    /// A changed presence document (protocol, section 6).
    Presence(PresenceChange),
}

/// The topic of an event, and the variable parts of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::demo) struct SimulatedEvent {
    /// Category, action and endpoints.
    pub(in crate::demo) topic: EventTopic<'static>,
    /// The application.
    pub(in crate::demo) app_context: &'static str,
    /// Why it failed.
    pub(in crate::demo) reason: Option<&'static str>,
    /// The registration number, which is the last level of the registered topic.
    pub(in crate::demo) address: Option<u32>,
    /// The session ID.
    pub(in crate::demo) session_id: Option<String>,
}

/// The new content of an endpoint's presence document, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::demo) struct PresenceChange {
    /// The endpoint.
    pub(in crate::demo) endpoint: &'static str,
    /// The display name.
    pub(in crate::demo) alias: &'static str,
    /// The application that it is registered for.
    pub(in crate::demo) app_context: &'static str,
    /// The registration number and state, or `None` if the endpoint is no longer registered.
    pub(in crate::demo) registration: Option<(u32, &'static str)>,
}
