//! Topics and bytes to and from an MQTT broker; knows nothing of events.
//!
//! [`broker`] says which broker and how ([`broker::Options`]). [`mqtt`] is one connection to it, and the only code that
//! knows the MQTT library: [`reach`], [`tls`] and [`proxy`] tell what the library does not, [`hold`] does with the connection
//! what it does not, and [`tap`] stands before a [`wire`] of our own where the library alone would not do: for what is
//! published, and for WebSockets ([`frames`], [`packets`]). [`own`] finds our sockets for both. [`session`] keeps a subscription alive over many connections.

pub(crate) mod broker;
mod frames;
mod hold;
pub(crate) mod mqtt;
mod own;
mod packets;
mod proxy;
mod reach;
pub(crate) mod session;
mod tap;
mod tls;
mod wire;
