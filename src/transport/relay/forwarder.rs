//! Passes on what the library sends to the broker, and keeps the connection alive.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::codec::{self, FixedHeader, PacketType, take_binary};
use super::{Moment, Published, Shared, Times, lock};

/// How many bytes may wait for the broker before no more are taken from the library.
const MAX_UNSENT: usize = 256 * 1024;

/// How many bytes are read from the library at once.
const CHUNK: usize = 64 * 1024;

/// How long the end of the connection may take to be sent.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that serves the library.
pub(super) struct Forwarder {
    shared: Arc<Shared>,
    library: UnixStream,
    /// What came from the library and is not forwarded yet.
    buffer: Vec<u8>,
}

impl Forwarder {
    pub(super) fn new(shared: Arc<Shared>, library: UnixStream) -> Self {
        Self { shared, library, buffer: Vec::new() }
    }

    /// Forwards until the library disconnects or goes.
    pub(super) fn run(mut self) {
        let mut chunk = vec![0; CHUNK];
        loop {
            if !self.await_library() {
                self.ping();
                continue;
            }
            match self.library.read(&mut chunk) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    self.buffer.extend_from_slice(&chunk[..count]);
                    if self.forward() {
                        break;
                    }
                }
            }
        }
        self.shared.writer.shutdown();
        self.await_closed(&mut chunk);
    }

    /// Waits until the library has closed its end: a new connection must not be made before.
    fn await_closed(&mut self, chunk: &mut [u8]) {
        if self.library.set_read_timeout(Some(DISCONNECT_TIMEOUT)).is_ok() {
            while self.library.read(chunk).is_ok_and(|count| count > 0) {}
        }
    }

    /// Waits until there is something to read from the library; `false` if it is time for a PINGREQ. Sends meanwhile what
    /// the broker did not take before.
    fn await_library(&self) -> bool {
        let Shared { writer, .. } = &*self.shared;
        loop {
            let unsent = writer.unsent();
            let wait = self.until_ping();
            if wait.is_zero() {
                return false;
            }
            let from_library = if unsent > MAX_UNSENT { PollFlags::empty() } else { PollFlags::IN };
            let to_broker = if unsent > 0 { PollFlags::OUT } else { PollFlags::empty() };
            let mut fds = [PollFd::new(&self.library, from_library), PollFd::new(&**writer, to_broker)];
            // A broker that is gone shows all the time: the reader takes care of it.
            let watched = if unsent > 0 { 2 } else { 1 };
            match poll(&mut fds[..watched], wait.try_into().ok().as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) if !fds[0].revents().is_empty() => return true,
                // Bytes that cannot be sent to a broker that is gone are given up.
                Ok(_) => drop(writer.send(&[])),
                Err(_) => return true,
            }
        }
    }

    /// How long it is until a PINGREQ is due: in time before the keep-alive interval is over in which nothing was sent
    /// [MQTT-3.1.2-20], or nothing was read and nothing asked.
    fn until_ping(&self) -> Duration {
        let times = &self.shared.times;
        let interval = times.keepalive();
        let interval = interval - (interval / 10).min(Duration::from_secs(3));
        let asked = Times::get(&times.read).max(Times::get(&times.pinged));
        let last = Times::get(&times.sent).min(asked);
        interval.saturating_sub(last.elapsed())
    }

    fn ping(&self) {
        let (shared, now) = (&*self.shared, Moment::now());
        // Before it is sent, so that the answer cannot come first.
        lock(&shared.pings).push_back(now);
        Times::set(&shared.times.pinged, now);
        Times::set(&shared.times.sent, now);
        shared.send(&codec::PINGREQ);
    }

    /// Forwards every whole packet; whether the library has disconnected.
    fn forward(&mut self) -> bool {
        let (mut begin, mut end) = (0, 0);
        while let Ok(Some(header)) = FixedHeader::decode(&self.buffer[end..]) {
            let Some(packet) = self.buffer[end..].get(..header.packet_len()) else { break };
            let body = &packet[header.len..];
            match PacketType::of(header.first) {
                Some(PacketType::Pingreq) => {
                    self.shared.send(&self.buffer[begin..end]);
                    begin = end + header.packet_len();
                    self.shared.answer_library(&codec::PINGRESP);
                }
                Some(PacketType::Disconnect) => {
                    self.shared.send(&self.buffer[begin..end + header.packet_len()]);
                    // If it cannot be sent in time the broker finds the connection ended.
                    let _ = self.shared.writer.flush(Instant::now() + DISCONNECT_TIMEOUT);
                    return true;
                }
                Some(PacketType::Publish) => self.bind_publication(header.first, body),
                Some(PacketType::Subscribe) => self.bind_subscription(body),
                _ => {}
            }
            end += header.packet_len();
        }
        self.shared.send(&self.buffer[begin..end]);
        self.buffer.drain(..end);
        false
    }

    /// Notes which packet identifier the next publication has. Before it is sent, so that the answer cannot come first.
    fn bind_publication(&self, first: u8, mut body: &[u8]) {
        let mut requests = self.shared.requests();
        let Some(then) = requests.unsent.pop_front() else { return };
        let id = take_binary(&mut body).ok().and_then(|_topic| body.first_chunk());
        if first & 0x06 == 0 {
            drop(requests);
            return then(Published::Accepted);
        }
        if let Some(id) = id.filter(|_| !requests.is_over) {
            requests.unacknowledged.insert(u16::from_be_bytes(*id), then);
        }
    }

    /// Notes which packet identifier the next SUBSCRIBE has.
    fn bind_subscription(&self, body: &[u8]) {
        let mut requests = self.shared.requests();
        let number = requests.subscribed;
        requests.subscribed += 1;
        if let Some(id) = body.first_chunk() {
            requests.subscribing.insert(u16::from_be_bytes(*id), number);
        }
    }
}
