//! Connection options from flags and environment: reads secrets, and rejects invalid combinations before connecting.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::connect_error::broker_url_failure;
use crate::cli::{ConnectionArgs, Profile};
use crate::exit::Failure;
use crate::transport::no_proxy::NoProxy;
use crate::transport::options::{MqttVersion, Options, ProxyChoice, Secret, TlsOptions, fresh_client_id};
use crate::transport::url::{BrokerUrl, ProxyUrl};

/// Maximum number of bytes that are read of a password's line: the longest password (65535 bytes), a carriage return, and
/// one byte more to detect a longer line.
const MAX_PASSWORD_LINE: usize = (1 << 16) + 1;

/// Whether the user is asked for a missing password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    /// On a terminal.
    Allowed,
    /// Never, because the command does not connect.
    Never,
}

impl Prompt {
    /// Returns [`Prompt::Never`] for a dry run.
    pub(super) fn unless(dry_run: bool) -> Self {
        if dry_run { Self::Never } else { Self::Allowed }
    }
}

/// Returns the connection options. Reads password files, and asks for a password if necessary.
///
/// # Errors
/// If a URL is invalid, a file cannot be read, or TLS flags are given for connections without TLS.
pub(super) fn options(args: ConnectionArgs, prompt: Prompt) -> Result<Options, Failure> {
    let ConnectionArgs {
        broker,
        profile: _,
        discover: _,
        settings,
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
    let names = SettingNames(settings);
    let brokers = broker_urls(&broker).map_err(|failure| names.explain("--broker", failure))?;
    if cert.is_none() {
        let without_cert = [("--key", &key), ("--key-password-file", &key_password_file)];
        if let Some((flag, _)) = without_cert.into_iter().find(|(_, file)| file.is_some()) {
            return Err(Failure::usage(format!("{} requires --cert", names.of(flag))));
        }
    }
    let read = |flag: &str, file: PathBuf| read_password(&names.of(flag), &file);
    let key_password = key_password_file.map(|file| read("--key-password-file", file)).transpose()?;
    let tls = TlsOptions { cafile, capath, cert, key, key_password, alpn, insecure };
    check_tls(&brokers, &tls, &names)?;
    let proxy = match proxy {
        Some(url) => ProxyChoice::Always(explicit_proxy(&url).map_err(|failure| names.explain("--proxy", failure))?),
        None => environment_proxy(&brokers)?,
    };
    let password = match (password_file, names.password()) {
        (Some(file), _) => Some(read("--password-file", file)?),
        (None, Some(password)) => Some(password?),
        (None, None) => environment_password()?
            .or_else(|| ask_password(username.as_deref().filter(|_| prompt == Prompt::Allowed)?, &brokers[0])),
    };
    if password.is_some() || tls.key_password.is_some() || proxy != ProxyChoice::Direct {
        keep_out_of_core_dumps();
    }
    // MQTT 5 allows a password without a user name, for tokens (MQTT 5, 3.1.2.9). Whether the broker speaks MQTT 5 is not
    // known yet.
    if password.is_some() && username.is_none() && version == MqttVersion::V311 {
        return Err(Failure::usage("MQTT 3.1.1 allows no password without a user name").hint("set --username"));
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

/// Names settings in errors: by their flags, or by the lines of the profile.
struct SettingNames(Option<Profile>);

impl SettingNames {
    fn origin(&self, flag: &str) -> Option<String> {
        self.0.as_ref()?.origin(flag)
    }

    /// Returns the name of the setting of this flag.
    fn of(&self, flag: &str) -> String {
        self.origin(flag).unwrap_or_else(|| flag.to_owned())
    }

    /// Adds the line of the profile to the failure of a setting, if it is from there.
    fn explain(&self, flag: &str, failure: Failure) -> Failure {
        match self.origin(flag) {
            Some(origin) => failure.context(origin),
            None => failure,
        }
    }

    /// Returns the password of the profile.
    fn password(&self) -> Option<Result<Secret, Failure>> {
        let password = self.0.as_ref()?.password()?;
        Some(checked_password(password.expose()).ok_or_else(|| invalid_password(&self.of("--password"))))
    }
}

/// Parses the brokers' URLs. Without any, the error is that of an empty URL.
fn broker_urls(urls: &[String]) -> Result<Vec<BrokerUrl>, Failure> {
    let read = |url: &str| url.parse::<BrokerUrl>().map_err(|error| broker_url_failure(&error));
    let brokers: Vec<BrokerUrl> = urls.iter().map(|url| read(url)).collect::<Result<_, _>>()?;
    if brokers.is_empty() { read("").map(|broker| vec![broker]) } else { Ok(brokers) }
}

/// Disables core dumps: the MQTT library keeps copies of secrets that are never wiped.
#[cfg(target_os = "linux")]
fn keep_out_of_core_dumps() {
    // Ignore errors: most programs allow core dumps.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(not(target_os = "linux"))]
fn keep_out_of_core_dumps() {}

/// Refuses TLS flags if no broker uses TLS, and files that cannot be read.
fn check_tls(brokers: &[BrokerUrl], tls: &TlsOptions, names: &SettingNames) -> Result<(), Failure> {
    let TlsOptions { cafile, capath, cert, key, key_password: _, alpn, insecure } = tls;
    let files = [("--cafile", cafile), ("--capath", capath), ("--cert", cert), ("--key", key)];
    if !brokers.iter().any(|broker| broker.scheme.is_tls()) {
        let given = files.iter().find(|(_, file)| file.is_some()).map(|(flag, _)| *flag);
        let given = given.or((!alpn.is_empty()).then_some("--alpn")).or(insecure.then_some("--insecure"));
        let scheme = brokers[0].scheme.as_str();
        return match given {
            None => Ok(()),
            Some(flag) => {
                Err(Failure::usage(format!("{} requires TLS, but {scheme}:// does not use it", names.of(flag)))
                    .hint("write the broker's URL with mqtts:// or wss://"))
            }
        };
    }
    for (flag, file) in files {
        if let Some(path) = file {
            File::open(path).map_err(|error| cannot_read(&names.of(flag), path, &error))?;
        }
    }
    Ok(())
}

fn cannot_read(setting: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot read '{}' ({setting}): {error}", path.display()))
}

/// Reads a secret: the first line of a file, or of standard input for `-`.
fn read_password(setting: &str, path: &Path) -> Result<Secret, Failure> {
    let cannot_read = |error: io::Error| cannot_read(setting, path, &error);
    let line = if path.as_os_str() == "-" {
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(cannot_read)?;
        first_line(File::from(stdin)).map_err(cannot_read)?
    } else {
        let file = File::open(path).map_err(cannot_read)?;
        let metadata = file.metadata().map_err(cannot_read)?;
        if is_readable_by_others(&metadata, path) {
            return Err(Failure::usage(format!("other users can read '{}' ({setting})", path.display()))
                .hint(format!("chmod 600 {}", path.display())));
        }
        first_line(file).map_err(cannot_read)?
    };
    let line = line.strip_suffix(b"\r").unwrap_or(&line);
    str::from_utf8(line)
        .ok()
        .and_then(checked_password)
        .ok_or_else(|| invalid_password(&format!("the first line of '{}' ({setting})", path.display())))
}

/// Reads up to the first line end and no further: the next line of standard input may be another secret, or a batch.
///
/// Stops after [`MAX_PASSWORD_LINE`] bytes.
#[expect(clippy::unbuffered_bytes, reason = "a buffer would take bytes of the next line")]
fn first_line(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    // Allocate it all now: growing would leave copies of the secret in freed memory.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSWORD_LINE));
    for byte in file.bytes().take(MAX_PASSWORD_LINE) {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    Ok(line)
}

/// Returns whether other users can read an open file. The mode of anything but a regular file does not matter.
pub(super) fn is_readable_by_others(metadata: &Metadata, path: &Path) -> bool {
    metadata.is_file() && metadata.mode() & 0o044 != 0 && !is_service_credential(path)
}

/// Returns whether the service manager made the file for this service alone (systemd's LoadCredential=). Its mode is
/// irrelevant then.
fn is_service_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| !folder.is_empty() && path.starts_with(folder))
}

/// Returns a text as a password if MQTT and the MQTT library allow it. The library allows no NUL.
fn checked_password(text: &str) -> Option<Secret> {
    let fits = !text.is_empty() && !text.contains('\0') && u16::try_from(text.len()).is_ok();
    fits.then(|| Secret::new(text.to_owned()))
}

fn invalid_password(what: &str) -> Failure {
    Failure::usage(format!("{what} is not a valid password"))
        .hint("a password has 1 to 65535 bytes, is UTF-8, and contains no NUL")
}

fn environment_password() -> Result<Option<Secret>, Failure> {
    const NAME: &str = "RTCOMM_PASSWORD";
    match std::env::var(NAME).map(Zeroizing::new) {
        Ok(text) => checked_password(&text).map(Some).ok_or_else(|| invalid_password(NAME)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(invalid_password(NAME)),
    }
}

/// Asks for a password on a terminal. Returns `None` without a terminal, or for an empty line.
fn ask_password(username: &str, broker: &BrokerUrl) -> Option<Secret> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let typed = rpassword::prompt_password(format!("password of {username} at {broker}: ")).ok()?;
    checked_password(&Zeroizing::new(typed))
}

/// Parses the proxy of `--proxy`. Rejects credentials, because other users can read command lines.
fn explicit_proxy(url: &str) -> Result<ProxyUrl, Failure> {
    if url.contains('@') {
        return Err(Failure::usage("the proxy's URL contains credentials, which every user of this machine can read")
            .hint("set https_proxy in the environment instead"));
    }
    url.parse().map_err(|_| Failure::usage(format!("'{url}' is not a valid proxy URL")).hint("write http://HOST:PORT"))
}

/// Returns the environment's proxy for TLS connections (`https_proxy`), and its exceptions (`no_proxy`).
///
/// # Errors
/// If a broker needs the proxy and its URL is invalid. The error does not quote the URL, which may contain credentials.
fn environment_proxy(brokers: &[BrokerUrl]) -> Result<ProxyChoice, Failure> {
    let variable = |name: &str| std::env::var(name).or_else(|_| std::env::var(name.to_uppercase())).ok();
    let no_proxy = NoProxy::parse(&variable("no_proxy").unwrap_or_default());
    let is_used = brokers.iter().any(|broker| broker.scheme.is_tls() && !no_proxy.excludes(broker));
    let Some(url) = variable("https_proxy").filter(|url| is_used && !url.is_empty()) else {
        return Ok(ProxyChoice::Direct);
    };
    // curl and others accept a proxy without a scheme.
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    match url.parse() {
        Ok(proxy) => Ok(ProxyChoice::Environment { proxy, no_proxy }),
        Err(_) => Err(Failure::usage("the https_proxy of the environment is not a valid HTTP proxy URL")
            .hint("write http://HOST:PORT; no_proxy lists hosts to connect to without the proxy")),
    }
}
