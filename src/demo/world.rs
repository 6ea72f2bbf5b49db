//! The simulated world that the demo's server reports on: endpoints that register, call, talk and hang up.
//!
//! A state machine over a seeded generator of chance: no clock, no topics, no network. The same seed and the same
//! requests tell the same story.

use fastrand::Rng;

use crate::protocol::topic::{Action, EventTopic, Subject};

const VIDEO: &str = "XYZ video app";
const SUPPORT: &str = "ABC support line";

/// Who lives in this world. The first [`STARS`] are the endpoints that documentation tells newcomers to call.
const CAST: [Persona; 10] = [
    Persona { id: "iggy_pop", alias: "Iggy Pop", app_context: VIDEO },
    Persona { id: "david_bowie", alias: "David Bowie", app_context: VIDEO },
    Persona { id: "mick_jagger", alias: "Mick Jagger", app_context: VIDEO },
    Persona { id: "Danko Jones", alias: "Danko Jones", app_context: SUPPORT },
    Persona { id: "joan_jett", alias: "Joan Jett", app_context: SUPPORT },
    Persona { id: "sip:dankojones@xyz.com", alias: "Danko Jones, at his desk", app_context: VIDEO },
    Persona { id: "björk", alias: "Björk Guðmundsdóttir", app_context: VIDEO },
    Persona { id: "patti_smith", alias: "Patti Smith", app_context: SUPPORT },
    Persona { id: "lemmy", alias: "Lemmy Kilmister", app_context: SUPPORT },
    Persona { id: "debbie_harry", alias: "Debbie Harry", app_context: VIDEO },
];

/// How many of the cast can always be called through the server: they enter first, never leave, and hang up on anybody
/// else for such a call. Everyone else may be out, or busy.
const STARS: usize = 2;

/// Why a call fails although its callee is there and idle.
const CALL_FAILURES: [&str; 4] =
    ["callee is unreachable", "call was declined", "no answer", "media negotiation failed"];
const REGISTRATION_FAILURES: [&str; 2] = ["credentials were refused", "too many registrations"];

/// What does not change about an endpoint.
#[derive(Debug)]
struct Persona {
    id: &'static str,
    alias: &'static str,
    app_context: &'static str,
}

/// One thing that happened, to be told in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// An event, as the protocol's section 3 has it.
    Event(Event),
    /// An endpoint's presence document is another one now, as in section 6.
    Presence(Presence),
}

/// An event's topic, and what its payload says beyond what every event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Category, action and endpoints.
    pub(super) topic: EventTopic<'static>,
    /// The application that it belongs to.
    pub(super) app_context: &'static str,
    /// Why it failed, where it did.
    pub(super) reason: Option<&'static str>,
    /// A registration's number, the last level of the topic that it registers.
    pub(super) address: Option<u32>,
    /// A session's ID.
    pub(super) session_id: Option<String>,
}

/// What an endpoint's presence document is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Presence {
    /// Whose document it is.
    pub(super) endpoint: &'static str,
    /// The endpoint's name for people.
    pub(super) alias: &'static str,
    /// The application that it is registered for.
    pub(super) app_context: &'static str,
    /// Where it listens, and its state; `None` where it is no longer registered.
    pub(super) registration: Option<(u32, &'static str)>,
}

/// A third-party request, as far as this world is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallRequest<'a> {
    /// The endpoint that is to call.
    pub(super) caller: &'a str,
    /// The endpoint that is to be called.
    pub(super) callee: &'a str,
    /// The ID that the session is to have.
    pub(super) session_id: Option<&'a str>,
    /// The application that both have to be registered for.
    pub(super) app_context: Option<&'a str>,
}

/// A session that goes on. Endpoints are places in [`CAST`].
#[derive(Debug)]
struct Call {
    id: String,
    from: usize,
    to: usize,
    steps_left: u32,
    /// Whether a third party placed it, so that not even a star hangs up for the next.
    is_placed: bool,
}

impl Call {
    fn has(&self, endpoint: usize) -> bool {
        self.from == endpoint || self.to == endpoint
    }
}

/// Everyone, and what they are doing.
#[derive(Debug)]
pub(super) struct World {
    rng: Rng,
    /// Each endpoint's registration: the number that it listens at.
    registrations: [Option<u32>; CAST.len()],
    /// In the order in which they started.
    calls: Vec<Call>,
    /// How many of the cast have made their entrance.
    entered: usize,
}

impl World {
    /// A world that nobody has entered yet.
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), registrations: [None; CAST.len()], calls: Vec::new(), entered: 0 }
    }

    /// Lets those stars enter who have not: whoever asks for a call so early finds them there.
    pub(super) fn hurry(&mut self) -> Vec<Happening> {
        (self.entered..STARS).flat_map(|_| self.enter()).collect()
    }

    /// Lets time pass until the next event. Everyone enters first; then calls end when their time has come, and what
    /// happens in between is chance.
    pub(super) fn step(&mut self) -> Vec<Happening> {
        for call in &mut self.calls {
            call.steps_left = call.steps_left.saturating_sub(1);
        }
        if let Some(ended) = self.calls.iter().position(|call| call.steps_left == 0) {
            return self.stop(ended);
        }
        if self.entered < CAST.len() {
            return self.enter();
        }
        loop {
            if let Some(happened) = self.try_something() {
                return happened;
            }
        }
    }

    fn enter(&mut self) -> Vec<Happening> {
        self.entered += 1;
        self.register(self.entered - 1)
    }

    /// One try at something that may not be possible just now. That a star changes its registration always is.
    fn try_something(&mut self) -> Option<Vec<Happening>> {
        match self.rng.u8(..16) {
            0..=6 => self.start_ordinary(),
            7..=8 => self.fail_call(),
            9..=10 => self.choose(self.calls.len()).map(|call| self.modify(call)),
            11 => self.choose(STARS).map(|star| self.change_registration(star)),
            12 => self.one_who(|it, who| it.is_idle(who) && who >= STARS).map(|it| self.unregister(it)),
            13..=14 => self.one_who(|it, who| !it.is_registered(who)).map(|it| self.register(it)),
            _ => self.one_who(|it, who| !it.is_registered(who)).map(|it| self.fail_registration(it)),
        }
    }

    /// Places a call as the world stands.
    ///
    /// # Errors
    /// The reason why it cannot be: words for the one who asked.
    pub(super) fn place_call(&mut self, request: &CallRequest<'_>) -> Result<Vec<Happening>, String> {
        let &CallRequest { caller, callee, session_id, app_context } = request;
        if caller == callee {
            return Err(format!("{caller} cannot call itself"));
        }
        let from = self.available(caller, app_context)?;
        let to = self.available(callee, app_context)?;
        if let Some(id) = session_id.filter(|&id| self.calls.iter().any(|call| call.id == id)) {
            return Err(format!("session {id} exists already"));
        }
        let mut happened = Vec::new();
        while let Some(interrupted) = self.calls.iter().position(|call| call.has(from) || call.has(to)) {
            happened.extend(self.stop(interrupted));
        }
        let id = session_id.map_or_else(|| self.new_session_id(), str::to_owned);
        let steps_left = self.rng.u32(2..=3);
        happened.extend(self.start(Call { id, from, to, steps_left, is_placed: true }));
        Ok(happened)
    }

    /// The endpoint of that name, if it can take a placed call.
    fn available(&self, name: &str, app_context: Option<&str>) -> Result<usize, String> {
        let registered = (0..CAST.len()).find(|&it| CAST[it].id == name && self.is_registered(it));
        let endpoint = registered.ok_or_else(|| format!("{name} is not registered"))?;
        if let Some(wanted) = app_context.filter(|&it| it != CAST[endpoint].app_context) {
            return Err(format!("{name} is not registered for {wanted}"));
        }
        let hangs_up = |call: &Call| endpoint < STARS && !call.is_placed;
        match self.call_of(endpoint) {
            Some(call) if !hangs_up(call) => Err(format!("{name} is busy")),
            _ => Ok(endpoint),
        }
    }

    fn is_registered(&self, endpoint: usize) -> bool {
        self.registrations[endpoint].is_some()
    }

    fn call_of(&self, endpoint: usize) -> Option<&Call> {
        self.calls.iter().find(|call| call.has(endpoint))
    }

    /// A number below `len`, if there is one.
    fn choose(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.rng.usize(..len))
    }

    fn is_idle(&self, endpoint: usize) -> bool {
        self.is_registered(endpoint) && self.call_of(endpoint).is_none()
    }

    /// One of those who are as wanted, if there is one.
    fn one_who(&mut self, is_wanted: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let wanted: Vec<_> = (0..CAST.len()).filter(|&endpoint| is_wanted(self, endpoint)).collect();
        self.rng.choice(wanted)
    }

    fn new_address(&mut self) -> u32 {
        self.rng.u32(1_000_000_000..)
    }

    fn new_session_id(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid().to_string()
    }

    fn register(&mut self, endpoint: usize) -> Vec<Happening> {
        self.registrations[endpoint] = Some(self.new_address());
        vec![self.registration_event(endpoint, Action::Started), self.presence_of(endpoint)]
    }

    /// The endpoint listens somewhere else from now on.
    fn change_registration(&mut self, endpoint: usize) -> Vec<Happening> {
        self.registrations[endpoint] = Some(self.new_address());
        vec![self.registration_event(endpoint, Action::Modified), self.presence_of(endpoint)]
    }

    fn unregister(&mut self, endpoint: usize) -> Vec<Happening> {
        let event = self.registration_event(endpoint, Action::Stopped);
        self.registrations[endpoint] = None;
        vec![event, self.presence_of(endpoint)]
    }

    fn fail_registration(&mut self, endpoint: usize) -> Vec<Happening> {
        let (reason, address) = (self.rng.choice(REGISTRATION_FAILURES), self.new_address());
        let topic = EventTopic { subject: Subject::Registration, action: Action::Failed, from: CAST[endpoint].id };
        let app_context = CAST[endpoint].app_context;
        vec![Happening::Event(Event { topic, app_context, reason, address: Some(address), session_id: None })]
    }

    /// Two of an application's endpoints begin to talk. A star keeps that short.
    fn start_ordinary(&mut self) -> Option<Vec<Happening>> {
        let from = self.one_who(Self::is_idle)?;
        let is_partner = |who: usize| who != from && CAST[who].app_context == CAST[from].app_context;
        let to = self.one_who(|it, who| it.is_idle(who) && is_partner(who))?;
        let steps_left = if from.min(to) < STARS { 2 } else { self.rng.u32(3..=7) };
        let id = self.new_session_id();
        Some(self.start(Call { id, from, to, steps_left, is_placed: false }))
    }

    fn start(&mut self, call: Call) -> Vec<Happening> {
        let event = session_event(&call, Action::Started, None);
        let (from, to) = (call.from, call.to);
        self.calls.push(call);
        vec![event, self.presence_of(from), self.presence_of(to)]
    }

    fn modify(&mut self, call: usize) -> Vec<Happening> {
        vec![session_event(&self.calls[call], Action::Modified, None)]
    }

    fn stop(&mut self, call: usize) -> Vec<Happening> {
        let call = self.calls.remove(call);
        let event = session_event(&call, Action::Stopped, None);
        vec![event, self.presence_of(call.from), self.presence_of(call.to)]
    }

    /// Somebody's call that never comes to be, for a reason that the callee's state gives or allows.
    fn fail_call(&mut self) -> Option<Vec<Happening>> {
        let from = self.one_who(Self::is_idle)?;
        let to = self.one_who(|_, who| who != from)?;
        let reason = match (self.is_registered(to), self.call_of(to)) {
            (false, _) => Some("callee is not registered"),
            (true, Some(_)) => Some("callee is busy"),
            (true, None) => self.rng.choice(CALL_FAILURES),
        };
        let call = Call { id: self.new_session_id(), from, to, steps_left: 0, is_placed: false };
        Some(vec![session_event(&call, Action::Failed, reason)])
    }

    fn registration_event(&self, endpoint: usize, action: Action) -> Happening {
        let Persona { id, app_context, .. } = CAST[endpoint];
        let topic = EventTopic { subject: Subject::Registration, action, from: id };
        let address = self.registrations[endpoint];
        Happening::Event(Event { topic, app_context, reason: None, address, session_id: None })
    }

    fn presence_of(&self, endpoint: usize) -> Happening {
        let Persona { id, alias, app_context } = CAST[endpoint];
        let state = if self.call_of(endpoint).is_some() { "busy" } else { "available" };
        let registration = self.registrations[endpoint].map(|address| (address, state));
        Happening::Presence(Presence { endpoint: id, alias, app_context, registration })
    }
}

fn session_event(call: &Call, action: Action, reason: Option<&'static str>) -> Happening {
    let Persona { id: from, app_context, .. } = CAST[call.from];
    let topic = EventTopic { subject: Subject::Session { to: CAST[call.to].id }, action, from };
    Happening::Event(Event { topic, app_context, reason, address: None, session_id: Some(call.id.clone()) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::topic::Category;

    fn request<'a>(from: &'a str, to: &'a str) -> CallRequest<'a> {
        CallRequest { caller: from, callee: to, session_id: None, app_context: None }
    }

    /// A world in which the stars have entered.
    fn begun(seed: u64) -> World {
        let mut world = World::new(seed);
        world.hurry();
        world
    }

    /// A world in which everyone has entered.
    fn settled(seed: u64) -> World {
        let mut world = World::new(seed);
        while world.entered < CAST.len() {
            world.step();
        }
        world
    }

    fn actions(happened: &[Happening]) -> Vec<Action> {
        let action = |it: &Happening| match it {
            Happening::Event(event) => Some(event.topic.action),
            Happening::Presence(_) => None,
        };
        happened.iter().filter_map(action).collect()
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let story = |seed| {
            let mut world = World::new(seed);
            (0..200).flat_map(|_| world.step()).collect::<Vec<_>>()
        };
        assert_eq!(story(7), story(7));
        assert_ne!(story(7), story(8));
    }

    #[test]
    fn everyone_enters_before_life_begins() {
        let mut world = World::new(1);
        for persona in &CAST {
            let happened = world.step();
            assert!(matches!(&happened[0], Happening::Event(event)
                if event.topic.from == persona.id && event.topic.action == Action::Started));
        }
    }

    #[test]
    fn a_placed_call_starts_a_session_of_the_requested_id_which_stops_soon() {
        let mut world = begun(1);
        let started = world.place_call(&CallRequest { session_id: Some("100"), ..request("iggy_pop", "david_bowie") });
        let started = started.expect("both are there");
        assert!(matches!(&started[0], Happening::Event(event) if event.session_id.as_deref() == Some("100")));
        let stopped = (0..3).flat_map(|_| world.step()).any(|it| {
            matches!(it, Happening::Event(event)
                if event.topic.action == Action::Stopped && event.session_id.as_deref() == Some("100"))
        });
        assert!(stopped);
    }

    #[test]
    fn a_call_that_cannot_be_is_refused_with_a_reason() {
        let mut world = begun(1);
        let refusal = |world: &mut World, request| world.place_call(&request).expect_err("no call");
        assert_eq!(refusal(&mut world, request("iggy_pop", "nobody")), "nobody is not registered");
        assert_eq!(refusal(&mut world, request("lemmy", "iggy_pop")), "lemmy is not registered");
        assert_eq!(refusal(&mut world, request("iggy_pop", "iggy_pop")), "iggy_pop cannot call itself");
        let elsewhere = CallRequest { app_context: Some("chess"), ..request("iggy_pop", "david_bowie") };
        assert_eq!(refusal(&mut world, elsewhere), "iggy_pop is not registered for chess");
        world.place_call(&request("iggy_pop", "david_bowie")).expect("both are there");
        assert_eq!(refusal(&mut world, request("iggy_pop", "david_bowie")), "iggy_pop is busy");
    }

    #[test]
    fn a_session_id_is_given_once_at_a_time() {
        let mut world = settled(1);
        let same_id = |from, to| CallRequest { session_id: Some("7"), ..request(from, to) };
        world.place_call(&same_id("iggy_pop", "david_bowie")).expect("both are there");
        let refusal = world.place_call(&same_id("mick_jagger", "lemmy")).expect_err("the ID is taken");
        assert_eq!(refusal, "session 7 exists already");
    }

    #[test]
    fn a_star_hangs_up_for_a_placed_call_and_others_do_not() {
        let mut world = settled(1);
        world.start(Call { id: "ordinary".to_owned(), from: 0, to: 2, steps_left: 2, is_placed: false });
        assert_eq!(world.place_call(&request("lemmy", "mick_jagger")), Err("mick_jagger is busy".to_owned()));
        let happened = world.place_call(&request("iggy_pop", "david_bowie")).expect("the stars hang up");
        assert_eq!(actions(&happened), [Action::Stopped, Action::Started]);
    }

    #[test]
    fn a_story_has_every_kind_of_event() {
        let mut world = World::new(3);
        let kinds: HashSet<_> = (0..300)
            .flat_map(|_| world.step())
            .filter_map(|it| match it {
                Happening::Event(event) => Some((event.topic.category(), event.topic.action)),
                Happening::Presence(_) => None,
            })
            .collect();
        assert_eq!(kinds.len(), Category::ALL.len() * Action::ALL.len());
    }

    /// What an observer of the events alone knows.
    #[derive(Default)]
    struct Observer {
        registered: HashSet<&'static str>,
        sessions: Vec<(String, [&'static str; 2])>,
        failed: HashSet<String>,
    }

    impl Observer {
        fn see(&mut self, happening: Happening) {
            match happening {
                Happening::Event(event) => match event.topic.subject {
                    Subject::Registration => self.see_registration(&event),
                    Subject::Session { to } => self.see_session(&event, to),
                },
                Happening::Presence(presence) => {
                    let is_busy = self.sessions.iter().any(|(_, parties)| parties.contains(&presence.endpoint));
                    let state = if is_busy { "busy" } else { "available" };
                    let expected = self.registered.contains(presence.endpoint).then_some(state);
                    assert_eq!(presence.registration.map(|(_, state)| state), expected);
                }
            }
        }

        fn see_registration(&mut self, event: &Event) {
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

        fn see_session(&mut self, event: &Event, to: &'static str) {
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
        fn the_story_is_consistent(
            seed: u64,
            requests in prop::collection::vec(prop::option::of((0..CAST.len(), 0..CAST.len())), 200),
        ) {
            let mut world = World::new(seed);
            let mut observer = Observer::default();
            for request_now in requests {
                let happened = match request_now {
                    Some((from, to)) => {
                        let mut happened = world.hurry();
                        happened.extend(world.place_call(&request(CAST[from].id, CAST[to].id)).unwrap_or_default());
                        happened
                    }
                    None => world.step(),
                };
                for it in happened {
                    observer.see(it);
                }
            }
        }

        #[test]
        fn the_stars_can_always_be_connected_unless_a_third_party_did_already(seed: u64, steps in 0..300_usize) {
            let mut world = World::new(seed);
            for _ in 0..steps {
                world.step();
            }
            world.hurry();
            prop_assert!(world.place_call(&request("iggy_pop", "david_bowie")).is_ok());
        }
    }
}
