//! A plain MQTT 3.1.1 client. It shares no code with the program under test.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use super::TIMEOUT;
use super::mqtt::{CONNACK, CONNECT, Message, PUBACK, PUBLISH, Packet, SUBACK, SUBSCRIBE, string};

/// Another client of the broker.
pub(crate) struct Client {
    stream: TcpStream,
    last_id: u16,
    received: VecDeque<Message>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        Self::connect_at((Ipv4Addr::LOCALHOST, port).into())
    }

    pub(crate) fn connect_at(broker: SocketAddr) -> Self {
        Self::connect_as(broker, "MQTT", 4, None)
    }

    pub(crate) fn connect_with_password(port: u16, user: &str, password: &str) -> Self {
        Self::connect_as((Ipv4Addr::LOCALHOST, port).into(), "MQTT", 4, Some((user, password)))
    }

    /// Connects with MQTT 3.1, as browsers do: only the protocol name and level differ.
    pub(crate) fn connect_3_1(port: u16) -> Self {
        Self::connect_as((Ipv4Addr::LOCALHOST, port).into(), "MQIsdp", 3, None)
    }

    fn connect_as(broker: SocketAddr, protocol: &str, level: u8, credentials: Option<(&str, &str)>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("peer{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let stream = TcpStream::connect(broker).expect("the broker accepts connections");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a TCP socket");
        // A clean session, and a keep-alive interval of an hour.
        let flags = if credentials.is_some() { 0xc2 } else { 2 };
        let mut body = [string(protocol), vec![level, flags], 3600_u16.to_be_bytes().to_vec(), string(&id)].concat();
        if let Some((user, password)) = credentials {
            body.extend([string(user), string(password)].concat());
        }
        let mut client = Self { stream, last_id: 0, received: VecDeque::new() };
        client.send(&Packet::new(CONNECT, body));
        let answer = client.wait_for(CONNACK);
        assert_eq!(answer.body, [0, 0], "the broker accepts the client");
        client
    }

    /// Publishes with QoS 1, and waits for the PUBACK.
    pub(crate) fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>) {
        self.send_message(&Message::new(topic, payload));
    }

    pub(crate) fn send_message(&mut self, message: &Message) {
        if message.qos == 0 {
            return self.send(&message.packet([0; 2]));
        }
        let id = self.next_id();
        self.send(&message.packet(id));
        let answer = self.wait_for(PUBACK);
        assert_eq!(answer.id(), id, "the broker acknowledges in order");
    }

    pub(crate) fn subscribe(&mut self, filter: &str) {
        let body = [self.next_id().to_vec(), string(filter), vec![1]].concat();
        self.send(&Packet::new(SUBSCRIBE | 2, body));
        let answer = self.wait_for(SUBACK);
        assert!(answer.body[2] <= 2, "the broker grants '{filter}'");
    }

    /// Receives the next message.
    pub(crate) fn next(&mut self) -> Message {
        while self.received.is_empty() {
            let packet = self.read();
            self.take(&packet);
        }
        self.received.pop_front().expect("it is not empty")
    }

    /// Receives the next message, without a timeout; `None` once the broker has closed the connection.
    pub(crate) fn next_until_closed(&mut self) -> Option<Message> {
        while self.received.is_empty() {
            match self.stream.peek(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            let packet = Packet::read(&self.stream).ok()?;
            self.take(&packet);
        }
        self.received.pop_front()
    }

    fn next_id(&mut self) -> [u8; 2] {
        self.last_id += 1;
        self.last_id.to_be_bytes()
    }

    fn send(&self, packet: &Packet) {
        packet.write(&self.stream).expect("the broker reads");
    }

    fn read(&self) -> Packet {
        Packet::read(&self.stream).expect("the broker answers in time")
    }

    fn wait_for(&mut self, kind: u8) -> Packet {
        loop {
            let packet = self.read();
            if packet.kind() == kind {
                return packet;
            }
            self.take(&packet);
        }
    }

    fn take(&mut self, packet: &Packet) {
        if packet.kind() == PUBLISH {
            let (message, id) = Message::of(packet);
            self.received.push_back(message);
            if let Some(id) = id {
                self.send(&Packet::new(PUBACK, id));
            }
        }
    }
}
