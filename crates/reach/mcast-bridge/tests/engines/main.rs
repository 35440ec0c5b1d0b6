//! What bridges need of an engine, with real servers.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../servers/certificates.rs"]
mod certificates;
mod contract;
mod credentials;
mod kafka;
#[path = "../servers/kafka.rs"]
mod kafka_server;
mod nats;
mod nats_copies;
#[path = "../servers/nats.rs"]
mod nats_server;
#[path = "../servers/client.rs"]
mod python_client;
mod rabbitmq;
#[path = "../servers/rabbitmq.rs"]
mod rabbitmq_server;
mod redis;
mod tls;
#[path = "../servers/tunnel.rs"]
mod tunnel;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast_bridge::{
    ArrivalTime, BridgeBeacon, Content, DatagramMetadata, EngineAccess, EngineError, EngineRetention,
    GapCause, LastRecord, PendingGap, Position, RecordBatch, RecordRefusal, Request, Response, Sink, Source,
    StoredStream, StreamRecord, TlsOptions, UnixMillis, engine_at,
};
use mcast_lab::Host;
use mcast_stream::wire::{EngineKey, Incarnation, MessageKey, MessageNumber, StreamId, VisitedEngines};

const STREAM: StreamId = StreamId(0xfeed);

/// A sink or a source in a host.
struct InHost<T>(Host, T);

impl Sink for InHost<Box<dyn Sink>> {
    fn engine_key(&self) -> Option<EngineKey> {
        self.1.engine_key()
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        self.0.run(|| self.1.retention()).unwrap()
    }

    fn append_if(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        self.0.run(|| self.1.append_if(batch)).unwrap()
    }

    fn tail(&mut self, beacon: BridgeBeacon) -> Result<(), EngineError> {
        self.0.run(|| self.1.tail(beacon)).unwrap()
    }

    fn receive(&mut self) -> Result<Response, EngineError> {
        self.0.run(|| self.1.receive()).unwrap()
    }
}

impl Source for InHost<Box<dyn Source>> {
    fn stored(&mut self) -> Result<Option<StoredStream>, EngineError> {
        self.0.run(|| self.1.stored()).unwrap()
    }

    fn retention(&mut self) -> Result<EngineRetention, EngineError> {
        self.0.run(|| self.1.retention()).unwrap()
    }

    fn last(&mut self) -> Result<Option<StreamRecord>, EngineError> {
        self.0.run(|| self.1.last()).unwrap()
    }

    fn read(&mut self, from: Position, count: usize) -> Result<Vec<StreamRecord>, EngineError> {
        self.0.run(|| self.1.read(from, count)).unwrap()
    }

    fn find_time(&mut self, time: UnixMillis) -> Result<Option<StreamRecord>, EngineError> {
        self.0.run(|| self.1.find_time(time)).unwrap()
    }
}

/// Returns the stream in the engine at this URL.
fn at(url: &str) -> Arc<dyn mcast_bridge::Engine> {
    engine_at(url, EngineAccess::default(), None).unwrap()
}

fn with_tls(url: &str, options: TlsOptions) -> Arc<dyn mcast_bridge::Engine> {
    engine_at(url, EngineAccess::default().with_tls(options), None).unwrap()
}

/// Sends a request as the thread of a bridge does.
trait SendRequest {
    fn send(&mut self, request: &Request) -> Result<(), EngineError>;
}

impl<T: Sink + ?Sized> SendRequest for T {
    fn send(&mut self, request: &Request) -> Result<(), EngineError> {
        match request {
            Request::Append(batch) => self.append_if(batch),
            Request::LastRecord(beacon) => self.tail(*beacon),
            Request::Retention => panic!("it is responded to at once"),
        }
    }
}

/// An engine with the stream `prices`.
trait Engine: Sized {
    /// Starts a server; `None` if it is not installed, unless that is required.
    fn start() -> Option<Self>;
    fn connect(&self) -> Result<Box<dyn Sink>, EngineError>;
    fn source(&self) -> Box<dyn Source>;
    /// Returns the number of records, which a client that others wrote counts.
    fn length(&self) -> u64;
    fn delete_stream(&self);
    /// Removes records, but not the stream: all, or as many as the engine can, for which it may have appended others in the
    /// place of those that are there, on another connection. Returns the last record as bridges then see it.
    fn delete_records(&self, sink: &mut Box<dyn Sink>) -> Option<LastRecord>;
    /// Adds a record that no bridge wrote.
    fn add_foreign(&self);
    /// Removes the notes of bridges, or makes them too old.
    fn age_notes(&self);
    fn kill(&mut self);

    fn sink(&self) -> Box<dyn Sink> {
        self.connect().unwrap()
    }
}

fn position(incarnation: u32, number: u64) -> Position {
    Position { incarnation: Incarnation(incarnation), number: MessageNumber(number) }
}

fn message(incarnation: u32, number: u64, bytes: &[u8]) -> StreamRecord {
    let content = Content::Message { key: None, bytes: Arc::from(bytes) };
    StreamRecord {
        position: position(incarnation, number),
        time: UnixMillis(1_000 * u64::from(incarnation) + 10 * number),
        content,
    }
}

fn call(sink: &mut dyn Sink, request: &Request) -> Response {
    sink.send(request).unwrap();
    sink.receive().unwrap()
}

fn batch(expected: Option<Position>, records: Vec<StreamRecord>) -> Request {
    Request::Append(RecordBatch { stream: STREAM, expected, engines: VisitedEngines::default(), records })
}

/// Appends as a bridge does, which tries again if another one was active in its place.
fn append(sink: &mut dyn Sink, expected: Option<Position>, records: Vec<StreamRecord>) -> Response {
    let (request, until) = (batch(expected, records), Instant::now() + Duration::from_secs(30));
    loop {
        let response = call(sink, &request);
        let stands_by =
            matches!(&response, Response::Refused { tail } if tail.map(|tail| tail.position) == expected);
        if !stands_by || Instant::now() > until {
            return response;
        }
    }
}

fn tail(position: Position, closes: bool) -> Option<LastRecord> {
    Some(LastRecord { position, stream: Some(STREAM), closes })
}

fn presence(bridge: u64, hole: Option<PendingGap>) -> Request {
    Request::LastRecord(BridgeBeacon { bridge, hole })
}

/// A datagram of a plain group, whose arrival is known as far as systems report it, or only what all do.
fn datagram(incarnation: u32, number: u64, is_known: bool) -> StreamRecord {
    let metadata = DatagramMetadata {
        source: "[fe80::7%2]:40000".parse().unwrap(),
        group: "[ff02::1:3]:5000".parse().unwrap(),
        interface: "eth0".into(),
        kernel_time: is_known.then_some(ArrivalTime(1_795_339_800_123_456_789)),
        hop_limit: is_known.then_some(255),
        dscp: is_known.then_some(46),
    };
    let content = Content::Datagram { metadata: Box::new(metadata), bytes: Arc::from(&b"\0payload"[..]) };
    StreamRecord { content, ..message(incarnation, number, b"") }
}

/// A message with any bytes, a keyed one, a gap, an end, and the next incarnation.
fn records() -> Vec<StreamRecord> {
    let bytes: Vec<u8> = (0..=255).collect();
    let keyed = Content::Message { key: Some(MessageKey(u64::MAX)), bytes: Arc::from(&b""[..]) };
    let gap = Content::Gap { first: MessageNumber(2), cause: GapCause::JoinedLate };
    let open = Content::OpenGap { cause: GapCause::EngineLost };
    vec![
        message(1, 0, &bytes),
        StreamRecord { content: keyed, ..message(1, 1, b"") },
        StreamRecord { content: gap, ..message(1, 9, b"") },
        StreamRecord { content: Content::End, ..message(1, 10, b"") },
        message(2, 0, b"a"),
        StreamRecord { content: open, ..message(2, 1, b"") },
    ]
}
