//! The result of a call: what the service answered, or why there was no reply.

use std::fmt;
use std::time::Duration;

use super::Request;
use crate::protocol::record::CallRecord;

/// The value of `outcome` in JSON for a line of a batch that is not a request.
pub const INVALID: &str = "invalid";

/// A request and its outcome. `E` is the error that explains a missing reply.
#[derive(Debug)]
pub struct CallResult<E> {
    /// The request.
    pub request: Request,
    /// The outcome.
    pub outcome: Outcome<E>,
    /// Time from the start of the command to the outcome; in a batch, from the request.
    pub elapsed: Duration,
    /// The session that the call caused, as far as its events were seen. `None` without events.
    pub session: Option<CallRecord>,
    /// Which limit ended the wait for a followed call. `None` if it is not followed, or if something else ended the wait.
    pub limit: Option<WaitLimit>,
}

/// A limit of the wait for a followed call, named by its flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitLimit {
    /// `--timeout`, for the reply and for the first event.
    Timeout,
    /// The LIMIT of `--follow`, for the end of the session.
    Follow,
}

impl WaitLimit {
    /// Returns the value of `limit` in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Follow => "follow",
        }
    }
}

/// The outcome of a call.
#[derive(Debug, Clone)]
pub enum Outcome<E> {
    /// The service replied.
    Answered {
        /// Whether the call is placed.
        verdict: Verdict,
        /// The reply's payload, byte for byte.
        response: String,
    },
    /// There was no reply, for this cause. `E` is the error to report.
    Unanswered(NoReplyCause, E),
}

/// Whether the service placed the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The call is placed.
    Success,
    /// The call is not placed; with the service's reason.
    Failure(Option<String>),
}

/// Why there was no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoReplyCause {
    /// The deadline passed.
    Timeout,
    /// The broker reports that nobody subscribes to the call topic.
    NoResponder,
    /// The broker denied the client, its subscription or its publication.
    Denied,
    /// The broker is unreachable, so nothing was sent.
    Unreachable,
    /// The connection broke or a signal arrived after the request was sent. The call may have been placed.
    Unknown,
}

impl<E> Outcome<E> {
    /// Returns the value of `outcome` in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Answered { verdict: Verdict::Success, .. } => "success",
            Self::Answered { verdict: Verdict::Failure(_), .. } => "failure",
            Self::Unanswered(NoReplyCause::Timeout, _) => "timeout",
            Self::Unanswered(NoReplyCause::NoResponder, _) => "no_responder",
            Self::Unanswered(NoReplyCause::Denied, _) => "denied",
            Self::Unanswered(NoReplyCause::Unreachable, _) => "unreachable",
            Self::Unanswered(NoReplyCause::Unknown, _) => "unknown",
        }
    }

    /// Returns whether the call is placed or may be placed.
    #[must_use]
    pub fn may_be_placed(&self) -> bool {
        match self {
            Self::Answered { verdict, .. } => *verdict == Verdict::Success,
            Self::Unanswered(cause, _) => matches!(cause, NoReplyCause::Timeout | NoReplyCause::Unknown),
        }
    }
}

impl<E: fmt::Display> Outcome<E> {
    /// Returns why the call did not succeed, if known.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Answered { verdict: Verdict::Success, .. } => None,
            Self::Answered { verdict: Verdict::Failure(reason), .. } => reason.clone(),
            Self::Unanswered(_, error) => Some(error.to_string()),
        }
    }
}
