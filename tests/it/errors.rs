//! Each cause of an error has its own message, hint and exit status, in both MQTT versions. The peer is a real broker, or a
//! scripted one for errors that mosquitto does not produce.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::broker::{free_port, password_file};
use crate::support::guarded::Guarded;
use crate::support::peer::{Peer, Script, ToVersion5};
use crate::support::pki::{Authority, Identity};
use crate::support::relay::{Answer, Relay};
use crate::support::{Broker, Outcome, Rtcomm, rtcomm};

/// A cause of an error, and the expected message, hint and status.
struct Row {
    cause: &'static str,
    url: String,
    flags: Vec<String>,
    status: i32,
    /// A part of the error message.
    says: &'static str,
    /// A part of the hint.
    hint: &'static str,
}

fn row(cause: &'static str, url: impl Into<String>, status: i32, says: &'static str, hint: &'static str) -> Row {
    Row { cause, url: url.into(), flags: Vec::new(), status, says, hint }
}

impl Row {
    fn flag(mut self, flag: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.flags.push(flag.to_owned());
        self.flags.push(value.as_ref().to_str().expect("a text of ours").to_owned());
        self
    }

    fn trusting(self, authority: &Authority) -> Self {
        self.flag("--cafile", authority.cafile())
    }

    fn showing(self, Identity { cert, key }: &Identity) -> Self {
        self.flag("--cert", cert).flag("--key", key)
    }
}

/// Returns the error message. Checks that it and one hint are the only output.
#[track_caller]
fn sentence(outcome: &Outcome) -> (String, String) {
    let lines: Vec<&str> = outcome.stderr.lines().filter(|line| !line.starts_with("rtcomm: warning: ")).collect();
    let [error, hint] = lines[..] else {
        outcome.check(false, "one sentence and one hint");
        unreachable!("it was checked");
    };
    let parts = error.strip_prefix("rtcomm: error: ").zip(hint.strip_prefix("  hint: "));
    outcome.check(parts.is_some(), "an error and its hint");
    outcome.check(!outcome.stderr.contains("panicked"), "no panic");
    let (error, hint) = parts.expect("it was checked");
    (error.to_owned(), hint.to_owned())
}

/// Runs a row with every command that connects, in both versions, and returns the error messages.
fn run_row(row: &Row) -> Vec<String> {
    let Row { cause, url, flags, status, says, hint } = row;
    let start = |(version, command): (&str, &str)| {
        let run = rtcomm(command).arg("--broker").arg(url).env("RTCOMM_MQTT_VERSION", version);
        flags.iter().fold(run, Rtcomm::arg).start()
    };
    let commands = ["watch", "tail", "call a b"];
    let running: Vec<_> =
        ["5", "3.1.1"].iter().flat_map(|version| commands.map(|command| start((version, command)))).collect();
    let mut sentences = Vec::new();
    for process in running {
        let outcome = process.end().has_status(*status).prints("");
        let (sentence, advice) = sentence(&outcome);
        outcome.check(sentence.contains(says), &format!("{cause}: `{says}` in the sentence"));
        outcome.check(advice.contains(hint), &format!("{cause}: `{hint}` in the hint"));
        sentences.push(sentence.replace(url, "URL"));
    }
    sentences
}

/// Checks that no two causes have the same message.
fn check_all(rows: &[Row]) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for row in rows {
        for sentence in run_row(row) {
            let before = seen.insert(sentence.clone(), row.cause);
            let is_its_own = before.is_none_or(|cause| cause == row.cause);
            assert!(is_its_own, "{before:?} and {} have the same message: {sentence}", row.cause);
        }
    }
}

/// Returns a port where connections are neither accepted nor refused, while the value lives.
fn full_port() -> (u16, TcpListener, Vec<TcpStream>) {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let socket = socket.expect("the system has sockets");
    let any = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    rustix::net::bind(&socket, &any).expect("the system has a free port");
    rustix::net::listen(&socket, 0).expect("it is bound");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("it is bound");
    let mut waiting = Vec::new();
    // Linux drops SYNs while the queue is full.
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    (address.port(), listener, waiting)
}

#[test]
fn each_failure_to_connect_has_its_own_message() {
    let refused = format!("mqtt://127.0.0.1:{}", free_port());
    let (full, _listener, _waiting) = full_port();
    let silent = Peer::silent();
    let http = Peer::saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let mail = Peer::saying(b"220 mail.example ESMTP\r\n\r\n");
    let plain = Broker::mosquitto();
    let [forbids, wants_password] =
        ["403 Forbidden", "407 Proxy Authentication Required"].map(|status| Relay::proxy(Answer::Refuse(status)));
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let timeout = |row: Row| row.flag("--connect-timeout", "1s");
    check_all(&[
        row("no such host", "mqtt://no-such-host.invalid", 5, "no such host", "--broker"),
        row("refused", refused, 5, "connection refused", "is a broker listening there?"),
        timeout(row("timed out", format!("mqtt://127.0.0.1:{full}"), 5, "no answer within 1s", "firewall")),
        timeout(row("silent", silent.url(), 5, "does not answer within 1s", "is it an MQTT broker")),
        timeout(row("silent", silent.url().replace("mqtt", "mqtts"), 5, "does not answer within 1s", "is it an MQTT")),
        row("not an MQTT broker", http.url(), 5, "instead of answering", "is it an MQTT broker"),
        row("not an MQTT broker", plain.url_as("ws", "127.0.0.1"), 5, "instead of answering", "speak WebSockets"),
        row(
            "no WebSocket",
            http.url().replace("mqtt", "ws"),
            5,
            "it answers HTTP/1.1 400 Bad Request",
            "path of the URL",
        ),
        row("no proxy", plain.url(), 5, "cannot connect to the proxy 127.0.0.1:", "--proxy").flag("--proxy", nobody),
        row("proxy refuses", plain.url(), 5, "the proxy refuses: HTTP/1.1 403 Forbidden", "may connect")
            .flag("--proxy", forbids.http_url()),
        row("proxy requires a password", plain.url(), 5, "user name and a password", "https_proxy")
            .flag("--proxy", wants_password.http_url()),
        row("no HTTP proxy", plain.url(), 5, "the proxy is not an HTTP proxy", "--proxy")
            .flag("--proxy", mail.url().replace("mqtt", "http")),
    ]);
}

#[test]
fn a_duration_that_ends_before_the_subscription_is_a_failure() {
    let silent = Peer::silent();
    for flags in ["", "--fail-empty", "--count 1"] {
        let run = rtcomm(&format!("watch --for 300ms {flags} --broker")).arg(silent.url()).run();
        drop(run.has_status(5).prints("").never_says("warning").says("before ").says(&silent.url()));
    }
}

#[test]
fn each_failure_of_tls_has_its_own_message() {
    let ours = Authority::new("our CA");
    let other = Authority::new("another CA");
    let good = Broker::mosquitto_with(&ours.server().mosquitto());
    let expired = Broker::mosquitto_with(&ours.expired_server().mosquitto());
    let early = Broker::mosquitto_with(&ours.early_server().mosquitto());
    let elsewhere = Broker::mosquitto_with(&ours.server_elsewhere().mosquitto());
    let asking = format!("{}cafile {}\nrequire_certificate true\n", ours.server().mosquitto(), ours.cafile().display());
    let asking = Broker::mosquitto_with(&asking);
    let plain = Broker::mosquitto();
    let http = Peer::saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let tls = |broker: &Broker| broker.url_as("mqtts", "localhost");
    let client = ours.client("ops");
    let mixed = Identity { cert: client.cert.clone(), key: ours.client("other").key };
    for scheme in ["mqtts", "wss"] {
        let tls = |broker: &Broker| tls(broker).replace("mqtts", scheme);
        let tls_url = |peer: &Peer| peer.url().replace("mqtt", scheme);
        check_all(&[
            row("unknown CA", tls(&good), 5, "unknown CA", "--cafile").trusting(&other),
            row("expired", tls(&expired), 5, "has expired", "renew").trusting(&ours),
            row("too early", tls(&early), 5, "not valid yet", "clocks").trusting(&ours),
            row("host name mismatch", tls(&elsewhere), 5, "not for localhost", "--broker").trusting(&ours),
            row("certificate required", tls(&asking), 5, "requires a client certificate", "--cert").trusting(&ours),
            row("strange certificate", tls(&asking), 5, "does not accept our certificate", "--cert")
                .trusting(&ours)
                .showing(&other.client("stranger")),
            row("expired certificate", tls(&asking), 5, "certificate expired", "still valid")
                .trusting(&ours)
                .showing(&ours.expired_client()),
            row("wrong key", tls(&asking), 5, "wrong key", "--key").trusting(&ours).showing(&mixed),
            row("plain port", tls(&plain), 5, "as a plain port does", "check the port").trusting(&ours),
            row("plain port", tls_url(&http), 5, "does not speak TLS", "mqtt://").trusting(&ours),
        ]);
    }
    // The same through a proxy.
    let relay = Relay::proxy(Answer::Connect);
    let proxy = || relay.http_url();
    check_all(&[
        row("unknown CA", tls(&good), 5, "unknown CA", "--cafile").trusting(&other).flag("--proxy", proxy()),
        row("host name mismatch", tls(&elsewhere), 5, "not for localhost", "--broker")
            .trusting(&ours)
            .flag("--proxy", proxy()),
        row("plain port", tls(&plain), 5, "as a plain port does", "check").trusting(&ours).flag("--proxy", proxy()),
    ]);
    let address = elsewhere.url_as("mqtts", "127.0.0.1");
    check_all(&[row("address mismatch", address, 5, "not for 127.0.0.1", "--broker").trusting(&ours)]);
    check_all(&[row("port for TLS", good.url(), 5, "closed the connection", "a port for TLS needs mqtts://")]);
}

#[test]
fn each_reason_in_a_connack_has_its_own_message() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let users = password_file(dir.path(), "iggy", "right");
    let guarded = Broker::mosquitto_with(&format!("allow_anonymous false\npassword_file {}\n", users.display()));
    // Reason codes of MQTT 5, 3.2.2.2, and return codes of MQTT 3.1.1, 3.2.2.3.
    let no_id = Peer::refusing(0x85, 2);
    let unavailable = Peer::refusing(0x88, 3);
    let wrong_password = Peer::refusing(0x86, 4);
    let not_authorized = Peer::refusing(0x87, 5);
    let version = Peer::refusing(0x84, 1);
    check_all(&[
        row("not authorized", guarded.url(), 4, "refuses anonymous clients: not authorized", "--username"),
        row("client id refused", no_id.url(), 4, "refuses the client identifier", "--client-id"),
        row("server unavailable", unavailable.url(), 5, "is not available", "later"),
        row("version refused", version.url(), 4, "does not speak MQTT", "--mqtt-version"),
    ]);
    for peer in [wrong_password, not_authorized] {
        check_all(&[
            row("not authorized", peer.url(), 4, "not authorized", "--password-file").flag("--username", "iggy")
        ]);
    }
    // Reasons that exist only in MQTT 5.
    for (code, status, says, hint) in [
        (0x89, 5, "is not available: ", "later"),
        (0x8a, 4, "has banned this client", "operator"),
        (0x97, 5, "is not available: ", "later"),
        (0x9f, 5, "is not available: ", "later"),
    ] {
        let peer = Peer::refusing(code, 3);
        for command in ["watch", "tail", "call a b"] {
            let outcome = rtcomm(command).arg("--broker").arg(peer.url()).run().has_status(status).prints("");
            let (sentence, advice) = sentence(&outcome);
            outcome.check(sentence.contains(says) && advice.contains(hint), says);
        }
    }
}

#[test]
fn a_denied_subscription_or_publication_names_its_topic() {
    let guarded = Guarded::new();
    guarded.grant("nothing", &[]);
    guarded.grant("replies", &[("subscribePattern", "/rtcomm/reply/#")]);
    for version in ["5", "3.1.1"] {
        let run = |words: &str| guarded.rtcomm("nothing", version, words);
        for (run, filter) in
            [(run("watch"), "'/rtcomm/event/#'"), (run("tail"), "'/rtcomm/#'"), (run("call a b"), "'/rtcomm/reply/")]
        {
            let outcome = run.run().has_status(4).prints("");
            let (sentence, hint) = sentence(&outcome);
            outcome.check(sentence.contains("refuses the subscription to ") && sentence.contains(filter), filter);
            outcome.check(hint.contains("access list"), "a hint about access lists");
        }
    }
    let outcome = guarded.rtcomm("replies", "5", "call a b").run().has_status(4).prints("");
    let (text, hint) = sentence(&outcome);
    outcome.check(text.contains("refuses the publication to '/rtcomm/callControl': "), "the topic");
    outcome.check(hint.contains("access list") && hint.contains("--as"), "a hint about access lists");
    let outcome = guarded.rtcomm("replies", "3.1.1", "call a b --timeout 5s").run().has_status(124).prints("");
    let (text, hint) = sentence(&outcome);
    outcome.check(text.contains("no 3PCC service response"), "the deadline");
    outcome
        .check(hint.contains("dropped the request") && hint.contains("only MQTT 5 brokers report"), "this may be why");
    // The same with a broker that speaks only MQTT 3.1.1.
    let script = Script {
        to_version_5: ToVersion5::Close,
        granted: Some(0x80),
        to_subscriber: vec![],
        on_publish: None,
        ..Script::default()
    };
    let peer = Peer::broker(script);
    let outcome = rtcomm("watch").arg("--broker").arg(peer.url()).run().has_status(4).prints("");
    outcome.check(sentence(&outcome).0.contains("refuses the subscription to '/rtcomm/event/#'"), "the filter");
}
