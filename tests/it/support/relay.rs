//! A TCP relay between clients and a broker, or an HTTP proxy. It can cut, stall and delay connections, and split writes.
//!
//! The faults of a connection are chosen when its first byte arrives, so connections without data do not count.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{POLL_INTERVAL, TIMEOUT};

/// The faults of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Cut the connection after this many bytes to the broker.
    pub(crate) cut_after_up: Option<usize>,
    /// Cut the connection after this many bytes from the broker.
    pub(crate) cut_after_down: Option<usize>,
    /// After this many bytes from the broker, stall both directions for this long.
    pub(crate) stall: Option<(usize, Duration)>,
    /// Write pieces of at most this many bytes.
    pub(crate) piece: Option<usize>,
    /// Delay each piece by at most this long.
    pub(crate) delay: Option<Duration>,
    /// Delay every byte by this long, without reducing the throughput.
    pub(crate) latency: Option<Duration>,
}

impl Plan {
    pub(crate) fn cut_after_up(bytes: usize) -> Self {
        Self { cut_after_up: Some(bytes), ..Self::default() }
    }

    pub(crate) fn cut_after_down(bytes: usize) -> Self {
        Self { cut_after_down: Some(bytes), ..Self::default() }
    }
}

/// The traffic of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    /// The first bytes from the client, up to [`KEPT`].
    pub(crate) up: Vec<u8>,
    /// The number of forwarded bytes.
    pub(crate) passed_up: usize,
    pub(crate) passed_down: usize,
    /// When the connection was cut, and when it was stalled.
    pub(crate) cut: Option<Timestamp>,
    pub(crate) stalled: Option<Timestamp>,
}

/// How many of a client's bytes are kept.
const KEPT: usize = 4 * 1024;

/// How an HTTP proxy answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// Open the tunnel.
    Connect,
    /// Refuse with this status line.
    Refuse(&'static str),
}

type Policy = Box<dyn Fn(usize) -> Plan + Send + Sync>;

/// The target of the relayed connections.
enum Target {
    Broker(SocketAddr),
    /// The target of each client's CONNECT request [RFC 9110, 9.3.6].
    Requested(Answer),
}

/// A running relay.
pub(crate) struct Relay {
    listener: Arc<TcpListener>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

struct Shared {
    target: Target,
    policy: Policy,
    traffic: Mutex<Vec<Traffic>>,
    /// Both ends of every connection.
    streams: Mutex<Vec<TcpStream>>,
    has_failed: AtomicBool,
    seed: u64,
}

impl Relay {
    /// Starts a relay without faults to this port of this machine.
    pub(crate) fn to(port: u16) -> Self {
        Self::before((Ipv4Addr::LOCALHOST, port).into(), 0, |_| Plan::default())
    }

    /// Starts an HTTP proxy without faults.
    pub(crate) fn proxy(answer: Answer) -> Self {
        Self::start(Target::Requested(answer), 0, Box::new(|_| Plan::default()))
    }

    /// Starts a relay to `broker`. `policy` chooses the faults of each connection by its number (zero-based).
    pub(crate) fn before(
        broker: SocketAddr,
        seed: u64,
        policy: impl Fn(usize) -> Plan + Send + Sync + 'static,
    ) -> Self {
        Self::start(Target::Broker(broker), seed, Box::new(policy))
    }

    fn start(target: Target, seed: u64, policy: Policy) -> Self {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port"));
        let shared = Shared {
            target,
            policy,
            traffic: Mutex::default(),
            streams: Mutex::default(),
            has_failed: AtomicBool::new(false),
            seed,
        };
        let shared = Arc::new(shared);
        let relay = Self { listener: listener.clone(), accepting: Mutex::default(), shared: shared.clone() };
        let accepting = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.has_failed.load(Ordering::SeqCst) {
                    return;
                }
                let shared = shared.clone();
                thread::spawn(move || {
                    // Ignore errors: a failed connection is closed.
                    let _ = shared.serve(&client);
                    shut_down(&client);
                });
            }
        });
        lock(&relay.accepting).replace(accepting);
        relay
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    pub(crate) fn port(&self) -> u16 {
        self.address().port()
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    /// Returns the URL of an HTTP proxy, for `--proxy`.
    pub(crate) fn http_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the traffic of each connection so far.
    pub(crate) fn traffic(&self) -> Vec<Traffic> {
        lock(&self.shared.traffic).clone()
    }

    /// Returns the first bytes of each client as text: the head of its HTTP request if it sent one.
    pub(crate) fn heads(&self) -> Vec<String> {
        let texts = self.traffic().into_iter().map(|entry| String::from_utf8_lossy(&entry.up).into_owned());
        texts.filter(|head| !head.is_empty()).collect()
    }

    /// Waits until this many clients have sent something.
    pub(crate) fn wait_for_heads(&self, count: usize) {
        let deadline = Instant::now() + TIMEOUT;
        while self.heads().len() < count {
            assert!(Instant::now() < deadline, "waited in vain for {count} clients: {:?}", self.heads());
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        lock(&self.shared.streams).drain(..).for_each(|stream| shut_down(&stream));
    }

    /// Simulates a network failure: cuts all connections, and does not answer new ones.
    pub(crate) fn fail_network(&self) {
        self.stop_accepting();
        let waiting = fill_backlog(&self.listener);
        self.cut();
        lock(&self.shared.streams).extend(waiting);
    }

    fn stop_accepting(&self) {
        self.shared.has_failed.store(true, Ordering::SeqCst);
        if let Some(accepting) = lock(&self.accepting).take() {
            // Wake the accepting thread.
            let woken = TcpStream::connect(self.address());
            // Ignore a panic of the thread: its test has failed already.
            let _ = accepting.join();
            drop(woken);
        }
    }
}

/// Fills a listener's backlog, so that the system ignores new connections. Returns the connections that fill it.
pub(crate) fn fill_backlog(listener: &TcpListener) -> Vec<TcpStream> {
    rustix::net::listen(listener, 0).expect("it listens");
    let address = listener.local_addr().expect("it is bound");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
    }
    waiting
}

impl Shared {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        lock(&self.streams).push(client.try_clone()?);
        if client.peek(&mut [0])? == 0 {
            return Ok(());
        }
        let nth = {
            let mut traffic = lock(&self.traffic);
            traffic.push(Traffic::default());
            traffic.len() - 1
        };
        let plan = (self.policy)(nth);
        let connection = RelayedConnection { shared: self, nth, plan, until: Mutex::new(None) };
        let broker = match self.target {
            Target::Broker(address) => TcpStream::connect(address)?,
            Target::Requested(answer) => connection.connect_as_requested(client, answer)?,
        };
        broker.set_nodelay(true)?;
        lock(&self.streams).push(broker.try_clone()?);
        thread::scope(|scope| {
            scope.spawn(|| connection.pass(client, &broker, true));
            connection.pass(&broker, client, false);
        });
        Ok(())
    }
}

/// A relayed connection.
struct RelayedConnection<'a> {
    shared: &'a Shared,
    nth: usize,
    plan: Plan,
    /// The end of the present stall.
    until: Mutex<Option<Instant>>,
}

impl RelayedConnection<'_> {
    /// Reads a CONNECT request, connects to its target, and answers.
    fn connect_as_requested(&self, mut client: &TcpStream, answer: Answer) -> io::Result<TcpStream> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        self.note(true, &head);
        if let Answer::Refuse(status) = answer {
            write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let head = String::from_utf8_lossy(&head);
        let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        // Remove the final dot of an absolute name, which the hosts file does not have.
        let server = TcpStream::connect(target.replace(".:", ":"))?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        Ok(server)
    }

    /// Forwards bytes in one direction until an end closes or the plan cuts the connection.
    fn pass(&self, from: &TcpStream, to: &TcpStream, is_up: bool) {
        match self.plan.latency {
            None => self.pass_at_once(from, to, is_up),
            Some(latency) => self.pass_late(from, to, is_up, latency),
        }
    }

    /// Forwards each piece after the latency. Pieces that wait when an end closes are lost.
    fn pass_late(&self, mut from: &TcpStream, mut to: &TcpStream, is_up: bool, latency: Duration) {
        let (sender, receiver) = channel::<(Instant, Vec<u8>)>();
        thread::scope(|scope| {
            scope.spawn(move || {
                for (due, piece) in receiver {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    self.note(is_up, &piece);
                    if to.write_all(&piece).is_err() {
                        break;
                    }
                }
            });
            let mut buffer = [0; 16 * 1024];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                // Ignore errors: the other thread has ended because its socket is closed.
                let _ = sender.send((Instant::now() + latency, buffer[..read].to_vec()));
            }
            drop(sender);
        });
        shut_down(from);
        shut_down(to);
    }

    fn pass_at_once(&self, mut from: &TcpStream, mut to: &TcpStream, is_up: bool) {
        let seed = self.shared.seed.wrapping_add(2 * self.nth as u64 + u64::from(is_up));
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = if is_up { self.plan.cut_after_up } else { self.plan.cut_after_down };
        let mut left = limit.unwrap_or(usize::MAX);
        let mut buffer = [0; 16 * 1024];
        let mut has_ended = false;
        'connection: while left > 0 {
            let Ok(read) = from.read(&mut buffer) else { break };
            has_ended = read == 0;
            if has_ended {
                break;
            }
            let mut bytes = &buffer[..read.min(left)];
            left -= bytes.len();
            while !bytes.is_empty() {
                let size = self.plan.piece.map_or(bytes.len(), |piece| random.usize(1..=piece.min(bytes.len())));
                let (piece, rest) = bytes.split_at(size);
                bytes = rest;
                if let Some(delay) = self.plan.delay {
                    thread::sleep(delay.mul_f64(random.f64()));
                }
                self.wait_out_a_stall(is_up);
                // Count before sending, so that all received bytes are counted.
                self.note(is_up, piece);
                if to.write_all(piece).is_err() {
                    break 'connection;
                }
            }
        }
        if left == 0 {
            lock(&self.shared.traffic)[self.nth].cut.get_or_insert_with(Timestamp::now);
        } else if has_ended {
            // The other direction continues. Ignore errors: it may be closed already.
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        shut_down(from);
        shut_down(to);
    }

    fn wait_out_a_stall(&self, is_up: bool) {
        if let Some((after, duration)) = self.plan.stall {
            let mut traffic = lock(&self.shared.traffic);
            let entry = &mut traffic[self.nth];
            let mut until = lock(&self.until);
            if !is_up && entry.passed_down >= after && until.is_none() {
                entry.stalled = Some(Timestamp::now());
                *until = Instant::now().checked_add(duration);
            }
        }
        let until = *lock(&self.until);
        if let Some(until) = until {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }

    fn note(&self, is_up: bool, piece: &[u8]) {
        let mut traffic = lock(&self.shared.traffic);
        let entry = &mut traffic[self.nth];
        if is_up {
            entry.passed_up += piece.len();
            let room = KEPT.saturating_sub(entry.up.len());
            entry.up.extend_from_slice(&piece[..piece.len().min(room)]);
        } else {
            entry.passed_down += piece.len();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop_accepting();
        self.cut();
    }
}

/// Closes both directions.
fn shut_down(stream: &TcpStream) {
    // Ignore errors: it may be closed already.
    let _ = stream.shutdown(Shutdown::Both);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
