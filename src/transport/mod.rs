//! Exchanges topics and payloads with an MQTT broker. Does not depend on events, flags or texts for users.
//!
//! | file | does |
//! | --- | --- |
//! | `session` | keeps a subscription over many connections: backoff, resubscribe |
//! | `client` | CONNECT, SUBSCRIBE, PUBLISH, DISCONNECT with one of several brokers |
//! | `library` | sends packets with the MQTT library; the only file that names its crate |
//! | `relay` | owns the connection to the broker: handles messages, checks and forwards all other packets |
//! | `loopback` | the loopback port where the library connects to the relay |
//! | `gate` | decides whether messages are still handled |
//! | `buffer` | bytes that are read, but not handled yet |
//! | `moment` | points in time that do not depend on the wall clock |
//! | `codec` | MQTT packets |
//! | `dedup` `subscription` | which filters to subscribe to, and which copy of a message to handle |
//! | `dial` | opens the connection to the broker; uses `proxy`, `tls`, `websocket` and `stream`, which use `deadline` |
//! | `http` | the responses of proxies and WebSocket servers |
//! | `options` `url` `no_proxy` | brokers and connection settings |
//! | `error` `dial_error` | typed errors |

mod buffer;
pub(crate) mod client;
pub(crate) mod codec;
mod deadline;
mod dedup;
mod dial;
mod dial_error;
pub(crate) mod error;
mod gate;
mod http;
mod library;
mod loopback;
pub(crate) mod moment;
pub(crate) mod no_proxy;
pub(crate) mod options;
mod proxy;
pub(crate) mod relay;
pub(crate) mod session;
mod stream;
pub(crate) mod subscription;
#[cfg(test)]
mod test_pki;
mod tls;
pub(crate) mod url;
mod websocket;
