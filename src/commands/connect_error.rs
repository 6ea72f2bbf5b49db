//! The sentences for connections that cannot be made: what failed, what to check, and the status.

use crate::exit::Failure;
use crate::transport::error::{DialError, DialStep, Peer, ProxyError, TlsError, TlsFile, WebSocketError};
use crate::transport::options::Options;
use crate::transport::url::{BrokerUrl, UrlError, UrlProblem};

const CHECK_BROKER: &str = "check --broker or RTCOMM_BROKER";
const CHECK_PROXY: &str = "check --proxy, or https_proxy in the environment";

/// A warning for every connection whose certificate is not checked.
pub(super) const INSECURE_WARNING: &str =
    "the broker's certificate is not checked (--insecure): anyone can pose as the broker";

/// The failure of a text that is not a broker URL.
pub(crate) fn broker_url_failure(error: &UrlError) -> Failure {
    let problem = url_problem(error.problem());
    let message = match error.url() {
        Some(url) => format!("'{url}' is not a valid broker URL: {problem}"),
        None => format!("the broker URL {problem}"),
    };
    Failure::usage(message).hint(match error.suggestion() {
        Some(url) => format!("did you mean {url}?"),
        None if error.problem() == UrlProblem::Credentials => {
            "give the name with --username, and the password with --password-file or RTCOMM_PASSWORD".to_owned()
        }
        None => "write --broker (or RTCOMM_BROKER) as mqtt://HOST:1883 or mqtts://HOST:8883".to_owned(),
    })
}

/// What is wrong with a broker URL, to follow the URL and a colon. To follow "the broker URL", if it has credentials.
fn url_problem(problem: UrlProblem) -> &'static str {
    match problem {
        UrlProblem::Empty => "it is empty",
        UrlProblem::Credentials => "contains a user name or a password, which every user of this machine can read",
        UrlProblem::NoScheme => "it has no scheme",
        UrlProblem::UnknownScheme => "scheme must be mqtt, mqtts, ws or wss",
        UrlProblem::NoHost => "it has no host",
        UrlProblem::InvalidHost => "host must be a DNS name or an IP address",
        UrlProblem::NonAsciiHost => "host must be ASCII: write an internationalized name in its xn-- form",
        UrlProblem::MissingBrackets => "an IPv6 address must be in brackets",
        UrlProblem::InvalidBrackets => "host must be an IPv6 address in brackets",
        UrlProblem::NoZone => "a link-local address needs a zone, as in [fe80::1%eth0]",
        UrlProblem::InvalidPort => "port must be 1-65535",
        UrlProblem::UnexpectedPath => "only ws:// and wss:// have a path",
        UrlProblem::InvalidPath => "path must be printable ASCII without spaces or '#'",
    }
}

/// The failure of a connection to this broker.
pub(super) fn dial_failure(error: &DialError, broker: &BrokerUrl, options: &Options) -> Failure {
    let timeout = humantime::format_duration(options.connect_timeout);
    let check = match error.peer() {
        Peer::Broker => CHECK_BROKER,
        Peer::Proxy => CHECK_PROXY,
    };
    // The host that the TCP connection is made to.
    let target = match (error.peer(), options.proxy.proxy_for(broker)) {
        (Peer::Proxy, Some(proxy)) => format!("the proxy {}", proxy.authority()),
        _ => broker.to_string(),
    };
    let cannot_connect = |why: &str| Failure::unreachable(format!("cannot connect to {target}: {why}"));
    match error {
        DialError::Resolve { reason, .. } => {
            cannot_connect(&format!("no such host ({reason})")).hint(match error.peer() {
                Peer::Broker => "check the host name in --broker or RTCOMM_BROKER",
                Peer::Proxy => CHECK_PROXY,
            })
        }
        DialError::NoAddress { .. } => cannot_connect("the host has no address").hint(check),
        DialError::Connect { kind: std::io::ErrorKind::ConnectionRefused, peer, .. } => {
            cannot_connect("connection refused").hint(match peer {
                Peer::Broker => {
                    "is a broker listening there? check --broker or RTCOMM_BROKER; \
                     `rtcomm demo` starts one to try things with"
                }
                Peer::Proxy => CHECK_PROXY,
            })
        }
        DialError::Connect { kind: std::io::ErrorKind::TimedOut, .. }
        | DialError::Timeout { step: DialStep::Connect, .. } => cannot_connect(&format!("no answer within {timeout}"))
            .hint(match error.peer() {
                Peer::Broker => "check host, port and firewall; --connect-timeout waits longer",
                Peer::Proxy => CHECK_PROXY,
            }),
        DialError::Connect { reason, .. } => cannot_connect(reason).hint(check),
        DialError::Timeout { step: DialStep::Resolve, .. } => {
            cannot_connect(&format!("the host name cannot be resolved within {timeout}"))
                .hint("check the name server; --connect-timeout waits longer")
        }
        DialError::Timeout { step: DialStep::Handshake, peer: Peer::Broker } => {
            Failure::unreachable(format!("{broker} accepts the connection but does not answer within {timeout}"))
                .hint("is it an MQTT broker, and is this its MQTT port?")
        }
        DialError::Timeout { step: DialStep::Handshake, peer: Peer::Proxy } => {
            proxy_failure(broker, &format!("does not answer within {timeout}"), CHECK_PROXY)
        }
        DialError::Proxy(error) => proxy_error(error, broker),
        DialError::Tls(error) => tls_failure(error, broker),
        DialError::WebSocket(error) => websocket_failure(error, broker),
        DialError::Io(reason) => Failure::unreachable(format!("cannot set up a connection to {broker}: {reason}")),
    }
}

fn proxy_failure(broker: &BrokerUrl, what: &str, hint: &str) -> Failure {
    Failure::unreachable(format!("cannot connect to {broker}: the proxy {what}")).hint(hint)
}

fn proxy_error(error: &ProxyError, broker: &BrokerUrl) -> Failure {
    const CREDENTIALS: &str =
        "write the user name and the password in the environment: https_proxy=http://USER:PASSWORD@HOST:PORT";
    let (what, hint) = match error {
        ProxyError::AuthenticationRequired => ("requires a user name and a password".to_owned(), CREDENTIALS),
        ProxyError::AuthenticationFailed => ("does not accept the user name and the password".to_owned(), CREDENTIALS),
        ProxyError::Refused { status_line } => (
            format!("refuses: {status_line}"),
            "check --proxy, or https_proxy in the environment, and whether the proxy may connect to this host and port",
        ),
        ProxyError::NotHttp => ("is not an HTTP proxy".to_owned(), CHECK_PROXY),
        ProxyError::Closed => ("closes the connection without an answer".to_owned(), CHECK_PROXY),
        ProxyError::Io(reason) => (format!("does not answer: {reason}"), CHECK_PROXY),
    };
    proxy_failure(broker, &what, hint)
}

fn websocket_failure(error: &WebSocketError, broker: &BrokerUrl) -> Failure {
    const CHECK: &str = "does an MQTT broker speak WebSockets at this port and path?";
    let closed = |what: &str| format!("{broker} closed the connection instead of answering ({what})");
    let refused = |why: &str| format!("{broker} does not open a WebSocket: {why}");
    let (message, hint) = match error {
        WebSocketError::Status { line } => (
            refused(&format!("it answers {line}")),
            "check host, port and path of the URL; without a path, /mqtt is requested",
        ),
        WebSocketError::NotHttp => (refused("it does not speak HTTP"), CHECK),
        WebSocketError::Closed => (closed("end of the stream"), CHECK),
        WebSocketError::NotUpgraded => (refused("it answers 101 without an upgrade to WebSocket"), CHECK),
        WebSocketError::BadAccept => (refused("Sec-WebSocket-Accept does not match"), CHECK),
        WebSocketError::BadProtocol { name } => (refused(&format!("it chose the subprotocol '{name}'")), CHECK),
        WebSocketError::Io(reason) => (closed(reason), CHECK),
    };
    Failure::unreachable(message).hint(hint)
}

/// The failure of TLS with this broker, also of an alert that comes after the handshake.
pub(super) fn tls_failure(error: &TlsError, broker: &BrokerUrl) -> Failure {
    let (what, hint) = match error {
        TlsError::UnreadableFile { file, path, reason } => {
            return Failure::usage(format!("cannot read '{}' ({}): {reason}", path.display(), flag(*file)));
        }
        TlsError::InvalidFile { file: TlsFile::Key, path } => {
            return Failure::usage(format!("cannot read the private key in '{}'", path.display()))
                .hint("it must be PEM; if it is encrypted, name its passphrase with --key-password-file");
        }
        TlsError::InvalidFile { file, path } => {
            return Failure::usage(format!("'{}' ({}) contains no certificate", path.display(), flag(*file)))
                .hint("it must be PEM: -----BEGIN CERTIFICATE-----");
        }
        TlsError::KeyMismatch { key, cert } => {
            let (key, cert) = (key.display(), cert.display());
            return Failure::unreachable(format!(
                "TLS: wrong key: '{key}' does not belong to the certificate '{cert}'"
            ))
            .hint("check --key and --cert");
        }
        TlsError::UnknownCa { reason } => (
            format!("unknown CA: {reason}"),
            "--cafile must contain the authority that signed the broker's certificate",
        ),
        TlsError::HostMismatch { host } => (
            format!("host name mismatch: the broker's certificate is not for {host}"),
            "check the host in --broker; it must be one that the certificate names",
        ),
        TlsError::Expired => {
            ("the broker's certificate has expired".to_owned(), "ask the broker's operator to renew it")
        }
        TlsError::NotYetValid => {
            ("the broker's certificate is not valid yet".to_owned(), "check the clocks of both machines")
        }
        TlsError::BadCertificate { reason } => (reason.clone(), "check the broker's certificate"),
        TlsError::NotTls => (
            "the server does not speak TLS".to_owned(),
            "is this a plain port? check the port; a plain one needs mqtt:// or ws://",
        ),
        TlsError::ClientCertificateRequired => {
            ("the broker requires a client certificate".to_owned(), "name one with --cert and --key")
        }
        TlsError::ClientCertificateRejected { reason } => (
            format!("the broker does not accept our certificate ({reason})"),
            "check that --cert is signed by an authority that the broker trusts, and still valid",
        ),
        TlsError::HandshakeRefused { reason } => (
            format!("the broker refuses the handshake ({reason})"),
            "it may require a client certificate (--cert and --key), or TLS versions or ciphers that are not offered",
        ),
        TlsError::ProtocolVersion => {
            ("the broker does not speak TLS 1.2 or later".to_owned(), "ask the broker's operator to enable TLS 1.2")
        }
        TlsError::NoApplicationProtocol => (
            "the broker refuses the application protocols that are offered".to_owned(),
            "check --alpn: a broker may require a certain protocol",
        ),
        TlsError::Closed => (
            "the server closes the connection during the handshake, as a plain port does".to_owned(),
            "check the port; the broker may require a client certificate (--cert and --key)",
        ),
        TlsError::Other { reason } => (reason.clone(), "check the port, --cafile, --cert and --key"),
    };
    Failure::unreachable(format!("cannot connect to {broker}: TLS: {what}")).hint(hint)
}

fn flag(file: TlsFile) -> &'static str {
    match file {
        TlsFile::CaFile => "--cafile",
        TlsFile::Certificate => "--cert",
        TlsFile::Key => "--key",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{Status, hint_of};
    use crate::transport::options::ProxyChoice;
    use std::collections::HashSet;
    use std::io::ErrorKind;

    /// Why, the status, a part of the sentence and a part of the hint.
    type Row = (DialError, Status, &'static str, &'static str);

    fn tls(error: TlsError, says: &'static str, hint: &'static str) -> Row {
        (DialError::Tls(error), Status::Unreachable, says, hint)
    }

    fn file(error: TlsError, says: &'static str, hint: &'static str) -> Row {
        (DialError::Tls(error), Status::Usage, says, hint)
    }

    fn connect(peer: Peer, kind: ErrorKind, says: &'static str, hint: &'static str) -> Row {
        let address = "127.0.0.1:1".parse().expect("an address");
        let error = DialError::Connect { peer, address, kind, reason: "some reason (os error 1)".to_owned() };
        (error, Status::Unreachable, says, hint)
    }

    fn timeout(peer: Peer, step: DialStep, says: &'static str, hint: &'static str) -> Row {
        (DialError::Timeout { peer, step }, Status::Unreachable, says, hint)
    }

    fn rows() -> Vec<Row> {
        use Peer::{Broker, Proxy};
        let (host, reason) = (|| "h".to_owned(), || "some reason".to_owned());
        let proxy = |error, says, hint| (DialError::Proxy(error), Status::Unreachable, says, hint);
        let websocket = |error, says, hint| (DialError::WebSocket(error), Status::Unreachable, says, hint);
        let path = || "/f".into();
        vec![
            (
                DialError::Resolve { peer: Broker, host: host(), reason: reason() },
                Status::Unreachable,
                "connect to wss://h:443: no such host (some reason)",
                "the host name in --broker",
            ),
            (
                DialError::Resolve { peer: Proxy, host: host(), reason: reason() },
                Status::Unreachable,
                "connect to the proxy p:8080: no such host (some reason)",
                "--proxy",
            ),
            (
                DialError::NoAddress { peer: Broker, host: host() },
                Status::Unreachable,
                "the host has no address",
                "--broker",
            ),
            connect(Broker, ErrorKind::ConnectionRefused, "wss://h:443: connection refused", "is a broker listening"),
            connect(Proxy, ErrorKind::ConnectionRefused, "the proxy p:8080: connection refused", "--proxy"),
            connect(Broker, ErrorKind::NetworkUnreachable, "wss://h:443: some reason", "--broker"),
            connect(Proxy, ErrorKind::NetworkUnreachable, "the proxy p:8080: some reason", "--proxy"),
            timeout(Broker, DialStep::Resolve, "cannot be resolved within 10s", "name server"),
            timeout(Broker, DialStep::Connect, "wss://h:443: no answer within 10s", "firewall"),
            timeout(Proxy, DialStep::Connect, "the proxy p:8080: no answer within 10s", "--proxy"),
            timeout(Broker, DialStep::Handshake, "does not answer within 10s", "is it an MQTT broker"),
            timeout(Proxy, DialStep::Handshake, "the proxy does not answer within 10s", "--proxy"),
            proxy(ProxyError::AuthenticationRequired, "requires a user name and a password", "https_proxy=http://USER"),
            proxy(ProxyError::AuthenticationFailed, "does not accept the user name", "https_proxy=http://USER"),
            proxy(
                ProxyError::Refused { status_line: "HTTP/1.1 403 Forbidden".to_owned() },
                "the proxy refuses: HTTP/1.1 403 Forbidden",
                "may connect",
            ),
            proxy(ProxyError::NotHttp, "the proxy is not an HTTP proxy", "--proxy"),
            proxy(ProxyError::Closed, "the proxy closes the connection", "--proxy"),
            proxy(ProxyError::Io(reason()), "the proxy does not answer: some reason", "--proxy"),
            tls(TlsError::UnknownCa { reason: reason() }, "TLS: unknown CA: some reason", "--cafile"),
            tls(
                TlsError::HostMismatch { host: host() },
                "host name mismatch: the broker's certificate is not for h",
                "--broker",
            ),
            tls(TlsError::Expired, "has expired", "renew"),
            tls(TlsError::NotYetValid, "not valid yet", "clocks"),
            tls(TlsError::BadCertificate { reason: "bad purpose".to_owned() }, "bad purpose", "certificate"),
            tls(TlsError::NotTls, "does not speak TLS", "mqtt://"),
            tls(TlsError::ClientCertificateRequired, "requires a client certificate", "--cert"),
            tls(
                TlsError::ClientCertificateRejected { reason: reason() },
                "does not accept our certificate",
                "still valid",
            ),
            tls(TlsError::HandshakeRefused { reason: reason() }, "refuses the handshake (some reason)", "--cert"),
            tls(TlsError::ProtocolVersion, "TLS 1.2 or later", "operator"),
            tls(TlsError::NoApplicationProtocol, "application protocols", "--alpn"),
            tls(TlsError::Closed, "as a plain port does", "check the port"),
            tls(TlsError::Other { reason: reason() }, "TLS: some reason", "check the port"),
            tls(TlsError::KeyMismatch { key: path(), cert: "/c".into() }, "wrong key: '/f' does not belong", "--key"),
            file(
                TlsError::UnreadableFile { file: TlsFile::CaFile, path: path(), reason: reason() },
                "cannot read '/f' (--cafile): some reason",
                "",
            ),
            file(
                TlsError::InvalidFile { file: TlsFile::CaFile, path: path() },
                "'/f' (--cafile) contains no certificate",
                "PEM",
            ),
            file(TlsError::InvalidFile { file: TlsFile::Certificate, path: path() }, "'/f' (--cert) contains", "PEM"),
            file(
                TlsError::InvalidFile { file: TlsFile::Key, path: path() },
                "private key in '/f'",
                "--key-password-file",
            ),
            websocket(
                WebSocketError::Status { line: "HTTP/1.1 404 Not Found".to_owned() },
                "it answers HTTP/1.1 404 Not Found",
                "path of the URL",
            ),
            websocket(WebSocketError::NotHttp, "does not speak HTTP", "speak WebSockets"),
            websocket(WebSocketError::Closed, "closed the connection instead of answering", "speak WebSockets"),
            websocket(WebSocketError::NotUpgraded, "without an upgrade", "speak WebSockets"),
            websocket(WebSocketError::BadAccept, "Sec-WebSocket-Accept", "speak WebSockets"),
            websocket(WebSocketError::BadProtocol { name: "chat".to_owned() }, "'chat'", "speak WebSockets"),
            websocket(WebSocketError::Io(reason()), "instead of answering (some reason)", "speak WebSockets"),
            (
                DialError::Io(reason()),
                Status::Unreachable,
                "cannot set up a connection to wss://h:443: some reason",
                "",
            ),
        ]
    }

    #[test]
    fn each_cause_has_its_own_sentence_a_hint_and_a_status() {
        let broker: BrokerUrl = "wss://h".parse().expect("a broker URL");
        let mut options = Options::for_local("127.0.0.1:1".parse().expect("an address"));
        options.proxy = ProxyChoice::Always("http://ops:hunter2@p".parse().expect("a proxy URL"));
        let mut sentences = HashSet::new();
        for (error, status, says, hint) in rows() {
            let failure = dial_failure(&error, &broker, &options);
            let sentence = failure.to_string();
            assert!(sentence.contains(says), "'{says}' in '{sentence}'");
            assert!(!sentence.contains("hunter2"), "{sentence}");
            assert_eq!(failure.status(), status, "{sentence}");
            let failure = anyhow::Error::new(failure);
            let advice = hint_of(&failure).unwrap_or_default();
            assert!(advice.contains(hint), "'{hint}' in '{advice}'");
            assert!(sentences.insert(sentence), "two causes have one sentence: {error:?}");
        }
    }

    #[test]
    fn an_invalid_broker_url_has_a_message_and_a_hint_that_fits() {
        let credentials =
            "the broker URL contains a user name or a password, which every user of this machine can read";
        for (url, message, hint) in [
            ("mqtt://user:hunter2@h", credentials, "--username"),
            ("h", "'h' is not a valid broker URL: it has no scheme", "did you mean mqtt://h?"),
            ("mqtt://", "'mqtt://' is not a valid broker URL: it has no host", "--broker"),
            (
                "mqtt://h]",
                "'mqtt://h]' is not a valid broker URL: host must be an IPv6 address in brackets",
                "--broker",
            ),
        ] {
            let failure = broker_url_failure(&url.parse::<BrokerUrl>().expect_err("not a broker URL"));
            assert_eq!(failure.status(), Status::Usage);
            assert_eq!(failure.to_string(), message);
            let failure = anyhow::Error::new(failure);
            assert!(hint_of(&failure).is_some_and(|it| it.contains(hint)), "{url}");
        }
    }

    #[test]
    fn the_kernels_own_timeout_is_a_timeout() {
        let broker: BrokerUrl = "mqtt://h".parse().expect("a broker URL");
        let options = Options::for_local("127.0.0.1:1".parse().expect("an address"));
        let (error, ..) = connect(Peer::Broker, ErrorKind::TimedOut, "", "");
        let sentence = dial_failure(&error, &broker, &options).to_string();
        assert_eq!(sentence, "cannot connect to mqtt://h:1883: no answer within 10s");
    }
}
