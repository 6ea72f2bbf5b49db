//! Relays between a client and a broker: one that can be cut, and an HTTP proxy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::{POLL_INTERVAL, TIMEOUT};

/// Forwards bytes between its clients and another server.
pub(crate) struct Relay {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What each client sent first: the head of its HTTP request, or the beginning of what it said.
    heads: Vec<String>,
    streams: Vec<TcpStream>,
}

/// How a proxy answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// As it was asked to.
    Connect,
    /// With this status line instead.
    Refuse(&'static str),
}

impl Relay {
    /// To a port of this machine.
    pub(crate) fn to(port: u16) -> Self {
        Self::serve(move |client, state| {
            let mut first = [0; 1024];
            let read = client.peek(&mut first).ok()?;
            lock(state).heads.push(String::from_utf8_lossy(&first[..read]).into_owned());
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        })
    }

    /// An HTTP proxy for CONNECT requests [RFC 9110, 9.3.6].
    pub(crate) fn proxy(answer: Answer) -> Self {
        Self::serve(move |mut client, state| {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                client.read_exact(&mut byte).ok()?;
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            lock(state).heads.push(head.clone());
            if let Answer::Refuse(status) = answer {
                client.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).ok()?;
                return None;
            }
            let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
            // A final dot makes a name absolute; resolvers of this machine's own names do not know that.
            let server = TcpStream::connect(target.replace(".:", ":")).ok()?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
            Some(server)
        })
    }

    fn serve(find: impl Fn(&TcpStream, &Mutex<State>) -> Option<TcpStream> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state: Arc<Mutex<State>> = Arc::default();
        let (find, shared) = (Arc::new(find), state.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (find, shared) = (find.clone(), shared.clone());
                thread::spawn(move || {
                    if let Some(server) = find(&client, &shared) {
                        pass(&client, &server, &shared);
                    }
                });
            }
        });
        Self { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The first bytes of each client. A client that only checks the port sends nothing.
    pub(crate) fn heads(&self) -> Vec<String> {
        lock(&self.state).heads.iter().filter(|head| !head.is_empty()).cloned().collect()
    }

    /// Waits until so many clients have sent something.
    pub(crate) fn wait_for_heads(&self, count: usize) {
        let deadline = Instant::now() + TIMEOUT;
        while self.heads().len() < count {
            assert!(Instant::now() < deadline, "waited in vain for {count} clients: {:?}", self.heads());
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Breaks every connection there is.
    pub(crate) fn cut(&self) {
        for stream in lock(&self.state).streams.drain(..) {
            // One that is closed already needs no closing.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes bytes on until either end has closed.
fn pass(client: &TcpStream, server: &TcpStream, state: &Mutex<State>) {
    let copies = [client, server].map(|stream| stream.try_clone().expect("a socket can be shared"));
    lock(state).streams.extend(copies);
    thread::scope(|scope| {
        scope.spawn(|| copy(client, server));
        copy(server, client);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    // However it ends, it is over.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
