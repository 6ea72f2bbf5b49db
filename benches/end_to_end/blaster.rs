//! A peer that sends events to a subscriber as fast as the socket accepts them. A real broker is slower than the measured
//! programs.

use std::io::{self, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::encoded::EncodedEvents;
use crate::mqtt::{CONNECT, Connect, DISCONNECT, PINGREQ, PINGRESP, Packet, Properties, SUBSCRIBE, Subscribe, Version};

/// How long a subscriber may take to subscribe.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(30);

/// A listening blaster. It serves any number of connections.
pub(crate) struct Blaster {
    port: u16,
    command: Arc<Mutex<Option<BlasterCommand>>>,
}

/// What to send to the next subscriber.
struct BlasterCommand {
    count: u32,
    began: Sender<Instant>,
}

/// Reports when the first event of a command is sent.
pub(crate) struct Beginning(Receiver<Instant>);

impl Beginning {
    pub(crate) fn wait(&self) -> Result<Instant> {
        self.0.recv_timeout(SUBSCRIBE_TIMEOUT).context("the program did not subscribe")
    }
}

impl Blaster {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
        let port = listener.local_addr()?.port();
        let command = Arc::new(Mutex::new(None));
        let commands = command.clone();
        let events = Arc::new([Version::V3_1_1, Version::V5].map(|version| EncodedEvents::new(version, 0)));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (commands, events) = (commands.clone(), events.clone());
                // Ignore errors: a subscriber that has enough events closes the connection, even within a packet.
                thread::spawn(move || serve(&stream, &commands, &events));
            }
        });
        Ok(Self { port, command })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Has the next subscriber receive `count` events.
    pub(crate) fn order(&self, count: u32) -> Beginning {
        let (began, beginning) = channel();
        *lock(&self.command) = Some(BlasterCommand { count, began });
        Beginning(beginning)
    }
}

/// Serves a connection until it is closed. Its first SUBSCRIBE takes the command.
fn serve(stream: &TcpStream, commands: &Mutex<Option<BlasterCommand>>, events: &[EncodedEvents; 2]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let writer = Mutex::new(stream);
    let mut reader = BufReader::new(stream);
    let mut version = Version::V3_1_1;
    thread::scope(|scope| {
        while let Ok(packet) = Packet::read(&mut reader) {
            match packet.kind() {
                CONNECT => {
                    version = Connect::parse(&packet).version;
                    Packet::connack(version, false, 0, &Properties::none()).write(*lock(&writer))?;
                }
                SUBSCRIBE => {
                    let subscribe = Subscribe::parse(version, &packet);
                    let granted = vec![0; subscribe.filters.len()];
                    Packet::suback(version, subscribe.id, &granted, &Properties::none()).write(*lock(&writer))?;
                    if let Some(command) = lock(commands).take() {
                        let (events, writer) = (&events[usize::from(version == Version::V5)], &writer);
                        scope.spawn(move || send_all(&command, events, writer));
                    }
                }
                PINGREQ => Packet::new(PINGRESP, []).write(*lock(&writer))?,
                DISCONNECT => break,
                _ => {}
            }
        }
        // End the other thread, even while it writes.
        stream.shutdown(Shutdown::Both)
    })
}

fn send_all(command: &BlasterCommand, events: &EncodedEvents, writer: &Mutex<&TcpStream>) -> io::Result<()> {
    // Ignore errors: the start rows do not wait.
    let _ = command.began.send(Instant::now());
    events.chunks(command.count).try_for_each(|chunk| lock(writer).write_all(chunk))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
