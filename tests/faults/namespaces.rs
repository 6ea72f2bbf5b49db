//! Unusual hosts: without IPv4, with only loopback, with a read-only file system, with several addresses per name.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::namespace::{Network, read_only, with_hosts};
use crate::rig::{LONG, Mosquitto, figures, rtcomm_at, started_by, wait_until};
use crate::support::broker::{free_port, installed};
use crate::support::events::event;
use crate::support::mqtt::Message;
use crate::support::peer::{Connection, Peer, Script};
use crate::support::pki::Authority;
use crate::support::relay::fill_backlog;
use crate::support::service::reply;

fn started() -> Message {
    Message::new("/rtcomm/event/session/started/a/b", event(&json!({})))
}

/// Waits until an IPv6 address of the namespace is reachable. The kernel makes the route a moment after the address.
fn wait_for_route(network: &Network, address: &str) {
    wait_until("the route", LONG, String::new, || network.ip("-6 route show table local").contains(address));
}

/// Publishes a retained event, which each new subscriber gets.
fn retain_an_event(network: &Network, host: &str, port: u16) {
    let publish = format!("-h {host} -p {port} -r -q 1 -t {} -m", started().topic);
    let [program, flag] = network.within();
    let mut command = std::process::Command::new(installed(program));
    command.arg(flag).arg(installed("mosquitto_pub")).args(publish.split_whitespace()).arg(event(&json!({})));
    let output = command.output().expect("mosquitto_pub can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Watches and calls over every scheme at this address of the namespace.
fn works_over_every_scheme(network: &Network, address: &str) {
    let authority = Authority::new("our CA");
    let (ws, tls) = (free_port(), free_port());
    let tls_lines = authority.server().mosquitto().replace("allow_anonymous true\n", "");
    let more = format!(
        "allow_anonymous true\nlistener {ws} {address}\nprotocol websockets\nlistener {tls} {address}\n{tls_lines}"
    );
    let broker = Mosquitto::unlimited_within(&network.within(), address, &more);
    retain_an_event(network, address, broker.port());
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    for (scheme, port) in [("mqtt", broker.port()), ("ws", ws), ("mqtts", tls)] {
        let url = format!("{scheme}://{host}:{port}");
        for version in ["5", "3.1.1"] {
            let run = |words: &str| {
                let run = rtcomm_at(&format!("{words} --mqtt-version {version}"), &url);
                // The certificate does not match this address.
                network.run(if scheme == "mqtts" { run.arg("--insecure") } else { run })
            };
            run("watch -c 1 --json").run().has_status(0);
            run("tail -c 1 --json").run().has_status(0);
            run("call a b --timeout 3s").run().has_status(if version == "5" { 6 } else { 124 });
        }
    }
}

#[test]
#[ignore = "takes 20 s; make test-faults"]
fn a_host_without_ipv4_addresses_reaches_every_broker() {
    // With and without the address 127.0.0.1, which most such hosts have.
    for more in ["", "\naddr del 127.0.0.1/8 dev lo"] {
        let commands = format!("link set lo up\naddr add fd00::1/128 dev lo nodad{more}");
        let Some(network) = Network::with(&commands) else { return };
        wait_for_route(&network, "fd00::1");
        works_over_every_scheme(&network, "fd00::1");
    }
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn a_host_with_only_loopback_reaches_its_own_broker() {
    let Some(network) = Network::with("link set lo up") else { return };
    works_over_every_scheme(&network, "127.0.0.1");
}

#[test]
fn a_link_local_address_is_reached_by_its_zone() {
    let Some(network) = Network::with("link set lo up\naddr add fe80::1/64 dev lo nodad") else { return };
    wait_for_route(&network, "fe80::1");
    let broker = Mosquitto::unlimited_within(&network.within(), "::", "allow_anonymous true\n");
    retain_an_event(&network, "::1", broker.port());
    for zone in ["%lo", "%25lo"] {
        let url = format!("mqtt://[fe80::1{zone}]:{}", broker.port());
        network.run(rtcomm_at("watch -c 1", &url)).run().has_status(0);
    }
}

#[test]
fn a_host_without_ipv6_reaches_its_own_broker() {
    let Some(network) = Network::with("link set lo up\naddr del ::1/128 dev lo") else { return };
    let broker = Mosquitto::unlimited_within(&network.within(), "127.0.0.1", "allow_anonymous true\n");
    retain_an_event(&network, "127.0.0.1", broker.port());
    network.run(broker.rtcomm("watch -c 1")).run().has_status(0);
    network.run(broker.rtcomm("call a b")).run().has_status(6);
}

#[test]
fn a_read_only_file_system_is_enough() {
    for command in ["watch -c 1", "tail -c 1", "call a b"] {
        for version in ["5", "3.1.1"] {
            let script = Script { to_subscriber: vec![started()], ..Script::default() };
            let peer = Peer::broker(script.replying(|request| vec![reply(request, &json!({}))]));
            let run = rtcomm_at(&format!("{command} --mqtt-version {version}"), &peer.url());
            let Some(run) = read_only(run) else { return };
            run.run().has_status(0);
        }
    }
}

/// Runs with a name whose first address does not work and whose second is a broker. Returns how long the run took.
fn by_the_second_address(dead_end: impl Fn(SocketAddr) -> Box<dyn Any>, flags: &str) -> Option<Duration> {
    const HOSTS: &str = "127.0.0.1 localhost\n127.0.0.2 twin\n127.0.0.3 twin\n";
    let script = Script { to_subscriber: vec![started()], ..Script::default() }
        .replying(|request| vec![reply(request, &json!({}))]);
    let mut longest = Duration::ZERO;
    for command in ["watch -c 1", "call a b"] {
        let script = script.clone();
        let follow = move |connection: &mut Connection| connection.follow(&script);
        let second = Peer::start_at((Ipv4Addr::new(127, 0, 0, 3), 0).into(), follow);
        let port = second.address().port();
        let held = dead_end((Ipv4Addr::new(127, 0, 0, 2), port).into());
        let run = rtcomm_at(&format!("{command} {flags}"), &format!("mqtt://twin:{port}"));
        let run = with_hosts(run, HOSTS)?;
        let began = Instant::now();
        run.run().has_status(0);
        longest = longest.max(began.elapsed());
        drop(held);
    }
    Some(longest)
}

#[test]
fn an_address_that_drops_syns_does_not_use_up_the_connect_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(25);
    let swallow = |address| {
        let listener = TcpListener::bind(address).expect("the port is free at another address too");
        Box::new((fill_backlog(&listener), listener)) as Box<dyn Any>
    };
    let took = by_the_second_address(swallow, "--connect-timeout 25s");
    let Some(took) = took else { return };
    figures(format_args!("the second address of a name answered after {took:.1?}"));
    assert!(took < TIMEOUT / 2, "{took:?} of {TIMEOUT:?}");
}

#[test]
fn an_address_that_refuses_is_followed_by_the_next() {
    by_the_second_address(|_| Box::new(()), "");
}

#[test]
fn an_address_that_accepts_and_does_not_speak_mqtt_is_followed_by_the_next() {
    let saying = |bytes: &'static [u8]| {
        move |address| {
            let peer = Peer::start_at(address, move |connection: &mut Connection| connection.send_bytes(bytes));
            Box::new(peer) as Box<dyn Any>
        }
    };
    by_the_second_address(saying(b""), "");
    by_the_second_address(saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), "");
    by_the_second_address(saying(b"220 mail.example ESMTP\r\n"), "");
    let silent = |address| Box::new(Peer::start_at(address, Connection::read_to_end)) as Box<dyn Any>;
    by_the_second_address(silent, "--connect-timeout 3s");
}

/// A frozen process keeps its listening socket: the kernel completes handshakes.
#[test]
fn a_cluster_name_leads_to_a_working_node() {
    let frozen = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("the system has a free port");
    let port = frozen.local_addr().expect("it is bound").port();
    let script = Script { to_subscriber: vec![started()], ..Script::default() };
    let second =
        Peer::start_at((Ipv4Addr::new(127, 0, 0, 3), port).into(), move |it: &mut Connection| it.follow(&script));
    let run = rtcomm_at("watch -c 1 --connect-timeout 3s", &format!("mqtt://twin:{port}"));
    let Some(run) = with_hosts(run, "127.0.0.2 twin\n127.0.0.3 twin\n") else { return };
    run.run().has_status(0);
    assert_eq!(second.levels(), [5]);
    drop(frozen);
}

#[test]
fn a_host_without_interfaces_fails_at_once() {
    let Some(network) = Network::with("link set lo down") else { return };
    let run = rtcomm_at("watch --connect-timeout 5s", &format!("mqtt://127.0.0.1:{}", free_port()));
    started_by(&network.within(), run).run().has_status(5).prints("").says("  hint: ");
}
