//! Filters the packets from a client to rumqttd.
//!
//! rumqttd 0.20 trusts its clients. Some packets, including valid ones, panic one of its threads, which ends the service
//! for all clients. This module changes such packets, or closes the connection:
//!
//! | packet | effect in rumqttd | action here |
//! | --- | --- | --- |
//! | CONNECT of MQTT 3.1 | closed without CONNACK | change to 3.1.1, which differs in name only |
//! | CONNECT with keep alive 0 (disabled) | closed without CONNACK | change to the maximum |
//! | CONNECT with `+`, `$`, `#` or `/` in the client ID | closed without CONNACK; panic the second time | reject |
//! | CONNECT with a topic alias maximum | messages arrive with wrong topics | remove properties |
//! | will or PUBLISH with properties | panic on writing to a 3.1.1 subscriber | remove properties |
//! | will or PUBLISH to a topic with a non-ASCII first character | panic | close |
//! | will or PUBLISH to a topic with wildcards | delivered | close |
//! | SUBSCRIBE to `$share/…` in a persistent session | panic when the session pauses | close |
//! | DISCONNECT | may also end the next client with the same number | see [`ClientEnd`] |
//! | packets that only a server sends | panic | close |
//!
//! Neither rumqttd nor Rtcomm needs the removed properties. SUBSCRIBE keeps its properties, because subscription
//! identifiers work.

use std::io::{self, BufReader, Read, Write};

use super::packet::{Kind, Packet, malformed, put_string, take_array, take_properties, take_string};
use crate::protocol::topic::TopicName;

/// Maximum length of a packet in bytes. Packets of Rtcomm have some hundred bytes.
pub(super) const MAX_PACKET_LEN: usize = 16 * 1024 * 1024;

/// Maximum length of a CONNECT in bytes: a few strings of up to 64 KiB.
const MAX_CONNECT_LEN: usize = 512 * 1024;

/// Flags of CONNECT [MQTT-5, 3.1.2.3].
const CLEAN_START: u8 = 0b10;
const WILL: u8 = 0b100;

/// The protocol level in CONNECT, which selects the port of rumqttd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProtocolLevel {
    /// MQTT 3.1.1.
    V4 = 4,
    /// MQTT 5.
    V5 = 5,
}

/// The CONNACK that rejects a client, or empty bytes if the client does not speak MQTT.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejection(pub(super) &'static [u8]);

impl Rejection {
    const VERSION: Self = Self(&[0x20, 2, 0, 0x01]);

    /// Rejects the client ID. MQTT 5 has other reason codes than 3.1.1, and adds the length of the properties.
    fn client_id(version: ProtocolLevel) -> Self {
        match version {
            ProtocolLevel::V4 => Self(&[0x20, 2, 0, 0x02]),
            ProtocolLevel::V5 => Self(&[0x20, 3, 0, 0x85, 0]),
        }
    }
}

impl From<io::Error> for Rejection {
    fn from(_: io::Error) -> Self {
        Self(&[])
    }
}

/// An accepted client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GuardedClient {
    /// Selects the port of rumqttd.
    pub(super) version: ProtocolLevel,
    /// The CONNECT to send to rumqttd.
    pub(super) connect: Vec<u8>,
    has_clean_session: bool,
    has_will: bool,
}

/// How a client took its leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientEnd {
    /// The connection ended, or must be closed without forwarding a DISCONNECT that cancels no will.
    ///
    /// After both DISCONNECT and a closed connection, rumqttd may apply the second to the next client with this number.
    Connection,
    /// A DISCONNECT was forwarded to cancel the will. rumqttd must close the connection first.
    Disconnect,
}

impl GuardedClient {
    /// Reads and checks a CONNECT.
    pub(super) fn read(from: &mut impl Read) -> Result<Self, Rejection> {
        let packet = Packet::read_connect(from, MAX_CONNECT_LEN)?;
        let mut rest = packet.body.as_slice();
        let name = take_string(&mut rest)?;
        let [level, flags] = take_array(&mut rest)?;
        let version = match (name, level) {
            (b"MQIsdp", 3) | (b"MQTT", 4) => ProtocolLevel::V4,
            (b"MQTT", 5) => ProtocolLevel::V5,
            _ => return Err(Rejection::VERSION),
        };
        let (has_clean_session, has_will) = (flags & CLEAN_START != 0, flags & WILL != 0);

        let mut body = Vec::with_capacity(packet.body.len());
        put_string(&mut body, b"MQTT");
        body.extend([version as u8, flags]);
        body.extend(match take_array(&mut rest)? {
            [0, 0] => [0xff, 0xff],
            keep_alive => keep_alive,
        });
        remove_properties(version, &mut rest, &mut body)?;
        let client_id = take_string(&mut rest)?;
        if client_id.iter().any(|byte| b"+$#/".contains(byte)) {
            return Err(Rejection::client_id(version));
        }
        put_string(&mut body, client_id);
        if has_will {
            remove_properties(version, &mut rest, &mut body)?;
            let topic = take_string(&mut rest)?;
            check_topic(topic)?;
            put_string(&mut body, topic);
        }
        body.extend(rest);

        let mut connect = Vec::with_capacity(body.len() + 5);
        Packet { first: packet.first, body }.write(&mut connect)?;
        Ok(Self { version, connect, has_clean_session, has_will })
    }

    /// Forwards packets until the client disconnects.
    ///
    /// # Errors
    /// If the client sends a packet that is not allowed, or one of the connections breaks.
    pub(super) fn forward_packets(
        &self,
        from: &mut BufReader<impl Read>,
        to: &mut impl Write,
    ) -> io::Result<ClientEnd> {
        while let Some(mut packet) = Packet::read(from, MAX_PACKET_LEN)? {
            match packet.kind() {
                Kind::Publish => sanitize_publish(self.version, &mut packet)?,
                Kind::Subscribe => self.check_subscribe(&packet)?,
                Kind::Disconnect if self.has_will => {
                    packet.write(to)?;
                    to.flush()?;
                    return Ok(ClientEnd::Disconnect);
                }
                Kind::Disconnect => break,
                Kind::Other => {}
                Kind::NotAllowed => return Err(malformed()),
            }
            packet.write(to)?;
            // Flush only when the input buffer is empty, so that packets received together are sent together.
            if from.buffer().is_empty() {
                to.flush()?;
            }
        }
        to.flush()?;
        Ok(ClientEnd::Connection)
    }

    /// Rejects shared subscriptions in a persistent session.
    ///
    /// Searches the packet without parsing it, so a filter that only contains the text is rejected too.
    fn check_subscribe(&self, packet: &Packet) -> io::Result<()> {
        const SHARE: &[u8] = b"$share/";
        let is_shared = packet.body.windows(SHARE.len()).any(|bytes| bytes == SHARE);
        if is_shared && !self.has_clean_session { Err(malformed()) } else { Ok(()) }
    }
}

/// Checks the topic of a PUBLISH, and removes its properties.
fn sanitize_publish(version: ProtocolLevel, packet: &mut Packet) -> io::Result<()> {
    let mut rest = packet.body.as_slice();
    check_topic(take_string(&mut rest)?)?;
    if packet.quality_of_service() > 0 {
        take_array::<2>(&mut rest)?;
    }
    let start = packet.body.len() - rest.len();
    let mut none = Vec::new();
    remove_properties(version, &mut rest, &mut none)?;
    let end = packet.body.len() - rest.len();
    packet.body.splice(start..end, none);
    Ok(())
}

/// Skips the properties of an MQTT 5 packet, and writes an empty list instead.
fn remove_properties(version: ProtocolLevel, from: &mut &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    if version == ProtocolLevel::V5 {
        take_properties(from)?;
        to.push(0);
    }
    Ok(())
}

fn check_topic(topic: &[u8]) -> io::Result<()> {
    match std::str::from_utf8(topic).map(str::parse::<TopicName>) {
        Ok(Ok(topic)) if is_safe_for_rumqttd(&topic) => Ok(()),
        _ => Err(malformed()),
    }
}

/// Returns whether rumqttd can handle the topic. It cuts off the first byte, and panics if that splits a character.
pub(super) fn is_safe_for_rumqttd(topic: &TopicName) -> bool {
    topic.as_str().starts_with(|first: char| first.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CONNECT of MQTT 5, with a topic alias maximum of 9.
    const CONNECT_5: &[u8] = b"\x10\x11\0\x04MQTT\x05\x02\0\x3c\x03\x22\0\x09\0\x01c";

    fn read(bytes: &[u8]) -> Result<GuardedClient, Rejection> {
        GuardedClient::read(&mut &*bytes)
    }

    fn client(version: ProtocolLevel) -> GuardedClient {
        GuardedClient { version, connect: Vec::new(), has_clean_session: true, has_will: false }
    }

    /// Returns the forwarded bytes, and how the client ended.
    fn forward(client: &GuardedClient, bytes: &[u8]) -> (Vec<u8>, Option<ClientEnd>) {
        let mut forwarded = Vec::new();
        let end = client.forward_packets(&mut BufReader::new(bytes), &mut forwarded).ok();
        (forwarded, end)
    }

    #[test]
    fn properties_of_connect_are_removed() {
        let client = read(CONNECT_5).expect("a legal CONNECT");
        assert_eq!(client.version, ProtocolLevel::V5);
        assert_eq!(client.connect, b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c");
    }

    #[test]
    fn mqtt_3_1_becomes_3_1_1_and_keep_alive_0_the_maximum() {
        let client = read(b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01c").expect("a legal CONNECT");
        assert_eq!(client.connect, b"\x10\x0d\0\x04MQTT\x04\x02\xff\xff\0\x01c");
    }

    #[test]
    fn properties_of_a_will_are_removed() {
        let client =
            read(b"\x10\x1b\0\x04MQTT\x05\x06\0\x3c\0\0\0\x05\x18\0\0\0\x05\0\x01w\0\x03bye").expect("a legal CONNECT");
        assert_eq!(client.connect, b"\x10\x16\0\x04MQTT\x05\x06\0\x3c\0\0\0\0\0\x01w\0\x03bye");
        assert!(client.has_will);
    }

    #[test]
    fn a_client_is_rejected_in_its_own_protocol() {
        for (connect, answer) in [
            (&b"\x10\x0d\0\x04MQTT\x06\x02\0\x3c\0\x01c"[..], &[0x20, 2, 0, 1][..]),
            (b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01/", &[0x20, 2, 0, 2]),
            (b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01+", &[0x20, 3, 0, 0x85, 0]),
            (b"GET / HTTP/1.1\r\n\r\n", &[]),
            (b"\x16\x03\x01\x02\0", &[]),
            (&CONNECT_5[..9], &[]),
            (b"\x10\x02\0\x04", &[]),
            (b"", &[]),
        ] {
            assert_eq!(read(connect).expect_err("no client").0, answer, "{connect:?}");
        }
    }

    #[test]
    fn properties_of_publish_are_removed() {
        for (sent, forwarded) in [
            (&b"\x30\x08\0\x01t\x03\x23\0\x07x"[..], &b"\x30\x05\0\x01t\0x"[..]),
            (b"\x32\x0a\0\x01t\0\x09\x03\x23\0\x07x", b"\x32\x07\0\x01t\0\x09\0x"),
            (b"\x30\x04\0\x01t\0", b"\x30\x04\0\x01t\0"),
        ] {
            assert_eq!(forward(&client(ProtocolLevel::V5), sent), (forwarded.to_vec(), Some(ClientEnd::Connection)));
        }
        let sent = b"\x32\x06\0\x01t\0\x09x";
        assert_eq!(forward(&client(ProtocolLevel::V4), sent).0, sent);
    }

    #[test]
    fn a_harmful_packet_ends_the_client() {
        let persistent = GuardedClient { has_clean_session: false, ..client(ProtocolLevel::V4) };
        for (client, sent) in [
            (&client(ProtocolLevel::V4), "\x30\x05\0\x02éx"),
            (&client(ProtocolLevel::V4), "\x30\x04\0\x02a#"),
            (&client(ProtocolLevel::V4), "\x30\x02\0\0"),
            (&client(ProtocolLevel::V4), "\x10\x00"),
            (&client(ProtocolLevel::V5), "\x20\x03\0\0\0"),
            (&client(ProtocolLevel::V5), "\u{0}"),
            (&persistent, "\x08\x10\0\x01\0\x0a$share/g/t\x01"),
        ] {
            assert_eq!(forward(client, sent.as_bytes()), (Vec::new(), None), "{sent:?}");
        }
    }

    #[test]
    fn disconnect_is_forwarded_only_to_cancel_a_will() {
        let with_will = GuardedClient { has_will: true, ..client(ProtocolLevel::V4) };
        assert_eq!(
            forward(&client(ProtocolLevel::V4), b"\xc0\0\xe0\0\xc0\0"),
            (b"\xc0\0".to_vec(), Some(ClientEnd::Connection))
        );
        assert_eq!(forward(&with_will, b"\xe0\0\xc0\0"), (b"\xe0\0".to_vec(), Some(ClientEnd::Disconnect)));
    }
}
