//! A connection to the broker of our own, over TCP or TLS, and through the proxy where there is one.
//!
//! One thread can read from it while another writes to it, which OpenSSL alone does not allow.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use openssl::ssl::{Error, ErrorCode, SslStream};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::broker::Options;
use super::reach::reach;
use super::timed::Timed;
use super::{proxy, tls};
use crate::exit::Failure;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    /// Where it is encrypted: then the socket does not block.
    tls: Option<Mutex<SslStream<Timed>>>,
}

/// A TCP connection that leads to the broker, through the proxy where there is one.
///
/// # Errors
/// Where the broker or the proxy cannot be reached until `deadline`, or the proxy does not let us through.
pub(super) fn way_to_broker(options: &Options, deadline: Instant) -> Result<TcpStream, Failure> {
    let (_, stream) = reach(options, deadline)?;
    match &options.proxy {
        None => Ok(stream),
        Some(proxy) => proxy::tunnel(stream, proxy, &options.broker, deadline),
    }
}

impl Wire {
    /// A connection to the broker, encrypted where the options say so.
    ///
    /// # Errors
    /// As [`way_to_broker`]; where the handshake fails.
    pub(super) fn to_broker(options: &Options, deadline: Instant) -> Result<Self, Failure> {
        let stream = way_to_broker(options, deadline)?;
        let cannot = |error| options.cannot_set_up(&error);
        let wire = if options.broker.scheme.is_tls() {
            let socket = stream.try_clone().map_err(cannot)?;
            let tls = tls::connect(options, stream, deadline)?;
            socket.set_nonblocking(true).map_err(cannot)?;
            Self { socket, tls: Some(Mutex::new(tls)) }
        } else {
            Self::plain(stream)
        };
        wire.prompt().map_err(cannot)?;
        Ok(wire)
    }

    /// What is said over this connection as it is.
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }

    /// Has small packets go out at once.
    pub(super) fn prompt(&self) -> io::Result<()> {
        self.socket.set_nodelay(true)
    }

    /// Has the kernel acknowledge what it receives next without waiting for us to have something to send, which takes up
    /// to 40 ms. A broker that leaves Nagle's algorithm on, as mosquitto does, holds a reply back until its PUBACK, which it
    /// sent just before, is acknowledged [RFC 896]. The kernel forgets the wish as it goes: it is made again for each read.
    pub(super) fn acknowledge_at_once(&self) {
        // Where it cannot be done a reply comes later.
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.socket, true);
    }

    /// Says that nothing more is written. What is closed already needs no closing.
    pub(super) fn close(&self) {
        if let Some(tls) = &self.tls {
            let _ = lock(tls).shutdown();
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends it, both ways and for whoever waits for it. What has ended already needs no ending.
    pub(super) fn end(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Tries until the socket lets it; the stream is left to the other direction while it does not.
    fn wait_out(
        &self,
        tls: &Mutex<SslStream<Timed>>,
        mut act: impl FnMut(&mut SslStream<Timed>) -> Result<usize, Error>,
    ) -> io::Result<usize> {
        loop {
            let done = act(&mut lock(tls));
            let wanted = match done {
                Ok(n) => return Ok(n),
                Err(error) => match error.code() {
                    ErrorCode::WANT_READ => PollFlags::IN,
                    ErrorCode::WANT_WRITE => PollFlags::OUT,
                    ErrorCode::ZERO_RETURN => return Ok(0),
                    _ => return Err(error.into_io_error().unwrap_or_else(io::Error::other)),
                },
            };
            match poll(&mut [PollFd::new(&self.socket, wanted)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn lock(tls: &Mutex<SslStream<Timed>>) -> MutexGuard<'_, SslStream<Timed>> {
    tls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Read for &Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => (&self.socket).read(buffer),
            Some(tls) => self.wait_out(tls, |stream| stream.ssl_read(buffer)),
        }
    }
}

impl Write for &Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => (&self.socket).write(bytes),
            Some(tls) => self.wait_out(tls, |stream| stream.ssl_write(bytes)),
        }
    }

    /// Nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
