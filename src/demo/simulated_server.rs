//! The simulated Rtcomm server: publishes the [`simulation`](super::simulation), and replies to requests.
//!
//! One thread does both, so that replies match the state of the simulation and events stay in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::ZonedDateTime;
use serde::Serialize;
use serde_json::value::RawValue;

use super::embedded_broker::{BrokerMessage, EmbeddedBroker};
use super::hooks::has_allowed_depth;
use super::simulation::{CallRequest, Effect, Presence, SimulatedEvent, Simulation};
use super::{CallBehavior, registered_topic, services};
use crate::protocol::fields::{Field, Fields};
use crate::protocol::presence::Document;
use crate::protocol::topic::{TopicName, Topics};
use crate::protocol::{VERSION, call, event};

/// The `method` of a query for the services of a server.
const SERVICE_QUERY: &str = "SERVICE_QUERY";

/// Maximum wait. The clock may not represent later times.
const MAX_WAIT: Duration = Duration::from_hours(100 * 365 * 24);

/// Interval for checking the stop flag.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A simulated Rtcomm server.
pub(super) struct SimulatedServer {
    broker: EmbeddedBroker,
    simulation: Simulation,
    topics: Topics,
    calls: CallBehavior,
    interval: Duration,
    /// Delayed call requests, with the time to reply.
    delayed: VecDeque<(Instant, BrokerMessage)>,
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
    /// As in the request: a number stays a number.
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
        Self { broker, simulation, topics, calls, interval, delayed: VecDeque::new() }
    }

    /// Serves until `stop` is set.
    ///
    /// # Errors
    /// If the broker is gone.
    pub(super) fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let mut next_step = Instant::now() + self.interval;
        while !stop.load(Ordering::Relaxed) {
            let next_reply = self.delayed.front().map_or(next_step, |(due, _)| *due);
            let wake = next_step.min(next_reply).min(Instant::now() + STOP_POLL_INTERVAL);
            if let Some(message) = self.broker.receive_until(wake)? {
                self.receive(message)?;
            }
            while let Some(message) = self.take_due() {
                self.reply_to_call(&message)?;
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
    fn publish_presence(&mut self, presence: &Presence) -> Result<()> {
        let &Presence { endpoint, alias, app_context, registration } = presence;
        let document = registration.map_or_else(String::new, |(address, state)| {
            let address_topic = &registered_topic(&self.topics, address);
            Document { address_topic, app_context, state, alias }.payload()
        });
        let topic = self.topics.sphere().child(endpoint);
        self.broker.publish(topic.as_str(), document, true)
    }

    fn receive(&mut self, message: BrokerMessage) -> Result<()> {
        if self.topics.management().strip(&message.topic).is_some() {
            return self.reply_to_query(&message);
        }
        match self.calls {
            CallBehavior::Answer | CallBehavior::Fail => self.reply_to_call(&message),
            CallBehavior::Silent => Ok(()),
            CallBehavior::Delay(delay) => {
                self.delayed.push_back((Instant::now() + delay.min(MAX_WAIT), message));
                Ok(())
            }
        }
    }

    fn take_due(&mut self) -> Option<BrokerMessage> {
        let (due, _) = self.delayed.front()?;
        if *due > Instant::now() {
            return None;
        }
        self.delayed.pop_front().map(|(_, message)| message)
    }

    /// Replies to a call request, and publishes the effects. Ignores requests without a reply topic or a transaction ID.
    fn reply_to_call(&mut self, message: &BrokerMessage) -> Result<()> {
        let Ok(fields) = Fields::read(&message.payload) else { return Ok(()) };
        let Some((topic, trans_id)) = reply_address(&fields) else { return Ok(()) };
        let registrations = self.simulation.register_always_idle();
        self.publish(registrations)?;
        let outcome = match self.calls {
            CallBehavior::Fail => Err("the demo was started with --calls fail".to_owned()),
            _ => place_call(&mut self.simulation, &fields),
        };
        let result = if outcome.is_ok() { "SUCCESS" } else { "FAILURE" };
        let reason = outcome.as_ref().err().map(String::as_str);
        let response = Response { reason, ..Response::new(call::METHOD, trans_id, result) };
        self.broker.publish(topic.as_str(), serde_json::to_string(&response)?, false)?;
        self.publish(outcome.unwrap_or_default())
    }

    /// Replies to a service query to any endpoint.
    fn reply_to_query(&mut self, message: &BrokerMessage) -> Result<()> {
        let Ok(fields) = Fields::read(&message.payload) else { return Ok(()) };
        if !is(fields.method, SERVICE_QUERY) {
            return Ok(());
        }
        let Some((topic, trans_id)) = reply_address(&fields) else { return Ok(()) };
        let services = Some(services(&self.topics));
        let response = Response { services, ..Response::new(SERVICE_QUERY, trans_id, "SUCCESS") };
        self.broker.publish(topic.as_str(), serde_json::to_string(&response)?, false)
    }
}

impl<'a> Response<'a> {
    fn new(orig: &'static str, trans_id: &'a RawValue, result: &'static str) -> Self {
        Self { method: call::RESPONSE, orig, version: VERSION, trans_id, result, reason: None, services: None }
    }
}

/// Reads a request, and places the call in the simulation.
fn place_call(simulation: &mut Simulation, fields: &Fields<'_>) -> Result<Vec<Effect>, String> {
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

/// Returns the reply topic, if it can be published to, and the transaction ID as in the request.
fn reply_address<'a>(fields: &Fields<'a>) -> Option<(TopicName, &'a RawValue)> {
    let topic: TopicName = fields.from_topic?.text().parse().ok()?;
    let trans_id = serde_json::from_str(fields.trans_id?.json()).ok()?;
    has_allowed_depth(topic.as_str()).then_some((topic, trans_id))
}

fn is(field: Option<Field<'_>>, text: &str) -> bool {
    field.is_some_and(|it| it.is(text))
}
