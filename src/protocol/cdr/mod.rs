//! Call detail records: one record per session, built from its events.
//!
//! [`CallRecorder`] reads events in the order in which they were received, live or recorded, and returns a [`CallRecord`]
//! when the end of a session is known. [`CallSelection`] selects records, and [`Summary`] counts them. A record never
//! contains a start or an end that was not seen.
//!
//! | file | contents |
//! | --- | --- |
//! | `recorder` | pairs the events of each session |
//! | `session` | the state of a session that has not ended |
//! | `age_queue` | the open sessions, oldest first |
//! | `times` | start, end and duration, by the server's clock or the receiving one |
//! | `ended` | a bounded cache of ended sessions and their events, which recognizes late copies |
//! | `selection` | selects records |
//! | `summary` | counters per endpoint, application or reason |
//! | `mask` | makes reasons comparable |
//! | `by_hash` | a map that finds sessions and rows by the hashes of their keys |

mod age_queue;
mod by_hash;
mod ended;
mod mask;
mod recorder;
mod selection;
mod session;
mod summary;
#[cfg(test)]
mod tests;
mod times;

pub use recorder::CallRecorder;
pub use selection::{CallSelection, CallSelectionError};
pub use summary::{CallCounters, Summary, SummaryBy, SummaryRow};

pub use super::record::CallRecord;
