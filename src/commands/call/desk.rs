//! The desk that calls are placed at: one connection, one reply topic, and the calls that wait for their answers.
//!
//! The order is SUBSCRIBE, SUBACK, PUBLISH, and nothing is ever published twice: a repeated request places a second call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::result::{CallResult, Outcome};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::protocol::call::{Answer, NoReplyCause, Request, Verdict};
use crate::protocol::fields::Fields;
use crate::protocol::topic::TopicName;
use crate::transport::broker::{Options, UNCHECKED};
use crate::transport::mqtt::{Ack, Client, Handler, Hooks, OnLost, OnUnheard, Published, Purpose, Subscription};

/// How long the goodbye to the broker may take.
pub(super) const GOODBYE: Duration = Duration::from_millis(500);

/// The quality of service that replies are asked for with.
const QOS: u8 = 1;

/// Where and how calls are placed.
pub(super) struct Place {
    pub(super) options: Options,
    /// The topic that requests are published to.
    pub(super) to: TopicName,
    /// The topic that replies are asked for at.
    pub(super) from_topic: TopicName,
    /// How many bytes a reply may have.
    pub(super) max_payload: usize,
    pub(super) report: Report,
}

/// What the desk hears.
enum Step {
    /// A message on the reply topic.
    Reply { payload: Vec<u8>, retained: bool },
    /// A message on the reply topic that is larger than a reply may be: so many bytes.
    Oversized(usize),
    /// The broker's answer to the publication of a request.
    Published(Uuid, Published),
    /// The broker says that nobody subscribes to the topic of the so-manieth publication, from 0.
    Unheard(u64),
    /// The connection was lost.
    Lost,
    /// Somebody has something for the one who waits at the desk.
    Bell,
}

/// What the one who waits at the desk is told.
pub(super) enum Told {
    /// A call has come to its end.
    Called(Box<CallResult>),
    /// The connection is lost; what waits at the desk will never be answered there.
    Lost,
    /// Somebody rang the bell.
    Bell,
    /// The time is over.
    Nothing,
}

/// Wakes the one who waits at the desk.
#[derive(Clone)]
pub(super) struct Bell(Sender<Step>);

impl Bell {
    pub(super) fn ring(&self) {
        // Where nobody waits any longer nobody needs to be woken.
        let _ = self.0.send(Step::Bell);
    }
}

/// What the desk hears, before it is open: so that it can be rung from the start.
pub(super) struct Ears {
    steps: Sender<Step>,
    heard: Receiver<Step>,
}

impl Ears {
    pub(super) fn new() -> Self {
        let (steps, heard) = channel();
        Self { steps, heard }
    }

    pub(super) fn bell(&self) -> Bell {
        Bell(self.steps.clone())
    }
}

/// A call whose answer has not come.
struct Waiting {
    request: Request,
    sent: Instant,
    number: u64,
}

/// An open desk.
pub(super) struct Desk {
    client: Client,
    place: Place,
    ears: Ears,
    waiting: HashMap<Uuid, Waiting>,
    /// Which call each publication was for.
    numbers: HashMap<u64, Uuid>,
    sent: u64,
}

impl Desk {
    /// Connects, subscribes and waits for the broker to have done so.
    ///
    /// # Errors
    /// Where the broker cannot be reached or refuses: nothing was sent.
    pub(super) fn open(place: Place, ears: Ears) -> Result<Self, Failure> {
        let max_payload = place.max_payload;
        let steps = ears.steps.clone();
        // Where the desk is closed already nobody needs to hear of anything.
        let handler: Handler = Arc::new(move |packet| {
            let step = match packet.payload.len() {
                size if size > max_payload => Step::Oversized(size),
                _ => Step::Reply { payload: packet.payload.to_vec(), retained: packet.retain },
            };
            let _ = steps.send(step);
            Ack::Send
        });
        let steps = ears.steps.clone();
        let on_lost: OnLost = Arc::new(move |_| drop(steps.send(Step::Lost)));
        let steps = ears.steps.clone();
        let on_unheard: OnUnheard = Arc::new(move |number| drop(steps.send(Step::Unheard(number))));
        if place.options.tls.insecure {
            place.report.warn(UNCHECKED);
        }
        let filters = vec![place.from_topic.and_below()];
        let replies = Subscription { filters, qos: QOS, group: None, allow_partial: false };
        let purpose = Purpose::Ask(on_unheard);
        let client = Client::connect(&place.options, &replies, &purpose, &Hooks { handler, on_lost })?;
        if let Err(failure) = client.subscribe() {
            client.disconnect(GOODBYE);
            return Err(failure);
        }
        place.report.debug(format_args!("subscribed to {}, publishing to {}", replies.filters[0], place.to));
        Ok(Self { client, place, ears, waiting: HashMap::new(), numbers: HashMap::new(), sent: 0 })
    }

    /// How many calls wait for their answers.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sends a request. Its time runs from `began`.
    pub(super) fn place(&mut self, request: Request, began: Instant) {
        let (id, number) = (request.trans_id, self.sent);
        let payload = request.payload();
        self.waiting.insert(id, Waiting { request, sent: began, number });
        self.numbers.insert(number, id);
        self.sent += 1;
        let steps = self.ears.steps.clone();
        self.client.publish(&self.place.to, payload, move |published| drop(steps.send(Step::Published(id, published))));
    }

    /// Waits for something to tell, until `deadline` where there is one.
    pub(super) fn hear(&mut self, deadline: Option<Instant>) -> Told {
        loop {
            let step = match deadline {
                None => self.ears.heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => self.ears.heard.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            let told = match step {
                Ok(Step::Reply { payload, retained }) => self.replied(&payload, retained),
                Ok(Step::Oversized(size)) => {
                    self.ignored(format_args!("it has {size} bytes (--max-payload)"));
                    None
                }
                Ok(Step::Published(id, published)) => self.published(id, published),
                Ok(Step::Unheard(number)) => self.unheard(number),
                Ok(Step::Lost) => Some(Told::Lost),
                Ok(Step::Bell) => Some(Told::Bell),
                Err(_) => Some(Told::Nothing),
            };
            if let Some(told) = told {
                return told;
            }
        }
    }

    /// Gives up a call: its deadline has passed. `None` where it has come to its end before.
    pub(super) fn give_up(&mut self, id: Uuid) -> Option<Box<CallResult>> {
        let broker = self.place.options.broker.to_string();
        self.end(id, |request| timed_out(request, &broker, true))
    }

    /// Gives up every call that waits: whether it is placed will not be known here. `what` happened says why.
    pub(super) fn give_up_all(&mut self, what: &str) -> Vec<CallResult> {
        let ids: Vec<Uuid> = self.waiting.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.end(id, |request| unknown(request, what))).map(|it| *it).collect()
    }

    /// Says goodbye to the broker.
    pub(super) fn close(self) {
        self.client.disconnect(GOODBYE);
    }

    fn replied(&mut self, payload: &[u8], retained: bool) -> Option<Told> {
        let id = Fields::read(payload).ok().and_then(|it| Uuid::try_parse(&it.trans_id?.text()).ok());
        // A message that names no call of ours is held against any of them, to tell what about it is wrong.
        let waiting = id.and_then(|id| self.waiting.get(&id)).or_else(|| self.waiting.values().next());
        let Some(Waiting { request, .. }) = waiting else {
            self.ignored("no call waits for it");
            return None;
        };
        match request.reply(payload, retained) {
            Ok(answer) => {
                let outcome = answered(&answer, payload);
                let id = request.trans_id;
                self.end(id, |_| outcome).map(Told::Called)
            }
            Err(why) => {
                self.ignored(why);
                None
            }
        }
    }

    fn published(&mut self, id: Uuid, published: Published) -> Option<Told> {
        let Place { options: Options { broker, .. }, to, report, .. } = &self.place;
        match published {
            Published::Taken => {
                report.debug(format_args!("the broker took the request {id}"));
                None
            }
            Published::Denied(reason) => {
                let failure = Failure::refused(format!("{broker} refuses the publication to {to}: {reason}"))
                    .hint("check the broker's access list for this user; --as publishes to TOPIC/ENDPOINT");
                self.end(id, |_| Outcome::Unanswered(NoReplyCause::Denied, failure)).map(Told::Called)
            }
            Published::Lost => Some(Told::Lost),
        }
    }

    fn unheard(&mut self, number: u64) -> Option<Told> {
        let id = *self.numbers.get(&number)?;
        let Place { options: Options { broker, .. }, to, .. } = &self.place;
        let failure = Failure::new(Status::NoResponder, format!("nobody subscribes to {to} at {broker}"))
            .hint("is the call service running, and is this its topic? check --call-topic and --root");
        self.end(id, |_| Outcome::Unanswered(NoReplyCause::NoResponder, failure)).map(Told::Called)
    }

    fn end(&mut self, id: Uuid, outcome: impl FnOnce(&Request) -> Outcome) -> Option<Box<CallResult>> {
        let Waiting { request, sent, number } = self.waiting.remove(&id)?;
        self.numbers.remove(&number);
        let outcome = outcome(&request);
        Some(Box::new(CallResult { request, outcome, elapsed: sent.elapsed() }))
    }

    fn ignored(&self, why: impl std::fmt::Display) {
        self.place.report.debug(format_args!("ignored a message on the reply topic: {why}"));
    }
}

fn answered(answer: &Answer<'_>, payload: &[u8]) -> Outcome {
    let verdict = match answer {
        Answer::Success => Verdict::Success,
        Answer::Failure(reason) => Verdict::Failure(reason.as_ref().map(ToString::to_string)),
        Answer::Other(result) if result.is_empty() => Verdict::Failure(Some("the reply has no result".to_owned())),
        Answer::Other(result) => Verdict::Failure(Some(format!("the reply's result is {result}"))),
    };
    Outcome::Answered { verdict, response: String::from_utf8_lossy(payload).into_owned() }
}

/// The outcome of what failed before the request went out.
pub(super) fn not_sent(failure: Failure) -> Outcome {
    let why = if failure.status() == Status::Refused { NoReplyCause::Denied } else { NoReplyCause::Unreachable };
    Outcome::Unanswered(why, failure)
}

/// The outcome of a call whose deadline passed, after its request was sent or before.
pub(super) fn timed_out(request: &Request, broker: &str, is_sent: bool) -> Outcome {
    let failure = if is_sent {
        let id = request.trans_id;
        Failure::new(Status::Deadline, format!("no 3PCC service response from {broker} in time (transID {id})")).hint(
            "the caller may not have answered, or nobody serves the topic, or the broker dropped the request, which only \
             MQTT 5 brokers say. The call may still be placed; --timeout waits longer",
        )
    } else {
        Failure::new(Status::Deadline, format!("{broker} took too long: nothing was sent"))
            .hint("--timeout waits longer")
    };
    Outcome::Unanswered(NoReplyCause::Timeout, failure)
}

/// The outcome of a call of which nothing more will be heard, because of `what`.
pub(super) fn unknown(request: &Request, what: &str) -> Outcome {
    let id = request.trans_id;
    let failure = Failure::new(
        Status::Failure,
        format!("{what} before the reply came: the call may have been placed (transID {id})"),
    )
    .hint("look for the session's events before you place it again");
    Outcome::Unanswered(NoReplyCause::Unknown, failure)
}
