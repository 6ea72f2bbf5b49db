//! A real mosquitto on a free port, a publisher of events, and a service that answers calls.

use std::fs;
use std::io::{self, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use memchr::memmem;

use crate::encoded::EncodedEvents;
use crate::measure::Process;
use crate::mqtt::{CONNECT, Message, PUBLISH, Packet, Properties, SUBACK, SUBSCRIBE, Version, string};
use crate::pki::Identity;

/// How long the broker may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running mosquitto.
pub(crate) struct Mosquitto {
    port: u16,
    tls_port: Option<u16>,
    process: Process,
}

impl Mosquitto {
    /// Starts mosquitto with its defaults and these settings, and with a TLS listener if there is an identity.
    pub(crate) fn start(scratch: &Path, settings: &str, tls: Option<&Identity>) -> Result<Self> {
        let port = free_port()?;
        let tls_port = tls.map(|_| free_port()).transpose()?;
        let tls = tls_port.zip(tls).map_or_else(String::new, |(port, identity)| {
            format!("listener {port} 127.0.0.1\n{}", identity.mosquitto())
        });
        // Without `user root`, a mosquitto that root starts cannot read the certificates.
        let config = format!(
            "user root\nlog_dest stderr\nlog_type subscribe\n{settings}listener {port} 127.0.0.1\n\
             allow_anonymous true\n{tls}"
        );
        let file = scratch.join(format!("mosquitto-{port}.conf"));
        fs::write(&file, config)?;
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = Process::spawn(command)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while let Err(error) = TcpStream::connect((Ipv4Addr::LOCALHOST, tls_port.unwrap_or(port))) {
            if Instant::now() > deadline {
                return Err(error).context("mosquitto does not listen");
            }
            thread::sleep(Duration::from_millis(5));
        }
        fs::remove_file(file)?;
        Ok(Self { port, tls_port, process })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Returns the port for TLS, or the plain port of a broker without TLS.
    pub(crate) fn tls_port(&self) -> u16 {
        self.tls_port.unwrap_or(self.port)
    }

    /// Waits until the first client has subscribed.
    pub(crate) fn await_subscription(&mut self, filter: &str) -> Result<()> {
        self.process.await_stderr(filter).map(drop)
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Connects with MQTT 3.1.1, and waits for the CONNACK.
pub(crate) fn connect(port: u16, client_id: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    // Level 4, a clean session, no keep-alive.
    let body = [&string("MQTT")[..], &[4, 2, 0, 0], &string(client_id)].concat();
    Packet::new(CONNECT, body).write(&stream)?;
    Packet::read(&mut stream)?;
    Ok(stream)
}

/// Connects with MQTT 3.1.1 and subscribes, and waits for the SUBACK.
pub(crate) fn subscribe(port: u16, client_id: &str, filter: &str, qos: u8) -> Result<TcpStream> {
    let mut stream = connect(port, client_id)?;
    Packet::new(SUBSCRIBE | 2, [&[0, 1][..], &string(filter), &[qos]].concat()).write(&stream)?;
    while Packet::read(&mut stream)?.kind() != SUBACK {}
    Ok(stream)
}

/// A publisher of events that does not wait for acknowledgements.
pub(crate) struct Publisher(TcpStream);

impl Publisher {
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let stream = connect(port, "publisher")?;
        let mut acknowledgements = stream.try_clone()?;
        // A broker whose acknowledgements are not read would stop reading. The thread ends with the connection.
        thread::spawn(move || io::copy(&mut acknowledgements, &mut io::sink()));
        Ok(Self(stream))
    }

    /// Publishes `count` events.
    pub(crate) fn publish(&mut self, events: &EncodedEvents, count: u32) -> io::Result<()> {
        events.chunks(count).try_for_each(|chunk| self.0.write_all(chunk))
    }
}

/// Starts a call service: it answers every request with SUCCESS, at QoS 0.
pub(crate) fn start_call_service(broker: &mut Mosquitto) -> Result<()> {
    const REQUESTS: &str = "/rtcomm/callControl/#";
    let port = broker.port();
    // The thread ends with the broker.
    thread::spawn(move || serve_calls(&subscribe(port, "call-service", REQUESTS, 0)?));
    broker.await_subscription(REQUESTS)
}

fn serve_calls(mut stream: &TcpStream) -> Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let mut replies = Vec::new();
    loop {
        let packet = Packet::read(&mut reader)?;
        if packet.kind() == PUBLISH
            && let Some(reply) = reply_to(&Message::of(&packet).0.payload)
        {
            replies.extend(reply.encode(Version::V3_1_1, [0, 0], &Properties::none()).encode());
        }
        // Answer all requests of a read with one write.
        if reader.buffer().is_empty() {
            stream.write_all(&replies)?;
            replies.clear();
        }
    }
}

fn reply_to(request: &[u8]) -> Option<Message> {
    let (id, topic) = (value_of(request, "transID")?, value_of(request, "fromTopic")?);
    let payload = format!(
        r#"{{"method":"RESPONSE","orig":"3PCC_PLACE_CALL","rtcommVer":"v1.0.0","transID":"{id}","result":"SUCCESS"}}"#
    );
    Some(Message::new(topic, payload).with_qos(0))
}

/// Returns the value of a key, if it is a string without escapes.
fn value_of<'a>(json: &'a [u8], key: &str) -> Option<&'a str> {
    let prefix = format!("\"{key}\":\"");
    let start = memmem::find(json, prefix.as_bytes())? + prefix.len();
    let len = memchr::memchr(b'"', &json[start..])?;
    std::str::from_utf8(&json[start..start + len]).ok()
}

/// Returns a request in the format of `rtcomm call`.
pub(crate) fn request(number: u32, reply_topic: &str) -> String {
    format!(
        r#"{{"method":"3PCC_PLACE_CALL","rtcommVer":"v1.0.0","transID":"00000000-0000-4000-8000-{number:012}","callerEndpoint":"iggy_pop_{number}","calleeEndpoint":"david_bowie","fromTopic":"{reply_topic}"}}"#
    )
}
