//! One connection to a broker. The only code that knows the MQTT library.
//!
//! What the library does not tell is found out before it is asked: whether the name stands for an address and whether
//! somebody listens there. What it must not see (a NUL) is kept from it by types. A message is acknowledged to the
//! broker when the [`Handler`] says so, and not before: a handler that must not lose a message writes it first.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use paho_mqtt as mqtt;

use super::broker::{Broker, MqttVersion, Options, Tls};
use super::copies::Copies;
use super::hold::{Hold, LINGER};
use super::reach::reach;
use super::refusal::{Answer, Refusal};
pub(crate) use super::tap::OnUnheard;
use super::tap::Tap;
use super::tls;
use super::wire::Wire;
use crate::exit::{Failure, Status};
use crate::protocol::topic::{TopicFilter, TopicName};

/// How long the library may take to be done with a connection that the broker closed. Its own thread closes the socket a
/// second time, and would close the next connection, which gets the same number, if that were made at once; it has no
/// word for when it is done.
const SETTLE: Duration = Duration::from_millis(100);

/// How long to wait for the answer to a SUBSCRIBE or an UNSUBSCRIBE.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is looked whether the connection still stands meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How many publications the library may hold back for the broker: more than any batch has in flight.
const MAX_BUFFERED: i32 = 20_000;

/// A message as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    /// Its topic.
    pub(crate) topic: &'a str,
    /// Its bytes.
    pub(crate) payload: &'a [u8],
    /// The quality of service that it was delivered with: 0, 1 or 2.
    pub(crate) qos: u8,
    /// Whether the broker had kept it.
    pub(crate) retain: bool,
}

/// Whether a message is acknowledged to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// It is.
    Send,
    /// It is not, and so none after it: nothing more comes over this connection, which can only be left.
    Withhold,
}

/// Takes messages, one after the other, on a thread of the MQTT library. It must not call a [`Client`], and must not hold a
/// lock that somebody holds who does.
pub(crate) type Handler = Arc<dyn Fn(Packet<'_>) -> Ack + Send + Sync>;

/// Why nothing more comes over a connection.
#[derive(Debug, Clone)]
pub(crate) enum Loss {
    /// It was lost; with the reason as far as that is known. Another one may be made.
    Connection(String),
    /// The library stands still from here on: no call into it returns. Because it broke; or, without a failure, because a
    /// message is not acknowledged, and all that was before it is.
    Standstill(Result<(), Failure>),
}

/// Is told that nothing more comes over the connection.
pub(crate) type OnLost = Arc<dyn Fn(Loss) + Send + Sync>;

/// A version of MQTT that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.1.1
    V311,
    /// 5
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

/// What became of a publication.
#[derive(Debug)]
pub(crate) enum Published {
    /// The broker took it.
    Taken,
    /// The broker refused it; with its reason.
    Denied(String),
    /// The connection broke before the broker acknowledged it.
    Lost,
}

/// What a connection is for.
#[derive(Clone)]
pub(crate) enum Purpose {
    /// To receive messages, and to publish nothing.
    Receive,
    /// To publish and to receive the answers. It is told which publications nobody subscribes to; costs a detour over
    /// loopback.
    Ask(OnUnheard),
}

/// What is subscribed to.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// These filters.
    pub(crate) filters: Vec<TopicFilter>,
    /// With this quality of service at the most: 0, 1 or 2.
    pub(crate) qos: u8,
    /// Together with all who name this group, so that each message goes to one of them.
    pub(crate) group: Option<String>,
    /// Whether it will do that the broker grants some of the filters.
    pub(crate) allow_partial: bool,
}

impl Subscription {
    /// With MQTT 5 the broker is asked to number copies. MQTT 3.1.1 cannot say it, and of a group each copy may go to
    /// another member.
    fn copies(&self, version: Version) -> Copies {
        Copies::of(&self.filters, version == Version::V5 && self.group.is_none())
    }
}

/// Who is told what comes over a connection.
#[derive(Clone)]
pub(crate) struct Hooks {
    /// Of messages.
    pub(crate) handler: Handler,
    /// Of the connection's end.
    pub(crate) on_lost: OnLost,
}

/// A connection to a broker, and what it is subscribed to.
pub(crate) struct Client {
    inner: mqtt::AsyncClient,
    options: Options,
    /// The same as the library is told them.
    told: Options,
    /// The address that the library was told; it looks names up by itself where TLS needs the name.
    address: SocketAddr,
    version: mqtt::MqttVersion,
    subscription: Subscription,
    hooks: Hooks,
    answers: Sender<(mqtt::Token, Then)>,
    tap: Option<Tap>,
    /// Where acknowledgements matter and nothing else is sent: a publication must not be held back with them.
    hold: Option<SharedHold>,
    is_resumed: bool,
    /// Whether the connection was lost since it was made.
    is_lost: Arc<AtomicBool>,
}

/// The library's callbacks use it too: nobody calls the library while it is locked.
type SharedHold = Arc<Mutex<Option<Hold>>>;

fn lock(hold: &SharedHold) -> MutexGuard<'_, Option<Hold>> {
    hold.lock().unwrap_or_else(PoisonError::into_inner)
}

fn let_go_of(hold: Option<&SharedHold>) -> Option<Hold> {
    lock(hold?).take()
}

/// What is done with the broker's answer to a publication.
type Then = Box<dyn FnOnce(Published) + Send>;

/// Waits for the answers to publications, one after the other, until the client is gone.
fn take_answers(publications: &Receiver<(mqtt::Token, Then)>) {
    for (token, then) in publications {
        then(match token.wait() {
            Ok(_) => Published::Taken,
            Err(mqtt::Error::ReasonCode(reason, _)) => Published::Denied(reason.to_string()),
            Err(_) => Published::Lost,
        });
    }
}

impl Client {
    /// Connects: looks the name up, tries its addresses, and speaks the highest MQTT version that is wanted and that the
    /// broker takes, all of it within the options' connect timeout. [`Client::subscribe`] is still to be called; a session
    /// that the broker kept delivers before that.
    ///
    /// # Errors
    /// With what was tried, why it failed and what to check.
    pub(crate) fn connect(
        options: &Options,
        subscription: &Subscription,
        purpose: &Purpose,
        hooks: &Hooks,
    ) -> Result<Self, Failure> {
        let deadline = Instant::now() + options.connect_timeout;
        let open = |version| Self::open(options, version, subscription, purpose, hooks, deadline);
        let opened = match options.version {
            MqttVersion::V5 => open(mqtt::MqttVersion::V5),
            MqttVersion::V311 => open(mqtt::MqttVersion::V3_1_1),
            MqttVersion::Auto => match open(mqtt::MqttVersion::V5) {
                // Without time for another try the first one's reason is the one to tell.
                Err(Refusal::OfVersion(_)) if Instant::now() + SETTLE < deadline => {
                    thread::sleep(SETTLE);
                    match open(mqtt::MqttVersion::V3_1_1) {
                        // The library may have needed longer.
                        Err(Refusal::Unexplained(_)) => open(mqtt::MqttVersion::V3_1_1),
                        other => other,
                    }
                }
                other => other,
            },
        };
        opened.map_err(|refusal| refusal.explained(options))
    }

    fn open(
        options: &Options,
        version: mqtt::MqttVersion,
        subscription: &Subscription,
        purpose: &Purpose,
        hooks: &Hooks,
        deadline: Instant,
    ) -> Result<Self, Refusal> {
        if options.broker.scheme.is_tls() {
            tls::check(&options.tls).map_err(Refusal::Of)?;
        }
        let tap = tap_for(options, purpose).map_err(Refusal::Of)?;
        let (told, address) = match &tap {
            Some(tap) => (options.by_way_of(tap.address()), tap.address()),
            None => (options.clone(), reach(options, deadline).map_err(Refusal::Of)?.0),
        };
        let inner = create(&told, version, address).map_err(Refusal::Of)?;
        let (options, subscription, hooks) = (options.clone(), subscription.clone(), hooks.clone());
        let (answers, publications) = channel();
        thread::spawn(move || take_answers(&publications));
        let hold = (matches!(purpose, Purpose::Receive) && subscription.qos > 0).then(SharedHold::default);
        let mut client = Self {
            inner,
            options,
            told,
            address,
            version,
            subscription,
            hooks,
            answers,
            tap,
            hold,
            is_resumed: false,
            is_lost: Arc::default(),
        };
        stand_still_where_the_library_panics(&client.options.broker, &client.hooks.on_lost);
        client.listen();
        client.connect_until(deadline)?;
        Ok(client)
    }

    /// Connects again after a loss; the name is looked up anew.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub(crate) fn reconnect(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.options.connect_timeout;
        if self.tap.is_none() {
            self.follow_to(reach(&self.options, deadline)?.0)?;
        }
        self.connect_until(deadline).map_err(|refusal| refusal.explained(&self.options))
    }

    /// Has the library know where the broker is now: it keeps to the address that it was told first.
    fn follow_to(&mut self, address: SocketAddr) -> Result<(), Failure> {
        if address != self.address {
            let replaced = std::mem::replace(&mut self.inner, create(&self.told, self.version, address)?);
            let_go(replaced);
            self.address = address;
            self.listen();
        }
        Ok(())
    }

    fn connect_until(&mut self, deadline: Instant) -> Result<(), Refusal> {
        self.is_lost.store(false, Ordering::Relaxed);
        if let Some(tap) = &mut self.tap {
            tap.open(Wire::to_broker(&self.options, deadline).map_err(Refusal::Of)?);
        }
        let token = self.inner.connect(self.connect_options()?);
        match token.wait_for(deadline.saturating_duration_since(Instant::now())) {
            Ok(response) => {
                self.is_resumed = response.connect_response().is_some_and(|connected| connected.session_present);
                if let Some(hold) = &self.hold {
                    let mut hold = lock(hold);
                    // What is left of an earlier connection would be a second one.
                    hold.take();
                    *hold = Hold::on(self.address.port());
                }
                Ok(())
            }
            Err(error) => Err(match self.tap.as_ref().and_then(Tap::refusal) {
                Some(status) => Refusal::of_websocket(&self.options.broker, status),
                None => Refusal::by(answer_of(&error), &self.options, self.version() == Version::V5),
            }),
        }
    }

    /// Whether the broker had kept our session, so that it still knows what we subscribed to.
    pub(crate) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    fn connect_options(&self) -> Result<mqtt::ConnectOptions, Refusal> {
        let Options { broker, username, password, keepalive, connect_timeout, tls, kept, proxy, .. } = &self.told;
        let mut builder = mqtt::ConnectOptionsBuilder::with_mqtt_version(self.version);
        builder.keep_alive_interval(*keepalive).connect_timeout(*connect_timeout);
        match (self.version, kept) {
            (mqtt::MqttVersion::V5, Some(expiry)) => {
                let seconds = i32::from_ne_bytes(u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX).to_ne_bytes());
                let mut properties = mqtt::Properties::new();
                properties
                    .push_int(mqtt::PropertyCode::SessionExpiryInterval, seconds)
                    .expect("a session's expiry is an integer property");
                builder.clean_start(false).properties(properties);
            }
            (mqtt::MqttVersion::V5, None) => drop(builder.clean_start(true)),
            (_, kept) => drop(builder.clean_session(kept.is_none())),
        }
        if let Some(username) = username {
            builder.user_name(username);
        }
        if let Some(password) = password {
            builder.password(password.expose());
        }
        if broker.scheme.is_tls() {
            let ssl =
                ssl_options(tls).map_err(|error| Refusal::Of(Failure::usage(format!("wrong TLS options: {error}"))))?;
            builder.ssl_options(ssl);
        }
        match proxy {
            Some(proxy) if broker.scheme.is_tls() => drop(builder.https_proxy(proxy.expose())),
            Some(proxy) => drop(builder.http_proxy(proxy.expose())),
            None => {}
        }
        Ok(builder.finalize())
    }

    /// Sets up who is told what.
    fn listen(&self) {
        let (told, hold, is_lost) = (self.hooks.on_lost.clone(), self.hold.clone(), self.is_lost.clone());
        let lose = move |reason| {
            is_lost.store(true, Ordering::Relaxed);
            let_go_of(hold.as_ref());
            told(Loss::Connection(reason));
        };
        let lost = lose.clone();
        self.inner.set_connection_lost_callback(move |_| lost("the connection broke".to_owned()));
        let goodbye = move |reason| lose(format!("the broker closed the connection: {reason}"));
        self.inner.set_disconnected_callback(move |_, _, reason| goodbye(reason));
        let Hooks { handler, on_lost } = self.hooks.clone();
        let copies = self.subscription.copies(self.version());
        let (lingers, hold, port) = (self.lingers(), self.hold.clone(), self.address.port());
        self.inner.set_message_callback(move |_, message| {
            let Some(message) = message else { return };
            if !copies.accept(message.topic(), || subscription_identifiers(&message)) {
                return;
            }
            let packet = Packet {
                topic: message.topic(),
                payload: message.payload(),
                qos: message.qos() as u8,
                retain: message.retained(),
            };
            match (handler(packet), &hold) {
                (Ack::Send, Some(hold)) if packet.qos > 0 => {
                    if let Some(hold) = &mut *lock(hold) {
                        hold.before_acknowledgement();
                    }
                }
                (Ack::Send, _) => {}
                (Ack::Withhold, hold) => {
                    // A session that the broker kept delivers before anybody knows that the connection stands.
                    let held = hold.as_ref().and_then(|hold| {
                        let mut hold = lock(hold);
                        hold.take().or_else(|| Hold::on(port))
                    });
                    if let Some(hold) = held.filter(|_| lingers) {
                        hold.linger(Instant::now() + LINGER);
                    }
                    stand_still(&on_lost, Ok(()));
                }
            }
        });
    }

    /// The MQTT version that the broker speaks with us.
    pub(crate) fn version(&self) -> Version {
        if self.version == mqtt::MqttVersion::V5 { Version::V5 } else { Version::V311 }
    }

    /// Subscribes to each filter and waits for every answer. Where filters overlap, a message is handled once all the
    /// same. With MQTT 3.1.1 a quality of service of 2 becomes 1: the library would acknowledge before it delivers.
    ///
    /// Returns the filters that the broker refused, where that may be.
    ///
    /// # Errors
    /// Where the broker refuses filters: names them. Where no answer comes.
    pub(crate) fn subscribe(&self) -> Result<Vec<TopicFilter>, Failure> {
        let Subscription { group, allow_partial, .. } = &self.subscription;
        let wanted = self.subscription.copies(self.version()).wanted();
        let sent = wanted.into_iter().map(|(number, filter)| {
            let filter = group.as_ref().map_or(filter.clone(), |group| filter.shared_by(group));
            (self.send_subscribe(&filter, number), filter)
        });
        let sent: Vec<_> = sent.collect();
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let all = sent.len();
        let mut denied = Vec::new();
        for (token, filter) in sent {
            let answer = self.answer(&token, deadline);
            if !self.is_granted(&filter, answer)? {
                denied.push(filter);
            }
        }
        if denied.is_empty() || (*allow_partial && denied.len() < all) {
            return Ok(denied);
        }
        let names: Vec<String> = denied.iter().map(|filter| format!("'{filter}'")).collect();
        let plural = if names.len() == 1 { "" } else { "s" };
        Err(Failure::refused(format!(
            "{} refuses the subscription{plural} to {}: not authorized",
            self.options.broker,
            names.join(", ")
        ))
        .hint(if names.len() < all {
            "check the broker's access list for this user; --allow-partial goes on with the subscriptions it grants"
        } else {
            "check the broker's access list for this user"
        }))
    }

    /// Waits for the answer to a SUBSCRIBE: where the connection is lost the library never gives one.
    fn answer(&self, token: &mqtt::SubscribeToken, deadline: Instant) -> mqtt::Result<mqtt::ServerResponse> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match token.clone().wait_for(left.min(LOOK_AGAIN)) {
                Err(mqtt::Error::Timeout) if self.is_lost.load(Ordering::Relaxed) => {
                    return Err(mqtt::Error::Disconnected);
                }
                Err(mqtt::Error::Timeout) if !left.is_zero() => {}
                answer => return answer,
            }
        }
    }

    fn send_subscribe(&self, filter: &TopicFilter, number: Option<i32>) -> mqtt::SubscribeToken {
        let qos = self.subscription.qos;
        if self.version() == Version::V311 {
            return self.inner.subscribe(filter.as_str(), i32::from(qos.min(1)));
        }
        let mut properties = mqtt::Properties::new();
        if let Some(number) = number {
            properties
                .push_int(mqtt::PropertyCode::SubscriptionIdentifier, number)
                .expect("a subscription identifier is an integer property");
        }
        let options =
            mqtt::SubscribeOptionsBuilder::new().retain_handling(mqtt::RetainHandling::SendRetainedOnNew).finalize();
        self.inner.subscribe_with_options(filter.as_str(), i32::from(qos), options, properties)
    }

    fn is_granted(&self, filter: &TopicFilter, answer: mqtt::Result<mqtt::ServerResponse>) -> Result<bool, Failure> {
        let broker = &self.options.broker;
        match answer {
            Ok(response) => Ok(response.subscribe_response().is_none_or(|code| code < 0x80)),
            Err(mqtt::Error::ReasonCode(..)) => Ok(false),
            // So the library shows SUBACK's 0x80 with MQTT 3.1.1; a connection that breaks shows otherwise.
            Err(mqtt::Error::Failure) if self.version() == Version::V311 => Ok(false),
            Err(mqtt::Error::Timeout) => Err(Failure::unreachable(format!(
                "{broker} does not answer the subscription to '{filter}' within {}",
                humantime::format_duration(ANSWER_TIMEOUT)
            ))),
            Err(error) => {
                Err(Failure::unreachable(format!("{broker} broke off the subscription to '{filter}' ({error})"))
                    .hint("a broker that refuses a subscription may close the connection: check its access list"))
            }
        }
    }

    /// Publishes once, at QoS 1. The broker's answer is given to `then`, on another thread, which takes the answers in
    /// the order of the publications.
    pub(crate) fn publish(&self, topic: &TopicName, payload: String, then: impl FnOnce(Published) + Send + 'static) {
        let token = self.inner.publish(mqtt::Message::new(topic.as_str(), payload, 1)).into();
        // The thread ends with the client, and so not before this.
        let _ = self.answers.send((token, Box::new(then)));
    }

    /// Says goodbye to the broker, and waits no longer than `patience` for it to be sent; where the broker keeps what was
    /// not acknowledged, also until it has read all acknowledgements.
    pub(crate) fn disconnect(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        // Where it fails the connection is gone already, which is what was wanted.
        let said = self.inner.disconnect(None).wait_for(patience);
        // Not before: until now a callback may have had to leave the connection in its own way.
        let hold = let_go_of(self.hold.as_ref()).filter(|_| self.lingers());
        if let (Ok(_), Some(hold)) = (said, hold) {
            hold.linger(deadline);
        }
        if let Some(tap) = &self.tap {
            tap.wait(deadline);
        }
    }

    /// Whether it matters at the end that the broker reads all acknowledgements: where it delivers again, to us or to
    /// another of our group, what is not acknowledged.
    fn lingers(&self) -> bool {
        self.options.kept.is_some() || self.subscription.group.is_some()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let_go(self.inner.clone());
    }
}

/// The library panics in a callback where a topic is no UTF-8 or holds a NUL, which MQTT forbids [MQTT-1.5.4-1]
/// [MQTT-1.5.4-2], and a panic there aborts the process, perhaps with a core that holds secrets. So the thread that panics
/// is kept from going on, and `on_lost` is told, for the run to end in order.
fn stand_still_where_the_library_panics(broker: &Broker, on_lost: &OnLost) {
    let (told, broker) = (on_lost.clone(), broker.to_string());
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_none_or(|location| !location.file().contains("paho-mqtt")) {
            return before(panic);
        }
        let failure =
            Failure::new(Status::Failure, format!("{broker} sent what MQTT forbids: a topic that is no text"))
                .hint("whoever published it, or the broker, breaks the protocol; the broker should have refused it");
        stand_still(&told, Err(failure));
    }));
}

/// Keeps a thread of the library from going on, so that it acknowledges nothing more.
fn stand_still(on_lost: &OnLost, why: Result<(), Failure>) -> ! {
    on_lost(Loss::Standstill(why));
    loop {
        thread::park();
    }
}

/// Forgets a client of the library, which takes up to a second to end one. Few are made, and none outlives the process.
fn let_go(client: mqtt::AsyncClient) {
    std::mem::forget(client);
}

/// Who is to stand between the library and the broker, where it must not be left alone with it.
fn tap_for(options: &Options, purpose: &Purpose) -> Result<Option<Tap>, Failure> {
    let broker = &options.broker;
    let on_unheard: OnUnheard = match purpose {
        Purpose::Receive if !broker.scheme.is_websocket() => return Ok(None),
        Purpose::Receive => Arc::new(|_| {}),
        Purpose::Ask(on_unheard) => on_unheard.clone(),
    };
    Tap::start(broker.clone(), on_unheard).map(Some).map_err(|error| options.cannot_set_up(&error))
}

fn create(options: &Options, version: mqtt::MqttVersion, address: SocketAddr) -> Result<mqtt::AsyncClient, Failure> {
    mqtt::CreateOptionsBuilder::new()
        .server_uri(if options.proxy.is_some() { options.broker.to_string() } else { options.broker.url_for(address) })
        .client_id(&options.client_id)
        .mqtt_version(version)
        .max_buffered_messages(MAX_BUFFERED)
        .create_client()
        .map_err(|error| options.cannot_set_up(&error))
}

/// The numbers of the subscriptions that a message was sent for; a broker may give none.
fn subscription_identifiers(message: &mqtt::Message) -> Vec<i32> {
    let properties = message.properties().iter(mqtt::PropertyCode::SubscriptionIdentifier);
    properties.filter_map(|property| property.get_int()).collect()
}

/// What the library's error says of the broker's answer to a CONNECT.
fn answer_of(error: &mqtt::Error) -> Answer {
    use mqtt::{ConnectReturnCode as Return, ReasonCode as Reason};
    match error {
        mqtt::Error::ReasonCode(
            Reason::BadUserNameOrPassword | Reason::NotAuthorized | Reason::BadAuthenticationMethod,
            _,
        )
        | mqtt::Error::ConnectReturn(Return::BadUserNameOrPassword | Return::NotAuthorized) => Answer::NotAuthorized,
        mqtt::Error::ReasonCode(Reason::ClientIdentifierNotValid, _)
        | mqtt::Error::ConnectReturn(Return::IdentifierRejected) => Answer::BadClientId,
        mqtt::Error::ReasonCode(Reason::UnsupportedProtocolVersion, _)
        | mqtt::Error::ConnectReturn(Return::UnacceptableProtocolVersion) => Answer::WrongVersion,
        mqtt::Error::ReasonCode(Reason::Banned, _) => Answer::Banned,
        mqtt::Error::ConnectReturn(Return::ServerUnavailable) => Answer::Unavailable("it says so".to_owned()),
        mqtt::Error::ReasonCode(reason, _) => Answer::Unavailable(reason.to_string()),
        mqtt::Error::Timeout | mqtt::Error::TcpConnectTimeout => Answer::Nothing,
        mqtt::Error::TcpTlsConnectFailure => Answer::NoConnection,
        error => Answer::Strange(error.to_string()),
    }
}

fn ssl_options(tls: &Tls) -> mqtt::Result<mqtt::SslOptions> {
    let Tls { cafile, capath, cert, key, key_password, alpn, insecure } = tls;
    let mut builder = mqtt::SslOptionsBuilder::new();
    builder.enabled_cipher_suites(tls::CIPHERS).enable_server_cert_auth(!insecure).verify(!insecure);
    builder.disable_default_trust_store(cafile.is_some() || capath.is_some());
    if let Some(file) = cafile {
        builder.trust_store(file)?;
    }
    if let Some(folder) = capath {
        builder.ca_path(folder)?;
    }
    if let Some(file) = cert {
        builder.key_store(file)?.private_key(key.as_ref().unwrap_or(file))?;
    }
    if let Some(password) = key_password {
        builder.private_key_password(password.expose());
    }
    if !alpn.is_empty() {
        builder.alpn_protos(&alpn.iter().map(String::as_str).collect::<Vec<_>>());
    }
    Ok(builder.finalize())
}
