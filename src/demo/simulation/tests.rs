//! Tests of the simulation: requests, failures, and the consistency of all effects.

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
    let state = CallState::Session { steps_left: 2 };
    simulation.start(ActiveCall { id: "ordinary".to_owned(), from: 0, to: 2, state, is_placed: false });
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
