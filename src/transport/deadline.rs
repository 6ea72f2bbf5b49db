//! A TCP connection with a deadline that a slow peer cannot extend.
//!
//! A socket's own timeout restarts with each read, so a peer that sends a byte now and then would never reach it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A blocking connection with a deadline. Reads and writes after it fail with [`io::ErrorKind::WouldBlock`].
#[derive(Debug)]
pub(super) struct DeadlineStream {
    socket: TcpStream,
    deadline: Option<Instant>,
}

impl DeadlineStream {
    /// Sets the deadline of a connection.
    pub(super) fn new(socket: TcpStream, deadline: Instant) -> Self {
        Self { socket, deadline: Some(deadline) }
    }

    /// Makes the connection nonblocking and removes the deadline.
    ///
    /// # Errors
    /// If the system call fails.
    pub(super) fn set_nonblocking(&mut self) -> io::Result<()> {
        self.deadline = None;
        self.socket.set_nonblocking(true)
    }

    /// Returns the socket, with the timeouts of the last read and write.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Returns the remaining time; `None` without a deadline.
    fn time_left(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::WouldBlock.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(left) = self.time_left()? {
                self.socket.set_read_timeout(Some(left))?;
            }
            match self.socket.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(left) = self.time_left()? {
                self.socket.set_write_timeout(Some(left))?;
            }
            match self.socket.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Does nothing, because nothing is buffered.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn a_slow_peer_does_not_extend_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (mut peer, _) = listener.accept().expect("a connection");
        thread::spawn(move || {
            while peer.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let mut stream = DeadlineStream::new(socket, Instant::now() + Duration::from_millis(100));
        let error = stream.read_to_end(&mut Vec::new()).expect_err("the peer never ends");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
