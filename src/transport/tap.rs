//! Stands between the MQTT library and the broker, where something is published or MQTT travels in WebSockets.
//!
//! **The library keeps to itself what the broker says.** An MQTT 5 broker may acknowledge a publication with reason code
//! 0x10, "no matching subscribers" (MQTT 5, 3.4.2.1), which the library drops on its way to us. A [`Tap`] looks at the
//! PUBACK packets that pass.
//!
//! **The library must not fail to write.** It frees what it could not publish, and once more when it closes the connection
//! thereafter, which aborts the process or worse. A tap takes what the library writes until the library closes, whatever
//! became of the broker.
//!
//! **The library takes one packet from a frame.** So each gets a frame of its own here: [`Frames`].
//!
//! The library is given a loopback address, and speaks plain MQTT there, or MQTT in WebSockets. The connection to the
//! broker, with TLS and through a proxy where they are wanted, is a [`Wire`] of our own.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::frames::Frames;
use super::own;
use super::packets::{Packets, Part};
use super::wire::Wire;

/// PUBACK, in the upper half of a packet's first byte.
const PUBACK: u8 = 4;

/// Where in the body of a PUBACK its reason code stands: after the packet identifier.
const REASON: usize = 2;

/// The reason code for a publication that nobody subscribes to.
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

/// The longest head of an HTTP request that is passed on.
const LONGEST_HEAD: usize = 16 * 1024;

/// How long to wait where no connection can be accepted, for want of descriptors or memory.
const RECOVERY: Duration = Duration::from_millis(100);

/// Where the library connects to, instead of to the broker.
#[derive(Debug)]
pub(crate) struct Tap {
    address: SocketAddr,
    /// For the library's next connection.
    next: Arc<Mutex<Option<Arc<Passage>>>>,
    last: Option<Last>,
}

/// A connection to the broker that the library is to have.
#[derive(Debug)]
struct Passage {
    wire: Wire,
    /// Is told when all is passed on that the library sent.
    all: Sender<()>,
    /// How the broker answers where it opens no WebSocket.
    refusal: OnceLock<String>,
}

/// What was opened last.
#[derive(Debug)]
struct Last {
    passage: Arc<Passage>,
    passed_on: Receiver<()>,
}

/// Is told that nobody subscribes to the topic of a publication: the so-manieth of the connection, from 0. Brokers are taken
/// to acknowledge publications in the order in which they came, which MQTT asks of clients alone [MQTT-4.6.0-2]: where all
/// are to one topic it matters only while somebody comes or goes.
pub(crate) type OnUnheard = Arc<dyn Fn(u64) + Send + Sync>;

impl Tap {
    /// Stands between `broker` and the library, which may connect as often as a way is opened for it. The port stays ours
    /// for as long as the process runs.
    ///
    /// # Errors
    /// Where the system gives no loopback port.
    pub(crate) fn start(broker: Broker, on_unheard: OnUnheard) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let tap = Self { address: listener.local_addr()?, next: Arc::default(), last: None };
        let next = tap.next.clone();
        thread::spawn(move || {
            loop {
                let client = let_in(&listener);
                let Some(passage) = lock(&next).take() else { continue };
                let (broker, on_unheard) = (broker.clone(), on_unheard.clone());
                thread::spawn(move || {
                    // However it ends, it is over.
                    let _ = pass(&client, &passage, &broker, &*on_unheard);
                    client.end();
                    passage.wire.end();
                });
            }
        });
        Ok(tap)
    }

    /// Where the library is to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has the library's next connection lead to the broker by this way. The last one ends, if the broker did not end it.
    pub(crate) fn open(&mut self, wire: Wire) {
        let (all, passed_on) = channel();
        let passage = Arc::new(Passage { wire, all, refusal: OnceLock::new() });
        // Where the library gave up on the last one, the new one is in its place.
        *lock(&self.next) = Some(passage.clone());
        if let Some(last) = self.last.replace(Last { passage, passed_on }) {
            last.passage.wire.end();
        }
    }

    /// How the broker answered, where it opened no WebSocket.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.last.as_ref()?.passage.refusal.get().map(String::as_str)
    }

    /// Waits, until `deadline` at the most, until all is passed on to the broker that the library sent before it closed.
    pub(crate) fn wait(&self, deadline: Instant) {
        // Where the time is over there is nothing more to wait for.
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = self.last.as_ref().map(|last| last.passed_on.recv_timeout(left));
    }
}

/// Nothing is done while it is locked that may fail.
fn lock(next: &Mutex<Option<Arc<Passage>>>) -> MutexGuard<'_, Option<Arc<Passage>>> {
    next.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the library.
fn let_in(listener: &TcpListener) -> Wire {
    loop {
        match accept(listener) {
            Ok(Some(client)) => return client,
            Ok(None) => {}
            Err(_) => thread::sleep(RECOVERY),
        }
    }
}

/// Lets the library in; `None` for anybody else: our certificate, or the proxy's password, may have opened the way to the
/// broker.
fn accept(listener: &TcpListener) -> io::Result<Option<Wire>> {
    let (client, far) = listener.accept()?;
    let near = client.local_addr()?;
    Ok(own::is_far_end(near, far).then(|| Wire::plain(client)))
}

/// Appends what is passed on of what came; fails where nothing more can be.
type Translate<'a> = dyn FnMut(&[u8], &mut Vec<u8>) -> io::Result<()> + 'a;

/// Passes bytes on in both directions until both ends have closed.
fn pass(client: &Wire, passage: &Passage, broker: &Broker, on_unheard: &dyn Fn(u64)) -> io::Result<()> {
    client.prompt()?;
    let mut acks = Acks::default();
    if broker.scheme.is_websocket() {
        pass_request(client, &passage.wire, broker)?;
        let mut frames = Frames::after_answer();
        both_ways(client, passage, &mut |bytes, out| {
            let passed = frames.pass(bytes, out, &mut |part| acks.see(part, on_unheard));
            // Known before the library hears of it, and once is enough.
            let _ = frames.refusal().map(|status| passage.refusal.set(status.to_owned()));
            passed
        });
    } else {
        let mut packets = Packets::default();
        both_ways(client, passage, &mut |bytes, out| {
            packets.see(bytes, &mut |part| acks.see(part, on_unheard));
            out.extend_from_slice(bytes);
            Ok(())
        });
    }
    Ok(())
}

/// Passes on what the library sends as it is, and what the broker sends as it is translated.
fn both_ways(client: &Wire, Passage { wire, all, .. }: &Passage, translate: &mut Translate<'_>) {
    thread::scope(|scope| {
        scope.spawn(|| {
            copy(client, wire, &mut |bytes, out| {
                out.extend_from_slice(bytes);
                Ok(())
            });
            // Where the tap is gone nobody waits.
            let _ = all.send(());
        });
        wire.acknowledge_at_once();
        copy(wire, client, &mut |bytes, out| {
            wire.acknowledge_at_once();
            translate(bytes, out)
        });
    });
}

/// Passes on the library's request for a WebSocket, with the broker's name where the library has ours [RFC 6455, 4.1].
fn pass_request(mut client: &Wire, mut wire: &Wire, broker: &Broker) -> io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    // The library waits for the answer before it says more.
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        match client.read(&mut buffer)? {
            0 => break,
            n => head.extend_from_slice(&buffer[..n]),
        }
    }
    wire.write_all(&in_the_name_of(broker, &head))
}

/// The request, as it is sent to the broker.
fn in_the_name_of(broker: &Broker, head: &[u8]) -> Vec<u8> {
    let (authority, scheme) = (broker.authority(), if broker.scheme.is_tls() { "https" } else { "http" });
    let mut named = Vec::new();
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"Host:") {
            named.extend_from_slice(format!("Host: {authority}\r\n").as_bytes());
        } else if line.starts_with(b"Origin:") {
            named.extend_from_slice(format!("Origin: {scheme}://{authority}\r\n").as_bytes());
        } else {
            named.extend_from_slice(line);
        }
    }
    named
}

/// Passes on what comes, translated, until `from` closes or what it says cannot be; then closes `to`. What `to` does not take any more is dropped.
fn copy(mut from: &Wire, mut to: &Wire, translate: &mut Translate<'_>) {
    let mut buffer = [0; 16 * 1024];
    let mut out = Vec::new();
    let mut is_taken = true;
    loop {
        match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(n) => {
                let is_sound = translate(&buffer[..n], &mut out).is_ok();
                is_taken = is_taken && to.write_all(&out).is_ok();
                out.clear();
                if !is_sound {
                    break;
                }
            }
        }
    }
    to.close();
}

/// Counts the PUBACK packets that pass, and finds those that say that nobody subscribes.
#[derive(Debug, Default)]
struct Acks {
    /// How many came, with the one that comes now.
    count: u64,
}

impl Acks {
    fn see(&mut self, part: Part<'_>, on_unheard: &dyn Fn(u64)) {
        match part {
            Part::Head { head, .. } if head[0] >> 4 == PUBACK => self.count += 1,
            Part::Body { first, at, bytes } if first >> 4 == PUBACK => {
                let reason = REASON.checked_sub(at).and_then(|i| bytes.get(i));
                if reason == Some(&NO_MATCHING_SUBSCRIBERS) {
                    on_unheard(self.count - 1);
                }
            }
            Part::Head { .. } | Part::Body { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::TcpStream;

    use super::*;
    use proptest::prelude::*;

    /// CONNACK, SUBACK, PUBLISH with a body full of 0x40 and 0x10, PINGRESP, and PUBACK with the reason code.
    fn stream(reason: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x20, 3, 0, 0, 0, 0x90, 4, 0, 1, 0, 1];
        bytes.extend([0x30, 0xc8, 0x01]);
        bytes.extend([0x40, 0x10].repeat(100));
        bytes.extend([0xd0, 0]);
        bytes.extend([0x40, u8::try_from(2 + reason.len()).expect("short"), 0x10, 0x10]);
        bytes.extend(reason);
        bytes.extend([0xd0, 0]);
        bytes
    }

    proptest! {
        #[test]
        fn the_reason_code_is_found_however_the_stream_is_cut(size in 1..64_usize) {
            for (reason, expected) in [(&[0x10][..], true), (&[0x10, 0], true), (&[0], false), (&[], false), (&[0x87], false)] {
                let found = RefCell::new(Vec::new());
                let (mut packets, mut acks) = (Packets::default(), Acks::default());
                let twice = [stream(&[0]), stream(reason)].concat();
                for piece in twice.chunks(size) {
                    packets.see(piece, &mut |part| acks.see(part, &|number| found.borrow_mut().push(number)));
                }
                prop_assert_eq!(found.into_inner(), if expected { vec![1] } else { vec![] });
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_stranger_is_not_let_in() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; read -u 3", address.port());
        let mut stranger = std::process::Command::new("bash").arg("-c").arg(script).spawn().expect("bash is installed");
        assert!(accept(&listener).expect("somebody is there").is_none());
        assert!(!stranger.wait().expect("it is our child").success(), "it is turned away");
        let mut ours = TcpStream::connect(address).expect("it listens");
        let accepted = accept(&listener).expect("somebody is there").expect("we are let in");
        ours.write_all(b"x").expect("it is open");
        assert_eq!((&accepted).read(&mut [0]).expect("it is open"), 1);
    }

    #[test]
    fn whoever_is_tapped_can_write_when_the_broker_is_gone() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let wire = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let broker = "mqtt://localhost".parse().expect("a URL");
        let mut tap = Tap::start(broker, Arc::new(|_| {})).expect("a port is free");
        tap.open(Wire::plain(wire));
        let mut client = TcpStream::connect(tap.address()).expect("it listens");
        drop(listener.accept().expect("the tap is there"));
        assert_eq!(client.read(&mut [0]).expect("the end is told"), 0);
        for _ in 0..1_000 {
            client.write_all(&[0; 8 * 1024]).expect("nothing is written to a closed connection");
        }
        drop(client);
        tap.last.expect("a way was opened").passed_on.recv().expect("all is taken");
    }

    #[test]
    fn a_connection_that_the_broker_does_not_end_ends_with_the_next() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let broker = "mqtt://localhost".parse().expect("a URL");
        let mut tap = Tap::start(broker, Arc::new(|_| {})).expect("a port is free");
        let mut open = || {
            tap.open(Wire::plain(TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens")));
            let client = TcpStream::connect(tap.address()).expect("it listens");
            (client, listener.accept().expect("the tap is there").0)
        };
        let (mut client, mut first) = open();
        client.write_all(b"x").expect("it is open");
        first.read_exact(&mut [0]).expect("it is passed on");
        drop(client);
        assert_eq!(first.read(&mut [0]).expect("the library's end is told"), 0);
        let _second = open();
        // What is written to a connection that has ended both ways is answered with a reset, sooner or later.
        while first.write_all(&[0; 8 * 1024]).is_ok() {}
    }
}
