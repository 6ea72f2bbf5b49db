//! Simulated endpoints that register, call each other and hang up.
//!
//! This is a state machine with a seeded random generator: no clock and no network. The same seed and the same requests
//! give the same effects.

use fastrand::Rng;

use crate::protocol::topic::{Action, EventTopic, Subject};

const VIDEO: &str = "XYZ video app";
const SUPPORT: &str = "ABC support line";

/// The simulated endpoints. The first [`ALWAYS_IDLE`] are those in the examples of the documentation.
const ENDPOINTS: [Profile; 10] = [
    Profile { id: "iggy_pop", alias: "Iggy Pop", app_context: VIDEO },
    Profile { id: "david_bowie", alias: "David Bowie", app_context: VIDEO },
    Profile { id: "mick_jagger", alias: "Mick Jagger", app_context: VIDEO },
    Profile { id: "Danko Jones", alias: "Danko Jones", app_context: SUPPORT },
    Profile { id: "joan_jett", alias: "Joan Jett", app_context: SUPPORT },
    Profile { id: "sip:dankojones@xyz.com", alias: "Danko Jones, at his desk", app_context: VIDEO },
    Profile { id: "björk", alias: "Björk Guðmundsdóttir", app_context: VIDEO },
    Profile { id: "patti_smith", alias: "Patti Smith", app_context: SUPPORT },
    Profile { id: "lemmy", alias: "Lemmy Kilmister", app_context: SUPPORT },
    Profile { id: "debbie_harry", alias: "Debbie Harry", app_context: VIDEO },
];

/// Number of endpoints that can always take a third-party call.
///
/// They register first, stay registered, and end other calls for it. The other endpoints may be busy or not registered.
const ALWAYS_IDLE: usize = 2;

/// Why a call to an idle endpoint fails.
const CALL_FAILURES: [&str; 4] =
    ["callee is unreachable", "call was declined", "no answer", "media negotiation failed"];
const REGISTRATION_FAILURES: [&str; 2] = ["credentials were refused", "too many registrations"];

/// One in this many third-party calls fails, unless both endpoints are always idle.
const PLACED_CALLS_PER_FAILURE: u32 = 4;

/// The fixed properties of an endpoint.
#[derive(Debug)]
struct Profile {
    id: &'static str,
    alias: &'static str,
    app_context: &'static str,
}

/// An effect of a step, to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// An event (protocol, section 3).
    Event(SimulatedEvent),
    /// A changed presence document (protocol, section 6).
    Presence(Presence),
}

/// The topic of an event, and the variable parts of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SimulatedEvent {
    /// Category, action and endpoints.
    pub(super) topic: EventTopic<'static>,
    /// The application.
    pub(super) app_context: &'static str,
    /// Why it failed.
    pub(super) reason: Option<&'static str>,
    /// The registration number, which is the last level of the registered topic.
    pub(super) address: Option<u32>,
    /// The session ID.
    pub(super) session_id: Option<String>,
}

/// The content of an endpoint's presence document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Presence {
    /// The endpoint.
    pub(super) endpoint: &'static str,
    /// The display name.
    pub(super) alias: &'static str,
    /// The application that it is registered for.
    pub(super) app_context: &'static str,
    /// The registration number and state, or `None` if the endpoint is no longer registered.
    pub(super) registration: Option<(u32, &'static str)>,
}

/// A third-party call request.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallRequest<'a> {
    /// The endpoint that calls.
    pub(super) caller: &'a str,
    /// The endpoint that is called.
    pub(super) callee: &'a str,
    /// The requested session ID.
    pub(super) session_id: Option<&'a str>,
    /// The application that both endpoints must be registered for.
    pub(super) app_context: Option<&'a str>,
}

/// A third-party call that the callee has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RingingCall {
    session_id: String,
    /// Why the call will fail, or `None` if the callee will answer.
    pub(super) failure: Option<&'static str>,
}

/// A session, or a call that becomes one. Endpoints are indexes of [`ENDPOINTS`].
#[derive(Debug)]
struct ActiveCall {
    id: String,
    from: usize,
    to: usize,
    stage: Stage,
    /// Whether it is a third-party call, which no later call may end.
    is_placed: bool,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
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
        self.stage != Stage::Ringing
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
            if let Stage::Session { steps_left } = &mut call.stage {
                *steps_left = steps_left.saturating_sub(1);
            }
        }
        if let Some(ended) = self.calls.iter().position(|call| call.stage == Stage::Session { steps_left: 0 }) {
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

    /// Places a third-party call: the callee's telephone rings, until [`Simulation::end_ringing`].
    ///
    /// The effects are those on other calls.
    ///
    /// # Errors
    /// If the call is not possible; returns the reason for the reply.
    pub(super) fn place_call(&mut self, request: &CallRequest<'_>) -> Result<(RingingCall, Vec<Effect>), String> {
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
        self.calls.push(ActiveCall { id: id.clone(), from, to, stage: Stage::Ringing, is_placed: true });
        Ok((RingingCall { session_id: id, failure }, effects))
    }

    /// Lets the callee of a third-party call answer, or the call fail.
    pub(super) fn end_ringing(&mut self, call: &RingingCall) -> Vec<Effect> {
        let is_it = |it: &ActiveCall| it.stage == Stage::Ringing && it.id == call.session_id;
        let Some(index) = self.calls.iter().position(is_it) else { return Vec::new() };
        let ended = self.calls.remove(index);
        if let Some(reason) = call.failure {
            return vec![session_event(&ended, Action::Failed, Some(reason))];
        }
        let steps_left = self.rng.u32(2..=3);
        self.start(ActiveCall { stage: Stage::Session { steps_left }, ..ended })
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
        Some(self.start(ActiveCall { id, from, to, stage: Stage::Session { steps_left }, is_placed: false }))
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
        let call = ActiveCall { id: self.new_session_id(), from, to, stage: Stage::Ringing, is_placed: false };
        Some(vec![session_event(&call, Action::Failed, reason)])
    }

    fn registration_event(&self, endpoint: usize, action: Action) -> Effect {
        let Profile { id, app_context, .. } = ENDPOINTS[endpoint];
        let topic = EventTopic { subject: Subject::Registration, action, from: id };
        let address = self.registrations[endpoint];
        Effect::Event(SimulatedEvent { topic, app_context, reason: None, address, session_id: None })
    }

    fn presence_of(&self, endpoint: usize) -> Effect {
        let Profile { id, alias, app_context } = ENDPOINTS[endpoint];
        let is_busy = self.call_of(endpoint).is_some_and(ActiveCall::is_session);
        let state = if is_busy { "busy" } else { "available" };
        let registration = self.registrations[endpoint].map(|address| (address, state));
        Effect::Presence(Presence { endpoint: id, alias, app_context, registration })
    }
}

fn session_event(call: &ActiveCall, action: Action, reason: Option<&'static str>) -> Effect {
    let Profile { id: from, app_context, .. } = ENDPOINTS[call.from];
    let topic = EventTopic { subject: Subject::Session { to: ENDPOINTS[call.to].id }, action, from };
    Effect::Event(SimulatedEvent { topic, app_context, reason, address: None, session_id: Some(call.id.clone()) })
}

#[cfg(test)]
mod tests {
    use std::collections::{HashSet, VecDeque};

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::topic::Category;

    fn request<'a>(from: &'a str, to: &'a str) -> CallRequest<'a> {
        CallRequest { caller: from, callee: to, session_id: None, app_context: None }
    }

    /// Returns a simulation in which the always idle endpoints are registered.
    fn begun(seed: u64) -> Simulation {
        let mut simulation = Simulation::new(seed);
        simulation.register_always_idle();
        simulation
    }

    /// Returns a simulation in which all endpoints have registered.
    fn settled(seed: u64) -> Simulation {
        let mut simulation = Simulation::new(seed);
        while simulation.introduced < ENDPOINTS.len() {
            simulation.step();
        }
        simulation
    }

    fn actions(effects: &[Effect]) -> Vec<Action> {
        let action = |it: &Effect| match it {
            Effect::Event(event) => Some(event.topic.action),
            Effect::Presence(_) => None,
        };
        effects.iter().filter_map(action).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_effects() {
        let effects = |seed| {
            let mut simulation = Simulation::new(seed);
            (0..200).flat_map(|_| simulation.step()).collect::<Vec<_>>()
        };
        assert_eq!(effects(7), effects(7));
        assert_ne!(effects(7), effects(8));
    }

    #[test]
    fn all_endpoints_register_first() {
        let mut simulation = Simulation::new(1);
        for profile in &ENDPOINTS {
            let effects = simulation.step();
            assert!(matches!(&effects[0], Effect::Event(event)
                if event.topic.from == profile.id && event.topic.action == Action::Started));
        }
    }

    #[test]
    fn a_placed_call_starts_a_session_of_the_requested_id_which_stops_soon() {
        let mut simulation = begun(1);
        let request = CallRequest { session_id: Some("100"), ..request("iggy_pop", "david_bowie") };
        let (call, others) = simulation.place_call(&request).expect("both are idle");
        assert_eq!((call.failure, actions(&others)), (None, vec![]));
        (0..5).for_each(|_| drop(simulation.step()));
        let started = simulation.end_ringing(&call);
        assert!(matches!(&started[0], Effect::Event(event)
            if event.topic.action == Action::Started && event.session_id.as_deref() == Some("100")));
        let stopped = (0..3).flat_map(|_| simulation.step()).any(|it| {
            matches!(it, Effect::Event(event)
                if event.topic.action == Action::Stopped && event.session_id.as_deref() == Some("100"))
        });
        assert!(stopped);
    }

    #[test]
    fn an_impossible_call_is_refused_with_a_reason() {
        let mut simulation = begun(1);
        let refusal = |simulation: &mut Simulation, request| simulation.place_call(&request).expect_err("no call");
        assert_eq!(refusal(&mut simulation, request("iggy_pop", "nobody")), "nobody is not registered");
        assert_eq!(refusal(&mut simulation, request("lemmy", "iggy_pop")), "lemmy is not registered");
        assert_eq!(refusal(&mut simulation, request("iggy_pop", "iggy_pop")), "iggy_pop cannot call itself");
        let elsewhere = CallRequest { app_context: Some("chess"), ..request("iggy_pop", "david_bowie") };
        assert_eq!(refusal(&mut simulation, elsewhere), "iggy_pop is not registered for chess");
        simulation.place_call(&request("iggy_pop", "david_bowie")).expect("both are idle");
        assert_eq!(refusal(&mut simulation, request("iggy_pop", "david_bowie")), "iggy_pop is busy");
    }

    #[test]
    fn a_session_id_in_use_is_refused() {
        let mut simulation = settled(1);
        let same_id = |from, to| CallRequest { session_id: Some("7"), ..request(from, to) };
        simulation.place_call(&same_id("iggy_pop", "david_bowie")).expect("both are idle");
        let refusal = simulation.place_call(&same_id("mick_jagger", "lemmy")).expect_err("the ID is taken");
        assert_eq!(refusal, "session 7 exists already");
    }

    #[test]
    fn an_always_idle_endpoint_ends_its_call_for_a_placed_call_and_others_do_not() {
        let mut simulation = settled(1);
        let stage = Stage::Session { steps_left: 2 };
        simulation.start(ActiveCall { id: "ordinary".to_owned(), from: 0, to: 2, stage, is_placed: false });
        assert_eq!(simulation.place_call(&request("lemmy", "mick_jagger")), Err("mick_jagger is busy".to_owned()));
        let (call, others) = simulation.place_call(&request("iggy_pop", "david_bowie")).expect("they end their calls");
        assert_eq!(actions(&others), [Action::Stopped]);
        assert_eq!(actions(&simulation.end_ringing(&call)), [Action::Started]);
    }

    #[test]
    fn a_placed_call_can_fail_and_leaves_its_endpoints_idle() {
        let mut simulation = settled(1);
        let failed = (0..100).find_map(|_| {
            let (call, _) = simulation.place_call(&request("mick_jagger", "david_bowie")).ok()?;
            let effects = simulation.end_ringing(&call);
            while !simulation.is_idle(2) {
                simulation.step();
            }
            call.failure.map(|reason| (reason, effects))
        });
        let (reason, effects) = failed.expect("some calls fail");
        let [Effect::Event(event)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!((event.topic.action, event.reason), (Action::Failed, Some(reason)));
    }

    #[test]
    fn every_kind_of_event_occurs() {
        let mut simulation = Simulation::new(3);
        let kinds: HashSet<_> = (0..300)
            .flat_map(|_| simulation.step())
            .filter_map(|it| match it {
                Effect::Event(event) => Some((event.topic.category(), event.topic.action)),
                Effect::Presence(_) => None,
            })
            .collect();
        assert_eq!(kinds.len(), Category::ALL.len() * Action::ALL.len());
    }

    /// The state that follows from the published effects alone.
    #[derive(Default)]
    struct Observer {
        registered: HashSet<&'static str>,
        sessions: Vec<(String, [&'static str; 2])>,
        failed: HashSet<String>,
    }

    impl Observer {
        fn see(&mut self, effect: Effect) {
            match effect {
                Effect::Event(event) => match event.topic.subject {
                    Subject::Registration => self.see_registration(&event),
                    Subject::Session { to } => self.see_session(&event, to),
                },
                Effect::Presence(presence) => {
                    let is_busy = self.sessions.iter().any(|(_, parties)| parties.contains(&presence.endpoint));
                    let state = if is_busy { "busy" } else { "available" };
                    let expected = self.registered.contains(presence.endpoint).then_some(state);
                    assert_eq!(presence.registration.map(|(_, state)| state), expected);
                }
            }
        }

        fn see_registration(&mut self, event: &SimulatedEvent) {
            let from = event.topic.from;
            assert!(event.address.is_some());
            assert_eq!(event.reason.is_some(), event.topic.action == Action::Failed);
            match event.topic.action {
                Action::Started => assert!(self.registered.insert(from)),
                Action::Modified => assert!(self.registered.contains(from)),
                Action::Stopped => assert!(self.registered.remove(from)),
                Action::Failed => assert!(!self.registered.contains(from)),
            }
            assert!(self.sessions.iter().all(|(_, [a, b])| self.registered.contains(a) && self.registered.contains(b)));
        }

        fn see_session(&mut self, event: &SimulatedEvent, to: &'static str) {
            let parties = [event.topic.from, to];
            let id = event.session_id.clone().expect("a session has an ID");
            assert_ne!(parties[0], parties[1]);
            assert!(!self.failed.contains(&id));
            assert_eq!(event.reason.is_some(), event.topic.action == Action::Failed);
            let known = self.sessions.iter().position(|session| *session == (id.clone(), parties));
            match event.topic.action {
                Action::Started => {
                    assert!(parties.iter().all(|it| self.registered.contains(it)));
                    assert!(self.sessions.iter().all(|(_, talking)| parties.iter().all(|it| !talking.contains(it))));
                    self.sessions.push((id, parties));
                }
                Action::Modified => assert!(known.is_some()),
                Action::Stopped => drop(self.sessions.remove(known.expect("only what has started stops"))),
                Action::Failed => assert!(known.is_none() && self.failed.insert(id)),
            }
        }
    }

    proptest! {
        #[test]
        fn effects_are_consistent(
            seed: u64,
            requests in prop::collection::vec(prop::option::of((0..ENDPOINTS.len(), 0..ENDPOINTS.len())), 200),
        ) {
            let mut simulation = Simulation::new(seed);
            let mut observer = Observer::default();
            let mut ringing = VecDeque::new();
            for request_now in requests {
                let effects = match request_now {
                    Some((from, to)) => {
                        let mut effects = simulation.register_always_idle();
                        if let Ok((call, others)) = simulation.place_call(&request(ENDPOINTS[from].id, ENDPOINTS[to].id)) {
                            ringing.push_back(call);
                            effects.extend(others);
                        }
                        effects
                    }
                    None if simulation.rng.bool() => simulation.step(),
                    None => ringing.pop_front().map(|call| simulation.end_ringing(&call)).unwrap_or_default(),
                };
                for it in effects {
                    observer.see(it);
                }
            }
        }

        #[test]
        fn always_idle_endpoints_can_be_connected_at_any_time(seed: u64, steps in 0..300_usize) {
            let mut simulation = Simulation::new(seed);
            for _ in 0..steps {
                simulation.step();
            }
            simulation.register_always_idle();
            let (call, _) = simulation.place_call(&request("iggy_pop", "david_bowie")).expect("they are idle");
            prop_assert_eq!(call.failure, None);
            prop_assert_eq!(actions(&simulation.end_ringing(&call)), [Action::Started]);
        }
    }
}
