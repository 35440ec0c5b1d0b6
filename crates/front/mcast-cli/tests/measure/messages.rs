//! `--stream`: measurements through the message layer.

use mcast_lab::Impairment;
use tempfile::tempdir;

use crate::hosts::{GROUPS, Pair, object, perf_send};
use crate::schemas::assert_valid;
use crate::support::{Running, mcast, start};

fn receive(pair: &Pair, arguments: &[&str]) -> Running {
    let running =
        start(&pair.b, &[&["perf", "recv", "-i", "eth0", "--stream", "--json"], arguments].concat());
    running.stderr.wait_for("waiting for mcast perf send --stream");
    running
}

#[test]
fn no_message_is_lost_on_a_lossy_link_and_both_ends_report_repairs() {
    for group in GROUPS {
        let pair = Pair::new(Impairment { loss: 0.05, ..Impairment::default() });
        let receives = receive(&pair, &[group]);
        let sends = perf_send(
            &pair.a,
            &["--stream", "--json", "-c", "3000", "--rate", "5kpps", "--size", "1000", group],
        );
        let (sent, received) = (object(&sends.end().succeeded()), object(&receives.end().succeeded()));
        assert_valid("perf-stream-send", &sent);
        assert_valid("perf-stream-recv", &received);
        let number = |name: &str| received[name].as_u64().unwrap();
        assert_eq!(
            (number("sent"), number("received"), number("lost"), number("corrupted")),
            (3_000, 3_000, 0, 0)
        );
        assert_eq!(
            (&sent["messages"], &sent["complete"], &sent["behind"]),
            (&3_000.into(), &1.into(), &0.into())
        );
        assert!(number("repaired") > 20 && number("naks") > 0, "{received}");
        assert!(
            sent["repairs"]["unicast"].as_u64().unwrap() + sent["repairs"]["multicast"].as_u64().unwrap()
                > 20
        );
        // Both are on one machine, and so is their clock.
        let delays = &received["latency_us"];
        assert!(delays["p50"].as_f64().unwrap() <= delays["p999"].as_f64().unwrap(), "{received}");
        assert!(received["jitter_us"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn sealed_messages_longer_than_a_datagram_arrive_as_fast_as_they_go() {
    let pair = Pair::new(Impairment::default());
    let folder = tempdir().unwrap();
    let key = folder.path().join("key").to_str().unwrap().to_owned();
    mcast(&pair.a, &["keys", "make", &key]).succeeded();
    let receives = receive(&pair, &["--key", &key, GROUPS[0]]);
    let sends = perf_send(
        &pair.a,
        &["--stream", "--json", "--duration", "1s", "--size", "5000", "--key", &key, GROUPS[0]],
    );
    let (sent, received) = (object(&sends.end().succeeded()), object(&receives.end().succeeded()));
    assert_eq!((&sent["sealed"], &received["sealed"]), (&true.into(), &true.into()));
    assert_eq!((&received["received"], &received["corrupted"]), (&sent["messages"], &0.into()));
    assert!(sent["datagrams"].as_u64().unwrap() > 3 * sent["messages"].as_u64().unwrap(), "{sent}");
    assert!(sent["back_pressure"]["seconds"].is_f64());
}

#[test]
fn text_output_has_the_same_results() {
    let pair = Pair::new(Impairment::default());
    let receives = start(&pair.b, &["perf", "recv", "-i", "eth0", "--stream", GROUPS[0]]);
    receives.stderr.wait_for("waiting for mcast perf send --stream");
    let sent = perf_send(&pair.a, &["--stream", "-c", "100", GROUPS[0]]).end().succeeded();
    assert!(sent.text().contains("published   100 messages of 1,344 bytes"), "{sent:?}");
    assert!(sent.text().contains("complete    1 receiver"), "{sent:?}");
    let received = receives.end().succeeded();
    for text in
        ["received    100 messages of 100", "lost        0; corrupted 0", "repaired    0", "delay       p50 "]
    {
        assert!(received.text().contains(text), "{text} in {received:?}");
    }
}

#[test]
fn silence_is_status_1_and_invalid_options_are_refused() {
    let pair = Pair::new(Impairment::default());
    let ended = receive(&pair, &["-W", "300ms", GROUPS[0]]).end();
    assert_eq!((ended.status, ended.text()), (Some(1), ""));
    assert!(ended.stderr.contains("no run ended"), "{ended:?}");
    let status = |arguments: &[&str]| mcast(&pair.a, &[&["perf", "send"], arguments].concat()).status;
    assert_eq!(status(&["--stream", "--size", "39", GROUPS[0]]), Some(2));
    assert_eq!(status(&["--stream", "--sweep", GROUPS[0]]), Some(2));
    assert_eq!(status(&["--stream", GROUPS[0], GROUPS[1]]), Some(2));
    assert_eq!(status(&["--key", "x", GROUPS[0]]), Some(2));
    assert_eq!(status(&["--stream", "--key", "/nowhere", GROUPS[0]]), Some(4));
}

#[test]
fn too_few_messages_are_reported() {
    let pair = Pair::new(Impairment::default());
    let receives = receive(&pair, &["--expect", "200", GROUPS[0]]);
    perf_send(&pair.a, &["--stream", "-c", "100", GROUPS[0]]).end().succeeded();
    let ended = receives.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("received 100, expected at least 200"), "{ended:?}");
}
