//! Signals end a run cleanly and soon, in every state.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::rig::event_counts::read_on;
use crate::rig::{EventCounts, LONG, Mosquitto, figures, name, rtcomm_at, wait_on};
use crate::support::peer::Peer;
use crate::support::relay::{Plan, Relay, fill_backlog};
use crate::support::{Outcome, Process, TIMEOUT};

/// How long a run may take to end on a busy machine.
const END_LIMIT: Duration = Duration::from_secs(4);

/// How long it may take if there is nothing to wait for.
const IMMEDIATE_END_LIMIT: Duration = Duration::from_secs(1);

/// The number of attempts at a measurement that a busy machine can spoil.
const TRIES: usize = 5;

/// More messages than a pipe holds.
const PIPE_OVERFLOW: u64 = 2_000;

/// A run with blocked output waits at least this long after a signal.
const BLOCKED: Duration = Duration::from_millis(500);

const SIGNALS: [(Signal, i32); 2] = [(Signal::INT, 130), (Signal::TERM, 143)];

/// Sends a signal. Returns the outcome, and how long the run took to end.
fn ends(process: Process, signal: Signal) -> (Outcome, Duration) {
    process.signal(signal);
    let began = Instant::now();
    let outcome = process.end();
    (outcome, began.elapsed())
}

#[test]
fn a_signal_ends_an_idle_run_with_a_disconnect_and_a_summary() {
    let broker = Mosquitto::unlimited();
    for command in ["watch", "watch --durable archive", "tail --json"] {
        for (signal, status) in SIGNALS {
            let (outcome, took) = ends(broker.rtcomm(command).start().until_ready(), signal);
            let outcome = outcome.has_status(status).prints("").says("0 messages seen, 0 printed");
            outcome.never_says("warning");
            figures(format_args!("{command}: gone {took:.0?} after {}", name(signal)));
            assert!(took < IMMEDIATE_END_LIMIT, "{took:?}");
        }
    }
}

/// The library's threads can be in any state when a run ends. So many runs end at various times, and more of them run in
/// parallel than there are cores.
#[test]
fn a_run_that_ends_while_connecting_ends_cleanly() {
    const THREADS: usize = 8;
    const RUNS: usize = 100;
    let broker = Mosquitto::unlimited();
    let run = || {
        for _ in 0..RUNS {
            let (process, stdout) = broker.rtcomm("tail --json").start_unread();
            drop(stdout);
            process.end().has_status(0);
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(run))));
}

#[test]
fn acknowledged_messages_are_printed_before_the_end() {
    let broker = Mosquitto::unlimited();
    let (process, stdout) = broker.rtcomm("watch --json --durable archive").start_unread();
    let process = process.until_ready();
    let counts = read_on(stdout, EventCounts::of(PIPE_OVERFLOW));
    broker.publish(PIPE_OVERFLOW);
    ends(process, Signal::TERM).0.has_status(143).says(" printed, ");
    let (process, stdout) = broker.rtcomm("watch --json --durable archive").start_unread();
    let rest = read_on(stdout, EventCounts::of(PIPE_OVERFLOW));
    let whole = || counts.lock().distinct() + rest.lock().distinct() >= PIPE_OVERFLOW;
    wait_on(&process, "what the first run did not acknowledge", LONG, whole);
    let (first, second) = (counts.lock(), rest.lock());
    let missing: Vec<_> = first.missing().into_iter().filter(|number| second.missing().contains(number)).collect();
    assert!(missing.is_empty(), "printed by neither run: {missing:?}");
}

/// Returns whether a second signal shortens the shutdown, which takes at least `normal` after one signal. Any one fast run
/// proves it: a busy machine can be slow, but never too fast.
fn is_cut_short<T>(what: &str, normal: Duration, start: impl Fn() -> (Process, T)) -> bool {
    (0..TRIES).any(|_| {
        let (process, _held) = start();
        let began = Instant::now();
        // Send two different signals, because the kernel may merge equal ones.
        process.signal(Signal::INT);
        process.signal(Signal::TERM);
        process.end();
        let took = began.elapsed();
        figures(format_args!("{what}: gone {took:.1?} after two signals"));
        took < normal
    })
}

/// Waits until this pipe is full. Its read end is open in this process.
fn wait_until_full(process: &Process, pipe: &impl AsRawFd) {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let input = std::fs::OpenOptions::new().write(true).open(path).expect("a pipe can be opened again");
    wait_on(process, "the pipe to be full", TIMEOUT, || {
        let mut fds = [PollFd::new(&input, PollFlags::OUT)];
        poll(&mut fds, Some(&Timespec::default())).expect("a pipe can be polled") == 0
    });
}

/// Starts a run whose standard output is blocked. Returns it and the read end of the pipe.
fn blocked(broker: &Mosquitto) -> (Process, std::process::ChildStdout) {
    let (process, stdout) = broker.rtcomm("watch --json --durable archive").start_unread();
    let process = process.until_ready();
    broker.publish(PIPE_OVERFLOW);
    wait_until_full(&process, &stdout);
    (process, stdout)
}

#[test]
fn a_run_with_blocked_output_ends_and_acknowledges_only_written_messages() {
    for (signal, status) in SIGNALS {
        let broker = Mosquitto::unlimited();
        let (process, stdout) = blocked(&broker);
        let (outcome, took) = ends(process, signal);
        outcome.has_status(status).says("blocked: the remaining records are not written");
        figures(format_args!("output blocked: gone {took:.1?} after {}", name(signal)));
        assert!(took >= BLOCKED && took < END_LIMIT, "{took:?}");
        let counts = read_on(stdout, EventCounts::of(PIPE_OVERFLOW));
        let (process, stdout) = broker.rtcomm("watch --json --durable archive").start_unread();
        let rest = read_on(stdout, EventCounts::of(PIPE_OVERFLOW));
        // The pipe contains a part of the line that was being written.
        let union = || {
            let (first, second) = (counts.lock(), rest.lock());
            let missing = second.missing();
            first.missing().iter().all(|number| !missing.contains(number))
        };
        wait_on(&process, "what is not in the pipe", LONG, union);
    }
}

#[test]
fn a_second_signal_ends_a_run_with_blocked_output_at_once() {
    let start = || {
        let broker = Mosquitto::unlimited();
        let (process, stdout) = blocked(&broker);
        (process, (broker, stdout))
    };
    assert!(is_cut_short("output blocked", BLOCKED, start));
}

/// Waits until a run connects to an address that does not answer.
fn wait_until_it_connects(process: &Process, address: SocketAddr) {
    let folder = PathBuf::from(format!("/proc/{}", process.child.id()));
    // See proc_pid_net(5): remote address and port, the state (02 is SYN_SENT), and the socket's inode. The list has the
    // sockets of all processes, including copies in children of other tests before they exec.
    let port = format!(":{:04X}", address.port());
    let asks = |row: &str| {
        let row: Vec<&str> = row.split_ascii_whitespace().collect();
        row[2].ends_with(&port) && row[3] == "02" && has_socket(&folder, row[9])
    };
    wait_on(process, "an attempt to connect", TIMEOUT, || {
        let sockets = std::fs::read_to_string(folder.join("net/tcp"));
        sockets.is_ok_and(|text| text.lines().skip(1).any(asks))
    });
}

/// Returns whether a process has the socket with this inode.
fn has_socket(process: &Path, inode: &str) -> bool {
    let socket = format!("socket:[{inode}]");
    let mut descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors.any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == socket.as_str()))
}

/// Returns the number of threads of a run.
fn threads(process: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", process.child.id())).map_or(0, Iterator::count)
}

#[test]
fn a_run_with_a_hanging_connection_ends() {
    for command in ["watch", "tail", "watch --durable archive", "call iggy_pop david_bowie"] {
        for (signal, status) in SIGNALS {
            let silent = Peer::silent();
            let process = rtcomm_at(command, &silent.url()).start();
            silent.wait_for_packets(1);
            let (outcome, took) = ends(process, signal);
            outcome.has_status(status).prints("").never_says("blocked");
            figures(format_args!("{command}, the broker is silent: gone {took:.1?} after {}", name(signal)));
            assert!(took < END_LIMIT, "{took:?}");

            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
            let _waiting = fill_backlog(&listener);
            let address = listener.local_addr().expect("it is bound");
            let process = rtcomm_at(command, &format!("mqtt://{address}")).start();
            wait_until_it_connects(&process, address);
            let (outcome, took) = ends(process, signal);
            let outcome = outcome.has_status(status).prints("").never_says("blocked");
            outcome.check(
                outcome.stderr.contains("nothing was sent") == command.starts_with("call"),
                "whether a call was sent",
            );
            figures(format_args!("{command}, no answer: exit {took:.1?} after {}", name(signal)));
            assert!(took < END_LIMIT, "{took:?}");
        }
    }
}

#[test]
fn a_second_signal_ends_a_run_with_a_hanging_connection_at_once() {
    let subscribing = || {
        let broker = Mosquitto::unlimited();
        // The CONNACK passes, but the SUBACK does not.
        let proxy = Relay::before(broker.address(), 1, |_| Plan { stall: Some((1, LONG)), ..Plan::default() });
        let process = rtcomm_at("watch", &proxy.url()).start();
        let stalls = || proxy.traffic().iter().any(|it| it.stalled.is_some());
        wait_on(&process, "the answer that does not pass", TIMEOUT, stalls);
        (process, (broker, proxy))
    };
    assert!(is_cut_short("watch, no answer", Duration::from_secs(1), subscribing));
    let calling = || {
        let silent = Peer::silent();
        let process = rtcomm_at("call iggy_pop david_bowie", &silent.url()).start();
        silent.wait_for_packets(1);
        (process, silent)
    };
    assert!(is_cut_short("call, no answer", Duration::from_millis(500), calling));
}

#[test]
fn a_run_that_waits_to_reconnect_ends_at_once() {
    let mut broker = Mosquitto::unlimited();
    let process = broker.rtcomm("watch").start().until_ready();
    broker.stop(Signal::KILL);
    process.wait_for_stderr("a failed try", |text| text.contains("trying again"));
    let (outcome, took) = ends(process, Signal::TERM);
    outcome.has_status(143).says("0 messages seen");
    figures(format_args!("between tries: gone {took:.1?} after SIGTERM"));
    assert!(took < IMMEDIATE_END_LIMIT, "{took:?}");
}

#[test]
fn a_run_that_reconnects_to_an_address_that_drops_packets_ends_soon() {
    let broker = Mosquitto::unlimited();
    let proxy = Relay::before(broker.address(), 1, |_| Plan::default());
    let process = rtcomm_at("watch", &proxy.url()).start().until_ready();
    proxy.fail_network();
    wait_until_it_connects(&process, proxy.address());
    let (outcome, took) = ends(process, Signal::TERM);
    outcome.has_status(143).says("0 messages seen").never_says("blocked");
    figures(format_args!("reconnecting to an address that does not answer: exit {took:.1?} after SIGTERM"));
    assert!(took < END_LIMIT, "{took:?}");
}

#[test]
fn an_interrupted_call_is_reported_as_unknown() {
    let broker = Mosquitto::unlimited();
    let mut service = crate::support::client::Client::connect(broker.port());
    service.subscribe("/rtcomm/callControl");
    for (signal, status) in SIGNALS {
        let process = broker.rtcomm("call iggy_pop david_bowie").start();
        let request: serde_json::Value = serde_json::from_slice(&service.next().payload).expect("a request is JSON");
        let id = request["transID"].as_str().expect("a request has an ID").to_owned();
        let (outcome, took) = ends(process, signal);
        outcome.has_status(status).says(&format!("the call may have been placed (transID {id})"));
        figures(format_args!("a call that waits: gone {took:.1?} after {}", name(signal)));
        assert!(took < IMMEDIATE_END_LIMIT, "{took:?}");
    }
}

#[test]
fn reopening_a_blocked_output_does_not_keep_a_run_from_ending() {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo can be started");
    assert!(made.success());
    // Keep both ends of the FIFO open, so that it can be opened but is not read.
    let held = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("the pipe opens");
    let broker = Mosquitto::unlimited();
    let process = broker.rtcomm("watch --json --output").arg(&path).start().until_ready();
    broker.publish(PIPE_OVERFLOW);
    wait_until_full(&process, &held);
    let before = threads(&process);
    process.signal(Signal::HUP);
    wait_on(&process, "the thread that reopens it", TIMEOUT, || threads(&process) > before);
    let (outcome, took) = ends(process, Signal::TERM);
    outcome.has_status(143).says("blocked: the remaining records are not written");
    assert!(took < END_LIMIT, "{took:?}");
}
