//! Streams of messages: publishers and subscribers.

mod acknowledgement;
mod audience;
mod discovery;
mod error;
mod event;
mod keys;
mod publisher;
#[cfg_attr(feature = "seal", path = "sealing.rs")]
#[cfg_attr(not(feature = "seal"), path = "no_sealing.rs")]
mod sealing;
mod settings;
mod snapshot;
mod statistics;
mod subscriber;

pub(crate) use acknowledgement::Watermark;
pub(crate) use audience::{Closing, PublisherEvent};
pub(crate) use discovery::{Announcements, FoundStream};
pub(crate) use event::{Message, StreamEvent};
pub(crate) use keys::PyKeys;
pub(crate) use publisher::Publisher;
pub(crate) use snapshot::Snapshot;
pub(crate) use statistics::{PublisherStatistics, SubscriberStatistics};
pub(crate) use subscriber::Subscriber;
