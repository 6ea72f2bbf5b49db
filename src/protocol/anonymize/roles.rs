//! Determines the role of a key's value: a name, a text that can contain names, or something that is kept.

use super::levels::TopicUse;
use super::names::NameKind;
use super::nodes::{Node, NodeKind, decoded};
use crate::protocol::presence;

/// The role of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The value is kept.
    Keep,
    /// Names in the value are replaced, as are credentials in URLs.
    Text,
    /// The value is a name.
    Name(NameKind),
    /// The topic where an endpoint listens.
    Address,
    /// The topic of the message.
    MessageTopic(TopicUse),
    /// Another topic.
    Topic,
    /// The ID of a session or transaction.
    SessionId,
    /// The application of a session without an ID. Its events are paired by it.
    PairedApp,
    /// A payload as text, which can be JSON.
    PayloadText,
    /// A payload in base64.
    PayloadBase64,
}

/// The kind of a line. It determines the roles of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    /// A message.
    Message(TopicUse),
    /// A change of the connection, or an endpoint without documents.
    Connection,
    /// A call record.
    Call,
}

impl LineKind {
    pub(super) fn of(json: &str, nodes: &[Node<'_>]) -> Self {
        let has = |key: &str| nodes.iter().any(|node| node.depth == 1 && node.kind == NodeKind::Key && node.key == key);
        let is_category = |node: &&Node<'_>| node.depth == 1 && node.kind == NodeKind::String && node.key == "category";
        let category = nodes.iter().rfind(is_category).and_then(|node| decoded(&json[node.range.clone()]));
        if has("cdr") {
            Self::Call
        } else if has("status") {
            Self::Connection
        } else if category.is_some_and(|category| category == presence::CATEGORY) {
            Self::Message(TopicUse::Message)
        } else if has("category") && has("from") {
            Self::Message(TopicUse::Event(if has("to") { 2 } else { 1 }))
        } else if has("error") {
            Self::Message(TopicUse::Malformed)
        } else {
            Self::Message(TopicUse::Message)
        }
    }
}

/// Keys of recorded lines. Other keys can contain names themselves.
const LINE_KEYS: [&str; 28] = [
    "received",
    "category",
    "action",
    "from",
    "to",
    "error",
    "topic",
    "qos",
    "retain",
    "payload",
    "payload_text",
    "payload_base64",
    "status",
    "until",
    "reason",
    "cdr",
    "sigSessID",
    "appContext",
    "started",
    "ended",
    "duration_s",
    "clock",
    "modified",
    "duplicates",
    "incomplete",
    "state",
    "summary",
    "key",
];

/// Returns the role of a key or value of a line, except inside its payload.
pub(super) fn line_role(line: LineKind, node: &Node<'_>, json: &str) -> Role {
    if node.depth > 1 {
        return inner_role(node);
    }
    if node.kind == NodeKind::Key {
        return if LINE_KEYS.contains(&&*node.key) { Role::Keep } else { Role::Text };
    }
    match &*node.key {
        "received" | "category" | "action" | "qos" | "retain" | "status" | "until" => Role::Keep,
        "cdr" | "started" | "ended" | "duration_s" | "clock" | "modified" | "duplicates" | "incomplete" => Role::Keep,
        // In a gap, this key has a time.
        "from" if line == LineKind::Connection && is_time(json) => Role::Keep,
        "from" | "to" => Role::Name(NameKind::Endpoint),
        "topic" => match line {
            LineKind::Message(topic_use) => Role::MessageTopic(topic_use),
            LineKind::Connection | LineKind::Call => Role::Topic,
        },
        "sigSessID" => Role::SessionId,
        "payload_text" => Role::PayloadText,
        "payload_base64" => Role::PayloadBase64,
        _ => Role::Text,
    }
}

/// Returns the role of a key or value of a payload. The payload's own keys have the depth 1.
pub(super) fn payload_role(node: &Node<'_>, depth: usize, method: &str) -> Role {
    if node.kind == NodeKind::Key || depth > 1 {
        return inner_role(node);
    }
    match &*node.key {
        "method" | "orig" | "result" | "type" | "state" | "timestamp" | "rtcommVer" | "version" | "ibmRTC" => {
            Role::Keep
        }
        "topic" if method == presence::METHOD => Role::Address,
        _ => inner_role(node),
    }
}

/// Keys of the protocol. Other keys can contain names themselves.
const PROTOCOL_KEYS: [&str; 36] = [
    "method",
    "orig",
    "result",
    "type",
    "state",
    "timestamp",
    "rtcommVer",
    "version",
    "ibmRTC",
    "appContext",
    "reason",
    "regTopic",
    "sigSessID",
    "transID",
    "sessionID",
    "callerEndpoint",
    "calleeEndpoint",
    "fromTopic",
    "alias",
    "addressTopic",
    "topic",
    "userDefines",
    "services",
    "queues",
    "endpointID",
    "toEndpointID",
    "fromEndpointID",
    "toTopic",
    "iceURL",
    "sphereTopic",
    "eventMonitoringTopic",
    "details",
    "payload",
    "message",
    "RTCOMM_CONNECTOR_SERVICE",
    "RTCOMM_CALL_QUEUE_SERVICE",
];

/// The ends of keys of credentials, such as `turnPassword`, in lower case.
const SECRET_ENDS: [&str; 9] =
    ["username", "credential", "password", "passwd", "pwd", "secret", "token", "apikey", "api_key"];

/// Returns the role of a key or value at any depth.
fn inner_role(node: &Node<'_>) -> Role {
    let key = &*node.key;
    if node.kind == NodeKind::Key {
        return if PROTOCOL_KEYS.contains(&key) { Role::Keep } else { Role::Text };
    }
    match key {
        "sigSessID" | "sessionID" | "transID" => return Role::SessionId,
        "alias" | "displayName" => return Role::Name(NameKind::Alias),
        "regTopic" | "addressTopic" | "fromTopic" | "toTopic" => return Role::Address,
        "topic" if node.parent == "queues" => return Role::Address,
        "topic" | "sphereTopic" | "eventMonitoringTopic" => return Role::Topic,
        _ => {}
    }
    match key.to_ascii_lowercase().as_str() {
        "userid" | "caller" | "callee" => Role::Name(NameKind::Endpoint),
        "user" | "authorization" => Role::Name(NameKind::Secret),
        key if SECRET_ENDS.iter().any(|end| key.ends_with(end)) => Role::Name(NameKind::Secret),
        key if key.ends_with("endpoint") || key.ends_with("endpointid") => Role::Name(NameKind::Endpoint),
        _ => Role::Text,
    }
}

/// Returns whether a JSON value is an RFC 3339 time.
fn is_time(json: &str) -> bool {
    decoded(json).is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok())
}
