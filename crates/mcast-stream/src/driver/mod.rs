//! The state machines on real sockets: a [`Publisher`] and a [`Subscriber`].

mod clock;
mod error;
mod publisher;
mod subscriber;
mod transmit;

pub use error::StreamError;
pub use publisher::{Closing, Publisher, PublisherBuilder};
pub use subscriber::{Subscriber, SubscriberBuilder};
