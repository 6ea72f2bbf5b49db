//! `rtcomm call`: places one third-party call, or many, and waits for the replies.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use uuid::Uuid;

use super::connection::{self, Asking};
use super::ui::Ui;
use crate::cli::CallArgs;
use crate::event_loop::{EventLoop, LoopEvent, deadline_in};
use crate::exit::{Failure, Status};
use crate::output::escape::escaped;
use crate::recording::Input;

use crate::output::report::Report;
use crate::output::{self, json, pretty};
use crate::protocol::call::Request;

mod batch;
mod client;
mod in_order;
mod result;
mod wishes;

use batch::{Batch, Limits};
use client::{CallClient, CallConfig, CallEvent, DISCONNECT_TIMEOUT, EventReceiver, Waker};
use result::{CallResult, Outcome, status_of};
use wishes::Parser;

/// Places the call, or the calls, and prints how it went.
///
/// # Errors
/// Wrong usage, what cannot be read or written; and a call that was not answered, in the words for it.
pub(crate) fn run(args: CallArgs, ui: Ui) -> Result<Status> {
    let CallArgs {
        caller,
        callee,
        batch,
        timeout,
        session_id,
        app_context,
        sender,
        reply_prefix,
        max_payload,
        json,
        dry_run,
        connection,
        topics,
    } = args;
    let topics = topics.topics();
    let options = connection::options(connection, Asking::unless(dry_run))?;
    let from_topic =
        reply_prefix.unwrap_or_else(|| topics.root.child("reply")).child(&Uuid::new_v4().to_string()).to_topic();
    let to = match sender {
        Some(endpoint) => topics.calls.child(&endpoint),
        None => topics.calls,
    };
    let what = match (caller, callee, batch.batch) {
        (Some(caller), Some(callee), None) => What::One(Request {
            trans_id: Uuid::new_v4(),
            caller,
            callee,
            from_topic: from_topic.clone(),
            session_id,
            app_context,
        }),
        (None, None, Some(path)) => {
            let input = Input::from(path);
            let parser = Parser { from_topic: from_topic.clone(), app_context };
            What::Many(Batch { input, skip: batch.skip, parser })
        }
        // The definition of the command line lets nobody get here.
        _ => return Err(Failure::usage("name either two endpoints or a batch").into()),
    };
    let config = CallConfig { options, to, from_topic, max_payload, report: ui.report };
    match (what, dry_run) {
        (What::One(request), true) => output::print(&format!("{}\n", request.payload())),
        (What::One(request), false) => single(config, &request, timeout, json),
        (What::Many(calls), true) => batch::print_requests(calls, config.report),
        (What::Many(calls), false) => batch::run(calls, config, Limits { jobs: batch.jobs, rate: batch.rate, timeout }),
    }
}

/// What is asked for.
enum What {
    /// This call.
    One(Request),
    /// These calls.
    Many(Batch),
}

/// Places one call.
fn single(config: CallConfig, request: &Request, timeout: Duration, json: bool) -> Result<Status> {
    let began = Instant::now();
    let called = match wait(config, request, began, timeout)? {
        Ended::Interrupted(status, called) => {
            if let Some(called) = called.filter(|_| json) {
                output::print(&json::call_result(&called))?;
            }
            return Ok(status);
        }
        Ended::With(called) => called,
    };
    match (&called.outcome, json) {
        (_, true) => output::print(&json::call_result(&called))?,
        (Outcome::Answered { .. }, false) => output::print(&pretty::call_result(&called))?,
        (Outcome::Unanswered(..), false) => Status::Success,
    };
    match called.outcome {
        Outcome::Unanswered(_, failure) => Err(failure.into()),
        answered @ Outcome::Answered { .. } => Ok(status_of(&answered)),
    }
}

/// How the wait for one call ended.
enum Ended {
    With(Box<CallResult>),
    /// By a signal; with the call where its request went out.
    Interrupted(Status, Option<Box<CallResult>>),
}

/// What the thread that places the call tells.
enum News {
    /// It is over, and the connection closed.
    Done(Box<CallResult>),
    /// It was given up, and the connection closed.
    GivenUp,
}

/// Whether the request goes out. The thread that places the call and the one that waits for it decide it between them,
/// once: so that nothing is sent after the command has said that nothing was.
type Fate = OnceLock<Decision>;

/// What is decided of a request.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// It goes out: from now on the call may be placed.
    Send,
    /// It does not.
    GiveUp,
}

/// Places the call on a thread of its own, and waits for the outcome, the deadline or a signal.
fn wait(config: CallConfig, request: &Request, began: Instant, timeout: Duration) -> Result<Ended> {
    let event_loop = EventLoop::new()?;
    let _spinner = Spinner::start(request, config.report);
    let receiver = EventReceiver::new();
    let waker = receiver.waker();
    let (broker, report) = (config.options.brokers[0].to_string(), config.report);
    let fate: Arc<Fate> = Arc::default();
    let (news, asked, decided) = (event_loop.sender(), request.clone(), fate.clone());
    std::thread::spawn(move || {
        let called = connect_and_place(config, receiver, asked, began, &decided);
        news(called.map_or(News::GivenUp, News::Done));
    });
    let deadline = began.checked_add(timeout);
    let signal = loop {
        match event_loop.next(deadline) {
            Some(LoopEvent::Custom(News::Done(called))) => return Ok(Ended::With(called)),
            Some(LoopEvent::ReaderGone | LoopEvent::Custom(News::GivenUp)) => {}
            Some(LoopEvent::Signal(signal)) => break Some(signal),
            None => break None,
        }
    };
    let is_sent = fate.set(Decision::GiveUp).is_err();
    let elapsed = began.elapsed();
    cancel_and_wait(&waker, &event_loop);
    let ended = |outcome| Box::new(CallResult { request: request.clone(), outcome, elapsed });
    let Some(signal) = signal else {
        return Ok(Ended::With(ended(client::timed_out(request, &broker, is_sent))));
    };
    if is_sent {
        report.warn(format_args!("the call may have been placed (transID {})", request.trans_id));
    } else {
        report.info("nothing was sent");
    }
    let called = is_sent.then(|| ended(client::unknown(request, "interrupted")));
    Ok(Ended::Interrupted(signal.status(), called))
}

/// Has the thread that places the call give up, and waits, not for long, until it has disconnected.
fn cancel_and_wait(waker: &Waker, event_loop: &EventLoop<News>) {
    waker.cancel();
    let deadline = deadline_in(DISCONNECT_TIMEOUT);
    while let Some(LoopEvent::ReaderGone) = event_loop.next(deadline) {}
}

/// Connects and places the call; `None` if nobody waits for it any longer.
fn connect_and_place(
    config: CallConfig,
    receiver: EventReceiver,
    request: Request,
    began: Instant,
    fate: &Fate,
) -> Option<Box<CallResult>> {
    let ended = |outcome, request| Box::new(CallResult { request, outcome, elapsed: began.elapsed() });
    let mut client = match CallClient::connect(config, receiver) {
        Ok(client) => client,
        Err(failure) => return Some(ended(client::not_sent(failure), request)),
    };
    if fate.set(Decision::Send).is_err() {
        client.close();
        return None;
    }
    client.place(request.clone(), began);
    match client.next_event(None) {
        CallEvent::Lost(reason) => {
            let what = format!("lost {} ({reason})", client.broker());
            client.close();
            Some(ended(client::unknown(&request, &what), request))
        }
        CallEvent::Ended(called) => {
            client.close();
            Some(called)
        }
        CallEvent::Woken | CallEvent::Timeout => {
            client.close();
            None
        }
    }
}

/// Where somebody who waits is shown that the run goes on: on standard error, which draws on a terminal alone, unless
/// nothing of the kind is wanted.
fn canvas(report: Report) -> ProgressDrawTarget {
    if report.is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
}

/// Turns on standard error while somebody looks at it, and is gone when it is dropped.
struct Spinner(ProgressBar);

impl Spinner {
    fn start(request: &Request, report: Report) -> Self {
        let waiting = format!("{} → {}: waiting for the reply", request.caller, request.callee);
        let bar = ProgressBar::with_draw_target(None, canvas(report))
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
