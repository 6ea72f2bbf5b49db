//! The writing half of a connection: sending never blocks, and [`BrokerWriter::flush`] waits until everything is sent.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use openssl::ssl::SslStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::state::{State, TlsBlock};
use crate::sync::lock;
use crate::transport::deadline::DeadlineStream;
use crate::transport::websocket;

/// How often a `drain` thread checks whether anyone still uses the connection.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How often [`BrokerWriter::flush`] checks whether the reader has finished a TLS handshake message.
const HANDSHAKE_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Pings are not answered while more bytes than this are queued, so that a server that only pings cannot exhaust memory.
const MAX_UNSENT_BEFORE_PONG: usize = 64 * 1024;

/// The writing half. Threads share it.
#[derive(Debug)]
pub(in crate::transport) struct BrokerWriter {
    socket: TcpStream,
    is_websocket: bool,
    state: Mutex<State>,
}

impl BrokerWriter {
    /// Creates the writing half. `is_websocket` is whether messages are sent in WebSocket frames.
    pub(super) fn new(socket: TcpStream, tls: Option<SslStream<DeadlineStream>>, is_websocket: bool) -> Self {
        Self { socket, is_websocket, state: Mutex::new(State { tls, ..State::default() }) }
    }

    /// Returns the socket, for the reading half.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Waits for the socket, for at most `wait`. A signal can end it early.
    pub(super) fn wait_for(&self, event: PollFlags, wait: Duration) -> io::Result<()> {
        let wait = Timespec::try_from(wait).ok();
        match poll(&mut [PollFd::new(&self.socket, event)], wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Locks the state. Do not wait for the socket meanwhile.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Queues bytes, and sends as many as the socket accepts now. Never blocks.
    ///
    /// The bytes of a call are contiguous on the wire, and calls keep their order.
    ///
    /// # Errors
    /// If the connection has failed, or our direction has ended. The reader can still receive what the peer sent before.
    pub(in crate::transport) fn send(self: &Arc<Self>, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.check_end()?;
        if self.is_websocket {
            websocket::append_message(&mut state.queue, bytes)?;
        } else {
            // Bytes that are sent at once are not copied.
            let sent = if state.unsent() == 0 { state.write(&self.socket, bytes)? } else { 0 };
            state.queue.extend_from_slice(&bytes[sent..]);
        }
        self.continue_sending(&mut state)
    }

    /// Sends frames that answer the server's control frames.
    pub(super) fn send_replies(self: &Arc<Self>, frames: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        if state.end.is_some() || state.unsent() > MAX_UNSENT_BEFORE_PONG {
            return Ok(());
        }
        state.queue.extend_from_slice(frames);
        self.continue_sending(&mut state)
    }

    /// Sends the queue. Starts a `drain` thread if the socket does not accept all of it.
    pub(super) fn continue_sending(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.unsent() == 0 || state.is_draining || state.end.is_some() {
            return Ok(());
        }
        state.send_queue(&self.socket)?;
        if state.unsent() > 0 && state.tls_block != TlsBlock::Handshake {
            let writer = Arc::clone(self);
            thread::Builder::new().name("drain".to_owned()).spawn(move || writer.drain())?;
            state.is_draining = true;
        }
        Ok(())
    }

    /// Sends the queue until it is empty. An error is returned by the next call of `send`.
    fn drain(self: Arc<Self>) {
        loop {
            let is_ready = self.wait_for(PollFlags::OUT, DRAIN_CHECK_INTERVAL).is_ok();
            let mut state = self.lock();
            let is_sent = is_ready && state.end.is_none() && state.send_queue(&self.socket).is_ok();
            let is_unused = Arc::strong_count(&self) == 1;
            if !is_sent || state.unsent() == 0 || state.tls_block == TlsBlock::Handshake || is_unused {
                state.is_draining = false;
                return;
            }
        }
    }

    /// Returns the number of bytes that wait to be sent.
    pub(in crate::transport) fn unsent(&self) -> usize {
        self.lock().unsent()
    }

    /// Sends the whole queue.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the socket does not accept everything before `deadline`. Other errors if the
    /// connection has failed or our direction has ended.
    pub(in crate::transport) fn flush(&self, deadline: Instant) -> io::Result<()> {
        loop {
            let mut state = self.lock();
            state.check_end()?;
            state.send_queue(&self.socket)?;
            if state.unsent() == 0 {
                return Ok(());
            }
            let block = state.tls_block;
            drop(state);
            match (deadline.saturating_duration_since(Instant::now()), block) {
                (Duration::ZERO, _) => return Err(io::ErrorKind::TimedOut.into()),
                (left, TlsBlock::Handshake) => thread::sleep(left.min(HANDSHAKE_CHECK_INTERVAL)),
                (left, _) => self.wait_for(PollFlags::OUT, left)?,
            }
        }
    }

    /// Ends our direction with a close frame, close_notify and FIN. Bytes that cannot be sent at once are dropped.
    pub(in crate::transport) fn shutdown(&self) {
        let mut state = self.lock();
        // Ignore errors: the peer is gone.
        if state.end.is_none() {
            if self.is_websocket {
                let _ = websocket::append_close(&mut state.queue);
            }
            let _ = state.send_queue(&self.socket);
            if state.unsent() == 0
                && let Some(tls) = &mut state.tls
            {
                let _ = tls.shutdown();
            }
            state.end = Some(io::ErrorKind::BrokenPipe);
        }
        (state.queue, state.sent) = (Vec::new(), 0);
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Closes the connection in both directions, and wakes the reader: its read returns `Some(0)` or fails.
    pub(in crate::transport) fn close(&self) {
        // Ignore errors: the connection has ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Makes the kernel acknowledge the next received segment at once.
    ///
    /// By default it waits up to 40 ms for data to send along. A broker that uses Nagle's algorithm, such as mosquitto,
    /// holds a reply back until the PUBACK before it is acknowledged [RFC 896], and a CONNACK until the TLS session ticket
    /// is. The kernel resets the option, so it is set again after each send and before each read.
    pub(in crate::transport) fn acknowledge_at_once(&self) {
        // Ignore errors: replies only arrive later.
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.socket, true);
    }
}

impl AsFd for BrokerWriter {
    /// Returns the socket. With TLS, data can be available although the socket has none.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
