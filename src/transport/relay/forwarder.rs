//! Forwards what the library sends to the broker, and sends keep-alive pings.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::codec::{self, Fault, FixedHeader, PacketType, take_array, take_binary, take_properties, take_string};
use super::{ActivityTimes, JoinableThread, Published, RelayedConnection, Version, lock};

/// The library is not read while more bytes than this wait to be sent to the broker.
const MAX_UNSENT: usize = 256 * 1024;

/// The number of bytes that are read from the library at once.
const CHUNK: usize = 64 * 1024;

/// How long sending the last bytes may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A PINGREQ is sent at most this long before the keep-alive interval ends.
const MAX_PING_MARGIN: Duration = Duration::from_secs(3);

/// The library's connection to the relay. It outlives connections to the broker.
pub(in crate::transport) struct LibraryLink {
    state: Arc<Mutex<State>>,
    answers: Arc<LibraryAnswers>,
    /// Wakes the forwarder.
    waker: UnixStream,
    forwarder: JoinableThread,
}

/// The state that the forwarder and [`LibraryLink`] share.
struct State {
    /// The connection to forward the library's packets to.
    connection: Option<Arc<RelayedConnection>>,
    /// The library's CONNECT, with our client identifier.
    connect: Vec<u8>,
}

/// Sends to the library.
pub(super) struct LibraryAnswers {
    version: Version,
    socket: Mutex<AnswerSocket>,
}

struct AnswerSocket {
    socket: TcpStream,
    /// Whether the library has received its CONNACK. It never gets a second one.
    is_connected: bool,
}

impl LibraryLink {
    /// Starts the forwarder. The library is at the other end of the socket and has sent `connect`.
    ///
    /// # Errors
    /// If no socket or thread can be created.
    pub(in crate::transport) fn start(library: TcpStream, connect: Vec<u8>, version: Version) -> io::Result<Self> {
        let (waker, wakeups) = UnixStream::pair()?;
        wakeups.set_nonblocking(true)?;
        let answers = Arc::new(LibraryAnswers::new(version, library.try_clone()?));
        let state = Arc::new(Mutex::new(State { connection: None, connect }));
        let forwarder =
            Forwarder { state: state.clone(), answers: answers.clone(), library, wakeups, buffer: Vec::new() };
        let forwarder = JoinableThread::start("mqtt-forwarder", move || forwarder.run())?;
        Ok(Self { state, answers, waker, forwarder })
    }

    pub(super) fn answers(&self) -> Arc<LibraryAnswers> {
        self.answers.clone()
    }

    /// Forwards the library's packets to this connection from now on, beginning with its CONNECT.
    pub(super) fn attach(&self, connection: Arc<RelayedConnection>) {
        let mut state = lock(&self.state);
        send_connect(&connection, &state.connect);
        state.connection = Some(connection);
        drop(state);
        // Ignore a full socket: the forwarder is awake already.
        let _ = (&self.waker).write(&[0]);
    }

    /// Waits until the library's DISCONNECT is sent or `deadline` passes.
    pub(in crate::transport) fn await_disconnect(&self, deadline: Instant) {
        self.forwarder.await_end(deadline);
    }
}

impl LibraryAnswers {
    pub(super) fn new(version: Version, socket: TcpStream) -> Self {
        Self { version, socket: Mutex::new(AnswerSocket { socket, is_connected: false }) }
    }

    /// Sends packets to the library. Ignores errors: a library that is gone needs no answer.
    pub(super) fn send(&self, packets: &[u8]) {
        let _ = lock(&self.socket).socket.write_all(packets);
    }

    /// Sends a CONNACK, unless the library has one.
    pub(super) fn accept(&self, connack: &[u8]) {
        let mut socket = lock(&self.socket);
        if !std::mem::replace(&mut socket.is_connected, true) {
            let _ = socket.socket.write_all(connack);
        }
    }

    /// Answers the requests that the broker left unanswered, so that the library does not wait.
    pub(super) fn finish(&self, version: Version, subscribing: &[u16]) {
        self.accept(codec::plain_connack(version));
        for id in subscribing {
            self.send(&codec::failed_suback(version, *id));
        }
    }
}

/// The thread that serves the library.
struct Forwarder {
    state: Arc<Mutex<State>>,
    answers: Arc<LibraryAnswers>,
    library: TcpStream,
    wakeups: UnixStream,
    /// Bytes from the library that are not forwarded yet.
    buffer: Vec<u8>,
}

/// What the forwarder has to do next.
enum Task {
    Library,
    Ping,
    /// Wait again.
    Nothing,
}

impl Forwarder {
    /// Forwards packets until the library disconnects or closes its socket.
    fn run(mut self) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let connection = lock(&self.state).connection.clone();
            match self.await_event(connection.as_deref()) {
                Task::Nothing => {}
                Task::Ping => connection.iter().for_each(|connection| connection.ping(false)),
                Task::Library => match self.library.read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                    Ok(count) => {
                        self.buffer.extend_from_slice(&chunk[..count]);
                        if self.forward() {
                            break;
                        }
                    }
                },
            }
        }
        if let Some(connection) = &lock(&self.state).connection {
            // Ignore a timeout: the broker finds the connection closed.
            let _ = connection.writer.flush(Instant::now() + DISCONNECT_TIMEOUT);
            connection.writer.shutdown();
        }
    }

    /// Waits until the library has sent something or a ping is due. Wakes up early if the connection changes, or if the
    /// socket to the broker accepts more bytes.
    fn await_event(&self, connection: Option<&RelayedConnection>) -> Task {
        let unsent = connection.map_or(0, |connection| connection.writer.unsent());
        let wait = connection.map(until_ping);
        if wait == Some(Duration::ZERO) {
            return Task::Ping;
        }
        let wait: Option<Timespec> = wait.and_then(|wait| wait.try_into().ok());
        let from_library = if unsent > MAX_UNSENT { PollFlags::empty() } else { PollFlags::IN };
        let mut fds = vec![PollFd::new(&self.library, from_library), PollFd::new(&self.wakeups, PollFlags::IN)];
        // Poll the broker's socket only while bytes wait to be sent: a closed socket would end every poll at once.
        if let Some(connection) = connection.filter(|_| unsent > 0) {
            fds.push(PollFd::new(&*connection.writer, PollFlags::OUT));
        }
        match poll(&mut fds, wait.as_ref()) {
            Err(Errno::INTR) | Ok(0) => return Task::Nothing,
            Err(_) => return Task::Library,
            Ok(_) => {}
        }
        if !fds[1].revents().is_empty() {
            while (&self.wakeups).read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        }
        if fds[0].revents().is_empty() { Task::Nothing } else { Task::Library }
    }

    /// Forwards every complete packet in the buffer. Returns whether the library has disconnected.
    fn forward(&mut self) -> bool {
        let (mut begin, mut end, mut has_disconnected) = (0, 0, false);
        let (state, version) = (lock(&self.state), self.answers.version);
        while let Ok(Some(header)) = FixedHeader::decode(&self.buffer[end..]) {
            let Some(packet) = self.buffer[end..].get(..header.packet_len()) else { break };
            let body = &packet[header.len..];
            let send = |packets: &[u8]| state.connection.iter().for_each(|connection| connection.send(packets));
            match PacketType::of(header.first) {
                Some(PacketType::Pingreq) => {
                    send(&self.buffer[begin..end]);
                    begin = end + header.packet_len();
                    self.answers.send(&codec::PINGRESP);
                }
                Some(PacketType::Disconnect) => has_disconnected = true,
                Some(PacketType::Publish) => {
                    if let Some(connection) = &state.connection {
                        bind_publication(connection, header.first, body);
                    }
                }
                Some(PacketType::Subscribe) => {
                    if !state.connection.as_ref().is_some_and(|connection| bind_subscription(connection, version, body))
                        && let Some(id) = body.first_chunk()
                    {
                        self.answers.send(&codec::failed_suback(version, u16::from_be_bytes(*id)));
                    }
                }
                _ => {}
            }
            end += header.packet_len();
        }
        if let Some(connection) = &state.connection {
            connection.send(&self.buffer[begin..end]);
        }
        drop(state);
        self.buffer.drain(..end);
        has_disconnected
    }
}

/// Sends the CONNECT. The kernel acknowledges the next incoming segment at once: mosquitto sends its CONNACK only after its
/// TLS session ticket is acknowledged [RFC 896], which would take 40 ms longer.
fn send_connect(connection: &RelayedConnection, connect: &[u8]) {
    connection.send(connect);
    connection.writer.acknowledge_at_once();
}

/// Returns the time until the next PINGREQ is due. It is due shortly before the keep-alive interval has passed since
/// something was sent [MQTT-3.1.2-20], or since something was read or a PINGREQ was sent.
fn until_ping(connection: &RelayedConnection) -> Duration {
    let times = &connection.times;
    let interval = times.keepalive();
    let interval = interval.saturating_sub((interval / 10).min(MAX_PING_MARGIN));
    let last_read_or_ping = ActivityTimes::get(&times.read).max(ActivityTimes::get(&times.pinged));
    let last = ActivityTimes::get(&times.sent).min(last_read_or_ping);
    interval.saturating_sub(last.elapsed())
}

/// Assigns a packet identifier to the next registered publication. Runs before the packet is sent, because the answer may
/// come at once.
fn bind_publication(connection: &RelayedConnection, first: u8, mut body: &[u8]) {
    let mut requests = connection.requests();
    let Some(on_outcome) = requests.unsent.pop_front() else { return };
    if first & 0x06 == 0 {
        drop(requests);
        return on_outcome(Published::Accepted);
    }
    let id = take_binary(&mut body).ok().and_then(|_topic| body.first_chunk());
    requests.unacknowledged.insert(id.map_or(0, |id| u16::from_be_bytes(*id)), on_outcome);
}

/// Notes the filter of a SUBSCRIBE by packet identifier. Returns `false` if the connection has ended.
fn bind_subscription(connection: &RelayedConnection, version: Version, mut body: &[u8]) -> bool {
    let mut requests = connection.requests();
    if requests.has_ended {
        return false;
    }
    let mut read = || {
        let id = u16::from_be_bytes(take_array(&mut body)?);
        if version == Version::V5 {
            take_properties(&mut body)?;
        }
        Ok::<_, Fault>((id, take_string(&mut body)?.to_owned()))
    };
    // Parsing cannot fail: the library writes well-formed packets.
    if let Ok((id, filter)) = read() {
        requests.subscribing.insert(id, filter);
    }
    true
}
