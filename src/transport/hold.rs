//! Our own hold on the connection that the MQTT library made, for what the library does not do with it.
//!
//! **It ends the connection so that the broker reads all that was sent before.** The library closes its socket while
//! messages still come in. The kernel then resets the connection [RFC 1122, 4.2.2.13], and a broker that finds it reset
//! forgets the acknowledgements that it had not read yet: it delivers those messages again. So we hold on to the connection
//! over the library's goodbye, and read, and drop, what still comes until the broker has closed it too. What is dropped was
//! not acknowledged, and stays with the broker.
//!
//! **It sends acknowledgements together.** The library writes each by itself, and a segment for each costs more than all
//! else that is done with a message.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::Shutdown;

/// How long a broker may take to read what was sent, and to close.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// How many acknowledgements are sent together at the most: fewer than the 20 messages that mosquitto sends ahead of them,
/// so that neither waits for the other.
const TOGETHER: u32 = 16;

/// Our own hold on a connection.
#[derive(Debug)]
pub(super) struct Hold {
    connection: OwnedFd,
    /// How many acknowledgements the kernel holds back.
    held_back: u32,
}

impl Hold {
    /// Takes hold of the connection to this port. `None` where there is none or more than one, or where the system does not
    /// let us: then the broker may deliver some messages again, and acknowledgements are sent one by one.
    #[cfg(target_os = "linux")]
    pub(super) fn on(port: u16) -> Option<Self> {
        let mut held = super::own::descriptors().filter(|fd| leads_to(fd, port));
        let connection = held.next()?;
        held.next().is_none().then_some(Self { connection, held_back: 0 })
    }

    /// Other systems do not let us.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn on(_port: u16) -> Option<Self> {
        None
    }

    /// Says that an acknowledgement is written next. While more has come in that will be acknowledged soon, the kernel holds
    /// it back for those, 200 ms at the most [tcp(7), TCP_CORK].
    pub(super) fn before_acknowledgement(&mut self) {
        let waits = self.held_back + 1 < TOGETHER && is_readable(&self.connection, Duration::ZERO);
        if waits != (self.held_back > 0) {
            cork(&self.connection, waits);
        }
        self.held_back = if waits { self.held_back + 1 } else { 0 };
    }

    /// Sends nothing more, and reads until the broker has closed the connection, or `deadline` has passed.
    pub(super) fn linger(self, deadline: Instant) {
        // Where it is closed already there is nothing to wait for.
        let _ = rustix::net::shutdown(&self.connection, Shutdown::Write);
        let mut dropped = [0; 16 * 1024];
        while is_readable(&self.connection, deadline.saturating_duration_since(Instant::now())) {
            match rustix::io::read(&self.connection, &mut dropped) {
                Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

/// Has the kernel hold back what is not a full segment, or send it.
fn cork(connection: &OwnedFd, holds_back: bool) {
    // Where it cannot be done what is written is sent at once, as ever.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_cork(connection, holds_back);
    #[cfg(not(target_os = "linux"))]
    let _ = (connection, holds_back);
}

#[cfg(target_os = "linux")]
fn leads_to(fd: &OwnedFd, port: u16) -> bool {
    let peer = rustix::net::getpeername(fd).ok().flatten();
    peer.and_then(|peer| std::net::SocketAddr::try_from(peer).ok()).is_some_and(|peer| peer.port() == port)
}

/// Waits, for so long at the most, until there is something to read, or the end.
fn is_readable(fd: &OwnedFd, patience: Duration) -> bool {
    let patience = patience.try_into().ok();
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    match poll(&mut fds, patience.as_ref()) {
        Ok(ready) => ready > 0,
        Err(Errno::INTR) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    /// Both ends of a connection, and a hold on the first.
    #[cfg(target_os = "linux")]
    fn connection() -> (TcpStream, TcpStream, Hold) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let theirs = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let (peer, _) = listener.accept().expect("a connection");
        (theirs, peer, Hold::on(port).expect("the connection is found"))
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_peer_that_still_sends_reads_all_before_the_connection_ends() {
        let (mut theirs, mut peer, hold) = connection();
        peer.write_all(b"unread").expect("sent");
        theirs.write_all(b"acknowledgement").expect("sent");
        // As the library does: what came in is not read.
        theirs.shutdown(Shutdown::Write).expect("shut down");
        drop(theirs);
        let lingering = std::thread::spawn(move || hold.linger(Instant::now() + Duration::from_secs(60)));
        peer.write_all(&vec![0; 100_000]).expect("still open");
        let mut read = String::new();
        peer.read_to_string(&mut read).expect("not reset");
        drop(peer);
        lingering.join().expect("no panic");
        assert_eq!(read, "acknowledgement");
    }

    /// Sends one message after the other and reads what is written for each; the kernel's own delays must not matter.
    #[test]
    #[cfg(target_os = "linux")]
    fn an_acknowledgement_waits_for_others_while_more_comes_and_for_no_more_than_some() {
        let (mut theirs, mut peer, mut hold) = connection();
        peer.write_all(&[0; 100]).expect("sent");
        let mut held_back = Vec::new();
        for _ in 0..2 * TOGETHER {
            theirs.read_exact(&mut [0]).expect("sent");
            hold.before_acknowledgement();
            theirs.write_all(b"a").expect("sent");
            held_back.push(hold.held_back);
        }
        let expected: Vec<u32> = (1..TOGETHER).chain([0]).collect();
        assert_eq!(held_back, expected.repeat(2));
        theirs.read_exact(&mut [0; 100 - 2 * TOGETHER as usize]).expect("sent");
        hold.before_acknowledgement();
        assert_eq!(hold.held_back, 0, "nothing more has come, so nothing waits");
        theirs.write_all(b"a").expect("sent");
        peer.read_exact(&mut [0; 2 * TOGETHER as usize + 1]).expect("all are sent");
    }

    #[test]
    fn without_a_connection_there_is_nothing_to_hold() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        assert!(Hold::on(listener.local_addr().expect("an address").port()).is_none());
    }
}
