//! Baselines: the MQTT library with an empty callback, and a socket without a library.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use paho_mqtt as mqtt;

use crate::wire::{self, Packets};

/// Where calls are asked for.
const CALLS: &str = "/rtcomm/callControl";

/// Receives `count` messages in the library's callback and only counts them.
pub(crate) fn count(port: u16, qos: i32, count: u64) -> Result<()> {
    let client = client(port)?;
    let (done, end) = channel();
    let counted = AtomicU64::new(0);
    client.set_message_callback(move |_, message| {
        if message.is_some() && counted.fetch_add(1, Ordering::Relaxed) + 1 == count {
            // The other end waits for nothing else.
            let _ = done.send(());
        }
    });
    connect_and_subscribe(&client, "/rtcomm/event/#", qos)?;
    end.recv().context("the messages ended early")?;
    leave(client)
}

/// Places `count` calls, each when the one before it was answered.
pub(crate) fn call(port: u16, qos: i32, count: u64) -> Result<()> {
    const REPLIES: &str = "/rtcomm/reply/sequential";
    let client = client(port)?;
    let (reply, replies) = channel();
    client.set_message_callback(move |_, message| {
        if let Some(message) = message {
            // The other end leaves when it has all its replies.
            let _ = reply.send(message.payload().len());
        }
    });
    connect_and_subscribe(&client, REPLIES, qos)?;
    for number in 0..count {
        client.try_publish(mqtt::Message::new(CALLS, request(number, REPLIES), qos)).context("cannot publish")?;
        wait_for_one(&replies)?;
    }
    leave(client)
}

/// Places `count` calls with `jobs` in flight at QoS 0, over a socket with no library at all: what the broker can do.
pub(crate) fn batch(port: u16, jobs: u64, count: u64) -> Result<()> {
    const REPLIES: &str = "/rtcomm/reply/batch";
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.write_all(&wire::connect("batch"))?;
    stream.write_all(&wire::subscribe(REPLIES, 0))?;
    let mut packets = Packets::new(stream.try_clone()?);
    let (mut placed, mut answered, mut requests) = (0, 0, Vec::new());
    while answered < count {
        match packets.next()?.context("the broker left")?.kind {
            wire::SUBACK => {}
            wire::PUBLISH => answered += 1,
            _ => continue,
        }
        if packets.has_next() {
            continue;
        }
        while placed < count && placed - answered < jobs {
            let request = request(placed, REPLIES);
            wire::push_publish(&mut requests, false, None, CALLS, request.as_bytes());
            placed += 1;
        }
        stream.write_all(&requests)?;
        requests.clear();
    }
    Ok(())
}

/// A request as `rtcomm call` sends it.
pub(crate) fn request(number: u64, reply_to: &str) -> String {
    format!(
        r#"{{"method":"3PCC_PLACE_CALL","rtcommVer":"v1.0.0","transID":"00000000-0000-4000-8000-{number:012}","callerEndpoint":"iggy_pop_{number}","calleeEndpoint":"david_bowie","fromTopic":"{reply_to}"}}"#
    )
}

fn wait_for_one(replies: &Receiver<usize>) -> Result<()> {
    let size = replies.recv_timeout(Duration::from_secs(10)).context("no reply came")?;
    ensure!(size > 0, "an empty reply came");
    Ok(())
}

fn client(port: u16) -> Result<mqtt::AsyncClient> {
    let options = mqtt::CreateOptionsBuilder::new()
        .server_uri(format!("mqtt://127.0.0.1:{port}"))
        .client_id("bare")
        .mqtt_version(mqtt::MqttVersion::V5);
    Ok(options.create_client()?)
}

fn connect_and_subscribe(client: &mqtt::AsyncClient, filter: &str, qos: i32) -> Result<()> {
    let options = mqtt::ConnectOptionsBuilder::with_mqtt_version(mqtt::MqttVersion::V5).clean_start(true).finalize();
    client.connect(options).wait().context("cannot connect")?;
    client.subscribe(filter, qos).wait().context("cannot subscribe")?;
    Ok(())
}

/// Disconnects, and leaks the client: dropping it may take a second.
fn leave(client: mqtt::AsyncClient) -> Result<()> {
    client.disconnect(None).wait()?;
    std::mem::forget(client);
    Ok(())
}
