//! Call results with this tool's errors, and the exit statuses that follow from them.

use std::time::Duration;

use crate::commands::transport_error::publish_failure;
use crate::exit::{Failure, Status};
use crate::protocol::call::{self, Answer, NoReplyCause, Request, Verdict, WaitLimit};
use crate::protocol::record::{Missing, SessionOutcome};
use crate::protocol::topic::TopicName;
use crate::transport::relay::Published;
use crate::transport::url::BrokerUrl;

/// A request and how it went. A missing reply is explained by a [`Failure`].
pub(super) type CallResult = call::CallResult<Failure>;

/// How a call went. A missing reply is explained by a [`Failure`].
pub(super) type Outcome = call::Outcome<Failure>;

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

/// How a followed call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FollowedEnd {
    /// Its session was stopped.
    Stopped,
    /// The service refused the call, or the session failed.
    Failed,
    /// The end of its session was not seen.
    NotSeen,
}

impl FollowedEnd {
    fn of(CallResult { outcome, session, .. }: &CallResult) -> Self {
        match (outcome, session.as_ref().map(|session| session.outcome)) {
            (Outcome::Answered { verdict: Verdict::Failure(_), .. }, _) => Self::Failed,
            (_, Some(SessionOutcome::Completed)) => Self::Stopped,
            (_, Some(SessionOutcome::Failed | SessionOutcome::Dropped)) => Self::Failed,
            (_, Some(SessionOutcome::Open | SessionOutcome::Lost) | None) => Self::NotSeen,
        }
    }
}

/// What is known of a call that is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuation {
    /// The call is over, or it was not placed.
    Over,
    /// It was placed, and it has not ended.
    Continues,
    /// It was placed, but its session had no events, or some may be missing.
    MayContinue,
    /// The request was sent, and nothing else is known.
    MayBePlaced,
}

impl Continuation {
    /// Returns what is known of a call with this result.
    pub(super) fn of(result: &CallResult) -> Self {
        if FollowedEnd::of(result) != FollowedEnd::NotSeen {
            return Self::Over;
        }
        match (&result.session, &result.outcome) {
            (Some(session), _) if session.incomplete.contains(&Missing::Gap) => Self::MayContinue,
            (Some(_), _) => Self::Continues,
            (None, Outcome::Answered { .. }) => Self::MayContinue,
            (None, outcome) if outcome.may_be_placed() => Self::MayBePlaced,
            (None, Outcome::Unanswered(..)) => Self::Over,
        }
    }
}

/// Returns how the session of a followed call ended, for a summary. `None` if the outcome of the call explains its status.
pub(super) fn session_end(CallResult { outcome, session, .. }: &CallResult) -> Option<&'static str> {
    match (outcome, session) {
        (_, Some(session)) => Some(session.outcome.as_str()),
        (Outcome::Answered { verdict: Verdict::Success, .. }, None) => Some("without events"),
        (Outcome::Answered { verdict: Verdict::Failure(_), .. } | Outcome::Unanswered(..), None) => None,
    }
}

/// Returns how many calls continue or may continue, or `None` if all have ended.
pub(super) fn open_calls(results: &[CallResult]) -> Option<String> {
    let counts = [
        (Continuation::Continues, "continues", "continue"),
        (Continuation::MayContinue, "may continue", "may continue"),
        (Continuation::MayBePlaced, "may have been placed", "may have been placed"),
    ];
    let parts = counts.into_iter().filter_map(|(continuation, singular, plural)| {
        match results.iter().filter(|result| Continuation::of(result) == continuation).count() {
            0 => None,
            1 => Some(format!("1 call {singular}")),
            count => Some(format!("{count} calls {plural}")),
        }
    });
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns the exit status of a followed call: that of its session, if its end was seen.
pub(super) fn followed_status_of(result: &CallResult) -> Status {
    match (FollowedEnd::of(result), &result.outcome) {
        (FollowedEnd::Stopped, _) => Status::Success,
        (FollowedEnd::Failed, _) => Status::ServiceFailure,
        (FollowedEnd::NotSeen, Outcome::Unanswered(_, failure)) => failure.status(),
        (FollowedEnd::NotSeen, Outcome::Answered { .. }) => Status::Deadline,
    }
}

/// How long a call is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallTimes {
    /// For the reply, and if the call is followed, from then on for the first event of the session.
    pub(super) timeout: Duration,
    /// For the end of the session, if the call is followed.
    pub(super) limit: Option<Duration>,
}

impl CallTimes {
    /// Returns how long to wait until the request is sent, and the flag that limits it.
    pub(super) fn until_sent(self) -> (Duration, WaitLimit) {
        match self.limit {
            Some(limit) if limit < self.timeout => (limit, WaitLimit::Follow),
            _ => (self.timeout, WaitLimit::Timeout),
        }
    }
}

/// Returns the status of a followed call.
///
/// # Errors
/// If the end of the session was not seen in time.
pub(super) fn followed_end(result: CallResult, times: CallTimes) -> Result<Status, Failure> {
    match FollowedEnd::of(&result) {
        FollowedEnd::Stopped => return Ok(Status::Success),
        FollowedEnd::Failed => return Ok(Status::ServiceFailure),
        FollowedEnd::NotSeen => {}
    }
    let continuation = Continuation::of(&result);
    let CallResult { request, outcome, session, limit, .. } = result;
    let id = request.session_id.unwrap_or_default();
    let at_limit = times.limit.filter(|_| limit == Some(WaitLimit::Follow)).map(humantime::format_duration);
    match (outcome, session, at_limit) {
        (_, Some(_), Some(limit)) => {
            let (message, continues) = if continuation == Continuation::Continues {
                (format!("session {id} has not ended within {limit}"), "continues")
            } else {
                let message = format!("the end of session {id} was not seen within {limit}, and events may be missing");
                (message, "may continue")
            };
            Err(Failure::new(Status::Deadline, message)
                .hint(format!("the call {continues}: rtcomm watch --session-id {id}")))
        }
        (Outcome::Unanswered(_, failure), ..) => Err(failure),
        (Outcome::Answered { .. }, _, Some(limit)) => {
            Err(Failure::new(Status::Deadline, format!("no event of session {id} within {limit} (--follow)"))
                .hint(format!("the call may continue: rtcomm watch --session-id {id}")))
        }
        (Outcome::Answered { .. }, _, None) => {
            let timeout = humantime::format_duration(times.timeout);
            Err(Failure::new(Status::Deadline, format!("no event of session {id} within {timeout} after the reply")).hint(
                "check --event-root, and that the service uses the requested session ID. A call without the server's relay \
                 has no events",
            ))
        }
    }
}

/// Returns the failure of a call whose connection was lost for good.
pub(super) fn lost_session(result: CallResult, why: &str) -> Failure {
    match result.outcome {
        Outcome::Unanswered(_, failure) => failure,
        Outcome::Answered { .. } => {
            let id = result.request.session_id.unwrap_or_default();
            Failure::unreachable(format!("{why} before the end of session {id} was seen"))
                .hint("the call may continue: rtcomm watch --session-id shows its events")
        }
    }
}

/// Returns what an answer says about the call.
pub(super) fn verdict(answer: &Answer<'_>) -> Verdict {
    match answer {
        Answer::Success => Verdict::Success,
        Answer::Failure(reason) => Verdict::Failure(reason.as_ref().map(ToString::to_string)),
        Answer::Other(result) if result.is_empty() => Verdict::Failure(Some("the reply has no result".to_owned())),
        Answer::Other(result) => Verdict::Failure(Some(format!("the reply's result is {result}"))),
    }
}

/// Returns the outcome of a call that the service answered with this payload, which is not copied.
pub(super) fn answered(verdict: Verdict, payload: Vec<u8>) -> Outcome {
    let response =
        String::from_utf8(payload).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Outcome::Answered { verdict, response }
}

/// Returns the outcome of a call without a reply when this limit passed. The request was sent.
pub(super) fn timed_out(request: &Request, broker: &str, limit: WaitLimit) -> Outcome {
    let id = request.trans_id;
    let failure = Failure::new(
        Status::Deadline,
        format!("no 3PCC service response from {broker} in time (transID {id})"),
    )
    .hint(format!(
        "the caller may not have answered, nobody may serve the topic, or the broker may have dropped the request: \
                 only MQTT 5 brokers report that. The call may still be placed. {}",
        wait_longer(limit)
    ));
    Outcome::Unanswered(NoReplyCause::Timeout, failure)
}

/// Returns the outcome of a call whose request was not sent when this limit passed.
pub(super) fn not_sent_in_time(broker: &str, limit: WaitLimit) -> Outcome {
    let failure =
        Failure::new(Status::Deadline, format!("{broker} did not accept the client in time: nothing was sent"))
            .hint(wait_longer(limit));
    Outcome::Unanswered(NoReplyCause::Timeout, failure)
}

/// Returns the outcome of a call whose request was not sent because of this failure, which is not one of its own connection.
pub(super) fn not_sent(failure: Failure) -> Outcome {
    let cause = match failure.status() {
        Status::Refused => NoReplyCause::Denied,
        Status::Deadline => NoReplyCause::Timeout,
        _ => NoReplyCause::Unreachable,
    };
    Outcome::Unanswered(cause, failure)
}

/// Names the flag to change if a limit is too short.
fn wait_longer(limit: WaitLimit) -> &'static str {
    match limit {
        WaitLimit::Timeout => "--timeout waits longer",
        WaitLimit::Follow => "--follow with a longer LIMIT waits longer",
    }
}

/// Returns the outcome of a call whose reply cannot arrive any more, because of `event`.
pub(super) fn unknown(request: &Request, event: &str) -> Outcome {
    let id = request.trans_id;
    let message = format!("{event} before the reply arrived: the call may have been placed (transID {id})");
    let failure = Failure::new(Status::Failure, message).hint("check the session's events before you place it again");
    Outcome::Unanswered(NoReplyCause::Unknown, failure)
}

/// Returns the outcome of a call whose request the broker did not take. `None` if it may have taken it.
pub(super) fn unpublished(published: &Published, broker: &BrokerUrl, call_topic: &TopicName) -> Option<Outcome> {
    let (cause, failure) = match published {
        Published::Accepted | Published::Lost => return None,
        Published::NotSent => {
            let failure = Failure::unreachable(format!("lost {broker} before the request was sent"));
            (NoReplyCause::Unreachable, failure)
        }
        Published::Denied(_) | Published::TooLarge { .. } => {
            let access_hint = "check the broker's access list for this user; --as publishes to TOPIC/ENDPOINT";
            (NoReplyCause::Denied, publish_failure(published, broker, call_topic, access_hint)?)
        }
        Published::NoMatchingSubscribers => {
            let message = format!("nobody subscribes to {call_topic} at {broker}");
            let failure = Failure::new(Status::NoResponder, message)
                .hint("check that the call service is running, and check --call-topic and --root");
            (NoReplyCause::NoResponder, failure)
        }
    };
    Some(Outcome::Unanswered(cause, failure))
}
