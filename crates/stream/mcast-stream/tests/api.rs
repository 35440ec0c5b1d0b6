//! What a blocking subscriber can do, one for tokio can.

use std::collections::BTreeSet;

const API: &str = include_str!("../../../../docs/api/mcast-stream.txt");

/// Methods that only the blocking subscriber has, with the reason.
const BLOCKING_ONLY: &[(&str, &str)] = &[
    ("builder", "a subscriber is built before it is wrapped"),
    ("drop", "the one that is wrapped is dropped with it"),
    ("join_one", "a subscriber is built before it is wrapped"),
    ("named", "a subscriber is built before it is wrapped"),
    ("next_timeout", "`tokio::time::timeout` around `next`"),
];

/// Returns the methods of a type: their names, and whether `blocking()` reaches them, because they change nothing.
fn methods(of: &str) -> BTreeSet<(&'static str, bool)> {
    let method = |line: &'static str| {
        let method = line.split_once("fn ")?.1.strip_prefix(of)?;
        let (name, arguments) = method.split_once('(')?;
        let is_plain = name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        is_plain.then(|| (name, arguments.starts_with("&self")))
    };
    API.lines().filter_map(method).collect()
}

#[test]
fn tokio_can_do_what_a_blocking_subscriber_can() {
    let tokio: BTreeSet<_> =
        methods("mcast_stream::tokio::Subscriber::").into_iter().map(|(name, _)| name).collect();
    let blocking = methods("mcast_stream::Subscriber::");
    assert!(tokio.contains("next") && blocking.contains(&("statistics", true)), "{tokio:?} {blocking:?}");
    let is_excused = |name: &str| BLOCKING_ONLY.iter().any(|(excused, _)| *excused == name);
    for (name, is_reached) in blocking {
        assert_ne!(is_reached || tokio.contains(name), is_excused(name), "{name}");
    }
}
