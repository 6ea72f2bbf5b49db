//! Opens the connection to a broker: resolves the name, races the addresses, then sets up proxy, TLS and WebSocket.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, connect, sockopt};

use super::deadline::DeadlineStream;
use super::error::{DialError, DialStep, Peer};
use super::options::Options;
use super::stream::BrokerStream;
use super::tls::TlsDialer;
use super::url::{BrokerUrl, HostPort, ProxyUrl};
use super::{proxy, websocket};

/// The next address is tried if an attempt takes longer than this [RFC 8305, 5].
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Dials one broker, address by address.
pub(super) struct Dialer {
    broker: BrokerUrl,
    proxy: Option<ProxyUrl>,
    tls: Option<TlsDialer>,
    is_resolved: bool,
    /// Untried addresses: the proxy's if there is one, else the broker's.
    addresses: VecDeque<SocketAddr>,
}

impl Dialer {
    /// Reads the TLS files and prepares everything else that needs no network.
    ///
    /// # Errors
    /// If the TLS files cannot be used.
    pub(super) fn new(options: &Options, broker: &BrokerUrl) -> Result<Self, DialError> {
        let tls = broker.scheme.is_tls().then(|| TlsDialer::new(&options.tls, broker));
        let tls = tls.transpose().map_err(DialError::Tls)?;
        let proxy = options.proxy.proxy_for(broker).cloned();
        Ok(Self { broker: broker.clone(), proxy, tls, is_resolved: false, addresses: VecDeque::new() })
    }

    /// Connects to the next address that accepts a connection, and sets up proxy, TLS and WebSocket. Returns `None` once
    /// every address was tried.
    ///
    /// # Errors
    /// If no untried address accepts a connection, or the setup fails. Either way, the next call continues with the untried
    /// addresses.
    pub(super) fn next(&mut self, deadline: Instant) -> Option<Result<(SocketAddr, BrokerStream), DialError>> {
        if !self.is_resolved {
            self.is_resolved = true;
            match self.resolve(deadline) {
                Ok(addresses) => self.addresses = addresses,
                Err(error) => return Some(Err(error)),
            }
        }
        if self.addresses.is_empty() {
            return None;
        }
        let peer = self.peer();
        Some(race(&mut self.addresses, peer, deadline).and_then(|(address, socket)| {
            // Leave time for the other addresses, in case this server accepts connections but does not answer.
            let limit = share_of(deadline, self.addresses.len() + 1);
            Ok((address, self.complete(socket, limit)?))
        }))
    }

    /// Connects to this address again.
    ///
    /// # Errors
    /// If it does not accept a connection, or the setup fails.
    pub(super) fn redial(&self, address: SocketAddr, deadline: Instant) -> Result<BrokerStream, DialError> {
        let (_, socket) = race(&mut VecDeque::from([address]), self.peer(), deadline)?;
        self.complete(socket, deadline)
    }

    /// Returns the number of untried addresses; 0 before the first call of `next`.
    pub(super) fn remaining(&self) -> usize {
        self.addresses.len()
    }

    /// Returns the host that the TCP connection is made to.
    fn peer(&self) -> Peer {
        if self.proxy.is_some() { Peer::Proxy } else { Peer::Broker }
    }

    fn resolve(&self, deadline: Instant) -> Result<VecDeque<SocketAddr>, DialError> {
        let host = self.proxy.as_ref().map_or(self.broker.address(), ProxyUrl::address);
        match host.literal() {
            Some(address) => Ok(VecDeque::from([address])),
            None => resolve(host, self.peer(), deadline),
        }
    }

    /// Sets up proxy, TLS and WebSocket over a TCP connection.
    fn complete(&self, socket: TcpStream, deadline: Instant) -> Result<BrokerStream, DialError> {
        let mut stream = DeadlineStream::new(socket, deadline);
        if let Some(proxy) = &self.proxy {
            proxy::open_tunnel(&mut stream, proxy, &self.broker)?;
        }
        let is_websocket = self.broker.scheme.is_websocket();
        if let Some(tls) = &self.tls {
            let mut stream = tls.handshake(stream)?;
            let received = is_websocket.then(|| websocket::open(&mut stream, &self.broker)).transpose()?;
            stream.get_mut().set_nonblocking()?;
            Ok(BrokerStream::encrypted(stream, received)?)
        } else {
            let received = is_websocket.then(|| websocket::open(&mut stream, &self.broker)).transpose()?;
            Ok(BrokerStream::plain(stream.into_socket(), received))
        }
    }
}

/// Returns the deadline of the first of `steps` steps that share the time until `deadline`.
pub(super) fn share_of(deadline: Instant, steps: usize) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / u32::try_from(steps).unwrap_or(u32::MAX)
}

/// Resolves a name in a thread, because the resolver has no timeout. After a timeout the thread ends on its own.
fn resolve(host: &HostPort, peer: Peer, deadline: Instant) -> Result<VecDeque<SocketAddr>, DialError> {
    let (sender, receiver) = mpsc::channel();
    let target = (host.host().to_owned(), host.port());
    thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let lookup = |host: &str| (host, target.1).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // A final dot marks a fully qualified name. Names in a hosts file have none.
        let addresses = lookup(&target.0).or_else(|error| target.0.strip_suffix('.').map_or(Err(error), lookup));
        // The receiver is gone if the deadline has passed.
        let _ = sender.send(addresses);
    })?;
    let outcome = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let addresses = outcome.map_err(|_| DialError::Timeout { peer, step: DialStep::Resolve })?;
    let addresses = addresses.map_err(|error| {
        let reason = error.to_string();
        let reason = reason.strip_prefix("failed to lookup address information: ").unwrap_or(&reason).to_owned();
        DialError::Resolve { peer, host: host.host().to_owned(), reason }
    })?;
    if addresses.is_empty() {
        return Err(DialError::NoAddress { peer, host: host.host().to_owned() });
    }
    Ok(interleaved(addresses))
}

/// Sorts addresses so that the families alternate, beginning with the first address [RFC 8305, 4].
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let starts_with_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == starts_with_ipv6);
    let mut turns = VecDeque::new();
    while !first.is_empty() || !second.is_empty() {
        turns.extend(first.pop_front());
        turns.extend(second.pop_front());
    }
    turns
}

/// A TCP connection attempt.
struct Attempt {
    address: SocketAddr,
    socket: OwnedFd,
}

/// Connects to the first address that accepts [RFC 8305]. The next attempt starts when one fails, or after
/// [`ATTEMPT_DELAY`]. Removes the tried addresses; addresses whose attempt was pending stay.
fn race(
    addresses: &mut VecDeque<SocketAddr>,
    peer: Peer,
    deadline: Instant,
) -> Result<(SocketAddr, TcpStream), DialError> {
    let mut attempts: VecDeque<Attempt> = VecDeque::new();
    let mut failure = None;
    let timeout = DialError::Timeout { peer, step: DialStep::Connect };
    let mut next_start = Instant::now();
    loop {
        let now = Instant::now();
        if (attempts.is_empty() || now >= next_start)
            && let Some(address) = addresses.pop_front()
        {
            match start(address) {
                Ok(socket) => {
                    attempts.push_back(Attempt { address, socket });
                    next_start = now + ATTEMPT_DELAY;
                }
                Err(error) => keep_failure(&mut failure, peer, address, &error),
            }
        }
        if attempts.is_empty() {
            if addresses.is_empty() {
                return Err(failure.unwrap_or(timeout));
            }
            continue;
        }
        let wake = if addresses.is_empty() { deadline } else { deadline.min(next_start) };
        let finished = wait_for_one(&attempts, wake)?;
        let Some(attempt) = finished.and_then(|index| attempts.remove(index)) else {
            if Instant::now() < deadline {
                continue;
            }
            return Err(failure.filter(|error| !is_no_route(error)).unwrap_or(timeout));
        };
        match finish(attempt.socket) {
            Ok(socket) => {
                for pending in attempts.into_iter().rev() {
                    addresses.push_front(pending.address);
                }
                return Ok((attempt.address, socket));
            }
            Err(error) => {
                keep_failure(&mut failure, peer, attempt.address, &error);
                next_start = now;
            }
        }
    }
}

/// Keeps the first failure, but prefers a peer's error to a missing route: an address of a family that this network does not
/// have gives no information about the broker.
fn keep_failure(failure: &mut Option<DialError>, peer: Peer, address: SocketAddr, error: &io::Error) {
    if failure.as_ref().is_none_or(is_no_route) {
        *failure = Some(DialError::Connect { peer, address, kind: error.kind(), reason: error.to_string() });
    }
}

fn is_no_route(error: &DialError) -> bool {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable, Unsupported};
    let DialError::Connect { kind, .. } = error else { return false };
    matches!(kind, AddrNotAvailable | HostUnreachable | NetworkUnreachable | Unsupported)
}

/// Starts to connect, without waiting.
fn start(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = nonblocking_socket(if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET })?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

#[cfg(target_os = "linux")]
fn nonblocking_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    use rustix::net::{SocketFlags, socket_with};
    Ok(socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

#[cfg(not(target_os = "linux"))]
fn nonblocking_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Waits until an attempt has succeeded or failed. Returns its index, or `None` if `wake` passes first.
fn wait_for_one(attempts: &VecDeque<Attempt>, wake: Instant) -> Result<Option<usize>, DialError> {
    let mut fds: Vec<_> = attempts.iter().map(|attempt| PollFd::new(&attempt.socket, PollFlags::OUT)).collect();
    let wait = Timespec::try_from(wake.saturating_duration_since(Instant::now())).ok();
    match poll(&mut fds, wait.as_ref()) {
        Ok(_) => Ok(fds.iter().position(|fd| !fd.revents().is_empty())),
        Err(Errno::INTR) => Ok(None),
        Err(error) => Err(DialError::Io(error.to_string())),
    }
}

/// Returns the connection of an attempt that succeeded, or the error of one that failed.
fn finish(socket: OwnedFd) -> io::Result<TcpStream> {
    sockopt::socket_error(&socket)??;
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(false)?;
    // Send small packets at once.
    socket.set_nodelay(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::super::error::{ProxyError, TlsError, WebSocketError};
    use super::super::options::{ProxyChoice, TlsOptions};
    use super::super::test_pki::{self as pki, Authority, Names};
    use super::*;
    use openssl::ssl::SslVerifyMode;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    const LIMIT: Duration = Duration::from_secs(30);

    fn dialer(url: &str, change: impl FnOnce(&mut Options)) -> Dialer {
        let mut options = Options::for_local(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        change(&mut options);
        Dialer::new(&options, &url.parse().expect("a broker URL")).expect("valid options")
    }

    /// Returns a dialer for a name with these addresses.
    fn resolved(url: &str, addresses: &[SocketAddr]) -> Dialer {
        Dialer { is_resolved: true, addresses: addresses.iter().copied().collect(), ..dialer(url, |_| {}) }
    }

    fn listener(last: u8) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    fn refusing(last: u8) -> SocketAddr {
        listener(last).1
    }

    /// Returns a listener that neither accepts nor refuses connections while the value lives.
    fn silent(last: u8) -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        rustix::net::bind(&socket, &any).expect("a free port");
        rustix::net::listen(&socket, 0).expect("a bound socket");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("an address");
        let mut waiting = Vec::new();
        // Fill the backlog: then Linux drops SYNs.
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
        }
        (listener, waiting, address)
    }

    /// Dials the next address. Returns the address or the error.
    fn next(dialer: &mut Dialer, limit: Duration) -> Option<Result<SocketAddr, DialError>> {
        Some(dialer.next(Instant::now() + limit)?.map(|(address, _)| address))
    }

    fn is_refused(outcome: Option<&Result<SocketAddr, DialError>>) -> bool {
        matches!(outcome, Some(Err(DialError::Connect { kind: io::ErrorKind::ConnectionRefused, .. })))
    }

    #[test]
    fn families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(|it| it.parse().expect("an address"));
        let ports: Vec<_> = interleaved(addresses.to_vec()).iter().map(ToString::to_string).collect();
        assert_eq!(ports, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
    }

    #[test]
    fn a_silent_address_does_not_keep_the_next_one_waiting() {
        let (_listener, _waiting, silent) = silent(1);
        let (_accepting, address) = listener(2);
        let mut dialer = resolved("mqtt://h", &[silent, address]);
        assert_eq!(next(&mut dialer, LIMIT), Some(Ok(address)));
        assert_eq!(dialer.remaining(), 1, "the silent address stays untried");
        let timeout = DialError::Timeout { peer: Peer::Broker, step: DialStep::Connect };
        assert_eq!(next(&mut dialer, Duration::from_millis(50)), Some(Err(timeout)));
        assert_eq!(next(&mut dialer, LIMIT), None);
    }

    #[test]
    fn a_refused_address_is_followed_by_the_next_one_at_once() {
        let (_a, first) = listener(2);
        let (_b, second) = listener(3);
        let mut dialer = resolved("mqtt://h", &[refusing(1), first, refusing(1), second]);
        assert_eq!(next(&mut dialer, LIMIT), Some(Ok(first)));
        assert_eq!(next(&mut dialer, LIMIT), Some(Ok(second)));
        assert_eq!(next(&mut dialer, LIMIT), None);
        dialer.redial(first, Instant::now() + LIMIT).expect("it still listens");
        let error = dialer.redial(refusing(1), Instant::now() + LIMIT).map(drop);
        assert!(is_refused(Some(&error.map(|()| first))));
    }

    #[test]
    fn addresses_that_all_fail_give_one_error() {
        let mut dialer = resolved("mqtt://h", &[refusing(1), refusing(2)]);
        assert!(is_refused(next(&mut dialer, LIMIT).as_ref()));
        assert_eq!(next(&mut dialer, LIMIT), None);
    }

    #[test]
    fn an_error_of_the_peer_is_preferred_to_a_missing_route() {
        let address = "[2001:db8::1]:1".parse().expect("an address");
        let mut failure = None;
        for kind in
            [io::ErrorKind::NetworkUnreachable, io::ErrorKind::ConnectionRefused, io::ErrorKind::HostUnreachable]
        {
            keep_failure(&mut failure, Peer::Broker, address, &kind.into());
        }
        assert!(is_refused(failure.map(Err).as_ref()));
    }

    #[test]
    fn a_literal_address_and_a_name_lead_to_the_listener() {
        let (_listener, address) = listener(1);
        for host in ["127.0.0.1", "localhost"] {
            let mut dialer = dialer(&format!("mqtt://{host}:{}", address.port()), |_| {});
            assert_eq!(next(&mut dialer, LIMIT), Some(Ok(address)), "{host}");
        }
        let mut unknown = dialer("mqtt://no-such-host.invalid", |_| {});
        assert!(matches!(next(&mut unknown, LIMIT), Some(Err(DialError::Resolve { peer: Peer::Broker, .. }))));
        assert_eq!(next(&mut unknown, LIMIT), None);
    }

    #[test]
    fn a_server_that_accepts_and_is_silent_leaves_time_for_the_next_address() {
        let (_listener, mute) = listener(1);
        let (speaking, address) = listener(2);
        thread::spawn(move || {
            let (mut peer, _) = speaking.accept().expect("a connection");
            peer.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").expect("an open connection");
            let _ = peer.read_to_end(&mut Vec::new());
        });
        let mut dialer = resolved("ws://h", &[mute, address]);
        let deadline = Instant::now() + Duration::from_secs(4);
        let mut outcomes = Vec::new();
        while let Some(outcome) = dialer.next(deadline) {
            outcomes.push(outcome.map(drop));
        }
        let timeout = DialError::Timeout { peer: Peer::Broker, step: DialStep::Handshake };
        let status = WebSocketError::Status { line: "HTTP/1.1 404 Not Found".to_owned() };
        assert_eq!(outcomes, [Err(timeout), Err(DialError::WebSocket(status))]);
    }

    #[test]
    fn proxy_tls_and_websocket_are_set_up_in_this_order() {
        let authority = Authority::new("our CA");
        let acceptor = pki::acceptor(&authority.issue("server", Names::Alternative(&["broker.example"]), 1), |_| {});
        let (listener, address) = listener(1);
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a connection");
            assert!(head(&mut socket).starts_with("CONNECT broker.example:443 HTTP/1.1\r\n"));
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("an open connection");
            let mut stream = acceptor.accept(socket).expect("a handshake");
            let request = head(&mut stream);
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
            let answer = format!(
                "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                websocket::accept_value(key)
            );
            // Send the first frame together with the answer.
            stream.write_all(&[answer.as_bytes(), b"\x82\x05hello"].concat()).expect("an open connection");
            let mut frame = [0; 11];
            stream.read_exact(&mut frame).expect("a frame");
            assert_eq!(frame[..2], [0x82, 0x85]);
            stream.write_all(b"\x82\x03bye").expect("an open connection");
        });
        let proxy = format!("http://{address}").parse().expect("a proxy URL");
        let mut dialer = dialer("wss://broker.example", |options| {
            options.proxy = ProxyChoice::Always(proxy);
            options.tls = TlsOptions { cafile: Some(authority.cafile()), ..TlsOptions::default() };
        });
        let (reached, stream) = dialer.next(Instant::now() + LIMIT).expect("an address").expect("a connection");
        assert_eq!(reached, address);
        let (mut reader, writer) = stream.split();
        let mut buffer = [0; 100];
        let n = reader.read(&mut buffer, LIMIT).expect("a connection").expect("data");
        assert_eq!(&buffer[..n], b"hello");
        writer.send(b"there").expect("a connection");
        let n = reader.read(&mut buffer, LIMIT).expect("a connection").expect("data");
        assert_eq!(&buffer[..n], b"bye");
        assert_eq!(reader.read(&mut buffer, LIMIT).expect("a connection"), Some(0));
        server.join().expect("no panic");
    }

    #[test]
    fn a_late_tls_alert_is_reported_as_a_tls_error() {
        let authority = Authority::new("our CA");
        let trusted = authority.cafile();
        let acceptor = pki::acceptor(&authority.issue("server", Names::Alternative(&["127.0.0.1"]), 1), |builder| {
            builder.set_ca_file(trusted).expect("a CA file");
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        });
        let (listener, address) = listener(1);
        let server = thread::spawn(move || {
            let (socket, _) = listener.accept().expect("a connection");
            acceptor.accept(socket).expect_err("the client has no certificate");
        });
        let mut dialer = dialer(&format!("wss://{address}"), |options| {
            options.tls = TlsOptions { cafile: Some(authority.cafile()), ..TlsOptions::default() };
        });
        let error = next(&mut dialer, LIMIT).expect("an address").expect_err("no certificate");
        assert_eq!(error, DialError::Tls(TlsError::ClientCertificateRequired));
        server.join().expect("no panic");
    }

    fn head(stream: &mut impl Read) -> String {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("a head") > 0 {
            head.extend(byte);
        }
        String::from_utf8(head).expect("ASCII")
    }

    #[test]
    fn an_error_names_the_failing_peer() {
        let refusing = refusing(1);
        let proxy = format!("http://{refusing}").parse().expect("a proxy URL");
        let mut dialer = dialer("mqtt://broker.example", |options| options.proxy = ProxyChoice::Always(proxy));
        let error = next(&mut dialer, LIMIT).expect("an address").expect_err("nobody listens");
        assert_eq!(error.peer(), Peer::Proxy);
        assert_eq!(DialError::Proxy(ProxyError::NotHttp).peer(), Peer::Proxy);
        assert_eq!(DialError::Tls(TlsError::Closed).peer(), Peer::Broker);
    }
}
