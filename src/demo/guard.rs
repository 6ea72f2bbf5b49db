//! What may pass from a client to rumqttd.
//!
//! rumqttd 0.20 trusts its clients. Some packets, a few of them perfectly legal, panic one of its threads, and with the
//! thread goes the service for everybody else. They are made harmless here, or the client is let go:
//!
//! | what a client sends | what comes of it in rumqttd | here |
//! | --- | --- | --- |
//! | CONNECT of MQTT 3.1 | closed without an answer | becomes 3.1.1, which differs in name only |
//! | CONNECT with keep alive 0, which is none | closed without an answer | becomes the longest there is |
//! | CONNECT whose client ID holds `+`, `$`, `#` or `/` | closed without an answer; the second time a panic | refused |
//! | CONNECT with a topic alias maximum | messages arrive under wrong topics | without properties |
//! | will or PUBLISH with properties | panic in writing to a 3.1.1 subscriber | without properties |
//! | will or PUBLISH to a topic that begins with a letter outside ASCII | panic | closed |
//! | will or PUBLISH to a topic with wildcards | goes out as it is | closed |
//! | SUBSCRIBE to `$share/…` in a persistent session | panic when the session pauses | closed |
//! | DISCONNECT | may also end the next client, which gets the same number | see [`End`] |
//! | what only a server sends | panic | closed |
//!
//! None of the properties that are dropped matters to rumqttd, or to Rtcomm, whose messages say everything in topic and
//! payload. SUBSCRIBE keeps its own: subscription identifiers work.

use std::io::{self, BufReader, Read, Write};

use super::packet::{Kind, Packet, malformed, put_string, take_array, take_properties, take_string};
use crate::protocol::topic::TopicName;

/// The longest packet that a client may send, in bytes. Rtcomm's are some hundred bytes long.
pub(super) const MAX_PACKET_LEN: usize = 16 * 1024 * 1024;

/// The longest CONNECT, which anybody may send: a few strings of 64 KiB at most.
const MAX_CONNECT_LEN: usize = 512 * 1024;

/// Two of CONNECT's flags [MQTT-5, 3.1.2.3].
const CLEAN_START: u8 = 0b10;
const WILL: u8 = 0b100;

/// The versions that rumqttd tells apart, by the protocol level that CONNECT carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 3.1.1.
    V4 = 4,
    /// MQTT 5.
    V5 = 5,
}

/// Why a client is not let in: the CONNACK that says so, empty where no MQTT client is there to read it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static [u8]);

impl Refused {
    const VERSION: Self = Self(&[0x20, 2, 0, 0x01]);

    /// MQTT 5 counts its reasons anew, and ends with the length of its properties.
    fn client_id(version: Version) -> Self {
        match version {
            Version::V4 => Self(&[0x20, 2, 0, 0x02]),
            Version::V5 => Self(&[0x20, 3, 0, 0x85, 0]),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(_: io::Error) -> Self {
        Self(&[])
    }
}

/// A client that may come in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// Which of rumqttd's ports it goes to.
    pub(super) version: Version,
    /// What rumqttd is to read first.
    pub(super) connect: Vec<u8>,
    has_clean_session: bool,
    has_will: bool,
}

/// How a client took its leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its connection ended, or is to end: a DISCONNECT that cancels no will says nothing more than that. Told twice,
    /// rumqttd may take the second time for the client that has the number by then.
    Connection,
    /// A DISCONNECT was passed on, to cancel the will. Now rumqttd closes the connection, and must do so first.
    Disconnect,
}

impl Client {
    /// Reads and judges a CONNECT.
    pub(super) fn read(from: &mut impl Read) -> Result<Self, Refused> {
        let packet = Packet::read_connect(from, MAX_CONNECT_LEN)?;
        let mut rest = packet.body.as_slice();
        let name = take_string(&mut rest)?;
        let [level, flags] = take_array(&mut rest)?;
        let version = match (name, level) {
            (b"MQIsdp", 3) | (b"MQTT", 4) => Version::V4,
            (b"MQTT", 5) => Version::V5,
            _ => return Err(Refused::VERSION),
        };
        let (has_clean_session, has_will) = (flags & CLEAN_START != 0, flags & WILL != 0);

        let mut body = Vec::with_capacity(packet.body.len());
        put_string(&mut body, b"MQTT");
        body.extend([version as u8, flags]);
        body.extend(match take_array(&mut rest)? {
            [0, 0] => [0xff, 0xff],
            keep_alive => keep_alive,
        });
        drop_properties(version, &mut rest, &mut body)?;
        let client_id = take_string(&mut rest)?;
        if client_id.iter().any(|byte| b"+$#/".contains(byte)) {
            return Err(Refused::client_id(version));
        }
        put_string(&mut body, client_id);
        if has_will {
            drop_properties(version, &mut rest, &mut body)?;
            let topic = take_string(&mut rest)?;
            check_topic(topic)?;
            put_string(&mut body, topic);
        }
        body.extend(rest);

        let mut connect = Vec::with_capacity(body.len() + 5);
        Packet { first: packet.first, body }.write(&mut connect)?;
        Ok(Self { version, connect, has_clean_session, has_will })
    }

    /// Passes on what the client sends until it leaves.
    ///
    /// # Errors
    /// Where it sends what may not pass, or either side breaks off.
    pub(super) fn pass_packets(&self, from: &mut BufReader<impl Read>, to: &mut impl Write) -> io::Result<End> {
        while let Some(mut packet) = Packet::read(from, MAX_PACKET_LEN)? {
            match packet.kind() {
                Kind::Publish => clear_publish(self.version, &mut packet)?,
                Kind::Subscribe => self.check_subscribe(&packet)?,
                Kind::Disconnect if self.has_will => {
                    packet.write(to)?;
                    to.flush()?;
                    return Ok(End::Disconnect);
                }
                Kind::Disconnect => break,
                Kind::Other => {}
                Kind::Foreign => return Err(malformed()),
            }
            packet.write(to)?;
            // What came together goes on together, and nothing waits for what has yet to come.
            if from.buffer().is_empty() {
                to.flush()?;
            }
        }
        to.flush()?;
        Ok(End::Connection)
    }

    /// Looks for a shared filter without taking the packet apart: a filter that merely holds the text is refused too.
    fn check_subscribe(&self, packet: &Packet) -> io::Result<()> {
        const SHARE: &[u8] = b"$share/";
        let is_shared = packet.body.windows(SHARE.len()).any(|bytes| bytes == SHARE);
        if is_shared && !self.has_clean_session { Err(malformed()) } else { Ok(()) }
    }
}

/// Checks a PUBLISH's topic, and drops its properties.
fn clear_publish(version: Version, packet: &mut Packet) -> io::Result<()> {
    let mut rest = packet.body.as_slice();
    check_topic(take_string(&mut rest)?)?;
    if packet.quality_of_service() > 0 {
        take_array::<2>(&mut rest)?;
    }
    let start = packet.body.len() - rest.len();
    let mut none = Vec::new();
    drop_properties(version, &mut rest, &mut none)?;
    let end = packet.body.len() - rest.len();
    packet.body.splice(start..end, none);
    Ok(())
}

/// Takes properties where the version has them, and puts "none" in their place.
fn drop_properties(version: Version, from: &mut &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    if version == Version::V5 {
        take_properties(from)?;
        to.push(0);
    }
    Ok(())
}

fn check_topic(topic: &[u8]) -> io::Result<()> {
    match std::str::from_utf8(topic).map(str::parse::<TopicName>) {
        Ok(Ok(topic)) if can_carry(&topic) => Ok(()),
        _ => Err(malformed()),
    }
}

/// Whether rumqttd survives a message on this topic: it cuts off the first byte, and takes it for a letter.
pub(super) fn can_carry(topic: &TopicName) -> bool {
    topic.as_str().starts_with(|first: char| first.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CONNECT of MQTT 5, with a topic alias maximum of 9.
    const CONNECT_5: &[u8] = b"\x10\x11\0\x04MQTT\x05\x02\0\x3c\x03\x22\0\x09\0\x01c";

    fn read(bytes: &[u8]) -> Result<Client, Refused> {
        Client::read(&mut &*bytes)
    }

    fn client(version: Version) -> Client {
        Client { version, connect: Vec::new(), has_clean_session: true, has_will: false }
    }

    /// What gets through of `bytes`, and how it ended.
    fn pass(client: &Client, bytes: &[u8]) -> (Vec<u8>, Option<End>) {
        let mut passed = Vec::new();
        let end = client.pass_packets(&mut BufReader::new(bytes), &mut passed).ok();
        (passed, end)
    }

    #[test]
    fn a_connect_goes_on_without_properties() {
        let client = read(CONNECT_5).expect("a legal CONNECT");
        assert_eq!(client.version, Version::V5);
        assert_eq!(client.connect, b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c");
    }

    #[test]
    fn mqtt_3_1_becomes_3_1_1_and_no_keep_alive_the_longest() {
        let client = read(b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01c").expect("a legal CONNECT");
        assert_eq!(client.connect, b"\x10\x0d\0\x04MQTT\x04\x02\xff\xff\0\x01c");
    }

    #[test]
    fn a_will_loses_its_properties_and_keeps_the_rest() {
        let client =
            read(b"\x10\x1b\0\x04MQTT\x05\x06\0\x3c\0\0\0\x05\x18\0\0\0\x05\0\x01w\0\x03bye").expect("a legal CONNECT");
        assert_eq!(client.connect, b"\x10\x16\0\x04MQTT\x05\x06\0\x3c\0\0\0\0\0\x01w\0\x03bye");
        assert!(client.has_will);
    }

    #[test]
    fn clients_are_refused_in_their_own_words() {
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
    fn a_publish_goes_on_without_properties() {
        for (sent, passed) in [
            (&b"\x30\x08\0\x01t\x03\x23\0\x07x"[..], &b"\x30\x05\0\x01t\0x"[..]),
            (b"\x32\x0a\0\x01t\0\x09\x03\x23\0\x07x", b"\x32\x07\0\x01t\0\x09\0x"),
            (b"\x30\x04\0\x01t\0", b"\x30\x04\0\x01t\0"),
        ] {
            assert_eq!(pass(&client(Version::V5), sent), (passed.to_vec(), Some(End::Connection)));
        }
        let sent = b"\x32\x06\0\x01t\0\x09x";
        assert_eq!(pass(&client(Version::V4), sent).0, sent);
    }

    #[test]
    fn what_harms_the_broker_ends_the_client() {
        let persistent = Client { has_clean_session: false, ..client(Version::V4) };
        for (client, sent) in [
            (&client(Version::V4), "\x30\x05\0\x02éx"),
            (&client(Version::V4), "\x30\x04\0\x02a#"),
            (&client(Version::V4), "\x30\x02\0\0"),
            (&client(Version::V4), "\x10\x00"),
            (&client(Version::V5), "\x20\x03\0\0\0"),
            (&client(Version::V5), "\u{0}"),
            (&persistent, "\x08\x10\0\x01\0\x0a$share/g/t\x01"),
        ] {
            assert_eq!(pass(client, sent.as_bytes()), (Vec::new(), None), "{sent:?}");
        }
    }

    #[test]
    fn a_disconnect_goes_on_only_to_cancel_a_will() {
        let with_will = Client { has_will: true, ..client(Version::V4) };
        assert_eq!(pass(&client(Version::V4), b"\xc0\0\xe0\0\xc0\0"), (b"\xc0\0".to_vec(), Some(End::Connection)));
        assert_eq!(pass(&with_will, b"\xe0\0\xc0\0"), (b"\xe0\0".to_vec(), Some(End::Disconnect)));
    }
}
