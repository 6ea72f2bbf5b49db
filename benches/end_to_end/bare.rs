//! The MQTT library with nothing behind it: what no program that uses it can surpass.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use paho_mqtt as mqtt;

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

/// Places `count` calls at QoS 0, each when the one before it was answered.
pub(crate) fn call(port: u16, count: u64) -> Result<()> {
    const REPLIES: &str = "/rtcomm/reply/sequential";
    let client = client(port)?;
    let (reply, replies) = channel();
    client.set_message_callback(move |_, message| {
        if let Some(message) = message {
            // The other end leaves when it has all its replies.
            let _ = reply.send(message.payload().len());
        }
    });
    connect_and_subscribe(&client, REPLIES, 0)?;
    for number in 0..count {
        client
            .try_publish(mqtt::Message::new("/rtcomm/callControl", request(number, REPLIES), 0))
            .context("cannot publish")?;
        wait_for_one(&replies)?;
    }
    leave(client)
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

/// Says goodbye, and leaves the client to the end of the process: dropping it may take a second.
fn leave(client: mqtt::AsyncClient) -> Result<()> {
    client.disconnect(None).wait()?;
    std::mem::forget(client);
    Ok(())
}
