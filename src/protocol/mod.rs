//! The Rtcomm service protocol: topics, events, filters, third-party calls and recorded lines.
//!
//! All code here is pure: no clock, network or files. It imports nothing else from this crate, so other programs can use
//! it. Readers are tolerant: they skip unknown keys, and accept key names of drafts and numbers in place of text. Writers
//! are strict.
//!
//! | module | contents |
//! | --- | --- |
//! | [`topic`] | endpoint IDs, topic names, topic filters and MQTT matching |
//! | [`fields`] | the protocol's JSON keys, read from a payload in one pass |
//! | [`event`] | an event: its topic and its payload |
//! | [`filter`] | selects events, and derives the subscriptions for them |
//! | [`call`] | third-party calls: request, reply, result |
//! | [`presence`] | presence documents of registered endpoints |
//! | [`service`] | which services a server offers: query and answer |
//! | [`record`] | a message as a JSON line: written and read |
//! | [`anonymize`] | replaces names in recorded lines |
//! | [`credentials`] | hides user names and passwords in URLs |
//! | [`text_pattern`] | regular expressions |
//! | [`cdr`] | call records from events, and their summary |
//! | `ijson` | checks that every JSON parser can read a text |
//! | `scan` | a fast scanner for usual JSON objects |
//! | `timestamp` | times of JSON lines |

pub mod anonymize;
pub mod call;
pub mod cdr;
pub mod credentials;
pub mod event;
pub mod fields;
pub mod filter;
mod ijson;
pub mod presence;
pub mod record;
mod scan;
pub mod service;
pub mod text_pattern;
mod timestamp;
pub mod topic;

/// The protocol version, written as `rtcommVer`.
pub const VERSION: &str = "v1.0.0";

/// Shortens a text for an error message. The text may be megabytes from the network.
fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
