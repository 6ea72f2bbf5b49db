//! Scripted peers: brokers with one fault, and servers that are not brokers.
//!
//! A script is a function over a [`Connection`]; [`Script`] is a table of answers for common cases. Every packet is recorded
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

/// The longest silence of a client that a peer waits out.
const READ_TIMEOUT: Duration = Duration::from_mins(3);

/// How a peer answers a CONNECT of MQTT 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToVersion5 {
    /// As one of MQTT 3.1.1.
    Accept,
    /// With the CONNACK that MQTT 5 has for it: 0x84, unsupported protocol version.
    ReasonCode,
    /// With the CONNACK of MQTT 3.1.1: 1, unacceptable protocol version.
    ReturnCode,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Never.
    Silence,
}

/// The messages that a publisher is sent after its PUBACK.
pub(crate) type OnPublish = Arc<dyn Fn(&Message) -> Vec<Message> + Send + Sync>;

/// The answers of a peer.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) to_version_5: ToVersion5,
    /// The properties of a CONNACK of MQTT 5.
    pub(crate) connack: Properties,
    /// The return code of every filter; without it, the QoS that was requested.
    pub(crate) granted: Option<u8>,
    /// What each new subscriber is sent, whatever its filters.
    pub(crate) to_subscriber: Vec<Message>,
    /// Without it the connection is closed instead of an acknowledgement.
    pub(crate) on_publish: Option<OnPublish>,
}

impl Default for Script {
    /// A broker without limits and without subscribers of its own.
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

    /// Sends these to each publisher.
    pub(crate) fn replying(self, reply: impl Fn(&Message) -> Vec<Message> + Send + Sync + 'static) -> Self {
        Self { on_publish: Some(Arc::new(reply)), ..self }
    }
}

/// A packet that a client sent.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The number of the connection, from 0.
    pub(crate) connection: usize,
    pub(crate) version: Version,
    pub(crate) at: Instant,
    pub(crate) packet: Packet,
}

#[derive(Default)]
struct Log {
    received: Vec<Received>,
    /// When each connection was accepted, also those on which nothing was sent.
    opened: Vec<Instant>,
    used: usize,
    closed: usize,
    has_panicked: bool,
}

/// One client's connection, seen from the peer.
pub(crate) struct Connection {
    /// From 0, among those on which something was sent.
    pub(crate) number: usize,
    /// That of the client's CONNECT.
    pub(crate) version: Version,
    /// What the client subscribed to.
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
            return Err(over());
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

    /// Reads until a packet of this kind comes; answers only PINGREQ until then.
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

    /// Reads CONNECT and accepts it.
    pub(crate) fn accept(&mut self) -> io::Result<Connect> {
        self.accept_with(false, &Properties::none())
    }

    /// Reads CONNECT and accepts it with these properties, if it is of MQTT 5.
    pub(crate) fn accept_with(&mut self, session_present: bool, properties: &Properties) -> io::Result<Connect> {
        let connect = self.wait_for(CONNECT)?;
        self.send(&Packet::connack(self.version, session_present, 0, properties))?;
        Ok(Connect::parse(&connect))
    }

    /// Reads SUBSCRIBE and grants what it requests.
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

    /// Accepts the client and its first SUBSCRIBE.
    pub(crate) fn accept_and_grant(&mut self) -> io::Result<()> {
        self.accept()?;
        self.grant().map(drop)
    }

    /// Answers everything as a broker without limits does, until the client has closed.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        self.follow(&Script::default())
    }

    /// Answers everything as the script says, until the client has closed.
    pub(crate) fn follow(&mut self, script: &Script) -> io::Result<()> {
        loop {
            let packet = self.read()?;
            match self.answer(&packet, script) {
                // The client has closed. What it sent before is still recorded.
                Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    return self.read_to_end();
                }
                answered => answered?,
            }
        }
    }

    /// Answers one packet as the script says.
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
                Err(over())
            }
            CONNECT => self.send(&Packet::connack(self.version, false, 0, &script.connack)),
            SUBSCRIBE => {
                let subscribe = Subscribe::parse(self.version, packet);
                self.grant_this(&subscribe, script.granted)?;
                script.to_subscriber.iter().try_for_each(|message| self.publish(&message.clone().with_qos(0)))
            }
            PUBLISH => {
                let (message, id) = Message::parse(self.version, packet);
                let reply = script.on_publish.as_ref().ok_or_else(over)?;
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

    /// Reads and records until the client has closed, and answers nothing.
    pub(crate) fn read_to_end(&mut self) -> io::Result<()> {
        loop {
            match self.read() {
                Ok(_) => {}
                // Not MQTT.
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

    /// Sends one copy for each filter that matches, as MQTT 5 allows, with the filter's identifier.
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

    /// The socket, for another thread to write to.
    pub(crate) fn writer(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Makes the close of the socket a reset, which discards what the client has not read.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        Ok(set_socket_linger(&self.stream, Some(Duration::ZERO))?)
    }
}

/// The version of a CONNECT, which may be another protocol's first bytes.
fn version_of(connect: &Packet) -> Version {
    if connect.body.get(6) == Some(&5) { Version::V5 } else { Version::V3_1_1 }
}

/// The error of a script that has done all it had to.
pub(crate) fn over() -> io::Error {
    io::Error::other("the script is over")
}

/// A client that waits for the CONNACK of a broker that is late.
pub(crate) struct Gate {
    open: Sender<()>,
    closed: Receiver<()>,
}

impl Gate {
    /// Has the client that waits accepted.
    pub(crate) fn open(&self) {
        self.open.send(()).expect("the peer stays");
    }

    /// Waits until the client is gone, and all that it had sent was read.
    pub(crate) fn wait_for_end(&self) {
        self.closed.recv_timeout(TIMEOUT).expect("the client goes");
    }
}

/// A peer that listens on a port of its own.
pub(crate) struct Peer {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Peer {
    /// Runs the script on each connection, in a thread of its own.
    pub(crate) fn start(script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// The same at an address of this machine.
    pub(crate) fn start_at(
        address: SocketAddr,
        script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        Self::start_on(listener, script)
    }

    /// The same on a listener that was prepared.
    pub(crate) fn start_on(
        listener: TcpListener,
        script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(listener, true, script)
    }

    /// Runs the script on each connection; `waits` for the client's first byte, and ignores clients that send none.
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
                    // A script returns an error when its client is gone.
                    let ended = catch_unwind(AssertUnwindSafe(run));
                    let mut log = lock(&log);
                    log.closed += 1;
                    log.has_panicked |= ended.is_err();
                });
            }
        });
        Self { address, log }
    }

    /// A broker with these answers.
    pub(crate) fn broker(script: Script) -> Self {
        Self::start(move |connection| connection.follow(&script))
    }

    /// A broker that refuses every client, with a reason code of MQTT 5 or a return code of MQTT 3.1.1.
    pub(crate) fn refusing(reason_code: u8, return_code: u8) -> Self {
        Self::refusing_with(reason_code, return_code, Properties::none())
    }

    /// The same with properties in its CONNACK of MQTT 5.
    pub(crate) fn refusing_with(reason_code: u8, return_code: u8, properties: Properties) -> Self {
        Self::start(move |connection| {
            connection.wait_for(CONNECT)?;
            let version = connection.version;
            let code = if version == Version::V5 { reason_code } else { return_code };
            connection.send(&Packet::connack(version, false, code, &properties))
        })
    }

    /// A broker that sends these to each new subscriber, and leaves.
    pub(crate) fn leaving_after(messages: Vec<Message>) -> Self {
        Self::start(move |connection| {
            connection.accept_and_grant()?;
            messages.iter().try_for_each(|message| connection.publish(&message.clone().with_qos(0)))
        })
    }

    /// A broker that accepts its first client only on request, and does not acknowledge publications.
    pub(crate) fn late() -> (Self, Gate) {
        let ((open, opened), (close, closed)) = (channel(), channel());
        let opened = Mutex::new(opened);
        let peer = Self::start(move |connection| {
            let mut is_client = false;
            while let Ok(packet) = connection.read() {
                is_client = true;
                // A client that is gone cannot be answered, but what it had sent is still read.
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

    /// Not a broker: sends this to every client, and closes.
    pub(crate) fn saying(bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
        Self::listen(listener, false, move |connection| {
            connection.send_bytes(bytes)?;
            connection.stream.shutdown(Shutdown::Both)
        })
    }

    /// Not a broker: accepts every client, and sends nothing.
    pub(crate) fn silent() -> Self {
        Self::start(Connection::read_to_end)
    }

    /// Waits until so many packets came.
    pub(crate) fn wait_for_packets(&self, count: usize) {
        self.wait_until(&format!("{count} packets"), |received| received.len() >= count);
    }

    /// Waits until what was received is as it should be.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&[Received]) -> bool) {
        self.wait(what, |log| holds(&log.received));
    }

    /// Waits until so many connections are open or were.
    pub(crate) fn wait_for_connections(&self, count: usize) {
        self.wait(&format!("{count} connections"), |log| log.opened.len() >= count);
    }

    /// Waits until every connection so far is closed and read to its end.
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

    /// The packets that came, over all connections.
    pub(crate) fn received(&self) -> Vec<Received> {
        lock(&self.log).received.clone()
    }

    /// The same without time and place.
    pub(crate) fn seen(&self) -> Vec<Packet> {
        self.received().into_iter().map(|received| received.packet).collect()
    }

    /// The packets of one kind.
    pub(crate) fn seen_of(&self, kind: u8) -> Vec<Packet> {
        self.seen().into_iter().filter(|packet| packet.kind() == kind).collect()
    }

    /// When each connection was accepted.
    pub(crate) fn connections(&self) -> Vec<Instant> {
        lock(&self.log).opened.clone()
    }

    /// The protocol levels of the CONNECT packets that came: 5 for MQTT 5, 4 for 3.1.1.
    pub(crate) fn levels(&self) -> Vec<u8> {
        self.seen_of(CONNECT).iter().map(|packet| packet.body[6]).collect()
    }

    /// The SUBSCRIBE packets that came.
    pub(crate) fn subscribes(&self) -> Vec<Subscribe> {
        let received = self.received();
        let subscribes = received.iter().filter(|it| it.packet.kind() == SUBSCRIBE);
        subscribes.map(|it| Subscribe::parse(it.version, &it.packet)).collect()
    }

    /// The messages that were published.
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
