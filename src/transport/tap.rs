//! Reads along what a broker acknowledges, because the MQTT library keeps it to itself.
//!
//! An MQTT 5 broker may acknowledge a publication with reason code 0x10, "no matching subscribers" (MQTT 5, 3.4.2.1).
//! The library drops that code on its way to us. So for a connection that wants to know, the library is given a loopback
//! address, and a [`Tap`] there passes every byte on between it and the broker, and looks at the PUBACK packets that
//! pass. It works for MQTT over plain TCP; what is encrypted it could not read.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// PUBACK, in the upper half of a packet's first byte.
const PUBACK: u8 = 4;

/// The reason code for a publication that nobody subscribes to.
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

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
    /// Stands between `broker` and the first who connects to [`Tap::address`].
    ///
    /// # Errors
    /// Where the system gives no loopback port.
    pub(crate) fn on(broker: TcpStream, on_unheard: OnUnheard) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (all, passed_on) = channel();
        let tap = Self { address: listener.local_addr()?, passed_on };
        thread::spawn(move || {
            // Where it fails both connections are dropped, and the library sees its own closed.
            let _ = listener.accept().and_then(|(client, _)| pass(&client, &broker, &on_unheard, &all));
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

/// Passes bytes on in both directions until both ends have closed.
fn pass(client: &TcpStream, broker: &TcpStream, on_unheard: &OnUnheard, all: &Sender<()>) -> io::Result<()> {
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            copy(client, broker, |_| {});
            // Where the tap is gone nobody waits.
            let _ = all.send(());
        });
        let mut acks = Acks::default();
        acknowledge_at_once(broker);
        copy(broker, client, |bytes| {
            acknowledge_at_once(broker);
            acks.see(bytes, &**on_unheard);
        });
    });
    Ok(())
}

/// Has the kernel acknowledge what it receives next without waiting for us to have something to send, which takes up to
/// 40 ms. A broker that leaves Nagle's algorithm on, as mosquitto does, holds a reply back until its PUBACK, which it sent
/// just before, is acknowledged [RFC 896]. The kernel forgets the wish as it goes, so that it is made again for each read.
fn acknowledge_at_once(broker: &TcpStream) {
    // Where it cannot be done a reply comes later.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_quickack(broker, true);
    #[cfg(not(target_os = "linux"))]
    let _ = broker;
}

/// Shows and passes on what comes, until `from` closes; then closes `to`. What `to` does not take any more is dropped: the
/// library must not fail to write, because it then frees what it was to publish, and once more when it closes the
/// connection.
fn copy(mut from: &TcpStream, mut to: &TcpStream, mut show: impl FnMut(&[u8])) {
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
    // A connection that is closed already needs no closing.
    let _ = to.shutdown(Shutdown::Write);
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
    fn whoever_is_tapped_can_write_when_the_broker_is_gone() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let broker = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let tap = Tap::on(broker, Arc::new(|_| {})).expect("a port is free");
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
