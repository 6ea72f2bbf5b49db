//! A peer that sends events to one subscriber as fast as the socket accepts them, because a real broker is slower than the
//! programs. It sends a block of [`BLOCK`] encoded events again and again.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::events::events;
use crate::wire::{self, Connect, PINGRESP, Packets};

/// How many different events there are. Fewer than packet identifiers, so that none is given twice at a time.
const BLOCK: u16 = 50_000;

/// How much is handed to the socket at a time.
const CHUNK: usize = 64 * 1024;

/// Maximum number of unacknowledged messages at QoS 1, if the subscriber allows as many.
const WINDOW: usize = 1_000;

/// A listening blaster, for any number of subscribers one after the other.
pub(crate) struct Blaster {
    port: u16,
    next: Arc<Mutex<Option<Order>>>,
}

/// What the next subscriber gets.
struct Order {
    count: usize,
    began: Sender<Instant>,
}

impl Blaster {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
        let port = listener.local_addr()?.port();
        let next = Arc::new(Mutex::new(None));
        let (orders, blocks) = (next.clone(), Arc::new(Blocks::encode()));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (orders, blocks) = (orders.clone(), blocks.clone());
                // A subscriber that has enough closes, also in the middle of a packet.
                thread::spawn(move || serve(&stream, &orders, &blocks));
            }
        });
        Ok(Self { port, next })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Sends this many events to the next subscriber. The receiver gets a message when the first is sent.
    pub(crate) fn load(&self, count: u32) -> Receiver<Instant> {
        let (began, started) = channel();
        *lock(&self.next) = Some(Order { count: count as usize, began });
        started
    }
}

/// Serves a client until it disconnects. Only a subscriber gets the events: other clients check whether somebody
/// listens.
fn serve(stream: &TcpStream, orders: &Mutex<Option<Order>>, blocks: &Blocks) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let writer = Mutex::new(stream);
    let send = |bytes: &[u8]| lock(&writer).write_all(bytes);
    let mut packets = Packets::new(stream);
    let mut peer = None;
    let (acknowledged, acknowledgements) = channel();
    let mut acknowledgements = Some(acknowledgements);
    thread::scope(|scope| {
        let mut fresh = 0;
        while let Some(packet) = packets.next()? {
            match (packet.kind, peer) {
                (wire::CONNECT, _) => {
                    let connect = Connect::read(packet.body).ok_or(io::ErrorKind::InvalidData)?;
                    send(connect.connack())?;
                    peer = Some(connect);
                }
                (wire::SUBSCRIBE, Some(connect)) => {
                    let (answer, qos) = wire::suback(connect.is_v5, packet.body).ok_or(io::ErrorKind::InvalidData)?;
                    send(&answer)?;
                    if let (Some(order), Some(acks)) = (lock(orders).take(), acknowledgements.take()) {
                        let (block, writer) = (blocks.of(connect.is_v5, qos), &writer);
                        let window = if qos == 0 { None } else { Some(WINDOW.min(connect.receive_maximum)) };
                        scope.spawn(move || blast(writer, &order, block, window, &acks));
                    }
                }
                (wire::PUBACK, _) => fresh += 1,
                (wire::PINGREQ, _) => send(&PINGRESP)?,
                (wire::DISCONNECT, _) => break,
                _ => {}
            }
            if fresh > 0 && !packets.has_next() {
                // Ignore a missing receiver: everything is sent.
                let _ = acknowledged.send(fresh);
                fresh = 0;
            }
        }
        // Wakes the other thread, whether it writes or waits.
        drop(acknowledged);
        stream.shutdown(std::net::Shutdown::Both)
    })
}

/// Sends what was ordered: at QoS 1 no more than `window` ahead of the acknowledgements.
fn blast(
    writer: &Mutex<&TcpStream>,
    order: &Order,
    block: &Block,
    window: Option<usize>,
    acknowledgements: &Receiver<usize>,
) -> io::Result<()> {
    // Ignore a missing receiver.
    let _ = order.began.send(Instant::now());
    let (mut sent, mut acknowledged) = (0, 0);
    while sent < order.count {
        let mut most = order.count - sent;
        if let Some(window) = window {
            acknowledged += acknowledgements.try_iter().sum::<usize>();
            while sent - acknowledged > window / 2 {
                acknowledged += acknowledgements.recv().map_err(|_| io::ErrorKind::ConnectionAborted)?;
            }
            most = most.min(window - (sent - acknowledged));
        }
        let (bytes, count) = block.chunk(sent, most);
        lock(writer).write_all(bytes)?;
        sent += count;
    }
    Ok(())
}

/// The events as they go out, for each version and quality of service.
struct Blocks([Block; 4]);

impl Blocks {
    fn encode() -> Self {
        Self([(false, 0), (false, 1), (true, 0), (true, 1)].map(|(is_v5, qos)| Block::encode(is_v5, qos)))
    }

    fn of(&self, is_v5: bool, qos: u8) -> &Block {
        &self.0[2 * usize::from(is_v5) + usize::from(qos)]
    }
}

/// Packets, one after the other, and where each ends.
struct Block {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Block {
    fn encode(is_v5: bool, qos: u8) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for (event, id) in events().zip(1..=BLOCK) {
            let id = (qos > 0).then_some(id);
            wire::push_publish(&mut bytes, is_v5, id, &event.topic, event.payload.as_bytes());
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    /// Some whole packets from the `sent`-th on, `most` at the most, and how many.
    fn chunk(&self, sent: usize, most: usize) -> (&[u8], usize) {
        let first = sent % usize::from(BLOCK);
        let begin = self.ends[first];
        let full = self.ends.partition_point(|&end| end < begin + CHUNK);
        let last = full.min(first + most).min(self.ends.len() - 1);
        (&self.bytes[begin..self.ends[last]], last - first)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
