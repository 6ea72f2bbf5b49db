//! The protocol's JSON vocabulary: the keys that any of its messages may carry, read from a payload in one pass.
//!
//! Readers of events, calls and presence documents look at the same few keys, so one tolerant reader serves them all.
//! It borrows: a field is the value's own JSON text, decoded only where somebody asks for it. Unknown keys are passed
//! over; of a key that stands twice the last one counts, as in every common JSON reader.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::scan;

/// One value of a payload: its JSON text, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a>(pub(super) &'a str);

impl<'a> Field<'a> {
    /// The JSON text itself: a string keeps its quotes and escapes, a number its digits.
    #[must_use]
    pub fn json(self) -> &'a str {
        self.0
    }

    /// A string's content; the JSON text of anything else (`100`), and of a string that is no Unicode (a lone surrogate).
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        let Some(inner) = self.0.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return Cow::Borrowed(self.0);
        };
        // Nothing else in a string's JSON text is not plain.
        if scan::plain(inner.as_bytes()) == inner.len() {
            return Cow::Borrowed(inner);
        }
        serde_json::from_str(self.0).map_or(Cow::Borrowed(self.0), Cow::Owned)
    }

    /// Whether the content is exactly `text`.
    #[must_use]
    pub fn is(self, text: &str) -> bool {
        self.text() == text
    }
}

/// Declares a struct of [`Field`]s and how it is read from an object, so that table and members cannot differ:
/// `member: "key" | "other spelling"`. Where `nulls` are `absent`, a key whose value is `null` counts as missing.
macro_rules! vocabulary {
    (@keep kept $json:ident) => {{ let _ = $json; true }};
    (@keep absent $json:ident) => { $json != "null" };
    (
        $(#[$doc:meta])* $vis:vis struct $name:ident, nulls $nulls:ident:
        $($(#[$member_doc:meta])* $member:ident: $($key:literal)|+,)+
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        $vis struct $name<'a> {
            $($(#[$member_doc])* $vis $member: Option<$crate::protocol::fields::Field<'a>>,)+
        }

        impl<'a> $crate::protocol::fields::Vocabulary<'a> for $name<'a> {
            fn slot(&mut self, key: &str) -> Option<&mut Option<$crate::protocol::fields::Field<'a>>> {
                match key {
                    $($($key)|+ => Some(&mut self.$member),)+
                    _ => None,
                }
            }

            fn keeps(json: &str) -> bool {
                $crate::protocol::fields::vocabulary!(@keep $nulls json)
            }
        }

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map($crate::protocol::fields::Object::<$name<'de>>::default())
            }
        }
    };
}
pub(super) use vocabulary;

vocabulary! {
    /// The values of the keys that the protocol knows; `None` where the key is missing or `null`.
    pub struct Fields, nulls absent:

    /// What kind of message it is: `RTCOMM_EVENT_FIRED`, `3PCC_PLACE_CALL`, `RESPONSE`, `DOCUMENT`, …
    method: "method",
    /// The protocol's version; drafts called the key `version` and `ibmRTC`.
    version: "rtcommVer" | "version" | "ibmRTC",
    /// When it happened: the server's local time, without a zone.
    timestamp: "timestamp",
    /// The application that it belongs to.
    app_context: "appContext",
    /// Why it failed.
    reason: "reason",
    /// The topic that an endpoint registered.
    reg_topic: "regTopic",
    /// The signaling session's ID.
    sig_sess_id: "sigSessID",
    /// A transaction's ID.
    trans_id: "transID",
    /// What a response answers: the request's method.
    orig: "orig",
    /// `SUCCESS` or `FAILURE`.
    result: "result",
    /// The endpoint that is to place a call.
    caller: "callerEndpoint",
    /// The endpoint that is to be called.
    callee: "calleeEndpoint",
    /// Where the response is to be published.
    from_topic: "fromTopic",
    /// The ID that the resulting session is to have.
    session_id: "sessionID",
    /// What a presence document describes: `ENDPOINT` or `SERVICE`.
    kind: "type",
    /// A presence document's state, such as `available`.
    state: "state",
    /// A presence document's name for people.
    alias: "alias",
    /// Where an endpoint listens; some texts call the key `topic`.
    address_topic: "addressTopic" | "topic",
}

/// Why a payload is not a message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldsError {
    /// The payload has no bytes.
    Empty,
    /// The payload is not UTF-8; with the offset of the first wrong byte.
    NotUtf8(usize),
    /// The payload is not JSON; with the parser's words.
    NotJson(String),
    /// The payload is JSON, but no object.
    NotAnObject,
}

impl fmt::Display for FieldsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("payload is empty"),
            Self::NotUtf8(offset) => write!(f, "payload is not UTF-8 from byte {offset} on"),
            Self::NotJson(why) => write!(f, "payload is not JSON: {why}"),
            Self::NotAnObject => f.write_str("payload is JSON but no object"),
        }
    }
}

impl std::error::Error for FieldsError {}

impl<'a> Fields<'a> {
    /// Reads a payload. Never recurses, however deep the payload nests.
    ///
    /// # Errors
    /// Where the payload is empty, not UTF-8, not JSON, or JSON that is no object.
    pub fn read(payload: &'a [u8]) -> Result<Self, FieldsError> {
        Self::read_text(text_of(payload)?)
    }

    /// Reads a payload that is known to be UTF-8.
    ///
    /// # Errors
    /// As [`Fields::read`].
    pub fn read_text(text: &'a str) -> Result<Self, FieldsError> {
        if text.is_empty() {
            return Err(FieldsError::Empty);
        }
        if let Some(fields) = scan::object(text) {
            return Ok(fields);
        }
        serde_json::from_str(text).map_err(|error| {
            let is_object = text.trim_start().starts_with('{');
            if !is_object && is_json(text) { FieldsError::NotAnObject } else { FieldsError::NotJson(error.to_string()) }
        })
    }
}

/// A payload as text.
pub(super) fn text_of(payload: &[u8]) -> Result<&str, FieldsError> {
    std::str::from_utf8(payload).map_err(|error| FieldsError::NotUtf8(error.valid_up_to()))
}

/// Whether `text` is one JSON value, whatever its depth.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// What an object is read into: a slot for each key that is known.
pub(super) trait Vocabulary<'a>: Default {
    /// The slot for a key; `None` where the key is not known.
    fn slot(&mut self, key: &str) -> Option<&mut Option<Field<'a>>>;

    /// Whether a value counts as one.
    fn keeps(json: &str) -> bool;

    /// Where to put what the value of this key says, should it be an object; `None` where its text alone is wanted.
    fn inner(&mut self, _key: &str) -> Option<&mut Option<Fields<'a>>> {
        None
    }
}

/// Visits an object.
pub(super) struct Object<V>(PhantomData<V>);

impl<V> Default for Object<V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'de, V: Vocabulary<'de>> Visitor<'de> for Object<V> {
    type Value = V;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<V, M::Error> {
        let mut object = V::default();
        while let Some(Key(key)) = map.next_key()? {
            match object.slot(&key) {
                Some(slot) => {
                    let json = map.next_value::<&'de RawValue>()?.get();
                    *slot = V::keeps(json).then_some(Field(json));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(object)
    }
}

/// An object's key, borrowed where it holds no escape.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(field: Option<Field<'_>>) -> Option<Cow<'_, str>> {
        field.map(Field::text)
    }

    #[test]
    fn known_keys_are_read_and_unknown_ones_passed_over() {
        let payload = br#"{"x":{"method":"inner"},"method":"M","appContext":"caf\u00e9","transID":100,"reason":null}"#;
        let fields = Fields::read(payload).expect("an object");
        assert_eq!(text(fields.method).as_deref(), Some("M"));
        assert_eq!(text(fields.app_context).as_deref(), Some("café"));
        assert_eq!(text(fields.trans_id).as_deref(), Some("100"));
        assert_eq!(fields.reason, None);
    }

    #[test]
    fn a_key_may_be_escaped_and_the_last_of_two_counts() {
        let fields = Fields::read(br#"{"\u006dethod":"first","method":"second"}"#).expect("an object");
        assert_eq!(text(fields.method).as_deref(), Some("second"));
    }

    #[test]
    fn drafts_called_the_version_otherwise() {
        for key in ["rtcommVer", "version", "ibmRTC"] {
            let payload = format!(r#"{{"{key}":"v 1.0"}}"#);
            let fields = Fields::read_text(&payload).expect(key);
            assert_eq!(text(fields.version).as_deref(), Some("v 1.0"), "{key}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_shown_as_it_was_sent() {
        let fields = Fields::read(br#"{"reason":"a\ud800b"}"#).expect("an object");
        assert_eq!(text(fields.reason).as_deref(), Some(r#""a\ud800b""#));
    }

    #[test]
    fn what_is_no_object_is_told_apart() {
        assert_eq!(Fields::read(b""), Err(FieldsError::Empty));
        assert_eq!(Fields::read(b"{\"a\":\"\xff\"}"), Err(FieldsError::NotUtf8(6)));
        for json in [&b"[1]"[..], b"1e400", b"\"text\"", b"null", b" true "] {
            assert_eq!(Fields::read(json), Err(FieldsError::NotAnObject), "{}", String::from_utf8_lossy(json));
        }
        for junk in
            [&b"hello"[..], b"[1", b"{\"a\":NaN}", b"\xef\xbb\xbf{}", b"{} {}", b"{'a':1}", b"  ", br#"{"\ud800":1}"#]
        {
            let error = Fields::read(junk).expect_err("no JSON");
            assert!(matches!(error, FieldsError::NotJson(_)), "{error} for {}", String::from_utf8_lossy(junk));
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!(r#"{{"x":{}{},"method":"M"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(Fields::read_text(&deep).expect("an object").method.is_some());
    }
}
