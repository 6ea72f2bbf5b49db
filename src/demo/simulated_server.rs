//! The simulated Rtcomm server: publishes the [`simulation`](super::simulation), and replies to requests.
//!
//! One thread does both, so that replies match the state of the simulation and events stay in order. A call request is
//! answered once the session has started or failed (protocol, section 4).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::ZonedDateTime;
use serde::Serialize;
use serde_json::value::RawValue;

use super::embedded_broker::{BrokerMessage, EmbeddedBroker};
use super::error::DemoError;
use super::hooks::has_allowed_depth;
use super::simulation::{CallRequest, Effect, PresenceChange, RingingCall, SimulatedEvent, Simulation};
use super::{CallBehavior, registered_topic, services};
use crate::protocol::fields::{Field, Fields};
use crate::protocol::presence::Document;
use crate::protocol::topic::{TopicName, Topics};
use crate::protocol::{VERSION, call, event, service};

/// Maximum wait. The clock may not represent later times.
const MAX_WAIT: Duration = Duration::from_hours(100 * 365 * 24);

/// Interval for checking the stop flag.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Time from a call request until the callee answers or the call fails.
const RINGING_TIME: Duration = Duration::from_millis(200);

/// A simulated Rtcomm server.
pub(super) struct SimulatedServer {
    broker: EmbeddedBroker,
    simulation: Simulation,
    topics: Topics,
    calls: CallBehavior,
    interval: Duration,
    /// Call requests without a reply, in the order of their times.
    pending: VecDeque<PendingReply>,
}

/// A call request without a reply.
struct PendingReply {
    /// When to reply.
    due: Instant,
    reply_to: ReplyAddress,
    /// The call, or why it is not possible.
    call: Result<RingingCall, String>,
}

/// Where a reply goes.
struct ReplyAddress {
    topic: TopicName,
    /// The transaction ID as in the request: a number stays a number.
    trans_id: Box<RawValue>,
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

/// The payload of a reply.
#[derive(Serialize)]
struct Response<'a> {
    method: &'static str,
    orig: &'static str,
    #[serde(rename = "rtcommVer")]
    version: &'static str,
    #[serde(rename = "transID")]
    trans_id: &'a RawValue,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<serde_json::Value>,
}

impl SimulatedServer {
    /// Makes a server. The broker must deliver requests to this process.
    pub(super) fn new(
        broker: EmbeddedBroker,
        seed: u64,
        topics: Topics,
        calls: CallBehavior,
        interval: Duration,
    ) -> Self {
        let (simulation, interval) = (Simulation::new(seed), interval.min(MAX_WAIT));
        Self { broker, simulation, topics, calls, interval, pending: VecDeque::new() }
    }

    /// Serves until `stop` is set.
    ///
    /// # Errors
    /// If the broker is gone, or does not publish a message.
    pub(super) fn run(mut self, stop: &AtomicBool) -> Result<(), DemoError> {
        let mut next_step = Instant::now() + self.interval;
        while !stop.load(Ordering::Relaxed) {
            let next_reply = self.pending.front().map_or(next_step, |pending| pending.due);
            let wake = next_step.min(next_reply).min(Instant::now() + STOP_POLL_INTERVAL);
            if let Some(message) = self.broker.receive_until(wake)? {
                self.receive(&message)?;
            }
            while let Some(pending) = self.pending.pop_front_if(|pending| pending.due <= Instant::now()) {
                self.reply_to_call(&pending)?;
            }
            let now = Instant::now();
            if next_step <= now {
                let effects = self.simulation.step();
                self.publish(effects)?;
                // After a pause, such as suspend, continue without catching up.
                next_step = now.max(next_step + self.interval);
            }
        }
        Ok(())
    }

    fn publish(&mut self, effects: Vec<Effect>) -> Result<()> {
        effects.into_iter().try_for_each(|it| match it {
            Effect::Event(event) => self.publish_event(&event),
            Effect::Presence(presence) => self.publish_presence(&presence),
        })
    }

    fn publish_event(&mut self, event: &SimulatedEvent) -> Result<()> {
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
        self.broker.publish(&topic, serde_json::to_string(&payload)?, false)
    }

    /// Publishes a retained document, or an empty payload, which removes it.
    fn publish_presence(&mut self, presence: &PresenceChange) -> Result<()> {
        let &PresenceChange { endpoint, alias, app_context, registration } = presence;
        let document = registration.map_or_else(String::new, |(address, state)| {
            let address_topic = &registered_topic(&self.topics, address);
            Document { address_topic, app_context, state, alias }.payload()
        });
        let topic = self.topics.sphere().child(endpoint);
        self.broker.publish(topic.as_str(), document, true)
    }

    fn receive(&mut self, message: &BrokerMessage) -> Result<()> {
        if self.topics.management().strip(&message.topic).is_some() {
            return self.reply_to_query(message);
        }
        match self.calls {
            CallBehavior::Silent => Ok(()),
            CallBehavior::Answer | CallBehavior::Fail | CallBehavior::Delay(_) => self.receive_call(message),
        }
    }

    /// Places a call. Ignores requests without a reply topic or a transaction ID.
    fn receive_call(&mut self, message: &BrokerMessage) -> Result<()> {
        let Ok(fields) = Fields::read(&message.payload) else { return Ok(()) };
        let Some(reply_to) = ReplyAddress::read(&fields) else { return Ok(()) };
        let registrations = self.simulation.register_always_idle();
        self.publish(registrations)?;
        let call = match place_call(&mut self.simulation, &fields) {
            Ok((mut call, others)) => {
                self.publish(others)?;
                if self.calls == CallBehavior::Fail {
                    call.failure = Some("the demo rejects every call");
                }
                Ok(call)
            }
            Err(reason) => Err(reason),
        };
        let wait = match (self.calls, &call) {
            (CallBehavior::Delay(delay), _) => delay.min(MAX_WAIT),
            (_, Ok(_)) => RINGING_TIME,
            (_, Err(_)) => Duration::ZERO,
        };
        let due = Instant::now() + wait;
        let index = self.pending.partition_point(|earlier| earlier.due <= due);
        self.pending.insert(index, PendingReply { due, reply_to, call });
        Ok(())
    }

    /// Ends the ringing of a call, publishes the events, and replies with the outcome.
    fn reply_to_call(&mut self, PendingReply { reply_to, call, .. }: &PendingReply) -> Result<()> {
        let failure = match call {
            Ok(call) => {
                let effects = self.simulation.end_ringing(call);
                self.publish(effects)?;
                call.failure
            }
            Err(reason) => Some(reason.as_str()),
        };
        let result = if failure.is_none() { "SUCCESS" } else { "FAILURE" };
        self.reply(reply_to, &Response { reason: failure, ..Response::new(call::METHOD, reply_to, result) })
    }

    /// Replies to a service query to any endpoint.
    fn reply_to_query(&mut self, message: &BrokerMessage) -> Result<()> {
        let Ok(fields) = Fields::read(&message.payload) else { return Ok(()) };
        if !is(fields.method, service::METHOD) {
            return Ok(());
        }
        let Some(reply_to) = ReplyAddress::read(&fields) else { return Ok(()) };
        let services = Some(services(&self.topics));
        self.reply(&reply_to, &Response { services, ..Response::new(service::METHOD, &reply_to, "SUCCESS") })
    }

    fn reply(&self, to: &ReplyAddress, response: &Response<'_>) -> Result<()> {
        self.broker.publish(to.topic.as_str(), serde_json::to_string(response)?, false)
    }
}

impl ReplyAddress {
    /// Returns the address in a request, if it has a transaction ID and a topic that can be published to.
    fn read(fields: &Fields<'_>) -> Option<Self> {
        let topic: TopicName = fields.from_topic?.text().parse().ok()?;
        let trans_id = serde_json::from_str(fields.trans_id?.json()).ok()?;
        has_allowed_depth(topic.as_str()).then_some(Self { topic, trans_id })
    }
}

impl<'a> Response<'a> {
    fn new(orig: &'static str, to: &'a ReplyAddress, result: &'static str) -> Self {
        let trans_id = &to.trans_id;
        Self { method: call::RESPONSE, orig, version: VERSION, trans_id, result, reason: None, services: None }
    }
}

/// Reads a request, and places the call in the simulation. Also returns the effects on other calls.
fn place_call(simulation: &mut Simulation, fields: &Fields<'_>) -> Result<(RingingCall, Vec<Effect>), String> {
    if !is(fields.method, call::METHOD) {
        return Err(format!("method is not {}", call::METHOD));
    }
    simulation.place_call(&CallRequest {
        caller: &fields.caller.ok_or("callerEndpoint is missing")?.text(),
        callee: &fields.callee.ok_or("calleeEndpoint is missing")?.text(),
        session_id: fields.session_id.map(Field::text).as_deref(),
        app_context: fields.app_context.map(Field::text).as_deref(),
    })
}

fn is(field: Option<Field<'_>>, text: &str) -> bool {
    field.is_some_and(|it| it.is(text))
}
