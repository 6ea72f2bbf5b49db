//! The keys and scalar values of a JSON text, with their positions, so that single ones can be replaced.

use std::borrow::Cow;
use std::ops::Range;

/// The kind of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeKind {
    /// The key of a member.
    Key,
    /// A string value.
    String,
    /// A number, `true`, `false` or `null`.
    Scalar,
}

/// A key or a scalar value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node<'a> {
    pub(super) kind: NodeKind,
    /// Its position, including quotes.
    pub(super) range: Range<usize>,
    /// Number of objects and arrays around it.
    pub(super) depth: usize,
    /// The key whose value it is or belongs to. For a key, this is the key itself.
    pub(super) key: Cow<'a, str>,
    /// The key of the innermost object around it, or of the array that contains this object.
    pub(super) parent: Cow<'a, str>,
    /// The key of the outermost object.
    pub(super) top: Cow<'a, str>,
}

/// An object or array that is not closed yet.
struct Frame<'a> {
    is_object: bool,
    /// The key of the current member, or of the array.
    key: Cow<'a, str>,
}

/// Returns the nodes of valid JSON in their order.
///
/// There is no recursion, so deep nesting is harmless. Of invalid JSON, the nodes are any parts of the text.
pub(super) fn nodes(json: &str) -> Vec<Node<'_>> {
    let bytes = json.as_bytes();
    let mut nodes = Vec::new();
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut expects_key = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' | b'[' => {
                let is_object = *byte == b'{';
                let key = frames.last().map(|frame| frame.key.clone()).unwrap_or_default();
                frames.push(Frame { is_object, key });
                expects_key = is_object;
            }
            b'}' | b']' => {
                frames.pop();
            }
            b',' => expects_key = frames.last().is_some_and(|frame| frame.is_object),
            b'"' => {
                at += string_len(&bytes[at..]);
                let is_key = expects_key && frames.last().is_some_and(|frame| frame.is_object);
                if is_key && let Some(frame) = frames.last_mut() {
                    frame.key = decoded(&json[start..at]).unwrap_or(Cow::Borrowed(&json[start..at]));
                    expects_key = false;
                }
                nodes.push(node(if is_key { NodeKind::Key } else { NodeKind::String }, start..at, &frames));
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let rest = &bytes[at..];
                at += rest.iter().position(|byte| b",]} \t\r\n".contains(byte)).unwrap_or(rest.len());
                nodes.push(node(NodeKind::Scalar, start..at, &frames));
            }
            _ => {}
        }
    }
    nodes
}

fn node<'a>(kind: NodeKind, range: Range<usize>, frames: &[Frame<'a>]) -> Node<'a> {
    let key = frames.last().map(|frame| frame.key.clone()).unwrap_or_default();
    let object = frames.iter().rposition(|frame| frame.is_object);
    let parent = object.and_then(|object| frames.get(object.checked_sub(1)?)).map(|frame| frame.key.clone());
    let top = frames.first().map(|frame| frame.key.clone()).unwrap_or_default();
    Node { kind, range, depth: frames.len(), key, parent: parent.unwrap_or_default(), top }
}

/// Returns the length of a string after its opening quote, with the closing one.
fn string_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Returns the content of a JSON string, or `None` if it is not valid Unicode.
pub(super) fn decoded(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_node_knows_the_keys_around_it() {
        let json = r#"{"a":1, "b":{"c":["x",{"d":"\u00e9\"","e":null}],"f\n":true},"g":[[2]]}"#;
        let nodes = nodes(json);
        let shown: Vec<_> = nodes
            .iter()
            .map(|it| (&json[it.range.clone()], it.depth, &*it.key, &*it.parent, &*it.top))
            .filter(|(_, _, key, ..)| !key.is_empty())
            .collect();
        assert_eq!(
            shown,
            [
                (r#""a""#, 1, "a", "", "a"),
                ("1", 1, "a", "", "a"),
                (r#""b""#, 1, "b", "", "b"),
                (r#""c""#, 2, "c", "b", "b"),
                (r#""x""#, 3, "c", "b", "b"),
                (r#""d""#, 4, "d", "c", "b"),
                (r#""\u00e9\"""#, 4, "d", "c", "b"),
                (r#""e""#, 4, "e", "c", "b"),
                ("null", 4, "e", "c", "b"),
                (r#""f\n""#, 2, "f\n", "b", "b"),
                ("true", 2, "f\n", "b", "b"),
                (r#""g""#, 1, "g", "", "g"),
                ("2", 3, "g", "", "g"),
            ]
        );
    }

    #[test]
    fn deep_nesting_is_harmless() {
        let json = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(nodes(&json).len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_has_nodes_in_order_and_within_it(json in r#"[\[\]{},:"\\ 0-9a-zé]{0,60}"#) {
            let mut end = 0;
            for node in nodes(&json) {
                prop_assert!(node.range.start >= end && node.range.end <= json.len());
                prop_assert!(json.get(node.range.clone()).is_some(), "a part of {}", json);
                end = node.range.end;
            }
        }
    }
}
