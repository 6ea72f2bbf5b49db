//! What the connection's flags and environment mean: reads the secrets, and refuses what cannot work before anything is tried.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::connect_error::broker_url_failure;
use crate::cli::ConnectionArgs;
use crate::exit::Failure;
use crate::transport::no_proxy::NoProxy;
use crate::transport::options::{MqttVersion, Options, ProxyChoice, Secret, TlsOptions, fresh_client_id};
use crate::transport::url::{BrokerUrl, ProxyUrl};

/// How many bytes of a line are read where a password is expected: more than one may have, and a carriage return.
const LONGEST: usize = (1 << 16) + 1;

/// Whether somebody may be asked for a password that nothing else gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    Allowed,
    /// No connection will be made.
    Pointless,
}

impl Asking {
    /// As it is where the command may be one that connects nowhere.
    pub(super) fn unless(dry_run: bool) -> Self {
        if dry_run { Self::Pointless } else { Self::Allowed }
    }
}

/// Works out what the flags and the environment mean. Reads the password's file.
///
/// # Errors
/// Wrong usage: a URL that is not valid, files that cannot be read, TLS flags for a connection without TLS.
pub(super) fn options(args: ConnectionArgs, asking: Asking) -> Result<Options, Failure> {
    let ConnectionArgs {
        broker,
        username,
        password_file,
        cafile,
        capath,
        cert,
        key,
        key_password_file,
        alpn,
        proxy,
        insecure,
        client_id,
        mqtt_version: version,
        keepalive,
        connect_timeout,
        max_packet_size,
    } = args;
    let brokers = broker_urls(&broker)?;
    let key_password = key_password_file.map(|file| read_password("--key-password-file", &file)).transpose()?;
    let tls = TlsOptions { cafile, capath, cert, key, key_password, alpn, insecure };
    check_tls(&brokers, &tls)?;
    let proxy = match proxy {
        Some(url) => ProxyChoice::Always(typed_proxy(&url)?),
        None => environment_proxy(&brokers)?,
    };
    let password = match password_file {
        Some(file) => Some(read_password("--password-file", &file)?),
        None => password_of_environment()?
            .or_else(|| ask_password(username.as_deref().filter(|_| asking == Asking::Allowed)?, &brokers[0])),
    };
    if password.is_some() || tls.key_password.is_some() || proxy != ProxyChoice::Direct {
        keep_out_of_core_dumps();
    }
    // MQTT 5 allows it, for tokens (MQTT 5, 3.1.2.9); whether the broker speaks that shows later.
    if password.is_some() && username.is_none() && version == MqttVersion::V311 {
        return Err(Failure::usage("there is a password, but no user name, and MQTT 3.1.1 does not allow that")
            .hint("name the user with --username"));
    }
    Ok(Options {
        brokers,
        client_id: client_id.unwrap_or_else(fresh_client_id),
        username,
        password,
        version,
        keepalive,
        connect_timeout,
        session_expiry: None,
        max_packet_size,
        proxy,
        tls,
    })
}

/// Reads the brokers' URLs: at least one.
fn broker_urls(urls: &[String]) -> Result<Vec<BrokerUrl>, Failure> {
    let read = |url: &str| url.parse::<BrokerUrl>().map_err(|error| broker_url_failure(&error));
    let brokers: Vec<BrokerUrl> = urls.iter().map(|url| read(url)).collect::<Result<_, _>>()?;
    if brokers.is_empty() { read("").map(|broker| vec![broker]) } else { Ok(brokers) }
}

/// Has the system write no memory of ours to a file, whatever ends us: the MQTT library keeps copies of secrets that nobody
/// wipes.
#[cfg(target_os = "linux")]
fn keep_out_of_core_dumps() {
    // Where it does not, we are as most programs are.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(not(target_os = "linux"))]
fn keep_out_of_core_dumps() {}

/// Refuses TLS flags if no broker uses TLS, and files that cannot be read.
fn check_tls(brokers: &[BrokerUrl], tls: &TlsOptions) -> Result<(), Failure> {
    let TlsOptions { cafile, capath, cert, key, key_password: _, alpn, insecure } = tls;
    let files = [("--cafile", cafile), ("--capath", capath), ("--cert", cert), ("--key", key)];
    if !brokers.iter().any(|broker| broker.scheme.is_tls()) {
        let given = files.iter().find(|(_, file)| file.is_some()).map(|(flag, _)| *flag);
        let given = given.or((!alpn.is_empty()).then_some("--alpn")).or(insecure.then_some("--insecure"));
        let scheme = brokers[0].scheme.as_str();
        return match given {
            None => Ok(()),
            Some(flag) => Err(Failure::usage(format!("{flag} is for TLS, and {scheme}:// has none"))
                .hint("write the broker's URL with mqtts:// or wss://")),
        };
    }
    for (flag, file) in files {
        if let Some(path) = file {
            File::open(path).map_err(|error| cannot_read(flag, path, &error))?;
        }
    }
    Ok(())
}

fn cannot_read(flag: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot read {} ({flag}): {error}", path.display()))
}

/// Reads a secret: the first line of a file, or of standard input for `-`.
fn read_password(flag: &str, path: &Path) -> Result<Secret, Failure> {
    let cannot_read = |error: io::Error| cannot_read(flag, path, &error);
    let line = if path.as_os_str() == "-" {
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(cannot_read)?;
        first_line(File::from(stdin)).map_err(cannot_read)?
    } else {
        let file = File::open(path).map_err(cannot_read)?;
        let metadata = file.metadata().map_err(cannot_read)?;
        if metadata.is_file() && metadata.mode() & 0o044 != 0 && !is_service_credential(path) {
            return Err(Failure::usage(format!("other users can read {} ({flag})", path.display()))
                .hint(format!("chmod 600 {}", path.display())));
        }
        first_line(file).map_err(cannot_read)?
    };
    let line = line.strip_suffix(b"\r").unwrap_or(&line);
    str::from_utf8(line)
        .ok()
        .and_then(checked_password)
        .ok_or_else(|| no_password(&format!("the first line of {} ({flag})", path.display())))
}

/// Reads up to the first line end, and takes no byte after it: the next line of standard input may be another secret, or a
/// batch. What is longer than any password is not read to its end.
#[expect(clippy::unbuffered_bytes, reason = "a buffer would take what is for others")]
fn first_line(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it from the start: what moves leaves a copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    for byte in file.bytes().take(LONGEST) {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    Ok(line)
}

/// Whether the service manager made the file for this service alone, whatever its mode says (systemd's LoadCredential=).
fn is_service_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| !folder.is_empty() && path.starts_with(folder))
}

/// A text that MQTT can carry as a password; the library takes no NUL.
fn checked_password(text: &str) -> Option<Secret> {
    let fits = !text.is_empty() && !text.contains('\0') && u16::try_from(text.len()).is_ok();
    fits.then(|| Secret::new(text.to_owned()))
}

fn no_password(what: &str) -> Failure {
    Failure::usage(format!("{what} is no password")).hint("a password has 1 to 65535 bytes, is UTF-8, and holds no NUL")
}

fn password_of_environment() -> Result<Option<Secret>, Failure> {
    const NAME: &str = "RTCOMM_PASSWORD";
    match std::env::var(NAME).map(Zeroizing::new) {
        Ok(text) => checked_password(&text).map(Some).ok_or_else(|| no_password(NAME)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(no_password(NAME)),
    }
}

/// Asks for a password where somebody is there to answer; nothing typed is no password.
fn ask_password(username: &str, broker: &BrokerUrl) -> Option<Secret> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let typed = rpassword::prompt_password(format!("password of {username} at {broker}: ")).ok()?;
    checked_password(&Zeroizing::new(typed))
}

/// Checks a proxy that was typed: argv is public, so it must not hold credentials.
fn typed_proxy(url: &str) -> Result<ProxyUrl, Failure> {
    if url.contains('@') {
        return Err(Failure::usage("the proxy's URL holds credentials, which every user of this machine can read")
            .hint("give it in the environment, as https_proxy"));
    }
    url.parse().map_err(|_| Failure::usage(format!("'{url}' is not a valid proxy URL")).hint("write http://HOST:PORT"))
}

/// The proxy of the environment for encrypted connections, with the hosts that are reached without it.
///
/// # Errors
/// If it is used for a broker and is not valid: to connect without it would not be what it requests. Does not quote it.
fn environment_proxy(brokers: &[BrokerUrl]) -> Result<ProxyChoice, Failure> {
    let variable = |name: &str| std::env::var(name).or_else(|_| std::env::var(name.to_uppercase())).ok();
    let no_proxy = NoProxy::parse(&variable("no_proxy").unwrap_or_default());
    let is_used = brokers.iter().any(|broker| broker.scheme.is_tls() && !no_proxy.excludes(broker));
    let Some(url) = variable("https_proxy").filter(|url| is_used && !url.is_empty()) else {
        return Ok(ProxyChoice::Direct);
    };
    // As others read it.
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    match url.parse() {
        Ok(proxy) => Ok(ProxyChoice::Environment { proxy, no_proxy }),
        Err(_) => Err(Failure::usage("the https_proxy of the environment is not a valid HTTP proxy URL")
            .hint("write http://HOST:PORT; no_proxy names the hosts that are reached without")),
    }
}
