//! Creates certificate authorities, certificates, keys and TLS servers for the tests of this module.

use std::fs;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};
use tempfile::TempDir;

use super::options::TlsOptions;

/// The host names of a certificate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Names<'a> {
    /// Only the subject's common name, as in old certificates.
    CommonName,
    /// Subject alternative names: DNS names and IP addresses.
    Alternative(&'a [&'a str]),
}

/// A certificate and its key, in PEM files.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// A certificate authority with a directory for its files.
pub(super) struct Authority {
    dir: TempDir,
    key: PKey<Private>,
    certificate: X509,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = new_key();
        let mut builder = builder(name, None, &key, 1);
        builder.append_extension(BasicConstraints::new().critical().ca().build().expect("valid")).expect("valid");
        builder.sign(&key, MessageDigest::sha256()).expect("a signature");
        let authority = Self { dir: TempDir::new().expect("a directory"), key, certificate: builder.build() };
        fs::write(authority.cafile(), authority.certificate.to_pem().expect("PEM")).expect("a writable directory");
        fs::write(authority.dir().join("ca.key"), authority.key.private_key_to_pem_pkcs8().expect("PEM"))
            .expect("a file");
        authority
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn cafile(&self) -> PathBuf {
        self.dir().join("ca.pem")
    }

    /// Returns the authority's own certificate, for use as a server certificate.
    pub(super) fn identity(&self) -> Identity {
        Identity { cert: self.cafile(), key: self.dir().join("ca.key") }
    }

    /// Issues a certificate that is valid on one day: yesterday (-1), today (1) or tomorrow (2).
    pub(super) fn issue(&self, name: &str, names: Names<'_>, day: i64) -> Identity {
        let key = new_key();
        let mut builder = builder(name, Some(&self.certificate), &key, day);
        if let Names::Alternative(names) = names {
            let mut extension = SubjectAlternativeName::new();
            for name in names {
                match name.parse::<std::net::IpAddr>() {
                    Ok(_) => extension.ip(name),
                    Err(_) => extension.dns(name),
                };
            }
            let extension = extension.build(&builder.x509v3_context(Some(&self.certificate), None)).expect("valid");
            builder.append_extension(extension).expect("valid");
        }
        builder.sign(&self.key, MessageDigest::sha256()).expect("a signature");
        let (cert, private) = (self.dir().join(format!("{name}.pem")), self.dir().join(format!("{name}.key")));
        fs::write(&cert, builder.build().to_pem().expect("PEM")).expect("a writable directory");
        fs::write(&private, key.private_key_to_pem_pkcs8().expect("PEM")).expect("a writable directory");
        Identity { cert, key: private }
    }
}

impl Identity {
    /// Returns options with this client certificate.
    pub(super) fn shown_by(&self, options: &TlsOptions) -> TlsOptions {
        TlsOptions { cert: Some(self.cert.clone()), key: Some(self.key.clone()), ..options.clone() }
    }

    /// Returns the identity with an encrypted key.
    pub(super) fn encrypted(&self, passphrase: &str) -> Self {
        let key = PKey::private_key_from_pem(&fs::read(&self.key).expect("a key file")).expect("a key");
        let pem = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), passphrase.as_bytes()).expect("PEM");
        let file = self.key.with_extension("encrypted");
        fs::write(&file, pem).expect("a writable directory");
        Self { cert: self.cert.clone(), key: file }
    }
}

/// Returns a TLS server with this certificate.
pub(super) fn acceptor(identity: &Identity, set_up: impl FnOnce(&mut SslAcceptorBuilder)) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("an acceptor");
    builder.set_certificate_chain_file(&identity.cert).expect("a certificate");
    builder.set_private_key_file(&identity.key, SslFiletype::PEM).expect("a key");
    set_up(&mut builder);
    builder.build()
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a known curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn builder(name: &str, issuer: Option<&X509>, key: &PKey<Private>, day: i64) -> X509Builder {
    const DAY: i64 = 24 * 60 * 60;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
    let now = i64::try_from(now.as_secs()).expect("a time");
    let mut subject = X509Name::builder().expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let mut builder = X509Builder::new().expect("a certificate");
    builder.set_version(2).expect("X.509 v3");
    builder
        .set_serial_number(
            &BigNum::from_u32(fastrand::u32(1..)).expect("a number").to_asn1_integer().expect("a number"),
        )
        .expect("valid");
    builder.set_subject_name(&subject).expect("valid");
    builder.set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.subject_name())).expect("valid");
    builder.set_pubkey(key).expect("valid");
    // Today's certificate became valid a day ago.
    let (from, until) = match day {
        1 => (now - DAY, now + DAY),
        day => (now + (day - 1) * DAY, now + day * DAY),
    };
    builder.set_not_before(&Asn1Time::from_unix(from).expect("a time")).expect("valid");
    builder.set_not_after(&Asn1Time::from_unix(until).expect("a time")).expect("valid");
    builder
}
