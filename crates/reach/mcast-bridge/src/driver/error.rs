//! Why a bridge stops.

use std::error::Error;
use std::net::SocketAddr;

use mcast_stream::StreamError;
use mcast_stream::wire::StreamId;
use mcast_sys::{ClassifiedError, FailureClass};

use crate::error::EngineError;
use crate::machine::BridgeRefusal;
use crate::reverse::ReverseRefusal;

/// Why a bridge stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// The stream cannot be received.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The engine cannot be used, and waiting does not help.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Nothing may be stored in the engine there.
    #[error(transparent)]
    Refused(#[from] BridgeRefusal),
    /// The datagrams of a plain group cannot be received or sent.
    #[error(transparent)]
    Group(#[from] mcast::Error),
    /// Datagrams that are sent again are stored again.
    #[error("the datagrams that are sent from the broker are stored in it again, by a bridge of their group")]
    FeedbackLoop,
    /// The group carries another stream than the one that the bridge has begun with.
    #[error("stream {from} is silent or has ended, and the group now carries stream {to}")]
    StreamChanged {
        /// The bridge's stream.
        from: StreamId,
        /// The other one.
        to: StreamId,
    },
    /// The messages came out of the engine that they must be stored in.
    #[error(
        "the messages of this stream were published from this key of the broker, and are not written back"
    )]
    WriteBack,
    /// The stream must not be published.
    #[error("{refusal}{}", .publisher.map(|publisher| format!(" (at {publisher})")).unwrap_or_default())]
    NotPublished {
        /// Why.
        refusal: ReverseRefusal,
        /// The publisher that prevents it.
        publisher: Option<SocketAddr>,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl ClassifiedError for BridgeError {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Engine(_)
            | Self::Refused(_)
            | Self::FeedbackLoop
            | Self::StreamChanged { .. }
            | Self::NotPublished { .. }
            | Self::WriteBack => Some(FailureClass::Environment),
            Self::Stream(_) | Self::Group(_) | Self::Thread(_) => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Engine(error) => error.remedy.clone(),
            Self::NotPublished { refusal, .. } => Some(match refusal {
                ReverseRefusal::NotABridge
                | ReverseRefusal::OtherContent { .. }
                | ReverseRefusal::SameStream(_) => "publish it under a name of its own: --name NAME".into(),
                ReverseRefusal::StreamChanged { .. } => {
                    "start the bridge again to publish the new stream".into()
                }
                ReverseRefusal::TooManyEngines => {
                    "remove a bridge: the messages may be going round in a circle".into()
                }
            }),
            Self::WriteBack => Some("keep it in another broker, or elsewhere in this one: ?key=KEY in Redis, ?stream=STREAM in NATS and RabbitMQ, /TOPIC in Kafka".into()),
            Self::FeedbackLoop => Some("send them to another group, or stop the other bridge".into()),
            Self::Refused(BridgeRefusal::OtherBridge | BridgeRefusal::TakenOver(_)) => Some(
                "give each bridge of a plain group one of its own in the broker (?key=KEY in Redis, ?stream=STREAM in \
                 NATS and RabbitMQ, /TOPIC in Kafka), or stop the other bridge"
                    .into(),
            ),
            Self::Refused(BridgeRefusal::Unstorable(record)) => Some(record.remedy.into()),
            Self::Refused(_) => Some(
                "give each stream one of its own in the broker: ?key=KEY in Redis, ?stream=STREAM in NATS and RabbitMQ, /TOPIC in Kafka"
                    .into(),
            ),
            Self::StreamChanged { .. } => Some(
                "publish under a name and select it with --name, so that a restart continues the stream"
                    .into(),
            ),
            Self::Stream(_) | Self::Group(_) | Self::Thread(_) => None,
        }
    }

    fn transparent(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stream(error) => Some(error),
            Self::Group(error) => Some(error),
            _ => None,
        }
    }
}
