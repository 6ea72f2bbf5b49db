//! The HTTP proxy on the way to a broker: says why it does not let us through, which the MQTT library does not.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::broker::{Broker, Secret};
use crate::exit::Failure;

/// The longest head of an answer that is read.
const LONGEST_HEAD: usize = 16 * 1024;

/// What to check where the proxy is the reason.
pub(super) const CHECK: &str = "check --proxy, or https_proxy in the environment";

/// Asks the proxy at the other end of `stream` for a way to the broker, as the MQTT library did. Then the stream leads
/// there.
///
/// # Errors
/// Says why the proxy gives none.
pub(super) fn tunnel(
    mut stream: TcpStream,
    proxy: &Secret,
    broker: &Broker,
    timeout: Duration,
) -> Result<TcpStream, Failure> {
    let cannot = |why: &str| Failure::unreachable(format!("cannot connect to {broker}: the proxy {why}")).hint(CHECK);
    let answer =
        ask(&mut stream, proxy, broker, timeout).map_err(|error| cannot(&format!("does not answer: {error}")))?;
    match answer.split_ascii_whitespace().nth(1) {
        Some("200") => Ok(stream),
        Some("407") => Err(cannot("wants a user name and a password, or others")
            .hint("give them in the environment: https_proxy=http://USER:PASSWORD@HOST:PORT")),
        Some(_) if answer.starts_with("HTTP/") => Err(cannot(&format!("refuses: {answer}")).hint(
            "check --proxy, or https_proxy in the environment, and whether the proxy may connect to this host and port",
        )),
        _ => Err(cannot("is no HTTP proxy")),
    }
}

/// The proxy's status line [RFC 9110, 9.3.6].
fn ask(stream: &mut TcpStream, proxy: &Secret, broker: &Broker, timeout: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let target = broker.authority();
    let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(credentials) = credentials(proxy.expose()) {
        request.push_str("Proxy-Authorization: Basic ");
        BASE64.encode_string(credentials, &mut request);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD && stream.read(&mut byte)? > 0 {
        head.extend(byte);
    }
    let line = head.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// `USER:PASSWORD` of the proxy's URL.
fn credentials(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    authority.rsplit_once('@').map(|(credentials, _host)| credentials)
}
