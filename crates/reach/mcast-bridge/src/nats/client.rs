//! A connection to a NATS server, and what goes wrong on it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::nkeys::Credentials;
use super::protocol::{self, Delivery, Headers, Operation};
use super::target::NatsTarget;
use crate::error::nats::{no_direct_get, no_jetstream, no_tls, too_old};
use crate::error::{EngineError, EngineErrorKind, any};
use crate::server::{ServerAddress, ServerStream, TIMEOUT, is_timeout};

/// The first server that returns several messages in one response, which notes of bridges are read with.
const VERSION: (u32, u32) = (2, 11);
/// The most responses that are set aside while an earlier one is missing.
const SET_ASIDE: usize = 64;

/// A connection. Requests have numbers, which are in the subjects of their responses.
#[derive(Debug)]
pub(super) struct Client {
    stream: ServerStream,
    address: String,
    input: Vec<u8>,
    output: Vec<u8>,
    inbox: String,
    request: u64,
    /// Responses to requests that are newer than the one that is waited for.
    aside: VecDeque<(u64, Delivery)>,
    /// The largest message that the server takes, headers included.
    max_payload: usize,
}

/// What a server says of itself. What it leaves out is not required.
fn info(text: &str) -> Option<(Value, (u32, u32))> {
    let info: Value = serde_json::from_str(text).ok()?;
    let mut parts = info["version"].as_str()?.split('.').map(str::parse);
    let version = (parts.next()?.ok()?, parts.next()?.ok()?);
    Some((info, version))
}

impl Client {
    /// Connects to the first server that can be used, and logs in.
    pub(super) fn connect(target: &NatsTarget) -> Result<Self, EngineError> {
        target.url.servers.first(|server, timeout| Self::connect_to(server, timeout, target))
    }

    fn connect_to(
        server: &ServerAddress,
        timeout: Duration,
        target: &NatsTarget,
    ) -> Result<Self, EngineError> {
        let address = server.to_string();
        // Otherwise TLS follows what the server says of itself.
        let tls = target.url.tls.as_ref().filter(|_| target.is_tls_first());
        let stream = server.connect(tls, timeout).map_err(|error| unreachable(&address, &error))?;
        let inbox = format!("_INBOX.{:016x}", RandomState::new().build_hasher().finish());
        let (input, output, aside) = (Vec::new(), Vec::new(), VecDeque::new());
        let mut client = Self { stream, address, input, output, inbox, request: 0, aside, max_payload: 0 };
        client.log_in(target, &server.host)?;
        Ok(client)
    }

    fn log_in(&mut self, target: &NatsTarget, host: &str) -> Result<(), EngineError> {
        let until = Instant::now() + TIMEOUT;
        let operation = self.read(until).map_err(|error| match target.url.tls {
            // A server that expects TLS first says nothing, or ends the connection.
            Some(_) if !target.is_tls_first() && error.remedy.is_none() => may_expect_tls(error),
            _ => error,
        })?;
        let Operation::Info(text) = operation else { return Err(any::unexpected(&self.address)) };
        let (info, version) = info(&text).ok_or_else(|| any::unexpected(&self.address))?;
        let is_tls = target.url.tls.is_some() || info["tls_required"] == true;
        if is_tls && !target.is_tls_first() {
            self.start_tls(target, host, &info)?;
        }
        if version < VERSION {
            return Err(too_old(&self.address, info["version"].as_str().unwrap_or_default()));
        }
        self.max_payload =
            info["max_payload"].as_u64().and_then(|size| size.try_into().ok()).unwrap_or(1 << 20);
        let mut options = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "protocol": 1,
            "lang": "mcast", "version": env!("CARGO_PKG_VERSION"), "name": "mcast bridge",
        });
        options["tls_required"] = is_tls.into();
        let nonce = info["nonce"].as_str().unwrap_or_default();
        log_in(target, nonce, &mut options)?;
        let line = format!("CONNECT {options}\r\nSUB {}.* 1\r\nPING\r\n", self.inbox);
        self.output.extend_from_slice(line.as_bytes());
        self.flush()?;
        loop {
            match self.read(until)? {
                Operation::Pong => return Ok(()),
                Operation::Error(text) => return Err(rejected(&self.address, &text)),
                _ => {}
            }
        }
    }

    fn start_tls(&mut self, target: &NatsTarget, host: &str, info: &Value) -> Result<(), EngineError> {
        if info["tls_required"] != true && info["tls_available"] != true {
            return Err(no_tls(&self.address));
        }
        // Somebody else on the way could have added it, because it is not encrypted.
        if !self.input.is_empty() {
            return Err(any::unexpected(&self.address));
        }
        let options = target.url.tls.clone().unwrap_or_default();
        let started = self.stream.start_tls(&options, host);
        started.map_err(|error| unreachable(&self.address, &error))
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the largest message that the server takes, headers included.
    pub(super) const fn max_payload(&self) -> usize {
        self.max_payload
    }

    /// Publishes a message with the next [`flush`](Self::flush).
    pub(super) fn publish(&mut self, subject: &str, headers: &Headers, payload: &[u8]) {
        protocol::publish(&mut self.output, subject, None, headers, payload);
    }

    /// Publishes a message that is responded to, with the next [`flush`](Self::flush); returns the number of the
    /// request.
    pub(super) fn request(&mut self, subject: &str, headers: &Headers, payload: &[u8]) -> u64 {
        self.request += 1;
        let reply = format!("{}.{}", self.inbox, self.request);
        protocol::publish(&mut self.output, subject, Some(&reply), headers, payload);
        self.request
    }

    /// Sends what was published.
    pub(super) fn flush(&mut self) -> Result<(), EngineError> {
        let written = self.stream.write_all(&self.output).and_then(|()| self.stream.flush());
        self.output.clear();
        written.map_err(|error| unreachable(&self.address, &error))
    }

    /// Waits for a response to this request. Responses to earlier ones are dropped.
    pub(super) fn response(&mut self, request: u64) -> Result<Delivery, EngineError> {
        self.aside.retain(|(number, _)| *number >= request);
        if let Some(at) = self.aside.iter().position(|(number, _)| *number == request)
            && let Some((_, delivery)) = self.aside.remove(at)
        {
            return Ok(delivery);
        }
        let until = Instant::now() + TIMEOUT;
        loop {
            match self.read(until)? {
                Operation::Message(delivery) => {
                    let number = delivery.subject.rsplit('.').next().and_then(|number| number.parse().ok());
                    match number {
                        Some(number) if number == request => return Ok(delivery),
                        Some(number) if number > request && self.aside.len() < SET_ASIDE => {
                            self.aside.push_back((number, delivery));
                        }
                        Some(number) if number < request => {}
                        _ => return Err(any::unexpected(&self.address)),
                    }
                }
                Operation::Error(text) => return Err(rejected(&self.address, &text)),
                _ => {}
            }
        }
    }

    /// Requests something of JetStream.
    pub(super) fn api(&mut self, what: &str, body: &Value) -> Result<Result<Value, ApiError>, EngineError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = self.request(&format!("$JS.API.{what}"), &Headers::default(), body.as_bytes());
        self.flush()?;
        let delivery = self.response(request)?;
        if delivery.headers.status.is_some() {
            return Err(no_jetstream(&self.address));
        }
        self.json(&delivery.payload)
    }

    /// Returns the content of a response of JetStream.
    pub(super) fn json(&self, payload: &[u8]) -> Result<Result<Value, ApiError>, EngineError> {
        let value: Value = serde_json::from_slice(payload).map_err(|_| any::unexpected(&self.address))?;
        Ok(ApiError::of(&value).map_or(Ok(value), Err))
    }

    /// Requests several messages at once; returns them.
    pub(super) fn messages(&mut self, stream: &str, body: &Value) -> Result<Vec<Delivery>, EngineError> {
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let request = self.request(&subject, &Headers::default(), body.to_string().as_bytes());
        self.flush()?;
        let mut messages = Vec::new();
        loop {
            let message = self.response(request)?;
            match message.headers.status {
                None => messages.push(message),
                // The end, or nothing at all.
                Some(204 | 404) => return Ok(messages),
                Some(_) => return Err(no_direct_get(&self.address, stream)),
            }
        }
    }

    /// Returns the next operation of the server, other than pings.
    fn read(&mut self, until: Instant) -> Result<Operation, EngineError> {
        loop {
            let parsed =
                protocol::parse(&self.input).map_err(|cause| any::broken(&self.address, cause, HOST))?;
            if let Some((operation, length)) = parsed {
                self.input.drain(..length);
                if operation != Operation::Ping {
                    return Ok(operation);
                }
                self.output.extend_from_slice(b"PONG\r\n");
                self.flush()?;
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(any::silent(&self.address));
            }
            let start = self.input.len();
            self.input.resize(start + (64 << 10), 0);
            let read =
                self.stream.set_read_timeout(left).and_then(|()| self.stream.read(&mut self.input[start..]));
            self.input.truncate(start + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Err(any::closed(&self.address)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(any::silent(&self.address)),
                Err(error) => return Err(unreachable(&self.address, &error)),
            }
        }
    }
}

/// An error that JetStream reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) code: u64,
    pub(super) description: String,
}

/// The codes of errors that are handled, not only reported.
pub(super) const NO_MESSAGE: u64 = 10037;
pub(super) const NO_STREAM: u64 = 10059;
pub(super) const WRONG_LAST_ID: u64 = 10070;
pub(super) const WRONG_LAST_SEQUENCE: u64 = 10071;
pub(super) const REPEATED_ID: u64 = 10201;
pub(super) const SEALED: u64 = 10109;
/// A message, or its headers, of more than the stream allows.
pub(super) const TOO_LARGE: u64 = 10054;
pub(super) const HEADERS_TOO_LARGE: u64 = 10097;

impl ApiError {
    /// Returns the error in a response, if it contains one.
    pub(super) fn of(response: &Value) -> Option<Self> {
        let error = response.get("error")?;
        let description = error["description"].as_str().unwrap_or_default().to_owned();
        Some(Self { code: error["err_code"].as_u64().unwrap_or_default(), description })
    }
}

/// What to do about an address at which something else listens.
const HOST: &str = "check host and port: nats://HOST[:PORT]";

fn unreachable(address: &str, cause: &io::Error) -> EngineError {
    crate::server::unreachable(
        address,
        cause,
        "check that the server runs and that a firewall admits its port",
    )
}

/// Adds to what a client states who it is. A user without a password is a token, and so is a password without a user,
/// unless it is the key of a user.
fn log_in(target: &NatsTarget, nonce: &str, options: &mut Value) -> Result<(), EngineError> {
    let user = target.url.user.as_str();
    match &target.url.password {
        None if user.is_empty() => {}
        None => options["auth_token"] = user.into(),
        Some(password) if user.is_empty() => match Credentials::find(&password.text()?)? {
            Some(credentials) => credentials.add_to(options, nonce),
            None => options["auth_token"] = password.read()?.into(),
        },
        Some(password) => {
            (options["user"], options["pass"]) = (user.into(), password.read()?.into());
        }
    }
    Ok(())
}

/// The error for a server that says nothing of itself.
fn may_expect_tls(cause: EngineError) -> EngineError {
    let remedy = "if the server expects TLS first (`handshake_first`), write tls+first://HOST";
    EngineError { remedy: Some(remedy.into()), ..cause }
}

/// The error for a line `-ERR` of the server.
pub(super) fn rejected(address: &str, text: &str) -> EngineError {
    let lower = text.to_ascii_lowercase();
    // Also to a bridge that is connected, when its credentials expire or were revoked.
    let is_login_refused = ["authorization", "user authentication", "account authentication"]
        .iter()
        .any(|start| lower.starts_with(start));
    let (remedy, kind) = if is_login_refused {
        (
            "give the right user and password: nats://USER@HOST and --password-file FILE, which has a token, or credentials \
             as `nsc` makes them, if there is no user",
            EngineErrorKind::LoginRefused,
        )
    } else if lower.starts_with("permissions") {
        (
            "allow this user to publish to $JS.API.> and $KV.mcast-bridges.>, and to the subject of the stream, and to \
             subscribe to _INBOX.>",
            EngineErrorKind::Permanent,
        )
    } else {
        ("", EngineErrorKind::Transient)
    };
    EngineError::new(format!("{address} replied: {text}"), remedy, kind)
}

/// The error for one that JetStream reports.
pub(super) fn api(address: &str, cause: &ApiError) -> EngineError {
    const FULL: &str = "make room: raise the limits of the stream or of JetStream, or remove old messages with \
                        `nats stream purge --keep`";
    let remedy = match cause.code {
        // Resources, storage, and what the store reports, such as the limits of a stream that discards new messages.
        10023 | 10028 | 10047 | 10077 | 10122 => FULL,
        TOO_LARGE | HEADERS_TOO_LARGE => "raise the largest size of a message that the stream allows",
        10039 | 10076 => "enable JetStream for the account of this user",
        SEALED => "choose another one with ?stream=STREAM",
        // Other streams have this subject, or have their names in another form.
        10065 => "choose another stream with ?stream=STREAM: the subject belongs to one of another name",
        _ => "",
    };
    let kind = match cause.code {
        10039 | TOO_LARGE | 10065 | 10076 | HEADERS_TOO_LARGE | SEALED => EngineErrorKind::Permanent,
        _ => EngineErrorKind::Transient,
    };
    EngineError::new(format!("{address} replied: {} ({})", cause.description, cause.code), remedy, kind)
}

/// The error for a message that no bridge wrote.
pub(super) fn foreign(stream: &str, sequence: u64) -> EngineError {
    let message = format_args!("message {sequence} of the stream \"{stream}\"");
    any::foreign(message, "give each stream one of its own in NATS: ?stream=STREAM")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::EngineAccess;

    #[test]
    fn a_user_has_a_password_and_either_alone_is_a_token() {
        let options = |url: &str, password: Option<&str>| {
            let access = EngineAccess { password: password.map(Into::into), ..EngineAccess::default() };
            let mut options = json!({});
            log_in(&NatsTarget::parse(url, access, Some("prices")).unwrap(), "", &mut options).unwrap();
            options
        };
        assert_eq!(options("nats://a", None), json!({}));
        assert_eq!(options("nats://a", Some("secret")), json!({ "auth_token": "secret" }));
        assert_eq!(options("nats://token@a", None), json!({ "auth_token": "token" }));
        let both = json!({ "user": "a@b", "pass": "c" });
        assert_eq!(options("nats://a%40b:c@[::1]/", None), both);
        assert_eq!(options("nats://a%40b@[::1]/", Some("c")), both);
    }
}
