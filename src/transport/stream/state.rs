//! The state that both halves of a connection share: the queue of bytes to send, and the TLS session.

use std::io;
use std::net::TcpStream;

use openssl::ssl::{self, ErrorCode, SslStream};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::transport::deadline::DeadlineStream;

/// The capacity that an empty queue keeps, in bytes.
const KEPT_QUEUE_CAPACITY: usize = 64 * 1024;

#[cfg(target_os = "linux")]
const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

#[cfg(not(target_os = "linux"))]
const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT;

/// The state that both halves share. It is never locked while a thread waits for the socket.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) tls: Option<SslStream<DeadlineStream>>,
    /// Bytes to send. The first `sent` of them are sent already.
    pub(super) queue: Vec<u8>,
    pub(super) sent: usize,
    /// Whether a `drain` thread is running.
    pub(super) is_draining: bool,
    pub(super) tls_block: TlsBlock,
    /// The error for later sends, once our direction has ended or failed.
    pub(super) end: Option<io::ErrorKind>,
}

/// What prevents the TLS session from sending.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsBlock {
    #[default]
    None,
    /// The socket has accepted only a part of a TLS record.
    Record,
    /// The reader must finish an incoming handshake message.
    Handshake,
}

impl State {
    /// Returns the number of bytes that wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// Returns the error for a send, if our direction has ended or failed.
    pub(super) fn check_end(&self) -> io::Result<()> {
        self.end.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Sends as much of the queue as the socket accepts.
    pub(super) fn send_queue(&mut self, socket: &TcpStream) -> io::Result<()> {
        // Move the queue out, because writing borrows the whole state.
        let queue = std::mem::take(&mut self.queue);
        let outcome = self.write(socket, &queue[self.sent..]);
        self.queue = queue;
        self.sent += outcome?;
        if self.unsent() == 0 {
            self.queue.clear();
            self.queue.shrink_to(KEPT_QUEUE_CAPACITY);
            self.sent = 0;
        } else if self.sent > self.queue.len() / 2 {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// Writes as many bytes as the socket accepts. The next call must begin with the remaining ones.
    ///
    /// An error ends our direction, because it is unknown how many bytes the peer has received.
    pub(super) fn write(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            match if self.tls.is_some() { self.write_tls(rest) } else { write_plain(socket, rest) } {
                Ok(Some(n)) => written += n,
                Ok(None) => break,
                Err(error) => {
                    self.end = Some(error.kind());
                    return Err(error);
                }
            }
        }
        Ok(written)
    }

    /// Writes to the TLS session. Returns `None` if it accepts nothing now.
    fn write_tls(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else { return Ok(None) };
        // During an incoming handshake message, such as a new session ticket, OpenSSL would read from the socket in order to
        // write. It would buffer application data, which the reader's poll(2) would then wait for.
        if self.tls_block != TlsBlock::Record && !tls.ssl().is_init_finished() {
            self.tls_block = TlsBlock::Handshake;
            return Ok(None);
        }
        let outcome = tls.ssl_write(bytes);
        self.tls_block = match &outcome {
            Ok(_) => TlsBlock::None,
            Err(error) if error.code() == ErrorCode::WANT_WRITE => TlsBlock::Record,
            Err(error) if error.code() == ErrorCode::WANT_READ => TlsBlock::Handshake,
            Err(_) => return outcome.map(Some).map_err(into_io_error),
        };
        Ok(outcome.ok())
    }
}

/// Writes to the socket. Returns `None` if it accepts nothing now.
fn write_plain(socket: &TcpStream, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match rustix::net::send(socket, bytes, SEND_FLAGS) {
            Ok(n) => return Ok(Some(n)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Converts an error of the TLS session.
pub(super) fn into_io_error(error: ssl::Error) -> io::Error {
    error.into_io_error().unwrap_or_else(io::Error::other)
}
