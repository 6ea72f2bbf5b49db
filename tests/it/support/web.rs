//! A WebSocket gateway to an MQTT broker. It collects bytes until a pause, and sends them in one frame.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// How long the broker must be quiet before a frame is sent.
const QUIET: Duration = Duration::from_millis(100);

/// The text that the server appends to the key [RFC 6455, 1.3].
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub(crate) struct Gateway {
    port: u16,
    frames: Arc<AtomicUsize>,
}

impl Gateway {
    /// Starts a gateway to the broker at this port.
    pub(crate) fn before(broker: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let frames: Arc<AtomicUsize> = Arc::default();
        let sent = frames.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let sent = sent.clone();
                // Ignore errors: the connection has ended.
                thread::spawn(move || drop(serve(&client, broker, &sent)));
            }
        });
        Self { port, frames }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Returns the number of sent frames.
    pub(crate) fn frames(&self) -> usize {
        self.frames.load(Ordering::SeqCst)
    }
}

fn serve(mut client: &TcpStream, broker: u16, sent: &AtomicUsize) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client);
    let key = key(&mut reader)?;
    let accept = BASE64.encode(openssl::sha::sha1(format!("{key}{GUID}").as_bytes()));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    client.write_all(answer.as_bytes())?;
    let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, broker))?;
    broker.set_read_timeout(Some(QUIET))?;
    thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok(Some(content)) = read_frame(&mut reader) {
                if (&broker).write_all(&content).is_err() {
                    break;
                }
            }
            let _ = broker.shutdown(Shutdown::Both);
        });
        pack(&broker, client, sent)
    })
}

/// Reads the request's head. Returns the client's key.
fn key(reader: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let mut key = String::new();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.strip_prefix("Sec-WebSocket-Key: ") {
            value.trim().clone_into(&mut key);
        }
        line.clear();
    }
    Ok(key)
}

/// Returns the content of the client's next data frame; `None` for a close frame.
fn read_frame(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Vec<u8>>> {
    loop {
        let mut head = [0; 2];
        reader.read_exact(&mut head)?;
        let length = match head[1] & 0x7f {
            126 => u16::from_be_bytes(take(reader)?).into(),
            127 => usize::try_from(u64::from_be_bytes(take(reader)?)).map_err(io::Error::other)?,
            length => length.into(),
        };
        let mask: [u8; 4] = take(reader)?;
        let mut content = vec![0; length];
        reader.read_exact(&mut content)?;
        content.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        match head[0] & 0x0f {
            8 => return Ok(None),
            0..8 => return Ok(Some(content)),
            _ => {}
        }
    }
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Collects bytes from the broker, and sends them in a frame after each pause.
fn pack(mut broker: &TcpStream, mut client: &TcpStream, sent: &AtomicUsize) -> io::Result<()> {
    let mut gathered = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match broker.read(&mut buffer) {
            Ok(0) => break client.shutdown(Shutdown::Both),
            Ok(n) => gathered.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if gathered.is_empty() => {}
            Err(_) => {
                sent.fetch_add(1, Ordering::SeqCst);
                let length = u16::try_from(gathered.len()).expect("the tests send short bursts");
                client.write_all(&[&[0x82, 126], &length.to_be_bytes()[..], &gathered].concat())?;
                gathered.clear();
            }
        }
    }
}
