//! The reader of standard output stops reading for longer than the keep-alive interval.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::rig::event_counts::read_on;
use crate::rig::process_stats::{LIMIT, OWN_LIMIT, own, peak, resident};
use crate::rig::{EventCounts, LONG, Load, Mosquitto, figures, publisher, rtcomm_at, wait_on};
use crate::support::mqtt::{CONNECT, Message, PINGREQ, PINGRESP, PUBACK, Packet, Properties, SUBSCRIBE, Subscribe};
use crate::support::peer::{Connection, Peer, Received, Script};

/// How many keep-alive intervals the reader stops for. This test needs real time.
const INTERVALS: u32 = 4;

const MANY: u64 = 100_000;

/// Returns events of a scripted peer: more bytes than a pipe and two sockets hold.
fn events(numbers: std::ops::Range<u64>, qos: u8) -> impl Iterator<Item = Packet> {
    numbers.map(move |number| {
        let id = u16::try_from(number % 65_535 + 1).expect("at most 65535").to_be_bytes();
        Message::new(publisher::TOPIC, publisher::payload(number)).with_qos(qos).packet(id)
    })
}

fn a_blocked_output_loses_nothing(flags: &str) {
    const KEEPALIVE: Duration = Duration::from_secs(2);
    let broker = Mosquitto::unlimited_with("allow_anonymous true\nmax_queued_bytes 0\n");
    let words = format!("watch --json --keepalive 2s {flags}");
    let (process, stdout) = broker.rtcomm(&words).start_unread();
    let process = process.until_ready();
    let name = if flags.contains("--durable") { "archive" } else { "reader" };
    let publisher = Load::to(broker.address(), 0..MANY).start();
    thread::sleep(KEEPALIVE * INTERVALS + Duration::from_secs(1));
    // The broker stores what the client does not read, so the publisher does not wait for the client.
    wait_on(&process, "the publisher", LONG, || publisher.has_finished());
    let (waiting, owned) = (resident(&process), own(&process));
    let counts = read_on(stdout, EventCounts::of(MANY));
    wait_on(&process, "the rest", LONG, || counts.lock().is_complete());
    let highest = peak(&process);
    let outcome = process.terminate();
    let counts = counts.lock();
    counts.check_is_whole();
    figures(format_args!(
        "the output was blocked for {INTERVALS} keep-alive intervals while {MANY} came ({flags}): {waiting} then ({owned} beside \
         code), {highest} at the most, 0 missing, {} duplicates",
        counts.duplicates()
    ));
    let connections = broker.log().matches(&format!("as {name} ")).count();
    outcome.check(connections == 1, &format!("one session, not {connections}"));
    outcome.check(!outcome.stderr.contains("warning"), "nothing to report");
    outcome.check(counts.duplicates() == 0, "no duplicates over one connection");
    outcome.check(highest < LIMIT && owned < OWN_LIMIT, &format!("{highest} resident, {owned} anonymous"));
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn a_stopped_reader_keeps_its_durable_session_and_loses_nothing() {
    a_blocked_output_loses_nothing("--durable archive");
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn a_stopped_reader_keeps_its_session_and_loses_nothing_at_qos_1() {
    a_blocked_output_loses_nothing("--client-id reader");
}

#[test]
#[ignore = "takes 15 s; make test-faults"]
fn a_stopped_reader_keeps_its_session_and_loses_nothing_at_qos_0() {
    a_blocked_output_loses_nothing("--client-id reader --qos 0");
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn a_stopped_reader_keeps_its_session_with_mqtt_3_1_1() {
    a_blocked_output_loses_nothing("--durable archive --mqtt-version 3.1.1");
}

/// Writes packets while reading, as a broker does. Answers a PINGREQ after the packets that are already written.
fn serve_while_writing(connection: &mut Connection, packets: impl Iterator<Item = Packet> + Send) -> io::Result<()> {
    let mut writer = connection.writer()?;
    let (answer, answers) = channel::<Packet>();
    thread::scope(|scope| {
        scope.spawn(move || -> io::Result<()> {
            for packet in packets {
                packet.write(&mut writer)?;
                answers.try_iter().try_for_each(|answer| answer.write(&mut writer))?;
            }
            answers.iter().try_for_each(|answer| answer.write(&mut writer))
        });
        loop {
            if connection.read()?.kind() == PINGREQ && answer.send(Packet::new(PINGRESP, [])).is_err() {
                return Ok(());
            }
        }
    })
}

/// Returns the longest time between two packets of a client, or since its last packet.
fn longest_silence(received: &[Received], until: Instant) -> Duration {
    let times: Vec<Instant> = received.iter().map(|it| it.at).chain([until]).collect();
    times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().unwrap_or_default()
}

/// [MQTT-3.1.2-23] of 3.1.1: the client must not be silent for longer than the keep-alive interval.
#[test]
#[ignore = "takes 55 s; make test-faults"]
fn a_client_is_never_silent_for_a_whole_keep_alive_interval() {
    const KEEPALIVE: Duration = Duration::from_secs(4);
    for (what, count, qos, flags) in [
        ("idle", 0, 0, ""),
        ("blocked", 100_000, 0, "--qos 0"),
        ("blocked at QoS 1", 60_000, 1, ""),
        ("blocked at QoS 2", 60_000, 2, "--qos 2"),
    ] {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            serve_while_writing(connection, events(0..count, qos))
        });
        let words = format!("watch --json --keepalive 4s --mqtt-version 3.1.1 --no-reconnect {flags}");
        let (process, stdout) = rtcomm_at(&words, &peer.url()).start_unread();
        let process = process.until_ready();
        thread::sleep(KEEPALIVE * 3);
        let silence = longest_silence(&peer.received(), Instant::now());
        let pings = peer.seen_of(PINGREQ).len();
        figures(format_args!("{what}: {pings} PINGREQ, silent for at most {silence:.2?} (keep-alive {KEEPALIVE:?})"));
        assert!(silence <= KEEPALIVE, "{what}: silent for {silence:?}\n{}", process.so_far("running"));
        assert!(pings >= 2, "{what}: {pings} PINGREQ\n{}", process.so_far("running"));
        let counts = read_on(stdout, EventCounts::of(count));
        wait_on(&process, "the rest", LONG, || counts.lock().is_complete());
        process.terminate();
        counts.lock().check_is_whole();
    }
}

/// The time for which the client does not read does not count as silence of the peer.
#[test]
#[ignore = "takes 20 s; make test-faults"]
fn a_peer_is_not_considered_dead_while_the_output_is_blocked() {
    for version in ["5", "3.1.1"] {
        let broker = Mosquitto::unlimited_with("allow_anonymous true\nmax_queued_bytes 0\n");
        let words = format!("watch --json --keepalive 1s --no-reconnect --mqtt-version {version}");
        let (process, stdout) = broker.rtcomm(&words).start_unread();
        let process = process.until_ready();
        Load::to(broker.address(), 0..MANY).start().finish(LONG);
        thread::sleep(Duration::from_secs(5));
        let counts = read_on(stdout, EventCounts::of(MANY));
        wait_on(&process, "the rest", LONG, || counts.lock().is_complete());
        process.terminate().never_says("lost ");
    }
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn a_suback_behind_blocked_messages_is_awaited() {
    const COUNT: u64 = 60_000;
    for version in ["5", "3.1.1"] {
        let peer = Peer::start(|connection| {
            let connect = connection.wait_for(CONNECT)?;
            connection.answer(&connect, &Script::default())?;
            let packet = connection.wait_for(SUBSCRIBE)?;
            let subscribe = Subscribe::parse(connection.version, &packet);
            let codes: Vec<u8> = subscribe.filters.iter().map(|filter| filter.qos).collect();
            let suback = Packet::suback(connection.version, subscribe.id, &codes, &Properties::none());
            let version = connection.version;
            let events = (0..COUNT).map(move |number| {
                let message = Message::new(publisher::TOPIC, publisher::payload(number)).with_qos(0);
                message.encode(version, [0, 0], &Properties::none())
            });
            serve_while_writing(connection, events.chain([suback]))
        });
        let words =
            format!("watch --json --connect-timeout 1s --keepalive 30s --no-reconnect --mqtt-version {version}");
        let (process, stdout) = rtcomm_at(&words, &peer.url()).start_unread();
        peer.wait_until("SUBSCRIBE", |received| received.iter().any(|it| it.packet.kind() == SUBSCRIBE));
        // Longer than --connect-timeout.
        thread::sleep(Duration::from_secs(4));
        let counts = read_on(stdout, EventCounts::of(COUNT));
        let process = process.until_ready();
        wait_on(&process, "the rest", LONG, || counts.lock().is_complete());
        process.terminate().never_says("warning");
        assert_eq!(peer.connections().len(), 1);
    }
}

/// Set in the child process, in the namespace whose sockets have small buffers.
const SMALL_BUFFERS: &str = "RTCOMM_TEST_SMALL_BUFFERS";

/// A network namespace whose sockets take 4 KiB before a write blocks.
const WITH_SMALL_BUFFERS: &str =
    r#"ip link set lo up && echo 4096 4096 4096 >/proc/sys/net/ipv4/tcp_wmem && exec "$@""#;

/// A blocked broker does not read acknowledgements. The test runs itself again in a network namespace.
#[test]
#[ignore = "takes 15 s; make test-faults"]
fn acknowledgements_to_a_peer_that_only_writes_do_not_block_the_stream() {
    const NAME: &str = "slow_reader::acknowledgements_to_a_peer_that_only_writes_do_not_block_the_stream";
    if std::env::var_os(SMALL_BUFFERS).is_some() {
        return acknowledges_to_a_peer_that_only_writes();
    }
    let within = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-euc", WITH_SMALL_BUFFERS, "sh", program]).stdin(Stdio::null());
        command
    };
    if !within("true").output().is_ok_and(|output| output.status.success()) {
        return figures("not tested: nobody may make a namespace with small socket buffers here");
    }
    let program = std::env::current_exe().expect("a program knows its file");
    let mut command = within(program.to_str().expect("a path of ours"));
    command.args(["--exact", NAME, "--include-ignored", "--nocapture"]).env(SMALL_BUFFERS, "1");
    let status = command.status().expect("unshare can be started");
    assert!(status.success(), "it fails in the namespace: {status}");
}

fn acknowledges_to_a_peer_that_only_writes() {
    /// More than the maximum number of unacknowledged messages.
    const COUNT: u64 = 60_000;
    const ROUNDS: u64 = 5;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
    // Accepted sockets inherit the buffer size.
    set_socket_recv_buffer_size(&listener, 4_096).expect("a listener has a buffer size");
    let peer = Peer::start_on(listener, move |connection| {
        connection.accept_and_grant()?;
        for round in 0..ROUNDS {
            let bytes: Vec<u8> = events(round * COUNT..(round + 1) * COUNT, 1).flat_map(|it| it.encode()).collect();
            connection.send_bytes(&bytes)?;
            for _ in 0..COUNT {
                connection.wait_for(PUBACK)?;
            }
        }
        connection.serve()
    });
    let words = "watch --json --keepalive 10m --mqtt-version 3.1.1 --no-reconnect";
    let (process, stdout) = rtcomm_at(words, &peer.url()).start_unread();
    let counts = read_on(stdout, EventCounts::of(COUNT * ROUNDS));
    wait_on(&process, "every event", LONG, || counts.lock().is_complete());
    let (highest, owned) = (peak(&process), own(&process));
    process.terminate();
    counts.lock().check_is_whole();
    peer.wait_for_end();
    let acknowledged = peer.seen_of(PUBACK).len() as u64;
    figures(format_args!(
        "{acknowledged} of {} acknowledged to a peer that writes {COUNT} before it reads; at most {highest} \
         resident, {owned} anonymous",
        COUNT * ROUNDS
    ));
    assert_eq!(acknowledged, COUNT * ROUNDS);
    assert!(highest < LIMIT && owned < OWN_LIMIT, "{highest} resident, {owned} anonymous");
}
