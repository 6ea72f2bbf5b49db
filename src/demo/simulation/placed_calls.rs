//! Third-party calls: whether a requested call is possible, and what happens until the callee answers.

use super::endpoints::{ALWAYS_IDLE, ENDPOINTS};
use super::{ActiveCall, CALL_FAILURES, CallState, Effect, Simulation, session_event};
use crate::protocol::topic::Action;

/// One in this many third-party calls fails, unless both endpoints are always idle.
const PLACED_CALLS_PER_FAILURE: u32 = 4;

/// A third-party call request.
#[derive(Clone, Copy, Debug)]
pub(in crate::demo) struct CallRequest<'a> {
    /// The endpoint that calls.
    pub(in crate::demo) caller: &'a str,
    /// The endpoint that is called.
    pub(in crate::demo) callee: &'a str,
    /// The requested session ID.
    pub(in crate::demo) session_id: Option<&'a str>,
    /// The application that both endpoints must be registered for.
    pub(in crate::demo) app_context: Option<&'a str>,
}

/// A third-party call that the callee has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::demo) struct RingingCall {
    session_id: String,
    /// Why the call will fail, or `None` if the callee will answer.
    pub(in crate::demo) failure: Option<&'static str>,
}

impl Simulation {
    /// Places a third-party call: the callee's telephone rings, until [`Simulation::end_ringing`].
    ///
    /// The effects are those on other calls.
    ///
    /// # Errors
    /// If the call is not possible; returns the reason for the reply.
    pub(in crate::demo) fn place_call(
        &mut self,
        request: &CallRequest<'_>,
    ) -> Result<(RingingCall, Vec<Effect>), String> {
        let &CallRequest { caller, callee, session_id, app_context } = request;
        if caller == callee {
            return Err(format!("{caller} cannot call itself"));
        }
        let from = self.available(caller, app_context)?;
        let to = self.available(callee, app_context)?;
        if let Some(id) = session_id.filter(|&id| self.calls.iter().any(|call| call.id == id)) {
            return Err(format!("session {id} exists already"));
        }
        let mut effects = Vec::new();
        while let Some(interrupted) = self.calls.iter().position(|call| call.has(from) || call.has(to)) {
            effects.extend(self.stop(interrupted));
        }
        let id = session_id.map_or_else(|| self.new_session_id(), str::to_owned);
        let can_fail = from.max(to) >= ALWAYS_IDLE && self.rng.u32(..PLACED_CALLS_PER_FAILURE) == 0;
        let failure = if can_fail { self.rng.choice(CALL_FAILURES) } else { None };
        self.calls.push(ActiveCall { id: id.clone(), from, to, state: CallState::Ringing, is_placed: true });
        Ok((RingingCall { session_id: id, failure }, effects))
    }

    /// Lets the callee of a third-party call answer, or the call fail.
    pub(in crate::demo) fn end_ringing(&mut self, call: &RingingCall) -> Vec<Effect> {
        let is_it = |it: &ActiveCall| it.state == CallState::Ringing && it.id == call.session_id;
        let Some(index) = self.calls.iter().position(is_it) else { return Vec::new() };
        let ended = self.calls.remove(index);
        if let Some(reason) = call.failure {
            return vec![session_event(&ended, Action::Failed, Some(reason))];
        }
        let steps_left = self.rng.u32(2..=3);
        self.start(ActiveCall { state: CallState::Session { steps_left }, ..ended })
    }

    /// Returns the endpoint with this name, if it can take a third-party call.
    fn available(&self, name: &str, app_context: Option<&str>) -> Result<usize, String> {
        let registered = (0..ENDPOINTS.len()).find(|&it| ENDPOINTS[it].id == name && self.is_registered(it));
        let endpoint = registered.ok_or_else(|| format!("{name} is not registered"))?;
        if let Some(required) = app_context.filter(|&it| it != ENDPOINTS[endpoint].app_context) {
            return Err(format!("{name} is not registered for {required}"));
        }
        let can_end = |call: &ActiveCall| endpoint < ALWAYS_IDLE && !call.is_placed;
        match self.call_of(endpoint) {
            Some(call) if !can_end(call) => Err(format!("{name} is busy")),
            _ => Ok(endpoint),
        }
    }
}
