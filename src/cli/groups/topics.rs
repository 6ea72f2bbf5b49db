//! Flags for the topics of the deployment, and the topics that they and a server name.

use std::fmt;

use clap::Args;

use crate::protocol::service::Services;
use crate::protocol::topic::{Root, TopicName, Topics};

/// Flags for the topics of the deployment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct TopicArgs {
    /// Root of all topics
    #[arg(long, value_name = "TOPIC", default_value = "/rtcomm", env = "RTCOMM_ROOT", hide_env_values = true)]
    root: Root,

    /// Root of the event topics [default: ROOT/event]
    #[arg(long, value_name = "TOPIC", env = "RTCOMM_EVENT_ROOT", hide_env_values = true, hide_short_help = true)]
    event_root: Option<Root>,

    /// Topic of the call service [default: ROOT/callControl]
    #[arg(long, value_name = "TOPIC", env = "RTCOMM_CALL_TOPIC", hide_env_values = true, hide_short_help = true)]
    call_topic: Option<TopicName>,
}

impl TopicArgs {
    /// Returns the topics of these flags.
    pub(crate) fn topics(self) -> Topics {
        let Self { root, event_root, call_topic } = self;
        let mut topics = Topics::from(root);
        topics.events = event_root.unwrap_or(topics.events);
        topics.calls = call_topic.unwrap_or(topics.calls);
        topics
    }

    /// Returns the topics of these flags, and those of a server in place of defaults.
    pub(crate) fn discovered(self, services: &Services) -> DiscoveredTopics {
        let Self { root, event_root, call_topic } = self;
        let source = |is_set: bool, is_named: bool| match (is_set, is_named) {
            (true, _) => TopicSource::Flag,
            (_, true) => TopicSource::Server,
            _ => TopicSource::Default,
        };
        let events = source(event_root.is_some(), services.events().is_some());
        let calls = source(call_topic.is_some(), services.calls().is_some());
        let sphere = source(false, services.sphere().is_some());
        let (event_root, call_topic) = (event_root.or(services.events()), call_topic.or(services.calls()));
        let mut topics = Self { root, event_root, call_topic }.topics();
        if let Some(sphere) = services.sphere() {
            topics.set_sphere(sphere);
        }
        DiscoveredTopics { topics, events, calls, sphere }
    }
}

/// Topics, and where they come from.
#[derive(Debug)]
pub(crate) struct DiscoveredTopics {
    pub(crate) topics: Topics,
    events: TopicSource,
    calls: TopicSource,
    sphere: TopicSource,
}

/// Where a topic comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TopicSource {
    Server,
    Default,
    /// A flag, the environment or a profile.
    Flag,
}

impl fmt::Display for DiscoveredTopics {
    /// Writes the topics by source: `topics of the server: events /e, presence /s; default: calls /c`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topics, events, calls, sphere } = self;
        let every = [
            (events, format!("events {}", topics.events)),
            (calls, format!("calls {}", topics.calls)),
            (sphere, format!("presence {}", topics.sphere())),
        ];
        let of = |wanted: TopicSource| {
            let topics = every.iter().filter(move |(source, _)| **source == wanted);
            topics.map(|(_, topic)| topic.as_str()).collect::<Vec<_>>().join(", ")
        };
        let named = of(TopicSource::Server);
        write!(f, "topics of the server: {}", if named.is_empty() { "none" } else { &named })?;
        for (source, label) in [(TopicSource::Flag, "set"), (TopicSource::Default, "default")] {
            let topics = of(source);
            if !topics.is_empty() {
                write!(f, "; {label}: {topics}")?;
            }
        }
        Ok(())
    }
}
