//! What a newcomer finds: the committed man pages and completions are as the commands are now, and every command that
//! README and the man pages show does what they say.
//! It needs all features, as the published documentation does.

#![cfg(feature = "demo")]

use rtcomm::Status;

mod architecture;
mod chapters;
mod generated;
mod json_keys;
mod man;
mod readme;
mod shown;

/// Every status, in the order of the tables.
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

/// What a status means to people: the man pages have it from here, and README's table is compared with it.
const fn meaning(status: Status) -> &'static str {
    match status {
        Status::Success => "The goal was reached, or the reader of standard output went away.",
        Status::Failure => "Any other failure; also a call that may or may not have been placed.",
        Status::Usage => "Wrong usage or configuration.",
        Status::ServiceFailure => "The call service answered that the call is not placed.",
        Status::Refused => "The broker refused the credentials, the subscription or the publication.",
        Status::Unreachable => {
            "The broker cannot be reached: no such host, connection refused, TLS failure, retries spent; or `--for` was over before there was a subscription."
        }
        Status::NoResponder => {
            "Nobody subscribes to the call topic, as some MQTT 5 brokers say; otherwise the call ends with 124."
        }
        Status::Empty => "Nothing matched, and `--fail-empty` was given.",
        Status::Deadline => {
            "The deadline passed first: no reply within `--timeout`, or `--count` not reached within `--for`."
        }
        Status::Interrupted => "Ended by SIGINT (Ctrl-C), after what had come was written.",
        Status::Terminated => "Ended by SIGTERM, after what had come was written.",
    }
}
