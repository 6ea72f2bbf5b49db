//! Gives each MQTT packet that a WebSocket server sends a frame of its own.
//!
//! A server may put several packets into one frame, or a packet into several [MQTT-6.0.0-2], and many do. The MQTT library
//! takes one packet from a frame, and the next one only when more comes in: events would be late by as many as were packed
//! together, for as long as the connection lasts.

use std::io;

use super::packets::{Packets, Part};

/// How much is kept of an answer's first line.
const LONGEST_STATUS: usize = 256;

/// How long a frame's header may be [RFC 6455, 5.2].
const LONGEST_HEADER: usize = 14;

/// Data, whole: a binary message in one frame.
const BINARY: u8 = 0x82;

/// What the opcodes of pings, pongs and the close have in common.
const CONTROL: u8 = 0x08;

/// How many bytes a control frame may carry [RFC 6455, 5.5].
const LONGEST_CONTROL: u64 = 125;

/// What says that a frame is masked, in its header's second byte.
const MASKED: u8 = 0x80;

/// What a server sends, on its way to the library.
#[derive(Debug)]
pub(super) struct Frames {
    at: At,
    /// The first line of the HTTP answer, as far as it came.
    status: Vec<u8>,
    packets: Packets,
    /// Control frames that came amid a packet, which may stand between frames but not in one.
    late: Vec<u8>,
}

/// Where in the server's stream the next byte stands.
#[derive(Debug)]
enum At {
    /// In the HTTP answer, after these four.
    Answer([u8; 4]),
    /// In what follows an answer that opens no WebSocket.
    Refusal,
    /// In the header of a frame, of which these came.
    Header(Vec<u8>),
    /// In a frame of this kind, with so many bytes to come.
    Frame { is_control: bool, left: u64 },
}

impl Frames {
    /// A stream that begins with the HTTP answer.
    pub(super) fn after_answer() -> Self {
        Self { at: At::Answer([0; 4]), status: Vec::new(), packets: Packets::default(), late: Vec::new() }
    }

    /// The status line of an answer that opens no WebSocket, once it came [RFC 6455, 4.1].
    pub(super) fn refusal(&self) -> Option<&str> {
        let At::Refusal = self.at else { return None };
        str::from_utf8(&self.status).ok().map(str::trim_end)
    }

    /// Whether the answer opens a WebSocket.
    fn is_open(&self) -> bool {
        let mut words = self.status.split(u8::is_ascii_whitespace);
        words.next().is_some_and(|version| version.starts_with(b"HTTP/")) && words.next() == Some(b"101")
    }

    /// Takes the next piece of the stream, however it is cut, and appends to `out` what the library is to have of it.
    /// `show` sees the packets.
    ///
    /// # Errors
    /// Where no server may send this.
    pub(super) fn pass(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        show: &mut dyn FnMut(Part<'_>),
    ) -> io::Result<()> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Answer(last) => {
                    bytes = rest;
                    out.push(byte);
                    if self.status.len() < LONGEST_STATUS && !self.status.ends_with(b"\n") {
                        self.status.push(byte);
                    }
                    let [_, a, b, c] = *last;
                    *last = [a, b, c, byte];
                    if last == b"\r\n\r\n" {
                        self.at = if self.is_open() { next_header() } else { At::Refusal };
                    }
                }
                At::Refusal => {
                    out.extend_from_slice(bytes);
                    bytes = &[];
                }
                At::Header(header) => {
                    bytes = rest;
                    header.push(byte);
                    if let Some(left) = payload_length(header) {
                        let is_control = header[0] & CONTROL != 0;
                        // A server masks nothing [RFC 6455, 5.1].
                        if header[1] & MASKED != 0 || (is_control && left > LONGEST_CONTROL) {
                            return Err(io::ErrorKind::InvalidData.into());
                        }
                        if is_control {
                            self.late.extend_from_slice(header);
                        }
                        self.at = At::Frame { is_control, left };
                    }
                }
                At::Frame { is_control, left } => {
                    let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let (piece, rest) = bytes.split_at(n);
                    bytes = rest;
                    *left -= n as u64;
                    if *is_control {
                        self.late.extend_from_slice(piece);
                    } else {
                        self.packets.see(piece, &mut |part| {
                            show(part);
                            append(out, part);
                        });
                    }
                }
            }
            if let At::Frame { left: 0, .. } = self.at {
                self.at = next_header();
                if self.packets.is_between() {
                    out.append(&mut self.late);
                }
            }
        }
        Ok(())
    }
}

fn next_header() -> At {
    At::Header(Vec::with_capacity(LONGEST_HEADER))
}

/// Appends a part of a packet, with the header of its frame before it.
fn append(out: &mut Vec<u8>, part: Part<'_>) {
    match part {
        Part::Body { bytes, .. } => out.extend_from_slice(bytes),
        Part::Head { head, body } => {
            let length = head.len() + body;
            out.push(BINARY);
            match (u8::try_from(length), u16::try_from(length)) {
                (Ok(length @ ..126), _) => out.push(length),
                (_, Ok(length)) => {
                    out.push(126);
                    out.extend(length.to_be_bytes());
                }
                (_, Err(_)) => {
                    out.push(127);
                    out.extend((length as u64).to_be_bytes());
                }
            }
            out.extend_from_slice(head);
        }
    }
}

/// How many bytes follow a frame's header, once it is whole.
fn payload_length(header: &[u8]) -> Option<u64> {
    let (&[_, second], rest) = header.split_first_chunk()?;
    match second & 0x7f {
        126 => Some(u16::from_be_bytes(*rest.first_chunk()?).into()),
        127 => Some(u64::from_be_bytes(*rest.first_chunk()?)),
        length => Some(length.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    /// A frame, as a server may write it: its length in the shortest form that there is.
    fn frame(first: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match content.len() {
            length @ ..126 => bytes.push(length.to_le_bytes()[0]),
            length @ ..0x1_0000 => bytes.extend([126, length.to_le_bytes()[1], length.to_le_bytes()[0]]),
            length => {
                bytes.push(127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(content);
        bytes
    }

    /// A PUBLISH with so many bytes after its fixed header.
    fn packet(body: usize) -> Vec<u8> {
        let mut bytes = vec![0x30];
        let mut length = body;
        while length >= 0x80 {
            bytes.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        bytes.push(length.to_le_bytes()[0]);
        bytes.extend((0..body).map(|i| i.to_le_bytes()[0]));
        bytes
    }

    fn passed(stream: &[u8], size: usize) -> io::Result<Vec<u8>> {
        let (mut frames, mut out) = (Frames::after_answer(), Vec::new());
        stream.chunks(size).try_for_each(|piece| frames.pass(piece, &mut out, &mut |_| {})).map(|()| out)
    }

    #[test]
    fn an_answer_that_opens_no_websocket_is_a_refusal() {
        let refusal = |answer: &[u8]| {
            let (mut frames, mut out) = (Frames::after_answer(), Vec::new());
            frames.pass(answer, &mut out, &mut |_| {}).expect("a server may send this");
            assert_eq!(out, answer, "the library sees it too");
            frames.refusal().map(str::to_owned)
        };
        let not_found = b"HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\n<html>\xff\xff";
        assert_eq!(refusal(not_found).as_deref(), Some("HTTP/1.1 404 Not Found"));
        for other in [ANSWER, b"HTTP/1.1 404 Not Found\r\n", b"220 mail.example\r\n", b"\x20\x02\0\x01"] {
            assert_eq!(refusal(other), None);
        }
    }

    #[test]
    fn what_no_server_may_send_ends_the_stream() {
        let long_ping = frame(0x89, &[0; 126]);
        let masked = [0x82, 0x82, 1, 2, 3, 4, 0xd1, 2];
        let endless = frame(0x82, &[0xd0; 1]);
        for (bytes, is_sound) in [(&long_ping[..], false), (&masked[..], false), (&endless[..], true)] {
            assert_eq!(passed(&[ANSWER, bytes].concat(), 3).is_ok(), is_sound, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn each_packet_gets_a_frame_however_it_was_framed_before(
            size in 1..100_000_usize,
            per_frame in 1..70_000_usize,
            bodies in prop::collection::vec(prop_oneof![0..10_usize, 120..130_usize, 65_525..65_540_usize], 0..6),
        ) {
            let packets: Vec<Vec<u8>> = bodies.into_iter().map(packet).collect();
            let mut stream = ANSWER.to_vec();
            for content in packets.concat().chunks(per_frame) {
                let (first, second) = content.split_at(content.len() / 3);
                stream.extend([frame(0x02, first), frame(0x89, b"ping"), frame(0x80, second)].concat());
            }
            let out = passed(&stream, size).expect("a server may send this");
            let pings = frame(0x89, b"ping");
            let mut rest = out.strip_prefix(ANSWER).expect("the answer comes first");
            let mut found = 0;
            for packet in &packets {
                while let Some(after) = rest.strip_prefix(pings.as_slice()) {
                    (rest, found) = (after, found + 1);
                }
                rest = rest.strip_prefix(frame(BINARY, packet).as_slice()).expect("the packet in a frame of its own");
            }
            let expected = packets.concat().chunks(per_frame).count();
            prop_assert_eq!(rest, pings.repeat(expected - found));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1..50_usize) {
            // Whatever it makes of them.
            let _ = passed(&[ANSWER, bytes.as_slice()].concat(), size);
        }
    }
}
