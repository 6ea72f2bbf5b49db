//! The HTTP proxy on the way to a broker: says why it does not let us through, which the MQTT library does not.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::broker::{Broker, Secret};
use super::timed::Timed;
use crate::exit::Failure;

/// The longest head of an answer that is read.
const LONGEST_HEAD: usize = 16 * 1024;

/// What to check where the proxy is the reason.
pub(super) const CHECK: &str = "check --proxy, or https_proxy in the environment";

/// Asks the proxy at the other end of `stream` for a way to the broker, as the MQTT library does. Then the stream leads
/// there.
///
/// # Errors
/// Says why the proxy gives none, until `deadline`.
pub(super) fn tunnel(
    stream: TcpStream,
    proxy: &Secret,
    broker: &Broker,
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let cannot = |why: &str| Failure::unreachable(format!("cannot connect to {broker}: the proxy {why}")).hint(CHECK);
    let no_answer = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock => cannot("does not answer in time"),
        _ => cannot(&format!("does not answer: {error}")),
    };
    let mut stream = Timed::until(deadline, stream);
    let answer = ask(&mut stream, proxy, broker).map_err(no_answer)?;
    match answer.split_ascii_whitespace().nth(1) {
        // Any 2xx says that the way is open [RFC 9110, 9.3.6].
        Some(status) if status.len() == 3 && status.starts_with('2') => stream.into_inner().map_err(no_answer),
        Some("407") => Err(cannot("wants a user name and a password, or others")
            .hint("give them in the environment: https_proxy=http://USER:PASSWORD@HOST:PORT")),
        Some(_) if answer.starts_with("HTTP/") => Err(cannot(&format!("refuses: {answer}")).hint(
            "check --proxy, or https_proxy in the environment, and whether the proxy may connect to this host and port",
        )),
        _ => Err(cannot("is no HTTP proxy")),
    }
}

/// The proxy's status line.
fn ask(stream: &mut Timed, proxy: &Secret, broker: &Broker) -> io::Result<String> {
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

/// `USER:PASSWORD` of the proxy's URL, where bytes may be written as `%XX` [RFC 3986, 2.1].
fn credentials(url: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (credentials, _host) = authority.rsplit_once('@')?;
    let mut decoded = Zeroizing::new(Vec::with_capacity(credentials.len()));
    let mut rest = credentials.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte;
        (byte, rest) = escaped(rest).map_or((first, after), |byte| (byte, &rest[3..]));
        decoded.push(byte);
    }
    Some(decoded)
}

/// The byte that a text begins with as `%XX`.
fn escaped(text: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(16 * digit(high)? + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_of_the_url() {
        let of = |url| credentials(url).map(|it| String::from_utf8_lossy(&it).into_owned());
        for (url, expected) in [
            ("http://proxy:3128", None),
            ("http://ops:hunter2@proxy", Some("ops:hunter2")),
            ("http://us%40er:p%3Aw%2f@proxy:3128/", Some("us@er:p:w/")),
            ("http://a%:b%4@proxy", Some("a%:b%4")),
            ("http://a%+4@proxy", Some("a%+4")),
        ] {
            assert_eq!(of(url).as_deref(), expected, "{url}");
        }
    }
}
