//! Topics and bytes to and from an MQTT broker; knows nothing of events.
//!
//! [`broker`] says which broker and how ([`broker::Options`]). [`mqtt`] is one connection to it, and the only code that
//! knows the MQTT library: [`reach`], [`tap`], [`tls`] and [`proxy`] tell what the library does not, [`hold`] does with the
//! connection what it does not. [`session`] keeps a subscription alive over many connections.

pub(crate) mod broker;
mod hold;
pub(crate) mod mqtt;
mod proxy;
mod reach;
pub(crate) mod session;
mod tap;
mod tls;
