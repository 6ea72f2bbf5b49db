//! Groups of flags that several commands share.
//!
//! | file | contents |
//! | --- | --- |
//! | `filter` | which events are selected |
//! | `call_records` | call records and summaries |
//! | `window` | the end of a run: a count or a time |
//! | `delivery` | the subscription and the output of records |
//! | `connection` | the connection to the broker |
//! | `topics` | the topics of the deployment |
//! | `display` | color and messages |

mod call_records;
mod connection;
mod delivery;
mod display;
mod filter;
mod topics;
mod window;

pub(crate) use call_records::{CallRecordArgs, CallRecordSettings};
pub(crate) use connection::ConnectionArgs;
pub(crate) use delivery::DeliveryArgs;
pub(crate) use display::DisplayArgs;
pub(crate) use filter::FilterArgs;
pub(crate) use topics::TopicArgs;
pub(crate) use window::WindowArgs;
