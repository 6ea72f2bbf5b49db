//! Topics and bytes to and from an MQTT broker; knows nothing of events.
//!
//! | file | holds |
//! | --- | --- |
//! | `session` | a subscription that is kept alive over many connections |
//! | `mqtt` | one connection; the only code that knows the MQTT library |
//! | `copies` | what to subscribe to where filters overlap, and which copy of a message to handle |
//! | `hold` | what the library does not do with its connection |
//! | `tap` `frames` `packets` | what stands between the library and a wire of our own, where the library alone would not do |
//! | `wire` `tls` `proxy` `reach` `timed` | our own way to the broker in time, and why there is none |
//! | `refusal` | why a broker does not take us, in words |
//! | `own` | which sockets are ours |
//! | `broker` | which broker, and how to reach it |

pub(crate) mod broker;
mod copies;
mod frames;
mod hold;
pub(crate) mod mqtt;
mod own;
mod packets;
mod proxy;
mod reach;
mod refusal;
pub(crate) mod session;
mod tap;
mod timed;
mod tls;
mod wire;
