//! A topic in Kafka.

use mcast_bridge::kafka::{KafkaConnector, KafkaTarget};
use mcast_bridge::{EngineError, EnginePassword};

use super::super::Arguments;
use super::{Target, no_credentials, source_of, unnamed};

pub(super) fn target(
    url: &str,
    password: Option<EnginePassword>,
    name: Option<&String>,
    arguments: &Arguments,
) -> Result<Target, EngineError> {
    let mut kafka = KafkaTarget::parse(url)?;
    if let Some(password) = password {
        kafka = kafka.password(password)?;
    }
    no_credentials(arguments)?;
    if let Some(options) = arguments.access.tls() {
        kafka = kafka.tls(options)?;
    }
    if kafka.topic().is_none() {
        kafka = kafka.with_topic(name.ok_or_else(|| unnamed("topic", "/TOPIC", arguments))?.clone())?;
    }
    Ok(Target {
        key: kafka.topic().unwrap_or_default().to_owned(),
        address: kafka.address(),
        source: source_of(&kafka),
        sink: Box::new(KafkaConnector::new(kafka)),
        position: KafkaTarget::position,
    })
}
