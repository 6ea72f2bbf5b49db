//! How the broker, its address and the MQTT version are chosen, and how failed connections are reported.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::broker::free_port;
use crate::support::events::event;
use crate::support::mqtt::{CONNECT, Connect, Message, PINGREQ, VERSIONS, Version};
use crate::support::peer::{Peer, Script, ToVersion5};
use crate::support::relay::{Answer, Relay};
use crate::support::service::reply;
use crate::support::{Rtcomm, TIMEOUT, rtcomm};

fn started() -> Message {
    Message::new("/rtcomm/event/session/started/a/b", event(&json!({})))
}

/// Returns a script that sends one event to each subscriber, and a reply to each request.
fn script() -> Script {
    Script { to_subscriber: vec![started()], ..Script::default() }.replying(|request| vec![reply(request, &json!({}))])
}

fn with_brokers(words: &str, urls: &[String]) -> Rtcomm {
    urls.iter().fold(rtcomm(words), |run, url| run.arg("-b").arg(url))
}

fn dead_url() -> String {
    format!("mqtt://127.0.0.1:{}", free_port())
}

#[test]
fn brokers_are_tried_in_their_order() {
    for command in ["watch -c 1 --json", "tail -c 1 --json", "call a b --json"] {
        let [first, second] = [Peer::broker(script()), Peer::broker(script())];
        let urls = [dead_url(), first.url(), second.url()];
        with_brokers(command, &urls).run().has_status(0);
        assert_eq!((first.connections().len(), second.connections().len()), (1, 0), "{command}");
        // In the environment, spaces separate the URLs.
        rtcomm(command).env("RTCOMM_BROKER", urls.join(" ")).run().has_status(0);
        assert_eq!((first.connections().len(), second.connections().len()), (2, 0), "{command}");
    }
}

#[test]
fn brokers_on_the_command_line_replace_those_of_the_environment() {
    let [typed, other] = [Peer::broker(script()), Peer::broker(script())];
    with_brokers("watch -c 1", &[typed.url()]).env("RTCOMM_BROKER", other.url()).run().has_status(0);
    assert_eq!((typed.connections().len(), other.connections().len()), (1, 0));
}

#[test]
fn a_wrong_url_among_several_is_a_usage_error() {
    let broker = Peer::broker(script());
    for wrong in ["", "htp://x", "mqtt://host:0"] {
        with_brokers("watch", &[broker.url(), wrong.to_owned()]).run().has_status(2).prints("").says("--broker");
    }
    rtcomm("watch").env("RTCOMM_BROKER", format!("{} htp://x", broker.url())).run().has_status(2).says("RTCOMM_BROKER");
    assert!(broker.connections().is_empty());
}

#[test]
fn if_no_broker_can_be_reached_each_is_named() {
    let urls = [dead_url(), dead_url()];
    for command in ["watch", "call a b"] {
        let outcome = with_brokers(command, &urls).run().has_status(5).prints("");
        outcome.says(&urls[0]).says(&urls[1]).says("connection refused");
    }
}

#[test]
fn after_a_loss_the_next_broker_comes_first() {
    // Each broker closes the connection after its event, so the run visits one after the other.
    let brokers = [(); 3].map(|()| Peer::leaving_after(vec![started()]));
    let urls = brokers.each_ref().map(Peer::url);
    let outcome = with_brokers("watch --json -c 5", &urls).run().has_status(0);
    let counts = brokers.each_ref().map(|broker| broker.connections().len());
    outcome.check(counts == [2, 2, 1], &format!("one after the other, and not {counts:?}"));
}

#[test]
fn an_address_that_does_not_speak_mqtt_is_followed_by_the_next_broker() {
    let dead_ends = [
        ("silent", Peer::silent()),
        ("HTTP", Peer::saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")),
        ("closes", Peer::saying(b"")),
        ("not available", Peer::refusing(0x88, 3)),
    ];
    for (what, dead_end) in dead_ends {
        for command in ["watch -c 1", "call a b"] {
            let good = Peer::broker(script());
            let run = with_brokers(&format!("{command} --connect-timeout 2s"), &[dead_end.url(), good.url()]).run();
            run.check(run.status_code() == Some(0), &format!("the broker after one that is {what}"));
        }
    }
}

/// All brokers get the same credentials, so no other broker is tried.
#[test]
fn a_refusal_of_the_credentials_is_reported() {
    let refusing = Peer::refusing(0x87, 5);
    let run = with_brokers("watch", &[refusing.url(), dead_url()]).run();
    run.check(run.status_code().is_some_and(|status| [4, 5].contains(&status)), "4 or 5");
    drop(run.prints("").says("not authorized"));
}

/// `socat TCP-LISTEN` without `fork` accepts only one connection.
#[test]
fn a_run_needs_only_one_connection() {
    for version in ["5", "3.1.1", "auto"] {
        for command in ["watch -c 1", "tail -c 1", "call a b"] {
            let peer = Peer::broker(script());
            let run = rtcomm(&format!("{command} --mqtt-version {version} --broker")).arg(peer.url()).run();
            drop(run.has_status(0));
            assert_eq!(peer.connections().len(), 1, "{command} with --mqtt-version {version}");
        }
    }
}

#[test]
fn a_broker_that_returns_with_only_3_1_1_is_reconnected_to() {
    for to_version_5 in [ToVersion5::ReasonCode, ToVersion5::ReturnCode, ToVersion5::Close, ToVersion5::Reset] {
        let peer = Peer::start(move |connection| {
            if connection.number == 0 {
                return connection.accept_and_grant();
            }
            connection.follow(&Script { to_version_5, ..script() })
        });
        let outcome = rtcomm("watch -c 1 --broker").arg(peer.url()).run().has_status(0);
        let levels = peer.levels();
        outcome.check(levels[0] == 5 && levels.last() == Some(&4), &format!("5 and then 3.1.1, not {levels:?}"));
    }
}

#[test]
fn a_broker_that_returns_with_version_5_is_reconnected_to() {
    let peer = Peer::start(move |connection| {
        if connection.number < 2 {
            return connection.follow(&Script { to_version_5: ToVersion5::Close, ..script() });
        }
        connection.follow(&script())
    });
    let watch = rtcomm("watch --json --verbose --broker").arg(peer.url()).start().until_ready();
    watch.wait_for_lines(1);
    assert_eq!(peer.levels(), [5, 4]);
    drop(watch);
    rtcomm("watch -c 1 --broker").arg(peer.url()).run().has_status(0);
    assert_eq!(peer.levels(), [5, 4, 5]);
}

#[test]
fn a_broker_that_ignores_version_5_leaves_time_for_3_1_1() {
    for command in ["watch -c 1 --connect-timeout 4s", "call a b --connect-timeout 4s"] {
        let peer = Peer::broker(Script { to_version_5: ToVersion5::Silence, ..script() });
        let outcome = rtcomm(command).arg("--broker").arg(peer.url()).run().has_status(0);
        outcome.check(peer.levels() == [5, 4], "5 and then 3.1.1");
    }
}

#[test]
fn a_password_alone_is_sent_with_mqtt_5() {
    for version in ["5", "auto"] {
        for command in ["watch -c 1", "call a b"] {
            let peer = Peer::broker(script());
            let run = rtcomm(&format!("{command} --mqtt-version {version} --broker")).arg(peer.url());
            drop(run.env("RTCOMM_PASSWORD", "a token").run().has_status(0));
            let connect = Connect::parse(&peer.seen_of(CONNECT)[0]);
            assert_eq!(connect.flags & 0xc0, 0x40, "the password flag alone");
            assert_eq!(connect.password.as_deref(), Some(&b"a token"[..]));
        }
    }
}

/// [MQTT-3.1.2-22] of 3.1.1
#[test]
fn a_password_alone_is_a_usage_error_with_mqtt_3_1_1() {
    let peer = Peer::broker(script());
    for command in ["watch", "tail", "call a b"] {
        let run = rtcomm(&format!("{command} --mqtt-version 3.1.1 --broker")).arg(peer.url());
        let outcome = run.env("RTCOMM_PASSWORD", "a token").run().has_status(2).prints("");
        outcome.says("--username").says("3.1.1").never_says("a token");
    }
    assert!(peer.connections().is_empty());
    // The fallback to 3.1.1 must not send a forbidden CONNECT.
    let peer = Peer::broker(Script { to_version_5: ToVersion5::ReasonCode, ..script() });
    let outcome = rtcomm("watch --broker").arg(peer.url()).env("RTCOMM_PASSWORD", "a token").run().prints("");
    outcome.check(outcome.status_code().is_some_and(|status| [2, 4].contains(&status)), "2 or 4");
    outcome.says("--username");
    let sent = peer.seen_of(CONNECT).iter().map(Connect::parse).any(|it| it.version == Version::V3_1_1);
    assert!(!sent, "no CONNECT of 3.1.1");
}

/// Host, `no_proxy`, and whether the proxy is bypassed, as in curl 7.88.
const NO_PROXY: [(&str, &str, bool); 31] = [
    ("localhost", "localhost", true),
    ("LOCALHOST", "localhost", true),
    ("localhost", "LOCALHOST", true),
    ("localhost", "localhost.", true),
    ("localhost.", "localhost", true),
    ("localhost", ".localhost", true),
    ("localhost", "foo localhost", true),
    ("localhost", "foo,,localhost", true),
    ("localhost", "foo ,localhost ,bar", true),
    ("localhost", "foo\tlocalhost", true),
    ("a.localhost", "localhost", true),
    ("a.localhost", ".localhost", true),
    ("a.localhost", "*.localhost", false),
    ("notlocalhost", "localhost", false),
    ("localhost", "a.localhost", false),
    ("localhost", "ocalhost", false),
    ("localhost", "*", true),
    ("127.0.0.1", "127.0.0.0/8", true),
    ("127.0.0.1", "127.0.0.1/32", true),
    ("127.0.0.1", "10.0.0.0/8 127.0.0.0/30", true),
    ("127.0.0.1", "127.0.0.1", true),
    ("127.0.0.1", "127.0.0.2", false),
    ("127.0.0.1", "128.0.0.0/8", false),
    ("127.0.0.1", "0.0.1", false),
    ("127.0.0.1", "localhost", false),
    ("[::1]", "::1", true),
    ("[::1]", "::/64", true),
    ("[::1]", "fe80::/10", false),
    ("[::1]", "127.0.0.1", false),
    ("localhost", "localhost:9", false),
    ("localhost", "", false),
];

#[test]
fn no_proxy_is_read_as_curl_reads_it() {
    for (host, no_proxy, is_bypassed) in NO_PROXY {
        let proxy = Relay::proxy(Answer::Refuse("403 Forbidden"));
        let run = rtcomm("watch --connect-timeout 5s --broker").arg(format!("mqtts://{host}:{}", free_port()));
        let run = run.env("https_proxy", proxy.http_url()).env("no_proxy", no_proxy);
        let outcome = run.run().has_status(5).prints("");
        let is_asked = !proxy.heads().is_empty();
        let expected = if is_bypassed { "no proxy" } else { "the proxy" };
        outcome.check(is_asked != is_bypassed, &format!("{expected} for {host} with no_proxy='{no_proxy}'"));
    }
}

/// A local address on which a process listens.
enum Endpoint {
    Tcp(std::net::SocketAddr),
    Unix(UnixAddress),
}

/// Returns the addresses on which a process listens, from the kernel's tables.
fn endpoints(process: u32) -> Vec<Endpoint> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let inodes: HashSet<String> = descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = |name: &str| fs::read_to_string(format!("/proc/{process}/net/{name}")).unwrap_or_default();
    let mut endpoints = Vec::new();
    for name in ["tcp", "tcp6"] {
        for line in table(name).lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // State 0A: listening.
            if fields[3] == "0A" && inodes.contains(fields[9]) {
                let port = fields[1].rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
                let port = port.expect("a port in hexadecimal digits");
                let is_v4 = name == "tcp";
                let host = if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
                endpoints.push(Endpoint::Tcp(std::net::SocketAddr::new(host, port)));
            }
        }
    }
    for line in table("unix").lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Flags 00010000: listening.
        if let [_, _, _, "00010000", _, _, inode, path] = fields[..]
            && inodes.contains(inode)
        {
            let address = match path.strip_prefix('@') {
                Some(name) => UnixAddress::from_abstract_name(name),
                None => UnixAddress::from_pathname(path),
            };
            endpoints.extend(address.ok().map(Endpoint::Unix));
        }
    }
    endpoints
}

/// A CONNECT of MQTT 3.1.1.
const FOREIGN_CONNECT: &[u8] = b"\x10\x14\0\x04MQTT\x04\x02\0\0\0\x08stranger";

/// Connects as another process. Returns an error unless the connection is closed without an answer.
fn connect_as_intruder(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Tcp(address) => TcpStream::connect(address).map_or(None, |stream| {
            stream.set_read_timeout(Some(TIMEOUT)).expect("a socket has a timeout");
            wrong_answer(&stream, &stream)
        }),
        Endpoint::Unix(address) => UnixStream::connect_addr(address).map_or(None, |stream| {
            stream.set_read_timeout(Some(TIMEOUT)).expect("a socket has a timeout");
            wrong_answer(&stream, &stream)
        }),
    }
}

fn wrong_answer(mut reader: impl io::Read, mut writer: impl io::Write) -> Option<String> {
    // Ignore errors: the connection may be reset first.
    let _ = writer.write_all(FOREIGN_CONNECT);
    let mut answer = Vec::new();
    match reader.read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some("the connection stays open".to_owned()),
        _ if !answer.is_empty() => Some(format!("answered {answer:02x?}")),
        _ => None,
    }
}

#[test]
fn the_endpoints_of_a_process_are_found() {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
    let name = format!("rtcomm-test-{}", std::process::id());
    let address = UnixAddress::from_abstract_name(&name).expect("a short name");
    let _unix = UnixListener::bind_addr(&address).expect("the name is free");
    let found = endpoints(std::process::id());
    let local = tcp.local_addr().expect("it is bound");
    assert!(found.iter().any(|it| matches!(it, Endpoint::Tcp(address) if *address == local)));
    let is_ours = |it: &UnixAddress| it.as_abstract_name() == Some(name.as_bytes());
    assert!(found.iter().any(|it| matches!(it, Endpoint::Unix(address) if is_ours(address))));
}

/// The library connects to the relay at a local endpoint, which must reject all other processes.
#[test]
fn another_process_at_the_local_endpoint_is_disconnected() {
    for version in VERSIONS {
        for late in [false, true, false, true] {
            let is_let_in = Arc::new(AtomicBool::new(!late));
            let gate = is_let_in.clone();
            let peer = Peer::start(move |connection| {
                let connect = connection.wait_for(CONNECT)?;
                while !gate.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
                connection.answer(&connect, &Script::default())?;
                connection.grant()?;
                connection.wait_for(PINGREQ)?;
                connection.publish(&started())?;
                connection.serve()
            });
            let watch = format!("watch --json -c 1 --keepalive 1s --mqtt-version {version} --broker");
            let process = rtcomm(&watch).arg(peer.url()).start();
            let is_over = Arc::new(AtomicBool::new(false));
            let over = is_over.clone();
            let pid = process.child.id();
            let intruder = thread::spawn(move || {
                let mut answers = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    answers.extend(endpoints(pid).iter().filter_map(connect_as_intruder));
                }
                answers
            });
            peer.wait_for_packets(1);
            is_let_in.store(true, Ordering::SeqCst);
            let outcome = process.end().has_status(0);
            is_over.store(true, Ordering::SeqCst);
            let answers = intruder.join().expect("an intruder does not panic");
            outcome.check(answers.is_empty(), &format!("another process is disconnected, not {answers:?}"));
            outcome.check(outcome.json_lines().len() == 1, "the event");
            let connects: Vec<_> = peer.seen_of(CONNECT).iter().map(Connect::parse).collect();
            assert!(connects.iter().all(|connect| connect.client_id != "stranger"), "{connects:?}");
        }
    }
}
