//! `rtcomm call`: places one third-party call and waits for the reply.
//!
//! The order is SUBSCRIBE, SUBACK, PUBLISH, and nothing is ever published twice: a repeated request places a second call.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use super::Voice;
use crate::cli::CallArgs;
use crate::exit::{Failure, Status};
use crate::inbox::{Inbox, Notice, deadline_in};
use crate::output;
use crate::output::escape::escaped;
use crate::output::json;
use crate::output::outcome::{Called, Outcome, Verdict, Why};
use crate::output::report::Report;
use crate::protocol::call::{Answer, Request};
use crate::protocol::topic::TopicName;
use crate::transport::broker::Options;
use crate::transport::mqtt::{Acknowledgements, Client, Handler, Hooks, OnLost, Published, Subscription};

/// How long the goodbye to the broker may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// The quality of service that replies are asked for with.
const QOS: u8 = 1;

/// Places the call and prints how it went.
///
/// # Errors
/// Wrong usage, and standard output that cannot be written to; how the call went is a status, not an error.
pub(crate) fn run(args: CallArgs, voice: Voice) -> Result<Status> {
    let CallArgs {
        caller,
        callee,
        timeout,
        session_id,
        app_context,
        sender,
        reply_prefix,
        json,
        dry_run,
        connection,
        topics,
    } = args;
    let topics = topics.topics();
    let options = Options::from_args(connection)?;
    let from_topic =
        reply_prefix.unwrap_or_else(|| topics.root.child("reply")).child(&Uuid::new_v4().to_string()).to_topic();
    let request = Request { trans_id: Uuid::new_v4(), caller, callee, from_topic, session_id, app_context };
    if dry_run {
        return output::print(&format!("{}\n", request.payload()));
    }
    let to = match sender {
        Some(endpoint) => topics.calls.child(&endpoint),
        None => topics.calls,
    };
    let began = Instant::now();
    let call = Call { options, to, request: request.clone(), report: voice.report };
    let outcome = match call.place(began + timeout)? {
        Ended::Interrupted(status) => return Ok(status),
        Ended::With(outcome) => outcome,
    };
    let called = Called { request, outcome, elapsed: began.elapsed() };
    match (&called.outcome, json) {
        (_, true) => output::print(&json::called(&called))?,
        (Outcome::Answered { .. }, false) => output::print(&called.pretty())?,
        (Outcome::Unanswered(..), false) => Status::Success,
    };
    match called.outcome {
        Outcome::Unanswered(_, failure) => Err(failure.into()),
        answered @ Outcome::Answered { .. } => Ok(answered.status()),
    }
}

/// A call that is to be placed.
struct Call {
    options: Options,
    to: TopicName,
    request: Request,
    report: Report,
}

/// How the wait ended.
enum Ended {
    With(Outcome),
    Interrupted(Status),
}

/// What the thread that places the call hears.
enum Step {
    /// A message on the reply topic.
    Reply { payload: Vec<u8>, retained: bool },
    /// The broker's answer to the publication.
    Published(Published),
    /// The connection was lost.
    Lost,
    /// Nobody waits any longer.
    GiveUp,
}

/// What the thread that places the call tells.
enum News {
    /// The request is about to go out: from now on the call may be placed.
    Sending,
    /// It is over, and the connection closed.
    Done(Outcome),
    /// It was given up, and the connection closed.
    GivenUp,
}

impl Call {
    /// Places the call on a thread of its own, and waits for the outcome, the deadline or a signal.
    fn place(self, deadline: Instant) -> Result<Ended> {
        let inbox = Inbox::open()?;
        let _spinner = Spinner::start(&self.request);
        let (steps, heard) = channel();
        let (news, in_steps) = (inbox.news(), steps.clone());
        let (request, report) = (self.request.clone(), self.report);
        let broker = self.options.broker.to_string();
        std::thread::spawn(move || {
            let outcome = self.connect_and_place(in_steps, &heard, &news);
            news(outcome.map_or(News::GivenUp, News::Done));
        });
        let mut is_sent = false;
        let ended = loop {
            match inbox.next(Some(deadline)) {
                Some(Notice::News(News::Sending)) => is_sent = true,
                Some(Notice::News(News::Done(outcome))) => return Ok(Ended::With(outcome)),
                Some(Notice::ReaderGone | Notice::News(News::GivenUp)) => {}
                Some(Notice::Signal(signal)) => break Ended::Interrupted(signal.status()),
                None => break Ended::With(timed_out(&request, &broker, is_sent)),
            }
        };
        // Where the thread has ended meanwhile nobody needs to be told.
        let _ = steps.send(Step::GiveUp);
        wait_for_goodbye(&inbox);
        if is_sent && matches!(ended, Ended::Interrupted(_)) {
            report.warn(format_args!("the call may have been placed (transID {})", request.trans_id));
        }
        Ok(ended)
    }

    /// Connects, subscribes, publishes once, and listens until there is an outcome; `None` when nobody waits any longer.
    fn connect_and_place(self, steps: Sender<Step>, heard: &Receiver<Step>, tell: &dyn Fn(News)) -> Option<Outcome> {
        let Self { options, to, request, report } = self;
        let in_handler = steps.clone();
        let handler: Handler = Arc::new(move |packet| {
            let step = Step::Reply { payload: packet.payload.to_vec(), retained: packet.retain };
            // Where nobody listens any longer the call is over.
            let _ = in_handler.send(step);
        });
        let in_loss = steps.clone();
        let on_lost: OnLost = Arc::new(move |_| drop(in_loss.send(Step::Lost)));
        let hooks = Hooks { handler, on_lost };
        let broker = options.broker.to_string();
        let replies = Subscription { filters: vec![request.from_topic.and_below()], qos: QOS, group: None };
        let client = match Client::connect(&options, &replies, Acknowledgements::Tapped, &hooks) {
            Ok(client) => client,
            Err(failure) => return Some(not_sent(failure)),
        };
        if let Err(failure) = client.subscribe() {
            client.disconnect(GOODBYE);
            return Some(not_sent(failure));
        }
        report.detail(format_args!("subscribed to {}, publishing to {to}", request.from_topic.and_below()));
        tell(News::Sending);
        client.publish(&to, request.payload(), move |published| drop(steps.send(Step::Published(published))));
        let outcome = listen(heard, &request, &to, &broker, report);
        client.disconnect(GOODBYE);
        outcome
    }
}

/// Hears replies and the broker's word on the publication until there is an outcome; `None` when nobody waits any longer.
fn listen(heard: &Receiver<Step>, request: &Request, to: &TopicName, broker: &str, report: Report) -> Option<Outcome> {
    loop {
        match heard.recv().ok()? {
            Step::Reply { payload, retained } => match request.reply(&payload, retained) {
                Ok(answer) => return Some(answered(&answer, &payload)),
                Err(why) => report.detail(format_args!("ignored a message on the reply topic: {why}")),
            },
            Step::Published(Published::Taken) => report.detail("the broker took the request"),
            Step::Published(Published::NoSubscriber) => {
                let failure = Failure::new(Status::NoResponder, format!("nobody subscribes to {to} at {broker}"))
                    .hint("is the call service running, and is this its topic? check --call-topic and --root");
                return Some(Outcome::Unanswered(Why::NoResponder, failure));
            }
            Step::Published(Published::Denied(reason)) => {
                let failure = Failure::refused(format!("{broker} refuses the publication to {to}: {reason}"))
                    .hint("check the broker's access list for this user; --as publishes to TOPIC/ENDPOINT");
                return Some(Outcome::Unanswered(Why::Denied, failure));
            }
            Step::Published(Published::Lost) | Step::Lost => {
                let failure = Failure::new(
                    Status::Failure,
                    format!(
                        "lost {broker} before the reply came: the call may have been placed (transID {})",
                        request.trans_id
                    ),
                )
                .hint("look for the session's events before you place it again");
                return Some(Outcome::Unanswered(Why::Unknown, failure));
            }
            Step::GiveUp => return None,
        }
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
fn not_sent(failure: Failure) -> Outcome {
    let why = if failure.status() == Status::Refused { Why::Denied } else { Why::Unreachable };
    Outcome::Unanswered(why, failure)
}

fn timed_out(request: &Request, broker: &str, is_sent: bool) -> Outcome {
    let message = if is_sent {
        format!("no 3PCC service response from {broker} in time (transID {})", request.trans_id)
    } else {
        format!("{broker} took too long: nothing was sent")
    };
    let failure = Failure::new(Status::Deadline, message);
    let failure = if is_sent {
        failure.hint(
            "the caller may not have answered, or nobody serves the topic, or the broker dropped the request: \
             only MQTT 5 brokers say so. The call may still be placed; --timeout waits longer",
        )
    } else {
        failure
    };
    Outcome::Unanswered(Why::Timeout, failure)
}

/// Waits, not for long, until the thread that places the call has said goodbye.
fn wait_for_goodbye(inbox: &Inbox<News>) {
    let deadline = deadline_in(GOODBYE);
    while let Some(Notice::News(News::Sending) | Notice::ReaderGone) = inbox.next(deadline) {}
}

/// Turns on standard error while somebody looks at it, and is gone when it is dropped.
struct Spinner(ProgressBar);

impl Spinner {
    fn start(request: &Request) -> Self {
        let waiting = format!("{} → {}: waiting for the reply", request.caller, request.callee);
        let bar = ProgressBar::new_spinner()
            .with_style(ProgressStyle::default_spinner())
            .with_message(escaped(&waiting).into_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
