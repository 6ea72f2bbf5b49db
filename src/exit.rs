//! How a run ends: the exit statuses, and the one way from an error to its status.

use std::fmt;

/// How a run ended. One table for every command; scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The goal was reached, or the reader of standard output went away.
    Success,
    /// Any failure that has no status of its own.
    Failure,
    /// Wrong usage or configuration.
    Usage,
    /// The call service answered that the call is not placed.
    ServiceFailure,
    /// Credentials, a subscription or a publication were refused.
    Refused,
    /// The broker cannot be reached.
    Unreachable,
    /// Nobody subscribes to the call topic.
    NoResponder,
    /// Nothing matched, and `--fail-empty` was given.
    Empty,
    /// The deadline passed first.
    Deadline,
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

impl Status {
    /// The number that the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::ServiceFailure => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
            Self::NoResponder => 6,
            Self::Empty => 7,
            Self::Deadline => 124,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl Status {
    /// The worse of two outcomes of a batch: unreachable, refused, nobody there, too late, refused by the service, any
    /// other failure, success, in this order.
    pub(crate) fn worse(self, other: Self) -> Self {
        const WORST_FIRST: [Status; 6] = [
            Status::Unreachable,
            Status::Refused,
            Status::NoResponder,
            Status::Deadline,
            Status::ServiceFailure,
            Status::Failure,
        ];
        let rank = |status| WORST_FIRST.iter().position(|it| *it == status).unwrap_or(WORST_FIRST.len());
        if rank(other) < rank(self) { other } else { self }
    }
}

/// An error that has a status of its own, and perhaps a word on what to check.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    status: Status,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure that ends the run with `status`; `message` says what was being done, to what, and why it failed.
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: None }
    }

    /// Wrong usage or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, message)
    }

    /// The broker refused.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Status::Refused, message)
    }

    /// The broker cannot be reached.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Status::Unreachable, message)
    }

    /// Adds what to check, shown on a line of its own.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The status that it ends the run with.
    pub(crate) fn status(&self) -> Status {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The status of an error: its own where it is a [`Failure`], else [`Status::Failure`].
pub(crate) fn status_of(error: &anyhow::Error) -> Status {
    error.downcast_ref::<Failure>().map_or(Status::Failure, Failure::status)
}

/// What to check, where the error knows.
pub(crate) fn hint_of(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Failure>()?.hint.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_worst_outcome_of_a_batch_counts() {
        let worst = [Status::Success, Status::ServiceFailure, Status::Deadline, Status::Failure];
        assert_eq!(worst.into_iter().fold(Status::Success, Status::worse), Status::Deadline);
        assert_eq!(Status::Failure.worse(Status::ServiceFailure), Status::ServiceFailure);
    }

    #[test]
    fn a_failure_keeps_its_status_under_context() {
        let error = Err::<(), _>(Failure::refused("no").hint("ask")).context("calling").expect_err("an error");
        assert_eq!((status_of(&error), hint_of(&error)), (Status::Refused, Some("ask")));
        assert_eq!(status_of(&anyhow::anyhow!("other")), Status::Failure);
    }
}
