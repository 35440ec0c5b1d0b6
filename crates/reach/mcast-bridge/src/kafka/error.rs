//! What went wrong, and what to do about it.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::engine::EngineError;

fn error(what: String, remedy: &str, is_transient: bool) -> EngineError {
    EngineError { what, remedy: (!remedy.is_empty()).then(|| remedy.into()), is_transient }
}

/// Returns what to do about an error, and whether it may pass.
fn remedy(code: RDKafkaErrorCode) -> (&'static str, bool) {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => (
            "give the right user and password: kafka://USER@HOST and --password-file; the broker must accept the \
             mechanism of SASL, which is PLAIN unless the URL ends with ?sasl=scram-sha-512 or ?sasl=scram-sha-256",
            false,
        ),
        Code::SSL => (
            "name the authority of the brokers with --tls-ca, and a certificate of this bridge with --tls-certificate and \
             --tls-key if they require one",
            false,
        ),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => (
            "allow this user to read, write and describe the topic and TOPIC-bridges, to create them unless they exist, \
             to write the transactional id mcast-bridge.TOPIC, and to read the group mcast-bridge",
            false,
        ),
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            ("raise `max.message.bytes` of the topic, or `message.max.bytes` of the broker", false)
        }
        Code::KafkaStorageError => {
            ("make room on the disk of the broker; its log shows what it cannot write", true)
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            ("start the brokers that hold the other copies of the topic", true)
        }
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
            ("check that the broker runs and that a firewall admits its port", true)
        }
        _ => ("", true),
    }
}

/// Distinguishes a broker or bridge that is not trusted from one whose connection ended in the handshake of TLS: the client reports
/// either with one of two codes.
pub(super) fn of_handshake(code: RDKafkaErrorCode, reason: &str) -> RDKafkaErrorCode {
    use RDKafkaErrorCode as Code;
    match code {
        Code::SSL | Code::BrokerTransportFailure if reason.contains(":SSL routines:") => Code::SSL,
        Code::SSL => Code::BrokerTransportFailure,
        code => code,
    }
}

/// The error for a client that cannot be made.
pub(super) fn client(cause: &KafkaError) -> EngineError {
    error(format!("cannot start a client of Kafka: {cause}"), "", false)
}

/// The error for brokers that end connections of TLS without a certificate of the bridge, or have just ended.
pub(super) fn no_certificate(address: &str) -> EngineError {
    let remedy = "name a certificate of this bridge with --tls-certificate and --tls-key if brokers require one; otherwise \
                  check that they run";
    error(format!("{address} ends connections"), remedy, true)
}

pub(super) fn no_password() -> EngineError {
    let (remedy, is_transient) = remedy(RDKafkaErrorCode::Authentication);
    error("no user or no password was given".into(), remedy, is_transient)
}

/// The error that a client reported.
pub(super) fn reported(address: &str, code: RDKafkaErrorCode, reason: &str) -> EngineError {
    use RDKafkaErrorCode as Code;
    let (remedy, is_transient) = remedy(code);
    let what = match code {
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
            // How often and when it happened follows in parentheses.
            format!("{address} cannot be reached: {}", reason.split(" (after ").next().unwrap_or(reason))
        }
        _ => format!("{address} replied: {reason}"),
    };
    error(what, remedy, is_transient)
}

/// The error for a request that failed.
pub(super) fn request(address: &str, cause: &KafkaError) -> EngineError {
    let code = match cause {
        KafkaError::Transaction(cause) => Some(cause.code()),
        cause => cause.rdkafka_error_code(),
    };
    match code {
        Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => silent(address),
        Some(code) => {
            let reason = match cause {
                KafkaError::Transaction(cause) => cause.string(),
                _ => code.to_string(),
            };
            reported(address, code, &reason)
        }
        None => error(format!("{address}: {cause}"), "", true),
    }
}

pub(super) fn silent(address: &str) -> EngineError {
    error(format!("{address} does not respond"), "", true)
}

/// The error for records that were not delivered.
pub(super) fn undelivered(address: &str, code: RDKafkaErrorCode) -> EngineError {
    match code {
        RDKafkaErrorCode::MessageTimedOut => silent(address),
        code => reported(address, code, &code.to_string()),
    }
}

pub(super) fn topic(name: &str, code: RDKafkaErrorCode) -> EngineError {
    let (remedy, is_transient) = remedy(code);
    error(format!("the topic \"{name}\" cannot be used: {code}"), remedy, is_transient)
}

pub(super) fn creation(name: &str, code: RDKafkaErrorCode) -> EngineError {
    let what = format!("the topic \"{name}\" does not exist and cannot be created: {code}");
    let remedy =
        format!("create it with one partition: kafka-topics.sh --create --topic {name} --partitions 1");
    error(what, &remedy, false)
}

pub(super) fn partitions(name: &str, count: usize) -> EngineError {
    let what =
        format!("the topic \"{name}\" has {count} partitions, which would not keep the order of messages");
    error(what, "choose a topic with one partition, or let the bridge create one: kafka://HOST/TOPIC", false)
}

/// The error for a record that no bridge wrote.
pub(super) fn foreign(topic: &str, offset: i64) -> EngineError {
    let what = format!("no bridge wrote the record at offset {offset} of the topic \"{topic}\"");
    error(what, "give each stream a topic of its own: kafka://HOST/TOPIC", false)
}

/// The error for a topic of which records that were listed cannot be read.
pub(super) fn unreadable(topic: &str) -> EngineError {
    error(format!("records of the topic \"{topic}\" were removed while they were read"), "", true)
}

pub(super) fn no_topic() -> EngineError {
    error("no topic was given".into(), "name one: kafka://HOST/TOPIC", false)
}
