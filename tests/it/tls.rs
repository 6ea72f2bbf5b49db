//! TLS verification, WebSockets and proxies.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use openssl::ssl::{
    AlpnError, NameType, SslAcceptor, SslConnector, SslFiletype, SslMethod, SslOptions, SslVerifyMode, SslVersion,
};
use serde_json::json;

use crate::support::events::event;
use crate::support::pki::{Authority, Identity};
use crate::support::relay::{Answer, Relay};
use crate::support::web::Gateway;
use crate::support::{Broker, Outcome, Rtcomm, rtcomm};

const VERSIONS: [&str; 2] = ["5", "3.1.1"];

/// The warning of `--insecure`.
const INSECURE_WARNING: &str = "the broker's certificate is not checked (--insecure)";

/// Starts a broker for this scheme: with or without TLS, over TCP or WebSocket.
fn broker(scheme: &str, identity: &Identity, more: &str) -> Broker {
    let tls = if is_encrypted(scheme) { identity.mosquitto() } else { "allow_anonymous true\n".to_owned() };
    let protocol = if scheme.starts_with("ws") { "protocol websockets\n" } else { "" };
    Broker::mosquitto_with(&format!("{tls}{protocol}{more}"))
}

fn is_encrypted(scheme: &str) -> bool {
    matches!(scheme, "mqtts" | "wss")
}

/// Adds the authority to a run if the scheme uses TLS.
fn trusting(authority: &Authority, scheme: &str, run: Rtcomm) -> Rtcomm {
    if is_encrypted(scheme) { run.arg("--cafile").arg(authority.cafile()) } else { run }
}

fn watch(url: &str) -> Rtcomm {
    rtcomm("watch --broker").arg(url)
}

/// Returns a call without a subscriber. With MQTT 5, status 6 shows that everything else works.
fn call(url: &str) -> Rtcomm {
    rtcomm("call a b --mqtt-version 5 --broker").arg(url)
}

/// Runs the command until all subscriptions are granted.
#[track_caller]
fn succeeds(run: Rtcomm) -> Outcome {
    run.start().until_ready().terminate()
}

/// Creates a file that only its owner can read.
fn secret_file(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, text).expect("it can be written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    file
}

#[test]
fn a_broker_with_a_valid_chain_and_name_is_accepted() {
    let authority = Authority::new("our CA");
    for scheme in ["mqtts", "wss"] {
        let broker = broker(scheme, &authority.server(), "");
        for version in VERSIONS {
            for host in ["localhost", "127.0.0.1"] {
                let url = broker.url_as(scheme, host);
                let run = |flag: &str, path: &Path| watch(&url).arg(flag).arg(path).env("RTCOMM_MQTT_VERSION", version);
                succeeds(run("--cafile", &authority.cafile())).never_says(INSECURE_WARNING);
                succeeds(run("--capath", &authority.capath())).never_says(INSECURE_WARNING);
                call(&url).arg("--cafile").arg(authority.cafile()).run().has_status(6).never_says(INSECURE_WARNING);
                call(&url).arg("--capath").arg(authority.capath()).run().has_status(6).never_says(INSECURE_WARNING);
            }
        }
    }
}

#[test]
fn messages_arrive_over_tls() {
    let authority = Authority::new("our CA");
    for scheme in ["mqtts", "wss"] {
        let broker = broker(scheme, &authority.server(), "");
        for version in VERSIONS {
            let at = |words: &str| {
                let command = rtcomm(words).env("RTCOMM_BROKER", broker.url_as(scheme, "localhost"));
                command.env("RTCOMM_MQTT_VERSION", version).env("RTCOMM_CAFILE", authority.cafile())
            };
            let tail = at("tail --json -c 1").start().until_ready();
            let call = at("call iggy_pop david_bowie").start();
            let outcome = tail.end().has_status(0);
            call.terminate();
            outcome.check(outcome.json_lines()[0]["payload"]["callerEndpoint"] == "iggy_pop", "the request");
        }
    }
}

#[test]
fn without_flags_the_authorities_of_the_system_are_used() {
    let authority = Authority::new("our CA");
    let broker = broker("mqtts", &authority.server(), "");
    let url = broker.url_as("mqtts", "localhost");
    // OpenSSL's variables for the system's certificate authorities.
    let (file, folder) = (("SSL_CERT_FILE", authority.cafile()), ("SSL_CERT_DIR", authority.capath()));
    for (name, value) in [&file, &folder] {
        succeeds(watch(&url).env(name, value));
        call(&url).env(name, value).run().has_status(6);
    }
    let other = Authority::new("another CA");
    for run in [watch, call] {
        run(&url).run().has_status(5).says("unknown CA");
        let named = run(&url).env(file.0, &file.1).arg("--cafile").arg(other.cafile());
        named.run().has_status(5).says("unknown CA");
    }
}

#[test]
fn a_client_certificate_works_with_an_encrypted_key() {
    let authority = Authority::new("our CA");
    let broker = broker(
        "mqtts",
        &authority.server(),
        &format!("cafile {}\nrequire_certificate true\n", authority.cafile().display()),
    );
    let client = authority.client("ops");
    let url = broker.url_as("mqtts", "localhost");
    let showing = |identity: &Identity, run: Rtcomm| {
        let run = run.arg("--cafile").arg(authority.cafile());
        run.arg("--cert").arg(&identity.cert).arg("--key").arg(&identity.key)
    };
    let run = |identity: &Identity| showing(identity, watch(&url));
    succeeds(run(&client));
    showing(&client, call(&url)).run().has_status(6);
    let encrypted = client.encrypted("pass phrase");
    let right = secret_file(authority.dir(), "right", "pass phrase\n");
    showing(&encrypted, call(&url)).arg("--key-password-file").arg(&right).run().has_status(6);
    let wrong = secret_file(authority.dir(), "wrong", "hunter2\n");
    succeeds(run(&encrypted).arg("--key-password-file").arg(&right));
    succeeds(run(&encrypted).arg("--key-password-file").arg("-").stdin("pass phrase\n"));
    // This broker accepts any password.
    let piped = run(&encrypted).env("RTCOMM_USERNAME", "ops").arg("--key-password-file=-").arg("--password-file=-");
    succeeds(piped.stdin("pass phrase\nany\n"));
    let outcome = run(&encrypted).arg("--key-password-file").arg(&wrong).run().has_status(2);
    outcome.says("--key-password-file").never_says("hunter2");
    run(&encrypted).run().has_status(2).says("--key-password-file");
    std::fs::set_permissions(&right, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let outcome = run(&encrypted).arg("--key-password-file").arg(&right).run().has_status(2);
    outcome.says("chmod 600").never_says("pass phrase");
    // The certificate and the key can be in one file.
    let both = authority.dir().join("both.pem");
    let text = [&client.cert, &client.key].map(|file| std::fs::read_to_string(file).expect("it was written")).concat();
    std::fs::write(&both, text).expect("it can be written");
    succeeds(watch(&url).arg("--cafile").arg(authority.cafile()).arg("--cert").arg(&both));
}

#[test]
fn tls_flags_with_a_plain_scheme_are_wrong_usage() {
    let authority = Authority::new("our CA");
    let client = authority.client("ops");
    let broker = Broker::mosquitto();
    let path = |path: &Path| path.to_str().expect("a path of ours").to_owned();
    for scheme in ["mqtt", "ws"] {
        for (flag, value) in [
            ("--cafile", path(&authority.cafile())),
            ("--capath", path(&authority.capath())),
            ("--cert", path(&client.cert)),
            ("--alpn", "mqtt".to_owned()),
        ] {
            for command in ["watch", "watch --dry-run", "tail", "call a b"] {
                let run = rtcomm(command).arg("--broker").arg(broker.url_as(scheme, "localhost")).arg(flag).arg(&value);
                run.run().has_status(2).prints("").says(flag).says("mqtts://").says("wss://");
            }
        }
        let run = || rtcomm("watch").arg("--broker").arg(broker.url_as(scheme, "localhost"));
        run().arg("--insecure").run().has_status(2).says("--insecure").says("mqtts://");
        run().env("RTCOMM_INSECURE", "1").run().has_status(2).says("--insecure");
        run().env("RTCOMM_CAFILE", authority.cafile()).run().has_status(2).says("--cafile");
    }
}

#[test]
fn insecure_accepts_any_certificate_with_a_warning_on_each_connection() {
    let authority = Authority::new("our CA");
    for scheme in ["mqtts", "wss"] {
        for identity in [authority.server_elsewhere(), authority.expired_server(), authority.early_server()] {
            let broker = broker(scheme, &identity, "");
            let url = broker.url_as(scheme, "localhost");
            watch(&url).arg("--cafile").arg(authority.cafile()).run().has_status(5);
            succeeds(watch(&url).arg("--insecure")).says(INSECURE_WARNING);
        }
        let broker = broker(scheme, &authority.server_elsewhere(), "");
        let relay = Relay::to(broker.port());
        let url = format!("{scheme}://localhost:{}", relay.port());
        let call = rtcomm("call a b --insecure --mqtt-version 5 --broker").arg(&url).run();
        call.has_status(6).says(INSECURE_WARNING);
        let watch = rtcomm("watch --insecure --broker").arg(&url).start().until_ready();
        relay.cut();
        watch.wait_for_stderr("another connection", |text| text.matches("rtcomm: ready").count() == 2);
        let outcome = watch.terminate();
        outcome.check(outcome.stderr.matches(INSECURE_WARNING).count() == 2, "a warning for each of two connections");
    }
}

/// Starts a server that makes one handshake after another, and sends the offered ALPN protocols of each to the receiver.
fn server(identity: &Identity, set_up: impl FnOnce(&mut openssl::ssl::SslAcceptorBuilder)) -> (u16, Receiver<Vec<u8>>) {
    let (sender, received) = channel();
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("an acceptor");
    builder.set_certificate_chain_file(&identity.cert).expect("it is a certificate");
    builder.set_private_key_file(&identity.key, SslFiletype::PEM).expect("it is a key");
    builder.set_alpn_select_callback(move |_, offered| {
        // Ignore a missing receiver: the test is over.
        let _ = sender.send(offered.to_vec());
        openssl::ssl::select_next_proto(b"\x04mqtt", offered).ok_or(AlpnError::NOACK)
    });
    set_up(&mut builder);
    let acceptor = builder.build();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let acceptor = acceptor.clone();
            // Ignore failed handshakes: the client may only check the port, or reject the certificate.
            thread::spawn(move || drop(acceptor.accept(stream)));
        }
    });
    (port, received)
}

#[test]
fn alpn_offers_only_the_given_protocols() {
    let authority = Authority::new("our CA");
    // A run can make several handshakes. Each offers the same protocols.
    for (flags, offer) in [
        ("--alpn mqtt", Some(&b"\x04mqtt"[..])),
        ("--alpn x-amzn-mqtt-ca --alpn mqtt", Some(b"\x0ex-amzn-mqtt-ca\x04mqtt")),
        ("", None),
    ] {
        let (port, offers) = server(&authority.server(), |_| {});
        for command in ["watch", "call a b"] {
            let run = rtcomm(&format!("{command} --broker mqtts://localhost:{port} --mqtt-version 3.1.1 {flags}"));
            run.arg("--cafile").arg(authority.cafile()).run().has_status(5);
            let offers: Vec<_> = offers.try_iter().collect();
            assert_eq!(offers.first().map(Vec::as_slice), offer, "{command} {flags}");
            assert!(offers.windows(2).all(|pair| pair[0] == pair[1]), "{command}: {offers:?}");
        }
    }
    let broker = broker("mqtts", &authority.server(), "");
    let url = broker.url_as("mqtts", "localhost");
    succeeds(watch(&url).arg("--cafile").arg(authority.cafile()).arg("--alpn").arg("mqtt"));
    rtcomm("watch --broker mqtts://localhost --alpn").arg("").run().has_status(2).says("--alpn");
}

#[test]
fn a_server_that_refuses_the_offered_protocols_is_an_error_that_names_the_flag() {
    let authority = Authority::new("our CA");
    let (port, _offers) = server(&authority.server(), |builder| {
        builder.set_alpn_select_callback(|_, _| Err(AlpnError::ALERT_FATAL));
    });
    for run in [watch, call] {
        let run = run(&format!("mqtts://localhost:{port}")).arg("--cafile").arg(authority.cafile());
        run.arg("--alpn").arg("mqtt").run().has_status(5).prints("").says("--alpn");
    }
}

/// Host names are case-insensitive [RFC 4343], and certificates and SNI have no final dot [RFC 6066, 3].
#[test]
fn a_host_name_is_verified_and_sent_in_its_canonical_form() {
    let authority = Authority::new("our CA");
    let broker = broker("mqtts", &authority.server(), "");
    // The proxy resolves the name.
    let proxy = Relay::proxy(Answer::Connect);
    let by_way_of = |run: Rtcomm| run.arg("--cafile").arg(authority.cafile()).arg("--proxy").arg(proxy.http_url());
    for (host, name) in [
        ("localhost", Some("localhost")),
        ("LOCALHOST", Some("localhost")),
        ("localhost.", Some("localhost")),
        ("127.0.0.1", None),
    ] {
        succeeds(by_way_of(watch(&broker.url_as("mqtts", host))));
        by_way_of(call(&broker.url_as("mqtts", host))).run().has_status(6);
        let (sender, received) = channel();
        let (port, _offers) = server(&authority.server(), move |builder| {
            builder.set_servername_callback(move |ssl, _| {
                // Ignore a missing receiver: the test is over.
                let _ = sender.send(ssl.servername(NameType::HOST_NAME).map(str::to_lowercase));
                Ok(())
            });
        });
        by_way_of(watch(&format!("mqtts://{host}:{port}"))).run().has_status(5);
        let names: Vec<_> = received.try_iter().collect();
        assert!(!names.is_empty(), "{host}: a handshake");
        assert!(names.iter().all(|it| it.as_deref() == name), "{host}: {names:?}");
    }
}

#[test]
fn tls_before_1_2_is_refused() {
    let authority = Authority::new("our CA");
    let only = |version| {
        server(&authority.server(), move |builder| {
            builder.clear_options(SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1);
            builder.set_min_proto_version(Some(SslVersion::TLS1)).expect("a version");
            builder.set_max_proto_version(Some(version)).expect("a version");
            // OpenSSL 3 supports the old versions only at this security level.
            builder.set_cipher_list("ALL:@SECLEVEL=0").expect("ciphers");
        })
        .0
    };
    for version in [SslVersion::TLS1, SslVersion::TLS1_1] {
        let port = only(version);
        let mut willing = SslConnector::builder(SslMethod::tls_client()).expect("a connector");
        willing.set_verify(SslVerifyMode::NONE);
        willing.set_min_proto_version(Some(SslVersion::TLS1)).expect("a version");
        willing.set_cipher_list("ALL:@SECLEVEL=0").expect("ciphers");
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        let stream = willing.build().connect("localhost", stream).expect("the server speaks the old version");
        assert!(stream.ssl().version2() == Some(version), "the server speaks the old version");
        for flag in ["--insecure", "--quiet"] {
            for run in [watch, call] {
                let run = run(&format!("mqtts://localhost:{port}")).arg("--cafile").arg(authority.cafile()).arg(flag);
                run.run().has_status(5).prints("").says("TLS").says("1.2");
            }
        }
    }
}

#[test]
fn a_websocket_request_has_the_path_of_the_url() {
    let broker = Broker::mosquitto_with("allow_anonymous true\nprotocol websockets\n");
    let relay = Relay::to(broker.port());
    for (path, asked) in [
        ("", "GET /mqtt HTTP/1.1"),
        ("/", "GET / HTTP/1.1"),
        ("/mqtt", "GET /mqtt HTTP/1.1"),
        ("/a/b?c=d", "GET /a/b?c=d HTTP/1.1"),
    ] {
        for version in VERSIONS {
            let run = watch(&format!("ws://localhost:{}{path}", relay.port())).env("RTCOMM_MQTT_VERSION", version);
            succeeds(run);
            let heads = relay.heads();
            let head = heads.last().expect("the relay was used");
            assert!(head.starts_with(asked), "{head} does not begin with {asked}");
        }
    }
}

#[test]
fn a_websocket_request_names_the_host() {
    let broker = Broker::mosquitto_with("allow_anonymous true\nprotocol websockets\n");
    let relay = Relay::to(broker.port());
    let name = format!("localhost:{}", relay.port());
    let url = format!("ws://{name}/mqtt");
    succeeds(watch(&url));
    call(&url).run().has_status(6);
    let heads = relay.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    let line = format!("Host: {name}");
    assert!(heads.iter().all(|head| head.lines().filter(|it| *it == line).count() == 1), "{line} in {heads:?}");
}

#[test]
fn all_packets_of_a_websocket_frame_arrive() {
    const EVENTS: usize = 50;
    for version in VERSIONS {
        let broker = Broker::demo();
        let gateway = Gateway::before(broker.port());
        let at_gateway = |words: &str| rtcomm(&format!("{words} --mqtt-version {version} --broker")).arg(gateway.url());
        let watch =
            at_gateway(&format!("watch --json --keepalive 10m --from me --count {EVENTS}")).start().until_ready();
        let (before, mut client) = (gateway.frames(), broker.client());
        for _ in 0..EVENTS {
            client.publish("/rtcomm/event/registration/started/me", event(&json!({})));
        }
        let outcome = watch.end().has_status(0);
        outcome.check(outcome.json_lines().len() == EVENTS, "all of them");
        outcome.check(gateway.frames() - before < EVENTS, "several in a frame");
        at_gateway("call iggy_pop david_bowie --keepalive 10m").run().has_status(0);
    }
}

/// Starts a broker for each scheme, without authentication.
fn one_of_each(authority: &Authority) -> [(&'static str, Broker); 4] {
    ["mqtt", "mqtts", "ws", "wss"].map(|scheme| (scheme, broker(scheme, &authority.server(), "")))
}

#[test]
fn a_proxy_is_used_if_it_is_given() {
    let authority = Authority::new("our CA");
    for (scheme, broker) in one_of_each(&authority) {
        for version in VERSIONS {
            let proxy = Relay::proxy(Answer::Connect);
            let by_way_of = |run: Rtcomm| {
                let run =
                    run.env("RTCOMM_MQTT_VERSION", version).env("RTCOMM_BROKER", broker.url_as(scheme, "localhost"));
                run.arg("--proxy").arg(proxy.http_url())
            };
            succeeds(by_way_of(trusting(&authority, scheme, rtcomm("watch"))));
            let call = by_way_of(trusting(&authority, scheme, rtcomm("call a b"))).start();
            if version == "5" {
                call.end().has_status(6);
            } else {
                // MQTT 3.1.1 does not report missing subscribers.
                proxy.wait_for_heads(2);
                call.terminate();
            }
            let heads = proxy.heads();
            let asked = format!("CONNECT localhost:{} HTTP/1.1\r\n", broker.port());
            let is_asked = heads.iter().all(|head| head.starts_with(&asked));
            assert!(heads.len() == 2 && is_asked, "{scheme}: one request to the proxy per command: {heads:?}");
        }
    }
}

#[test]
fn status_6_works_over_every_transport() {
    let authority = Authority::new("our CA");
    for (scheme, broker) in one_of_each(&authority) {
        trusting(&authority, scheme, call(&broker.url_as(scheme, "localhost"))).run().has_status(6);
    }
}

#[test]
fn the_proxy_of_the_environment_is_for_tls_only_and_has_exceptions() {
    let authority = Authority::new("our CA");
    let plain = Broker::mosquitto();
    let tls = broker("mqtts", &authority.server(), "");
    let secure = tls.url_as("mqtts", "localhost");
    for (url, environment, is_used) in [
        (&secure, &[][..], true),
        (&secure, &[("no_proxy", "example.com")], true),
        (&secure, &[("no_proxy", "example.com, localhost")], false),
        (&secure, &[("no_proxy", "*")], false),
        (&secure, &[("NO_PROXY", "localhost")], false),
        (&plain.url(), &[], false),
    ] {
        for name in ["https_proxy", "HTTPS_PROXY"] {
            let proxy = Relay::proxy(Answer::Connect);
            let mut run = watch(url).env(name, format!("http://ops:hunter2@127.0.0.1:{}/", proxy.port()));
            if url == &secure {
                run = run.arg("--cafile").arg(authority.cafile());
            }
            for (name, value) in environment {
                run = run.env(name, value);
            }
            succeeds(run).never_says("hunter2");
            let heads = proxy.heads();
            assert_eq!(heads.len(), usize::from(is_used), "{url} with {environment:?}");
            // base64 of ops:hunter2.
            let credentials = "Proxy-Authorization: Basic b3BzOmh1bnRlcjI=\r\n";
            assert!(heads.iter().all(|head| head.contains(credentials)), "{heads:?}");
        }
    }
}

#[test]
fn an_unusable_proxy_of_the_environment_is_an_error() {
    let authority = Authority::new("our CA");
    let tls = broker("mqtts", &authority.server(), "");
    let proxy = Relay::proxy(Answer::Connect);
    let run = |https_proxy: String| {
        let run = watch(&tls.url_as("mqtts", "localhost")).arg("--cafile").arg(authority.cafile());
        run.env("https_proxy", https_proxy)
    };
    let socks = run("socks5://ops:hunter2@127.0.0.1:1080".to_owned());
    socks.run().has_status(2).prints("").says("https_proxy").says("no_proxy").never_says("hunter2");
    succeeds(run(format!("127.0.0.1:{}", proxy.port())));
    assert_eq!(proxy.heads().len(), 1, "without a scheme it is an HTTP proxy");
    succeeds(run(String::new()));
    assert_eq!(proxy.heads().len(), 1, "an empty https_proxy is ignored");
}

#[test]
fn escaped_proxy_credentials_work_for_each_command() {
    let authority = Authority::new("our CA");
    let tls = broker("mqtts", &authority.server(), "");
    let url = tls.url_as("mqtts", "localhost");
    let proxy = Relay::proxy(Answer::Connect);
    let https_proxy = format!("http://us%40er:p%3Aw@127.0.0.1:{}/", proxy.port());
    let by_way_of = |run: Rtcomm| run.arg("--cafile").arg(authority.cafile()).env("https_proxy", &https_proxy);
    succeeds(by_way_of(watch(&url)));
    by_way_of(call(&url)).run().has_status(6);
    // base64 of us@er:p:w.
    let heads: Vec<String> = proxy.heads().iter().map(|head| head.to_lowercase()).collect();
    let are_right = heads.iter().all(|head| head.contains("\r\nproxy-authorization: basic dxnazxi6cdp3\r\n"));
    assert!(heads.len() == 2 && are_right, "{heads:?}");
}

#[test]
fn the_proxy_variable_of_the_library_is_ignored() {
    let broker = Broker::mosquitto();
    let proxy = Relay::proxy(Answer::Connect);
    let url = proxy.http_url();
    let run = call(&broker.url()).env("PAHO_C_CLIENT_USE_HTTP_PROXY", "TRUE").env("http_proxy", url);
    run.run().has_status(6);
    assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
}

#[test]
fn a_server_that_sends_single_bytes_is_awaited_until_the_connect_timeout() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // The header of a TLS record of 16 KiB, then its content, byte by byte. It is not HTTP either.
                let mut sent = stream.write_all(b"\x16\x03\x03\x40\x00");
                while sent.is_ok() {
                    thread::sleep(Duration::from_millis(100));
                    sent = stream.write_all(b"\x02");
                }
            });
        }
    });
    let broker = Broker::mosquitto();
    for (url, proxy) in [
        (format!("mqtts://localhost:{port}"), None),
        (format!("wss://localhost:{port}"), None),
        (broker.url(), Some(format!("http://localhost:{port}"))),
    ] {
        let run = rtcomm("call a b --timeout 10m --connect-timeout 500ms --broker").arg(&url);
        let run = proxy.into_iter().fold(run, |run, proxy| run.arg("--proxy").arg(proxy));
        run.run().has_status(5).prints("");
    }
}

#[test]
fn a_proxy_flag_is_a_url_without_credentials() {
    for (url, words) in [
        ("http://ops:hunter2@127.0.0.1:3128", "https_proxy"),
        ("127.0.0.1:3128", "http://HOST:PORT"),
        ("socks5://127.0.0.1:1080", "http://HOST:PORT"),
    ] {
        for command in ["watch", "call a b", "watch --dry-run"] {
            let run = rtcomm(command).arg("--proxy").arg(url).run();
            run.has_status(2).prints("").says(words).never_says("hunter2");
        }
    }
}
