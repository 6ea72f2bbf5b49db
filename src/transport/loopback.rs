//! The loopback port to which the MQTT library connects. It admits nobody else.
//!
//! Any user of this machine can connect to a loopback port, and our certificate or proxy password may have opened the
//! connection to the broker. So the library's client identifier is a secret of this process, and the listener replaces it
//! with ours in the CONNECT that it returns. A Unix socket would be quicker to connect to, but it needs a writable file
//! system, and the library often takes 10 ms to notice a new one.

use std::io::{self, Read as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use uuid::Uuid;

use super::codec::{Fault, FixedHeader, put_binary, put_length, take_array, take_binary, take_properties, take_string};

/// The largest CONNECT of the library, in bytes: identifier, user name and password take up to 64 KiB each.
const MAX_CONNECT: usize = 256 * 1024;

/// The number of connections that are identified at a time.
const MAX_PENDING_CLIENTS: usize = 32;

/// The protocol level of MQTT 5 (MQTT 5, 3.1.2.2).
const LEVEL_OF_MQTT_5: u8 = 5;

/// A listening port. Dropping it closes the port.
#[derive(Debug)]
pub(super) struct LoopbackListener {
    listener: TcpListener,
    secret: String,
}

/// A connection that is not identified yet.
struct PendingClient {
    socket: TcpStream,
    /// The bytes received so far.
    bytes: Vec<u8>,
}

/// Who a client is.
enum Identity {
    /// The library. Holds its CONNECT, with our client identifier.
    Library(Vec<u8>),
    Other,
    /// More bytes are needed.
    Unknown,
}

impl LoopbackListener {
    /// Listens on a free port of this address.
    ///
    /// # Errors
    /// If there is no free port.
    pub(super) fn open(address: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, secret: Uuid::new_v4().simple().to_string() })
    }

    /// Returns the address in the library's format.
    ///
    /// # Errors
    /// If the system call fails.
    pub(super) fn uri(&self) -> io::Result<String> {
        Ok(format!("mqtt://{}", self.listener.local_addr()?))
    }

    /// Returns the client identifier that the library must use.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Waits for the library, and rejects everybody else. Returns its connection and its CONNECT with `client_id`. Calls
    /// `has_failed` regularly, and gives up when it returns `true`.
    ///
    /// # Errors
    /// If the library does not connect before the deadline, or has failed.
    pub(super) fn accept(
        &self,
        client_id: &str,
        deadline: Instant,
        has_failed: impl Fn() -> bool,
    ) -> io::Result<(TcpStream, Vec<u8>)> {
        const CHECK_INTERVAL: Duration = Duration::from_millis(50);
        let mut clients = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || has_failed() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.await_bytes(&clients, left.min(CHECK_INTERVAL))?;
            while let Ok((socket, _)) = self.listener.accept() {
                socket.set_nonblocking(true)?;
                clients.truncate(MAX_PENDING_CLIENTS - 1);
                clients.push(PendingClient { socket, bytes: Vec::new() });
            }
            let mut unidentified = Vec::with_capacity(clients.len());
            for mut client in clients {
                match client.identify(&self.secret, client_id) {
                    Identity::Library(connect) => {
                        client.socket.set_nonblocking(false)?;
                        client.socket.set_nodelay(true)?;
                        return Ok((client.socket, connect));
                    }
                    Identity::Unknown => unidentified.push(client),
                    Identity::Other => {}
                }
            }
            clients = unidentified;
        }
    }

    /// Waits for a new connection or for bytes.
    fn await_bytes(&self, clients: &[PendingClient], wait: Duration) -> io::Result<()> {
        let wait: Timespec = wait.try_into().map_err(io::Error::other)?;
        let sockets = clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> =
            [PollFd::new(&self.listener, PollFlags::IN)].into_iter().chain(sockets).collect();
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl PendingClient {
    /// Reads the available bytes and identifies the client.
    fn identify(&mut self, secret: &str, client_id: &str) -> Identity {
        let mut chunk = [0; 4096];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return Identity::Other,
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Identity::Other,
            }
            if self.bytes.len() > MAX_CONNECT {
                return Identity::Other;
            }
        }
        match FixedHeader::decode(&self.bytes) {
            Ok(Some(header)) if self.bytes.len() >= header.packet_len() => {
                let body = &self.bytes[header.len..header.packet_len()];
                let connect = with_client_id(header.first, body, secret, client_id);
                connect.ok().flatten().map_or(Identity::Other, Identity::Library)
            }
            Ok(_) => Identity::Unknown,
            Err(_) => Identity::Other,
        }
    }
}

/// Replaces the client identifier of a CONNECT (MQTT 5, 3.1.3.1). Returns `None` if it is not the secret.
fn with_client_id(first: u8, body: &[u8], secret: &str, client_id: &str) -> Result<Option<Vec<u8>>, Fault> {
    let mut rest = body;
    take_binary(&mut rest)?;
    // Level, flags and keep-alive interval.
    let [level, ..]: [u8; 4] = take_array(&mut rest)?;
    if level == LEVEL_OF_MQTT_5 {
        take_properties(&mut rest)?;
    }
    let before = &body[..body.len() - rest.len()];
    if take_string(&mut rest)? != secret {
        return Ok(None);
    }
    let mut replaced = before.to_vec();
    put_binary(&mut replaced, client_id.as_bytes());
    replaced.extend_from_slice(rest);
    let mut packet = vec![first];
    put_length(&mut packet, replaced.len());
    packet.extend(replaced);
    Ok(Some(packet))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::Ipv4Addr;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    /// Returns a CONNECT with `after` behind the client identifier.
    fn connect(level: u8, client_id: &str, after: &[u8]) -> Vec<u8> {
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([level, 2, 0, 30]);
        if level == LEVEL_OF_MQTT_5 {
            body.extend([5, 0x27, 0, 1, 0, 0]);
        }
        put_binary(&mut body, client_id.as_bytes());
        body.extend_from_slice(after);
        let mut packet = vec![0x10];
        put_length(&mut packet, body.len());
        packet.extend(body);
        packet
    }

    #[test]
    fn the_library_is_admitted_with_our_client_identifier() {
        for level in [4, LEVEL_OF_MQTT_5] {
            let listener = LoopbackListener::open(Ipv4Addr::LOCALHOST.into()).expect("a port is free");
            let mut library = TcpStream::connect(listener.listener.local_addr().expect("bound")).expect("it listens");
            library.write_all(&connect(level, listener.secret(), b"\0\x04user")).expect("it is open");
            let (_socket, passed_on) = listener.accept("archive", soon(), || false).expect("it knows the secret");
            assert_eq!(passed_on, connect(level, "archive", b"\0\x04user"));
        }
    }

    #[test]
    fn other_clients_are_rejected_and_delay_nobody() {
        let listener = LoopbackListener::open(Ipv4Addr::LOCALHOST.into()).expect("a port is free");
        let address = listener.listener.local_addr().expect("bound");
        let stranger = |bytes: &[u8]| {
            let mut socket = TcpStream::connect(address).expect("it listens");
            socket.write_all(bytes).expect("it is open");
            socket
        };
        let mut rejected =
            [stranger(&connect(5, "guess", b"")), stranger(b"GET / HTTP/1.1\r\n\r\n"), stranger(&[0x10, 2, 0, 0])];
        let _silent = stranger(b"");
        let _slow = stranger(&[0x10, 0x7f]);
        let mut library = stranger(&connect(4, listener.secret(), b""));
        let (mut socket, _) = listener.accept("us", soon(), || false).expect("it knows the secret");
        for socket in &mut rejected {
            // Closing a socket with unread bytes resets the connection.
            assert!(socket.read(&mut [0]).map_or(true, |count| count == 0));
        }
        socket.write_all(b"x").expect("it is open");
        assert_eq!(library.read(&mut [0]).expect("it is open"), 1, "the listener returns the library's connection");
    }

    #[test]
    fn accept_ends_when_the_library_has_failed() {
        let listener = LoopbackListener::open(Ipv4Addr::LOCALHOST.into()).expect("a port is free");
        assert!(listener.accept("us", soon(), || true).is_err());
    }
}
