//! An endpoint that has no presence document any more, or never had one.

use std::borrow::Cow;

use jiff::Timestamp;

/// The value of `status` in the JSON line of an absence.
pub(super) const ABSENT: &str = "absent";

/// An endpoint that has no presence document on any topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence<'a> {
    /// When this client noticed it.
    pub received: Timestamp,
    /// The endpoint.
    pub from: Cow<'a, str>,
}
