//! A TCP relay between clients and a broker, or an HTTP proxy. It cuts, stalls, delays, and writes in small pieces.
//!
//! The fault of a connection is chosen when its first byte arrives, so connections that are only opened and closed again do
//! not count.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{POLL_INTERVAL, TIMEOUT};

/// What happens to a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// How many bytes to the broker pass before it is cut.
    pub(crate) cut_after_up: Option<usize>,
    /// How many bytes from the broker pass before it is cut.
    pub(crate) cut_after_down: Option<usize>,
    /// From how many bytes from the broker on nothing passes, either way, and for how long.
    pub(crate) stall: Option<(usize, Duration)>,
    /// The longest piece that is written at once.
    pub(crate) piece: Option<usize>,
    /// The longest time that a piece waits.
    pub(crate) delay: Option<Duration>,
    /// How long every byte takes, without holding up those behind it.
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

/// What became of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    /// What came from the client, up to some kilobytes.
    pub(crate) up: Vec<u8>,
    /// How many bytes passed.
    pub(crate) passed_up: usize,
    pub(crate) passed_down: usize,
    /// When we cut it, or began to stall it.
    pub(crate) cut: Option<Timestamp>,
    pub(crate) stalled: Option<Timestamp>,
}

/// How much of what a client sends is kept.
const KEPT: usize = 4 * 1024;

/// How an HTTP proxy answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// As requested.
    Connect,
    /// With this status line instead.
    Refuse(&'static str),
}

type Policy = Box<dyn Fn(usize) -> Plan + Send + Sync>;

/// Where connections go.
enum Target {
    Broker(SocketAddr),
    /// Where each client's CONNECT request says [RFC 9110, 9.3.6].
    Requested(Answer),
}

/// A relay at work.
pub(crate) struct Relay {
    listener: Arc<TcpListener>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

struct Shared {
    target: Target,
    policy: Policy,
    stories: Mutex<Vec<Story>>,
    /// Both ends of every connection.
    streams: Mutex<Vec<TcpStream>>,
    is_dark: AtomicBool,
    seed: u64,
}

impl Relay {
    /// Before this port of this machine, without faults.
    pub(crate) fn to(port: u16) -> Self {
        Self::before((Ipv4Addr::LOCALHOST, port).into(), 0, |_| Plan::default())
    }

    /// An HTTP proxy without faults.
    pub(crate) fn proxy(answer: Answer) -> Self {
        Self::start(Target::Requested(answer), 0, Box::new(|_| Plan::default()))
    }

    /// Before `broker`; `policy` decides what happens to each connection, which are counted from 0.
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
            stories: Mutex::default(),
            streams: Mutex::default(),
            is_dark: AtomicBool::new(false),
            seed,
        };
        let shared = Arc::new(shared);
        let relay = Self { listener: listener.clone(), accepting: Mutex::default(), shared: shared.clone() };
        let accepting = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is_dark.load(Ordering::SeqCst) {
                    return;
                }
                let shared = shared.clone();
                thread::spawn(move || {
                    // Ignore errors: a failed connection is closed, as a bad network does.
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

    /// The URL of an HTTP proxy, for `--proxy`.
    pub(crate) fn http_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// What became of each connection so far.
    pub(crate) fn stories(&self) -> Vec<Story> {
        lock(&self.shared.stories).clone()
    }

    /// The first bytes that each client sent, as text: the head of its HTTP request if it sent one.
    pub(crate) fn heads(&self) -> Vec<String> {
        let texts = self.stories().into_iter().map(|story| String::from_utf8_lossy(&story.up).into_owned());
        texts.filter(|head| !head.is_empty()).collect()
    }

    /// Waits until so many clients have sent something.
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

    /// Drops all packets from now on: connections are cut, and new ones are not answered.
    pub(crate) fn go_dark(&self) {
        self.stop_accepting();
        let waiting = swallow_all(&self.listener);
        self.cut();
        lock(&self.shared.streams).extend(waiting);
    }

    fn stop_accepting(&self) {
        self.shared.is_dark.store(true, Ordering::SeqCst);
        if let Some(accepting) = lock(&self.accepting).take() {
            // Wakes the thread that accepts.
            let woken = TcpStream::connect(self.address());
            // If it panicked, its test has failed already.
            let _ = accepting.join();
            drop(woken);
        }
    }
}

/// Fills the queue of a listener that does not accept, so that the system ignores new connections. Holds the waiting ones.
pub(crate) fn swallow_all(listener: &TcpListener) -> Vec<TcpStream> {
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
            let mut stories = lock(&self.stories);
            stories.push(Story::default());
            stories.len() - 1
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

/// One connection's way.
struct RelayedConnection<'a> {
    shared: &'a Shared,
    nth: usize,
    plan: Plan,
    /// Until when nothing passes.
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
        // A final dot makes a name absolute; resolvers of this machine's own names do not know that.
        let server = TcpStream::connect(target.replace(".:", ":"))?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        Ok(server)
    }

    /// Passes bytes on in one direction until an end closes, or the plan says so.
    fn pass(&self, from: &TcpStream, to: &TcpStream, is_up: bool) {
        match self.plan.latency {
            None => self.pass_at_once(from, to, is_up),
            Some(latency) => self.pass_late(from, to, is_up, latency),
        }
    }

    /// Passes each piece on when it has been on its way for so long; what is on its way when an end closes is lost.
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
                // The other thread has ended if the other end is closed.
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
                // Count before sending, so that everything received is counted.
                self.note(is_up, piece);
                if to.write_all(piece).is_err() {
                    break 'connection;
                }
            }
        }
        if left == 0 {
            lock(&self.shared.stories)[self.nth].cut.get_or_insert_with(Timestamp::now);
        } else if has_ended {
            // The other direction goes on. Ignore errors: it may be closed already.
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        shut_down(from);
        shut_down(to);
    }

    fn wait_out_a_stall(&self, is_up: bool) {
        if let Some((after, duration)) = self.plan.stall {
            let mut stories = lock(&self.shared.stories);
            let story = &mut stories[self.nth];
            let mut until = lock(&self.until);
            if !is_up && story.passed_down >= after && until.is_none() {
                story.stalled = Some(Timestamp::now());
                *until = Instant::now().checked_add(duration);
            }
        }
        let until = *lock(&self.until);
        if let Some(until) = until {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }

    fn note(&self, is_up: bool, piece: &[u8]) {
        let mut stories = lock(&self.shared.stories);
        let story = &mut stories[self.nth];
        if is_up {
            story.passed_up += piece.len();
            let room = KEPT.saturating_sub(story.up.len());
            story.up.extend_from_slice(&piece[..piece.len().min(room)]);
        } else {
            story.passed_down += piece.len();
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
