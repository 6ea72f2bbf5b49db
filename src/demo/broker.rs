//! An MQTT broker inside this process: rumqttd, for MQTT 5, 3.1.1 and 3.1 on one address.
//!
//! rumqttd listens for MQTT 5 and for 3.1.1 on a port each. Both are loopback ports that the system chooses; what the
//! world sees is one listener before them, which reads a client's CONNECT, picks the port for its version and then
//! passes packets on. Which of them may pass is for [`guard`] to say; sessions, subscriptions and
//! messages are rumqttd's alone.
//!
//! Nothing here stops: rumqttd has no way to, so a broker lives as long as its process.

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

use super::guard::{self, Client, End, Refused, Version};
use super::packet::{CONNECT, PUBLISH, Packet, put_string};
use crate::exit::{Failure, Status};
use crate::protocol::topic::TopicFilter;

/// Where MQTT brokers are expected, and where `rtcomm` looks for one unless it is told.
pub(crate) const DEFAULT_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1883));

/// How long a new client may take to say CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long rumqttd may take to answer its first client.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// The address that the broker is asked to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// 127.0.0.1:1883, or any free port where that one is taken.
    Default,
    /// This address or none: who names one has told others about it. Port 0 is any free port.
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
                .hint("choose another address with --listen; port 0 takes any free port")
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
pub(super) struct Broker {
    address: SocketAddr,
    link: Link,
}

impl Broker {
    /// Starts the broker, and returns once clients of either version get through to it.
    pub(super) fn start(listen: Listen) -> Result<Broker> {
        let listener = listen.bind()?;
        let address = listener.local_addr()?;
        // Once more, for the unlikely case that another process was quicker to a port.
        let (ports, link) =
            start_rumqttd().or_else(|_| start_rumqttd()).context("cannot start the embedded MQTT broker")?;
        thread::Builder::new().name("demo-accept".to_owned()).spawn(move || accept(&listener, ports))?;
        Ok(Broker { address, link })
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The one client that needs no socket.
    pub(super) fn into_link(self) -> Link {
        self.link
    }
}

/// A client inside the process.
pub(super) struct Link {
    tx: LinkTx,
    rx: LinkRx,
}

/// A message that the link received.
pub(super) struct Message {
    /// Where it was published.
    pub(super) topic: String,
    /// What was published.
    pub(super) payload: Vec<u8>,
}

impl Link {
    /// Subscribes, in effect before whatever is published after the return.
    pub(super) fn subscribe(&mut self, filter: &TopicFilter) -> Result<()> {
        self.tx.subscribe(filter.as_str())?;
        Ok(())
    }

    /// Publishes a message. rumqttd delivers it in the quality that the subscriber asked for, whatever its own.
    pub(super) fn publish(&mut self, topic: &str, payload: String, retain: bool) -> Result<()> {
        let publish = Publish::new(topic.to_owned(), payload, retain);
        // An `async fn` that waits for nothing but a channel, and for that without a runtime.
        let sent = pin!(self.tx.send(protocol::Packet::Publish(publish, None)));
        match sent.poll(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => sent.map(drop).context("the embedded MQTT broker is gone"),
            Poll::Pending => bail!("the embedded MQTT broker is busy"),
        }
    }

    /// The next message, or `None` at the deadline.
    pub(super) fn receive_until(&mut self, deadline: Instant) -> Result<Option<Message>> {
        loop {
            match self.rx.recv_deadline(deadline) {
                Ok(Some(Notification::Forward(forward))) => {
                    let topic = String::from_utf8_lossy(&forward.publish.topic).into_owned();
                    return Ok(Some(Message { topic, payload: forward.publish.payload.into() }));
                }
                // What was ready has been handed over: rumqttd pauses until it is told to go on.
                Ok(Some(Notification::Unschedule)) => self.rx.ready()?,
                Ok(_) => {}
                Err(_) if Instant::now() >= deadline => return Ok(None),
                Err(error) => return Err(error).context("the embedded MQTT broker is gone"),
            }
        }
    }
}

/// rumqttd's own listeners.
#[derive(Clone, Copy)]
struct Ports {
    v4: SocketAddr,
    v5: SocketAddr,
}

impl Ports {
    fn of(self, version: Version) -> SocketAddr {
        match version {
            Version::V4 => self.v4,
            Version::V5 => self.v5,
        }
    }
}

fn start_rumqttd() -> Result<(Ports, Link)> {
    let ports = free_ports()?;
    let mut broker = rumqttd::Broker::new(config(ports));
    // A name that no client can know: a second client of the same name would end this link.
    let (tx, rx) = broker.link(&format!("rtcomm-demo-{}", Uuid::new_v4()))?;
    let mut link = Link { tx, rx };
    thread::Builder::new().name("demo-broker".to_owned()).spawn(move || drop(broker.start()))?;
    for version in [Version::V4, Version::V5] {
        wait_until_it_listens(version, ports.of(version), &mut link)?;
    }
    Ok((ports, link))
}

/// rumqttd binds by number, and only logs where it cannot: the numbers have to be found beforehand.
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
            // Every filter that is subscribed to keeps its messages for slow readers: 16 MiB at most.
            max_segment_size: 1024 * 1024,
            max_segment_count: 16,
            ..RouterConfig::default()
        },
        v4: server("demo-v4", ports.v4),
        v5: server("demo-v5", ports.v5),
        ..rumqttd::Config::default()
    }
}

/// Connects as a client and publishes what the link then has to see. A connection alone would prove little: between
/// finding the port and using it, another process may have taken it.
fn wait_until_it_listens(version: Version, port: SocketAddr, link: &mut Link) -> Result<()> {
    let topic = format!("rtcomm-demo/ready/{}", Uuid::new_v4());
    let deadline = Instant::now() + START_TIMEOUT;
    link.tx.subscribe(topic.as_str())?;
    let mut client = connect_until(port, deadline)?;
    greet(version, &topic, &mut client)?;
    link.receive_until(deadline)?.with_context(|| format!("no answer from {port}"))?;
    link.tx.unsubscribe(topic)?;
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

/// Says CONNECT, with a clean session and a keep alive of a minute, and publishes one message to `topic`.
fn greet(version: Version, topic: &str, to: &mut impl Write) -> io::Result<()> {
    let no_properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
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
            // A client that goes wrong is let go, and there is nobody else to tell.
            let serving = thread::Builder::new().name("demo-client".to_owned());
            drop(serving.spawn(move || serve(&client, ports)));
        } else {
            // No descriptor is left, most likely: to try again at once would only burn a core.
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Serves one client until both sides are done.
fn serve(mut client: &TcpStream, ports: Ports) -> io::Result<()> {
    client.set_nodelay(true)?;
    let guarded = match Client::read(&mut UntilDeadline(client, Instant::now() + CONNECT_TIMEOUT)) {
        Ok(guarded) => guarded,
        Err(Refused(answer)) => return client.write_all(answer),
    };
    client.set_read_timeout(None)?;
    let mut broker = &TcpStream::connect(ports.of(guarded.version))?;
    broker.set_nodelay(true)?;
    broker.write_all(&guarded.connect)?;
    thread::scope(|scope| {
        thread::Builder::new().name("demo-client".to_owned()).spawn_scoped(scope, || answer(broker, client))?;
        match guarded.pass_packets(&mut BufReader::new(client), &mut BufWriter::new(broker)) {
            Ok(End::Disconnect) => Ok(()),
            Ok(End::Connection) => broker.shutdown(Shutdown::Write),
            Err(_) => {
                client.shutdown(Shutdown::Both).ok();
                broker.shutdown(Shutdown::Write)
            }
        }
    })
}

/// Passes on what rumqttd says. Where the client is gone, somebody still has to listen: rumqttd would wait for ever to
/// be rid of its words, and never see that nobody is there.
fn answer(mut broker: &TcpStream, mut client: &TcpStream) -> io::Result<u64> {
    let passed = io::copy(&mut Prompt(broker), &mut client);
    client.shutdown(Shutdown::Both).ok();
    passed.or_else(|_| io::copy(&mut broker, &mut io::sink()))
}

/// A stream that acknowledges at once what it reads. rumqttd leaves Nagle's algorithm on, so its second word waits until
/// the first is acknowledged: 40 ms, where Linux is left to itself.
struct Prompt<'a>(&'a TcpStream);

impl Read for Prompt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        std::os::linux::net::TcpStreamExt::set_quickack(self.0, true)?;
        self.0.read(buffer)
    }
}

/// A stream that fails to read once the deadline has passed, however slowly the bytes drop in.
struct UntilDeadline<'a>(&'a TcpStream, Instant);

impl Read for UntilDeadline<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self(stream, deadline) = self;
        let left = deadline.saturating_duration_since(Instant::now());
        // A timeout of zero is an error, and that is what is wanted of it.
        stream.set_read_timeout(Some(left))?;
        stream.read(buffer)
    }
}
