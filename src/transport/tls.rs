//! Makes TLS handshakes with OpenSSL, and converts its errors.
//!
//! The context is built without OpenSSL's connector, because that always loads the system's certificate authorities, which
//! takes longer than everything else that a command does. The settings are those of the connector.

use std::fs;
use std::io;
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    self, HandshakeError, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslStream, SslVerifyMode,
    SslVersion,
};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509VerifyResult};
use zeroize::Zeroizing;

use super::deadline::DeadlineStream;
use super::dial_error::{DialError, DialStep, Peer, TlsError, TlsFile};
use super::options::TlsOptions;
use super::url::{BrokerUrl, ServerName};

/// Cipher suites of TLS 1.2; none of them works with earlier versions. TLS 1.3 has its own list.
const CIPHERS: &str = "TLSv1.2+HIGH:!aNULL:!eNULL";

/// OpenSSL adds this offset to the number of an alert (SSL_AD_REASON_OFFSET).
const ALERT_OFFSET: i32 = 1000;

/// The library number of libssl in OpenSSL's errors (ERR_LIB_SSL). Reason codes are unique only within a library.
const ERR_LIB_SSL: i32 = 20;

// libssl's reason codes (sslerr.h).
const SSL_R_HTTP_REQUEST: i32 = 156;
const SSL_R_PACKET_LENGTH_TOO_LONG: i32 = 198;
const SSL_R_UNSUPPORTED_PROTOCOL: i32 = 258;
const SSL_R_WRONG_VERSION_NUMBER: i32 = 267;
const SSL_R_UNEXPECTED_EOF_WHILE_READING: i32 = 294;
const SSL_R_RECORD_TOO_SMALL: i32 = 298;

/// Makes TLS handshakes with one broker.
pub(super) struct TlsDialer {
    context: SslContext,
    name: ServerName,
    insecure: bool,
}

impl TlsDialer {
    /// Reads the files, and prepares everything else that needs no connection.
    ///
    /// # Errors
    /// If a file cannot be read or does not contain what it should, or if key and certificate do not match.
    pub(super) fn new(options: &TlsOptions, broker: &BrokerUrl) -> Result<Self, TlsError> {
        let mut builder = base_context().map_err(|error| other(&error))?;
        set_verification(&mut builder, options)?;
        set_client_certificate(&mut builder, options)?;
        if !options.alpn.is_empty() {
            // Each name follows its length, which is 255 at most [RFC 7301, 3.1].
            let length = |name: &String| u8::try_from(name.len()).unwrap_or(u8::MAX);
            let names = options.alpn.iter().flat_map(|name| std::iter::once(length(name)).chain(name.bytes()));
            builder.set_alpn_protos(&names.collect::<Vec<u8>>()).map_err(|error| other(&error))?;
        }
        Ok(Self { context: builder.build(), name: broker.server_name().clone(), insecure: options.insecure })
    }

    /// Makes the handshake. The stream keeps its deadline.
    ///
    /// # Errors
    /// If the handshake fails, or does not end before the stream's deadline.
    pub(super) fn handshake(&self, stream: DeadlineStream) -> Result<SslStream<DeadlineStream>, DialError> {
        let tls_error = |error: ErrorStack| DialError::Tls(other(&error));
        self.session().map_err(tls_error)?.connect(stream).map_err(|error| match error {
            HandshakeError::SetupFailure(error) => tls_error(error),
            HandshakeError::WouldBlock(_) => DialError::Timeout { peer: Peer::Broker, step: DialStep::Handshake },
            HandshakeError::Failure(stream) => DialError::Tls(match stream.ssl().verify_result() {
                result if result != X509VerifyResult::OK && !self.insecure => self.verification_error(result),
                _ => handshake_error(stream.error()),
            }),
        })
    }

    /// Creates a session that accepts only certificates for the broker's host.
    fn session(&self) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.param_mut().set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        match &self.name {
            ServerName::Ip(address) => ssl.param_mut().set_ip(*address)?,
            ServerName::Dns(name) => {
                ssl.param_mut().set_host(name)?;
                // SNI is only for names, not addresses [RFC 6066, 3].
                ssl.set_hostname(name)?;
            }
        }
        Ok(ssl)
    }

    /// Converts the result of our verification of the broker's certificate.
    fn verification_error(&self, result: X509VerifyResult) -> TlsError {
        let reason = result.error_string().to_owned();
        // The numbers are X509_V_ERR_*: see openssl-verification-options(1).
        match result.as_raw() {
            9 => TlsError::NotYetValid,
            10 => TlsError::Expired,
            2 | 18..=21 => TlsError::UnknownCa { reason },
            62 | 64 => TlsError::HostMismatch { host: self.name.to_string() },
            _ => TlsError::BadCertificate { reason },
        }
    }
}

/// Returns the settings that all sessions share.
fn base_context() -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_client())?;
    // Without renegotiation, a write never has to wait for incoming bytes.
    builder.set_options(SslOptions::ALL | SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    builder.clear_options(SslOptions::DONT_INSERT_EMPTY_FRAGMENTS);
    // With AUTO_RETRY, a read returns WANT_READ only if the socket is empty. Without it, data could stay in the buffer that
    // read_ahead fills, while the reader waits for the socket.
    builder.set_mode(
        SslMode::AUTO_RETRY
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::RELEASE_BUFFERS,
    );
    builder.set_read_ahead(true);
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_cipher_list(CIPHERS)?;
    Ok(builder)
}

/// Sets the trusted certificate authorities.
fn set_verification(builder: &mut SslContextBuilder, options: &TlsOptions) -> Result<(), TlsError> {
    let TlsOptions { cafile, capath, insecure, .. } = options;
    builder.set_verify(if *insecure { SslVerifyMode::NONE } else { SslVerifyMode::PEER });
    if let Some(path) = cafile {
        let certificates = X509::stack_from_pem(&read(TlsFile::CaFile, path)?).unwrap_or_default();
        if certificates.is_empty() {
            return Err(TlsError::InvalidFile { file: TlsFile::CaFile, path: path.clone() });
        }
    }
    match (cafile, capath) {
        (None, None) if *insecure => Ok(()),
        (None, None) => builder.set_default_verify_paths(),
        _ => builder.load_verify_locations(cafile.as_deref(), capath.as_deref()),
    }
    .map_err(|error| other(&error))
}

/// Sets the client's certificate and key.
fn set_client_certificate(builder: &mut SslContextBuilder, options: &TlsOptions) -> Result<(), TlsError> {
    let Some(cert) = &options.cert else { return Ok(()) };
    let invalid = |file, path: &Path| TlsError::InvalidFile { file, path: path.to_owned() };
    let certificate = X509::from_pem(&read(TlsFile::Certificate, cert)?);
    let certificate = certificate.map_err(|_| invalid(TlsFile::Certificate, cert))?;
    let path = options.key.as_ref().unwrap_or(cert);
    let passphrase = options.key_password.as_ref().map_or("", |secret| secret.expose());
    let key = PKey::private_key_from_pem_passphrase(&read(TlsFile::Key, path)?, passphrase.as_bytes());
    let key = key.map_err(|_| invalid(TlsFile::Key, path))?;
    if !certificate.public_key().is_ok_and(|public| public.public_eq(&key)) {
        return Err(TlsError::KeyMismatch { key: path.clone(), cert: cert.clone() });
    }
    // The file can also contain the intermediate certificates.
    builder.set_certificate_chain_file(cert).map_err(|_| invalid(TlsFile::Certificate, cert))?;
    builder.set_private_key(&key).map_err(|error| other(&error))
}

fn read(file: TlsFile, path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable =
        |error: io::Error| TlsError::UnreadableFile { file, path: path.to_owned(), reason: error.to_string() };
    fs::read(path).map(Zeroizing::new).map_err(unreadable)
}

/// Returns the TLS error in the error of a read, if the peer sent an alert about the handshake.
///
/// A TLS 1.3 server verifies the client's certificate after the client has finished the handshake, so its alert arrives with
/// the first read.
pub(super) fn late_tls_error(error: &io::Error) -> Option<TlsError> {
    let error = error.get_ref()?.downcast_ref::<ssl::Error>()?;
    alert(error).is_some().then(|| handshake_error(error))
}

/// Returns libssl's code for the reason of an error, if it has one.
fn reason_code(error: &ssl::Error) -> Option<i32> {
    let last = error.ssl_error()?.errors().last()?;
    (last.library_code() == ERR_LIB_SSL).then(|| last.reason_code())
}

/// Returns the number of the alert that the peer sent [RFC 8446, 6].
fn alert(error: &ssl::Error) -> Option<i32> {
    let code = reason_code(error)? - ALERT_OFFSET;
    (0..256).contains(&code).then_some(code)
}

/// Converts the error of a failed handshake: an alert of the peer, a peer without TLS, or a closed connection.
fn handshake_error(error: &ssl::Error) -> TlsError {
    // OpenSSL's message without the source location.
    let last = error.ssl_error().and_then(|stack| stack.errors().last()?.reason());
    let reason = last.map_or_else(|| error.to_string(), str::to_owned);
    let io_error = error.io_error().map(io::Error::kind);
    match alert(error) {
        Some(40) => TlsError::HandshakeRefused { reason },
        // bad_certificate, unsupported_certificate, certificate_revoked, certificate_expired, certificate_unknown,
        // unknown_ca
        Some(42..=46 | 48) => TlsError::ClientCertificateRejected { reason },
        Some(70) => TlsError::ProtocolVersion,
        Some(116) => TlsError::ClientCertificateRequired,
        Some(120) => TlsError::NoApplicationProtocol,
        Some(_) => TlsError::Other { reason },
        None => match reason_code(error) {
            Some(SSL_R_UNSUPPORTED_PROTOCOL) => TlsError::ProtocolVersion,
            Some(
                SSL_R_WRONG_VERSION_NUMBER | SSL_R_PACKET_LENGTH_TOO_LONG | SSL_R_HTTP_REQUEST | SSL_R_RECORD_TOO_SMALL,
            ) => TlsError::NotTls,
            _ if has_no_end(error) => TlsError::Closed,
            _ if matches!(io_error, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)) => {
                TlsError::Closed
            }
            _ => TlsError::Other { reason },
        },
    }
}

/// Returns whether the peer closed the connection without ending the TLS session.
pub(super) fn is_end_of_stream(error: &io::Error) -> bool {
    error.get_ref().and_then(|error| error.downcast_ref()).is_some_and(has_no_end)
}

fn has_no_end(error: &ssl::Error) -> bool {
    // OpenSSL 1.1 reports a system error without a number, OpenSSL 3 its own error.
    let is_bare = error.code() == ssl::ErrorCode::SYSCALL && error.io_error().is_none();
    is_bare || reason_code(error) == Some(SSL_R_UNEXPECTED_EOF_WHILE_READING)
}

fn other(error: &ErrorStack) -> TlsError {
    TlsError::Other { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::options::Secret;
    use super::super::test_pki::{self as pki, Authority, Identity, Names};
    use super::*;
    use openssl::ssl::{AlpnError, SslAcceptorBuilder};
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::path::PathBuf;
    use std::thread::{self, JoinHandle};
    use std::time::{Duration, Instant};

    fn options(cafile: PathBuf) -> TlsOptions {
        TlsOptions { cafile: Some(cafile), ..TlsOptions::default() }
    }

    /// Makes a handshake for this host name with a server that uses `identity`, and reads one byte from it.
    fn handshake(
        options: &TlsOptions,
        host: &str,
        identity: &Identity,
        set_up: impl FnOnce(&mut SslAcceptorBuilder),
    ) -> Result<(), DialError> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let acceptor = pki::acceptor(identity, set_up);
        let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let server: JoinHandle<()> = thread::spawn(move || {
            let (socket, _) = listener.accept().expect("a connection");
            // Ignore errors: the test checks the client's result.
            if let Ok(mut stream) = acceptor.accept(socket) {
                let _ = stream.write_all(b"x");
                let _ = stream.read(&mut [0]);
            }
        });
        let broker = format!("mqtts://{host}").parse().expect("a broker URL");
        let dialer = TlsDialer::new(options, &broker).map_err(DialError::Tls)?;
        let outcome = dialer.handshake(DeadlineStream::new(socket, Instant::now() + Duration::from_secs(30)));
        let outcome = outcome.and_then(|mut stream| {
            stream.read_exact(&mut [0]).map_err(|error| late_tls_error(&error).map_or(error.into(), DialError::Tls))
        });
        server.join().expect("no panic");
        outcome
    }

    #[test]
    fn the_certificate_must_be_for_the_host() {
        let authority = Authority::new("our CA");
        let options = options(authority.cafile());
        let server =
            authority.issue("server", Names::Alternative(&["broker.example", "*.wild.example", "127.0.0.1"]), 1);
        for host in ["broker.example", "BROKER.Example.", "a.wild.example", "127.0.0.1"] {
            assert_eq!(handshake(&options, host, &server, |_| {}), Ok(()), "{host}");
        }
        for (host, canonical) in
            [("Other.example", "other.example"), ("a.b.wild.example", "a.b.wild.example"), ("127.0.0.2", "127.0.0.2")]
        {
            let expected = TlsError::HostMismatch { host: canonical.to_owned() };
            assert_eq!(handshake(&options, host, &server, |_| {}), Err(DialError::Tls(expected)));
        }
        let partial = authority.issue("partial", Names::Alternative(&["b*.example"]), 1);
        let expected = TlsError::HostMismatch { host: "broker.example".to_owned() };
        assert_eq!(handshake(&options, "broker.example", &partial, |_| {}), Err(DialError::Tls(expected)));
    }

    #[test]
    fn old_private_certificates_are_accepted() {
        let authority = Authority::new("our CA");
        let common_name = authority.issue("broker.example", Names::CommonName, 1);
        assert_eq!(handshake(&options(authority.cafile()), "broker.example", &common_name, |_| {}), Ok(()));
        // `openssl req -x509` creates a self-signed certificate with CA:TRUE.
        let own = Authority::new("broker.example");
        assert_eq!(handshake(&options(own.cafile()), "broker.example", &own.identity(), |_| {}), Ok(()));
    }

    #[test]
    fn the_servers_name_is_sent_as_sni_unless_it_is_an_address() {
        let authority = Authority::new("our CA");
        let server = authority.issue("server", Names::Alternative(&["broker.example", "127.0.0.1"]), 1);
        for (host, expected) in [("Broker.Example.", Some("broker.example")), ("127.0.0.1", None)] {
            let (sender, receiver) = std::sync::mpsc::channel();
            let outcome = handshake(&options(authority.cafile()), host, &server, |builder| {
                builder.set_servername_callback(move |ssl, _| {
                    let name = ssl.servername(ssl::NameType::HOST_NAME).map(str::to_owned);
                    sender.send(name).map_err(|_| ssl::SniError::ALERT_FATAL)
                });
            });
            assert_eq!(outcome, Ok(()));
            assert_eq!(receiver.recv().expect("a handshake").as_deref(), expected);
        }
    }

    #[test]
    fn each_failure_has_its_own_error() {
        let (authority, other) = (Authority::new("our CA"), Authority::new("another CA"));
        let names = Names::Alternative(&["localhost"]);
        let server = authority.issue("server", names, 1);
        let fails = |options: &TlsOptions, identity: &Identity, set_up: &dyn Fn(&mut SslAcceptorBuilder)| {
            let outcome = handshake(options, "localhost", identity, |builder| set_up(builder));
            let Err(DialError::Tls(error)) = outcome else { panic!("{outcome:?}") };
            error
        };
        let ours = options(authority.cafile());
        for (day, expected) in [(-1, TlsError::Expired), (2, TlsError::NotYetValid)] {
            assert_eq!(fails(&ours, &authority.issue("other_day", names, day), &|_| {}), expected);
        }
        let error = fails(&options(other.cafile()), &server, &|_| {});
        assert!(matches!(error, TlsError::UnknownCa { .. }), "{error:?}");
        let trusted = authority.cafile();
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let asking = |builder: &mut SslAcceptorBuilder| {
                builder.set_max_proto_version(Some(version)).expect("a version");
                builder.set_ca_file(&trusted).expect("a CA file");
                builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
            };
            let error = fails(&ours, &server, &asking);
            let is_expected = match version {
                // TLS 1.2 has no alert for this.
                SslVersion::TLS1_2 => matches!(error, TlsError::HandshakeRefused { .. }),
                _ => error == TlsError::ClientCertificateRequired,
            };
            assert!(is_expected, "{error:?}");
            let stranger = other.issue("stranger", Names::CommonName, 1).shown_by(&ours);
            let error = fails(&stranger, &server, &asking);
            assert!(matches!(error, TlsError::ClientCertificateRejected { .. }), "{error:?}");
            let client = authority.issue("client", Names::CommonName, 1).shown_by(&ours);
            assert_eq!(handshake(&client, "localhost", &server, asking), Ok(()));
        }
        let alpn = TlsOptions { alpn: vec!["mqtt".to_owned()], ..ours.clone() };
        let refusing = |builder: &mut SslAcceptorBuilder| {
            builder.set_alpn_select_callback(|_, _| Err(AlpnError::ALERT_FATAL));
        };
        assert_eq!(fails(&alpn, &server, &refusing), TlsError::NoApplicationProtocol);
        // A server without ALPN support ignores the offer.
        assert_eq!(handshake(&alpn, "localhost", &server, |_| {}), Ok(()));
        let old = |builder: &mut SslAcceptorBuilder| {
            builder.clear_options(SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1);
            builder.set_min_proto_version(Some(SslVersion::TLS1)).expect("a version");
            builder.set_max_proto_version(Some(SslVersion::TLS1_1)).expect("a version");
            builder.set_cipher_list("ALL:@SECLEVEL=0").expect("ciphers");
        };
        assert_eq!(fails(&ours, &server, &old), TlsError::ProtocolVersion);
    }

    #[test]
    fn an_insecure_connection_accepts_any_certificate() {
        let authority = Authority::new("our CA");
        let insecure = TlsOptions { insecure: true, ..TlsOptions::default() };
        let server = authority.issue("elsewhere", Names::Alternative(&["elsewhere.example"]), -1);
        assert_eq!(handshake(&insecure, "localhost", &server, |_| {}), Ok(()));
        // Another failure is not reported as a bad certificate.
        let outcome = handshake(&insecure, "localhost", &server, |builder| {
            builder.set_max_proto_version(Some(SslVersion::TLS1_2)).expect("a version");
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        });
        assert!(matches!(outcome, Err(DialError::Tls(TlsError::HandshakeRefused { .. }))), "{outcome:?}");
    }

    #[test]
    fn a_peer_without_tls_is_recognized() {
        for (sent, expected) in [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), TlsError::NotTls),
            (b"220 mail.example\r\n", TlsError::NotTls),
            (b"", TlsError::Closed),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
            let server = thread::spawn(move || {
                let (mut peer, _) = listener.accept().expect("a connection");
                // Read first: closing a socket with unread bytes resets the connection.
                let _ = peer.read(&mut [0; 4096]);
                let _ = peer.write_all(sent);
            });
            let broker = "mqtts://localhost".parse().expect("a broker URL");
            let insecure = TlsOptions { insecure: true, ..TlsOptions::default() };
            let dialer = TlsDialer::new(&insecure, &broker).expect("no files");
            let outcome = dialer.handshake(DeadlineStream::new(socket, Instant::now() + Duration::from_secs(30)));
            assert_eq!(outcome.err(), Some(DialError::Tls(expected)));
            server.join().expect("no panic");
        }
    }

    #[test]
    fn tls_files_are_checked_before_connecting() {
        let authority = Authority::new("our CA");
        let client = authority.issue("client", Names::CommonName, 1);
        let another = authority.issue("another", Names::CommonName, 1);
        let encrypted = client.encrypted("hunter2");
        let empty = authority.dir().join("empty.pem");
        fs::write(&empty, "nothing").expect("a writable directory");
        let missing = authority.dir().join("missing.pem");
        let new = |options: TlsOptions| TlsDialer::new(&options, &"mqtts://localhost".parse().expect("a URL")).err();
        let with = |cert: &PathBuf, key: Option<&PathBuf>, password: Option<&str>| {
            let key_password = password.map(|text| Secret::new(text.to_owned()));
            new(TlsOptions { cert: Some(cert.clone()), key: key.cloned(), key_password, ..options(authority.cafile()) })
        };
        let invalid = |file, path: &Path| Some(TlsError::InvalidFile { file, path: path.to_owned() });
        assert_eq!(new(options(empty.clone())), invalid(TlsFile::CaFile, &empty));
        assert!(matches!(new(options(missing)), Some(TlsError::UnreadableFile { file: TlsFile::CaFile, .. })));
        assert_eq!(with(&empty, None, None), invalid(TlsFile::Certificate, &empty));
        assert_eq!(with(&client.cert, None, None), invalid(TlsFile::Key, &client.cert));
        assert_eq!(with(&client.cert, Some(&client.key), None), None);
        assert_eq!(with(&client.cert, Some(&encrypted.key), Some("hunter2")), None);
        assert_eq!(with(&client.cert, Some(&encrypted.key), Some("wrong")), invalid(TlsFile::Key, &encrypted.key));
        assert_eq!(with(&client.cert, Some(&encrypted.key), None), invalid(TlsFile::Key, &encrypted.key));
        let mismatch = TlsError::KeyMismatch { key: another.key.clone(), cert: client.cert.clone() };
        assert_eq!(with(&client.cert, Some(&another.key), None), Some(mismatch));
    }
}
