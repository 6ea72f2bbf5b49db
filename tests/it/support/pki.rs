//! Creates certificate authorities, certificates and keys, in a directory of the test.

use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};
use tempfile::TempDir;

const DAY: i64 = 24 * 60 * 60;

/// A certificate authority, and the directory of its files.
pub(crate) struct Authority {
    dir: TempDir,
    key: PKey<Private>,
    certificate: X509,
}

/// A certificate and its key, in PEM files.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = new_key();
        let subject = name_of(name);
        let mut builder = builder(&subject, &subject, &key, (-DAY, DAY));
        let constraints = BasicConstraints::new().critical().ca().build().expect("an extension");
        let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().expect("an extension");
        builder.append_extension(constraints).expect("an extension more");
        builder.append_extension(usage).expect("an extension more");
        builder.sign(&key, MessageDigest::sha256()).expect("it is our key");
        let authority = Self { dir: TempDir::new().expect("a temporary directory"), key, certificate: builder.build() };
        let pem = authority.certificate.to_pem().expect("a certificate has a PEM form");
        std::fs::write(authority.cafile(), pem).expect("it can be written");
        authority
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the file with the authority's certificate.
    pub(crate) fn cafile(&self) -> PathBuf {
        self.dir().join("ca.pem")
    }

    /// Creates a directory in which OpenSSL finds the authority by the hash of its name.
    pub(crate) fn capath(&self) -> PathBuf {
        let folder = self.dir().join("authorities");
        std::fs::create_dir_all(&folder).expect("it can be made");
        let hash = self.certificate.subject_name_hash();
        std::fs::copy(self.cafile(), folder.join(format!("{hash:08x}.0"))).expect("it can be copied");
        folder
    }

    /// Issues a certificate for a broker on this machine, by name and by address.
    pub(crate) fn server(&self) -> Identity {
        self.issue("server", Some(&["localhost", "127.0.0.1"]), (-DAY, DAY))
    }

    /// Issues a certificate for a broker on another host.
    pub(crate) fn server_elsewhere(&self) -> Identity {
        self.issue("elsewhere", Some(&["broker.invalid"]), (-DAY, DAY))
    }

    /// Issues an expired certificate for a broker on this machine.
    pub(crate) fn expired_server(&self) -> Identity {
        self.issue("expired", Some(&["localhost", "127.0.0.1"]), (-2 * DAY, -DAY))
    }

    /// Issues a certificate for a broker on this machine that is valid from tomorrow.
    pub(crate) fn early_server(&self) -> Identity {
        self.issue("early", Some(&["localhost", "127.0.0.1"]), (DAY, 2 * DAY))
    }

    /// Issues a client certificate for this name.
    pub(crate) fn client(&self, name: &str) -> Identity {
        self.issue(name, None, (-DAY, DAY))
    }

    /// Issues an expired client certificate.
    pub(crate) fn expired_client(&self) -> Identity {
        self.issue("expired-client", None, (-2 * DAY, -DAY))
    }

    /// Issues a certificate: a server's if there are `hosts`, else a client's. `valid` is in seconds from now.
    fn issue(&self, name: &str, hosts: Option<&[&str]>, valid: (i64, i64)) -> Identity {
        let key = new_key();
        let subject = name_of(name);
        let mut builder =
            builder(&subject, self.certificate.subject_name().to_owned().expect("a copy").as_ref(), &key, valid);
        let mut usage = ExtendedKeyUsage::new();
        match hosts {
            Some(_) => usage.server_auth(),
            None => usage.client_auth(),
        };
        builder.append_extension(usage.build().expect("an extension")).expect("an extension more");
        if let Some(hosts) = hosts {
            let mut names = SubjectAlternativeName::new();
            for host in hosts {
                match host.parse::<std::net::IpAddr>() {
                    Ok(_) => names.ip(host),
                    Err(_) => names.dns(host),
                };
            }
            let context = builder.x509v3_context(Some(&self.certificate), None);
            let names = names.build(&context).expect("an extension");
            builder.append_extension(names).expect("an extension more");
        }
        builder.sign(&self.key, MessageDigest::sha256()).expect("it is our key");
        let identity =
            Identity { cert: self.dir().join(format!("{name}.pem")), key: self.dir().join(format!("{name}.key")) };
        let pem = builder.build().to_pem().expect("a certificate has a PEM form");
        std::fs::write(&identity.cert, pem).expect("it can be written");
        std::fs::write(&identity.key, key.private_key_to_pem_pkcs8().expect("a key has a PEM form"))
            .expect("it can be written");
        identity
    }
}

impl Identity {
    /// Returns the identity with its key encrypted.
    pub(crate) fn encrypted(&self, passphrase: &str) -> Self {
        let pem = std::fs::read(&self.key).expect("it was written");
        let key = PKey::private_key_from_pem(&pem).expect("it is a key");
        let pem = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), passphrase.as_bytes());
        let file = self.key.with_extension("encrypted");
        std::fs::write(&file, pem.expect("a key has a PEM form")).expect("it can be written");
        Self { cert: self.cert.clone(), key: file }
    }

    /// Returns the settings that make mosquitto use TLS.
    pub(crate) fn mosquitto(&self) -> String {
        format!("allow_anonymous true\ncertfile {}\nkeyfile {}\n", self.cert.display(), self.key.display())
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("OpenSSL knows the curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn name_of(name: &str) -> X509Name {
    let mut builder = X509NameBuilder::new().expect("a name");
    builder.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
    builder.build()
}

/// Returns a certificate that is not signed yet. `valid` is in seconds from now.
fn builder(
    subject: &X509Name,
    issuer: &openssl::x509::X509NameRef,
    key: &PKey<Private>,
    valid: (i64, i64),
) -> X509Builder {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970");
    let now = i64::try_from(now.as_secs()).expect("it is not that late");
    let time = |offset| Asn1Time::from_unix(now + offset).expect("a time");
    let mut serial = BigNum::new().expect("a number");
    serial.rand(127, MsbOption::MAYBE_ZERO, false).expect("a number");
    let mut builder = X509Builder::new().expect("a builder");
    let made = [
        builder.set_version(2),
        builder.set_serial_number(&serial.to_asn1_integer().expect("a number")),
        builder.set_subject_name(subject),
        builder.set_issuer_name(issuer),
        builder.set_pubkey(key),
        builder.set_not_before(&time(valid.0)),
        builder.set_not_after(&time(valid.1)),
    ];
    assert!(made.iter().all(Result::is_ok), "all fields can be set");
    builder
}
