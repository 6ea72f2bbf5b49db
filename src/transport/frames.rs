//! MQTT's bytes in what a WebSocket server sends: the content of its binary messages, after its HTTP answer.

/// How long a frame's header may be [RFC 6455, 5.2].
const LONGEST_HEADER: usize = 14;

/// A stream of WebSocket frames, read along as it passes.
#[derive(Debug)]
pub(super) struct Frames(At);

/// Where in the stream the next byte stands.
#[derive(Debug)]
enum At {
    /// In the HTTP answer, after these four.
    Answer([u8; 4]),
    /// In the header of a frame, of which these came.
    Header(Vec<u8>),
    /// In a frame, with so many bytes to come; whether they are a message's content.
    Frame { left: u64, is_content: bool },
}

impl Frames {
    /// A stream that begins with the HTTP answer.
    pub(super) fn after_answer() -> Self {
        Self(At::Answer([0; 4]))
    }

    /// Takes the next piece of the stream, however it is cut; gives the content in it to `show`.
    pub(super) fn see(&mut self, mut bytes: &[u8], mut show: impl FnMut(&[u8])) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match &mut self.0 {
                At::Answer(last) => {
                    bytes = rest;
                    let [_, a, b, c] = *last;
                    *last = [a, b, c, byte];
                    if last == b"\r\n\r\n" {
                        self.0 = At::Header(Vec::with_capacity(LONGEST_HEADER));
                    }
                }
                At::Header(header) => {
                    bytes = rest;
                    header.push(byte);
                    if let Some((left, is_content)) = read_header(header) {
                        self.0 = At::Frame { left, is_content };
                    }
                }
                At::Frame { left, is_content } => {
                    let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let (piece, rest) = bytes.split_at(n);
                    if *is_content {
                        show(piece);
                    }
                    *left -= n as u64;
                    bytes = rest;
                }
            }
            if let At::Frame { left: 0, .. } = self.0 {
                self.0 = At::Header(Vec::with_capacity(LONGEST_HEADER));
            }
        }
    }
}

/// How many bytes follow a whole header, and whether they are content: neither a ping nor a pong nor the close, which may
/// stand between the frames of a message. A server masks nothing [RFC 6455, 5.1].
fn read_header(header: &[u8]) -> Option<(u64, bool)> {
    const CONTROL: u8 = 0x08;
    let (&[first, second], rest) = header.split_first_chunk()?;
    let length = match second & 0x7f {
        126 => u64::from(u16::from_be_bytes(*rest.first_chunk()?)),
        127 => u64::from_be_bytes(*rest.first_chunk()?),
        short => u64::from(short),
    };
    Some((length, first & CONTROL == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame with the shortest header for its length.
    fn frame(first: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match (u8::try_from(content.len()), u16::try_from(content.len())) {
            (Ok(short @ ..126), _) => bytes.push(short),
            (_, Ok(length)) => {
                bytes.push(126);
                bytes.extend(length.to_be_bytes());
            }
            (_, Err(_)) => {
                bytes.push(127);
                bytes.extend((content.len() as u64).to_be_bytes());
            }
        }
        bytes.extend(content);
        bytes
    }

    proptest! {
        #[test]
        fn the_content_is_found_however_the_stream_is_cut(size in 1..100_000_usize, lengths in prop::collection::vec(0..70_000_usize, 0..4)) {
            let mut stream = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
            let mut content = Vec::new();
            for length in lengths {
                let bytes: Vec<u8> = (0..length).map(|i| i.to_le_bytes()[0]).collect();
                let (first, second) = bytes.split_at(length / 3);
                stream.extend([frame(0x02, first), frame(0x89, b"ping"), frame(0x80, second)].concat());
                content.extend(bytes);
            }
            let (mut frames, mut shown) = (Frames::after_answer(), Vec::new());
            for piece in stream.chunks(size) {
                frames.see(piece, |bytes| shown.extend_from_slice(bytes));
            }
            prop_assert!(shown == content);
        }

        #[test]
        fn any_bytes_are_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frames = Frames(At::Header(Vec::new()));
            frames.see(&bytes, |_| {});
        }
    }
}
