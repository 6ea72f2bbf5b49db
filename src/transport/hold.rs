//! Our own hold on the connection that the MQTT library made, for what the library does not do with it.
//!
//! **It ends the connection so that the broker reads all that was sent before.** The library closes its socket while
//! messages still come in. The kernel then resets the connection [RFC 1122, 4.2.2.13], and a broker that finds it reset
//! forgets the acknowledgements that it had not read yet: it delivers those messages again. So we hold on to the connection
//! over the library's goodbye, and read, and drop, what still comes until the broker has closed it too. What is dropped was
//! not acknowledged, and stays with the broker.
//!
//! **It sends acknowledgements together.** The library writes each by itself, and a segment for each costs more than all
//! else that is done with a message. The kernel means to hold back nothing for longer than 200 ms [tcp(7), TCP_CORK], but
//! begins anew with what comes in, and a large message may come in slowly: so we look to it ourselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, Thread};
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

/// After how long what is held back is sent, or twice that at the most.
const PATIENCE: Duration = Duration::from_millis(100);

/// Our own hold on a connection.
#[derive(Debug)]
pub(super) struct Hold {
    shared: Arc<Shared>,
    /// How many acknowledgements the kernel holds back.
    held_back: u32,
    /// Who looks to it that they are sent.
    impatient: Thread,
}

/// What the thread that is impatient has in common with the one that acknowledges.
#[derive(Debug)]
struct Shared {
    connection: OwnedFd,
    /// Counts when the kernel began to hold back, and when it was told to send: it holds back where this is odd.
    turns: AtomicU32,
    /// Whether the impatient thread waits to be woken.
    is_idle: AtomicBool,
    is_over: AtomicBool,
}

impl Shared {
    /// Has the kernel send what it holds back where it has done so for long, for as long as there is a hold.
    fn be_impatient(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            if self.is_idle.load(Ordering::SeqCst) {
                thread::park();
                continue;
            }
            let turns = self.turns.load(Ordering::SeqCst);
            thread::sleep(PATIENCE);
            if self.turns.load(Ordering::SeqCst) != turns {
                continue;
            }
            if turns % 2 == 1 {
                cork(&self.connection, false);
            }
            self.is_idle.store(true, Ordering::SeqCst);
            // Whoever turned meanwhile saw nobody to wake.
            if self.turns.load(Ordering::SeqCst) != turns {
                self.is_idle.store(false, Ordering::SeqCst);
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.impatient.unpark();
    }
}

impl Hold {
    /// Takes hold of the connection to this port. `None` where there is none or more than one, or where the system does not
    /// let us: then the broker may deliver some messages again, and acknowledgements are sent one by one.
    #[cfg(target_os = "linux")]
    pub(super) fn on(port: u16) -> Option<Self> {
        let mut held = super::own::descriptors().filter(|fd| leads_to(fd, port));
        let connection = held.next()?;
        held.next().is_none().then(|| Self::of(connection))
    }

    fn of(connection: OwnedFd) -> Self {
        let (turns, is_idle, is_over) = (AtomicU32::new(0), AtomicBool::new(true), AtomicBool::new(false));
        let shared = Arc::new(Shared { connection, turns, is_idle, is_over });
        let ours = shared.clone();
        let impatient = thread::spawn(move || ours.be_impatient()).thread().clone();
        Self { shared, held_back: 0, impatient }
    }

    /// Other systems do not let us.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn on(_port: u16) -> Option<Self> {
        None
    }

    /// Says that an acknowledgement is written next. While more has come in that will be acknowledged soon, the kernel holds
    /// it back for those.
    pub(super) fn before_acknowledgement(&mut self) {
        let Shared { connection, turns, is_idle, .. } = &*self.shared;
        let waits = self.held_back + 1 < TOGETHER && is_readable(connection, Duration::ZERO);
        if waits != (self.held_back > 0) {
            cork(connection, waits);
            turns.fetch_add(1, Ordering::SeqCst);
            if waits && is_idle.swap(false, Ordering::SeqCst) {
                self.impatient.unpark();
            }
        }
        self.held_back = if waits { self.held_back + 1 } else { 0 };
    }

    /// Sends nothing more, and reads until the broker has closed the connection, or `deadline` has passed.
    pub(super) fn linger(self, deadline: Instant) {
        // Where it is closed already there is nothing to wait for.
        let connection = &self.shared.connection;
        let _ = rustix::net::shutdown(connection, Shutdown::Write);
        let mut dropped = [0; 16 * 1024];
        while is_readable(connection, deadline.saturating_duration_since(Instant::now())) {
            match rustix::io::read(connection, &mut dropped) {
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
    #[cfg(target_os = "linux")]
    fn an_acknowledgement_does_not_wait_for_a_message_that_comes_slowly() {
        const DRIP: Duration = Duration::from_millis(20);
        let (mut theirs, mut peer, mut hold) = connection();
        peer.write_all(&[0; 2]).expect("sent");
        theirs.read_exact(&mut [0]).expect("sent");
        hold.before_acknowledgement();
        assert_eq!(hold.held_back, 1, "more has come");
        theirs.write_all(b"a").expect("sent");
        let (is_there, mut slow) =
            (Arc::new(AtomicBool::new(false)), peer.try_clone().expect("a socket can be shared"));
        let seen = is_there.clone();
        // Without our impatience the kernel waits for as long as this lasts.
        let drip = thread::spawn(move || {
            let is_late = (0..1_000).all(|_| {
                slow.write_all(&[0; 4 * 1024]).expect("it is read");
                thread::sleep(DRIP);
                !seen.load(Ordering::SeqCst)
            });
            slow.shutdown(Shutdown::Write).expect("it is open");
            is_late
        });
        let reading = thread::spawn(move || std::io::copy(&mut theirs, &mut std::io::sink()));
        peer.read_exact(&mut [0]).expect("it comes");
        is_there.store(true, Ordering::SeqCst);
        assert!(!drip.join().expect("no panic"), "it came only when all else had come");
        reading.join().expect("no panic").expect("it is read to its end");
    }

    #[test]
    fn without_a_connection_there_is_nothing_to_hold() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        assert!(Hold::on(listener.local_addr().expect("an address").port()).is_none());
    }
}
