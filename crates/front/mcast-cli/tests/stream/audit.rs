//! Who was refused by a publisher.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::GROUP;
use crate::schemas::assert_valid;
use crate::support::{Lan, MCAST, program};

const HISTORY: &str = "10.0.0.1:7768";
const SNAPSHOTS: &str = "10.0.0.1:7769";
/// Of one address, three are reported at once, and the latest of the others later.
const REQUESTS: u64 = 5;

#[test]
fn who_was_refused_is_in_events_with_the_address_and_the_reason_before_the_closing_report() {
    let lan = Lan::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log").display().to_string();
    let arguments = ["publish", "-i", "eth0", GROUP, "--announce", "prices", "--log", &log, "--json"];
    let serves = ["--serve-history", HISTORY, "--snapshot", "7769:echo state"];
    let mut publishing = program(&lan.a, MCAST, &[&arguments[..], &serves].concat(), true);
    publishing.stderr.wait_for("serving the history");
    publishing.stderr.wait_for("serving snapshots");

    // No greeting of a server's clients begins like this, and no request.
    let request = || {
        let mut request = [&[0; 8][..], &28_u32.to_be_bytes(), &[0; 28]].concat();
        request[8 + 4 + 12] = 9;
        request
    };
    let refuse = |address: &str| {
        let exchange = || {
            let (mut connection, mut response) = (TcpStream::connect(address).unwrap(), Vec::new());
            connection.write_all(&request()).unwrap();
            // It may reset the connection.
            let _ = connection.read_to_end(&mut response);
        };
        lan.b.run(exchange).unwrap();
    };
    (0..REQUESTS).for_each(|_| refuse(HISTORY));
    refuse(SNAPSHOTS);
    publishing.stdout.wait_for(r#""event":"history-refused""#);
    publishing.stdout.wait_for(r#""event":"snapshot-refused""#);

    drop(publishing.child.stdin.take());
    let ended = publishing.end().succeeded();
    let mut records = ended.json();
    assert_valid("publish-report", &records.pop().unwrap());
    records.iter().for_each(|record| assert_valid("publish-event", record));
    let of = |event: &str| records.iter().filter(|record| record["event"] == event).collect::<Vec<_>>();
    let (history, snapshots) = (of("history-refused"), of("snapshot-refused"));
    let more: u64 = history.iter().filter_map(|record| record["more"].as_u64()).sum();
    assert!((history.len(), more) == (4, REQUESTS - 4), "{ended:?}");
    assert_eq!(history[0]["reason"], "the request is malformed", "{ended:?}");
    assert_eq!(snapshots.len(), 1, "{ended:?}");
    for refused in [history[0], snapshots[0]] {
        assert!(refused["address"].as_str().unwrap().starts_with("10.0.0.2:"), "{refused}");
    }
    // The log has them, too.
    assert!(ended.stderr.contains("a request for the history from 10.0.0.2:"), "{ended:?}");
    assert!(ended.stderr.contains("a request for a snapshot from 10.0.0.2:"), "{ended:?}");
}
