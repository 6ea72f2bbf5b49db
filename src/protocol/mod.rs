//! The Rtcomm service protocol: topics, events, filters, third-party calls, recorded lines.
//!
//! Everything here is pure: text and bytes in, types out, no clock, no network, no file. It imports nothing else of
//! the crate, so that other programs can stand on it. Readers are tolerant (unknown keys, drafts' key names, numbers
//! where text is usual), writers are strict.
//!
//! | module | holds |
//! | --- | --- |
//! | [`topic`] | endpoint IDs, topic names, topic filters and how MQTT matches them |
//! | [`fields`] | the protocol's JSON vocabulary, read from a payload in one pass |
//! | [`event`] | one event: its topic's parts and its payload |
//! | [`filter`] | which events are wanted, and the subscriptions that bring them |
//! | [`call`] | third-party call control: request, reply, whose reply it is |
//! | [`presence`] | who is registered: retained presence documents |
//! | [`record`] | a message as one JSON line, and back |

pub mod call;
pub mod event;
pub mod fields;
pub mod filter;
pub mod presence;
pub mod record;
mod scan;
mod stamp;
pub mod topic;

/// The version that this crate writes as `rtcommVer`.
pub const VERSION: &str = "v1.0.0";

/// As much of a text as an error quotes: somebody may have sent megabytes.
fn excerpt(text: &str) -> String {
    const LONGEST: usize = 100;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
