//! Reads the protocol's JSON keys from a payload in one pass.
//!
//! Events, calls and presence documents share a small set of keys, so one tolerant reader serves them all. It borrows: a
//! field is the value's JSON text, and is decoded on request. Unknown keys are skipped. If a key occurs twice, the last
//! value counts, as in other JSON readers.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::scan;

/// A value of a payload, as its original JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a>(&'a str);

impl<'a> Field<'a> {
    /// Returns the JSON text: a string with its quotes and escapes, a number with its digits.
    #[must_use]
    pub fn json(self) -> &'a str {
        self.0
    }

    /// Returns the content of a string, or the JSON text of any other value.
    ///
    /// A string that is not valid Unicode (a lone surrogate) is returned as JSON text too.
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        let Some(inner) = self.0.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return Cow::Borrowed(self.0);
        };
        if scan::unescaped_len(inner.as_bytes()) == inner.len() {
            return Cow::Borrowed(inner);
        }
        serde_json::from_str(self.0).map_or(Cow::Borrowed(self.0), Cow::Owned)
    }

    /// Returns [`Field::text`] if it is not empty.
    #[must_use]
    pub fn non_empty_text(self) -> Option<Cow<'a, str>> {
        Some(self.text()).filter(|text| !text.is_empty())
    }

    /// Returns whether [`Field::text`] equals `text`.
    #[must_use]
    pub fn is(self, text: &str) -> bool {
        self.text() == text
    }
}

/// Declares a struct of [`Field`]s together with its JSON keys: `member: "key" | "other spelling"`.
///
/// With `nulls absent`, a key whose value is `null` counts as missing. With `nulls kept`, it is a value.
macro_rules! key_table {
    (@accepts kept $json:ident) => {{ let _ = $json; true }};
    (@accepts absent $json:ident) => { $json != "null" };
    (
        $(#[$doc:meta])* $vis:vis struct $name:ident, nulls $nulls:ident:
        $($(#[$member_doc:meta])* $member:ident: $($key:literal)|+,)+
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        $vis struct $name<'a> {
            $($(#[$member_doc])* $vis $member: Option<$crate::protocol::fields::Field<'a>>,)+
        }

        impl<'a> $crate::protocol::fields::KeyTable<'a> for $name<'a> {
            fn slot(&mut self, key: &str) -> Option<&mut Option<$crate::protocol::fields::Field<'a>>> {
                match key {
                    $($($key)|+ => Some(&mut self.$member),)+
                    _ => None,
                }
            }

            fn accepts(json: &str) -> bool {
                $crate::protocol::fields::key_table!(@accepts $nulls json)
            }
        }

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map($crate::protocol::fields::ObjectVisitor::<$name<'de>>::default())
            }
        }
    };
}
pub(super) use key_table;

key_table! {
    /// The values of the protocol's keys, `None` if a key is missing or `null`.
    pub struct Fields, nulls absent:

    /// The kind of message: `RTCOMM_EVENT_FIRED`, `3PCC_PLACE_CALL`, `RESPONSE`, `DOCUMENT`, …
    method: "method",
    /// The protocol version. Drafts named the key `version` and `ibmRTC`.
    version: "rtcommVer" | "version" | "ibmRTC",
    /// When it happened: the server's local time, without a zone.
    timestamp: "timestamp",
    /// The application.
    app_context: "appContext",
    /// Why it failed.
    reason: "reason",
    /// The topic that an endpoint registered.
    reg_topic: "regTopic",
    /// The signaling session's ID.
    sig_sess_id: "sigSessID",
    /// The transaction's ID.
    trans_id: "transID",
    /// The method of the request that a response answers.
    orig: "orig",
    /// `SUCCESS` or `FAILURE`.
    result: "result",
    /// The endpoint that places the call.
    caller: "callerEndpoint",
    /// The endpoint that is called.
    callee: "calleeEndpoint",
    /// The topic for the response.
    from_topic: "fromTopic",
    /// The requested ID of the new session.
    session_id: "sessionID",
    /// What a presence document describes: `ENDPOINT` or `SERVICE`.
    kind: "type",
    /// The state in a presence document, such as `available`.
    state: "state",
    /// The display name in a presence document.
    alias: "alias",
    /// The topic where an endpoint listens. Some documents name the key `topic`.
    address_topic: "addressTopic" | "topic",
}

/// Why a payload is not a message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldsError {
    /// The payload has no bytes.
    Empty,
    /// The payload is not UTF-8; with the offset of the first invalid byte.
    NotUtf8(usize),
    /// The payload is not JSON; with the parser's message.
    NotJson(String),
    /// The payload is JSON, but not an object.
    NotAnObject,
}

impl fmt::Display for FieldsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("payload is empty"),
            Self::NotUtf8(offset) => write!(f, "payload is not UTF-8 from byte {offset} on"),
            Self::NotJson(message) => write!(f, "payload is not JSON: {message}"),
            Self::NotAnObject => f.write_str("payload is JSON but not an object"),
        }
    }
}

impl std::error::Error for FieldsError {}

impl<'a> Fields<'a> {
    /// Reads a payload. Unknown values are skipped without recursion, so deep nesting is harmless.
    ///
    /// # Errors
    /// If the payload is empty, not UTF-8, not JSON, or not an object.
    pub fn read(payload: &'a [u8]) -> Result<Self, FieldsError> {
        Self::read_text(text_of(payload)?)
    }

    /// Reads a payload that is known to be UTF-8.
    ///
    /// # Errors
    /// See [`Fields::read`].
    pub fn read_text(text: &'a str) -> Result<Self, FieldsError> {
        if text.is_empty() {
            return Err(FieldsError::Empty);
        }
        if let Some(fields) = Self::scan(text) {
            return Ok(fields);
        }
        serde_json::from_str(text).map_err(|error| {
            let is_object = text.trim_start().starts_with('{');
            if !is_object && is_json(text) { FieldsError::NotAnObject } else { FieldsError::NotJson(error.to_string()) }
        })
    }

    fn scan(text: &'a str) -> Option<Self> {
        let mut fields = Self::default();
        scan::object(text, |member| {
            if member.parent.is_none() {
                fields.set(member.key, member.json);
            }
        })?;
        Some(fields)
    }
}

/// Returns a payload as text.
pub(super) fn text_of(payload: &[u8]) -> Result<&str, FieldsError> {
    std::str::from_utf8(payload).map_err(|error| FieldsError::NotUtf8(error.valid_up_to()))
}

/// Returns whether `text` is one JSON value of any depth.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// A struct with a slot for each known key of a JSON object. See [`key_table`].
pub(super) trait KeyTable<'a>: Default {
    /// Returns the slot of a key, or `None` for an unknown key.
    fn slot(&mut self, key: &str) -> Option<&mut Option<Field<'a>>>;

    /// Returns whether a value is stored; if not, its key counts as missing.
    fn accepts(json: &str) -> bool;

    /// Stores the value of a known key.
    fn set(&mut self, key: &str, json: &'a str) {
        if let Some(slot) = self.slot(key) {
            *slot = Self::accepts(json).then_some(Field(json));
        }
    }
}

/// Reads an object into a [`KeyTable`] with serde.
pub(super) struct ObjectVisitor<T>(PhantomData<T>);

impl<T> Default for ObjectVisitor<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: KeyTable<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<T, M::Error> {
        let mut table = T::default();
        while let Some(Key(key)) = map.next_key()? {
            match table.slot(&key) {
                Some(slot) => {
                    let json = map.next_value::<&'de RawValue>()?.get();
                    *slot = T::accepts(json).then_some(Field(json));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(table)
    }
}

/// An object's key, borrowed if it contains no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
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

        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(field: Option<Field<'_>>) -> Option<Cow<'_, str>> {
        field.map(Field::text)
    }

    #[test]
    fn known_keys_are_read_and_unknown_keys_are_skipped() {
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
    fn key_names_of_drafts_are_accepted() {
        for key in ["rtcommVer", "version", "ibmRTC"] {
            let payload = format!(r#"{{"{key}":"v 1.0"}}"#);
            let fields = Fields::read_text(&payload).expect(key);
            assert_eq!(text(fields.version).as_deref(), Some("v 1.0"), "{key}");
        }
    }

    #[test]
    fn a_string_with_a_lone_surrogate_is_returned_as_json_text() {
        let fields = Fields::read(br#"{"reason":"a\ud800b"}"#).expect("an object");
        assert_eq!(text(fields.reason).as_deref(), Some(r#""a\ud800b""#));
    }

    #[test]
    fn payloads_that_are_not_objects_have_distinct_errors() {
        assert_eq!(Fields::read(b""), Err(FieldsError::Empty));
        assert_eq!(Fields::read(b"{\"a\":\"\xff\"}"), Err(FieldsError::NotUtf8(6)));
        for json in [&b"[1]"[..], b"1e400", b"\"text\"", b"null", b" true "] {
            assert_eq!(Fields::read(json), Err(FieldsError::NotAnObject), "{}", String::from_utf8_lossy(json));
        }
        for junk in
            [&b"hello"[..], b"[1", b"{\"a\":NaN}", b"\xef\xbb\xbf{}", b"{} {}", b"{'a':1}", b"  ", br#"{"\ud800":1}"#]
        {
            let error = Fields::read(junk).expect_err("not JSON");
            assert!(matches!(error, FieldsError::NotJson(_)), "{error} for {}", String::from_utf8_lossy(junk));
        }
    }

    #[test]
    fn deep_nesting_is_harmless() {
        let deep = format!(r#"{{"x":{}{},"method":"M"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(Fields::read_text(&deep).expect("an object").method.is_some());
    }

    /// Reads with serde_json alone.
    fn read_with_serde(text: &str) -> Option<Fields<'_>> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn the_scanner_reads_usual_objects() {
        for text in [
            r#"{"method":"RTCOMM_EVENT_FIRED","transID":100,"x":[1,{"y":null}],"reason":null,"method":"last"}"#,
            " { \"reason\" : \"caf\u{e9} \u{1d11e}\" , \"z\" : -0 } \n",
            "{}",
        ] {
            assert_eq!(Fields::scan(text), read_with_serde(text), "{text}");
            assert!(read_with_serde(text).is_some());
        }
    }

    #[test]
    fn the_scanner_gives_up_outside_its_subset() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(20), "]".repeat(20));
        for text in [r#"{"a":"\n"}"#, r#"{"\u0061":1}"#, r#"{"a":1.5}"#, r#"{"a":1e3}"#, &deep] {
            assert_eq!(Fields::scan(text), None, "{text}");
            assert!(read_with_serde(text).is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_scanner_reads_what_serde_reads(
            pieces in prop::collection::vec(
                prop_oneof![
                    3 => prop::sample::select(vec![
                        "{", "}", "[", "]", ":", ",", "\"", "\\", " ", "\n", "\u{1}", "true", "null", "false", "0", "-1", "12",
                        "01", "1.5", "\"method\"", "\"reason\":\"x\"", "\"a\":", "\"transID\":7,", "{}", "[]", "é", "\u{7f}",
                    ]),
                    1 => Just("{\"method\":\"M\"}"),
                ],
                0..12,
            ),
        ) {
            let inside = pieces.concat();
            for text in [inside.clone(), format!("{{{inside}}}"), format!("{{\"reason\":{inside}}}")] {
                if let Some(fields) = Fields::scan(&text) {
                    prop_assert_eq!(Some(fields), read_with_serde(&text), "{}", text);
                }
            }
        }
    }
}
