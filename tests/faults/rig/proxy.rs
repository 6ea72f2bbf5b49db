//! A bad network: a TCP proxy that cuts, stalls, delays, and writes in small pieces.
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

type Policy = Box<dyn Fn(usize) -> Plan + Send + Sync>;

/// A proxy at work.
pub(crate) struct Proxy {
    listener: Arc<TcpListener>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

struct Shared {
    broker: SocketAddr,
    policy: Policy,
    stories: Mutex<Vec<Story>>,
    /// Both ends of every connection.
    streams: Mutex<Vec<TcpStream>>,
    is_dark: AtomicBool,
    seed: u64,
}

impl Proxy {
    /// Before `broker`; `policy` says what happens to each connection, which are counted from 0.
    pub(crate) fn before(
        broker: SocketAddr,
        seed: u64,
        policy: impl Fn(usize) -> Plan + Send + Sync + 'static,
    ) -> Self {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port"));
        let shared = Shared {
            broker,
            policy: Box::new(policy),
            stories: Mutex::default(),
            streams: Mutex::default(),
            is_dark: AtomicBool::new(false),
            seed,
        };
        let shared = Arc::new(shared);
        let proxy = Self { listener: listener.clone(), accepting: Mutex::default(), shared: shared.clone() };
        let accepting = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is_dark.load(Ordering::SeqCst) {
                    return;
                }
                let shared = shared.clone();
                // Close a failed connection, as a bad network does.
                thread::spawn(move || drop(shared.serve(&client)));
            }
        });
        lock(&proxy.accepting).replace(accepting);
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    /// What became of each connection so far.
    pub(crate) fn stories(&self) -> Vec<Story> {
        lock(&self.shared.stories).clone()
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        for stream in lock(&self.shared.streams).drain(..) {
            // Ignore errors: it may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
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
        let broker = TcpStream::connect(self.broker)?;
        broker.set_nodelay(true)?;
        lock(&self.streams).push(broker.try_clone()?);
        let connection = ProxiedConnection { shared: self, nth, plan, until: Mutex::new(None) };
        thread::scope(|scope| {
            scope.spawn(|| connection.pass(client, &broker, true));
            connection.pass(&broker, client, false);
        });
        Ok(())
    }
}

/// One connection's way.
struct ProxiedConnection<'a> {
    shared: &'a Shared,
    nth: usize,
    plan: Plan,
    /// Until when nothing passes.
    until: Mutex<Option<Instant>>,
}

impl ProxiedConnection<'_> {
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
        for end in [from, to] {
            // One that is closed already needs no closing.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn pass_at_once(&self, mut from: &TcpStream, mut to: &TcpStream, is_up: bool) {
        let seed = self.shared.seed.wrapping_add(2 * self.nth as u64 + u64::from(is_up));
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = if is_up { self.plan.cut_after_up } else { self.plan.cut_after_down };
        let mut left = limit.unwrap_or(usize::MAX);
        let mut buffer = [0; 16 * 1024];
        'connection: while left > 0 {
            let Ok(read @ 1..) = from.read(&mut buffer) else { break };
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
        }
        for end in [from, to] {
            // Ignore errors: it may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
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

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop_accepting();
        self.cut();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
