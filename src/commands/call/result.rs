//! Call results with this tool's errors, and the exit statuses that follow from them.

use crate::exit::{Failure, Status};
use crate::protocol::call::{self, NoReplyCause, Verdict};

/// A request and how it went. A missing reply is explained by a [`Failure`].
pub(super) type CallResult = call::CallResult<Failure>;

/// How a call went. A missing reply is explained by a [`Failure`].
pub(super) type Outcome = call::Outcome<Failure>;

/// How the result of a single call is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResultFormat {
    /// A JSON line.
    Json,
    /// A line for people.
    Text {
        /// Whether it is colored.
        color: bool,
    },
}

/// Why no request was sent: there is no connection or no subscription to replies.
pub(super) struct NotSent {
    cause: NoReplyCause,
    pub(super) failure: Failure,
}

impl NotSent {
    /// Makes the error. `is_denied`: the broker denies this client. Otherwise it is unreachable.
    pub(super) fn new(is_denied: bool, failure: Failure) -> Self {
        let cause = if is_denied { NoReplyCause::Denied } else { NoReplyCause::Unreachable };
        Self { cause, failure }
    }
}

impl From<NotSent> for Outcome {
    fn from(NotSent { cause, failure }: NotSent) -> Self {
        Self::Unanswered(cause, failure)
    }
}

/// Returns the exit status of a call.
pub(super) fn status_of(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Answered { verdict: Verdict::Success, .. } => Status::Success,
        Outcome::Answered { verdict: Verdict::Failure(_), .. } => Status::ServiceFailure,
        Outcome::Unanswered(_, failure) => failure.status(),
    }
}
