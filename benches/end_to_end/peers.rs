//! The peers of `rtcomm` in the benchmark: a real broker, and a service that answers calls.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;

use crate::measure::Process;
use crate::wire::{self, Packets};

/// What mosquitto does with a packet that is not the first which is not acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Delay {
    /// Sends it.
    None,
    /// The default: holds it back, for 40 ms if the peer delays its acknowledgement too (Nagle's algorithm).
    Default,
}

/// mosquitto on a port of its own, and a service behind it that says yes to every call.
pub(crate) struct CallService {
    port: u16,
    _broker: Process,
}

impl CallService {
    pub(crate) fn start(scratch: &Path, delay: Delay) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = scratch.join("mosquitto.conf");
        let is_prompt = matches!(delay, Delay::None);
        std::fs::write(
            &config,
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay {is_prompt}\nlog_type none\n"),
        )?;
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let broker = Process::spawn(command)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(error).context("mosquitto does not listen"),
            }
        };
        let (ready, is_ready) = channel();
        // It ends with the broker.
        thread::spawn(move || answer(&stream, &ready));
        is_ready.recv_timeout(Duration::from_secs(10)).context("the call service does not start")?;
        Ok(Self { port, _broker: broker })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

/// Answers every request with SUCCESS, at QoS 0, many at a time where many have come.
fn answer(mut stream: &TcpStream, ready: &Sender<()>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(&wire::connect("call-service"))?;
    stream.write_all(&wire::subscribe("/rtcomm/callControl/#", 0))?;
    let mut packets = Packets::new(stream);
    let mut answers = Vec::new();
    while let Some(packet) = packets.next()? {
        match packet.kind {
            wire::SUBACK => ready.send(()).map_err(|_| io::ErrorKind::ConnectionAborted)?,
            wire::PUBLISH => push_answer(&mut answers, wire::payload(packet).ok_or(io::ErrorKind::InvalidData)?),
            _ => {}
        }
        if !packets.has_next() {
            stream.write_all(&answers)?;
            answers.clear();
        }
    }
    Ok(())
}

fn push_answer(answers: &mut Vec<u8>, request: &[u8]) {
    let Some((id, topic)) = text(request, "transID").zip(text(request, "fromTopic")) else { return };
    let answer = format!(
        r#"{{"method":"RESPONSE","orig":"3PCC_PLACE_CALL","rtcommVer":"v1.0.0","transID":"{id}","result":"SUCCESS"}}"#
    );
    wire::push_publish(answers, false, None, topic, answer.as_bytes());
}

/// The text of a key that needs no escapes, as the requests here are.
fn text<'a>(json: &'a [u8], key: &str) -> Option<&'a str> {
    let head = format!("\"{key}\":\"");
    let begin = memmem::find(json, head.as_bytes())? + head.len();
    let size = memchr::memchr(b'"', &json[begin..])?;
    std::str::from_utf8(&json[begin..begin + size]).ok()
}

/// Fails if a program is missing, with the command that installs it.
pub(crate) fn check() -> Result<()> {
    for program in ["mosquitto", "mosquitto_sub", "mosquitto_rr", "jq", "rg", "hyperfine"] {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let is_there = std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
        ensure!(is_there, "{program} is missing: make deps-bench installs it");
    }
    Ok(())
}
