//! `rtcomm call`: places one third-party call or a batch of calls, and waits for the replies.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | flags to configuration |
//! | `single` | one call |
//! | `batch` | many calls over one connection |
//! | `client` | the connection: publishes requests, matches replies and events |
//! | `incoming` | events for its thread |
//! | `reconnect` | whether it is connected, and the thread that reconnects |
//! | `followed` | a call that is followed to the end of its session |
//! | `input` | the lines of a batch |
//! | `printer` | the result and the updates of one call |
//! | `ordered_writer` | the results of a batch, in the order of the input |
//! | `rate_limiter` | `--rate` |
//! | `indicator` | spinner and progress bar |
//! | `result` | results and their exit statuses |

use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use uuid::Uuid;

use super::connection::{self, Prompt};
use super::discovery;
use super::ui::{self, Ui};
use crate::cli::{CallArgs, FollowLimit};
use crate::exit::{Failure, Status};
use crate::protocol::call::Request;
use crate::protocol::filter::{Filter, FilterSpec};
use crate::protocol::topic::{Category, TopicFilter, Topics};
use crate::recording::Input;

mod batch;
mod client;
mod followed;
mod incoming;
mod indicator;
mod input;
mod ordered_writer;
mod printer;
mod rate_limiter;
mod reconnect;
mod result;
mod single;

use batch::{Batch, BatchLimits};
use client::{CallConfig, FollowConfig};
use input::Parser;
use printer::CallPrinter;
use result::CallTimes;

/// Maximum number of callers of a batch whose events are subscribed to one by one. With more, all sessions are subscribed to.
const MAX_CALLER_FILTERS: usize = 100;

/// Places the call or the batch, and prints the results.
///
/// # Errors
/// If the usage is wrong, input or output fails, or a single call gets no reply.
pub(crate) fn run(args: CallArgs, ui: Ui) -> Result<Status> {
    let CallArgs {
        caller,
        callee,
        batch,
        timeout,
        follow,
        session_id,
        app_context,
        sender,
        reply_prefix,
        max_payload,
        json,
        dry_run,
        display: _,
        connection,
        topics,
    } = args;
    let (profile, discover) = (connection.profile.clone(), connection.discover);
    discovery::check_dry_run(discover, dry_run)?;
    let options = connection::options(connection, Prompt::unless(dry_run))?;
    // All limits of a single call count from here.
    let began = Instant::now();
    let from_topic = reply_prefix
        .unwrap_or_else(|| topics.clone().topics().root.child("reply"))
        .child(&Uuid::new_v4().to_string())
        .to_topic();
    let calls = match (caller, callee, batch.batch) {
        (Some(caller), Some(callee), None) => Calls::Single(Request {
            trans_id: Uuid::new_v4(),
            caller,
            callee,
            from_topic: from_topic.clone(),
            // Events are matched by the ID.
            session_id: session_id.or_else(|| follow.map(|_| Uuid::new_v4())),
            app_context,
        }),
        (None, None, Some(path)) => {
            let parser = Parser { from_topic: from_topic.clone(), app_context, needs_session_id: follow.is_some() };
            Calls::Many(Batch { input: Input::from(path), skip: batch.skip, parser })
        }
        // clap rejects other combinations.
        _ => return Err(Failure::usage("name two endpoints, or a batch").into()),
    };
    if dry_run {
        return match calls {
            Calls::Single(request) => ui::print(&format!("{}\n", request.payload())),
            Calls::Many(batch) => batch::print_requests(batch, ui.report),
        };
    }
    let times = CallTimes { timeout, limit: follow.and_then(|FollowLimit(limit)| limit) };
    // LIMIT counts from each request of a batch.
    let query_timeout = match calls {
        Calls::Single(_) => times.until_sent().0,
        Calls::Many(_) => timeout,
    };
    let topics = match discovery::topics(topics, discover, &options, began.checked_add(query_timeout), ui.report) {
        Ok(ControlFlow::Continue(topics)) => topics,
        Ok(ControlFlow::Break(status)) => return Ok(status),
        Err(error) => {
            return match calls {
                Calls::Single(request) => {
                    single::fail_undiscovered(request, &error, began, follow.map(|_| times), json)
                }
                Calls::Many(_) => Err(error),
            };
        }
    };
    let call_topic = match sender {
        Some(endpoint) => topics.calls.child(&endpoint),
        None => topics.calls.clone(),
    };
    let follow = follow.map(|_| FollowConfig { filters: calls.sessions(&topics), topics: topics.clone() });
    if io::stderr().is_terminal() {
        let names: Vec<String> = options.brokers.iter().map(ToString::to_string).collect();
        let profile = profile.map(|name| format!(" (profile {name})")).unwrap_or_default();
        ui.report.info(format_args!("calling at {}{profile}", names.join(" or ")));
    }
    let config = CallConfig { options, call_topic, from_topic, max_payload, times, follow, report: ui.report };
    match calls {
        Calls::Single(request) => single::run(config, began, &request, CallPrinter::new(json, ui, topics)?),
        Calls::Many(calls) => batch::run(calls, config, BatchLimits { jobs: batch.jobs, rate: batch.rate }),
    }
}

/// What to place.
enum Calls {
    Single(Request),
    Many(Batch),
}

impl Calls {
    /// Returns topic filters that cover the events of all sessions.
    ///
    /// They name the caller, which is the same in all events of a session. The endpoint that answers may be another than the
    /// one that was called.
    fn sessions(&self, topics: &Topics) -> Vec<TopicFilter> {
        let callers = match self {
            Self::Single(request) => vec![request.caller.clone()],
            // Without callers, the filter covers all sessions.
            Self::Many(batch) => batch.callers(MAX_CALLER_FILTERS).unwrap_or_default(),
        };
        let spec = FilterSpec { categories: vec![Category::Session], from: callers, ..FilterSpec::default() };
        Filter::new(spec).expect("sessions from any endpoint are possible").subscriptions(topics)
    }
}
