//! An MQTT broker inside this process: rumqttd, for MQTT 5, 3.1.1 and 3.1 on one address.
//!
//! rumqttd has separate ports for MQTT 5 and 3.1.1. Both are loopback ports that the system chooses. Clients connect to one
//! listener in front of them, which reads the CONNECT, selects the port for its version, and forwards packets. [`guard`]
//! decides which packets are forwarded; rumqttd does everything else.
//!
//! rumqttd cannot be stopped, so a broker runs until the process ends.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::pin::pin;
use std::task::{self, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::protocol::{self, Publish};
use rumqttd::{ConnectionSettings, Notification, RouterConfig, ServerSettings};
use uuid::Uuid;

use super::guard::{self, ClientEnd, GuardedClient, ProtocolLevel, Rejection};
use super::packet::{CONNECT, PUBLISH, Packet, put_string};
use crate::exit::{Failure, Status};
use crate::protocol::topic::TopicFilter;

/// The default address of MQTT brokers and of `--broker`.
pub(crate) const DEFAULT_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1883));

/// Maximum time for a new client to send CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time for rumqttd to serve its first client.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// The address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// 127.0.0.1:1883, or any free port if that one is in use.
    Default,
    /// Exactly this address, because clients may already use it. Port 0 is any free port.
    At(SocketAddr),
}

impl Listen {
    fn bind(self) -> Result<TcpListener, Failure> {
        let (address, bound) = match self {
            Listen::At(address) => (address, TcpListener::bind(address)),
            Listen::Default => (DEFAULT_ADDRESS, bind_default()),
        };
        bound.map_err(|error| {
            Failure::new(Status::Failure, format!("cannot listen on {address}: {error}"))
                .hint("use another address with --listen; port 0 is any free port")
        })
    }
}

fn bind_default() -> io::Result<TcpListener> {
    TcpListener::bind(DEFAULT_ADDRESS).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
        _ => Err(error),
    })
}

/// A running broker.
pub(super) struct EmbeddedBroker {
    address: SocketAddr,
    client: LocalClient,
}

impl EmbeddedBroker {
    /// Starts the broker, and returns once clients of both versions can connect.
    pub(super) fn start(listen: Listen) -> Result<EmbeddedBroker> {
        let listener = listen.bind()?;
        let address = listener.local_addr()?;
        // Retry once, in case another process took a port in between.
        let (ports, client) =
            start_rumqttd().or_else(|_| start_rumqttd()).context("cannot start the embedded MQTT broker")?;
        thread::Builder::new().name("demo-accept".to_owned()).spawn(move || accept(&listener, ports))?;
        Ok(EmbeddedBroker { address, client })
    }

    /// Returns the address of the broker.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the client that needs no socket.
    pub(super) fn into_local_client(self) -> LocalClient {
        self.client
    }
}

/// An MQTT client in this process, without a socket.
pub(super) struct LocalClient {
    tx: LinkTx,
    rx: LinkRx,
}

/// A message that a [`LocalClient`] received.
pub(super) struct BrokerMessage {
    /// Its topic.
    pub(super) topic: String,
    /// Its payload.
    pub(super) payload: Vec<u8>,
}

impl LocalClient {
    /// Subscribes. Includes everything published after this returns.
    pub(super) fn subscribe(&mut self, filter: &TopicFilter) -> Result<()> {
        self.tx.subscribe(filter.as_str())?;
        Ok(())
    }

    /// Publishes a message. rumqttd delivers it with the QoS of the subscription.
    pub(super) fn publish(&mut self, topic: &str, payload: String, retain: bool) -> Result<()> {
        let publish = Publish::new(topic.to_owned(), payload, retain);
        // This `async fn` only waits for a channel, so one poll without a runtime is enough.
        let sent = pin!(self.tx.send(protocol::Packet::Publish(publish, None)));
        match sent.poll(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => sent.map(drop).context("the embedded MQTT broker is gone"),
            Poll::Pending => bail!("the embedded MQTT broker is busy"),
        }
    }

    /// Returns the next message, or `None` at the deadline.
    pub(super) fn receive_until(&mut self, deadline: Instant) -> Result<Option<BrokerMessage>> {
        loop {
            match self.rx.recv_deadline(deadline) {
                Ok(Some(Notification::Forward(forward))) => {
                    let topic = String::from_utf8_lossy(&forward.publish.topic).into_owned();
                    return Ok(Some(BrokerMessage { topic, payload: forward.publish.payload.into() }));
                }
                // rumqttd delivered everything it had, and pauses until `ready` is called.
                Ok(Some(Notification::Unschedule)) => self.rx.ready()?,
                Ok(_) => {}
                Err(_) if Instant::now() >= deadline => return Ok(None),
                Err(error) => return Err(error).context("the embedded MQTT broker is gone"),
            }
        }
    }
}

/// The ports of rumqttd.
#[derive(Clone, Copy)]
struct Ports {
    v4: SocketAddr,
    v5: SocketAddr,
}

impl Ports {
    fn of(self, version: ProtocolLevel) -> SocketAddr {
        match version {
            ProtocolLevel::V4 => self.v4,
            ProtocolLevel::V5 => self.v5,
        }
    }
}

fn start_rumqttd() -> Result<(Ports, LocalClient)> {
    let ports = free_ports()?;
    let mut broker = rumqttd::Broker::new(config(ports));
    // A random ID, because a second client with the same ID would disconnect this one.
    let (tx, rx) = broker.link(&format!("rtcomm-demo-{}", Uuid::new_v4()))?;
    let mut client = LocalClient { tx, rx };
    thread::Builder::new().name("demo-broker".to_owned()).spawn(move || drop(broker.start()))?;
    for version in [ProtocolLevel::V4, ProtocolLevel::V5] {
        wait_until_ready(version, ports.of(version), &mut client)?;
    }
    Ok((ports, client))
}

/// Finds two free ports. rumqttd needs port numbers, and only logs if it cannot bind them.
fn free_ports() -> io::Result<Ports> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (v4, v5) = (bind()?, bind()?);
    Ok(Ports { v4: v4.local_addr()?, v5: v5.local_addr()? })
}

fn config(ports: Ports) -> rumqttd::Config {
    let server = |name: &str, listen| {
        let settings = ServerSettings {
            name: name.to_owned(),
            listen,
            tls: None,
            next_connection_delay_ms: 0,
            connections: ConnectionSettings {
                connection_timeout_ms: 10_000,
                max_payload_size: guard::MAX_PACKET_LEN,
                max_inflight_count: 1000,
                auth: None,
                external_auth: None,
                dynamic_filters: false,
            },
        };
        Some([(name.to_owned(), settings)].into())
    };
    rumqttd::Config {
        router: RouterConfig {
            max_connections: 10_010,
            max_outgoing_packet_count: 1000,
            // Messages kept per subscribed filter for slow readers: at most 16 MiB.
            max_segment_size: 1024 * 1024,
            max_segment_count: 16,
            ..RouterConfig::default()
        },
        v4: server("demo-v4", ports.v4),
        v5: server("demo-v5", ports.v5),
        ..rumqttd::Config::default()
    }
}

/// Publishes through `port`, and waits until the local client receives the message.
///
/// A connection alone is not enough: another process may have taken the port since it was found.
fn wait_until_ready(version: ProtocolLevel, port: SocketAddr, local: &mut LocalClient) -> Result<()> {
    let topic = format!("rtcomm-demo/ready/{}", Uuid::new_v4());
    let deadline = Instant::now() + START_TIMEOUT;
    local.tx.subscribe(topic.as_str())?;
    let mut client = connect_until(port, deadline)?;
    send_probe(version, &topic, &mut client)?;
    local.receive_until(deadline)?.with_context(|| format!("no answer from {port}"))?;
    local.tx.unsubscribe(topic)?;
    Ok(())
}

fn connect_until(port: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect(port) {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            connected => return connected,
        }
    }
}

/// Sends CONNECT with a clean session, and publishes one message to `topic`.
fn send_probe(version: ProtocolLevel, topic: &str, to: &mut impl Write) -> io::Result<()> {
    let no_properties: &[u8] = if version == ProtocolLevel::V5 { &[0] } else { &[] };
    let mut connect = b"\0\x04MQTT".to_vec();
    connect.extend([version as u8, 0b10, 0, 60]);
    connect.extend(no_properties);
    put_string(&mut connect, b"");
    Packet { first: CONNECT, body: connect }.write(to)?;
    let mut publish = Vec::new();
    put_string(&mut publish, topic.as_bytes());
    publish.extend(no_properties);
    publish.extend(b"ready");
    Packet { first: PUBLISH, body: publish }.write(to)
}

fn accept(listener: &TcpListener, ports: Ports) {
    loop {
        if let Ok((client, _)) = listener.accept() {
            // An error ends only this client, and nobody else needs to know.
            let serving = thread::Builder::new().name("demo-client".to_owned());
            drop(serving.spawn(move || serve(&client, ports)));
        } else {
            // Probably no file descriptor is left. Wait, instead of spinning.
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Serves one client until both sides have closed.
fn serve(mut client: &TcpStream, ports: Ports) -> io::Result<()> {
    client.set_nodelay(true)?;
    let guarded = match GuardedClient::read(&mut DeadlineReader(client, Instant::now() + CONNECT_TIMEOUT)) {
        Ok(guarded) => guarded,
        Err(Rejection(connack)) => return client.write_all(connack),
    };
    client.set_read_timeout(None)?;
    let mut broker = &TcpStream::connect(ports.of(guarded.version))?;
    broker.set_nodelay(true)?;
    broker.write_all(&guarded.connect)?;
    thread::scope(|scope| {
        thread::Builder::new()
            .name("demo-client".to_owned())
            .spawn_scoped(scope, || forward_to_client(broker, client))?;
        match guarded.forward_packets(&mut BufReader::new(client), &mut BufWriter::new(broker)) {
            Ok(ClientEnd::Disconnect) => Ok(()),
            Ok(ClientEnd::Connection) => broker.shutdown(Shutdown::Write),
            Err(_) => {
                client.shutdown(Shutdown::Both).ok();
                broker.shutdown(Shutdown::Write)
            }
        }
    })
}

/// Forwards packets from rumqttd to the client.
///
/// If the client is gone, continues to read: otherwise rumqttd would block on writing and never notice.
fn forward_to_client(mut broker: &TcpStream, mut client: &TcpStream) -> io::Result<u64> {
    let passed = io::copy(&mut QuickAck(broker), &mut client);
    client.shutdown(Shutdown::Both).ok();
    passed.or_else(|_| io::copy(&mut broker, &mut io::sink()))
}

/// A stream that acknowledges data at once.
///
/// rumqttd does not disable Nagle's algorithm, so its second packet would wait 40 ms for Linux's delayed acknowledgement.
struct QuickAck<'a>(&'a TcpStream);

impl Read for QuickAck<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        std::os::linux::net::TcpStreamExt::set_quickack(self.0, true)?;
        self.0.read(buffer)
    }
}

/// A stream whose reads fail after a deadline, even if bytes arrive slowly.
struct DeadlineReader<'a>(&'a TcpStream, Instant);

impl Read for DeadlineReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self(stream, deadline) = self;
        let left = deadline.saturating_duration_since(Instant::now());
        // A timeout of zero is an error, as intended.
        stream.set_read_timeout(Some(left))?;
        stream.read(buffer)
    }
}
