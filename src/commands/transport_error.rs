//! What can go wrong with a broker, as sentences, hints and exit statuses.

use std::fmt::Write as _;

use super::connect_error::{INSECURE_WARNING, dial_failure, tls_failure};
use super::protocol_error::describe_violation;
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::output::whole_millis;
use crate::protocol::topic::{TopicFilter, TopicName};
use crate::transport::client::Connected;
use crate::transport::codec::{ReasonCode, Version};
use crate::transport::error::{
    BrokerReason, ConnectError, ConnectFailure, ConnectFailures, ConnectionEnd, DialError, Feature, FrameError,
    SubscribeError, TlsError,
};
use crate::transport::options::{MqttVersion, Options};
use crate::transport::relay::Published;
use crate::transport::session::SessionError;
use crate::transport::url::BrokerUrl;

/// The broker's reason: its name, the broker's own words and another server, if it names them.
pub(super) fn describe_refusal(reason: &BrokerReason) -> String {
    let BrokerReason { code, text, server_reference } = reason;
    let mut description = code.to_string();
    for (label, value) in [("", text), ("server reference ", server_reference)] {
        if let Some(value) = value {
            write!(description, "; {label}\"{value}\"").expect("a String takes all");
        }
    }
    description
}

/// Why a connection ended, to follow "lost the broker: ".
pub(super) fn describe_end(end: &ConnectionEnd) -> String {
    match end {
        ConnectionEnd::Closed => "the connection broke".to_owned(),
        ConnectionEnd::Refused(reason) => format!("the broker refused the connection: {}", describe_refusal(reason)),
        ConnectionEnd::Disconnected(reason) => {
            format!("the broker closed the connection: {}", describe_refusal(reason))
        }
        ConnectionEnd::Protocol(error) => format!("protocol error: the broker sent {}", describe_violation(*error)),
        ConnectionEnd::WebSocket(error) => format!("protocol error: the broker sent {}", describe_frame(*error)),
        ConnectionEnd::Silent(duration) => {
            format!("the broker has been silent for {}", humantime::format_duration(whole_millis(*duration)))
        }
        ConnectionEnd::Tls(_) => "the broker ended the TLS connection".to_owned(),
        ConnectionEnd::NotReading => "the broker does not read what is sent to it".to_owned(),
        ConnectionEnd::Broken(reason) => format!("the connection broke ({reason})"),
    }
}

/// An invalid WebSocket frame, to follow "the broker sent ".
fn describe_frame(error: FrameError) -> &'static str {
    match error {
        FrameError::Extension => "a WebSocket frame that uses an extension",
        FrameError::Masked => "a masked WebSocket frame",
        FrameError::OutOfSequence => "a WebSocket frame that does not continue its message",
        FrameError::Text => "a WebSocket text frame instead of a binary one",
        FrameError::InvalidControlFrame => "a WebSocket control frame that is fragmented or too long",
        FrameError::UnknownOpcode => "a WebSocket frame with an unknown opcode",
        FrameError::InvalidLength => "a WebSocket frame with an invalid length",
    }
}

/// The failure of a session; warns of the brokers that were tried before the last.
pub(super) fn session_failure(error: &SessionError, options: &Options, report: Report) -> Failure {
    match error {
        SessionError::Connect(failures) => connect_failures(failures, options, report),
        SessionError::Subscribe(SubscribeError::Refused { denied, of }) if denied.len() < *of => {
            let (failure, hint) = subscription_refused(denied, &options.brokers[0]);
            failure.hint(format!("{hint}; --allow-partial continues with the subscriptions that it grants"))
        }
        SessionError::Subscribe(error) => subscribe_failure(error, &options.brokers[0]),
        SessionError::Lost(end) => {
            let failure = Failure::unreachable(format!("lost the broker: {}", describe_end(end)));
            if end.is_violation() { failure.hint(PROTOCOL_HINT) } else { failure }
        }
    }
}

const PROTOCOL_HINT: &str = "is it an MQTT broker? if it is, it violates the protocol: report this to its operator";

/// The failure of a connection; warns of the brokers that were tried before the last.
pub(super) fn connect_failures(failures: &ConnectFailures, options: &Options, report: Report) -> Failure {
    warn_of_failures(&failures.earlier, options, report);
    connect_failure(&failures.last, options)
}

/// Warns of brokers that could not be connected to, so that another one was tried.
pub(super) fn warn_of_failures(failures: &[ConnectFailure], options: &Options, report: Report) {
    for failure in failures {
        report.warn(format_args!("{}; trying the next broker", connect_failure(failure, options)));
    }
}

/// The failure of a connection to one broker.
fn connect_failure(failure: &ConnectFailure, options: &Options) -> Failure {
    let ConnectFailure { broker, error } = failure;
    match error {
        ConnectError::Dial(error) => dial_failure(error, broker, options),
        ConnectError::Ended(ConnectionEnd::Refused(reason)) => refused(reason, broker, options),
        ConnectError::Ended(ConnectionEnd::Disconnected(reason)) => {
            Failure::unreachable(format!("{broker} closed the connection: {}", describe_refusal(reason)))
        }
        ConnectError::Ended(ConnectionEnd::Protocol(error)) => {
            let violation = describe_violation(*error);
            Failure::unreachable(format!("{broker} answered CONNECT with an invalid packet: {violation}"))
                .hint(not_mqtt_hint(broker, options))
        }
        ConnectError::Ended(ConnectionEnd::WebSocket(error)) => {
            Failure::unreachable(format!("{broker} answered CONNECT with an invalid frame: {}", describe_frame(*error)))
                .hint(not_mqtt_hint(broker, options))
        }
        ConnectError::Ended(ConnectionEnd::Tls(error)) => tls_failure(error, broker),
        ConnectError::Ended(end) => {
            Failure::unreachable(format!("{broker} closed the connection instead of answering ({})", describe_end(end)))
                .hint(not_mqtt_hint(broker, options))
        }
        ConnectError::Unanswered(_) => {
            let timeout = humantime::format_duration(options.connect_timeout);
            Failure::unreachable(format!("{broker} accepts the connection but does not answer within {timeout}"))
                .hint("is it an MQTT broker, and is this its MQTT port?")
        }
        ConnectError::UnsupportedVersion(version) => {
            let failure = Failure::refused(format!("{broker} does not speak MQTT {version}"));
            match (version, options.version) {
                (Version::V5, MqttVersion::V5) => failure.hint("try --mqtt-version 3.1.1, or auto"),
                (Version::V311, MqttVersion::V311) => failure.hint("try --mqtt-version 5, or auto"),
                _ => failure.hint("check --mqtt-version"),
            }
        }
        ConnectError::PasswordNeedsUserName => {
            Failure::usage(format!("{broker} does not speak MQTT 5 and requires a user name with the password"))
                .hint("name the user with --username")
        }
        ConnectError::LibraryTimeout => {
            Failure::unreachable(format!("cannot set up a connection to {broker}: the MQTT library does not connect"))
        }
        ConnectError::Local(reason) => {
            Failure::unreachable(format!("cannot set up a connection to {broker}: {reason}"))
        }
        ConnectError::Cancelled => Failure::unreachable(format!("the connection to {broker} was cancelled")),
    }
}

fn not_mqtt_hint(broker: &BrokerUrl, options: &Options) -> &'static str {
    if options.version == MqttVersion::V5 && !broker.scheme.is_websocket() {
        "is it an MQTT broker, and is this its MQTT port? a port for TLS needs mqtts://; a broker that speaks only MQTT \
         3.1.1 needs --mqtt-version 3.1.1"
    } else if broker.scheme.is_websocket() {
        "does an MQTT broker speak WebSockets at this port and path?"
    } else {
        "is it an MQTT broker, and is this its MQTT port? a port for TLS needs mqtts://"
    }
}

/// Returns whether the options are wrong, which was only found while connecting.
pub(super) fn is_misconfigured(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Dial(DialError::Tls(TlsError::UnreadableFile { .. } | TlsError::InvalidFile { .. }))
            | ConnectError::PasswordNeedsUserName
    )
}

/// Returns whether the broker denies this client a connection, rather than being unreachable.
pub(super) fn denies_connection(error: &ConnectError) -> bool {
    match error {
        ConnectError::UnsupportedVersion(_) => true,
        ConnectError::Ended(ConnectionEnd::Refused(reason)) => matches!(
            reason.code,
            ReasonCode::NOT_AUTHORIZED
                | ReasonCode::BAD_USER_NAME_OR_PASSWORD
                | ReasonCode::BAD_AUTHENTICATION_METHOD
                | ReasonCode::CLIENT_IDENTIFIER_NOT_VALID
                | ReasonCode::BANNED
        ),
        _ => false,
    }
}

/// Returns whether the broker denies a subscription, rather than being unreachable.
pub(super) fn denies_subscription(error: &SubscribeError) -> bool {
    match error {
        SubscribeError::Refused { denied, .. } => denied.first().is_none_or(|(_, reason)| !is_unavailable(reason.code)),
        SubscribeError::Unsupported(_) => true,
        SubscribeError::Ended(ConnectionEnd::Disconnected(reason)) => !is_unavailable(reason.code),
        SubscribeError::Ended(_) | SubscribeError::Unanswered(_) | SubscribeError::Cancelled => false,
    }
}

/// The failure of a connection that the broker refused.
fn refused(reason: &BrokerReason, broker: &BrokerUrl, options: &Options) -> Failure {
    let Options { username, password, client_id, .. } = options;
    let said = describe_refusal(reason);
    match reason.code {
        ReasonCode::NOT_AUTHORIZED | ReasonCode::BAD_USER_NAME_OR_PASSWORD | ReasonCode::BAD_AUTHENTICATION_METHOD => {
            let user = match (username, password) {
                (Some(name), _) => format!("user '{name}'"),
                (None, Some(_)) => "this password without a user name".to_owned(),
                (None, None) => "anonymous clients".to_owned(),
            };
            // Name a lack of rights in the same way, whatever the broker calls it.
            let said =
                if reason.code == ReasonCode::NOT_AUTHORIZED { said } else { format!("not authorized ({said})") };
            Failure::refused(format!("{broker} refuses {user}: {said}"))
                .hint("check --username, and --password-file or RTCOMM_PASSWORD")
        }
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => {
            Failure::refused(format!("{broker} refuses the client identifier '{client_id}': {said}"))
                .hint("check --client-id")
        }
        ReasonCode::BANNED => {
            Failure::refused(format!("{broker} has banned this client: {said}")).hint("ask the broker's operator")
        }
        ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED => {
            let hint = match &reason.server_reference {
                Some(server) => format!("the broker names another server: {server}; name it with --broker"),
                None => "ask the broker's operator for the new address".to_owned(),
            };
            Failure::unreachable(format!("{broker} does not serve this client: {said}")).hint(hint)
        }
        ReasonCode::SERVER_UNAVAILABLE
        | ReasonCode::SERVER_BUSY
        | ReasonCode::QUOTA_EXCEEDED
        | ReasonCode::CONNECTION_RATE_EXCEEDED => {
            Failure::unreachable(format!("{broker} is not available: {said}")).hint("try again later")
        }
        _ => Failure::unreachable(format!("{broker} is not available: {said}"))
            .hint("ask the broker's operator to check its log"),
    }
}

/// Returns the filters that the broker refuses because this client has no permission to subscribe to them.
pub(super) fn forbidden_filters(error: &SubscribeError) -> impl Iterator<Item = &TopicFilter> {
    let denied = match error {
        SubscribeError::Refused { denied, .. } => denied.as_slice(),
        SubscribeError::Unsupported(_)
        | SubscribeError::Ended(_)
        | SubscribeError::Unanswered(_)
        | SubscribeError::Cancelled => &[],
    };
    let is_forbidden = |code| matches!(code, ReasonCode::NOT_AUTHORIZED | ReasonCode::UNSPECIFIED);
    denied.iter().filter(move |(_, reason)| is_forbidden(reason.code)).map(|(filter, _)| filter)
}

/// The failure of a publication that the broker does not accept, or `None` if it is another outcome. `access_hint` is the
/// hint if the broker denies it.
pub(super) fn publish_failure(
    published: &Published,
    broker: &BrokerUrl,
    topic: &TopicName,
    access_hint: &str,
) -> Option<Failure> {
    match published {
        Published::Denied(reason) => {
            let reason = describe_refusal(reason);
            let message = format!("{broker} refuses the publication to '{topic}': {reason}");
            Some(Failure::refused(message).hint(access_hint))
        }
        Published::TooLarge { size, largest } => {
            let message = format!(
                "{broker} accepts no publication of {size} bytes to '{topic}': its maximum packet size is {largest}"
            );
            Some(Failure::refused(message).hint("ask the broker's operator to raise the limit"))
        }
        Published::Accepted | Published::NoMatchingSubscribers | Published::NotSent | Published::Lost => None,
    }
}

/// The failure of a subscription.
pub(super) fn subscribe_failure(error: &SubscribeError, broker: &BrokerUrl) -> Failure {
    match error {
        SubscribeError::Refused { denied, .. } => {
            let (failure, hint) = subscription_refused(denied, broker);
            failure.hint(hint)
        }
        SubscribeError::Unsupported(feature) => unsupported(*feature, broker),
        SubscribeError::Ended(ConnectionEnd::Disconnected(reason)) => {
            let said = describe_refusal(reason);
            let failure = Failure::new(
                subscribe_status(reason.code),
                format!("{broker} closed the connection instead of granting the subscription: {said}"),
            );
            failure.hint(subscribe_hint(reason.code))
        }
        SubscribeError::Ended(end) if end.is_violation() => {
            Failure::unreachable(format!("lost {broker}: {}", describe_end(end))).hint(PROTOCOL_HINT)
        }
        SubscribeError::Ended(end) => Failure::unreachable(format!(
            "{broker} closed the connection instead of granting the subscription ({})",
            describe_end(end)
        ))
        .hint("a broker that refuses a subscription may close the connection: check its access list"),
        SubscribeError::Unanswered(duration) => Failure::unreachable(format!(
            "{broker} does not answer the subscription within {}",
            humantime::format_duration(*duration)
        )),
        SubscribeError::Cancelled => Failure::unreachable(format!("the subscription at {broker} was cancelled")),
    }
}

/// The failure of a subscription that the broker refuses in part or in whole, and its hint.
fn subscription_refused(denied: &[(TopicFilter, BrokerReason)], broker: &BrokerUrl) -> (Failure, &'static str) {
    let names: Vec<String> = denied.iter().map(|(filter, _)| format!("'{filter}'")).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    let reason = denied.first().map_or_else(|| ReasonCode::UNSPECIFIED.into(), |(_, reason)| reason.clone());
    let said = if reason == BrokerReason::from(ReasonCode::UNSPECIFIED) {
        "it gives no reason (0x80), as MQTT 3.1.1 has none; the client may not be authorized".to_owned()
    } else {
        describe_refusal(&reason)
    };
    let message = format!("{broker} refuses the subscription{plural} to {}: {said}", names.join(", "));
    (Failure::new(subscribe_status(reason.code), message), subscribe_hint(reason.code))
}

/// The status of a subscription that is refused for this reason.
fn subscribe_status(code: ReasonCode) -> Status {
    if is_unavailable(code) { Status::Unreachable } else { Status::Refused }
}

/// Returns whether the reason is that the broker is unavailable to any client.
fn is_unavailable(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::SERVER_BUSY
            | ReasonCode::SERVER_UNAVAILABLE
            | ReasonCode::SERVER_SHUTTING_DOWN
            | ReasonCode::KEEP_ALIVE_TIMEOUT
            | ReasonCode::SESSION_TAKEN_OVER
            | ReasonCode::USE_ANOTHER_SERVER
            | ReasonCode::SERVER_MOVED
    )
}

fn subscribe_hint(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::QUOTA_EXCEEDED => {
            "the broker limits subscriptions or messages: try fewer filters, or ask its operator"
        }
        ReasonCode::TOPIC_FILTER_INVALID => {
            "the broker does not accept this filter: check --root, --event-root and --topic"
        }
        ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED => "leave out --share",
        ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED => "name one topic without wildcards with tail --topic",
        ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED => "try --mqtt-version 3.1.1",
        ReasonCode::IMPLEMENTATION_SPECIFIC => "the broker gives no further reason: check its log",
        ReasonCode::SERVER_BUSY | ReasonCode::SERVER_UNAVAILABLE | ReasonCode::SERVER_SHUTTING_DOWN => {
            "try again later"
        }
        ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED => "name the other server with --broker",
        ReasonCode::SESSION_TAKEN_OVER => "another client has connected with this client identifier: check --client-id",
        _ => "check the broker's access list for this user",
    }
}

fn unsupported(feature: Feature, broker: &BrokerUrl) -> Failure {
    let (what, hint) = match feature {
        Feature::SharedSubscriptions => {
            ("shared subscriptions", subscribe_hint(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED))
        }
        Feature::WildcardSubscriptions => {
            ("wildcard subscriptions", subscribe_hint(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED))
        }
    };
    Failure::refused(format!("{broker} does not support {what}, as its CONNACK reports")).hint(hint)
}

/// Warns if the broker's certificate is not verified.
pub(super) fn warn_if_insecure(options: &Options, broker: &BrokerUrl, report: Report) {
    if options.tls.insecure && broker.scheme.is_tls() {
        report.warn(INSECURE_WARNING);
    }
}

/// Warns of what the broker limits although it was requested, and with `-v` reports its other limits.
pub(super) fn warn_of_limits(options: &Options, connected: &Connected, report: Report) {
    let Connected { broker, accepted, .. } = connected;
    let limits = &accepted.limits;
    if let (Some(requested), Some(kept)) = (options.session_expiry, limits.session_expiry)
        && kept < requested
    {
        let kept = humantime::format_duration(kept);
        let requested = humantime::format_duration(requested);
        report.warn(format_args!(
            "{broker} keeps the session for {kept} instead of {requested}: messages published later than that after a \
             disconnect are lost"
        ));
    }
    if limits.maximum_qos < 2 {
        report.debug(format_args!("{broker} accepts publications up to QoS {}", limits.maximum_qos));
    }
    if let Some(size) = limits.maximum_packet_size {
        report.debug(format_args!("{broker} accepts packets of up to {size} bytes"));
    }
    if limits.receive_maximum < u16::MAX {
        report.debug(format_args!("{broker} accepts {} unacknowledged publications", limits.receive_maximum));
    }
    if let Some(interval) = limits.server_keep_alive {
        let interval = humantime::format_duration(interval);
        report.debug(format_args!("{broker} sets the keep-alive interval to {interval}"));
    }
    if let Some(id) = &limits.assigned_client_id {
        report.debug(format_args!("{broker} assigns the client identifier {id}"));
    }
    if !limits.subscription_identifiers {
        report.debug(format_args!("{broker} offers no subscription identifiers: overlapping filters are merged"));
    }
    if !limits.retain_available {
        report.debug(format_args!("{broker} keeps no retained messages"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::hint_of;
    use crate::output::report::Verbosity;
    use crate::transport::error::TlsFile;
    use std::collections::HashSet;

    const CODES: [ReasonCode; 8] = [
        ReasonCode::NOT_AUTHORIZED,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        ReasonCode::BANNED,
        ReasonCode::SERVER_BUSY,
        ReasonCode::SERVER_MOVED,
        ReasonCode::QUOTA_EXCEEDED,
        ReasonCode::UNSPECIFIED,
    ];

    #[test]
    fn each_invalid_websocket_frame_has_its_own_message_and_a_hint() {
        let broker: BrokerUrl = "ws://h".parse().expect("a URL");
        let options = Options::for_local(([127, 0, 0, 1], 1).into());
        let mut messages = HashSet::new();
        for error in [
            FrameError::Extension,
            FrameError::Masked,
            FrameError::OutOfSequence,
            FrameError::Text,
            FrameError::InvalidControlFrame,
            FrameError::UnknownOpcode,
            FrameError::InvalidLength,
        ] {
            let end = || ConnectionEnd::WebSocket(error);
            let failure = ConnectFailure { broker: broker.clone(), error: ConnectError::Ended(end()) };
            let failures = [
                connect_failure(&failure, &options),
                subscribe_failure(&SubscribeError::Ended(end()), &broker),
                session_failure(&SessionError::Lost(end()), &options, Report::new(Verbosity::Quiet, false)),
            ];
            for failure in failures {
                let message = failure.to_string();
                assert!(message.contains("WebSocket") && !message.contains("broke ("), "{message}");
                assert_eq!(failure.status(), Status::Unreachable, "{message}");
                let failure = anyhow::Error::new(failure);
                let hint = hint_of(&failure).unwrap_or_default();
                assert!(hint.contains("MQTT broker"), "{message}: {hint}");
                assert!(messages.insert(message), "two errors have the same message: {error:?}");
            }
        }
    }

    #[test]
    fn denials_and_wrong_options_have_their_own_statuses() {
        let broker: BrokerUrl = "mqtt://h".parse().expect("a URL");
        let options = Options::for_local(([127, 0, 0, 1], 1).into());
        let refused = |code: ReasonCode| ConnectError::Ended(ConnectionEnd::Refused(code.into()));
        let others = [
            ConnectError::UnsupportedVersion(Version::V5),
            ConnectError::Ended(ConnectionEnd::Closed),
            ConnectError::Dial(DialError::Tls(TlsError::InvalidFile { file: TlsFile::CaFile, path: "ca".into() })),
            ConnectError::Dial(DialError::Tls(TlsError::Expired)),
            ConnectError::PasswordNeedsUserName,
            ConnectError::Cancelled,
        ];
        for error in CODES.map(refused).into_iter().chain(others) {
            let failure = ConnectFailure { broker: broker.clone(), error };
            let status = connect_failure(&failure, &options).status();
            assert_eq!(denies_connection(&failure.error), status == Status::Refused, "{failure:?}");
            assert_eq!(is_misconfigured(&failure.error), status == Status::Usage, "{failure:?}");
        }
        let denied = |code: ReasonCode| SubscribeError::Refused {
            denied: vec![("a".parse().expect("a topic filter"), code.into())],
            of: 1,
        };
        let disconnected = |code: ReasonCode| SubscribeError::Ended(ConnectionEnd::Disconnected(code.into()));
        let others = [SubscribeError::Unsupported(Feature::SharedSubscriptions), SubscribeError::Cancelled];
        for error in CODES.map(denied).into_iter().chain(CODES.map(disconnected)).chain(others) {
            let status = subscribe_failure(&error, &broker).status();
            assert_eq!(denies_subscription(&error), status == Status::Refused, "{error:?}");
        }
    }
}
