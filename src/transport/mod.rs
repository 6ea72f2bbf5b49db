//! Topics and bytes to and from an MQTT broker. Knows no event, no flag and no sentence for people.
//!
//! | file | does |
//! | --- | --- |
//! | `session` | keeps a subscription over many connections: backoff, resubscribe |
//! | `client` | CONNECT, SUBSCRIBE, PUBLISH, DISCONNECT; the only file that names the MQTT library |
//! | `relay` | owns the connection to the broker: takes messages off the wire, checks and forwards the rest |
//! | `endpoint` | where the library connects to the relay |
//! | `gate` | decides whether messages are still handled |
//! | `buffer` | the bytes that were read and not handled yet |
//! | `moment` | points in time that no change of the wall clock moves |
//! | `codec` | MQTT packets |
//! | `dedup` `subscription` | what to subscribe to, and which copy of a message to handle |
//! | `dial` | the way to the broker; below it `proxy`, `tls`, `websocket` and `stream`, and below these `deadline` |
//! | `options` `url` `no_proxy` | which broker, and how to reach it |
//! | `error` `dial_error` | what can go wrong |

mod buffer;
pub(crate) mod client;
pub(crate) mod codec;
mod deadline;
mod dedup;
mod dial;
mod dial_error;
mod endpoint;
pub(crate) mod error;
mod gate;
mod http;
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
