//! A connection to the broker: TCP, perhaps with TLS, perhaps with WebSocket frames.
//!
//! One thread reads while several others send. Sending never blocks: the bytes that the socket does not accept go to a
//! queue, and a `drain` thread sends them. It ends when the queue is empty. The reader cannot send the queue, because over
//! plain TCP it blocks in recv(2), the only system call per read, until bytes arrive.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use openssl::ssl::{self, ErrorCode, SslStream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};

use super::deadline::DeadlineStream;
use super::tls::is_end_of_stream;
use super::websocket::{self, Decoder};
use crate::sync::lock;

/// How often a `drain` thread checks whether anyone still uses the connection.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How often [`BrokerWriter::flush`] checks whether the reader has finished a TLS handshake message.
const HANDSHAKE_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Pings are not answered while more bytes than this are queued, so that a server that only pings cannot exhaust memory.
const MAX_UNSENT_BEFORE_PONG: usize = 64 * 1024;

/// The capacity that an empty queue keeps, in bytes.
const KEPT_QUEUE_CAPACITY: usize = 64 * 1024;

#[cfg(target_os = "linux")]
const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

#[cfg(not(target_os = "linux"))]
const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT;

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
        let state = State { tls, ..State::default() };
        let writer = Arc::new(BrokerWriter { socket, is_websocket: websocket.is_some(), state: Mutex::new(state) });
        let is_encrypted = writer.lock().tls.is_some();
        let websocket = websocket.map(|received| WebSocketReader { decoder: Decoder::default(), received });
        (BrokerReader { writer: Arc::clone(&writer), is_encrypted, timeout: None, websocket }, writer)
    }
}

/// The state that both halves share. It is never locked while a thread waits for the socket.
#[derive(Debug, Default)]
struct State {
    tls: Option<SslStream<DeadlineStream>>,
    /// Bytes to send. The first `sent` of them are sent already.
    queue: Vec<u8>,
    sent: usize,
    /// Whether a `drain` thread is running.
    is_draining: bool,
    tls_block: TlsBlock,
    /// The error for later sends, once our direction has ended or failed.
    end: Option<io::ErrorKind>,
}

/// What prevents the TLS session from sending.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum TlsBlock {
    #[default]
    None,
    /// The socket has accepted only a part of a TLS record.
    Record,
    /// The reader must finish an incoming handshake message.
    Handshake,
}

impl State {
    fn unsent(&self) -> usize {
        self.queue.len() - self.sent
    }

    fn check_end(&self) -> io::Result<()> {
        self.end.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Sends as much of the queue as the socket accepts.
    fn send_queue(&mut self, socket: &TcpStream) -> io::Result<()> {
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
    fn write(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
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

fn into_io_error(error: ssl::Error) -> io::Error {
    error.into_io_error().unwrap_or_else(io::Error::other)
}

/// Waits for the socket, for at most `wait`. A signal can end it early.
fn wait_for(socket: &TcpStream, event: PollFlags, wait: Duration) -> io::Result<()> {
    let wait = Timespec::try_from(wait).ok();
    match poll(&mut [PollFd::new(socket, event)], wait.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The writing half. Threads share it.
#[derive(Debug)]
pub(super) struct BrokerWriter {
    socket: TcpStream,
    is_websocket: bool,
    state: Mutex<State>,
}

impl BrokerWriter {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Queues bytes, and sends as many as the socket accepts now. Never blocks.
    ///
    /// The bytes of a call are contiguous on the wire, and calls keep their order.
    ///
    /// # Errors
    /// If the connection has failed, or our direction has ended. The reader can still receive what the peer sent before.
    pub(super) fn send(self: &Arc<Self>, bytes: &[u8]) -> io::Result<()> {
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
    fn send_replies(self: &Arc<Self>, frames: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        if state.end.is_some() || state.unsent() > MAX_UNSENT_BEFORE_PONG {
            return Ok(());
        }
        state.queue.extend_from_slice(frames);
        self.continue_sending(&mut state)
    }

    /// Sends the queue. Starts a `drain` thread if the socket does not accept all of it.
    fn continue_sending(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
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
            let is_ready = wait_for(&self.socket, PollFlags::OUT, DRAIN_CHECK_INTERVAL).is_ok();
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
    pub(super) fn unsent(&self) -> usize {
        self.lock().unsent()
    }

    /// Sends the whole queue.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the socket does not accept everything before `deadline`. Other errors if the
    /// connection has failed or our direction has ended.
    pub(super) fn flush(&self, deadline: Instant) -> io::Result<()> {
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
                (left, _) => wait_for(&self.socket, PollFlags::OUT, left)?,
            }
        }
    }

    /// Ends our direction with a close frame, close_notify and FIN. Bytes that cannot be sent at once are dropped.
    pub(super) fn shutdown(&self) {
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
    pub(super) fn close(&self) {
        // Ignore errors: the connection has ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Makes the kernel acknowledge the next received segment at once.
    ///
    /// By default it waits up to 40 ms for data to send along. A broker that uses Nagle's algorithm, such as mosquitto,
    /// holds a reply back until the PUBACK before it is acknowledged [RFC 896], and a CONNACK until the TLS session ticket
    /// is. The kernel resets the option, so it is set again after each send and before each read.
    pub(super) fn acknowledge_at_once(&self) {
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

/// The reading half, for one thread.
#[derive(Debug)]
pub(super) struct BrokerReader {
    writer: Arc<BrokerWriter>,
    is_encrypted: bool,
    /// The socket's receive timeout, if it was set.
    timeout: Option<Duration>,
    websocket: Option<WebSocketReader>,
}

#[derive(Debug)]
struct WebSocketReader {
    decoder: Decoder,
    /// Bytes that arrived with the server's answer and are not decoded yet.
    received: Vec<u8>,
}

impl BrokerReader {
    /// Reads the available bytes. Waits for at most `wait` if nothing has arrived.
    ///
    /// Returns `None` if nothing arrived, and `Some(0)` if the peer has ended the stream. The buffer must not be empty.
    ///
    /// # Errors
    /// If the connection has failed, or the peer violates TLS or WebSocket.
    pub(super) fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        if self.websocket.is_none() {
            return self.read_bytes(buffer, wait);
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
        let socket = &self.writer.socket;
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
            wait_for(&self.writer.socket, event, left)?;
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

#[cfg(test)]
mod tests {
    use super::super::options::TlsOptions;
    use super::super::test_pki::{self as pki, Authority, Names};
    use super::super::tls::TlsDialer;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    const LIMIT: Duration = Duration::from_secs(30);

    /// More bytes than the buffers of two sockets hold.
    const LARGE: usize = 16 << 20;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Kind {
        Plain,
        Tls,
        WebSocket,
    }

    const KINDS: [Kind; 3] = [Kind::Plain, Kind::Tls, Kind::WebSocket];

    trait ReadWrite: Read + Write + Send {}
    impl<T: Read + Write + Send> ReadWrite for T {}

    /// Returns a connection and its peer, which reads and writes raw WebSocket frames.
    fn connection(kind: Kind) -> (BrokerStream, Box<dyn ReadWrite>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (peer, _) = listener.accept().expect("a connection");
        match kind {
            Kind::Plain => (BrokerStream::plain(socket, None), Box::new(peer)),
            Kind::WebSocket => (BrokerStream::plain(socket, Some(Vec::new())), Box::new(peer)),
            Kind::Tls => {
                let authority = Authority::new("our CA");
                let identity = authority.issue("server", Names::Alternative(&["localhost"]), 1);
                let server = thread::spawn(move || pki::acceptor(&identity, |_| {}).accept(peer).expect("a handshake"));
                let options = TlsOptions { cafile: Some(authority.cafile()), ..TlsOptions::default() };
                let dialer = TlsDialer::new(&options, &"mqtts://localhost".parse().expect("a URL")).expect("a CA file");
                let stream = DeadlineStream::new(socket, Instant::now() + LIMIT);
                let mut stream = dialer.handshake(stream).expect("a handshake");
                stream.get_mut().set_nonblocking().expect("a socket");
                (
                    BrokerStream::encrypted(stream, None).expect("a file descriptor"),
                    Box::new(server.join().expect("no panic")),
                )
            }
        }
    }

    fn message(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let header = [0x82, u8::try_from(payload.len()).expect("a short message")];
        if kind == Kind::WebSocket { [&header, payload].concat() } else { payload.to_vec() }
    }

    /// Receives the next `length` bytes of payload from the client.
    fn received(kind: Kind, peer: &mut dyn ReadWrite, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut take = |n: usize| {
            let mut part = vec![0; n];
            peer.read_exact(&mut part).expect("bytes from the client");
            part
        };
        while bytes.len() < length {
            if kind == Kind::WebSocket {
                let header = take(2);
                assert_eq!((header[0], header[1] & 0x80), (0x82, 0x80), "a masked binary message");
                let size = match header[1] & 0x7f {
                    126 => take(2).iter().fold(0, |size, byte| size << 8 | usize::from(*byte)),
                    127 => take(8).iter().fold(0, |size, byte| size << 8 | usize::from(*byte)),
                    size => size.into(),
                };
                let mask = take(4);
                bytes.extend(take(size).iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            } else {
                bytes.extend(take((length - bytes.len()).min(1 << 16)));
            }
        }
        bytes
    }

    /// Reads `length` bytes.
    fn read(reader: &mut BrokerReader, length: usize) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        while bytes.len() < length {
            let n = reader.read(&mut buffer, LIMIT).expect("a connection").expect("the peer's bytes");
            assert_ne!(n, 0, "the stream has ended");
            bytes.extend_from_slice(&buffer[..n]);
        }
        bytes
    }

    /// Returns a test pattern with a prime period, which no buffer size is a multiple of.
    fn pattern(length: usize) -> Vec<u8> {
        (0..251).cycle().take(length).collect()
    }

    #[test]
    fn bytes_go_both_ways_and_silence_is_not_the_end() {
        for kind in KINDS {
            let (stream, mut peer) = connection(kind);
            let (mut reader, writer) = stream.split();
            assert_eq!(reader.read(&mut [0; 9], Duration::ZERO).expect("a connection"), None, "{kind:?}");
            assert_eq!(reader.read(&mut [0; 9], Duration::from_millis(20)).expect("a connection"), None, "{kind:?}");
            writer.send(b"to the peer").expect("a connection");
            assert_eq!(received(kind, &mut *peer, 11), b"to the peer");
            peer.write_all(&message(kind, b"from the peer")).expect("a connection");
            assert_eq!(read(&mut reader, 13), b"from the peer");
            writer.acknowledge_at_once();
            drop(peer);
            assert_eq!(reader.read(&mut [0; 9], LIMIT).expect("a connection"), Some(0), "{kind:?}");
        }
    }

    #[test]
    fn bytes_that_the_socket_does_not_accept_are_sent_while_the_reader_waits_or_reads() {
        for kind in KINDS {
            let (stream, mut peer) = connection(kind);
            let (mut reader, writer) = stream.split();
            let content = pattern(LARGE);
            for part in content.chunks(100_000) {
                writer.send(part).expect("a connection");
            }
            assert!(writer.unsent() > 0, "{kind:?}: more than the sockets hold");
            assert_eq!(
                writer.flush(Instant::now()).expect_err("the peer does not read").kind(),
                io::ErrorKind::TimedOut
            );
            peer.write_all(&message(kind, b"one")).expect("a connection");
            assert_eq!(read(&mut reader, 3), b"one", "{kind:?}: the reader works meanwhile");
            thread::scope(|scope| {
                let waiting = scope.spawn(|| read(&mut reader, 3));
                assert!(received(kind, &mut *peer, LARGE) == content, "{kind:?}: everything in order");
                peer.write_all(&message(kind, b"two")).expect("a connection");
                assert_eq!(waiting.join().expect("no panic"), b"two");
            });
            writer.flush(Instant::now() + LIMIT).expect("a connection");
            assert_eq!(writer.unsent(), 0);
        }
    }

    #[test]
    fn both_ends_can_send_many_bytes_at_the_same_time() {
        for kind in KINDS {
            let (stream, mut peer) = connection(kind);
            let (mut reader, writer) = stream.split();
            let content = pattern(LARGE);
            thread::scope(|scope| {
                scope.spawn(|| content.chunks(10_000).for_each(|part| writer.send(part).expect("a connection")));
                let reading = scope.spawn(|| read(&mut reader, LARGE));
                for part in content.chunks(100) {
                    peer.write_all(&message(kind, part)).expect("a connection");
                }
                assert!(received(kind, &mut *peer, LARGE) == content, "{kind:?}: everything in order");
                assert!(reading.join().expect("no panic") == content, "{kind:?}: everything in order");
            });
        }
    }

    #[test]
    fn the_bytes_of_each_call_are_contiguous() {
        const LINE: usize = 1000;
        for kind in KINDS {
            let (stream, mut peer) = connection(kind);
            let (_reader, writer) = stream.split();
            thread::scope(|scope| {
                for byte in 0..4 {
                    let writer = &writer;
                    scope.spawn(move || (0..1000).for_each(|_| writer.send(&[byte; LINE]).expect("a connection")));
                }
                let bytes = received(kind, &mut *peer, 4 * 1000 * LINE);
                assert!(bytes.chunks(LINE).all(|line| line.iter().all(|byte| *byte == line[0])), "{kind:?}");
            });
        }
    }

    #[test]
    fn close_wakes_the_reader() {
        for kind in KINDS {
            let (stream, _peer) = connection(kind);
            let (mut reader, writer) = stream.split();
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || {
                sender.send(None).expect("the test waits");
                sender.send(Some(reader.read(&mut [0; 9], Duration::from_hours(1)))).expect("the test waits");
            });
            assert!(receiver.recv_timeout(LIMIT).expect("a thread").is_none());
            thread::sleep(Duration::from_millis(20));
            writer.close();
            let outcome = receiver.recv_timeout(LIMIT).expect("the reader is awake").expect("an outcome");
            // Bytes in flight turn the end into a reset.
            let is_end = outcome.map_or_else(|error| error.kind() == io::ErrorKind::ConnectionReset, |n| n == Some(0));
            assert!(is_end, "{kind:?}");
        }
    }

    #[test]
    fn shutdown_ends_our_direction_alone() {
        for kind in KINDS {
            let (stream, mut peer) = connection(kind);
            let (mut reader, writer) = stream.split();
            writer.send(b"last").expect("a connection");
            writer.shutdown();
            writer.shutdown();
            assert_eq!(received(kind, &mut *peer, 4), b"last");
            let mut rest = Vec::new();
            peer.read_to_end(&mut rest).expect("an orderly end");
            assert_eq!(rest.first(), (kind == Kind::WebSocket).then_some(&0x88), "{kind:?}: a close frame, if any");
            assert_eq!(writer.send(b"more").expect_err("our direction has ended").kind(), io::ErrorKind::BrokenPipe);
            peer.write_all(&message(kind, b"reply")).expect("a connection");
            assert_eq!(read(&mut reader, 5), b"reply", "{kind:?}");
        }
    }

    #[test]
    fn a_failure_of_the_connection_reaches_the_senders() {
        for kind in KINDS {
            let (stream, peer) = connection(kind);
            let (_reader, writer) = stream.split();
            drop(peer);
            let start = Instant::now();
            while writer.send(&pattern(100_000)).is_ok() && start.elapsed() < LIMIT {}
            writer.send(b"more").expect_err("the connection has failed");
            writer.flush(Instant::now() + LIMIT).expect_err("the connection has failed");
            writer.shutdown();
            writer.close();
        }
    }

    #[test]
    fn an_unused_connection_is_closed() {
        let (stream, mut peer) = connection(Kind::Plain);
        let (reader, writer) = stream.split();
        writer.send(&pattern(LARGE)).expect("a connection");
        let weak = Arc::downgrade(&writer);
        drop((reader, writer));
        let start = Instant::now();
        while weak.strong_count() > 0 && start.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(weak.strong_count(), 0);
        assert!(peer.read_to_end(&mut Vec::new()).is_ok_and(|n| n < LARGE));
    }

    #[test]
    fn pings_are_answered_and_a_close_frame_is_the_end() {
        let (stream, mut peer) = connection(Kind::WebSocket);
        let (mut reader, writer) = stream.split();
        peer.write_all(b"\x89\x02hi\x02\x01a\x80\x01b\x88\x02\x03\xe8").expect("a connection");
        assert_eq!(read(&mut reader, 2), b"ab");
        assert_eq!(reader.read(&mut [0; 9], LIMIT).expect("a connection"), Some(0));
        let mut frames = [0; 16];
        peer.read_exact(&mut frames).expect("two frames");
        assert_eq!((frames[0], frames[1], frames[8], frames[9]), (0x8a, 0x82, 0x88, 0x82));
        writer.close();
    }

    #[test]
    fn frames_of_a_client_are_an_error() {
        let (stream, mut peer) = connection(Kind::WebSocket);
        peer.write_all(b"\x82\x81\0\0\0\0x").expect("a connection");
        let error = stream.split().0.read(&mut [0; 9], LIMIT).expect_err("a masked frame");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
