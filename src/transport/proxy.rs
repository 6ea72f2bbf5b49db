//! Opens a tunnel through an HTTP proxy [RFC 9110, 9.3.6].

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::deadline::DeadlineStream;
use super::error::{DialError, DialStep, Peer, ProxyError};
use super::http::{Head, HeadError};
use super::url::{BrokerUrl, ProxyUrl};

/// Requests a tunnel to the broker from the proxy at the other end of `stream`. Afterwards the stream leads to the broker.
///
/// # Errors
/// If the proxy does not open the tunnel before the stream's deadline.
pub(super) fn open_tunnel(stream: &mut DeadlineStream, proxy: &ProxyUrl, broker: &BrokerUrl) -> Result<(), DialError> {
    let target = broker.tunnel_target();
    let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(credentials) = proxy.credentials() {
        request.push_str("Proxy-Authorization: Basic ");
        BASE64.encode_string(credentials, &mut request);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).map_err(io_error)?;
    let head = Head::read(stream).map_err(|error| match error {
        HeadError::NotHttp => DialError::Proxy(ProxyError::NotHttp),
        HeadError::Closed => DialError::Proxy(ProxyError::Closed),
        HeadError::Io(error) => io_error(error),
    })?;
    match head.status {
        // Nothing can follow the head yet, because in MQTT and TLS the client speaks first.
        200..300 if head.rest.is_empty() => Ok(()),
        200..300 => Err(DialError::Proxy(ProxyError::NotHttp)),
        407 if proxy.credentials().is_some() => Err(DialError::Proxy(ProxyError::AuthenticationFailed)),
        407 => Err(DialError::Proxy(ProxyError::AuthenticationRequired)),
        _ => Err(DialError::Proxy(ProxyError::Refused { status_line: head.status_line })),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn io_error(error: io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::WouldBlock => DialError::Timeout { peer: Peer::Proxy, step: DialStep::Handshake },
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => DialError::Proxy(ProxyError::Closed),
        _ => DialError::Proxy(ProxyError::Io(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    /// Opens a tunnel through a proxy that answers with `answer`. Returns the outcome and the received request.
    fn open(url: &str, answer: &'static [u8], limit: Duration) -> (Result<(), DialError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && peer.read(&mut byte).is_ok_and(|n| n > 0) {
                request.extend(byte);
            }
            peer.write_all(answer).expect("the client reads");
            if !answer.is_empty() {
                peer.shutdown(std::net::Shutdown::Write).expect("an open socket");
            }
            let _ = peer.read(&mut byte);
            String::from_utf8(request).expect("ASCII")
        });
        let mut stream = DeadlineStream::new(socket, Instant::now() + limit);
        let broker = "wss://Broker.Example".parse().expect("a broker URL");
        let outcome = open_tunnel(&mut stream, &url.parse().expect("a proxy URL"), &broker);
        drop(stream);
        (outcome, server.join().expect("no panic"))
    }

    #[test]
    fn the_request_contains_the_credentials_of_the_url() {
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        let (outcome, request) = open("http://ops:hunter2@h", answer, Duration::from_secs(30));
        outcome.expect("a tunnel");
        let expected = "CONNECT broker.example:443 HTTP/1.1\r\nHost: broker.example:443\r\n\
            Proxy-Authorization: Basic b3BzOmh1bnRlcjI=\r\n\r\n";
        assert_eq!(request, expected);
        let (outcome, request) = open("http://h", answer, Duration::from_secs(30));
        outcome.expect("a tunnel");
        assert_eq!(request, "CONNECT broker.example:443 HTTP/1.1\r\nHost: broker.example:443\r\n\r\n");
    }

    #[test]
    fn each_refusal_has_its_own_error() {
        let refused = ProxyError::Refused { status_line: "HTTP/1.1 403 Forbidden".to_owned() };
        for (url, answer, expected) in [
            (
                "http://h",
                b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".as_slice(),
                ProxyError::AuthenticationRequired,
            ),
            ("http://a:b@h", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", ProxyError::AuthenticationFailed),
            ("http://h", b"HTTP/1.1 403 Forbidden\r\n\r\n<html>", refused),
            ("http://h", b"220 mail.example\r\n\r\n", ProxyError::NotHttp),
            ("http://h", b"HTTP/1.1 200 OK\r\n\r\n<html>", ProxyError::NotHttp),
            ("http://h", b"HTTP/1.1 200", ProxyError::Closed),
        ] {
            let (outcome, _) = open(url, answer, Duration::from_secs(30));
            assert_eq!(outcome, Err(DialError::Proxy(expected)));
        }
        let (outcome, _) = open("http://h", b"", Duration::from_millis(50));
        assert_eq!(outcome, Err(DialError::Timeout { peer: Peer::Proxy, step: DialStep::Handshake }));
    }
}
