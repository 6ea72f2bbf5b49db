//! A TCP connection that is in use for no longer than until a deadline, however slowly the other end speaks.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection with a deadline, while it has one. What is read or written after it fails with
/// [`io::ErrorKind::WouldBlock`].
#[derive(Debug)]
pub(super) struct Timed {
    stream: TcpStream,
    deadline: Option<Instant>,
}

impl Timed {
    /// The connection until `deadline`.
    pub(super) fn until(deadline: Instant, stream: TcpStream) -> Self {
        Self { stream, deadline: Some(deadline) }
    }

    /// Sets another deadline, or none: then the connection is as its socket is set.
    ///
    /// # Errors
    /// Where the socket does not take it.
    pub(super) fn set(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.deadline = deadline;
        self.stream.set_read_timeout(None)?;
        self.stream.set_write_timeout(None)
    }

    /// The connection itself, without a deadline.
    ///
    /// # Errors
    /// Where the socket does not take it.
    pub(super) fn into_inner(mut self) -> io::Result<TcpStream> {
        self.set(None)?;
        Ok(self.stream)
    }

    /// How long may be waited now; `None` for ever.
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::WouldBlock.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(left) = self.left()? {
                self.stream.set_read_timeout(Some(left))?;
            }
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.stream.set_write_timeout(Some(left))?;
        }
        self.stream.write(bytes)
    }

    /// Nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_drip_lasts_no_longer_than_until_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let (mut peer, _) = listener.accept().expect("we are there");
        thread::spawn(move || {
            while peer.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let mut timed = Timed::until(Instant::now() + Duration::from_millis(100), stream);
        let error = timed.read_to_end(&mut Vec::new()).expect_err("the peer never ends");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        timed.set(None).expect("a socket");
        timed.read_exact(&mut [0]).expect("it is as any connection now");
    }
}
