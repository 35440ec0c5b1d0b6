//! A second implementation, written in Python from docs/protocol.md alone, and this one understand each other:
//! what the document says is what is on the wire.

use std::process::{Command, Stdio};
use std::thread;

use mcast::Family;
use mcast_lab::{Host, Impairment};
use mcast_stream::Snapshot;
use mcast_stream::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream::wire::KeyEpoch;

use crate::net::{Net, PATIENCE, hear, message};

const MESSAGES: u64 = 300;
/// ChaCha20-Poly1305 in plain Python takes its time.
const SEALED: u64 = 60;
const SECRET: [u8; 32] = [7; 32];

fn secret() -> Keys {
    Keys::one(KeyEpoch(3), GroupSecret::new(&SECRET, Algorithm::ChaCha20Poly1305))
}

fn lossy() -> Impairment {
    Impairment { loss: 0.05, ..Impairment::default() }
}

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: this test needs python3");
        assert!(std::env::var_os("MCAST_REQUIRE_ALL").is_none(), "no skip is allowed");
    }
    found
}

fn program(host: &Host, name: &str, arguments: &[&str], keys: &Keys) -> mcast_lab::Child {
    let path = format!("{}/tests/second/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut command = host.command("python3").unwrap();
    command.args(["-B", &path]).args(arguments);
    if !keys.is_empty() {
        command.args([&SECRET.map(|byte| format!("{byte:02x}")).concat(), "3"]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn it_hears_everything(keys: &Keys, count: u64) {
    if !has_python() {
        return;
    }
    let net = Net::new(Family::V4, 1, lossy());
    let publisher = net.publisher(|settings| settings.keys(keys.clone()));
    let hearer = program(&net.subscribers[0].0, "hear.py", &["239.7.7.7", "7000", "10.0.0.2"], keys);
    assert!(publisher.wait_for(1, PATIENCE), "{:?}", publisher.statistics());
    (0..count).for_each(|number| assert_eq!(publisher.publish(&message(number)).unwrap(), number));
    let closing = publisher.close(PATIENCE);
    let output = hearer.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!((closing.complete, &closing.behind[..]), (1, &[][..]), "{closing:?} {said}");
    let expected = (0..count).flat_map(|number| {
        let message = message(number);
        [&(message.len() as u32).to_be_bytes(), &message[..]].concat()
    });
    assert!(output.stdout == expected.collect::<Vec<u8>>(), "it heard something else: {said}");
    assert!(closing.statistics.repair_bytes > 0 && !said.contains("\"repaired\": 0"), "{said}");
}

fn it_is_heard(keys: &Keys, count: u64) {
    if !has_python() {
        return;
    }
    let net = Net::new(Family::V4, 2, lossy());
    let mut subscribers = [0, 1].map(|number| net.subscriber(number, |settings| settings.keys(keys.clone())));
    let arguments = ["239.7.7.7", "7000", "10.0.0.1", &count.to_string()];
    let speaker = program(&net.publisher, "speak.py", &arguments, keys);
    thread::scope(|scope| {
        let hearing: Vec<_> =
            subscribers.iter_mut().map(|subscriber| scope.spawn(|| hear(subscriber, message))).collect();
        for one in hearing {
            let heard = one.join().unwrap();
            assert_eq!((heard.first, heard.messages), (Some(0), count), "{:?}", heard.events);
        }
    });
    let output = speaker.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(!told.contains("\"repairs\": 0"), "{told}");
}

fn it_finds_and_fetches(keys: &Keys, length: usize) {
    if !has_python() {
        return;
    }
    let net = Net::new(Family::V4, 1, Impairment::default());
    let publisher = net.publisher(|settings| settings.announce("prices").keys(keys.clone()));
    let snapshot: Vec<u8> = (0..length).map(|at| at as u8).collect();
    let bytes = snapshot.clone();
    let capture = move || Snapshot { message: 5, bytes: bytes.clone() };
    let at = "10.0.0.1:0".parse().unwrap();
    let _server = net.publisher.run(|| publisher.serve_snapshots(at, capture).unwrap()).unwrap();
    let finder = program(&net.subscribers[0].0, "find.py", &["prices", "10.0.0.2"], keys);
    let output = finder.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "{\"paths\": [\"239.7.7.7:7000\"], \"message\": 5}\n");
    assert!(output.status.success() && output.stdout == snapshot);
}

#[test]
fn a_second_implementation_hears_us() {
    it_hears_everything(&Keys::none(), MESSAGES);
}

#[test]
fn a_second_implementation_hears_us_sealed() {
    it_hears_everything(&secret(), SEALED);
}

#[test]
fn we_hear_a_second_implementation() {
    it_is_heard(&Keys::none(), MESSAGES);
}

#[test]
fn we_hear_a_second_implementation_sealed() {
    it_is_heard(&secret(), SEALED);
}

#[test]
fn a_second_implementation_finds_our_streams_and_fetches_snapshots() {
    it_finds_and_fetches(&Keys::none(), 1 << 20);
    it_finds_and_fetches(&secret(), 40_000);
}
