//! Why a broker does not take us, in words that help.

use std::time::Instant;

use super::broker::{Broker, Options};
use super::tls;
use super::wire::way_to_broker;
use crate::exit::Failure;

/// Why a connection did not come about.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Perhaps for the MQTT version's sake: an older one may do. The broker did not say so, or the library does not.
    OfVersion(Failure),
    /// The library does not say why.
    Unexplained(Failure),
    /// For the reason given.
    Of(Failure),
}

/// What came of an attempt to connect, as far as the MQTT library knows.
#[derive(Debug)]
pub(super) enum Answer {
    /// The user, or the password, is not accepted.
    NotAuthorized,
    /// The client identifier is not.
    BadClientId,
    /// The MQTT version is not.
    WrongVersion,
    /// The client is banned.
    Banned,
    /// The broker cannot serve anybody now; in its words.
    Unavailable(String),
    /// None came in time.
    Nothing,
    /// No connection came about, for whatever reason.
    NoConnection,
    /// The connection was closed, or something came that is no answer; in the library's words. A broker that does not know
    /// MQTT 5 answers with an MQTT 3.1.1 CONNACK, or closes the connection, both of which look like this.
    Strange(String),
}

impl Refusal {
    /// What the answer to a CONNECT means; `may_be_older` where an older MQTT version may do.
    pub(super) fn by(answer: Answer, options: &Options, may_be_older: bool) -> Self {
        let Options { broker, username, client_id, .. } = options;
        let silent = |failure| if may_be_older { Self::OfVersion(failure) } else { Self::Unexplained(failure) };
        match answer {
            Answer::NotAuthorized => {
                let user = username.as_ref().map_or("anonymous clients".to_owned(), |name| format!("user '{name}'"));
                Self::Of(
                    Failure::refused(format!("{broker} refuses {user}: not authorized"))
                        .hint("check --username, and --password-file or RTCOMM_PASSWORD"),
                )
            }
            Answer::BadClientId => Self::Of(
                Failure::refused(format!("{broker} refuses the client identifier '{client_id}'"))
                    .hint("check --client-id"),
            ),
            Answer::WrongVersion => silent(
                Failure::refused(format!("{broker} does not speak the MQTT version asked for"))
                    .hint("check --mqtt-version"),
            ),
            Answer::Banned => {
                Self::Of(Failure::refused(format!("{broker} has banned this client")).hint("ask the broker's operator"))
            }
            Answer::Unavailable(why) => {
                Self::Of(Failure::unreachable(format!("{broker} is not available: {why}")).hint("try again later"))
            }
            Answer::Nothing => Self::Of(options.unanswered()),
            Answer::NoConnection => Self::Unexplained(
                Failure::unreachable(format!("cannot connect to {broker}: the connection failed"))
                    .hint("check --broker and what is on the way there"),
            ),
            Answer::Strange(what) => silent(
                Failure::unreachable(format!("{broker} closed the connection instead of answering ({what})")).hint(
                    if broker.scheme.is_websocket() {
                        "does an MQTT broker speak WebSockets at this port and path?"
                    } else {
                        "is it an MQTT broker, and is this its MQTT port? a port for TLS needs mqtts://"
                    },
                ),
            ),
        }
    }

    /// That of a web server that answers with this status line instead of opening a WebSocket.
    pub(super) fn of_websocket(broker: &Broker, status: &str) -> Self {
        Self::Of(
            Failure::unreachable(format!("{broker} opens no WebSocket: it answers {status}"))
                .hint("check host, port and path of the URL: without a path it asks for /mqtt"),
        )
    }

    /// The failure; where a proxy or TLS may be the reason of one that is not explained, in their own words, for which as
    /// much time is taken as for a connection.
    pub(super) fn explained(self, options: &Options) -> Failure {
        let Options { broker, proxy, connect_timeout, .. } = options;
        match self {
            Self::OfVersion(failure) | Self::Unexplained(failure) if broker.scheme.is_tls() || proxy.is_some() => {
                let deadline = Instant::now() + *connect_timeout;
                match way_to_broker(options, deadline) {
                    Ok(stream) if broker.scheme.is_tls() => tls::diagnose(options, stream, deadline).unwrap_or(failure),
                    Ok(_) => failure,
                    Err(unreachable) => unreachable,
                }
            }
            Self::OfVersion(failure) | Self::Unexplained(failure) | Self::Of(failure) => failure,
        }
    }
}
