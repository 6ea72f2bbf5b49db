//! A connection to the broker: TCP, perhaps with TLS, perhaps with WebSocket frames.
//!
//! One thread reads while several others send. Sending never blocks: the bytes that the socket does not accept go to a
//! queue, and a `drain` thread sends them. It ends when the queue is empty. The reader cannot send the queue, because over
//! plain TCP it blocks in recv(2), the only system call per read, until bytes arrive.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the connection before it is split |
//! | `reader` | the reading half, for one thread |
//! | `writer` | the writing half, which threads share |
//! | `state` | what both halves share: the queue and the TLS session |

mod reader;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use openssl::ssl::SslStream;

use super::deadline::DeadlineStream;
pub(super) use reader::BrokerReader;
pub(super) use writer::BrokerWriter;

/// A connection that is ready for MQTT.
#[derive(Debug)]
pub(super) struct BrokerStream {
    socket: TcpStream,
    /// The TLS session, if any. Its socket is nonblocking.
    tls: Option<SslStream<DeadlineStream>>,
    /// With WebSocket framing: the bytes after the server's answer.
    websocket: Option<Vec<u8>>,
}

impl BrokerStream {
    /// Creates a connection without TLS. With WebSocket framing, `websocket` holds the bytes after the handshake.
    pub(super) fn plain(socket: TcpStream, websocket: Option<Vec<u8>>) -> Self {
        Self { socket, tls: None, websocket }
    }

    /// Creates a connection with TLS.
    ///
    /// # Errors
    /// If the socket cannot be duplicated.
    pub(super) fn encrypted(tls: SslStream<DeadlineStream>, websocket: Option<Vec<u8>>) -> io::Result<Self> {
        let socket = tls.get_ref().socket().try_clone()?;
        Ok(Self { socket, tls: Some(tls), websocket })
    }

    /// Splits the connection into a reading and a writing half.
    pub(super) fn split(self) -> (BrokerReader, Arc<BrokerWriter>) {
        let Self { socket, tls, websocket } = self;
        let is_encrypted = tls.is_some();
        let writer = Arc::new(BrokerWriter::new(socket, tls, websocket.is_some()));
        (BrokerReader::new(Arc::clone(&writer), is_encrypted, websocket), writer)
    }
}
