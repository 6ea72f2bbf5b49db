//! Stands between the MQTT library and the broker where something is published, for two reasons.
//!
//! **The library keeps to itself what the broker says.** An MQTT 5 broker may acknowledge a publication with reason code
//! 0x10, "no matching subscribers" (MQTT 5, 3.4.2.1), which the library drops on its way to us. A [`Tap`] looks at the
//! PUBACK packets that pass.
//!
//! **The library must not fail to write.** It frees what it could not publish, and once more when it closes the connection
//! thereafter, which aborts the process or worse. A tap takes what the library writes until the library closes, whatever
//! became of the broker.
//!
//! So the library is given a loopback address, and speaks plain MQTT there, or MQTT in WebSockets. The connection to the
//! broker, with TLS and through a proxy where they are wanted, is a [`Wire`] of our own.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::broker::Broker;
use super::frames::Frames;
use super::own;
use super::wire::Wire;

/// PUBACK, in the upper half of a packet's first byte.
const PUBACK: u8 = 4;

/// The reason code for a publication that nobody subscribes to.
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

/// The longest head of an HTTP request that is passed on.
const LONGEST_HEAD: usize = 16 * 1024;

/// A tapped connection.
#[derive(Debug)]
pub(crate) struct Tap {
    address: SocketAddr,
    passed_on: Receiver<()>,
}

/// Is told that nobody subscribes to the topic of a publication: the so-manieth of the connection, from 0. Brokers
/// acknowledge publications in the order in which they came [MQTT-4.6.0-2].
pub(crate) type OnUnheard = Arc<dyn Fn(u64) + Send + Sync>;

impl Tap {
    /// Stands between `broker`, at the other end of `wire`, and the first of us who connects to [`Tap::address`].
    ///
    /// # Errors
    /// Where the system gives no loopback port.
    pub(crate) fn on(wire: Wire, broker: Broker, on_unheard: OnUnheard) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (all, passed_on) = channel();
        let tap = Self { address: listener.local_addr()?, passed_on };
        thread::spawn(move || {
            // Where it fails both connections are dropped, and the library sees its own closed.
            let _ = accept(&listener).and_then(|client| pass(&client, &wire, &broker, &on_unheard, &all));
        });
        Ok(tap)
    }

    /// Where the library is to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits, for so long at the most, until all is passed on to the broker that the library sent before it closed.
    pub(crate) fn wait(&self, patience: Duration) {
        // Where the time is over, or nobody ever connected, there is nothing more to wait for.
        let _ = self.passed_on.recv_timeout(patience);
    }
}

/// Lets the library in, and nobody else: our certificate, or the proxy's password, may have opened the way to the broker.
fn accept(listener: &TcpListener) -> io::Result<Wire> {
    loop {
        let (client, address) = listener.accept()?;
        if own::is_ours(address) {
            client.set_nodelay(true)?;
            return Ok(Wire::plain(client));
        }
    }
}

/// Passes bytes on in both directions until both ends have closed.
fn pass(client: &Wire, wire: &Wire, broker: &Broker, on_unheard: &OnUnheard, all: &Sender<()>) -> io::Result<()> {
    let mut acks = Acks::default();
    let mut frames = broker.scheme.is_websocket().then(Frames::after_answer);
    if frames.is_some() {
        pass_request(client, wire, broker)?;
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            copy(client, wire, |_| {});
            // Where the tap is gone nobody waits.
            let _ = all.send(());
        });
        wire.acknowledge_at_once();
        copy(wire, client, |bytes| {
            wire.acknowledge_at_once();
            match &mut frames {
                None => acks.see(bytes, &**on_unheard),
                Some(frames) => frames.see(bytes, |content| acks.see(content, &**on_unheard)),
            }
        });
    });
    Ok(())
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
    let lines = head.split_inclusive(|byte| *byte == b'\n').map(|line| match line {
        line if line.starts_with(b"Host:") => format!("Host: {authority}\r\n").into_bytes(),
        line if line.starts_with(b"Origin:") => format!("Origin: {scheme}://{authority}\r\n").into_bytes(),
        _ => line.to_vec(),
    });
    lines.flatten().collect()
}

/// Shows and passes on what comes, until `from` closes; then closes `to`. What `to` does not take any more is dropped.
fn copy(mut from: &Wire, mut to: &Wire, mut show: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    let mut is_taken = true;
    loop {
        match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(n) => {
                show(&buffer[..n]);
                is_taken = is_taken && to.write_all(&buffer[..n]).is_ok();
            }
        }
    }
    to.close();
}

/// Finds the PUBACK packets in a stream of MQTT packets, however it is cut into pieces.
#[derive(Debug, Default)]
struct Acks {
    /// The packet's first byte, once it came.
    head: Option<u8>,
    /// The remaining length as far as it came, and how many bits of it.
    length: usize,
    bits: u32,
    /// How many bytes of the body are still to come, once the length is known.
    body: Option<usize>,
    /// How many bytes of the body came.
    at: usize,
    /// How many PUBACK packets came before.
    number: u64,
}

impl Acks {
    /// Takes the next piece; tells of each PUBACK in it that says that nobody subscribes.
    fn see(&mut self, mut bytes: &[u8], on_unheard: &dyn Fn(u64)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match (self.head, self.body) {
                (None, _) => {
                    self.head = Some(byte);
                    bytes = rest;
                }
                (Some(_), None) => {
                    self.length |= usize::from(byte & 0x7f) << self.bits;
                    self.bits = (self.bits + 7).min(28);
                    if byte & 0x80 == 0 {
                        self.body = Some(self.length);
                    }
                    bytes = rest;
                }
                (Some(head), Some(left)) => {
                    let n = left.min(bytes.len());
                    // A PUBACK's body: packet identifier (two bytes), reason code, properties.
                    let reason = 2_usize.checked_sub(self.at).and_then(|i| bytes[..n].get(i));
                    if head >> 4 == PUBACK && reason == Some(&NO_MATCHING_SUBSCRIBERS) {
                        on_unheard(self.number);
                    }
                    self.at += n;
                    self.body = Some(left - n);
                    bytes = &bytes[n..];
                }
            }
            if let (Some(head), Some(0)) = (self.head, self.body) {
                *self = Self { number: self.number + u64::from(head >> 4 == PUBACK), ..Self::default() };
            }
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
                let mut acks = Acks::default();
                let twice = [stream(&[0]), stream(reason)].concat();
                for piece in twice.chunks(size) {
                    acks.see(piece, &|number| found.borrow_mut().push(number));
                }
                prop_assert_eq!(found.into_inner(), if expected { vec![1] } else { vec![] });
            }
        }

        #[test]
        fn any_bytes_are_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Acks::default().see(&bytes, &|_| {});
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_stranger_is_not_let_in() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; read -u 3", address.port());
        let mut stranger = std::process::Command::new("bash").arg("-c").arg(script).spawn().expect("bash is installed");
        // It waits until it is turned away, and is first only so.
        let accepting = thread::spawn(move || accept(&listener));
        assert!(!stranger.wait().expect("it is our child").success());
        let mut ours = TcpStream::connect(address).expect("it listens");
        let accepted = accepting.join().expect("no panic").expect("we are let in");
        ours.write_all(b"x").expect("it is open");
        assert_eq!((&accepted).read(&mut [0]).expect("it is open"), 1);
    }

    #[test]
    fn whoever_is_tapped_can_write_when_the_broker_is_gone() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let wire = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let broker = "mqtt://localhost".parse().expect("a URL");
        let tap = Tap::on(Wire::plain(wire), broker, Arc::new(|_| {})).expect("a port is free");
        let mut client = TcpStream::connect(tap.address()).expect("it listens");
        drop(listener.accept().expect("the tap is there"));
        assert_eq!(client.read(&mut [0]).expect("the end is told"), 0);
        for _ in 0..1_000 {
            client.write_all(&[0; 8 * 1024]).expect("nothing is written to a closed connection");
        }
        drop(client);
        tap.passed_on.recv().expect("all is taken");
    }
}
