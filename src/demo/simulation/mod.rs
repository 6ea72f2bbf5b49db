//! Simulated endpoints that register, call each other and hang up.
//!
//! This is a state machine with a seeded random generator: no clock and no network. The same seed and the same requests
//! give the same effects.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the state of all endpoints and calls, and the random events that change it |
//! | `placed_calls` | third-party calls, which clients request |
//! | `endpoints` | the names and applications of the endpoints |
//! | `effects` | what a step publishes |

mod effects;
mod endpoints;
mod placed_calls;
#[cfg(test)]
mod tests;

use fastrand::Rng;

use self::endpoints::{ALWAYS_IDLE, ENDPOINTS, EndpointProfile};
use crate::protocol::topic::{Action, EventTopic, Subject};

pub(super) use self::effects::{Effect, PresenceChange, SimulatedEvent};
pub(super) use self::placed_calls::{CallRequest, RingingCall};

/// Why a call to an idle endpoint fails.
const CALL_FAILURES: [&str; 4] =
    ["callee is unreachable", "call was declined", "no answer", "media negotiation failed"];

/// Why a registration fails.
const REGISTRATION_FAILURES: [&str; 2] = ["credentials were refused", "too many registrations"];

/// A session, or a call that becomes one. Endpoints are indexes of [`ENDPOINTS`].
#[derive(Debug)]
struct ActiveCall {
    id: String,
    from: usize,
    to: usize,
    state: CallState,
    /// Whether it is a third-party call, which no later call may end.
    is_placed: bool,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallState {
    /// The callee has not answered. Steps do not change the call.
    Ringing,
    /// A session, which stops after this number of steps.
    Session { steps_left: u32 },
}

impl ActiveCall {
    fn has(&self, endpoint: usize) -> bool {
        self.from == endpoint || self.to == endpoint
    }

    fn is_session(&self) -> bool {
        self.state != CallState::Ringing
    }
}

/// The state of all endpoints and calls.
#[derive(Debug)]
pub(super) struct Simulation {
    rng: Rng,
    /// The registration number of each endpoint.
    registrations: [Option<u32>; ENDPOINTS.len()],
    /// Active calls in the order in which they started.
    calls: Vec<ActiveCall>,
    /// Number of endpoints that have registered at least once.
    introduced: usize,
}

impl Simulation {
    /// Makes a simulation without registered endpoints.
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), registrations: [None; ENDPOINTS.len()], calls: Vec::new(), introduced: 0 }
    }

    /// Registers the endpoints that must always be idle, if they are not registered yet.
    ///
    /// Call this before each third-party call, so that even the first call finds them.
    pub(super) fn register_always_idle(&mut self) -> Vec<Effect> {
        (self.introduced..ALWAYS_IDLE).flat_map(|_| self.register_next()).collect()
    }

    /// Advances to the next event.
    ///
    /// First, all endpoints register. After that, calls end when their time is up, and other events are random.
    pub(super) fn step(&mut self) -> Vec<Effect> {
        for call in &mut self.calls {
            if let CallState::Session { steps_left } = &mut call.state {
                *steps_left = steps_left.saturating_sub(1);
            }
        }
        if let Some(ended) = self.calls.iter().position(|call| call.state == CallState::Session { steps_left: 0 }) {
            return self.stop(ended);
        }
        if self.introduced < ENDPOINTS.len() {
            return self.register_next();
        }
        loop {
            if let Some(effects) = self.try_random_event() {
                return effects;
            }
        }
    }

    fn register_next(&mut self) -> Vec<Effect> {
        self.introduced += 1;
        self.register(self.introduced - 1)
    }

    /// Tries a random event. Returns `None` if it is not possible in the current state.
    fn try_random_event(&mut self) -> Option<Vec<Effect>> {
        match self.rng.u8(..16) {
            0..=6 => self.start_random_call(),
            7..=8 => self.fail_call(),
            9..=10 => self.modify_random_call(),
            // Always possible, so that the loop in `step` ends.
            11 => {
                let endpoint = self.rng.usize(..ALWAYS_IDLE);
                Some(self.change_registration(endpoint))
            }
            12 => self
                .choose_endpoint(|it, endpoint| it.is_idle(endpoint) && endpoint >= ALWAYS_IDLE)
                .map(|it| self.unregister(it)),
            13..=14 => self.choose_endpoint(|it, endpoint| !it.is_registered(endpoint)).map(|it| self.register(it)),
            _ => self.choose_endpoint(|it, endpoint| !it.is_registered(endpoint)).map(|it| self.fail_registration(it)),
        }
    }

    fn is_registered(&self, endpoint: usize) -> bool {
        self.registrations[endpoint].is_some()
    }

    fn call_of(&self, endpoint: usize) -> Option<&ActiveCall> {
        self.calls.iter().find(|call| call.has(endpoint))
    }

    fn is_idle(&self, endpoint: usize) -> bool {
        self.is_registered(endpoint) && self.call_of(endpoint).is_none()
    }

    /// Returns a random endpoint that meets a condition, if there is one.
    fn choose_endpoint(&mut self, condition: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let candidates: Vec<_> = (0..ENDPOINTS.len()).filter(|&endpoint| condition(self, endpoint)).collect();
        self.rng.choice(candidates)
    }

    fn new_address(&mut self) -> u32 {
        self.rng.u32(1_000_000_000..)
    }

    fn new_session_id(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid().to_string()
    }

    fn register(&mut self, endpoint: usize) -> Vec<Effect> {
        self.registrations[endpoint] = Some(self.new_address());
        vec![self.registration_event(endpoint, Action::Started), self.presence_of(endpoint)]
    }

    /// Gives the endpoint a new registration number.
    fn change_registration(&mut self, endpoint: usize) -> Vec<Effect> {
        self.registrations[endpoint] = Some(self.new_address());
        vec![self.registration_event(endpoint, Action::Modified), self.presence_of(endpoint)]
    }

    fn unregister(&mut self, endpoint: usize) -> Vec<Effect> {
        let event = self.registration_event(endpoint, Action::Stopped);
        self.registrations[endpoint] = None;
        vec![event, self.presence_of(endpoint)]
    }

    fn fail_registration(&mut self, endpoint: usize) -> Vec<Effect> {
        let (reason, address) = (self.rng.choice(REGISTRATION_FAILURES), self.new_address());
        let topic = EventTopic { subject: Subject::Registration, action: Action::Failed, from: ENDPOINTS[endpoint].id };
        let app_context = ENDPOINTS[endpoint].app_context;
        vec![Effect::Event(SimulatedEvent { topic, app_context, reason, address: Some(address), session_id: None })]
    }

    /// Starts a call between two idle endpoints of one application. Calls of always idle endpoints are short.
    fn start_random_call(&mut self) -> Option<Vec<Effect>> {
        let from = self.choose_endpoint(Self::is_idle)?;
        let is_partner = |it: usize| it != from && ENDPOINTS[it].app_context == ENDPOINTS[from].app_context;
        let to = self.choose_endpoint(|state, it| state.is_idle(it) && is_partner(it))?;
        let steps_left = if from.min(to) < ALWAYS_IDLE { 2 } else { self.rng.u32(3..=7) };
        let id = self.new_session_id();
        Some(self.start(ActiveCall { id, from, to, state: CallState::Session { steps_left }, is_placed: false }))
    }

    fn start(&mut self, call: ActiveCall) -> Vec<Effect> {
        let event = session_event(&call, Action::Started, None);
        let (from, to) = (call.from, call.to);
        self.calls.push(call);
        vec![event, self.presence_of(from), self.presence_of(to)]
    }

    fn modify_random_call(&mut self) -> Option<Vec<Effect>> {
        let sessions: Vec<_> = self.calls.iter().filter(|call| call.is_session()).collect();
        let modified = self.rng.choice(sessions)?;
        Some(vec![session_event(modified, Action::Modified, None)])
    }

    fn stop(&mut self, call: usize) -> Vec<Effect> {
        let call = self.calls.remove(call);
        let event = session_event(&call, Action::Stopped, None);
        vec![event, self.presence_of(call.from), self.presence_of(call.to)]
    }

    /// Lets a random call fail, with a reason that matches the callee's state.
    fn fail_call(&mut self) -> Option<Vec<Effect>> {
        let from = self.choose_endpoint(Self::is_idle)?;
        let to = self.choose_endpoint(|_, it| it != from)?;
        let reason = match (self.is_registered(to), self.call_of(to)) {
            (false, _) => Some("callee is not registered"),
            (true, Some(_)) => Some("callee is busy"),
            (true, None) => self.rng.choice(CALL_FAILURES),
        };
        let call = ActiveCall { id: self.new_session_id(), from, to, state: CallState::Ringing, is_placed: false };
        Some(vec![session_event(&call, Action::Failed, reason)])
    }

    fn registration_event(&self, endpoint: usize, action: Action) -> Effect {
        let EndpointProfile { id, app_context, .. } = ENDPOINTS[endpoint];
        let topic = EventTopic { subject: Subject::Registration, action, from: id };
        let address = self.registrations[endpoint];
        Effect::Event(SimulatedEvent { topic, app_context, reason: None, address, session_id: None })
    }

    fn presence_of(&self, endpoint: usize) -> Effect {
        let EndpointProfile { id, alias, app_context } = ENDPOINTS[endpoint];
        let is_busy = self.call_of(endpoint).is_some_and(ActiveCall::is_session);
        let state = if is_busy { "busy" } else { "available" };
        let registration = self.registrations[endpoint].map(|address| (address, state));
        Effect::Presence(PresenceChange { endpoint: id, alias, app_context, registration })
    }
}

fn session_event(call: &ActiveCall, action: Action, reason: Option<&'static str>) -> Effect {
    let EndpointProfile { id: from, app_context, .. } = ENDPOINTS[call.from];
    let topic = EventTopic { subject: Subject::Session { to: ENDPOINTS[call.to].id }, action, from };
    Effect::Event(SimulatedEvent { topic, app_context, reason, address: None, session_id: Some(call.id.clone()) })
}
