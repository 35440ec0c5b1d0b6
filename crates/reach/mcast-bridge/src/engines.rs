//! The engines, by the schemes of their URLs.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{EngineError, any};
use crate::server::EngineAccess;

const SCHEMES: [&str; 14] = [
    "kafka",
    "kafka+tls",
    "nats",
    "tls",
    "tls+first",
    "rabbitmq-stream",
    "rabbitmq-stream+tls",
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
    "redis+unix",
];

/// Returns whether this is the URL of an engine, if only one that this build does not have.
#[must_use]
pub fn is_engine_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// Returns the stream in an engine that a URL names. `name` is that of the stream, for a URL without one.
///
/// # Errors
/// If this build has no engine for the URL, if neither the URL nor `name` names a stream, or if the TLS options are invalid.
pub fn engine_at(
    url: &str,
    access: EngineAccess,
    name: Option<&str>,
) -> Result<Arc<dyn Engine>, EngineError> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        #[cfg(all(feature = "kafka", unix))]
        Some("kafka" | "kafka+tls") => Ok(Arc::new(crate::kafka::KafkaTarget::parse(url, access, name)?)),
        #[cfg(feature = "nats")]
        Some("nats" | "tls" | "tls+first") => {
            Ok(Arc::new(crate::nats::NatsTarget::parse(url, access, name)?))
        }
        #[cfg(feature = "rabbitmq")]
        Some("rabbitmq-stream" | "rabbitmq-stream+tls") => {
            Ok(Arc::new(crate::rabbitmq::RabbitmqTarget::parse(url, access, name)?))
        }
        #[cfg(feature = "redis")]
        Some(scheme) if scheme.starts_with("redis") && SCHEMES.contains(&scheme) => {
            Ok(Arc::new(crate::redis::RedisTarget::parse(url, access, name)?))
        }
        Some(scheme) if SCHEMES.contains(&scheme) => Err(any::not_built(
            format_args!("client for {scheme}://"),
            "build it with the feature of this broker, such as: cargo install mcast-cli --features kafka (on Linux and other \
             Unix systems)",
        )),
        // What follows may be a password.
        Some(scheme) => Err(any::no_engine(format_args!("\"{scheme}://\" is not a"))),
        None => Err(any::no_engine("there is no")),
    }
}
