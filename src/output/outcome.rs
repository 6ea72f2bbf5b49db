//! How a call went: what `call` prints and exits with.

use std::time::Duration;

use super::escape::escaped;
use super::whole_millis;
use crate::exit::{Failure, Status};
use crate::protocol::call::Request;

/// The word in JSON for a line of a batch that is no request.
pub(crate) const INVALID: &str = "invalid";

/// A call and how it went.
#[derive(Debug)]
pub(crate) struct Called {
    /// What was asked.
    pub(crate) request: Request,
    /// How it went.
    pub(crate) outcome: Outcome,
    /// From the start of the command, or of a batch from the request, to the outcome.
    pub(crate) elapsed: Duration,
}

/// How a call went.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The service answered.
    Answered {
        /// What it says.
        verdict: Verdict,
        /// Its answer, byte for byte.
        response: String,
    },
    /// No answer came; with the words for it, which hold the status too.
    Unanswered(Why, Failure),
}

/// What the service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The call is placed.
    Success,
    /// It is not; with the service's reason.
    Failure(Option<String>),
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The deadline passed first.
    Timeout,
    /// The broker says that nobody subscribes to the call topic.
    NoResponder,
    /// The broker refused the client, its subscription or its publication.
    Denied,
    /// The broker could not be reached, so nothing was sent.
    Unreachable,
    /// The connection broke, or a signal came, after the request went out: the call may have been placed.
    Unknown,
}

impl Outcome {
    /// The word for it in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Answered { verdict: Verdict::Success, .. } => "success",
            Self::Answered { verdict: Verdict::Failure(_), .. } => "failure",
            Self::Unanswered(Why::Timeout, _) => "timeout",
            Self::Unanswered(Why::NoResponder, _) => "no_responder",
            Self::Unanswered(Why::Denied, _) => "denied",
            Self::Unanswered(Why::Unreachable, _) => "unreachable",
            Self::Unanswered(Why::Unknown, _) => "unknown",
        }
    }

    /// Why it is no success, as far as that is known.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Answered { verdict: Verdict::Success, .. } => None,
            Self::Answered { verdict: Verdict::Failure(reason), .. } => reason.clone(),
            Self::Unanswered(_, failure) => Some(failure.to_string()),
        }
    }

    /// Whether the call is placed, or may be, for all that is known.
    pub(crate) fn may_be_placed(&self) -> bool {
        match self {
            Self::Answered { verdict, .. } => *verdict == Verdict::Success,
            Self::Unanswered(why, _) => matches!(why, Why::Timeout | Why::Unknown),
        }
    }

    /// What the command exits with.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Answered { verdict: Verdict::Success, .. } => Status::Success,
            Self::Answered { verdict: Verdict::Failure(_), .. } => Status::ServiceFailure,
            Self::Unanswered(_, failure) => failure.status(),
        }
    }
}

impl Called {
    /// The line for people, its line end included.
    pub(crate) fn pretty(&self) -> String {
        let Self { request, outcome, elapsed } = self;
        let what = match (outcome, outcome.reason()) {
            (Outcome::Answered { verdict: Verdict::Success, .. }, _) => "placed".to_owned(),
            (_, Some(reason)) => format!("failed: {reason}"),
            (_, None) => "failed: the service gave no reason".to_owned(),
        };
        let session = request.session_id.map(|id| format!(", session {id}")).unwrap_or_default();
        let elapsed = humantime::format_duration(whole_millis(*elapsed));
        let line = format!("{} → {}: {what} ({elapsed}{session})", request.caller, request.callee);
        format!("{}\n", escaped(&line))
    }
}
