//! Why an engine cannot be used: each error is a sentence, what to do about it, and whether it may pass.

/// Why an engine cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct EngineError {
    /// What failed and why.
    pub what: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Whether it may pass.
    pub kind: EngineErrorKind,
}

/// Whether an error may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineErrorKind {
    /// It may, without a change of the bridge's settings.
    Transient,
    /// The engine does not accept the user, the password or the key. A bridge that was connected before tries again if it
    /// reads them from a file.
    LoginRefused,
    /// It does not.
    Permanent,
}

impl EngineError {
    /// Whether it may succeed later without a change of the bridge's settings.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.kind, EngineErrorKind::Transient)
    }

    /// Returns the error of an engine, whose login may be renewed in a file: then a refused one may pass.
    pub(crate) fn with_renewal(self, may_renew: bool) -> Self {
        match self.kind {
            EngineErrorKind::LoginRefused if may_renew => Self { kind: EngineErrorKind::Transient, ..self },
            _ => self,
        }
    }

    /// Returns an error of this kind; an empty remedy is none.
    #[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
    pub(crate) fn new(what: impl Into<String>, remedy: &str, kind: EngineErrorKind) -> Self {
        Self { what: what.into(), remedy: (!remedy.is_empty()).then(|| remedy.into()), kind }
    }
}

/// Declares errors: whether each may pass, its name and what it is about, its sentence, and what to do about it.
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
macro_rules! sentences {
    ($($kind:ident $name:ident($($argument:ident),*): $what:literal $(, $remedy:literal)?;)*) => {$(
        pub(crate) fn $name($($argument: impl std::fmt::Display),*) -> EngineError {
            let remedy = <[String]>::concat(&[$(format!($remedy))?]);
            EngineError::new(format!($what), &remedy, EngineErrorKind::$kind)
        }
    )*};
}

/// Those of all engines.
#[cfg_attr(
    not(all(feature = "kafka", feature = "nats", feature = "rabbitmq", feature = "redis", feature = "tls")),
    allow(dead_code, reason = "each engine uses some")
)]
#[cfg(any(all(feature = "kafka", unix), feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(crate) mod any {
    use super::{EngineError, EngineErrorKind};

    sentences! {
        Transient unreachable(address, cause): "{address} cannot be reached: {cause}";
        Transient silent(address): "{address} does not respond";
        Transient closed(address): "{address} closed the connection";
        Transient unexpected(sender): "{sender} sent a response of an unexpected form";
        Transient broken(address, cause, remedy): "{address}: {cause}", "{remedy}";
        Transient unreadable(what, file, cause): "cannot read {what} in {file}: {cause}", "check the path and who may read it";
        Permanent invalid_url(engine, why, form): "not a URL of {engine}: {why}", "write {form}";
        Permanent invalid_name(name, what, remedy): "\"{name}\" cannot be the name of {what}", "{remedy}";
        Permanent unnamed(what, parameter): "the {what} in the broker needs a name", "add {parameter} to the URL";
        Permanent foreign(record, remedy): "no bridge wrote {record}", "{remedy}";
        Permanent other_stream(known, found): "a record there belongs to stream {found}, not to stream {known}", "give each stream one of its own in the broker, and start the bridge again";
        Permanent tls_without_tls(form): "there are options of TLS, but the URL is one without TLS", "write {form}";
        Permanent no_engine(what): "{what} URL of Kafka, NATS, RabbitMQ or Redis", "write kafka://HOST[:PORT][/TOPIC], nats://HOST[:PORT][?stream=STREAM], rabbitmq-stream://HOST[:PORT][/VHOST][?stream=STREAM] or redis://HOST[:PORT][/DB][?key=KEY]";
        Permanent not_built(what, remedy): "this build of mcast has no {what}", "{remedy}";
    }
}

#[cfg(feature = "redis")]
pub(crate) mod redis {
    use super::{EngineError, EngineErrorKind};

    sentences! {
        Transient may_expect_tls(address, cause): "{address} does not accept commands: {cause}", "if the server requires TLS, write rediss://HOST; its log may have the reason";
        Transient replica(address): "{address} is a replica", "name the primary among the servers, or sentinels: redis+sentinel://HOST/PRIMARY";
        Permanent unknown_primary(address, name): "the sentinel at {address} does not know a primary with the name \"{name}\"", "write the name that its `sentinel monitor` has: redis+sentinel://HOST/PRIMARY";
        Permanent braces(key): "the keys beside \"{key}\" cannot be in its slot of the cluster", "choose a key without braces: ?key=KEY";
        Transient moved(address): "the servers of the cluster refer to each other, the last one to {address}";
    }
}

#[cfg(feature = "nats")]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "without TLS, there are no keys"))]
pub(crate) mod nats {
    use super::{EngineError, EngineErrorKind};

    sentences! {
        Transient no_tls(address): "{address} does not speak TLS", "enable TLS on the server, or write nats://HOST without options of TLS";
        Permanent too_old(address, version): "{address} is NATS {version}", "use NATS 2.11 or later";
        Transient no_jetstream(address): "JetStream does not respond at {address}", "start the server with JetStream (nats-server --jetstream); its log shows whether it was disabled, for instance because the disk is full; at a leaf node without JetStream, name the server that has it";
        Transient no_direct_get(address, stream): "{address} does not return messages of the stream \"{stream}\" directly", "allow direct access: nats stream edit {stream} --allow-direct";
        Permanent other_subjects(stream): "the stream \"{stream}\" does not have exactly one subject without wildcards", "choose another one with ?stream=STREAM, or let the bridge create it";
        // It stores messages under another subject than that which they were published with.
        Permanent transformed(stream): "the stream \"{stream}\" stores messages under another subject (`subject_transform`)", "remove its transform, or choose another one with ?stream=STREAM";
        // It takes no more messages, which cannot be undone.
        Permanent sealed(stream): "the stream \"{stream}\" is sealed", "choose another one with ?stream=STREAM";
        // It does not report what it stores.
        Permanent no_acknowledgements(stream): "the stream \"{stream}\" does not acknowledge messages (`no_ack`)", "enable them: nats stream edit {stream} --ack";
        // Nobody takes messages of the subject, although it is that of the stream.
        Transient unheard(address, stream, subject): "{address} does not deliver {subject} to the stream \"{stream}\"", "check that the account of this user does not map the subject to another one (`mappings`)";
        Permanent no_batches(stream): "the stream \"{stream}\" has several copies, and does not take batches", "set `allow_atomic` of the stream \"{stream}\" (NATS 2.12.1 or later)";
        Transient copies_differ(address): "the leader of the stream changes ({address})";
        Transient no_seed(): "the credentials have no seed of a user", "make a file of credentials with `nsc generate creds`, or write the seed of an nkey (SU...) there";
    }
}

#[cfg(all(feature = "kafka", unix))]
pub(crate) mod kafka {
    use super::{EngineError, EngineErrorKind};

    sentences! {
        Permanent no_client(cause): "cannot start a client of Kafka: {cause}";
        Permanent no_user(): "there is a password, but no user", "name the user: kafka://USER@HOST";
        // Its file may be empty while it is written.
        LoginRefused no_password(login): "no user or no password was given", "{login}";
        // Brokers end connections of TLS without a certificate of the bridge, or have just ended.
        Transient no_certificate(address): "{address} ends connections", "name a certificate of this bridge with --tls certificate=FILE,key=FILE if brokers require one; otherwise check that they run";
        Permanent server_name(): "brokers of Kafka cannot be given another name, because a cluster has several", "remove the name, and make `advertised.listeners` those of the certificates";
        Permanent unread_certificate(file, cause): "cannot read {file}: {cause}", "name a PEM file that this user can read";
        Transient advertised(address, name, cause, remedy): "{address} refers to the broker {name}, which cannot be reached: {cause}", "{remedy}";
        Permanent partitions(topic, count): "the topic \"{topic}\" has {count} partitions, which would not keep the order of messages", "choose a topic with one partition, or let the bridge create one: kafka://HOST/TOPIC";
        Transient removed(topic): "records of the topic \"{topic}\" were removed while they were read";
    }
}

#[cfg(feature = "rabbitmq")]
pub(crate) mod rabbitmq {
    use super::{EngineError, EngineErrorKind};

    sentences! {
        // A server that is short of disk or memory blocks publishers, and does not send them the reason.
        Transient silent(address): "{address} does not respond", "check that the server runs, and that it has not blocked publishers (rabbitmq-diagnostics alarms): make room on its disk, or raise disk_free_limit or vm_memory_high_watermark";
        Transient blocked(address, code): "{address} does not accept messages at present ({code})", "make room on the disk of the server, or raise disk_free_limit or vm_memory_high_watermark (rabbitmq-diagnostics alarms)";
        Transient closed(address, reason): "{address} closed the connection: {reason}";
        Permanent no_plain(address): "{address} does not accept passwords", "allow PLAIN in auth_mechanisms of the server";
        // The leader of the stream, which `address` names, cannot be connected to.
        Transient no_leader(address, leader, cause, remedy): "{address} names {leader} as the leader of the stream, but {cause}", "{remedy}";
        Transient changed(address, stream): "the stream \"{stream}\" at {address} has another leader, or was recreated";
    }
}
