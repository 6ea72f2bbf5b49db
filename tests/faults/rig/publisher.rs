//! Publishes numbered events as fast as a broker accepts them, or at a rate. Publishes unacknowledged ones again after a
//! reconnect.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::support::TIMEOUT;
use crate::support::mqtt::{CONNACK, CONNECT, Message, PUBACK, Packet, string};

/// The maximum number of unacknowledged publications.
const WINDOW: usize = 400;

/// The pause before reconnecting to a broker.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The topic of the events.
pub(crate) const TOPIC: &str = "/rtcomm/event/session/started/iggy_pop/mick_jagger";

/// The events to publish: one for each number, with QoS 1.
pub(crate) struct Load {
    to: SocketAddr,
    numbers: Range<u64>,
    per_second: Option<u32>,
    limit: Option<Arc<AtomicU64>>,
    times: Option<Vec<Published>>,
}

/// The times of a publication.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    /// When the event was first sent.
    pub(crate) sent: Timestamp,
    /// When the broker acknowledged it.
    pub(crate) acknowledged: Timestamp,
}

impl Load {
    pub(crate) fn to(to: SocketAddr, numbers: Range<u64>) -> Self {
        Self { to, numbers, per_second: None, limit: None, times: None }
    }

    /// Limits the rate.
    pub(crate) fn per_second(self, count: u32) -> Self {
        Self { per_second: Some(count), ..self }
    }

    /// Publishes only numbers below `limit`, which may grow.
    pub(crate) fn up_to(self, limit: Arc<AtomicU64>) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Records the times of each publication.
    pub(crate) fn timed(self) -> Self {
        Self { times: Some(Vec::new()), ..self }
    }

    /// Starts to publish in the background.
    pub(crate) fn start(self) -> Publisher {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counter = acknowledged.clone();
        Publisher { acknowledged, thread: Some(thread::spawn(move || Run::new(self, counter).finish())) }
    }
}

/// A running publisher.
pub(crate) struct Publisher {
    acknowledged: Arc<AtomicU64>,
    thread: Option<JoinHandle<Sent>>,
}

/// The result of a publisher.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// The number of events that were published again, because the connection broke before they were acknowledged.
    pub(crate) again: u64,
    /// The times of each publication, if they were recorded.
    pub(crate) times: Vec<Published>,
}

impl Publisher {
    /// Returns the number of acknowledged publications.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    pub(crate) fn has_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the broker has acknowledged everything.
    #[track_caller]
    pub(crate) fn finish(mut self, bound: Duration) -> Sent {
        let story = || format!("{} are acknowledged", self.acknowledged());
        super::wait_until("the broker to take everything", bound, story, || self.has_finished());
        self.thread.take().expect("it is joined once").join().expect("the publisher does not panic")
    }
}

struct Run {
    load: Load,
    began: Instant,
    first: u64,
    next: u64,
    last_id: u16,
    waiting: VecDeque<(u16, u64)>,
    acknowledged: Arc<AtomicU64>,
    again: u64,
}

impl Run {
    fn new(load: Load, acknowledged: Arc<AtomicU64>) -> Self {
        let first = load.numbers.start;
        let waiting = VecDeque::new();
        Self { load, began: Instant::now(), first, next: first, last_id: 0, waiting, acknowledged, again: 0 }
    }

    fn finish(mut self) -> Sent {
        while self.over_one_connection().is_err() {
            thread::sleep(POLL_INTERVAL);
        }
        Sent { again: self.again, times: self.load.times.unwrap_or_default() }
    }

    /// Publishes until everything is acknowledged, or the connection breaks.
    fn over_one_connection(&mut self) -> io::Result<()> {
        let stream = connect(self.load.to)?;
        let mut acks = BufReader::new(&stream);
        let unacknowledged: Vec<u64> = self.waiting.drain(..).map(|(_, number)| number).collect();
        self.again += unacknowledged.len() as u64;
        let mut bytes = Vec::new();
        for number in unacknowledged {
            self.add(number, &mut bytes);
        }
        loop {
            while self.waiting.len() < WINDOW && self.next < self.allowed() {
                self.next += 1;
                self.add(self.next - 1, &mut bytes);
            }
            (&stream).write_all(&bytes)?;
            bytes.clear();
            if self.waiting.is_empty() {
                if self.next == self.load.numbers.end {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            // Read half a window of acknowledgements at a time, so that writes are few and large.
            for _ in 0..self.waiting.len().div_ceil(2) {
                let mut ack = [0; 4];
                acks.read_exact(&mut ack)?;
                assert_eq!(ack[..2], [PUBACK, 2], "a publisher is sent acknowledgements alone");
                let id = u16::from_be_bytes([ack[2], ack[3]]);
                if let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == id) {
                    let number = self.waiting.remove(at).expect("it was found").1;
                    if let Some(times) = &mut self.load.times {
                        times[index(number - self.first)].acknowledged = Timestamp::now();
                    }
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }

    /// Returns the first number that must not be published yet.
    fn allowed(&self) -> u64 {
        let paced = self.load.per_second.map_or(u64::MAX, |count| {
            let due = self.began.elapsed().as_millis() * u128::from(count) / 1_000;
            self.first + u64::try_from(due).unwrap_or(u64::MAX)
        });
        let limited = self.load.limit.as_ref().map_or(u64::MAX, |limit| limit.load(Ordering::SeqCst));
        self.load.numbers.end.min(paced).min(limited)
    }

    fn add(&mut self, number: u64, bytes: &mut Vec<u8>) {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.waiting.push_back((self.last_id, number));
        let first = self.first;
        if let Some(times) = &mut self.load.times
            && index(number - first) == times.len()
        {
            let now = Timestamp::now();
            times.push(Published { sent: now, acknowledged: now });
        }
        let message = Message::new(TOPIC, payload(number));
        message.packet(self.last_id.to_be_bytes()).write(bytes).expect("a Vec takes all");
    }
}

/// Returns the payload of an event with its number.
pub(crate) fn payload(number: u64) -> String {
    format!(r#"{{"method":"RTCOMM_EVENT_FIRED","rtcommVer":"v1.0.0","n":{number}}}"#)
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("the numbers fit in memory")
}

/// Connects with MQTT 3.1.1 and a clean session.
fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let id = format!("load{}x{}", std::process::id(), fastrand::u32(..));
    Packet::new(CONNECT, [string("MQTT"), vec![4, 2, 0, 0], string(&id)].concat()).write(&stream)?;
    let answer = Packet::read(&stream)?;
    assert_eq!((answer.kind(), &answer.body[..]), (CONNACK, &[0, 0][..]), "the broker accepts the client");
    Ok(stream)
}
