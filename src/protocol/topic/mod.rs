//! Topic names, topic filters and endpoint IDs.
//!
//! An event's topic is `ROOT/CATEGORY/ACTION/FROM[/TO]`.
//!
//! | file | contents |
//! | --- | --- |
//! | `names` | endpoint IDs, topic names, roots, and where a deployment publishes |
//! | `event` | category, action and endpoints of an event's topic |
//! | `filter` | topic filters and how MQTT matches them |
//! | `syntax` | rules for both, and the error of an invalid text |

mod event;
mod filter;
mod names;
mod syntax;

pub use event::{Action, Category, EventTopic, Subject, TopicError};
pub use filter::{TopicFilter, disjoint, intersect};
pub use names::{EndpointId, Root, TopicName, Topics};
pub use syntax::{MAX_TOPIC_BYTES, SyntaxError};
