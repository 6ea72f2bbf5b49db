//! The simulated Rtcomm server: tells the [`world`](super::world) to the broker, and answers requests.
//!
//! One thread does both, so that an answer is the world's as it stands and events keep their order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::ZonedDateTime;
use serde::Serialize;
use serde_json::value::RawValue;

use super::broker::{Link, Message};
use super::guard;
use super::world::{CallRequest, Event, Happening, Presence, World};
use super::{Calls, registered_topic, services};
use crate::protocol::fields::{Field, Fields};
use crate::protocol::presence::Document;
use crate::protocol::topic::{TopicName, Topics};
use crate::protocol::{VERSION, call, event};

/// The `method` of the question which services a server has.
const SERVICE_QUERY: &str = "SERVICE_QUERY";

/// The longest wait. Beyond it the clock may not reach.
const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// How soon the server sees that it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// A server at work.
pub(super) struct Server {
    link: Link,
    world: World,
    topics: Topics,
    calls: Calls,
    interval: Duration,
    /// Requests for calls that wait for their answer, and until when.
    waiting: VecDeque<(Instant, Message)>,
}

/// An event's payload, keys in the order of the protocol's table.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventPayload<'a> {
    method: &'static str,
    rtcomm_ver: &'static str,
    timestamp: String,
    app_context: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reg_topic: Option<String>,
    #[serde(rename = "sigSessID", skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
}

/// An answer's payload.
#[derive(Serialize)]
struct Response<'a> {
    method: &'static str,
    orig: &'static str,
    #[serde(rename = "rtcommVer")]
    version: &'static str,
    /// As it came: a number stays a number.
    #[serde(rename = "transID")]
    trans_id: &'a RawValue,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<serde_json::Value>,
}

impl Server {
    /// Sets a server up, subscribed to its topics.
    pub(super) fn new(link: Link, seed: u64, topics: Topics, calls: Calls, interval: Duration) -> Result<Self> {
        let (world, interval) = (World::new(seed), interval.min(A_CENTURY));
        let mut server = Self { link, world, topics, calls, interval, waiting: VecDeque::new() };
        server.link.subscribe(&server.topics.calls.and_below())?;
        server.link.subscribe(&server.topics.management().everything())?;
        Ok(server)
    }

    /// Serves until `stop` is set.
    ///
    /// # Errors
    /// Where the broker is gone.
    pub(super) fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let mut next_step = Instant::now() + self.interval;
        while !stop.load(Ordering::Relaxed) {
            let next_answer = self.waiting.front().map_or(next_step, |(due, _)| *due);
            let wake = next_step.min(next_answer).min(Instant::now() + STOP_CHECK);
            if let Some(message) = self.link.receive_until(wake)? {
                self.receive(message)?;
            }
            while let Some(message) = self.take_due() {
                self.answer_call(&message)?;
            }
            let now = Instant::now();
            if next_step <= now {
                let happened = self.world.step();
                self.tell(happened)?;
                // After a pause, such as the machine's sleep, life goes on; it does not catch up.
                next_step = now.max(next_step + self.interval);
            }
        }
        Ok(())
    }

    fn tell(&mut self, happened: Vec<Happening>) -> Result<()> {
        happened.into_iter().try_for_each(|it| match it {
            Happening::Event(event) => self.tell_event(&event),
            Happening::Presence(presence) => self.tell_presence(&presence),
        })
    }

    fn tell_event(&mut self, event: &Event) -> Result<()> {
        let payload = EventPayload {
            method: event::METHOD,
            rtcomm_ver: VERSION,
            timestamp: ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            app_context: event.app_context,
            reason: event.reason,
            reg_topic: event.address.map(|number| registered_topic(&self.topics, number)),
            session_id: event.session_id.as_deref(),
        };
        let topic = event.topic.under(&self.topics.events);
        self.link.publish(&topic, serde_json::to_string(&payload)?, false)
    }

    /// A retained document says who is there; an empty one takes it back.
    fn tell_presence(&mut self, presence: &Presence) -> Result<()> {
        let &Presence { endpoint, alias, app_context, registration } = presence;
        let document = registration.map_or_else(String::new, |(address, state)| {
            let address_topic = &registered_topic(&self.topics, address);
            Document { address_topic, app_context, state, alias }.payload()
        });
        let topic = self.topics.sphere().child(endpoint);
        self.link.publish(topic.as_str(), document, true)
    }

    fn receive(&mut self, message: Message) -> Result<()> {
        if self.topics.management().strip(&message.topic).is_some() {
            return self.answer_query(&message);
        }
        match self.calls {
            Calls::Answer | Calls::Fail => self.answer_call(&message),
            Calls::Silent => Ok(()),
            Calls::Delay(delay) => {
                self.waiting.push_back((Instant::now() + delay.min(A_CENTURY), message));
                Ok(())
            }
        }
    }

    fn take_due(&mut self) -> Option<Message> {
        let (due, _) = self.waiting.front()?;
        if *due > Instant::now() {
            return None;
        }
        self.waiting.pop_front().map(|(_, message)| message)
    }

    /// Answers a request for a call, and tells what comes of it. What says neither where to answer nor whom gets none.
    fn answer_call(&mut self, message: &Message) -> Result<()> {
        let Ok(fields) = Fields::read(&message.payload) else { return Ok(()) };
        let Some((topic, trans_id)) = reply_address(&fields) else { return Ok(()) };
        let entrance = self.world.hurry();
        self.tell(entrance)?;
        let outcome = match self.calls {
            Calls::Fail => Err("this service was started to refuse every call".to_owned()),
            _ => place_call(&mut self.world, &fields),
        };
        let result = if outcome.is_ok() { "SUCCESS" } else { "FAILURE" };
        let reason = outcome.as_ref().err().map(String::as_str);
        let response = Response { reason, ..Response::new(call::METHOD, trans_id, result) };
        self.link.publish(topic.as_str(), serde_json::to_string(&response)?, false)?;
        self.tell(outcome.unwrap_or_default())
    }

    /// Answers which services there are, whichever endpoint was asked.
    fn answer_query(&mut self, message: &Message) -> Result<()> {
        let Ok(fields) = Fields::read(&message.payload) else { return Ok(()) };
        if !is(fields.method, SERVICE_QUERY) {
            return Ok(());
        }
        let Some((topic, trans_id)) = reply_address(&fields) else { return Ok(()) };
        let services = Some(services(&self.topics));
        let response = Response { services, ..Response::new(SERVICE_QUERY, trans_id, "SUCCESS") };
        self.link.publish(topic.as_str(), serde_json::to_string(&response)?, false)
    }
}

impl<'a> Response<'a> {
    fn new(orig: &'static str, trans_id: &'a RawValue, result: &'static str) -> Self {
        Self { method: call::RESPONSE, orig, version: VERSION, trans_id, result, reason: None, services: None }
    }
}

/// Reads a request, and asks the world for the call.
fn place_call(world: &mut World, fields: &Fields<'_>) -> Result<Vec<Happening>, String> {
    if !is(fields.method, call::METHOD) {
        return Err(format!("method is not {}", call::METHOD));
    }
    world.place_call(&CallRequest {
        caller: &fields.caller.ok_or("callerEndpoint is missing")?.text(),
        callee: &fields.callee.ok_or("calleeEndpoint is missing")?.text(),
        session_id: fields.session_id.map(Field::text).as_deref(),
        app_context: fields.app_context.map(Field::text).as_deref(),
    })
}

/// Where to answer and what to say it answers: a topic that can be published to, and the transaction as it came.
fn reply_address<'a>(fields: &Fields<'a>) -> Option<(TopicName, &'a RawValue)> {
    let topic: TopicName = fields.from_topic?.text().parse().ok()?;
    let trans_id = serde_json::from_str(fields.trans_id?.json()).ok()?;
    guard::can_carry(&topic).then_some((topic, trans_id))
}

fn is(field: Option<Field<'_>>, text: &str) -> bool {
    field.is_some_and(|it| it.is(text))
}
