//! The library's end of the relay: passes on what it sends, and keeps the connection to the broker alive.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::codec::{self, FixedHeader, Malformed, PacketType, take_array, take_binary, take_properties, take_string};
use super::{Connection, Published, Times, Version, Worker, lock};

/// How many bytes may wait for the broker before no more are taken from the library.
const MAX_UNSENT: usize = 256 * 1024;

/// How many bytes are read from the library at once.
const CHUNK: usize = 64 * 1024;

/// How long the end of the connection may take to be sent.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest time before the keep-alive interval ends at which a PINGREQ is sent.
const MAX_PING_MARGIN: Duration = Duration::from_secs(3);

/// The library's connection to the relay. It outlives those to the broker.
pub(in crate::transport) struct LibraryLink {
    state: Arc<Mutex<State>>,
    answers: Arc<LibraryAnswers>,
    /// Wakes the forwarder.
    waker: UnixStream,
    forwarder: Worker,
}

/// What the forwarder and those who attach connections have in common.
struct State {
    /// The connection that the library's packets go to.
    connection: Option<Arc<Connection>>,
    /// The library's CONNECT, with our client identifier.
    connect: Vec<u8>,
}

/// Sends to the library.
pub(super) struct LibraryAnswers {
    version: Version,
    socket: Mutex<Answering>,
}

struct Answering {
    socket: TcpStream,
    /// Whether it has its CONNACK: it gets no other one.
    is_connected: bool,
}

impl LibraryLink {
    /// Serves the library, which is at the other end of this socket and has sent its CONNECT.
    ///
    /// # Errors
    /// If the system does not let us.
    pub(in crate::transport) fn start(library: TcpStream, connect: Vec<u8>, version: Version) -> io::Result<Self> {
        let (waker, wakeups) = UnixStream::pair()?;
        wakeups.set_nonblocking(true)?;
        let answers = Arc::new(LibraryAnswers::new(version, library.try_clone()?));
        let state = Arc::new(Mutex::new(State { connection: None, connect }));
        let forwarder =
            Forwarder { state: state.clone(), answers: answers.clone(), library, wakeups, buffer: Vec::new() };
        let forwarder = Worker::start("mqtt-forwarder", move || forwarder.run())?;
        Ok(Self { state, answers, waker, forwarder })
    }

    pub(super) fn answers(&self) -> Arc<LibraryAnswers> {
        self.answers.clone()
    }

    /// Has the library's packets go to this connection from now on, its CONNECT first.
    pub(super) fn attach(&self, connection: Arc<Connection>) {
        let mut state = lock(&self.state);
        send_connect(&connection, &state.connect);
        state.connection = Some(connection);
        drop(state);
        // If nothing can be written it is awake already.
        let _ = (&self.waker).write(&[0]);
    }

    /// Waits until the library has disconnected and its DISCONNECT is sent, or until `deadline`.
    pub(in crate::transport) fn await_disconnect(&self, deadline: Instant) {
        self.forwarder.await_end(deadline);
    }
}

impl LibraryAnswers {
    pub(super) fn new(version: Version, socket: TcpStream) -> Self {
        Self { version, socket: Mutex::new(Answering { socket, is_connected: false }) }
    }

    /// Sends packets. The library reads for as long as it lives; if it is gone, no answer is needed.
    pub(super) fn send(&self, packets: &[u8]) {
        let _ = lock(&self.socket).socket.write_all(packets);
    }

    /// Sends a CONNACK, unless it has one.
    pub(super) fn accept(&self, connack: &[u8]) {
        let mut answering = lock(&self.socket);
        if !std::mem::replace(&mut answering.is_connected, true) {
            let _ = answering.socket.write_all(connack);
        }
    }

    /// Answers what the broker left unanswered: the library must not wait for it.
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
    /// What came from the library and is not forwarded yet.
    buffer: Vec<u8>,
}

/// What the forwarder waited for.
enum Due {
    Library,
    Ping,
    /// Something else: look again.
    Nothing,
}

impl Forwarder {
    /// Forwards until the library disconnects or goes.
    fn run(mut self) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let connection = lock(&self.state).connection.clone();
            match self.await_event(connection.as_deref()) {
                Due::Nothing => {}
                Due::Ping => connection.iter().for_each(|connection| connection.ping(false)),
                Due::Library => match self.library.read(&mut chunk) {
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
            // If it cannot be sent in time the broker finds the connection closed.
            let _ = connection.writer.flush(Instant::now() + DISCONNECT_TIMEOUT);
            connection.writer.shutdown();
        }
    }

    /// Waits until there is something to do. Sends meanwhile what the broker did not take before.
    fn await_event(&self, connection: Option<&Connection>) -> Due {
        let unsent = connection.map_or(0, |connection| connection.writer.unsent());
        let wait = connection.map(until_ping);
        if wait == Some(Duration::ZERO) {
            return Due::Ping;
        }
        let wait: Option<Timespec> = wait.and_then(|wait| wait.try_into().ok());
        let from_library = if unsent > MAX_UNSENT { PollFlags::empty() } else { PollFlags::IN };
        let mut fds = vec![PollFd::new(&self.library, from_library), PollFd::new(&self.wakeups, PollFlags::IN)];
        // A broker that is gone would show all the time: the reader takes care of it.
        if let Some(connection) = connection.filter(|_| unsent > 0) {
            fds.push(PollFd::new(&*connection.writer, PollFlags::OUT));
        }
        match poll(&mut fds, wait.as_ref()) {
            Err(Errno::INTR) | Ok(0) => return Due::Nothing,
            Err(_) => return Due::Library,
            Ok(_) => {}
        }
        if !fds[1].revents().is_empty() {
            while (&self.wakeups).read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        }
        if fds[0].revents().is_empty() { Due::Nothing } else { Due::Library }
    }

    /// Forwards every whole packet; whether the library has disconnected.
    fn forward(&mut self) -> bool {
        let (mut begin, mut end, mut is_over) = (0, 0, false);
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
                Some(PacketType::Disconnect) => is_over = true,
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
        is_over
    }
}

/// Begins a connection. The kernel acknowledges at once what comes next: a broker that holds back its CONNACK until what it
/// sent before is acknowledged, as mosquitto does after a TLS handshake [RFC 896], would take 40 ms longer.
fn send_connect(connection: &Connection, connect: &[u8]) {
    connection.send(connect);
    connection.writer.acknowledge_at_once();
}

/// How long it is until a PINGREQ is due: in time before the keep-alive interval is over in which nothing was sent
/// [MQTT-3.1.2-20], or nothing was read and nothing asked.
fn until_ping(connection: &Connection) -> Duration {
    let times = &connection.times;
    let interval = times.keepalive();
    let interval = interval.saturating_sub((interval / 10).min(MAX_PING_MARGIN));
    let asked = Times::get(&times.read).max(Times::get(&times.pinged));
    let last = Times::get(&times.sent).min(asked);
    interval.saturating_sub(last.elapsed())
}

/// Notes which packet identifier the next publication has. Before it is sent, so that the answer cannot come first.
fn bind_publication(connection: &Connection, first: u8, mut body: &[u8]) {
    let mut requests = connection.requests();
    let Some(then) = requests.unsent.pop_front() else { return };
    if first & 0x06 == 0 {
        drop(requests);
        return then(Published::Accepted);
    }
    let id = take_binary(&mut body).ok().and_then(|_topic| body.first_chunk());
    requests.unacknowledged.insert(id.map_or(0, |id| u16::from_be_bytes(*id)), then);
}

/// Notes which filter a SUBSCRIBE asks for; `false` if the connection has ended.
fn bind_subscription(connection: &Connection, version: Version, mut body: &[u8]) -> bool {
    let mut requests = connection.requests();
    if requests.is_over {
        return false;
    }
    let mut read = || {
        let id = u16::from_be_bytes(take_array(&mut body)?);
        if version == Version::V5 {
            take_properties(&mut body)?;
        }
        Ok::<_, Malformed>((id, take_string(&mut body)?.to_owned()))
    };
    // The library writes it well-formed.
    if let Ok((id, filter)) = read() {
        requests.subscribing.insert(id, filter);
    }
    true
}
