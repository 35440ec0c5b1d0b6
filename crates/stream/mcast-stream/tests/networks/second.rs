//! A second implementation, written in Python from docs/protocol.md alone, interoperates with this one, so that the
//! document describes what is on the wire.

use std::process::Stdio;
use std::sync::Arc;
use std::thread;

use mcast::Family;
use mcast_lab::{Host, Impairment};
use mcast_stream::history::{GapCause, HistoryContent, HistoryRecord, Position, RequestedStart};
use mcast_stream::publisher::{AckLevel, Acknowledgers, Fec, Quorum};
use mcast_stream::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream::sign::SigningKey;
use mcast_stream::wire::{Incarnation, KeyEpoch, MessageKey, MessageNumber, StreamId};
use mcast_stream::{HistoryListener, HistoryProvider, HistorySource, HistoryUnavailable, Snapshot, Until};

use crate::net::{Net, TIMEOUT, message, receive_stream};

const MESSAGES: u64 = 300;
/// Fewer messages, because ChaCha20-Poly1305 in plain Python is slow.
const SEALED: u64 = 60;
const SECRET: [u8; 32] = [7; 32];

fn secret() -> Keys {
    Keys::one(KeyEpoch(3), GroupSecret::new(&SECRET, Algorithm::ChaCha20Poly1305))
}

fn lossy() -> Impairment {
    Impairment { loss: 0.05, ..Impairment::default() }
}

fn has_python() -> bool {
    mcast_lab::has_program("python3", "--version", "a second implementation")
}

fn program(host: &Host, name: &str, arguments: &[&str], keys: &Keys) -> mcast_lab::Child {
    program_with(host, name, arguments, keys, None)
}

fn program_with(
    host: &Host,
    name: &str,
    arguments: &[&str],
    keys: &Keys,
    public_key: Option<&str>,
) -> mcast_lab::Child {
    let path = format!("{}/tests/second/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut command = host.command("python3").unwrap();
    command.args(["-B", &path]).args(arguments);
    if !keys.is_empty() {
        command.args([&SECRET.map(|byte| format!("{byte:02x}")).concat(), "3"]);
    }
    command.args(public_key).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn second_receives_everything(keys: &Keys, signer: Option<Arc<SigningKey>>, fec: Fec, count: u64) {
    if !has_python() {
        return;
    }
    let net = Net::new(Family::V4, 1, lossy());
    let quorum = Quorum {
        level: AckLevel::Processed,
        ..Quorum::new(Acknowledgers::Named(vec!["second".parse().unwrap()]))
    };
    let publisher = net.publisher(|settings| {
        let settings = settings.keys(keys.clone()).fec(fec).acknowledge(quorum);
        signer.clone().into_iter().fold(settings, |settings, key| settings.signing_key(key))
    });
    let place = ["239.7.7.7", "7000", "10.0.0.2"];
    let public_key =
        signer.as_ref().map(|key| key.public_key().bytes().map(|byte| format!("{byte:02x}")).concat());
    let receiver = program_with(&net.subscribers[0].0, "receiver.py", &place, keys, public_key.as_deref());
    assert!(publisher.wait_for(1, TIMEOUT), "{:?}", publisher.statistics());
    (0..count).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap().0, number));
    let closing = publisher.close(TIMEOUT);
    let last = MessageNumber(count - 1);
    let is_acked = publisher.wait(Until::MessageAcknowledged(last), TIMEOUT).unwrap();
    assert!(is_acked, "{:?}", publisher.watermarks());
    let output = receiver.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!((closing.complete, &closing.behind[..]), (1, &[][..]), "{closing:?} {stderr}");
    let expected = (0..count).flat_map(|number| {
        let message = message(number);
        [&(message.len() as u32).to_be_bytes(), &message[..]].concat()
    });
    assert!(output.stdout == expected.collect::<Vec<u8>>(), "it received something else: {stderr}");
    match fec {
        Fec::Off => {
            assert!(closing.statistics.repair_bytes > 0 && !stderr.contains("\"repaired\": 0"), "{stderr}");
        }
        _ => assert!(!stderr.contains("\"recovered\": 0"), "{stderr}"),
    }
    assert_eq!(stderr.contains("\"verified\": 0"), signer.is_none(), "{stderr}");
}

fn second_is_received(keys: &Keys, parity: u8, count: u64) {
    if !has_python() {
        return;
    }
    let net = Net::new(Family::V4, 2, lossy());
    let mut subscribers = [0, 1].map(|number| net.subscriber(number, |settings| settings.keys(keys.clone())));
    let arguments = ["239.7.7.7", "7000", "10.0.0.1", &count.to_string(), &parity.to_string()];
    let sender = program(&net.publisher, "sender.py", &arguments, keys);
    thread::scope(|scope| {
        let receiving: Vec<_> = subscribers
            .iter_mut()
            .map(|subscriber| scope.spawn(|| receive_stream(subscriber, message)))
            .collect();
        for one in receiving {
            let received = one.join().unwrap();
            assert_eq!((received.first, received.messages), (Some(0), count), "{:?}", received.events);
        }
    });
    for subscriber in &subscribers {
        let statistics = subscriber.statistics();
        assert_eq!(statistics.recovered > 0, parity > 0, "{statistics:?}");
    }
    let output = sender.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(parity > 0 || !stdout.contains("\"repairs\": 0"), "{stdout}");
}

fn second_finds_and_fetches(keys: &Keys, length: usize) {
    if !has_python() {
        return;
    }
    let net = Net::new(Family::V4, 1, Impairment::default());
    let publisher = net.publisher(|settings| settings.announce("prices").keys(keys.clone()));
    let snapshot: Vec<u8> = (0..length).map(|at| at as u8).collect();
    let bytes = snapshot.clone();
    let capture = move || Snapshot { message: MessageNumber(5), bytes: bytes.clone() };
    let at = "10.0.0.1:0".parse().unwrap();
    let _server = net.publisher.run(|| publisher.serve_snapshots(at, capture).unwrap()).unwrap();
    let finder = program(&net.subscribers[0].0, "find.py", &["prices", "10.0.0.2"], keys);
    let output = finder.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "{\"paths\": [\"239.7.7.7:7000\"], \"message\": 5}\n");
    assert!(output.status.success() && output.stdout == snapshot);
}

/// A history of two incarnations, with every kind of record.
#[derive(Clone)]
struct Records(Vec<HistoryRecord<Arc<[u8]>>>);

impl Records {
    fn new() -> Self {
        let record = |incarnation, number, content| HistoryRecord {
            first: Position::new(Incarnation(incarnation), MessageNumber(number)),
            content,
        };
        let message =
            |number| record(7, number, HistoryContent::Message { key: None, bytes: message(number).into() });
        let mut records: Vec<_> = (0..50).map(message).collect();
        let keyed = HistoryContent::Message { key: Some(MessageKey(9)), bytes: Arc::from(&b"keyed"[..]) };
        let gap = HistoryContent::Gap { end: MessageNumber(60), cause: GapCause::JoinedLate };
        records.extend([record(7, 50, keyed), record(7, 51, gap)]);
        records.extend((60..65).map(message));
        records.push(record(7, 65, HistoryContent::End));
        // Longer than a frame with several records.
        let long = HistoryContent::Message { key: None, bytes: vec![7; 70_000].into() };
        let open = HistoryContent::OpenGap { cause: GapCause::EngineLost };
        records.extend([record(8, 0, long), record(8, 1, open)]);
        Self(records)
    }
}

impl HistoryProvider for Records {
    fn open(&self, _: StreamId) -> Result<Box<dyn HistorySource>, HistoryUnavailable> {
        Ok(Box::new(self.clone()))
    }
}

impl HistorySource for Records {
    fn locate(&mut self, _: RequestedStart) -> Result<Option<Position>, HistoryUnavailable> {
        Ok(Some(self.0[0].first))
    }

    fn read(
        &mut self,
        from: Position,
        count: usize,
    ) -> Result<Vec<HistoryRecord<Arc<[u8]>>>, HistoryUnavailable> {
        let records = self.0.iter().filter(|record| record.first >= from || record.end() > from);
        Ok(records.take(count).cloned().collect())
    }
}

fn second_reads_the_history(keys: &Keys) {
    if !has_python() {
        return;
    }
    let net = Net::new(Family::V4, 1, Impairment::default());
    let (stream, records) = (StreamId(0xfeed), Records::new());
    let provider = Box::new(records.clone());
    let serve = || {
        let listener = HistoryListener::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let mut server = listener.serve(stream, keys.clone(), provider).unwrap();
        let interfaces = mcast::interface::list().unwrap();
        server.announce(&[interfaces.iter().find(|one| one.name == "eth0").unwrap().index]).unwrap();
        server
    };
    let _server = net.publisher.run(serve).unwrap();
    let reader = program(&net.subscribers[0].0, "history.py", &["000000000000feed", "10.0.0.2"], keys);
    let output = reader.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    // Incarnation, number, kind, one past the last number, and key or cause.
    let others = "[[7, 50, 1, 51, 9], [7, 51, 2, 60, 7], [7, 65, 4, 65, null], [8, 1, 3, 1, 8]]\n";
    assert_eq!(stderr, others);
    let expected = records.0.iter().filter_map(|record| match &record.content {
        HistoryContent::Message { bytes, .. } => {
            Some([&(bytes.len() as u32).to_be_bytes(), &bytes[..]].concat())
        }
        _ => None,
    });
    assert!(output.stdout == expected.flatten().collect::<Vec<u8>>(), "it read something else");
}

#[test]
fn a_second_implementation_receives_from_this_one() {
    second_receives_everything(&Keys::none(), None, Fec::Off, MESSAGES);
}

#[test]
fn a_second_implementation_receives_sealed_from_this_one() {
    second_receives_everything(&secret(), None, Fec::Off, SEALED);
}

/// It checks the signatures, and delivers only what they cover.
#[test]
fn a_second_implementation_verifies_what_this_one_signs() {
    let signer = SigningKey::new(&SECRET).unwrap();
    second_receives_everything(&Keys::none(), Some(signer.clone()), Fec::Off, MESSAGES);
    second_receives_everything(&secret(), Some(signer), Fec::Off, SEALED);
}

#[test]
fn a_second_implementation_recovers_from_parity() {
    let fec = Fec::Fixed { data: 20, parity: 8 };
    second_receives_everything(&Keys::none(), None, fec, MESSAGES);
    second_receives_everything(&secret(), None, fec, SEALED);
}

#[test]
fn this_one_receives_from_a_second_implementation() {
    second_is_received(&Keys::none(), 0, MESSAGES);
}

#[test]
fn this_one_receives_sealed_from_a_second_implementation() {
    second_is_received(&secret(), 0, SEALED);
}

#[test]
fn this_one_recovers_from_the_parity_of_a_second_implementation() {
    second_is_received(&Keys::none(), 8, MESSAGES);
    second_is_received(&secret(), 8, SEALED);
}

#[test]
fn a_second_implementation_finds_streams_and_fetches_snapshots() {
    second_finds_and_fetches(&Keys::none(), 1 << 20);
    second_finds_and_fetches(&secret(), 40_000);
}

#[test]
fn a_second_implementation_reads_histories() {
    second_reads_the_history(&Keys::none());
    second_reads_the_history(&secret());
}
