//! Scripted peers: brokers with a fault, and servers that are not brokers.
//!
//! A script is a function of a [`Connection`]. [`Script`] is a table of answers for common cases. Every packet is recorded
//! with its connection and time. If a script fails, its connection is closed.

use std::io::{self, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::mqtt::{
    CONNACK, CONNECT, Connect, Filter, Message, PINGREQ, PINGRESP, PUBACK, PUBLISH, PUBREC, PUBREL, Packet, PacketId,
    Properties, SUBSCRIBE, Subscribe, Version,
};
use super::{POLL_INTERVAL, TIMEOUT};

/// How long a client may send nothing.
const READ_TIMEOUT: Duration = Duration::from_mins(3);

/// How a peer answers a CONNECT of MQTT 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToVersion5 {
    /// Accept it like one of MQTT 3.1.1.
    Accept,
    /// Refuse it with reason code 0x84, unsupported protocol version.
    ReasonCode,
    /// Refuse it with the CONNACK of MQTT 3.1.1 and return code 1, unacceptable protocol version.
    ReturnCode,
    /// Close the connection.
    Close,
    /// Reset the connection.
    Reset,
    /// Do not answer.
    Silence,
}

/// Returns the messages to send after the PUBACK of a publication.
pub(crate) type OnPublish = Arc<dyn Fn(&Message) -> Vec<Message> + Send + Sync>;

/// The answers of a peer.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) to_version_5: ToVersion5,
    /// The properties of a CONNACK of MQTT 5.
    pub(crate) connack: Properties,
    /// The return code for every filter. If `None`, the requested QoS is granted.
    pub(crate) granted: Option<u8>,
    /// The messages that each new subscriber receives, whatever its filters.
    pub(crate) to_subscriber: Vec<Message>,
    /// If `None`, a publication closes the connection without an acknowledgement.
    pub(crate) on_publish: Option<OnPublish>,
}

impl Default for Script {
    /// Returns the script of a broker without limits and without other clients.
    fn default() -> Self {
        Self {
            to_version_5: ToVersion5::Accept,
            connack: Properties::none(),
            granted: None,
            to_subscriber: Vec::new(),
            on_publish: Some(Arc::new(|_| Vec::new())),
        }
    }
}

impl Script {
    pub(crate) fn connack(properties: Properties) -> Self {
        Self { connack: properties, ..Self::default() }
    }

    /// Sends the messages that `reply` returns for each publication.
    pub(crate) fn replying(self, reply: impl Fn(&Message) -> Vec<Message> + Send + Sync + 'static) -> Self {
        Self { on_publish: Some(Arc::new(reply)), ..self }
    }
}

/// A packet that a client sent.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The connection's number (zero-based).
    pub(crate) connection: usize,
    pub(crate) version: Version,
    pub(crate) at: Instant,
    pub(crate) packet: Packet,
}

#[derive(Default)]
struct Log {
    received: Vec<Received>,
    /// When each connection was accepted, including those on which nothing was sent.
    opened: Vec<Instant>,
    used: usize,
    closed: usize,
    has_panicked: bool,
}

/// A client's connection, at the peer.
pub(crate) struct Connection {
    /// The connection's number (zero-based). Connections on which nothing was sent do not count.
    pub(crate) number: usize,
    /// The version of the client's CONNECT.
    pub(crate) version: Version,
    /// The filters that the client has subscribed to.
    pub(crate) filters: Vec<Filter>,
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    log: Arc<Mutex<Log>>,
    last_id: u16,
}

impl Connection {
    fn new(stream: TcpStream, waits: bool, log: Arc<Mutex<Log>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        if waits && stream.peek(&mut [0])? == 0 {
            return Err(end_of_script());
        }
        let number = {
            let mut log = lock(&log);
            log.used += 1;
            log.used - 1
        };
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Self { number, version: Version::V3_1_1, filters: Vec::new(), stream, reader, log, last_id: 0 })
    }

    /// Reads and records the next packet.
    pub(crate) fn read(&mut self) -> io::Result<Packet> {
        let packet = Packet::read(&mut self.reader)?;
        if packet.kind() == CONNECT {
            self.version = version_of(&packet);
        }
        let received =
            Received { connection: self.number, version: self.version, at: Instant::now(), packet: packet.clone() };
        lock(&self.log).received.push(received);
        Ok(packet)
    }

    /// Reads packets until one of this kind arrives. Answers only PINGREQ meanwhile.
    pub(crate) fn wait_for(&mut self, kind: u8) -> io::Result<Packet> {
        loop {
            let packet = self.read()?;
            if packet.kind() == kind {
                return Ok(packet);
            }
            if packet.kind() == PINGREQ {
                self.send(&Packet::new(PINGRESP, []))?;
            }
        }
    }

    /// Reads the CONNECT and accepts it.
    pub(crate) fn accept(&mut self) -> io::Result<Connect> {
        self.accept_with(false, &Properties::none())
    }

    /// Reads the CONNECT and accepts it. The properties are only used with MQTT 5.
    pub(crate) fn accept_with(&mut self, session_present: bool, properties: &Properties) -> io::Result<Connect> {
        let connect = self.wait_for(CONNECT)?;
        self.send(&Packet::connack(self.version, session_present, 0, properties))?;
        Ok(Connect::parse(&connect))
    }

    /// Reads the SUBSCRIBE and grants it.
    pub(crate) fn grant(&mut self) -> io::Result<Subscribe> {
        let packet = self.wait_for(SUBSCRIBE)?;
        let subscribe = Subscribe::parse(self.version, &packet);
        self.grant_this(&subscribe, None)?;
        Ok(subscribe)
    }

    fn grant_this(&mut self, subscribe: &Subscribe, code: Option<u8>) -> io::Result<()> {
        let codes: Vec<u8> = subscribe.filters.iter().map(|filter| code.unwrap_or(filter.qos)).collect();
        self.filters.extend(subscribe.filters.iter().cloned());
        self.send(&Packet::suback(self.version, subscribe.id, &codes, &Properties::none()))
    }

    /// Accepts the client, and grants its first SUBSCRIBE.
    pub(crate) fn accept_and_grant(&mut self) -> io::Result<()> {
        self.accept()?;
        self.grant().map(drop)
    }

    /// Answers all packets like a broker without limits, until the client closes the connection.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        self.follow(&Script::default())
    }

    /// Answers all packets by the script, until the client closes the connection.
    pub(crate) fn follow(&mut self, script: &Script) -> io::Result<()> {
        loop {
            let packet = self.read()?;
            match self.answer(&packet, script) {
                // The client has closed the connection. Record what it sent before.
                Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    return self.read_to_end();
                }
                answered => answered?,
            }
        }
    }

    /// Answers one packet by the script.
    pub(crate) fn answer(&mut self, packet: &Packet, script: &Script) -> io::Result<()> {
        match packet.kind() {
            CONNECT if self.version == Version::V5 && script.to_version_5 != ToVersion5::Accept => {
                match script.to_version_5 {
                    ToVersion5::ReasonCode => self.send(&Packet::new(CONNACK, [0, 0x84, 0]))?,
                    ToVersion5::ReturnCode => self.send(&Packet::new(CONNACK, [0, 1]))?,
                    ToVersion5::Reset => self.reset_on_close()?,
                    ToVersion5::Silence => return self.read_to_end(),
                    ToVersion5::Close | ToVersion5::Accept => {}
                }
                Err(end_of_script())
            }
            CONNECT => self.send(&Packet::connack(self.version, false, 0, &script.connack)),
            SUBSCRIBE => {
                let subscribe = Subscribe::parse(self.version, packet);
                self.grant_this(&subscribe, script.granted)?;
                script.to_subscriber.iter().try_for_each(|message| self.publish(&message.clone().with_qos(0)))
            }
            PUBLISH => {
                let (message, id) = Message::parse(self.version, packet);
                let reply = script.on_publish.as_ref().ok_or_else(end_of_script)?;
                if let Some(id) = id {
                    let kind = if message.qos == 2 { PUBREC } else { PUBACK };
                    self.send(&Packet::new(kind, id))?;
                }
                reply(&message).iter().try_for_each(|reply| self.publish(&reply.clone().with_qos(0)))
            }
            PUBREC => self.send(&Packet::new(PUBREL | 2, packet.id())),
            PINGREQ => self.send(&Packet::new(PINGRESP, [])),
            _ => Ok(()),
        }
    }

    /// Reads and records packets without answering, until the client closes the connection.
    pub(crate) fn read_to_end(&mut self) -> io::Result<()> {
        loop {
            match self.read() {
                Ok(_) => {}
                // The client does not speak MQTT.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return io::copy(&mut self.reader, &mut io::sink()).map(drop);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a message once, with the next packet identifier.
    pub(crate) fn publish(&mut self, message: &Message) -> io::Result<()> {
        let id = self.next_id();
        self.send(&message.encode(self.version, id, &Properties::none()))
    }

    /// Sends a copy for each matching filter, with the filter's identifier, as MQTT 5 allows.
    pub(crate) fn deliver(&mut self, message: &Message) -> io::Result<()> {
        let matching: Vec<Filter> = self.filters.iter().filter(|it| it.matches(&message.topic)).cloned().collect();
        for Filter { identifier, .. } in matching {
            let properties = identifier.into_iter().fold(Properties::none(), |properties, identifier| {
                properties.varint(super::mqtt::property::SUBSCRIPTION_ID, identifier as usize)
            });
            let id = self.next_id();
            self.send(&message.encode(self.version, id, &properties))?;
        }
        Ok(())
    }

    fn next_id(&mut self) -> PacketId {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id.to_be_bytes()
    }

    pub(crate) fn send(&self, packet: &Packet) -> io::Result<()> {
        self.send_bytes(&packet.encode())
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }

    /// Returns a handle of the socket, for writing from another thread.
    pub(crate) fn writer(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Makes closing the socket a reset, which discards what the client has not read.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        Ok(set_socket_linger(&self.stream, Some(Duration::ZERO))?)
    }
}

/// Returns the version of a CONNECT. It may also be the first bytes of another protocol.
fn version_of(connect: &Packet) -> Version {
    if connect.body.get(6) == Some(&5) { Version::V5 } else { Version::V3_1_1 }
}

/// Returns the error that ends a script.
pub(crate) fn end_of_script() -> io::Error {
    io::Error::other("end of the script")
}

/// Controls the CONNACK of [`Peer::late`].
pub(crate) struct Gate {
    open: Sender<()>,
    closed: Receiver<()>,
}

impl Gate {
    /// Lets the peer send the CONNACK.
    pub(crate) fn open(&self) {
        self.open.send(()).expect("the peer stays");
    }

    /// Waits until the client has closed the connection, and everything that it sent was read.
    pub(crate) fn wait_for_end(&self) {
        self.closed.recv_timeout(TIMEOUT).expect("the client goes");
    }
}

/// A peer that listens on its own port.
pub(crate) struct Peer {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Peer {
    /// Starts a peer that runs the script on each connection, in a separate thread.
    pub(crate) fn start(script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// Starts a peer at this address.
    pub(crate) fn start_at(
        address: SocketAddr,
        script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        Self::start_on(listener, script)
    }

    /// Starts a peer on this listener.
    pub(crate) fn start_on(
        listener: TcpListener,
        script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(listener, true, script)
    }

    /// Runs the script on each connection. With `waits`, it waits for the client's first byte, and ignores clients that send
    /// none.
    fn listen(
        listener: TcpListener,
        waits: bool,
        script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let log: Arc<Mutex<Log>> = Arc::default();
        let (script, shared) = (Arc::new(script), log.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                lock(&shared).opened.push(Instant::now());
                let (script, log) = (script.clone(), shared.clone());
                thread::spawn(move || {
                    let run = || Connection::new(stream, waits, log.clone()).and_then(|mut it| script(&mut it));
                    // Ignore errors: a script fails when its client is gone.
                    let ended = catch_unwind(AssertUnwindSafe(run));
                    let mut log = lock(&log);
                    log.closed += 1;
                    log.has_panicked |= ended.is_err();
                });
            }
        });
        Self { address, log }
    }

    /// Starts a broker with this script.
    pub(crate) fn broker(script: Script) -> Self {
        Self::start(move |connection| connection.follow(&script))
    }

    /// Starts a broker that refuses every client, with a reason code of MQTT 5 or a return code of MQTT 3.1.1.
    pub(crate) fn refusing(reason_code: u8, return_code: u8) -> Self {
        Self::refusing_with(reason_code, return_code, Properties::none())
    }

    /// Starts a broker that refuses every client, with properties in its CONNACK of MQTT 5.
    pub(crate) fn refusing_with(reason_code: u8, return_code: u8, properties: Properties) -> Self {
        Self::start(move |connection| {
            connection.wait_for(CONNECT)?;
            let version = connection.version;
            let code = if version == Version::V5 { reason_code } else { return_code };
            connection.send(&Packet::connack(version, false, code, &properties))
        })
    }

    /// Starts a broker that sends these messages to each new subscriber, and closes the connection.
    pub(crate) fn leaving_after(messages: Vec<Message>) -> Self {
        Self::start(move |connection| {
            connection.accept_and_grant()?;
            messages.iter().try_for_each(|message| connection.publish(&message.clone().with_qos(0)))
        })
    }

    /// Starts a broker that sends its first CONNACK only on request, and does not acknowledge publications.
    pub(crate) fn late() -> (Self, Gate) {
        let ((open, opened), (close, closed)) = (channel(), channel());
        let opened = Mutex::new(opened);
        let peer = Self::start(move |connection| {
            let mut is_client = false;
            while let Ok(packet) = connection.read() {
                is_client = true;
                // Ignore errors: the client may be gone, but what it sent is still read.
                let _ = match packet.kind() {
                    CONNECT => {
                        // Ignore a missing sender: the test is over.
                        let _ = lock(&opened).recv();
                        connection.answer(&packet, &Script::default())
                    }
                    SUBSCRIBE => connection.answer(&packet, &Script::default()),
                    _ => Ok(()),
                };
            }
            if is_client {
                // Ignore a missing receiver: the test is over.
                let _ = close.send(());
            }
            Ok(())
        });
        (peer, Gate { open, closed })
    }

    /// Starts a server that sends these bytes to every client and closes the connection.
    pub(crate) fn saying(bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
        Self::listen(listener, false, move |connection| {
            connection.send_bytes(bytes)?;
            connection.stream.shutdown(Shutdown::Both)
        })
    }

    /// Starts a server that accepts every client and sends nothing.
    pub(crate) fn silent() -> Self {
        Self::start(Connection::read_to_end)
    }

    /// Waits until this many packets were received.
    pub(crate) fn wait_for_packets(&self, count: usize) {
        self.wait_until(&format!("{count} packets"), |received| received.len() >= count);
    }

    /// Waits until `holds` is true for the received packets.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&[Received]) -> bool) {
        self.wait(what, |log| holds(&log.received));
    }

    /// Waits until this many connections were accepted.
    pub(crate) fn wait_for_connections(&self, count: usize) {
        self.wait(&format!("{count} connections"), |log| log.opened.len() >= count);
    }

    /// Waits until every connection is closed and read to its end.
    pub(crate) fn wait_for_end(&self) {
        self.wait("the end of every connection", |log| log.closed == log.opened.len());
    }

    fn wait(&self, what: &str, holds: impl Fn(&Log) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !holds(&lock(&self.log)) {
            assert!(Instant::now() < deadline, "waited in vain for {what}; received: {:?}", self.received());
            thread::sleep(POLL_INTERVAL);
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the received packets of all connections.
    pub(crate) fn received(&self) -> Vec<Received> {
        lock(&self.log).received.clone()
    }

    /// Returns the received packets, without time and connection.
    pub(crate) fn seen(&self) -> Vec<Packet> {
        self.received().into_iter().map(|received| received.packet).collect()
    }

    /// Returns the received packets of one kind.
    pub(crate) fn seen_of(&self, kind: u8) -> Vec<Packet> {
        self.seen().into_iter().filter(|packet| packet.kind() == kind).collect()
    }

    /// Returns when each connection was accepted.
    pub(crate) fn connections(&self) -> Vec<Instant> {
        lock(&self.log).opened.clone()
    }

    /// Returns the protocol level of each received CONNECT: 5 for MQTT 5, 4 for 3.1.1.
    pub(crate) fn levels(&self) -> Vec<u8> {
        self.seen_of(CONNECT).iter().map(|packet| packet.body[6]).collect()
    }

    /// Returns the received SUBSCRIBE packets.
    pub(crate) fn subscribes(&self) -> Vec<Subscribe> {
        let received = self.received();
        let subscribes = received.iter().filter(|it| it.packet.kind() == SUBSCRIBE);
        subscribes.map(|it| Subscribe::parse(it.version, &it.packet)).collect()
    }

    /// Returns the received publications.
    pub(crate) fn published(&self) -> Vec<Message> {
        let received = self.received();
        let publishes = received.iter().filter(|it| it.packet.kind() == PUBLISH);
        publishes.map(|it| Message::parse(it.version, &it.packet).0).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let has_panicked = lock(&self.log).has_panicked;
        assert!(!has_panicked || thread::panicking(), "an assertion in the peer's script has failed");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
