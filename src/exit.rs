//! Exit statuses, and the one function that maps an error to its status.

use std::fmt;
use std::io::{self, ErrorKind};

/// How a run ended. All commands but `check` share these statuses, and scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The run succeeded, or the reader of standard output closed the pipe.
    Success,
    /// Any failure without a status of its own.
    Failure,
    /// Wrong usage or configuration.
    Usage,
    /// The call service replied FAILURE, or the followed session failed.
    ServiceFailure,
    /// The broker refused credentials, a subscription or a publication.
    Refused,
    /// The broker is unreachable.
    Unreachable,
    /// Nobody subscribes to the call topic.
    NoResponder,
    /// Nothing matched, and `--fail-empty` was given.
    Empty,
    /// The deadline passed.
    Deadline,
    /// SIGINT ended the run.
    Interrupted,
    /// SIGTERM ended the run.
    Terminated,
    /// The result of `check`.
    Check(CheckStatus),
}

/// The result of `check`, in the numbers of monitoring systems (Monitoring Plugins Development Guidelines).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckStatus {
    /// Everything works.
    Ok,
    /// Something does not work as it should.
    Warning,
    /// The service does not work.
    Critical,
    /// The check itself does not work.
    Unknown,
}

impl CheckStatus {
    /// All statuses, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Critical, Self::Unknown];

    /// Returns the exit status of the process.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the name in the output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl Status {
    /// Returns the exit status of the process.
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
            Self::Check(status) => status.code(),
        }
    }
}

impl Status {
    /// Returns the worse of two results of a batch.
    ///
    /// The order is: unreachable, refused, no responder, deadline, service failure, other failure, success.
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

/// An error with its exit status and an optional hint.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    status: Status,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// Makes a failure. `message` says what failed, on what, and why.
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: None }
    }

    /// Makes a failure with [`Status::Usage`].
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, message)
    }

    /// Makes a failure with [`Status::Refused`].
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Status::Refused, message)
    }

    /// Makes a failure with [`Status::Unreachable`].
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Status::Unreachable, message)
    }

    /// Makes a failure for a file that cannot be opened: with [`Status::Usage`] if another file must be named.
    pub(crate) fn cannot_open(what: impl fmt::Display, error: &io::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput => Status::Usage,
            _ => Status::Failure,
        };
        Self::new(status, format!("{what}: {error}"))
    }

    /// Adds a hint on what to check, printed on a line of its own.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds what the failure is about to the beginning of its message.
    pub(crate) fn context(self, context: impl fmt::Display) -> Self {
        Self { message: format!("{context}: {}", self.message), ..self }
    }

    /// Returns the exit status.
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

/// Returns the status of a [`Failure`], or [`Status::Failure`] for any other error.
pub(crate) fn status_of(error: &anyhow::Error) -> Status {
    error.downcast_ref::<Failure>().map_or(Status::Failure, Failure::status)
}

/// Returns the hint of a [`Failure`].
pub(crate) fn hint_of(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Failure>()?.hint.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_worst_result_of_a_batch_counts() {
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
