//! Ends a connection so that the broker reads to the end what was sent before it.
//!
//! The MQTT library closes its socket while messages still come in. The kernel then resets the connection [RFC 1122,
//! 4.2.2.13], and a broker that finds it reset forgets the acknowledgements that it had not read yet: it delivers those
//! messages again. So somebody else holds on to the connection over the library's goodbye, and reads, and drops, what still
//! comes until the broker has closed it too. What is dropped was not acknowledged, and stays with the broker.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::Shutdown;

/// How long a broker may take to read what was sent, and to close.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Our own hold on the connection that the library made.
#[derive(Debug)]
pub(super) struct Hold(OwnedFd);

impl Hold {
    /// Takes hold of the connection to this port. `None` where there is none, or where the system does not let us: then
    /// the broker may deliver some messages again.
    #[cfg(target_os = "linux")]
    pub(super) fn on(port: u16) -> Option<Self> {
        use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
        // The library does not say which descriptor it uses, and a number alone is nothing that safe code may use.
        let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
        let numbers = std::fs::read_dir("/proc/self/fd").ok()?;
        let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut held = numbers.filter_map(|number| pidfd_getfd(&ourselves, number, PidfdGetfdFlags::empty()).ok());
        held.find(|fd| leads_to(fd, port)).map(Self)
    }

    /// Other systems do not let us.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn on(_port: u16) -> Option<Self> {
        None
    }

    /// Sends nothing more, and reads until the broker has closed the connection, or `deadline` has passed.
    pub(super) fn linger(self, deadline: Instant) {
        // Where it is closed already there is nothing to wait for.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Write);
        let mut dropped = [0; 16 * 1024];
        while is_readable(&self.0, deadline.saturating_duration_since(Instant::now())) {
            match rustix::io::read(&self.0, &mut dropped) {
                Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
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

    #[test]
    #[cfg(target_os = "linux")]
    fn a_peer_that_still_sends_reads_all_before_the_connection_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut theirs = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let (mut peer, _) = listener.accept().expect("a connection");
        peer.write_all(b"unread").expect("sent");
        theirs.write_all(b"acknowledgement").expect("sent");
        let hold = Hold::on(port).expect("the connection is found");
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

    #[test]
    fn without_a_connection_there_is_nothing_to_hold() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        assert!(Hold::on(listener.local_addr().expect("an address").port()).is_none());
    }
}
