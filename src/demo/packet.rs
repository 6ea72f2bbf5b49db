//! MQTT control packets as bytes: framing, and the data types that the [`guard`](super::guard) needs.

use std::io::{self, Read, Write};

/// The continuation bit of a variable byte integer [MQTT-5, 1.5.5].
const CONTINUATION_BIT: u8 = 0x80;

/// The first byte of a CONNECT.
pub(super) const CONNECT: u8 = 0x10;

/// The first byte of a PUBLISH with QoS 0 and without the retain flag.
pub(super) const PUBLISH: u8 = 0x30;

/// The type of a packet: the upper half of its first byte [MQTT-5, 2.1.2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    Subscribe,
    Disconnect,
    /// Another packet that a client may send: acknowledgements, UNSUBSCRIBE, PINGREQ.
    Other,
    /// A second CONNECT, AUTH, a packet that only a server sends, or an unknown type.
    NotAllowed,
}

/// A control packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Type and flags.
    pub(super) first: u8,
    /// The bytes after the fixed header.
    pub(super) body: Vec<u8>,
}

impl Packet {
    /// Reads a packet, or returns `None` if the stream ends before it.
    pub(super) fn read(from: &mut impl Read, max_len: usize) -> io::Result<Option<Self>> {
        match read_byte(from) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            first => Self::read_rest(first?, from, max_len).map(Some),
        }
    }

    /// Reads a CONNECT. Rejects any other first byte at once, because a TLS or HTTP client waits for a reply.
    pub(super) fn read_connect(from: &mut impl Read, max_len: usize) -> io::Result<Self> {
        match read_byte(from)? {
            CONNECT => Self::read_rest(CONNECT, from, max_len),
            _ => Err(malformed()),
        }
    }

    fn read_rest(first: u8, from: &mut impl Read, max_len: usize) -> io::Result<Self> {
        let len = read_length(from)?;
        if len > max_len {
            return Err(malformed());
        }
        // Grows with the data, so that a large length alone allocates no memory.
        let mut body = Vec::new();
        if from.take(len as u64).read_to_end(&mut body)? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { first, body })
    }

    /// Writes the packet.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut header = vec![self.first];
        put_length(&mut header, self.body.len());
        to.write_all(&header)?;
        to.write_all(&self.body)
    }

    /// Returns the type of the packet.
    pub(super) fn kind(&self) -> Kind {
        match self.first >> 4 {
            3 => Kind::Publish,
            8 => Kind::Subscribe,
            14 => Kind::Disconnect,
            4..=7 | 10 | 12 => Kind::Other,
            _ => Kind::NotAllowed,
        }
    }

    /// Returns the quality of service of a PUBLISH.
    pub(super) fn quality_of_service(&self) -> u8 {
        (self.first >> 1) & 0b11
    }
}

/// Returns the error for bytes that are not MQTT or not allowed.
pub(super) fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Takes the next `N` bytes.
pub(super) fn take_array<const N: usize>(from: &mut &[u8]) -> io::Result<[u8; N]> {
    let (array, rest) = from.split_first_chunk().ok_or_else(malformed)?;
    *from = rest;
    Ok(*array)
}

/// Takes bytes with a two-byte length before them [MQTT-5, 1.5.4].
pub(super) fn take_string<'a>(from: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let len = u16::from_be_bytes(take_array(from)?);
    take(from, len.into())
}

/// Takes properties, which have their length as a variable byte integer before them [MQTT-5, 2.2.2].
pub(super) fn take_properties<'a>(from: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let len = read_length(from)?;
    take(from, len)
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> io::Result<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(len).ok_or_else(malformed)?;
    *from = rest;
    Ok(taken)
}

/// Writes a string as [`take_string`] reads it. It must have at most 65535 bytes.
pub(super) fn put_string(to: &mut Vec<u8>, string: &[u8]) {
    let len = u16::try_from(string.len()).unwrap_or(u16::MAX);
    to.extend(len.to_be_bytes());
    to.extend(&string[..len.into()]);
}

fn put_length(to: &mut Vec<u8>, mut len: usize) {
    loop {
        let low = len.to_le_bytes()[0] & !CONTINUATION_BIT;
        len >>= 7;
        if len == 0 {
            return to.push(low);
        }
        to.push(low | CONTINUATION_BIT);
    }
}

fn read_length(from: &mut impl Read) -> io::Result<usize> {
    let mut len = 0;
    for shift in [0, 7, 14, 21] {
        let byte = read_byte(from)?;
        len |= usize::from(byte & !CONTINUATION_BIT) << shift;
        if byte & CONTINUATION_BIT == 0 {
            return Ok(len);
        }
    }
    Err(malformed())
}

fn read_byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Option<Packet>> {
        Packet::read(&mut &*bytes, 300_000)
    }

    #[test]
    fn a_written_packet_is_read_back() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 200_000] {
            let packet = Packet { first: 0x30, body: vec![7; len] };
            let mut bytes = Vec::new();
            packet.write(&mut bytes).expect("writing to a Vec never fails");
            assert_eq!(read(&bytes).expect("a packet"), Some(packet));
        }
    }

    #[test]
    fn the_end_of_the_stream_within_a_packet_is_an_error() {
        assert_eq!(read(&[]).expect("a clean end"), None);
        assert_eq!(read(&[0x30]).expect_err("no length").kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&[0x30, 2, 0]).expect_err("half a body").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn lengths_beyond_a_limit_are_errors() {
        let malformed = io::ErrorKind::InvalidData;
        assert_eq!(read(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]).expect_err("five bytes").kind(), malformed);
        assert_eq!(read(&[0x30, 0xff, 0xff, 0x7f]).expect_err("over the limit").kind(), malformed);
        assert_eq!(take_string(&mut &[0, 9, 1][..]).expect_err("over the end").kind(), malformed);
    }
}
