//! `mcast perf send --latency`: ping-pong.

use std::time::Duration;

use mcast_lab::{Impairment, LinkDirection};

use crate::hosts::{GROUP, GROUPS, Pair, numbers, object, perf_recv, perf_send};
use crate::schemas::assert_valid;
use crate::support::Lan;

#[test]
fn round_trips_are_measured_with_and_without_spin() {
    let lan = Lan::new();
    for group in GROUPS {
        for spin in [&[][..], &["--spin"]] {
            let partner = perf_recv(&lan.b, &[&[group, "--reply", "--json"], spin].concat());
            let arguments = [&[group, "--latency", "-c", "200", "--json"], spin].concat();
            let played = object(&perf_send(&lan.a, &arguments).end().succeeded());
            assert_valid("perf-latency", &played);
            assert_eq!(numbers(&played, ["sent", "received", "lost", "duplicated"]), [200, 200, 0, 0]);
            assert_eq!(played["spin"].as_bool(), Some(!spin.is_empty()));
            let trip = |name: &str| played["round_trip_us"][name].as_f64().unwrap();
            let half = played["latency_us"]["p50"].as_f64().unwrap();
            assert!(trip("p50") > 0.0 && trip("p50") <= trip("max"), "{played}");
            assert!((half * 2.0 - trip("p50")).abs() < 0.01, "{played}");
            let bars = played["histogram"].as_array().unwrap();
            assert_eq!(bars.iter().map(|bar| numbers(bar, ["count"])[0]).sum::<u64>(), 200);

            let received = object(&partner.end().succeeded());
            assert_valid("perf-recv", &received);
            assert_eq!(numbers(&received, ["sent", "received", "lost"]), [200, 200, 0], "{received}");
        }
    }
}

#[test]
fn one_of_several_partners_is_chosen() {
    let lan = Lan::new();
    let partners = [&lan.b, &lan.c].map(|host| perf_recv(host, &[GROUP, "--reply", "--json"]));
    let played = object(&perf_send(&lan.a, &[GROUP, "--latency", "-c", "50", "--json"]).end().succeeded());
    assert_eq!(numbers(&played, ["received", "duplicated", "late"]), [50, 0, 0], "{played}");
    for partner in partners {
        assert_eq!(numbers(&object(&partner.end().succeeded()), ["received"]), [50]);
    }
}

#[test]
fn the_delay_of_the_link_shows() {
    let delay = Duration::from_millis(5);
    let pair = Pair::new(Impairment { delay, ..Impairment::default() });
    let partner = perf_recv(&pair.b, &[GROUP, "--reply"]);
    let played = object(&perf_send(&pair.a, &[GROUP, "--latency", "-c", "30", "--json"]).end().succeeded());
    let p50 = played["round_trip_us"]["p50"].as_f64().unwrap();
    assert!((10_000.0..200_000.0).contains(&p50), "{played}");
    partner.end().succeeded();
}

#[test]
fn lost_pongs_count_as_lost_round_trips() {
    let pair = Pair::new(Impairment::default());
    let partner = perf_recv(&pair.b, &[GROUP, "--reply"]);
    let player =
        perf_send(&pair.a, &[GROUP, "--latency", "-c", "40", "--rate", "40pps", "--json", "--max-loss", "0"]);
    player.stderr.wait_for("ping-pong with 10.0.0.2");
    pair.link
        .set_direction(LinkDirection::Reverse, Impairment { loss: 0.3, seed: 3, ..Impairment::default() })
        .unwrap();
    let ended = player.end();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let played = object(&ended);
    let [sent, received, lost] = numbers(&played, ["sent", "received", "lost"]);
    assert!(sent == 40 && lost > 0 && received + lost == sent, "{played}");
    partner.end().succeeded();
}

#[test]
fn ping_pong_needs_a_partner_with_reply() {
    let lan = Lan::new();
    let receiver = perf_recv(&lan.b, &[GROUP, "--repeat"]);
    let alone = perf_send(&lan.a, &[GROUP, "--latency"]).end();
    assert_eq!(alone.status, Some(1), "{alone:?}");
    assert!(alone.stderr.contains("no host answers"), "{alone:?}");
    receiver.signalled(libc::SIGINT);
}
