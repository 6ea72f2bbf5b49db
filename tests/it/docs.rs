//! The documentation matches the program: generated files are current, commands in README and man pages run and print what
//! is shown, tables match the code.
//!
//! Needs all features, because the documentation covers them.

#![cfg(feature = "demo")]

use rtcomm::{CheckStatus, Status};

mod architecture;
mod chapters;
mod completions;
mod generated;
mod json_keys;
mod json_lines;
mod language;
mod man;
mod package;
mod picture;
mod profiles;
mod readme;
mod samples;
mod shown;

/// All statuses, in the order of the tables.
const STATUSES: [Status; 11] = [
    Status::Success,
    Status::Failure,
    Status::Usage,
    Status::ServiceFailure,
    Status::Refused,
    Status::Unreachable,
    Status::NoResponder,
    Status::Empty,
    Status::Deadline,
    Status::Interrupted,
    Status::Terminated,
];

/// The meaning of a status, for the man pages. README's table is compared with it.
const fn meaning(status: Status) -> &'static str {
    match status {
        Status::Success => "Success, or the reader of standard output closed the pipe.",
        Status::Failure => "Any other failure, including a call that may have been placed.",
        Status::Usage => "Wrong usage or configuration.",
        Status::ServiceFailure => {
            "The call service answered that the call is not placed, or a followed session failed."
        }
        Status::Refused => "The broker refused the credentials, the subscription or the publication.",
        Status::Unreachable => {
            "The broker is unreachable: no such host, connection refused, TLS failure, no more retries; or `--for` ended before a subscription was granted."
        }
        Status::NoResponder => {
            "Nobody subscribes to the call topic. Only MQTT 5 brokers report that; otherwise the call ends with 124."
        }
        Status::Empty => "Nothing matched, and `--fail-empty` was given.",
        Status::Deadline => {
            "The deadline passed: no reply within `--timeout`, no end of a followed session, or `--count` not reached within `--for`."
        }
        Status::Interrupted => "Ended by SIGINT (Ctrl-C). Received messages are written.",
        Status::Terminated => "Ended by SIGTERM. Received messages are written.",
        Status::Check(status) => check_meaning(status),
    }
}

/// The meaning of a status of `check`.
const fn check_meaning(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Ok => "OK: a server answers, and every value is in its range.",
        CheckStatus::Warning => {
            "WARNING: no server answers, a server refuses the query, the broker does not permit the query or the list of endpoints, or a value is out of its warning range."
        }
        CheckStatus::Critical => {
            "CRITICAL: the broker is unreachable or refuses the client, two servers answer differently, the time is over, or a value is out of its critical range."
        }
        CheckStatus::Unknown => "UNKNOWN: wrong usage or configuration, or ended by a signal.",
    }
}
