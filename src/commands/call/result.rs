//! Call results with this tool's errors, and the exit statuses that follow from them.

use crate::exit::{Failure, Status};
use crate::protocol::call::{self, Verdict};

/// A request and how it went; a missing reply is explained by a [`Failure`].
pub(super) type CallResult = call::CallResult<Failure>;

/// How a call went; a missing reply is explained by a [`Failure`].
pub(super) type Outcome = call::Outcome<Failure>;

/// Returns the exit status of a call.
pub(super) fn status_of(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Answered { verdict: Verdict::Success, .. } => Status::Success,
        Outcome::Answered { verdict: Verdict::Failure(_), .. } => Status::ServiceFailure,
        Outcome::Unanswered(_, failure) => failure.status(),
    }
}
