//! The client side of WebSocket [RFC 6455], as MQTT uses it: one subprotocol, binary messages, no extensions.
//!
//! Packets and frames have no fixed relation [MQTT-6.0.0-2], so the layer above sees a plain stream of bytes.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use openssl::rand::rand_bytes;
use openssl::sha::sha1;

use super::error::{DialError, DialStep, FrameError, Peer, ReadError, WebSocketError};
use super::http::{Head, HeadError, sanitized};
use super::tls::{is_end_of_stream, late_tls_error};
use super::url::BrokerUrl;

/// The path of a URL without one.
const DEFAULT_PATH: &str = "/mqtt";

/// The server appends this text to the key in order to prove that it supports WebSocket [RFC 6455, 1.3].
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The longest payload of a control frame [RFC 6455, 5.5].
const MAX_CONTROL_PAYLOAD: u64 = 125;

/// Flag in a header's first byte: the last frame of a message.
const FINAL: u8 = 0x80;

/// Bits in a header's first byte that only extensions use.
const RESERVED: u8 = 0x70;

/// Flag in a header's second byte: the payload is masked.
const MASKED: u8 = 0x80;

/// Value in a header's second byte: the length follows in two bytes.
const LENGTH_16: u8 = 126;

/// Value in a header's second byte: the length follows in eight bytes.
const LENGTH_64: u8 = 127;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Opens a WebSocket over a connection. Returns the bytes after the server's answer.
///
/// # Errors
/// If the server does not open the WebSocket before the stream's deadline.
pub(super) fn open(stream: &mut (impl Read + Write), broker: &BrokerUrl) -> Result<Vec<u8>, DialError> {
    let mut nonce = [0; 16];
    rand_bytes(&mut nonce).map_err(|error| DialError::Io(error.to_string()))?;
    let key = BASE64.encode(nonce);
    let path = Some(broker.path()).filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
        broker.host_header()
    );
    // A server that refuses us, perhaps with a late TLS alert, may have closed the connection. Its answer has the reason.
    stream
        .write_all(request.as_bytes())
        .or_else(|error| if is_disconnect(&error) { Ok(()) } else { Err(io_error(error)) })?;
    let head = Head::read(stream).map_err(|error| match error {
        HeadError::NotHttp => DialError::WebSocket(WebSocketError::NotHttp),
        HeadError::Closed => DialError::WebSocket(WebSocketError::Closed),
        HeadError::Io(error) => io_error(error),
    })?;
    check_answer(&head, &key).map_err(DialError::WebSocket)?;
    Ok(head.rest)
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn io_error(error: io::Error) -> DialError {
    match late_tls_error(&error) {
        Some(error) => DialError::Tls(error),
        None if error.kind() == io::ErrorKind::WouldBlock => {
            DialError::Timeout { peer: Peer::Broker, step: DialStep::Handshake }
        }
        None if is_disconnect(&error) => DialError::WebSocket(WebSocketError::Closed),
        None => DialError::WebSocket(WebSocketError::Io(error.to_string())),
    }
}

fn is_disconnect(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) || is_end_of_stream(error)
}

/// Validates the server's answer [RFC 6455, 4.1].
fn check_answer(head: &Head, key: &str) -> Result<(), WebSocketError> {
    if head.status != 101 {
        return Err(WebSocketError::Status { line: head.status_line.clone() });
    }
    if !head.lists("Upgrade", "websocket") || !head.lists("Connection", "Upgrade") {
        return Err(WebSocketError::NotUpgraded);
    }
    if head.header("Sec-WebSocket-Accept") != Some(accept_value(key).as_str()) {
        return Err(WebSocketError::BadAccept);
    }
    match head.header("Sec-WebSocket-Protocol") {
        // Some servers send no subprotocol, or the name that was usual before MQTT 3.1.1.
        None | Some("mqtt" | "mqttv3.1") => Ok(()),
        Some(name) => Err(WebSocketError::BadProtocol { name: sanitized(name) }),
    }
}

/// Returns the `Sec-WebSocket-Accept` value for a key.
pub(super) fn accept_value(key: &str) -> String {
    BASE64.encode(sha1([key, ACCEPT_SUFFIX].concat().as_bytes()))
}

/// Appends a binary message with this payload.
pub(super) fn append_message(out: &mut Vec<u8>, payload: &[u8]) -> io::Result<()> {
    append_frame(out, BINARY, payload)
}

/// Appends a close frame for a normal end [RFC 6455, 7.4.1].
pub(super) fn append_close(out: &mut Vec<u8>) -> io::Result<()> {
    append_frame(out, CLOSE, &1000_u16.to_be_bytes())
}

/// Appends a frame, masked as a client must [RFC 6455, 5.3].
fn append_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut mask = [0; 4];
    rand_bytes(&mut mask)?;
    out.push(FINAL | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..LENGTH_16), _) => out.push(MASKED | length),
        (_, Ok(length)) => {
            out.push(MASKED | LENGTH_16);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(MASKED | LENGTH_64);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(())
}

/// Decodes a server's frames.
#[derive(Debug, Default)]
pub(super) struct FrameDecoder {
    /// The received part of the next frame's header, which has 2, 4 or 10 bytes.
    header: Vec<u8>,
    /// The frame whose payload is being received.
    frame: Option<Frame>,
    /// Whether a message has begun, but its final frame has not.
    is_in_message: bool,
    /// The received payload of the present control frame.
    control: Vec<u8>,
    /// Frames that answer the server's control frames.
    replies: Vec<u8>,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: u8,
    /// The number of payload bytes that are not received yet.
    left: u64,
}

impl FrameDecoder {
    /// Decodes bytes from the server in place. Returns the number of payload bytes, which are at the start of the buffer.
    ///
    /// # Errors
    /// If a server must not send these bytes, or if an answer cannot be masked.
    pub(super) fn decode(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let (mut from, mut to) = (0, 0);
        while from < buffer.len() && !self.is_closed {
            let Some(frame) = &mut self.frame else {
                self.header.push(buffer[from]);
                from += 1;
                if let Some(length) = payload_length(&self.header) {
                    self.begin_frame(length)?;
                }
                continue;
            };
            let n = usize::try_from(frame.left).unwrap_or(usize::MAX).min(buffer.len() - from);
            if frame.opcode < CLOSE {
                buffer.copy_within(from..from + n, to);
                to += n;
            } else {
                self.control.extend_from_slice(&buffer[from..from + n]);
            }
            from += n;
            frame.left -= n as u64;
            self.end_frame()?;
        }
        Ok(to)
    }

    /// Returns whether the server has sent a close frame. Later bytes are ignored.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns the frames to send to the server. The caller clears them.
    pub(super) fn replies(&mut self) -> &mut Vec<u8> {
        &mut self.replies
    }

    /// Validates a complete header.
    fn begin_frame(&mut self, length: u64) -> Result<(), ReadError> {
        let (first, second) = (self.header[0], self.header[1]);
        self.header.clear();
        let (is_final, opcode) = (first & FINAL != 0, first & 0xf);
        if first & RESERVED != 0 {
            return Err(FrameError::Extension.into());
        }
        if second & MASKED != 0 {
            return Err(FrameError::Masked.into());
        }
        match opcode {
            CONTINUATION if self.is_in_message => self.is_in_message = !is_final,
            BINARY if !self.is_in_message => self.is_in_message = !is_final,
            CONTINUATION | BINARY => return Err(FrameError::OutOfSequence.into()),
            TEXT => return Err(FrameError::Text.into()),
            CLOSE | PING | PONG if is_final && length <= MAX_CONTROL_PAYLOAD => {}
            CLOSE | PING | PONG => return Err(FrameError::InvalidControlFrame.into()),
            _ => return Err(FrameError::UnknownOpcode.into()),
        }
        // The most significant bit must be 0 [RFC 6455, 5.2].
        if i64::try_from(length).is_err() {
            return Err(FrameError::InvalidLength.into());
        }
        self.frame = Some(Frame { opcode, left: length });
        Ok(self.end_frame()?)
    }

    /// Answers a control frame that is complete.
    fn end_frame(&mut self) -> io::Result<()> {
        let Some(Frame { opcode, left: 0 }) = self.frame else { return Ok(()) };
        self.frame = None;
        match opcode {
            PING => append_frame(&mut self.replies, PONG, &self.control)?,
            // Repeat the status code [RFC 6455, 5.5.1].
            CLOSE => {
                self.is_closed = true;
                append_frame(&mut self.replies, CLOSE, self.control.get(..2).unwrap_or_default())?;
            }
            _ => {}
        }
        self.control.clear();
        Ok(())
    }
}

/// Returns the payload's length if the header is complete.
fn payload_length(header: &[u8]) -> Option<u64> {
    let (&[_, second], rest) = header.split_first_chunk()?;
    match second & !MASKED {
        LENGTH_16 => Some(u16::from_be_bytes(*rest.first_chunk()?).into()),
        LENGTH_64 => Some(u64::from_be_bytes(*rest.first_chunk()?)),
        length => Some(length.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns a frame in the format of a server.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append_frame(&mut bytes, 0, payload).expect("random numbers");
        bytes[0] = first;
        bytes[1] &= !MASKED;
        bytes.truncate(bytes.len() - payload.len() - 4);
        [&bytes, payload].concat()
    }

    /// Decodes a client's frames: the first byte and the unmasked payload of each.
    fn unmasked(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(bytes[1] & MASKED, MASKED);
            let size = match bytes[1] & !MASKED {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            let length = usize::try_from(payload_length(&bytes[..size]).expect("a header")).expect("a length");
            let (mask, payload) = bytes[size..size + 4 + length].split_at(4);
            frames.push((bytes[0], payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect()));
            bytes = &bytes[size + 4 + length..];
        }
        frames
    }

    fn decoded(decoder: &mut FrameDecoder, stream: &[u8], cut: usize) -> Result<Vec<u8>, ReadError> {
        let mut payload = Vec::new();
        for piece in stream.chunks(cut) {
            let mut buffer = piece.to_vec();
            let n = decoder.decode(&mut buffer)?;
            payload.extend_from_slice(&buffer[..n]);
        }
        Ok(payload)
    }

    #[test]
    fn the_accept_value_matches_the_example_of_the_rfc() {
        assert_eq!(accept_value("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// A connection to a server that sends `answer`, in which `KEY` is replaced by the right accept value.
    struct Server {
        request: Vec<u8>,
        answer: &'static str,
        sent: Vec<u8>,
    }

    impl Write for Server {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.request.extend_from_slice(bytes);
            let request = String::from_utf8_lossy(&self.request);
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
            self.sent = self.answer.replace("KEY", &accept_value(key)).into_bytes();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Server {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.sent.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.sent[..n]);
            self.sent.drain(..n);
            Ok(n)
        }
    }

    fn opened(url: &str, answer: &'static str) -> (Result<Vec<u8>, DialError>, String) {
        let mut server = Server { request: Vec::new(), answer, sent: Vec::new() };
        let outcome = open(&mut server, &url.parse().expect("a broker URL"));
        (outcome, String::from_utf8(server.request).expect("ASCII"))
    }

    #[test]
    fn the_request_names_host_path_and_subprotocol() {
        const ANSWER: &str =
            "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: KEY\r\n\r\nmore";
        for (url, path, host) in [
            ("ws://H.example.", "/mqtt", "h.example"),
            ("ws://[::1]:8080/", "/", "[::1]:8080"),
            ("wss://h:443/a/b?c=d", "/a/b?c=d", "h"),
        ] {
            let (outcome, request) = opened(url, ANSWER);
            assert_eq!(outcome.as_deref(), Ok(b"more".as_slice()));
            let start = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
            );
            assert!(request.starts_with(&start), "{request}");
            let end = "==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
            assert!(request.ends_with(end), "{request}");
        }
    }

    #[test]
    fn each_failed_opening_has_its_own_error() {
        use WebSocketError::{BadAccept, BadProtocol, Closed, NotHttp, NotUpgraded, Status};
        for (answer, expected) in [
            ("HTTP/1.1 404 Not Found\r\n\r\n", Err(Status { line: "HTTP/1.1 404 Not Found".to_owned() })),
            ("\x20\x02\0\x01", Err(NotHttp)),
            ("", Err(Closed)),
            ("HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", Err(NotUpgraded)),
            ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", Err(NotUpgraded)),
            ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", Err(BadAccept)),
            (
                "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: KEYx\r\n\r\n",
                Err(BadAccept),
            ),
            (
                "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: KEY\r\n\
                 Sec-WebSocket-Protocol: chat\r\n\r\n",
                Err(BadProtocol { name: "chat".to_owned() }),
            ),
            (
                "HTTP/1.1 101 x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
                 Sec-WebSocket-Accept: KEY\r\nSec-WebSocket-Protocol: mqttv3.1\r\n\r\n",
                Ok(Vec::new()),
            ),
        ] {
            assert_eq!(opened("ws://h", answer).0, expected.map_err(DialError::WebSocket), "{answer}");
        }
    }

    #[test]
    fn each_frame_that_no_server_may_send_has_its_own_error() {
        use FrameError::{Extension, InvalidControlFrame, InvalidLength, Masked, OutOfSequence, Text, UnknownOpcode};
        let mut endless = frame(0x82, b"");
        endless[1] = 127;
        endless.extend([0xff; 8]);
        for (bytes, expected) in [
            (frame(0x82, b"x"), None),
            (frame(0x81, b"x"), Some(Text)),
            (frame(0x01, b"x"), Some(Text)),
            (frame(0x80, b"x"), Some(OutOfSequence)),
            ([frame(0x02, b"x"), frame(0x82, b"x")].concat(), Some(OutOfSequence)),
            (
                [frame(0x02, b"x"), frame(0x00, b"x"), frame(0x89, b"x"), frame(0x80, b""), frame(0x82, b"")].concat(),
                None,
            ),
            ([frame(0x02, b"x"), frame(0x80, b"x"), frame(0x80, b"x")].concat(), Some(OutOfSequence)),
            (frame(0xc2, b"x"), Some(Extension)),
            (frame(0x83, b"x"), Some(UnknownOpcode)),
            (frame(0x8b, b"x"), Some(UnknownOpcode)),
            (frame(0x89, &[0; 125]), None),
            (frame(0x89, &[0; 126]), Some(InvalidControlFrame)),
            (frame(0x09, b""), Some(InvalidControlFrame)),
            (frame(0x08, b""), Some(InvalidControlFrame)),
            (vec![0x82, 0x82, 1, 2, 3, 4, 0xd1, 2], Some(Masked)),
            (endless, Some(InvalidLength)),
        ] {
            let error = match decoded(&mut FrameDecoder::default(), &bytes, 3) {
                Ok(_) => None,
                Err(ReadError::Frame(error)) => Some(error),
                Err(ReadError::Io(error)) => panic!("{error}"),
            };
            assert_eq!(error, expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_close_frame_is_answered_and_ends_the_stream() {
        for (payload, answer) in [(b"".as_slice(), b"".as_slice()), (b"\x03\xe8bye", b"\x03\xe8"), (b"\x03", b"")] {
            let mut decoder = FrameDecoder::default();
            let stream = [frame(0x82, b"last"), frame(0x88, payload), frame(0x82, b"ignored")].concat();
            assert_eq!(decoded(&mut decoder, &stream, 100).expect("valid frames"), b"last");
            assert!(decoder.is_closed());
            assert_eq!(unmasked(decoder.replies()), [(0x88, answer.to_vec())]);
        }
    }

    proptest! {
        #[test]
        fn messages_are_decoded_however_they_are_framed_and_cut(
            sizes in prop::collection::vec(prop_oneof![0..10_usize, 120..130_usize, 65_525..65_540_usize], 0..6),
            cut in prop_oneof![1..20_usize, 1..100_000_usize],
        ) {
            let content: Vec<u8> = (0..sizes.iter().sum()).map(|i: usize| i.to_le_bytes()[0]).collect();
            let (mut stream, mut rest) = (Vec::new(), content.as_slice());
            for size in &sizes {
                let (payload, after) = rest.split_at(*size);
                let (first, second) = payload.split_at(size / 3);
                stream.extend([frame(0x02, first), frame(0x89, b"ping"), frame(0x8a, b"x"), frame(0x80, second)].concat());
                rest = after;
            }
            let mut decoder = FrameDecoder::default();
            prop_assert_eq!(decoded(&mut decoder, &stream, cut).expect("valid frames"), content);
            prop_assert_eq!(unmasked(decoder.replies()), vec![(0x8a, b"ping".to_vec()); sizes.len()]);
        }

        #[test]
        fn sent_messages_are_masked_and_can_be_unmasked(
            sizes in prop::collection::vec(prop_oneof![0..10_usize, 120..130_usize, 65_525..65_540_usize], 0..6),
        ) {
            let mut out = Vec::new();
            let payloads: Vec<_> = sizes.iter().map(|size| vec![b'x'; *size]).collect();
            for payload in &payloads {
                append_message(&mut out, payload).expect("random numbers");
            }
            prop_assert_eq!(unmasked(&out), payloads.into_iter().map(|payload| (0x82, payload)).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1..50_usize) {
            let mut decoder = FrameDecoder::default();
            let outcome = decoded(&mut decoder, &bytes, cut);
            prop_assert!(outcome.is_err() || outcome.is_ok_and(|payload| payload.len() <= bytes.len()));
        }
    }
}
