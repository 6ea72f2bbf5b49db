//! Where the MQTT library connects to: a loopback port of this process that admits the library alone.
//!
//! Anybody on this machine can connect to a loopback port, and our certificate or the proxy's password may have opened the
//! way to the broker. So the library's client identifier is a secret of this process, and the relay puts ours in its place
//! in the CONNECT that it passes on. A Unix socket would be quicker to connect to, but needs a file system that can be
//! written to, and the library looks at a new one only after 10 ms in every third run.

use std::io::{self, Read as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use uuid::Uuid;

use super::codec::{
    FixedHeader, Malformed, put_binary, put_length, take_array, take_binary, take_properties, take_string,
};

/// How many bytes the library's CONNECT may take: identifier, user name and password take up to 64 KiB each.
const MAX_CONNECT: usize = 256 * 1024;

/// How many strangers are listened to at a time.
const MAX_CALLERS: usize = 32;

/// The protocol level of MQTT 5 (MQTT 5, 3.1.2.2).
const LEVEL_OF_MQTT_5: u8 = 5;

/// A listening port. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct Endpoint {
    listener: TcpListener,
    secret: String,
}

/// Somebody who has connected.
struct Caller {
    socket: TcpStream,
    /// What came.
    bytes: Vec<u8>,
}

/// What a caller turns out to be.
enum Identity {
    /// The library; with its CONNECT, in which our client identifier is.
    Library(Vec<u8>),
    Stranger,
    /// More bytes are needed.
    Unknown,
}

impl Endpoint {
    /// Listens on any free port of this address.
    ///
    /// # Errors
    /// If the system has none.
    pub(super) fn open(address: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, secret: Uuid::new_v4().simple().to_string() })
    }

    /// The address as the library takes it.
    ///
    /// # Errors
    /// If the system does not say it.
    pub(super) fn uri(&self) -> io::Result<String> {
        Ok(format!("mqtt://{}", self.listener.local_addr()?))
    }

    /// The client identifier that the library is to use.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Waits for the library, and turns everybody else away. Returns its connection and its CONNECT, with this client
    /// identifier. Asks `has_failed` now and then whether to give up.
    ///
    /// # Errors
    /// If it does not come before the deadline, or has failed.
    pub(super) fn accept(
        &self,
        client_id: &str,
        deadline: Instant,
        has_failed: impl Fn() -> bool,
    ) -> io::Result<(TcpStream, Vec<u8>)> {
        const ASK_INTERVAL: Duration = Duration::from_millis(50);
        let mut callers = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || has_failed() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.await_bytes(&callers, left.min(ASK_INTERVAL))?;
            while let Ok((socket, _)) = self.listener.accept() {
                socket.set_nonblocking(true)?;
                callers.truncate(MAX_CALLERS - 1);
                callers.push(Caller { socket, bytes: Vec::new() });
            }
            let mut strangers = Vec::with_capacity(callers.len());
            for mut caller in callers {
                match caller.identify(&self.secret, client_id) {
                    Identity::Library(connect) => {
                        caller.socket.set_nonblocking(false)?;
                        caller.socket.set_nodelay(true)?;
                        return Ok((caller.socket, connect));
                    }
                    Identity::Unknown => strangers.push(caller),
                    Identity::Stranger => {}
                }
            }
            callers = strangers;
        }
    }

    /// Waits until somebody connects or sends something.
    fn await_bytes(&self, callers: &[Caller], wait: Duration) -> io::Result<()> {
        let wait: Timespec = wait.try_into().map_err(io::Error::other)?;
        let sockets = callers.iter().map(|caller| PollFd::new(&caller.socket, PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> =
            [PollFd::new(&self.listener, PollFlags::IN)].into_iter().chain(sockets).collect();
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Caller {
    /// Reads what has come, and finds out who it is.
    fn identify(&mut self, secret: &str, client_id: &str) -> Identity {
        let mut chunk = [0; 4096];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return Identity::Stranger,
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Identity::Stranger,
            }
            if self.bytes.len() > MAX_CONNECT {
                return Identity::Stranger;
            }
        }
        match FixedHeader::decode(&self.bytes) {
            Ok(Some(header)) if self.bytes.len() >= header.packet_len() => {
                let body = &self.bytes[header.len..header.packet_len()];
                let connect = with_client_id(header.first, body, secret, client_id);
                connect.ok().flatten().map_or(Identity::Stranger, Identity::Library)
            }
            Ok(_) => Identity::Unknown,
            Err(_) => Identity::Stranger,
        }
    }
}

/// A CONNECT with another client identifier (MQTT 5, 3.1.3.1); `None` if it has not the secret one.
fn with_client_id(first: u8, body: &[u8], secret: &str, client_id: &str) -> Result<Option<Vec<u8>>, Malformed> {
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

    /// A CONNECT of either version, with what follows the client identifier.
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
            let endpoint = Endpoint::open(Ipv4Addr::LOCALHOST.into()).expect("a port is free");
            let mut library = TcpStream::connect(endpoint.listener.local_addr().expect("bound")).expect("it listens");
            library.write_all(&connect(level, endpoint.secret(), b"\0\x04user")).expect("it is open");
            let (_socket, passed_on) = endpoint.accept("archive", soon(), || false).expect("it knows the secret");
            assert_eq!(passed_on, connect(level, "archive", b"\0\x04user"));
        }
    }

    #[test]
    fn strangers_are_turned_away_and_delay_nobody() {
        let endpoint = Endpoint::open(Ipv4Addr::LOCALHOST.into()).expect("a port is free");
        let address = endpoint.listener.local_addr().expect("bound");
        let stranger = |bytes: &[u8]| {
            let mut socket = TcpStream::connect(address).expect("it listens");
            socket.write_all(bytes).expect("it is open");
            socket
        };
        let mut turned_away =
            [stranger(&connect(5, "guess", b"")), stranger(b"GET / HTTP/1.1\r\n\r\n"), stranger(&[0x10, 2, 0, 0])];
        let _silent = stranger(b"");
        let _slow = stranger(&[0x10, 0x7f]);
        let mut library = stranger(&connect(4, endpoint.secret(), b""));
        let (mut socket, _) = endpoint.accept("us", soon(), || false).expect("it knows the secret");
        for socket in &mut turned_away {
            // What was not read makes the end a reset.
            assert!(socket.read(&mut [0]).map_or(true, |count| count == 0));
        }
        socket.write_all(b"x").expect("it is open");
        assert_eq!(library.read(&mut [0]).expect("it is open"), 1, "the library's is the connection");
    }

    #[test]
    fn a_library_that_has_failed_is_not_waited_for() {
        let endpoint = Endpoint::open(Ipv4Addr::LOCALHOST.into()).expect("a port is free");
        assert!(endpoint.accept("us", soon(), || true).is_err());
    }
}
