//! Finds the levels of a topic that are names.
//!
//! Event topics end with endpoint IDs, presence topics with one. A sender appends its endpoint ID to the topic of a service
//! or an endpoint (protocol, section 5).

use uuid::Uuid;

use super::names::NameKind;
use crate::protocol::topic::{Category, Root, Topics};

/// Names of services. A level with such a name is not an address.
const SERVICE_LEVELS: [&str; 7] =
    ["callControl", "connector", "event", "management", "reply", "sphere", "ThirdPartyCC"];

/// The role of a topic level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LevelRole {
    /// The level is kept.
    Keep,
    /// Known names in the level are replaced.
    Text,
    /// The level is a name.
    Name(NameKind),
}

/// How a line uses a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopicUse {
    /// An event was published to it. It ends with this number of endpoint IDs.
    Event(usize),
    /// A message below the event root that is not an event was published to it.
    Malformed,
    /// Another message was published to it.
    Message,
    /// An endpoint listens there.
    Address,
    /// The topic is the value of another key.
    Mention,
}

/// The roots of a deployment's topics.
#[derive(Debug)]
pub(super) struct TopicLevels {
    root: Root,
    events: Root,
    /// The topics of services. Below are the endpoint IDs of senders.
    services: Vec<Root>,
}

impl TopicLevels {
    pub(super) fn new(topics: Topics) -> Self {
        let services = topics.calls.as_str().parse().into_iter().chain([topics.management()]).collect();
        let Topics { root, events, .. } = topics;
        Self { root, events, services }
    }

    /// Returns the role of each level of a topic.
    pub(super) fn roles(&self, topic: &str, topic_use: TopicUse) -> Vec<LevelRole> {
        let levels: Vec<&str> = topic.split('/').collect();
        let mut roles = vec![LevelRole::Text; levels.len()];
        let Self { root, events, services } = self;
        let depth_below = |root: &Root| root.strip(topic).map(|below| levels.len() - below.split('/').count());
        // If the root is unknown, the category marks its end.
        let after_action = || levels.iter().position(|level| Category::from_level(level).is_some()).map(|at| at + 2);
        let endpoints = match (topic_use, depth_below(events)) {
            (TopicUse::Event(count), _) => Some(levels.len().saturating_sub(count)),
            (_, Some(depth)) => Some(depth + 2),
            (TopicUse::Malformed, None) => Some(after_action().unwrap_or(levels.len())),
            _ => None,
        };
        if let Some(endpoints) = endpoints.map(|endpoints| endpoints.min(levels.len())) {
            roles[..endpoints].fill(LevelRole::Keep);
            roles[endpoints..].fill(LevelRole::Name(NameKind::Endpoint));
        } else if let Some(depth) = services.iter().find_map(depth_below) {
            roles[..depth].fill(LevelRole::Keep);
            roles[depth..].fill(LevelRole::Name(NameKind::Endpoint));
        } else if let Some(depth) = depth_below(root) {
            roles[..depth].fill(LevelRole::Keep);
            below_root(&levels[depth..], &mut roles[depth..], topic_use);
        } else if topic_use == TopicUse::Address
            && let Some(last) = roles.last_mut()
        {
            *last = LevelRole::Name(NameKind::Address);
        }
        for (role, level) in roles.iter_mut().zip(&levels) {
            // The UUID of a reply topic is the ID of a transaction.
            if *role == LevelRole::Name(NameKind::Address) && Uuid::try_parse(level).is_ok() {
                *role = LevelRole::Keep;
            }
        }
        roles
    }
}

/// Sets the roles of the levels below the root of all topics.
fn below_root(levels: &[&str], roles: &mut [LevelRole], topic_use: TopicUse) {
    let (Some((first, others)), Some(service)) = (roles.split_first_mut(), levels.first()) else { return };
    let is_service = SERVICE_LEVELS.contains(service);
    if is_service {
        *first = LevelRole::Keep;
    }
    match (*service, topic_use) {
        // The levels before an endpoint are groups.
        ("sphere", _) => {
            if let Some(last) = others.last_mut() {
                *last = LevelRole::Name(NameKind::Endpoint);
            }
        }
        ("reply", _) => others.fill(LevelRole::Name(NameKind::Address)),
        // A sender appends its endpoint ID.
        _ if is_service => others.fill(LevelRole::Name(NameKind::Endpoint)),
        (_, TopicUse::Address) => *others.last_mut().unwrap_or(first) = LevelRole::Name(NameKind::Address),
        (address, TopicUse::Message) => {
            if address.contains(|c: char| c.is_ascii_digit()) {
                *first = LevelRole::Name(NameKind::Address);
            }
            others.fill(LevelRole::Name(NameKind::Endpoint));
        }
        _ => {}
    }
}
