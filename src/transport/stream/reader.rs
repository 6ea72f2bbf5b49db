//! The reading half of a connection. It also answers WebSocket control frames, and lets a blocked TLS session send again.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::ssl::{self, ErrorCode};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::state::{TlsBlock, into_io_error};
use super::writer::BrokerWriter;
use crate::transport::error::ReadError;
use crate::transport::tls::is_end_of_stream;
use crate::transport::websocket::FrameDecoder;

/// The reading half, for one thread.
#[derive(Debug)]
pub(in crate::transport) struct BrokerReader {
    writer: Arc<BrokerWriter>,
    is_encrypted: bool,
    /// The socket's receive timeout, if it was set.
    timeout: Option<Duration>,
    websocket: Option<WebSocketReader>,
}

#[derive(Debug)]
struct WebSocketReader {
    decoder: FrameDecoder,
    /// Bytes that arrived with the server's answer and are not decoded yet.
    received: Vec<u8>,
}

impl BrokerReader {
    /// Creates the reading half. With WebSocket framing, `websocket` holds the bytes after the handshake.
    pub(super) fn new(writer: Arc<BrokerWriter>, is_encrypted: bool, websocket: Option<Vec<u8>>) -> Self {
        let websocket = websocket.map(|received| WebSocketReader { decoder: FrameDecoder::default(), received });
        Self { writer, is_encrypted, timeout: None, websocket }
    }

    /// Reads the available bytes. Waits for at most `wait` if nothing has arrived.
    ///
    /// Returns `None` if nothing arrived, and `Some(0)` if the peer has ended the stream. The buffer must not be empty.
    ///
    /// # Errors
    /// If the connection has failed, or the peer violates TLS or WebSocket.
    pub(in crate::transport) fn read(&mut self, buffer: &mut [u8], wait: Duration) -> Result<Option<usize>, ReadError> {
        if self.websocket.is_none() {
            return Ok(self.read_bytes(buffer, wait)?);
        }
        let start = Instant::now();
        loop {
            let left = wait.saturating_sub(start.elapsed());
            let Some(n) = self.read_frames(buffer, left)? else { return Ok(None) };
            let Some(WebSocketReader { decoder, .. }) = &mut self.websocket else { return Ok(Some(n)) };
            if n == 0 {
                return Ok(Some(0));
            }
            let length = decoder.decode(&mut buffer[..n])?;
            if !decoder.replies().is_empty() {
                self.writer.send_replies(decoder.replies())?;
                decoder.replies().clear();
            }
            if length > 0 || decoder.is_closed() {
                return Ok(Some(length));
            }
            // A server that only pings must not keep this loop running.
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Reads WebSocket frames without decoding them.
    fn read_frames(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        match &mut self.websocket {
            Some(WebSocketReader { decoder, .. }) if decoder.is_closed() => Ok(Some(0)),
            Some(WebSocketReader { received, .. }) if !received.is_empty() => {
                let n = received.len().min(buffer.len());
                buffer[..n].copy_from_slice(&received[..n]);
                received.drain(..n);
                Ok(Some(n))
            }
            _ => self.read_bytes(buffer, wait),
        }
    }

    fn read_bytes(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        if self.is_encrypted { self.read_tls(buffer, wait) } else { self.read_plain(buffer, wait) }
    }

    fn read_plain(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        let socket = self.writer.socket();
        let flags = if wait.is_zero() { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
        if !wait.is_zero() && self.timeout != Some(wait) {
            socket.set_read_timeout(Some(wait))?;
            self.timeout = Some(wait);
        }
        loop {
            match recv(socket, &mut *buffer, flags) {
                Ok((n, _)) => return Ok(Some(n)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read_tls(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        let start = Instant::now();
        loop {
            // OpenSSL may have buffered data, so read before polling the socket.
            let event = match self.read_tls_now(buffer) {
                Ok(n) => return Ok(Some(n)),
                Err(error) => match error.code() {
                    ErrorCode::WANT_READ => PollFlags::IN,
                    ErrorCode::WANT_WRITE => PollFlags::OUT,
                    ErrorCode::ZERO_RETURN => return Ok(Some(0)),
                    _ => {
                        let error = into_io_error(error);
                        // A missing close_notify does no harm: MQTT has its own DISCONNECT.
                        return if is_end_of_stream(&error) { Ok(Some(0)) } else { Err(error) };
                    }
                },
            };
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            self.writer.wait_for(event, left)?;
        }
    }

    fn read_tls_now(&self, buffer: &mut [u8]) -> Result<usize, ssl::Error> {
        let mut state = self.writer.lock();
        let Some(tls) = &mut state.tls else { return Ok(0) };
        let outcome = tls.ssl_read(buffer);
        if state.tls_block == TlsBlock::Handshake {
            // Ignore errors: the next call of `send` returns them.
            let _ = self.writer.continue_sending(&mut state);
        }
        outcome
    }
}
