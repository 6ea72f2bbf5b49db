//! Scripted peers: what listens at a broker's address and is none, or one that misbehaves in a certain way.

use std::io::Write as _;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::mqtt::{CONNACK, CONNECT, Message, PINGREQ, PINGRESP, PUBACK, PUBLISH, Packet, SUBACK, SUBSCRIBE};
use super::{LOOK_AGAIN, PATIENCE};

/// How a peer treats a CONNECT of MQTT 5.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ToVersion5 {
    /// With the CONNACK that MQTT 5 has for it: 0x84, unsupported protocol version.
    ReasonCode,
    /// With the CONNACK of MQTT 3.1.1: 1, unacceptable protocol version.
    ReturnCode,
    /// Closes without a word.
    Close,
}

/// How a peer treats whoever publishes.
type OnPublish = Arc<dyn Fn(&Message) -> Vec<Message> + Send + Sync>;

/// What a peer does.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) to_version_5: ToVersion5,
    /// What a SUBSCRIBE is granted: a QoS, or 0x80, nothing.
    pub(crate) granted: u8,
    /// What each new subscriber is sent.
    pub(crate) to_subscriber: Vec<Message>,
    /// What a publisher is sent; without it the connection is closed instead of an acknowledgement.
    pub(crate) on_publish: Option<OnPublish>,
}

/// What keeps clients from a broker that is late.
pub(crate) struct Gate {
    open: Sender<()>,
    closed: Receiver<()>,
}

impl Gate {
    /// Has the client that waits taken.
    pub(crate) fn open(&self) {
        self.open.send(()).expect("the peer stays");
    }

    /// Waits until the client is gone, and all that it had sent was seen.
    pub(crate) fn wait_for_end(&self) {
        self.closed.recv_timeout(PATIENCE).expect("the client goes");
    }
}

/// Something at a broker's address.
pub(crate) struct Peer {
    port: u16,
    seen: Arc<Mutex<Vec<Packet>>>,
}

impl Peer {
    /// A broker that speaks MQTT 3.1.1 alone.
    pub(crate) fn old_broker(script: Script) -> Self {
        Self::serve(move |stream, seen| {
            // Where the client is gone the connection is over.
            let _ = serve(&stream, &script, seen);
        })
    }

    /// A broker that takes nobody, and says why: in a CONNACK of MQTT 5, and in one of MQTT 3.1.1.
    pub(crate) fn refusing(reason_code: u8, return_code: u8) -> Self {
        Self::serve(move |stream, seen| {
            let Ok(connect) = Packet::read(&stream) else { return };
            let is_version_5 = connect.body[6] == 5;
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(connect);
            let body = if is_version_5 { vec![0, reason_code, 0] } else { vec![0, return_code] };
            // Where the client is gone nobody need be told.
            let _ = Packet::new(CONNACK, body).write(&stream);
            let _ = stream.shutdown(Shutdown::Both);
        })
    }

    /// A broker that sends this to each new subscriber.
    pub(crate) fn sending(sent: &Packet) -> Self {
        let sent = sent.clone();
        Self::greeting(move |stream| sent.write(stream))
    }

    /// A broker that sends these to each new subscriber, and leaves.
    pub(crate) fn leaving_after(messages: Vec<Message>) -> Self {
        Self::greeting(move |stream| send(stream, &messages).and_then(|()| stream.shutdown(Shutdown::Both)))
    }

    fn greeting(greet: impl Fn(&TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        Self::serve(move |stream, seen| {
            while let Ok(packet) = Packet::read(&stream) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(packet.clone());
                let answered = match packet.kind() {
                    CONNECT => Packet::new(CONNACK, [0, 0]).write(&stream),
                    SUBSCRIBE => {
                        let granted = Packet::new(SUBACK, [&packet.id()[..], &[0]].concat());
                        granted.write(&stream).and_then(|()| greet(&stream))
                    }
                    _ => Ok(()),
                };
                if answered.is_err() {
                    return;
                }
            }
        })
    }

    /// A broker that takes its first client only when it is told to, and is silent about what is published.
    pub(crate) fn late() -> (Self, Gate) {
        let ((open, opened), (close, closed)) = (channel(), channel());
        let opened = Mutex::new(opened);
        let peer = Self::serve(move |stream, seen| {
            let answer = |packet: &Packet| match packet.kind() {
                CONNECT => {
                    // Where the test is over the connection may go on.
                    let _ = opened.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    Packet::new(CONNACK, [0, 0]).write(&stream)
                }
                SUBSCRIBE => Packet::new(SUBACK, [&packet.id()[..], &[1]].concat()).write(&stream),
                _ => Ok(()),
            };
            let mut is_client = false;
            while let Ok(packet) = Packet::read(&stream) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(packet.clone());
                is_client = true;
                // What a client that is gone had sent is read all the same.
                let _ = answer(&packet);
            }
            if is_client {
                // Where the test is over nobody wants to know.
                let _ = close.send(());
            }
        });
        (peer, Gate { open, closed })
    }

    /// No broker: says this to everybody, and closes.
    pub(crate) fn saying(bytes: &'static [u8]) -> Self {
        Self::serve(move |mut stream, _| {
            // Where the client is gone nobody need be told.
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(Shutdown::Both);
        })
    }

    /// No broker: listens to everybody, and says nothing.
    pub(crate) fn silent() -> Self {
        Self::serve(|stream, seen| {
            while let Ok(packet) = Packet::read(&stream) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(packet);
            }
        })
    }

    /// Waits until so many packets came.
    pub(crate) fn wait_for_packets(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.seen().len() < count {
            assert!(Instant::now() < deadline, "of {count} packets came {:?}", self.seen());
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn serve(each: impl Fn(TcpStream, &Mutex<Vec<Packet>>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let seen: Arc<Mutex<Vec<Packet>>> = Arc::default();
        let (each, all) = (Arc::new(each), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (each, all) = (each.clone(), all.clone());
                thread::spawn(move || each(stream, &all));
            }
        });
        Self { port, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// The packets that came, over all connections.
    pub(crate) fn seen(&self) -> Vec<Packet> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The protocol levels of the CONNECT packets that came: 5 for MQTT 5, 4 for 3.1.1.
    pub(crate) fn levels(&self) -> Vec<u8> {
        self.seen().iter().filter(|packet| packet.kind() == CONNECT).map(|packet| packet.body[6]).collect()
    }

    /// The messages that were published.
    pub(crate) fn published(&self) -> Vec<Message> {
        self.seen().iter().filter(|packet| packet.kind() == PUBLISH).map(|packet| Message::of(packet).0).collect()
    }
}

fn serve(stream: &TcpStream, script: &Script, seen: &Mutex<Vec<Packet>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    loop {
        let packet = Packet::read(stream)?;
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(packet.clone());
        match packet.kind() {
            CONNECT if packet.body[6] == 5 => {
                match script.to_version_5 {
                    ToVersion5::ReasonCode => Packet::new(CONNACK, [0, 0x84, 0]).write(stream)?,
                    ToVersion5::ReturnCode => Packet::new(CONNACK, [0, 1]).write(stream)?,
                    ToVersion5::Close => {}
                }
                return stream.shutdown(Shutdown::Both);
            }
            CONNECT => Packet::new(CONNACK, [0, 0]).write(stream)?,
            SUBSCRIBE => {
                Packet::new(SUBACK, [&packet.id()[..], &[script.granted]].concat()).write(stream)?;
                send(stream, &script.to_subscriber)?;
            }
            PUBLISH => {
                let (message, id) = Message::of(&packet);
                let Some(answers) = &script.on_publish else { return stream.shutdown(Shutdown::Both) };
                if let Some(id) = id {
                    Packet::new(PUBACK, id).write(stream)?;
                }
                send(stream, &answers(&message))?;
            }
            PINGREQ => Packet::new(PINGRESP, []).write(stream)?,
            _ => {}
        }
    }
}

fn send(stream: &TcpStream, messages: &[Message]) -> std::io::Result<()> {
    messages.iter().try_for_each(|message| message.clone().with_qos(0).packet([0, 0]).write(stream))
}
