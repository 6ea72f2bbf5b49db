//! `rtcomm call`: places one third-party call or a batch of calls, and waits for the replies.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | flags to configuration |
//! | `single` | one call |
//! | `batch` | many calls over one connection |
//! | `client` | the connection: publishes requests, matches replies |
//! | `input` | the lines of a batch |
//! | `ordered_writer` | the results of a batch, in the order of the input |
//! | `rate_limiter` | `--rate` |
//! | `indicator` | spinner and progress bar |
//! | `result` | results and their exit statuses |

use anyhow::Result;
use uuid::Uuid;

use super::connection::{self, Prompt};
use super::ui::{self, Ui};
use crate::cli::CallArgs;
use crate::exit::{Failure, Status};
use crate::protocol::call::Request;
use crate::recording::Input;

mod batch;
mod client;
mod indicator;
mod input;
mod ordered_writer;
mod rate_limiter;
mod result;
mod single;

use batch::{Batch, Limits};
use client::CallConfig;
use input::Parser;
use result::ResultFormat;

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
    let topics = topics.topics();
    let options = connection::options(connection, Prompt::unless(dry_run))?;
    let from_topic =
        reply_prefix.unwrap_or_else(|| topics.root.child("reply")).child(&Uuid::new_v4().to_string()).to_topic();
    let call_topic = match sender {
        Some(endpoint) => topics.calls.child(&endpoint),
        None => topics.calls,
    };
    let mode = match (caller, callee, batch.batch) {
        (Some(caller), Some(callee), None) => Mode::Single(Request {
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
            Mode::Batch(Batch { input, skip: batch.skip, parser })
        }
        // clap rejects other combinations.
        _ => return Err(Failure::usage("name two endpoints, or a batch").into()),
    };
    let config = CallConfig { options, call_topic, from_topic, max_payload, report: ui.report };
    let result_format = if json { ResultFormat::Json } else { ResultFormat::Text { color: ui.uses_color() } };
    match (mode, dry_run) {
        (Mode::Single(request), true) => ui::print(&format!("{}\n", request.payload())),
        (Mode::Single(request), false) => single::run(config, &request, timeout, result_format),
        (Mode::Batch(batch), true) => batch::print_requests(batch, config.report),
        (Mode::Batch(calls), false) => {
            batch::run(calls, config, Limits { jobs: batch.jobs, rate: batch.rate, timeout })
        }
    }
}

/// What to place.
enum Mode {
    Single(Request),
    Batch(Batch),
}
