//! TLS as we speak it ourselves, and why it fails. The MQTT library says only that it did, so the files are checked before
//! it is asked, and a handshake of our own is made afterwards, to hear from OpenSSL what was wrong.

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    self, HandshakeError, MidHandshakeSslStream, SslConnector, SslMethod, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509VerifyResult};
use zeroize::Zeroizing;

use super::broker::{Broker, Options, Tls};
use super::timed::Timed;
use crate::exit::Failure;

/// The suites that came with TLS 1.2: none of them works with an earlier version. Those of TLS 1.3 are chosen apart.
pub(super) const CIPHERS: &str = "TLSv1.2+HIGH:!aNULL:!eNULL";

/// How long to wait for the broker's complaint after the handshake: with TLS 1.3 it may come that late.
const COMPLAINT: Duration = Duration::from_secs(2);

/// Checks that the files are what they should be, and that key and certificate belong together.
///
/// # Errors
/// Says which file is wrong, and how.
pub(super) fn check(tls: &Tls) -> Result<(), Failure> {
    if let Some(path) = &tls.cafile {
        let certificates = X509::stack_from_pem(&read(path)?).unwrap_or_default();
        if certificates.is_empty() {
            return Err(Failure::usage(format!("{} (--cafile) holds no certificate", path.display()))
                .hint("it must be PEM: -----BEGIN CERTIFICATE-----"));
        }
    }
    let Some(cert) = &tls.cert else { return Ok(()) };
    let certificate = X509::from_pem(&read(cert)?).map_err(|_| {
        Failure::usage(format!("{} (--cert) holds no certificate", cert.display())).hint("it must be PEM")
    })?;
    let key = tls.key.as_ref().unwrap_or(cert);
    let passphrase = tls.key_password.as_ref().map_or("", |secret| secret.expose());
    let private = PKey::private_key_from_pem_passphrase(&read(key)?, passphrase.as_bytes()).map_err(|_| {
        Failure::usage(format!("cannot read the private key in {}", key.display()))
            .hint("it must be PEM; where it is encrypted, --key-password-file names its passphrase")
    })?;
    if certificate.public_key().is_ok_and(|public| public.public_eq(&private)) {
        Ok(())
    } else {
        let (key, cert) = (key.display(), cert.display());
        Err(Failure::unreachable(format!("TLS: wrong key: {key} does not belong to the certificate {cert}"))
            .hint("check --key and --cert"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

/// Makes the handshake with the broker over `stream`, and checks that the broker is the one that the options name. What is
/// said from then on has no deadline.
///
/// # Errors
/// Says what is wrong, and what to check; where nothing is until `deadline`, so.
pub(super) fn connect(options: &Options, stream: TcpStream, deadline: Instant) -> Result<SslStream<Timed>, Failure> {
    let Options { broker, tls, .. } = options;
    let cannot = |error: ErrorStack| failed(broker, (error.to_string(), "check --cafile, --cert and --key"));
    let stream = Timed::until(deadline, stream);
    let mut stream = connector(tls).map_err(cannot)?.connect(broker.host(), stream).map_err(|error| match error {
        HandshakeError::SetupFailure(error) => cannot(error),
        HandshakeError::WouldBlock(_) => options.unanswered(),
        HandshakeError::Failure(stream) => failed(broker, complaint(&stream, broker)),
    })?;
    stream.get_mut().set(None).map_err(|error| options.cannot_set_up(&error))?;
    Ok(stream)
}

/// Why a handshake failed.
fn complaint(stream: &MidHandshakeSslStream<Timed>, broker: &Broker) -> Complaint {
    match stream.ssl().verify_result() {
        X509VerifyResult::OK => alerted(&reason(stream.error())),
        result => unverified(result, broker),
    }
}

/// Makes a handshake over `stream`, as the MQTT library did, and says why it fails; `None` where it does not.
pub(super) fn diagnose(options: &Options, stream: TcpStream, deadline: Instant) -> Option<Failure> {
    match connect(options, stream, deadline) {
        Ok(stream) => late_complaint(stream).map(|complaint| failed(&options.broker, complaint)),
        Err(failure) => Some(failure),
    }
}

/// What is wrong, and what to check.
type Complaint = (String, &'static str);

fn failed(broker: &Broker, (what, hint): Complaint) -> Failure {
    Failure::unreachable(format!("cannot connect to {broker}: TLS: {what}")).hint(hint)
}

fn connector(tls: &Tls) -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_cipher_list(CIPHERS)?;
    if tls.insecure {
        builder.set_verify(SslVerifyMode::NONE);
    }
    if tls.cafile.is_some() || tls.capath.is_some() {
        // The builder knows the system's authorities already.
        builder.set_cert_store(X509StoreBuilder::new()?.build());
        builder.load_verify_locations(tls.cafile.as_deref(), tls.capath.as_deref())?;
    }
    if let Some(cert) = &tls.cert {
        let key = tls.key.as_ref().unwrap_or(cert);
        let passphrase = tls.key_password.as_ref().map_or("", |secret| secret.expose());
        builder.set_certificate_chain_file(cert)?;
        // It could be read when it was checked; where it cannot now, what OpenSSL says of nothing will do.
        let pem = Zeroizing::new(std::fs::read(key).unwrap_or_default());
        builder.set_private_key(&*PKey::private_key_from_pem_passphrase(&pem, passphrase.as_bytes())?)?;
    }
    if !tls.alpn.is_empty() {
        // Each name with its length before it [RFC 7301, 3.1]; a name has 255 bytes at the most.
        let length = |name: &String| u8::try_from(name.len()).unwrap_or(u8::MAX);
        let names = tls.alpn.iter().flat_map(|name| std::iter::once(length(name)).chain(name.bytes()));
        builder.set_alpn_protos(&names.collect::<Vec<u8>>())?;
    }
    Ok(builder.build())
}

/// A TLS 1.3 server judges the client's certificate after the client thinks that all is well.
fn late_complaint(mut stream: SslStream<Timed>) -> Option<Complaint> {
    stream.get_mut().set(Some(Instant::now() + COMPLAINT)).ok()?;
    match stream.read(&mut [0]) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            Some(alerted(&inner.map_or_else(|| error.to_string(), reason)))
        }
        _ => None,
    }
}

/// OpenSSL's words for an error, without where in OpenSSL it was found.
fn reason(error: &ssl::Error) -> String {
    let last = error.ssl_error().and_then(|stack| stack.errors().last()?.reason());
    last.map_or_else(|| error.to_string(), str::to_owned)
}

/// What our own check of the broker's certificate found.
fn unverified(result: X509VerifyResult, broker: &Broker) -> Complaint {
    // The numbers are X509_V_ERR_*, openssl-verification-options(1).
    match result.as_raw() {
        9 => ("the broker's certificate is not valid yet".into(), "check the clocks of both machines"),
        10 => ("the broker's certificate has expired".into(), "ask the broker's operator to renew it"),
        18..=21 => (
            format!("unknown CA: {}", result.error_string()),
            "--cafile must hold the authority that signed the broker's certificate",
        ),
        62 | 64 => (
            format!("host name mismatch: the broker's certificate is not for {}", broker.host()),
            "check the host in --broker; it must be one that the certificate names",
        ),
        _ => (result.error_string().to_owned(), "check the broker's certificate"),
    }
}

/// What the other end's alert, or the lack of TLS there, means.
fn alerted(reason: &str) -> Complaint {
    let has = |text: &str| reason.contains(text);
    if has("wrong version number") || has("packet length too long") || has("http request") || has("record too small") {
        ("what answers does not speak TLS: a plain port?".into(), "check the port; a plain one is mqtt:// or ws://")
    } else if has("certificate required") {
        ("the broker requires a client certificate".into(), "give one with --cert and --key")
    } else if has("unknown ca") || has("bad certificate") || has("certificate unknown") || has("certificate expired") {
        (
            format!("the broker does not accept our certificate ({reason})"),
            "check that --cert is signed by an authority that the broker trusts, and still valid",
        )
    } else if has("handshake failure") {
        (
            format!("the broker refuses the handshake ({reason})"),
            "it may require a client certificate (--cert and --key), or TLS versions and ciphers that we do not offer",
        )
    } else if has("protocol version") || has("unsupported protocol") {
        ("the broker speaks no TLS 1.2 or later".into(), "ask the broker's operator to enable it")
    } else if has("unexpected EOF") || has("unexpected eof") || has("Connection reset") {
        (
            "the other end closes the connection during the handshake, as a plain port does".into(),
            "check the port; the broker may require a client certificate (--cert and --key)",
        )
    } else {
        (reason.to_owned(), "check the port, --cafile, --cert and --key")
    }
}
