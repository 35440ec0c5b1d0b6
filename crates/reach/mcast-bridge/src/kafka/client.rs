//! Clients of Kafka, the topics that they use, and what goes wrong.

use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext, Message};

use super::target::KafkaTarget;
use crate::engine::Engine;
use crate::error::kafka::{advertised, no_certificate, no_client, no_password, partitions};
use crate::error::{EngineError, EngineErrorKind, any};
use crate::limits::{EngineRetention, RecordRefusal, RetentionRule};
use crate::server::ServerAddress;
use crate::tls::TlsOptions;

/// How long to wait for a connection or a response. A broker that stands still for longer is connected to again.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request for metadata waits before the errors that occurred meanwhile are looked at.
const SLICE: Duration = Duration::from_millis(500);
/// How long a look for delivered records takes, whether there are some or not.
const POLL: Duration = Duration::from_millis(1);
/// How long to wait for the reason of a failure.
const REASON: Duration = Duration::from_millis(50);
/// The group of consumers that a bridge names, because the client requires one. It stores nothing there.
const GROUP: &str = "mcast-bridge";

/// What a client reports, other than in responses.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The latest error.
    problem: Mutex<Option<(RDKafkaErrorCode, String)>>,
    /// Whether no broker is left, or one rejected the user.
    is_final: AtomicBool,
    delivered: Mutex<Delivered>,
}

/// What became of the records that were produced.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivered {
    pub(super) count: usize,
    failed: usize,
    /// The least and the greatest offset.
    pub(super) offsets: Option<(i64, i64)>,
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// A handle of reports that a client holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Context(Arc<Reports>);

pub(super) type KafkaConsumer = BaseConsumer<Context>;
pub(super) type KafkaProducer = BaseProducer<Context>;

impl Context {
    /// Returns the latest error, and forgets it.
    fn take_problem(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns what was delivered, and forgets it.
    pub(super) fn take_delivered(&self) -> Delivered {
        std::mem::take(&mut *self.0.delivered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Context {
    /// Errors are reported by what fails because of them.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code()
            && code != RDKafkaErrorCode::PartitionEOF
        {
            let code = of_handshake(code, reason);
            use RDKafkaErrorCode::{AllBrokersDown, Authentication, SSL, SaslAuthenticationFailed};
            if [AllBrokersDown, Authentication, SSL, SaslAuthenticationFailed].contains(&code) {
                self.0.is_final.store(true, Ordering::Relaxed);
            }
            let mut problem = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner);
            // That no broker is left is the consequence of another error.
            if problem.is_none() || code != AllBrokersDown {
                *problem = Some((code, reason.to_owned()));
            }
        }
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut delivered = self.0.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => {
                let offset = message.offset();
                delivered.count += 1;
                let (least, greatest) = delivered.offsets.unwrap_or((offset, offset));
                delivered.offsets = Some((least.min(offset), greatest.max(offset)));
            }
            Err((error, _)) => {
                delivered.failed += 1;
                delivered.error = delivered.error.or_else(|| error.rdkafka_error_code());
            }
        }
    }
}

/// Returns the settings of all clients.
fn config(target: &KafkaTarget) -> Result<ClientConfig, EngineError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", target.address()).set("client.id", "mcast bridge");
    let timeout = TIMEOUT.as_millis().to_string();
    config.set("socket.timeout.ms", &timeout).set("reconnect.backoff.max.ms", "1000");
    let has_login = target.has_login();
    if has_login {
        let password = target.url.read_password()?;
        if target.url.user.is_empty() || password.is_empty() {
            return Err(no_password(LOGIN));
        }
        config.set("sasl.mechanisms", target.mechanism.name());
        config.set("sasl.username", &target.url.user).set("sasl.password", password);
    }
    config.set(
        "security.protocol",
        match (&target.url.tls, has_login) {
            (None, false) => "plaintext",
            (None, true) => "sasl_plaintext",
            (Some(_), false) => "ssl",
            (Some(_), true) => "sasl_ssl",
        },
    );
    if let Some(TlsOptions { authorities, certificate, server_name: _ }) = &target.url.tls {
        let mut set = |name: &str, path: &Path| {
            config.set(name, path.to_string_lossy());
        };
        authorities.iter().for_each(|path| set("ssl.ca.location", path));
        if let Some((certificate, key)) = certificate {
            set("ssl.certificate.location", certificate);
            set("ssl.key.location", key);
        }
    }
    config.set_log_level(RDKafkaLogLevel::Emerg);
    Ok(config)
}

/// Returns a consumer of committed records, which waits this long for new ones at the broker.
pub(super) fn consumer(target: &KafkaTarget, wait: Duration) -> Result<KafkaConsumer, EngineError> {
    let mut config = config(target)?;
    config.set("group.id", GROUP).set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.set("isolation.level", "read_committed").set("auto.offset.reset", "error");
    config.set("enable.partition.eof", "true").set("allow.auto.create.topics", "false");
    config.set("fetch.wait.max.ms", wait.as_millis().to_string());
    // What is read ahead.
    config.set("queued.max.messages.kbytes", "4096").set("fetch.queue.backoff.ms", "10");
    config.create_with_context(Context::default()).map_err(no_client)
}

/// Returns a producer, with these settings besides the common ones.
pub(super) fn producer(
    target: &KafkaTarget,
    settings: &[(&str, &str)],
) -> Result<KafkaProducer, EngineError> {
    let mut config = config(target)?;
    let timeout = TIMEOUT.as_millis().to_string();
    config.set("message.timeout.ms", &timeout).set("message.max.bytes", "1000000000");
    // They end before the time does, so that an error names its cause, such as copies that are missing: after 7.5 s.
    config.set("retries", "10").set("retry.backoff.ms", "100").set("retry.backoff.max.ms", "1000");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create_with_context(Context::default()).map_err(no_client)
}

/// Waits until `count` records were delivered, or could not be. The client's own `flush` takes at least 100 ms.
pub(super) fn delivered(producer: &KafkaProducer, count: usize) -> Delivered {
    let until = Instant::now() + TIMEOUT + SLICE;
    let mut all = Delivered::default();
    while all.count + all.failed < count {
        if Instant::now() > until {
            all.error = Some(RDKafkaErrorCode::MessageTimedOut);
            break;
        }
        producer.poll(POLL);
        let new = producer.client().context().take_delivered();
        all.count += new.count;
        all.failed += new.failed;
        all.error = all.error.or(new.error);
        all.offsets = match (all.offsets, new.offsets) {
            (Some((least, greatest)), Some((low, high))) => Some((least.min(low), greatest.max(high))),
            (known, new) => known.or(new),
        };
    }
    all
}

/// Returns the error for a failed request: the reason that the client reported meanwhile, if there is one.
pub(super) fn failed(consumer: &KafkaConsumer, target: &KafkaTarget, cause: &KafkaError) -> EngineError {
    // The reason follows the failure.
    while consumer.poll(REASON).is_some() {}
    match consumer.client().context().take_problem() {
        // A broker that requires a certificate ends the connection without a reason.
        Some((RDKafkaErrorCode::AllBrokersDown, _)) if target.has_no_certificate() => {
            no_certificate(target.address())
        }
        Some((code, reason)) => reported(&target.address(), code, &reason),
        None => request(&target.address(), cause),
    }
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicState {
    Exists,
    Missing,
}

/// Returns whether a topic exists.
pub(super) fn topic_state(
    consumer: &KafkaConsumer,
    target: &KafkaTarget,
    topic: &str,
) -> Result<TopicState, EngineError> {
    let until = Instant::now() + TIMEOUT;
    loop {
        let metadata = match consumer.fetch_metadata(Some(topic), SLICE) {
            Ok(metadata) => metadata,
            Err(cause) => {
                let failed = failed(consumer, target, &cause);
                let is_final = consumer.client().context().0.is_final.swap(false, Ordering::Relaxed);
                if is_transient(&cause) && !is_final && Instant::now() < until {
                    continue;
                }
                return Err(failed);
            }
        };
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(TopicState::Missing);
        };
        let code = found.error().map_or(RDKafkaErrorCode::NoError, RDKafkaErrorCode::from);
        match code {
            RDKafkaErrorCode::NoError if found.partitions().len() == 1 => return Ok(TopicState::Exists),
            RDKafkaErrorCode::NoError if found.partitions().is_empty() => return Ok(TopicState::Missing),
            RDKafkaErrorCode::NoError => return Err(partitions(topic, found.partitions().len())),
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
                return Ok(TopicState::Missing);
            }
            RDKafkaErrorCode::LeaderNotAvailable if Instant::now() < until => {}
            code => return Err(topic_error(topic, code)),
        }
    }
}

/// Returns whether the client tries again on its own, for instance with another broker of the cluster.
pub(super) fn is_transient(cause: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let transient =
        [Code::BrokerTransportFailure, Code::AllBrokersDown, Code::Resolve, Code::OperationTimedOut];
    code_of(cause).is_some_and(|code| transient.contains(&code))
}

/// Returns the code of an error, also of administration, which the client leaves out.
fn code_of(cause: &KafkaError) -> Option<RDKafkaErrorCode> {
    match cause {
        KafkaError::AdminOp(code) => Some(*code),
        cause => cause.rdkafka_error_code(),
    }
}

/// Creates a topic of one partition unless it exists, and waits until it does.
pub(super) fn create_topic(
    consumer: &KafkaConsumer,
    target: &KafkaTarget,
    topic: &str,
    settings: &[(&str, &str)],
) -> Result<(), EngineError> {
    if topic_state(consumer, target, topic)? == TopicState::Exists {
        return Ok(());
    }
    let admin: AdminClient<DefaultClientContext> = config(target)?.create().map_err(no_client)?;
    // As many copies as the cluster keeps by default.
    let new =
        settings.iter().fold(NewTopic::new(topic, 1, TopicReplication::Fixed(-1)), |new, (name, value)| {
            new.set(name, value)
        });
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    let created = wait(admin.create_topics(&[new], &options));
    let results = created.map_err(|cause| {
        unreachable(target, topic, &cause).unwrap_or_else(|| request(&target.address(), &cause))
    })?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(creation(topic, code)),
        }
    }
    let until = Instant::now() + TIMEOUT;
    while topic_state(consumer, target, topic)? == TopicState::Missing {
        if Instant::now() > until {
            return Err(creation(topic, RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Returns the settings of a topic; an error of the broker if it does not send them.
fn settings(
    target: &KafkaTarget,
    topic: &str,
) -> Result<Result<ConfigResource, RDKafkaErrorCode>, EngineError> {
    let admin: AdminClient<DefaultClientContext> = config(target)?.create().map_err(no_client)?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = wait(admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options));
    Ok(match described {
        Err(cause) => match unreachable(target, topic, &cause) {
            Some(error) => return Err(error),
            // An older broker, or another one that is compatible, may not know the request.
            None => Err(code_of(&cause).unwrap_or(RDKafkaErrorCode::Unknown)),
        },
        Ok(mut found) => found.pop().unwrap_or(Err(RDKafkaErrorCode::Unknown)),
    })
}

fn setting<T: std::str::FromStr>(settings: &ConfigResource, name: &str) -> Option<T> {
    settings.get(name)?.value.as_ref()?.parse().ok()
}

/// Returns the largest message that a topic takes, as it is sent to the broker, if that says so.
pub(super) fn largest_message(target: &KafkaTarget, topic: &str) -> Result<Option<usize>, EngineError> {
    let settings = settings(target, topic)?.ok();
    Ok(settings.and_then(|settings| setting(&settings, "max.message.bytes")))
}

/// Returns what a topic removes on its own, as far as the broker says so.
pub(super) fn retention(target: &KafkaTarget, topic: &str) -> Result<EngineRetention, EngineError> {
    const REMEDY: &str =
        "change it with kafka-configs.sh --alter, or choose another topic: kafka://HOST/TOPIC";
    let settings = match settings(target, topic)? {
        Ok(settings) => settings,
        // There is nothing to lose yet.
        Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            return Ok(EngineRetention::default());
        }
        Err(code) => {
            let unknown = format!("the broker does not report the settings of the topic: {code}");
            return Ok(EngineRetention { unknown: Some(unknown), ..EngineRetention::default() });
        }
    };
    let mut rules = Vec::new();
    let policy: String = setting(&settings, "cleanup.policy").unwrap_or_else(|| "delete".to_owned());
    if policy.contains("delete") {
        let positive = |name: &str| setting::<i64>(&settings, name).and_then(|most| u64::try_from(most).ok());
        let age = positive("retention.ms").map(Duration::from_millis);
        rules.extend(age.map(|most| RetentionRule::age("retention.ms", most, REMEDY)));
        rules.extend(
            positive("retention.bytes").map(|most| RetentionRule::bytes("retention.bytes", most, REMEDY)),
        );
    }
    Ok(EngineRetention { rules, ..EngineRetention::default() })
}

/// Returns why a broker can never take a record, if this is the error for one.
pub(super) const fn record_refusal(code: RDKafkaErrorCode) -> Option<RecordRefusal> {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize => {
            Some(RecordRefusal::TooLarge)
        }
        RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp => Some(RecordRefusal::Other),
        _ => None,
    }
}

/// Wakes a thread that waits for a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future. The only ones are those of the client for administration.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

const LOGIN: &str = "give the right user and password: kafka://USER@HOST and --password-file; the broker must accept the \
                     mechanism of SASL, which is PLAIN unless the URL ends with ?sasl=scram-sha-512 or ?sasl=scram-sha-256";

/// Returns what to do about an error, and whether it may pass.
fn remedy(code: RDKafkaErrorCode) -> (&'static str, EngineErrorKind) {
    use EngineErrorKind::{LoginRefused, Permanent, Transient};
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => (LOGIN, LoginRefused),
        Code::UnsupportedSASLMechanism => (LOGIN, Permanent),
        Code::SSL => (
            "name the authority of the brokers with --tls ca=FILE, and a certificate of this bridge with \
             --tls certificate=FILE,key=FILE if they require one",
            Permanent,
        ),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => (
            "allow this user to read, write and describe the topic and TOPIC-bridges, to create them unless they exist, \
             to write the transactional id mcast-bridge.TOPIC, and to read the group mcast-bridge",
            Permanent,
        ),
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            ("raise `max.message.bytes` of the topic, or `message.max.bytes` of the broker", Permanent)
        }
        Code::UnsupportedFeature => (
            "use a broker with transactions (KIP-98), as Apache Kafka has them since 0.11: without them, a bridge cannot store \
             each message once",
            Permanent,
        ),
        Code::KafkaStorageError => {
            ("make room on the disk of the broker; its log shows what it cannot write", Transient)
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            ("start the brokers that hold the other copies of the topic", Transient)
        }
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
            ("check that the broker runs and that a firewall admits its port", Transient)
        }
        _ => ("", Transient),
    }
}

/// Distinguishes a broker or bridge that is not trusted from one whose connection ended in the handshake of TLS: the client reports
/// either with one of two codes.
fn of_handshake(code: RDKafkaErrorCode, reason: &str) -> RDKafkaErrorCode {
    use RDKafkaErrorCode as Code;
    match code {
        Code::SSL | Code::BrokerTransportFailure if reason.contains(":SSL routines:") => Code::SSL,
        Code::SSL => Code::BrokerTransportFailure,
        code => code,
    }
}

/// The error that a client reported.
pub(super) fn reported(address: &str, code: RDKafkaErrorCode, reason: &str) -> EngineError {
    use RDKafkaErrorCode as Code;
    let (remedy, kind) = remedy(code);
    let named = named_broker(reason).filter(|named| !address.split(',').any(|known| known == *named));
    let (what, remedy) = match code {
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
            // How often and when it happened follows in parentheses.
            let reason = reason.split(" (after ").next().unwrap_or(reason);
            let remedy = if named.is_some() { ADVERTISED } else { remedy };
            (any::unreachable(address, reason).what, remedy)
        }
        _ => (format!("{address} replied: {reason}"), remedy),
    };
    EngineError::new(what, remedy, kind)
}

/// Returns the error for a broker that the cluster refers to and that cannot be reached, if that is why a request of
/// administration failed: a client for those reports no reasons.
fn unreachable(target: &KafkaTarget, topic: &str, cause: &KafkaError) -> Option<EngineError> {
    if !is_transient(cause) {
        return None;
    }
    // A client that knows the brokers no longer asks those in the URL.
    let consumer = consumer(target, SLICE).ok()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT / 2).ok()?;
    metadata.brokers().iter().find_map(|broker| {
        let named =
            ServerAddress { host: broker.host().to_owned(), port: u16::try_from(broker.port()).ok()? };
        let cause = named.connect(None, SLICE).err()?;
        Some(advertised(target.address(), named, cause, ADVERTISED))
    })
}

/// What to do about a broker that gives itself a name which is not in the URL.
const ADVERTISED: &str = "check that the broker runs, and that this host can resolve and reach the name that the broker gives \
                          itself (`advertised.listeners`)";

/// Returns the broker that a reason names, which begins with `[PROTOCOL://]HOST:PORT/ID: `.
fn named_broker(reason: &str) -> Option<&str> {
    let (name, _) = reason.split_once(": ")?.0.rsplit_once('/')?;
    Some(name.rsplit_once("://").map_or(name, |(_, name)| name))
}

/// The error for a request that failed.
pub(super) fn request(address: &str, cause: &KafkaError) -> EngineError {
    match code_of(cause) {
        Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => any::silent(address),
        Some(code) => {
            let reason = match cause {
                KafkaError::Transaction(cause) => cause.string(),
                _ => code.to_string(),
            };
            reported(address, code, &reason)
        }
        None => any::broken(address, cause, ""),
    }
}

/// The error for records that were not delivered.
pub(super) fn undelivered(address: &str, code: RDKafkaErrorCode) -> EngineError {
    match code {
        RDKafkaErrorCode::MessageTimedOut => any::silent(address),
        code => reported(address, code, &code.to_string()),
    }
}

pub(super) fn topic_error(name: &str, code: RDKafkaErrorCode) -> EngineError {
    let (remedy, kind) = remedy(code);
    EngineError::new(format!("the topic \"{name}\" cannot be used: {code}"), remedy, kind)
}

pub(super) fn creation(name: &str, code: RDKafkaErrorCode) -> EngineError {
    let what = format!("the topic \"{name}\" does not exist and cannot be created: {code}");
    let remedy =
        format!("create it with one partition: kafka-topics.sh --create --topic {name} --partitions 1");
    // A cluster that starts or whose controller moves, which may last some seconds.
    let may_pass = [
        RDKafkaErrorCode::NotController,
        RDKafkaErrorCode::InvalidReplicationFactor,
        RDKafkaErrorCode::RequestTimedOut,
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::ThrottlingQuotaExceeded,
        RDKafkaErrorCode::UnknownTopicOrPartition,
    ];
    let kind = if may_pass.contains(&code) { EngineErrorKind::Transient } else { EngineErrorKind::Permanent };
    EngineError::new(what, &remedy, kind)
}

/// The error for a record that no bridge wrote.
pub(super) fn foreign(topic: &str, offset: i64) -> EngineError {
    let record = format_args!("the record at offset {offset} of the topic \"{topic}\"");
    any::foreign(record, "give each stream a topic of its own: kafka://HOST/TOPIC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_the_url_does_not_name_is_one_that_names_itself() {
        let remedy = |reason: &str| {
            reported("one:9092,two:9092", RDKafkaErrorCode::Resolve, reason).remedy.unwrap_or_default()
        };
        for named in ["three:9092/1", "sasl_ssl://three:9093/2"] {
            assert!(
                remedy(&format!("{named}: Failed to resolve")).contains("advertised.listeners"),
                "{named}"
            );
        }
        for named in ["two:9092/bootstrap", "ssl://one:9092/1", "sasl_plaintext://two:9092/7"] {
            assert!(!remedy(&format!("{named}: Connect failed")).contains("advertised"), "{named}");
        }
    }

    #[test]
    fn what_a_cluster_that_starts_replies_passes() {
        use RDKafkaErrorCode as Code;
        assert!(creation("prices", Code::NotController).is_transient());
        assert!(creation("prices", Code::InvalidReplicationFactor).is_transient());
        assert!(!creation("prices", Code::PolicyViolation).is_transient());
        assert!(!creation("prices", Code::TopicAuthorizationFailed).is_transient());
    }
}
