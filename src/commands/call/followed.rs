//! A call that is followed to the end of its session (`--follow`): what is known of it, and when it is over.
//!
//! The reply and the events come in any order. A call is over when the session has ended and the reply has arrived, or when
//! the service refuses the call, or when nothing comes for too long.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::result::{CallTimes, Outcome};
use crate::protocol::call::{Verdict, WaitLimit};
use crate::protocol::cdr::CallRecorder;
use crate::protocol::record::{CallRecord, ConnectionChange, ConnectionStatus, Record};

/// How long to wait for the reply after the end of the session. A service replies at the end of a session that fails at once.
const REPLY_GRACE: Duration = Duration::from_secs(2);

/// Longer than any limit on the command line, so that no session counts as lost.
const MAX_AGE: Duration = Duration::from_hours(20 * 365 * 24);

/// A followed call.
#[derive(Debug)]
pub(super) struct FollowedCall {
    timeout: Duration,
    recorder: CallRecorder,
    session: SessionState,
    reply: Option<Reply>,
    /// When to stop waiting for what must come next: the reply, or the first event.
    next_until: Option<Instant>,
    /// When to stop waiting at all.
    limit: Option<Instant>,
    /// Which of these ended the wait.
    expired: Option<WaitLimit>,
    /// When the connection was lost, until there is another one.
    lost_at: Option<Timestamp>,
}

/// What was seen of a session.
#[derive(Debug)]
enum SessionState {
    Silent,
    Open,
    Ended(Box<CallRecord>),
}

/// The reply, or the reason why no reply comes, and when that was known.
#[derive(Debug)]
struct Reply {
    outcome: Outcome,
    elapsed: Duration,
}

/// The end of a followed call.
#[derive(Debug)]
pub(super) struct FollowedResult {
    pub(super) outcome: Outcome,
    /// When the outcome was known.
    pub(super) elapsed: Duration,
    /// The session, as far as it was seen.
    pub(super) session: Option<CallRecord>,
    /// Which limit ended the wait, if one did.
    pub(super) limit: Option<WaitLimit>,
}

/// Whether a call is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallState {
    Pending,
    Over,
}

impl FollowedCall {
    /// Makes the state of a call whose request is sent. Its events are subscribed to. The times count from `began`.
    pub(super) fn new(began: Instant, times: CallTimes) -> Self {
        let CallTimes { timeout, limit } = times;
        let mut recorder = CallRecorder::new(MAX_AGE);
        // The session has no events from before the subscription, so none of them can be missing.
        recorder.pass(Timestamp::MIN);
        Self {
            timeout,
            recorder,
            session: SessionState::Silent,
            reply: None,
            next_until: began.checked_add(timeout),
            limit: limit.and_then(|limit| began.checked_add(limit)),
            expired: None,
            lost_at: None,
        }
    }

    /// Returns when [`FollowedCall::expire`] is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.next_until, self.limit].into_iter().flatten().min()
    }

    /// Returns whether the reply has arrived, or is known to be missing.
    pub(super) fn has_reply(&self) -> bool {
        self.reply.is_some()
    }

    /// Adds the reply, or the reason why no reply comes.
    pub(super) fn reply(&mut self, now: Instant, outcome: Outcome, elapsed: Duration) -> CallState {
        let is_accepted = matches!(outcome, Outcome::Answered { verdict: Verdict::Success, .. });
        self.reply = Some(Reply { outcome, elapsed });
        self.next_until = match self.session {
            SessionState::Silent if is_accepted => now.checked_add(self.timeout),
            SessionState::Open if is_accepted => None,
            SessionState::Silent | SessionState::Open | SessionState::Ended(_) => return CallState::Over,
        };
        CallState::Pending
    }

    /// Adds an event of the session.
    pub(super) fn event(&mut self, now: Instant, event: &Record<'_>) -> CallState {
        if matches!(self.session, SessionState::Ended(_)) {
            return CallState::Pending;
        }
        self.recorder.message(event);
        self.session = match self.recorder.next_record() {
            Some(record) => SessionState::Ended(Box::new(record)),
            None => SessionState::Open,
        };
        match (&self.session, &self.reply) {
            (SessionState::Ended(_), Some(_)) => return CallState::Over,
            (SessionState::Ended(_), None) => {
                let grace = now.checked_add(REPLY_GRACE);
                self.next_until = [self.next_until, grace].into_iter().flatten().min();
            }
            (_, Some(_)) => self.next_until = None,
            (_, None) => {}
        }
        CallState::Pending
    }

    /// Adds a change of the connection.
    pub(super) fn connection(&mut self, status: &ConnectionStatus<'_>) {
        self.recorder.connection(status);
        self.lost_at = match status.change {
            ConnectionChange::Disconnected => Some(status.received),
            ConnectionChange::Gap { .. } => None,
            ConnectionChange::Connected | ConnectionChange::Ready | ConnectionChange::Settled => self.lost_at,
        };
    }

    /// Handles a deadline that has passed. `missing` makes the outcome without a reply.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        missing: impl FnOnce(WaitLimit) -> Outcome,
        elapsed: Duration,
    ) -> CallState {
        let is_at_limit = self.limit.is_some_and(|limit| limit <= now);
        let expired = if is_at_limit { WaitLimit::Follow } else { WaitLimit::Timeout };
        let lacks_reply = self.reply.is_none();
        if lacks_reply {
            self.reply = Some(Reply { outcome: missing(expired), elapsed });
        }
        // An open session shows that the call was placed, although there is no reply.
        if lacks_reply && !is_at_limit && matches!(self.session, SessionState::Open) {
            self.next_until = None;
            return CallState::Pending;
        }
        // After the end of the session, only the reply is late.
        if !matches!(self.session, SessionState::Ended(_)) {
            self.expired = Some(expired);
        }
        CallState::Over
    }

    /// Ends the call. `missing` makes the outcome without a reply.
    pub(super) fn finish(mut self, missing: impl FnOnce() -> Outcome, elapsed: Duration) -> FollowedResult {
        if let Some(from) = self.lost_at {
            // Without a connection, the end may have been missed.
            let until = Timestamp::now().max(from);
            let change = ConnectionChange::Gap { from, until };
            self.recorder.connection(&ConnectionStatus { received: until, change, reason: None });
        }
        let session = match self.session {
            SessionState::Ended(record) => Some(*record),
            SessionState::Silent | SessionState::Open => {
                self.recorder.finish();
                self.recorder.next_record()
            }
        };
        let Reply { outcome, elapsed } = self.reply.unwrap_or_else(|| Reply { outcome: missing(), elapsed });
        FollowedResult { outcome, elapsed, session, limit: self.expired }
    }
}
