//! Reads the head of an HTTP/1.1 response from a proxy or a WebSocket server [RFC 9112, 4].

use std::io::{self, Read};

/// The largest accepted head, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Longer lines are cut to this many characters in messages.
const MAX_LINE_CHARS: usize = 256;

/// The first bytes of every HTTP response.
const PREFIX: &[u8] = b"HTTP/";

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    /// The status code.
    pub(super) status: u16,
    /// The status line, for messages.
    pub(super) status_line: String,
    /// The bytes after the head that the same read returned.
    pub(super) rest: Vec<u8>,
    headers: Vec<(String, String)>,
}

/// Why no head could be read.
#[derive(Debug)]
pub(super) enum HeadError {
    /// The peer sent something else.
    NotHttp,
    /// The peer ended the connection before the head's end.
    Closed,
    /// The connection failed; [`io::ErrorKind::WouldBlock`] if the deadline passed.
    Io(io::Error),
}

impl Head {
    /// Reads a head up to and including the blank line.
    ///
    /// # Errors
    /// If the peer sends something else, or not the whole head before the stream's deadline.
    pub(super) fn read(stream: &mut dyn Read) -> Result<Self, HeadError> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 1024];
        loop {
            let n = stream.read(&mut chunk).map_err(HeadError::Io)?;
            bytes.extend_from_slice(&chunk[..n]);
            // Fail early: a peer with another protocol may wait for an answer to its first bytes.
            let shared = bytes.len().min(PREFIX.len());
            if bytes[..shared] != PREFIX[..shared] || bytes.len() > MAX_HEAD {
                return Err(HeadError::NotHttp);
            }
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                return Self::parse(&bytes, rest).ok_or(HeadError::NotHttp);
            }
            if n == 0 {
                return Err(HeadError::Closed);
            }
        }
    }

    fn parse(head: &[u8], rest: Vec<u8>) -> Option<Self> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let status_line = lines.next()?;
        let status = status_line.split_ascii_whitespace().nth(1)?;
        let status = status.parse().ok().filter(|_| status.len() == 3)?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Some(Self { status, status_line: sanitized(status_line), rest, headers })
    }

    /// Returns the value of the first header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns whether a header of this name lists the token, in any case [RFC 9110, 5.6.1].
    pub(super) fn lists(&self, name: &str, token: &str) -> bool {
        let values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.flat_map(|(_, value)| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// Prepares a text from the network for messages: cuts it, and replaces control characters.
pub(super) fn sanitized(text: &str) -> String {
    text.trim_end()
        .chars()
        .take(MAX_LINE_CHARS)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_a_blank_line_however_it_is_cut() {
        let answer = b"HTTP/1.1 101 Switching\x1b[1m Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\r\nrest";
        for cut in 0..answer.len() {
            let (first, second) = answer.split_at(cut);
            let head = Head::read(&mut first.chain(second)).expect("a head");
            assert_eq!(head.status, 101);
            assert_eq!(head.status_line, "HTTP/1.1 101 Switching\u{fffd}[1m Protocols");
            assert_eq!(head.header("Upgrade"), Some("WebSocket"));
            assert!(head.lists("upgrade", "websocket") && head.lists("connection", "upgrade"));
            assert!(!head.lists("connection", "close") && head.header("x").is_none());
            assert!(b"rest".starts_with(&head.rest), "{head:?}");
        }
    }

    #[test]
    fn other_protocols_and_incomplete_heads_have_their_own_errors() {
        let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &vec![b'x'; 2 * MAX_HEAD]].concat();
        for bytes in [b"220 mail.example\r\n".as_slice(), b"\x20\x02\0\x01", b"HTTP/1.1 OK\r\n\r\n", &endless] {
            assert!(matches!(Head::read(&mut &*bytes), Err(HeadError::NotHttp)), "{bytes:?}");
        }
        for bytes in [b"".as_slice(), b"HT", b"HTTP/1.1 200 OK\r\n"] {
            assert!(matches!(Head::read(&mut &*bytes), Err(HeadError::Closed)), "{bytes:?}");
        }
    }
}
