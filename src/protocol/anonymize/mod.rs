//! Replaces names in recorded lines by pseudonyms, so that a recording can be shared.
//!
//! Names are endpoint IDs, aliases, addresses and credentials. They are collected from the keys and topic levels that
//! contain them, while lines are read. The same name has the same pseudonym in every line. A known name is also replaced
//! where it occurs as a whole word: in reasons, in unknown keys, in payloads of any kind. Everything else keeps its bytes.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | lines and payloads |
//! | `levels` | finds the levels of a topic that are names |
//! | `names` | the names and their pseudonyms |
//! | `nodes` | the keys and values of a JSON text |
//! | `roles` | the roles of keys and values |

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use uuid::Uuid;

use self::levels::{LevelRole, TopicLevels, TopicUse};
use self::names::{NameKind, Names, Snapshot};
use self::nodes::{Node, NodeKind, decoded, nodes};
use self::roles::{LineKind, Role};
use super::credentials::credentials;
use super::fields::{Field, Fields};
use super::topic::Topics;

mod levels;
mod names;
mod nodes;
mod roles;

/// Replaces names in recorded lines by pseudonyms.
#[derive(Debug)]
pub struct Anonymizer {
    levels: TopicLevels,
    names: Names,
    first_seen: FirstSeen,
    hashing: RandomState,
}

impl Anonymizer {
    /// Makes an anonymizer for recordings of a deployment with these topics.
    #[must_use]
    pub fn new(topics: Topics) -> Self {
        Self {
            levels: TopicLevels::new(topics),
            names: Names::default(),
            first_seen: FirstSeen::default(),
            hashing: RandomState::new(),
        }
    }

    /// Collects the names of a line that is not written.
    ///
    /// `line` must be a line that [`Entry::parse`](super::record::Entry::parse) accepts. Of other lines, any names may be
    /// collected.
    pub fn collect(&mut self, line: &str) {
        self.collect_line(&Line::new(line));
    }

    /// Appends a line with pseudonyms in place of names, without a line end. Collects its names first.
    ///
    /// See [`Anonymizer::collect`] for what a line must be.
    pub fn write(&mut self, line: &str, out: &mut Vec<u8>) {
        let line = Line::new(line);
        self.collect_line(&line);
        // The copy of a session's event gets the same text as the event, so that it stays a copy.
        let known = match line.session_event() {
            Some(event) => self.known_when_first_seen(event),
            None => self.names.snapshot(),
        };
        let text = self.rewrite(line.json, &line.nodes, known, |node| line.role(node));
        out.extend_from_slice(text.as_bytes());
    }

    /// Returns the names that were known when something was seen first, which may be now.
    fn known_when_first_seen(&mut self, seen: impl Hash) -> Snapshot {
        self.first_seen.get_or_insert(self.hashing.hash_one(seen), self.names.snapshot())
    }

    fn collect_line(&mut self, line: &Line<'_>) {
        for node in &line.nodes {
            self.collect_node(line.json, node, line.role(node));
        }
    }

    fn collect_node(&mut self, json: &str, node: &Node<'_>, role: Role) {
        let json = &json[node.range.clone()];
        if node.kind == NodeKind::Scalar {
            if let Role::Name(kind) = role
                && is_number(json)
            {
                self.names.add(json, kind);
            }
            return;
        }
        let Some(text) = decoded(json) else { return };
        match role {
            Role::Keep | Role::SessionId | Role::PairedApp | Role::Topic | Role::PayloadBase64 => {}
            Role::Name(kind) => {
                self.names.add(&text, kind);
            }
            Role::Address => self.collect_topic(&text, TopicUse::Address),
            Role::MessageTopic(topic_use) => self.collect_topic(&text, topic_use),
            Role::PayloadText => match Fields::read_text(&text) {
                Ok(fields) => {
                    let method = fields.method.map(Field::text).unwrap_or_default();
                    for node in nodes(&text) {
                        self.collect_node(&text, &node, roles::payload_role(&node, node.depth, &method));
                    }
                }
                Err(_) => self.collect_credentials(&text),
            },
            Role::Text => self.collect_credentials(&text),
        }
    }

    fn collect_credentials(&mut self, text: &str) {
        for range in credentials(text) {
            self.names.add(&text[range], NameKind::Secret);
        }
    }

    fn collect_topic(&mut self, topic: &str, topic_use: TopicUse) {
        for (level, role) in topic.split('/').zip(self.levels.roles(topic, topic_use)) {
            if let LevelRole::Name(kind) = role {
                self.names.add(level, kind);
            }
        }
    }

    /// Returns a JSON text with pseudonyms, and the other bytes as they are.
    fn rewrite<'a>(
        &mut self,
        json: &str,
        nodes: &[Node<'a>],
        known: Snapshot,
        role: impl Fn(&Node<'a>) -> Role,
    ) -> String {
        let mut out = String::with_capacity(json.len() + 32);
        let mut end = 0;
        for node in nodes {
            if let Some(replaced) = self.rewrite_node(&json[node.range.clone()], node.kind, role(node), known) {
                out.push_str(&json[end..node.range.start]);
                out.push_str(&replaced);
                end = node.range.end;
            }
        }
        out.push_str(&json[end..]);
        out
    }

    /// Returns the JSON text that replaces a node, or `None` if the node stays as it is.
    fn rewrite_node(&mut self, json: &str, kind: NodeKind, role: Role, known: Snapshot) -> Option<String> {
        let known = if role == Role::PairedApp { self.known_when_first_seen(json) } else { known };
        if kind == NodeKind::Scalar {
            let is_replaced = matches!(role, Role::Name(_) | Role::Text | Role::PairedApp) && is_number(json);
            return is_replaced.then(|| self.names.get_known(json, known)).flatten().map(|name| format!("\"{name}\""));
        }
        let Some(text) = decoded(json) else {
            return if role == Role::Keep { None } else { self.rewrite_invalid(json, known) };
        };
        let replaced = match role {
            Role::Keep => None,
            Role::Name(_) => self.names.get(&text).map(str::to_owned),
            Role::Address => changed(self.rewrite_topic(&text, TopicUse::Address, known)),
            Role::MessageTopic(topic_use) => changed(self.rewrite_topic(&text, topic_use, known)),
            Role::Topic => changed(self.rewrite_topic(&text, TopicUse::Mention, known)),
            Role::SessionId => self.rewrite_session_id(&text),
            Role::PayloadText => self.rewrite_payload_text(&text, known),
            Role::PayloadBase64 => self.rewrite_base64(&text, known),
            Role::Text | Role::PairedApp => changed(self.rewrite_text(&text, known)),
        };
        replaced.map(|text| serde_json::to_string(&text).expect("text always serializes"))
    }

    /// Replaces names in a JSON string that is not valid Unicode, between its escapes. Pseudonyms need none.
    fn rewrite_invalid(&self, json: &str, known: Snapshot) -> Option<String> {
        let mut out = String::new();
        let mut rest = json;
        while let Some((before, after)) = rest.split_once('\\') {
            out.push_str(&self.names.replace(before, known));
            out.push('\\');
            let len = if after.starts_with('u') { 5 } else { 1 };
            let escape = after.get(..len).unwrap_or(after);
            out.push_str(escape);
            rest = &after[escape.len()..];
        }
        out.push_str(&self.names.replace(rest, known));
        (out != json).then_some(out)
    }

    fn rewrite_text<'a>(&self, text: &'a str, known: Snapshot) -> Cow<'a, str> {
        let credentials = credentials(text);
        if credentials.is_empty() {
            return self.names.replace(text, known);
        }
        let mut out = String::new();
        let mut end = 0;
        for range in credentials {
            out.push_str(&self.names.replace(&text[end..range.start], known));
            end = range.end;
            out.push_str(self.names.get(&text[range]).unwrap_or_default());
        }
        out.push_str(&self.names.replace(&text[end..], known));
        Cow::Owned(out)
    }

    fn rewrite_topic<'a>(&self, topic: &'a str, topic_use: TopicUse, known: Snapshot) -> Cow<'a, str> {
        let levels = topic.split('/').zip(self.levels.roles(topic, topic_use)).map(|(level, role)| match role {
            LevelRole::Keep => Cow::Borrowed(level),
            LevelRole::Name(_) => self.names.get(level).map_or(Cow::Borrowed(level), Cow::Borrowed),
            LevelRole::Text => {
                self.names.get_known(level, known).map_or_else(|| self.names.replace(level, known), Cow::Borrowed)
            }
        });
        let levels: Vec<Cow<'_, str>> = levels.collect();
        if levels.iter().zip(topic.split('/')).all(|(new, old)| new == old) {
            return Cow::Borrowed(topic);
        }
        Cow::Owned(levels.join("/"))
    }

    /// Replaces the names in a session ID that were known when it was first seen, so that it stays the same ID.
    fn rewrite_session_id(&mut self, id: &str) -> Option<String> {
        if is_number(id) || Uuid::try_parse(id).is_ok() {
            return None;
        }
        let known = self.known_when_first_seen(id);
        changed(self.names.replace(id, known))
    }

    fn rewrite_payload_text(&mut self, text: &str, known: Snapshot) -> Option<String> {
        let Ok(fields) = Fields::read_text(text) else { return changed(self.rewrite_text(text, known)) };
        let method = fields.method.map(Field::text).unwrap_or_default();
        let rewritten = self.rewrite(text, &nodes(text), known, |node| roles::payload_role(node, node.depth, &method));
        (rewritten != text).then_some(rewritten)
    }

    fn rewrite_base64(&self, text: &str, known: Snapshot) -> Option<String> {
        let bytes = BASE64.decode(text).ok()?;
        let mut replaced = Vec::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            replaced.extend_from_slice(self.names.replace(chunk.valid(), known).as_bytes());
            replaced.extend_from_slice(chunk.invalid());
        }
        (replaced != bytes).then(|| BASE64.encode(replaced))
    }
}

/// The kind of a line with a session's event, which has two endpoints.
const SESSION_EVENT: LineKind = LineKind::Message(TopicUse::Event(2));

/// A line with its nodes.
struct Line<'a> {
    json: &'a str,
    nodes: Vec<Node<'a>>,
    kind: LineKind,
    /// The `method` of the payload.
    method: String,
    /// Whether the payload has a session ID.
    has_session_id: bool,
}

impl<'a> Line<'a> {
    fn new(json: &'a str) -> Self {
        let nodes = nodes(json);
        let value = |key: &str| {
            let is_value = |node: &&Node<'_>| {
                node.depth == 2 && node.top == "payload" && node.key == key && node.kind != NodeKind::Key
            };
            nodes.iter().rfind(is_value).map(|node| &json[node.range.clone()])
        };
        let method = value("method").and_then(decoded).unwrap_or_default().into_owned();
        let has_session_id = value("sigSessID").is_some_and(|id| !["null", "\"\""].contains(&id));
        Self { json, kind: LineKind::of(json, &nodes), method, has_session_id, nodes }
    }

    fn role(&self, node: &Node<'_>) -> Role {
        if node.top == "payload" && node.depth > 1 {
            let is_paired = self.kind == SESSION_EVENT && !self.has_session_id;
            if is_paired && node.depth == 2 && node.kind != NodeKind::Key && node.key == "appContext" {
                return Role::PairedApp;
            }
            return roles::payload_role(node, node.depth - 1, &self.method);
        }
        roles::line_role(self.kind, node, &self.json[node.range.clone()])
    }

    /// Returns topic and payload of a session's event, as JSON.
    fn session_event(&self) -> Option<(&'a str, &'a str)> {
        if self.kind != SESSION_EVENT {
            return None;
        }
        let keys: Vec<&Node<'_>> =
            self.nodes.iter().filter(|node| node.depth == 1 && node.kind == NodeKind::Key).collect();
        let value = |is_key: fn(&str) -> bool| {
            let at = keys.iter().rposition(|node| is_key(&node.key))?;
            let end = keys.get(at + 1).map_or(self.json.len(), |next| next.range.start);
            self.json.get(keys[at].range.end..end)
        };
        Some((value(|key| key == "topic")?, value(|key| key.starts_with("payload"))?))
    }
}

/// Returns a text that was changed.
fn changed(text: Cow<'_, str>) -> Option<String> {
    match text {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Some(text),
    }
}

/// Returns whether a JSON scalar is a number.
fn is_number(json: &str) -> bool {
    json.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && json.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
}

/// Remembers which names were known when something was seen first.
#[derive(Debug, Default)]
struct FirstSeen {
    snapshots: HashMap<u64, Snapshot>,
    order: VecDeque<u64>,
}

impl FirstSeen {
    /// Maximum number of entries. The oldest is removed.
    const CAPACITY: usize = 1 << 18;

    fn get_or_insert(&mut self, hash: u64, now: Snapshot) -> Snapshot {
        if let Some(snapshot) = self.snapshots.get(&hash) {
            return *snapshot;
        }
        if self.order.len() == Self::CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.snapshots.remove(&oldest);
        }
        self.order.push_back(hash);
        self.snapshots.insert(hash, now);
        now
    }
}

#[cfg(test)]
mod tests;
