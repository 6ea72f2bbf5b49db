//! Topics and bytes to and from an MQTT broker; knows nothing of events.
//!
//! [`broker`] says which broker and how ([`broker::Options`]), [`mqtt`] is one connection to it and the only code that
//! knows the MQTT library, [`tap`], [`tls`] and [`proxy`] tell what the library does not, [`linger`] ends a connection more
//! gently than it does, [`session`] keeps a subscription alive over many connections.

pub(crate) mod broker;
mod linger;
pub(crate) mod mqtt;
mod proxy;
pub(crate) mod session;
mod tap;
mod tls;
