//! Sends packets with the MQTT library, Eclipse Paho. The only file that names its crate.
//!
//! The library builds and numbers CONNECT, SUBSCRIBE, PUBLISH and DISCONNECT. Its clients are connected to a port of this
//! process, where a [`relay`](super::relay) reads the packets and forwards them to the broker. So a client of the library
//! outlives connections to brokers, and receives no messages.

use std::mem::ManuallyDrop;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use paho_mqtt as mqtt;

use super::codec::Version;
use super::loopback::LoopbackListener;
use super::options::Options;
use super::relay::LibraryLink;
use crate::protocol::topic::{TopicFilter, TopicName};

/// The timeout for the library's steps. They take that long only on an overloaded machine.
pub(super) const LIBRARY_TIMEOUT: Duration = Duration::from_secs(10);

/// The library's queue limit for publications: more than a batch has in flight.
const MAX_BUFFERED: i32 = 20_000;

/// The library's clients, one per MQTT version, each created on first use.
#[derive(Default)]
pub(super) struct LibraryClients {
    v311: Option<LibraryClient>,
    v5: Option<LibraryClient>,
}

/// A client of the library, connected to a relay. It is never dropped, because dropping it blocks for up to a second.
pub(super) struct LibraryClient {
    inner: ManuallyDrop<mqtt::AsyncClient>,
    version: Version,
    link: LibraryLink,
    /// Receives once whether the library has connected.
    connected: Receiver<bool>,
    is_connected: bool,
}

impl LibraryClients {
    /// Creates the client of this version on first use. It connects to a port of this process, sends its CONNECT, and waits
    /// for the first broker's CONNACK.
    ///
    /// # Errors
    /// If the library does not connect to the port: the reason.
    pub(super) fn start(&mut self, version: Version, options: &Options) -> Result<(), String> {
        let slot = match version {
            Version::V311 => &mut self.v311,
            Version::V5 => &mut self.v5,
        };
        if slot.is_none() {
            // The library cannot resolve 127.0.0.1 on a host that has only IPv6 addresses.
            let client = LibraryClient::connect(version, options, Ipv4Addr::LOCALHOST.into())
                .or_else(|_| LibraryClient::connect(version, options, Ipv6Addr::LOCALHOST.into()))?;
            *slot = Some(client);
        }
        Ok(())
    }

    /// Returns the client of this version, if it is started.
    pub(super) fn get(&self, version: Version) -> Option<&LibraryClient> {
        match version {
            Version::V311 => self.v311.as_ref(),
            Version::V5 => self.v5.as_ref(),
        }
    }

    /// Returns the client of this version for changes, if it is started.
    pub(super) fn get_mut(&mut self, version: Version) -> Option<&mut LibraryClient> {
        match version {
            Version::V311 => self.v311.as_mut(),
            Version::V5 => self.v5.as_mut(),
        }
    }
}

impl LibraryClient {
    /// Creates a client that connects to a free port of `address`, and returns when its CONNECT has arrived there.
    fn connect(version: Version, options: &Options, address: IpAddr) -> Result<Self, String> {
        let local = |error: std::io::Error| error.to_string();
        let listener = LoopbackListener::open(address).map_err(local)?;
        let uri = listener.uri().map_err(local)?;
        let inner = create(&uri, listener.secret(), version).map_err(|error| error.to_string())?;
        let inner = ManuallyDrop::new(inner);
        let (succeeded, connected) = channel();
        let failed = succeeded.clone();
        // The callbacks report the outcome.
        let _outcome = inner.connect_with_callbacks(
            connect_options(version, options),
            move |_, _| send(&succeeded, true),
            move |_, _, _| send(&failed, false),
        );
        let has_failed = || matches!(connected.try_recv(), Ok(false) | Err(TryRecvError::Disconnected));
        let deadline = Instant::now() + LIBRARY_TIMEOUT;
        let (socket, connect) = listener.accept(&options.client_id, deadline, has_failed).map_err(local)?;
        let link = LibraryLink::start(socket, connect, version).map_err(local)?;
        Ok(Self { inner, version, link, connected, is_connected: false })
    }

    /// Returns the relay's end of the connection to the library.
    pub(super) fn link(&self) -> &LibraryLink {
        &self.link
    }

    /// Waits until the library has processed its CONNACK or `deadline` passes. Returns whether it has. The relay sends a
    /// CONNACK in any case.
    pub(super) fn await_connected(&mut self, deadline: Instant) -> bool {
        if !self.is_connected {
            let left = deadline.saturating_duration_since(Instant::now());
            self.is_connected = self.connected.recv_timeout(left).unwrap_or(false);
        }
        self.is_connected
    }

    /// Sends a SUBSCRIBE. The relay reports the answer.
    ///
    /// With MQTT 5, `identifier` is the subscription identifier, and the broker sends retained messages only if the
    /// subscription is new.
    pub(super) fn subscribe(&self, filter: &TopicFilter, qos: u8, identifier: Option<u32>) {
        let qos = i32::from(qos);
        let _answer = if self.version == Version::V311 {
            self.inner.subscribe(filter.as_str(), qos)
        } else {
            let mut properties = mqtt::Properties::new();
            if let Some(identifier) = identifier.and_then(|identifier| i32::try_from(identifier).ok()) {
                properties
                    .push_int(mqtt::PropertyCode::SubscriptionIdentifier, identifier)
                    .expect("it is a property with a variable byte integer");
            }
            let options = mqtt::SubscribeOptionsBuilder::new()
                .retain_handling(mqtt::RetainHandling::SendRetainedOnNew)
                .finalize();
            self.inner.subscribe_with_options(filter.as_str(), qos, options, properties)
        };
    }

    /// Sends a PUBLISH. Returns whether the library accepts it; if so, the relay reports the outcome.
    pub(super) fn publish(&self, topic: &TopicName, payload: String, qos: u8) -> bool {
        let message = mqtt::Message::new(topic.as_str(), payload, i32::from(qos));
        self.inner.try_publish(message).is_ok()
    }

    /// Sends a DISCONNECT. Waits until the relay has sent it to the broker or `deadline` passes.
    pub(super) fn disconnect(&self, deadline: Instant) {
        let _sent = self.inner.disconnect(None);
        self.link.await_disconnect(deadline);
    }
}

/// Makes the content of the CONNECT.
fn connect_options(version: Version, options: &Options) -> mqtt::ConnectOptions {
    let Options { username, password, keepalive, connect_timeout, session_expiry, max_packet_size, .. } = options;
    let mut builder = mqtt::ConnectOptionsBuilder::with_mqtt_version(library_version(version));
    // The relay has its own timeouts.
    builder.keep_alive_interval(*keepalive).connect_timeout(*connect_timeout + LIBRARY_TIMEOUT);
    match version {
        Version::V311 => drop(builder.clean_session(session_expiry.is_none())),
        Version::V5 => {
            let mut properties = mqtt::Properties::new();
            let mut push = |code, value: u32| {
                let value = i32::from_ne_bytes(value.to_ne_bytes());
                properties.push_int(code, value).expect("it is a property of four bytes");
            };
            push(mqtt::PropertyCode::MaximumPacketSize, *max_packet_size);
            if let Some(expiry) = session_expiry {
                let seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
                push(mqtt::PropertyCode::SessionExpiryInterval, seconds);
            }
            builder.clean_start(session_expiry.is_none()).properties(properties);
        }
    }
    if let Some(username) = username {
        builder.user_name(username);
    }
    if let Some(password) = password {
        builder.password(password.expose());
    }
    builder.finalize()
}

/// Creates a client that is not connected yet.
fn create(uri: &str, client_id: &str, version: Version) -> mqtt::Result<mqtt::AsyncClient> {
    mqtt::CreateOptionsBuilder::new()
        .server_uri(uri)
        .client_id(client_id)
        .mqtt_version(library_version(version))
        .max_buffered_messages(MAX_BUFFERED)
        .persistence(mqtt::PersistenceType::None)
        .create_client()
}

/// Converts a version to the library's type.
fn library_version(version: Version) -> mqtt::MqttVersion {
    match version {
        Version::V311 => mqtt::MqttVersion::V3_1_1,
        Version::V5 => mqtt::MqttVersion::V5,
    }
}

/// Sends to a channel. Ignores errors: the receiver may be gone.
fn send<T>(channel: &Sender<T>, value: T) {
    let _ = channel.send(value);
}
