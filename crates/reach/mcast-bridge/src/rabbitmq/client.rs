//! A connection to a RabbitMQ server.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write as _};
use std::time::{Duration, Instant};

use super::protocol::{self, Frame, key};
use super::protocol::{ProtocolError, Reader, Write};
use super::target;
use super::target::{PORT_OF_STREAMS, RabbitmqTarget};
use crate::error::rabbitmq::{blocked, changed, closed, no_leader, no_plain, silent};
use crate::error::{EngineError, any};
use crate::server::{ServerAddress, ServerStream, TIMEOUT, is_timeout};

/// How long to wait for room in the socket before reading what the server sends, which may wait for that.
const WRITE: Duration = Duration::from_millis(10);
/// The most bytes in memory that the server has sent. It sends only as many chunks as the client requests.
const RECEIVED: usize = 256 << 20;

/// A connection. Requests have numbers, which are in their responses.
#[derive(Debug)]
pub(super) struct Client {
    stream: ServerStream,
    address: String,
    input: Vec<u8>,
    output: Vec<u8>,
    request: u32,
    /// Frames that were received while a response was awaited, and their bytes.
    aside: VecDeque<Frame>,
    aside_bytes: usize,
    frame_max: usize,
    /// Identifies the cluster.
    cluster: String,
    /// The address under which the server refers to itself.
    own_address: Option<(String, u32)>,
}

/// Why a stream cannot be used.
#[derive(Debug)]
pub(super) enum Failure {
    /// It does not exist.
    Gone,
    Engine(EngineError),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// The subscription that returns one chunk.
const PROBE: u8 = 0;

/// Where to read a stream from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offset {
    First,
    /// The last chunk.
    Last,
    At(u64),
    /// What was stored at this time or later, in milliseconds since 1970.
    Since(u64),
}

impl Offset {
    fn write(self, out: &mut Vec<u8>) {
        let (kind, value): (u16, Option<u64>) = match self {
            Self::First => (1, None),
            Self::Last => (2, None),
            Self::At(offset) => (4, Some(offset)),
            Self::Since(time) => (5, Some(time)),
        };
        out.number(kind.to_be_bytes());
        value.iter().for_each(|value| out.number(value.to_be_bytes()));
    }
}

impl Client {
    /// Connects to the first server that can be used, and logs in.
    pub(super) fn connect(target: &RabbitmqTarget) -> Result<Self, EngineError> {
        target.url.servers.first(|server, timeout| Self::connect_to(server, timeout, target))
    }

    /// Connects to the server that leads a stream, so that it need not pass on each message. The stream is created if it
    /// does not exist.
    pub(super) fn connect_to_leader(target: &RabbitmqTarget, stream: &str) -> Result<Self, EngineError> {
        let mut client = Self::connect(target)?;
        client.create(stream, &[])?;
        let Some(leader) = client.other_leader(stream)? else { return Ok(client) };
        let failed = |cause: EngineError| {
            let remedy = cause.remedy.as_deref().unwrap_or(
                "let servers name themselves so that the bridge reaches them: stream.advertised_host",
            );
            let kind = cause.kind;
            EngineError { kind, ..no_leader(client.address(), &leader, &cause, remedy) }
        };
        let mut client = Self::connect_to(&leader, TIMEOUT, target).map_err(failed)?;
        match client.other_leader(stream)? {
            None => Ok(client),
            // It has just moved.
            Some(_) => Err(changed(client.address(), stream)),
        }
    }

    fn connect_to(
        server: &ServerAddress,
        timeout: Duration,
        target: &RabbitmqTarget,
    ) -> Result<Self, EngineError> {
        let address = server.to_string();
        let connect = || {
            let stream = server.connect(target.url.tls.as_ref(), timeout)?;
            stream.set_write_timeout(WRITE)?;
            Ok(stream)
        };
        let stream = connect().map_err(|error| target::unreachable(&address, &error))?;
        let mut client = Self {
            stream,
            address,
            input: Vec::new(),
            output: Vec::new(),
            request: 0,
            aside: VecDeque::new(),
            aside_bytes: 0,
            frame_max: 1 << 20,
            cluster: String::new(),
            own_address: None,
        };
        client.log_in(target)?;
        Ok(client)
    }

    fn log_in(&mut self, target: &RabbitmqTarget) -> Result<(), EngineError> {
        let own = [("product", "mcast"), ("version", env!("CARGO_PKG_VERSION"))];
        let properties = self.called(key::PEER_PROPERTIES, |out| write_map(out, &own))?;
        self.cluster = self.map(&properties)?.remove("cluster_name").unwrap_or_default();
        let mechanisms = self.called(key::SASL_HANDSHAKE, |_| {})?;
        let mut reader = Reader(&mechanisms);
        let mut has_plain = false;
        for _ in 0..reader.length().map_err(|error| self.broken(error))? {
            let mechanism = reader.text().map_err(|error| self.broken(error))?;
            has_plain |= mechanism == "PLAIN";
        }
        if !has_plain {
            return Err(no_plain(&self.address));
        }
        let secret = format!("\0{}\0{}", target.url.user, target.url.read_password()?);
        self.called(key::SASL_AUTHENTICATE, |out| {
            out.text("PLAIN");
            out.number(u32::try_from(secret.len()).unwrap_or_default().to_be_bytes());
            out.extend_from_slice(secret.as_bytes());
        })?;
        let until = Instant::now() + TIMEOUT;
        let (frame_max, heartbeat) = loop {
            match self.next(until)? {
                Some(Frame::Tune { frame_max, heartbeat }) => break (frame_max, heartbeat),
                Some(_) => {}
                None => return Err(silent(&self.address)),
            }
        };
        // 0: without a limit.
        if let Some(frame_max) = usize::try_from(frame_max).ok().filter(|size| *size > 0) {
            self.frame_max = frame_max;
        }
        protocol::write(&mut self.output, key::TUNE, |out| {
            out.number(frame_max.to_be_bytes());
            out.number(heartbeat.to_be_bytes());
        });
        let properties = self.called(key::OPEN, |out| out.text(&target.virtual_host))?;
        let mut properties = self.map(&properties)?;
        let port = properties.get("advertised_port").and_then(|port| port.parse().ok());
        self.own_address = properties.remove("advertised_host").zip(port);
        Ok(())
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the name of the cluster, which identifies it.
    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Returns the largest frame that the server accepts.
    pub(super) const fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// The error for what is not of the protocol.
    pub(super) fn broken(&self, cause: ProtocolError) -> EngineError {
        any::broken(&self.address, cause, PORT_OF_STREAMS)
    }

    /// Reads a list of names and values.
    fn map(&self, bytes: &[u8]) -> Result<HashMap<String, String>, EngineError> {
        let mut reader = Reader(bytes);
        let mut map = HashMap::new();
        let mut read = || {
            for _ in 0..reader.length()? {
                map.insert(reader.text()?, reader.text()?);
            }
            Ok(())
        };
        read().map_err(|error| self.broken(error))?;
        Ok(map)
    }

    /// Adds a request to what is sent next; returns its number.
    pub(super) fn request(&mut self, key: u16, body: impl FnOnce(&mut Vec<u8>)) -> u32 {
        self.request = self.request.wrapping_add(1);
        let request = self.request;
        protocol::write(&mut self.output, key, |out| {
            out.number(request.to_be_bytes());
            body(out);
        });
        request
    }

    /// Adds a frame without a response to what is sent next.
    pub(super) fn notify(&mut self, key: u16, body: impl FnOnce(&mut Vec<u8>)) {
        protocol::write(&mut self.output, key, body);
    }

    /// Requests something; returns the code of the response, and what follows it.
    pub(super) fn call(
        &mut self,
        key: u16,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(u16, Vec<u8>), EngineError> {
        let request = self.request(key, body);
        self.response(request)
    }

    /// Requests something; an error if it is refused.
    pub(super) fn called(
        &mut self,
        key: u16,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>, EngineError> {
        match self.call(key, body)? {
            (target::OK, body) => Ok(body),
            (code, _) => Err(target::code(&self.address, code)),
        }
    }

    /// Sends what was added, and waits for the response to this request.
    pub(super) fn response(&mut self, request: u32) -> Result<(u16, Vec<u8>), EngineError> {
        self.flush()?;
        let until = Instant::now() + TIMEOUT;
        loop {
            match self.read(until)?.ok_or_else(|| silent(&self.address))? {
                Frame::Response { request: number, mut body } if number == request => {
                    let code = match body.split_first_chunk() {
                        Some((code, _)) => u16::from_be_bytes(*code),
                        None => return Err(any::unexpected(&self.address)),
                    };
                    body.drain(..2);
                    return Ok((code, body));
                }
                frame => self.set_aside(frame)?,
            }
        }
    }

    fn set_aside(&mut self, frame: Frame) -> Result<(), EngineError> {
        self.aside_bytes += size(&frame);
        if self.aside_bytes > RECEIVED {
            return Err(any::unexpected(&self.address));
        }
        self.aside.push_back(frame);
        Ok(())
    }

    /// Returns the next frame that is not the response to a request; `None` if there is none until then.
    pub(super) fn next(&mut self, until: Instant) -> Result<Option<Frame>, EngineError> {
        match self.aside.pop_front() {
            Some(frame) => {
                self.aside_bytes -= size(&frame);
                Ok(Some(frame))
            }
            None => self.read(until),
        }
    }

    /// Waits for the next frame that is not the response to a request.
    pub(super) fn wait(&mut self) -> Result<Frame, EngineError> {
        self.flush()?;
        self.next(Instant::now() + TIMEOUT)?.ok_or_else(|| silent(&self.address))
    }

    /// Removes the chunks of this subscription that were not read; returns the first one.
    pub(super) fn take_chunks(&mut self, of: u8) -> Option<Vec<u8>> {
        let mut first = None;
        for frame in std::mem::take(&mut self.aside) {
            match frame {
                Frame::Chunk { subscription, chunk } if subscription == of => {
                    first.get_or_insert(chunk);
                }
                frame => self.aside.push_back(frame),
            }
        }
        self.aside_bytes = self.aside.iter().map(size).sum();
        first
    }

    /// Creates a stream; returns whether it did not exist.
    pub(super) fn create(&mut self, stream: &str, settings: &[(&str, &str)]) -> Result<bool, EngineError> {
        let (code, _) = self.call(key::CREATE, |out| {
            out.text(stream);
            write_map(out, settings);
        })?;
        match code {
            target::OK => Ok(true),
            target::STREAM_EXISTS => Ok(false),
            // It may exist with other settings.
            target::PRECONDITION_FAILED if self.metadata(stream)?.0 == target::OK => Ok(false),
            code => Err(target::code(&self.address, code)),
        }
    }

    /// Returns one chunk; `None` if there is none. A server sends it before it responds to the next request.
    pub(super) fn probe(&mut self, stream: &str, offset: Offset) -> Result<Option<Vec<u8>>, Failure> {
        let subscribed =
            self.request(key::SUBSCRIBE, |out| write_subscription(out, PROBE, stream, offset, 1));
        let unsubscribed = self.request(key::UNSUBSCRIBE, |out| out.push(PROBE));
        let (code, _) = self.response(subscribed)?;
        self.response(unsubscribed)?;
        self.is_there(code)?;
        Ok(self.take_chunks(PROBE))
    }

    /// Declares a publisher of a stream. Of one with a name, the server drops messages whose numbers are not greater than
    /// the last one of that name.
    pub(super) fn declare(&mut self, publisher: u8, name: &str, stream: &str) -> Result<(), Failure> {
        let (code, _) = self.call(key::DECLARE_PUBLISHER, |out| {
            out.push(publisher);
            out.text(name);
            out.text(stream);
        })?;
        match code {
            target::PRECONDITION_FAILED => Err(blocked(&self.address, target::PRECONDITION_FAILED).into()),
            code => self.is_there(code),
        }
    }

    /// Deletes a publisher.
    pub(super) fn delete_publisher(&mut self, publisher: u8) -> Result<(), EngineError> {
        self.call(key::DELETE_PUBLISHER, |out| out.push(publisher)).map(|_| ())
    }

    /// Returns the last number of publishers of this name; 0 if there is none.
    pub(super) fn last_number(&mut self, name: &str, stream: &str) -> Result<u64, Failure> {
        let (code, body) = self.call(key::QUERY_PUBLISHER_SEQUENCE, |out| {
            out.text(name);
            out.text(stream);
        })?;
        self.is_there(code)?;
        Ok(Reader(&body).u64().map_err(|error| self.broken(error))?)
    }

    /// Subscribes to a stream.
    pub(super) fn subscribe(
        &mut self,
        subscription: u8,
        stream: &str,
        offset: Offset,
        chunks: u16,
    ) -> Result<(), Failure> {
        let body = |out: &mut Vec<u8>| write_subscription(out, subscription, stream, offset, chunks);
        let (code, _) = self.call(key::SUBSCRIBE, body)?;
        self.is_there(code)
    }

    /// Requests another chunk for a subscription, with what is sent next.
    pub(super) fn credit(&mut self, subscription: u8) {
        self.notify(key::CREDIT, |out| {
            out.push(subscription);
            out.number(1_u16.to_be_bytes());
        });
    }

    fn is_there(&self, code: u16) -> Result<(), Failure> {
        match code {
            target::OK => Ok(()),
            target::NO_STREAM => Err(Failure::Gone),
            code => Err(target::code(&self.address, code).into()),
        }
    }

    /// Returns the code for a stream, and the address of its leader.
    fn metadata(&mut self, stream: &str) -> Result<(u16, Option<(String, u32)>), EngineError> {
        let request = self.request(key::METADATA, |out| {
            out.number(1_u32.to_be_bytes());
            out.text(stream);
        });
        // The response has no code: it begins with a number of 4 bytes.
        let (high, rest) = self.response(request)?;
        let mut bytes = high.to_be_bytes().to_vec();
        bytes.extend(rest);
        metadata(&bytes).map_err(|error| self.broken(error))
    }

    /// Requests something, to notice a broken connection.
    pub(super) fn check(&mut self, stream: &str) -> Result<(), EngineError> {
        self.metadata(stream).map(|_| ())
    }

    /// Returns the server that leads a stream if it is another one, as it refers to itself.
    fn other_leader(&mut self, stream: &str) -> Result<Option<ServerAddress>, EngineError> {
        let (_, leader) = self.metadata(stream)?;
        let leader = leader.filter(|leader| self.own_address.as_ref().is_some_and(|own| own != leader));
        let address = |(host, port)| Some(ServerAddress { host, port: u16::try_from(port).ok()? });
        Ok(leader.and_then(address))
    }

    /// Sends what was added.
    pub(super) fn flush(&mut self) -> Result<(), EngineError> {
        let output = std::mem::take(&mut self.output);
        let (mut sent, mut until) = (0, Instant::now() + TIMEOUT);
        loop {
            let is_written = sent == output.len();
            let written = match is_written {
                true => self.stream.flush().map(|()| 0),
                false => self.stream.write(&output[sent..]),
            };
            match written {
                Ok(_) if is_written => return Ok(()),
                Ok(count) => {
                    sent += count;
                    until = Instant::now() + TIMEOUT;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    if Instant::now() > until {
                        return Err(silent(&self.address));
                    }
                    self.receive(Duration::from_millis(1))?;
                }
                Err(error) => return Err(target::unreachable(&self.address, &error)),
            }
        }
    }

    /// Returns the next frame; `None` if there is none until then.
    fn read(&mut self, until: Instant) -> Result<Option<Frame>, EngineError> {
        loop {
            let parsed = protocol::parse(&self.input).map_err(|error| self.broken(error))?;
            if let Some((frame, length)) = parsed {
                self.input.drain(..length);
                match frame {
                    Frame::Heartbeat => {
                        self.notify(key::HEARTBEAT, |_| {});
                        self.flush()?;
                    }
                    Frame::Close { request, code, reason } => {
                        protocol::respond(&mut self.output, key::CLOSE, request);
                        // The connection is over in any case.
                        let _ = self.flush();
                        return Err(match code {
                            target::OK if reason.is_empty() => any::closed(&self.address),
                            target::OK => closed(&self.address, &reason),
                            code => target::code(&self.address, code),
                        });
                    }
                    Frame::Other => {}
                    frame => return Ok(Some(frame)),
                }
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.receive(left)? {
                return Ok(None);
            }
        }
    }

    /// Waits for bytes; returns whether there are some.
    fn receive(&mut self, timeout: Duration) -> Result<bool, EngineError> {
        let start = self.input.len();
        if start > RECEIVED {
            return Err(any::unexpected(&self.address));
        }
        self.input.resize(start + (64 << 10), 0);
        let read =
            self.stream.set_read_timeout(timeout).and_then(|()| self.stream.read(&mut self.input[start..]));
        self.input.truncate(start + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => Err(any::closed(&self.address)),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if is_timeout(&error) => Ok(false),
            Err(error) => Err(target::unreachable(&self.address, &error)),
        }
    }
}

/// Returns about how many bytes a frame takes.
fn size(frame: &Frame) -> usize {
    let bytes = match frame {
        Frame::Response { body, .. } => body.len(),
        Frame::Confirmed { ids, .. } => 8 * ids.len(),
        Frame::Chunk { chunk, .. } => chunk.len(),
        Frame::Changed { stream } => stream.len(),
        _ => 0,
    };
    bytes + size_of::<Frame>()
}

/// Returns the code for the only stream in a response about streams, and the address of its leader.
fn metadata(bytes: &[u8]) -> Result<(u16, Option<(String, u32)>), ProtocolError> {
    let mut reader = Reader(bytes);
    let mut brokers = HashMap::new();
    for _ in 0..reader.length()? {
        brokers.insert(reader.u16()?, (reader.text()?, reader.u32()?));
    }
    let (_streams, _name, code) = (reader.u32()?, reader.text()?, reader.u16()?);
    Ok((code, brokers.remove(&reader.u16()?)))
}

/// Adds a list of names and values.
fn write_map(out: &mut Vec<u8>, map: &[(&str, &str)]) {
    out.number(u32::try_from(map.len()).unwrap_or_default().to_be_bytes());
    for (name, value) in map {
        out.text(name);
        out.text(value);
    }
}

/// Adds the request for a subscription.
fn write_subscription(out: &mut Vec<u8>, subscription: u8, stream: &str, offset: Offset, chunks: u16) {
    out.push(subscription);
    out.text(stream);
    offset.write(out);
    out.number(chunks.to_be_bytes());
    write_map(out, &[]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The response about a stream whose leader is the second of two servers.
    fn response() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.number(2_u32.to_be_bytes());
        for (reference, host) in [(0_u16, "a"), (1, "b")] {
            bytes.number(reference.to_be_bytes());
            bytes.text(host);
            bytes.number(5552_u32.to_be_bytes());
        }
        bytes.number(1_u32.to_be_bytes());
        bytes.text("prices");
        bytes.number(1_u16.to_be_bytes());
        bytes.number(1_u16.to_be_bytes());
        bytes
    }

    #[test]
    fn the_leader_of_a_stream_is_read() {
        let bytes = response();
        assert_eq!(metadata(&bytes), Ok((1, Some(("b".to_owned(), 5552)))));
        for end in 0..bytes.len() {
            assert!(metadata(&bytes[..end]).is_err(), "{end} bytes");
        }
        let mut absent = bytes;
        let at = absent.len() - 1;
        absent[at] = 9;
        assert_eq!(metadata(&absent), Ok((1, None)));
    }
}
