//! Tests of both halves over each kind of connection, with a peer in this process.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::{BrokerReader, BrokerStream};
use crate::transport::deadline::DeadlineStream;
use crate::transport::error::{FrameError, ReadError};
use crate::transport::options::TlsOptions;
use crate::transport::test_pki::{self as pki, Authority, Names};
use crate::transport::tls::TlsDialer;

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
        assert_eq!(writer.flush(Instant::now()).expect_err("the peer does not read").kind(), io::ErrorKind::TimedOut);
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
        let is_end = match outcome {
            Ok(count) => count == Some(0),
            Err(ReadError::Io(error)) => error.kind() == io::ErrorKind::ConnectionReset,
            Err(ReadError::Frame(_)) => false,
        };
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
    assert!(matches!(error, ReadError::Frame(FrameError::Masked)), "{error:?}");
}
