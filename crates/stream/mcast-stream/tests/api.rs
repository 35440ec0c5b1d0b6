//! What a blocking subscriber or publisher can do, one for tokio can, and so can a publisher with a log.

use std::collections::BTreeSet;

const API: &str = include_str!("../../../../docs/api/mcast-stream.txt");

/// Methods that only the blocking subscriber has, with the reason.
const BLOCKING_ONLY: &[(&str, &str)] = &[
    ("builder", "a subscriber is built before it is wrapped"),
    ("join_one", "a subscriber is built before it is wrapped"),
    ("named", "a subscriber is built before it is wrapped"),
    ("next_timeout", "`tokio::time::timeout` around `next`"),
];

/// Methods of all publishers that the one for tokio lacks, with the reason.
const NOT_FOR_TOKIO: &[(&str, &str)] = &[
    ("publish_timeout", "`tokio::time::timeout` around `publish`, which is cancel-safe"),
    ("publisher", "it is called `blocking`, because its calls that wait block the executor"),
    ("try_publish_all", "nothing is sent within a call, so that `try_publish` for each costs the same"),
    ("wait_for_room", "`publish` waits, and blocks nothing"),
];

/// Methods of a publisher that publish, wait or end, and that one with a log does not have, with the reason.
const NOT_FOR_A_LOG: &[(&str, &str)] = &[("skip_to", "numbers in the log have no gap")];

/// Methods of a publisher with a log that one without has not, with the reason.
const ONLY_FOR_A_LOG: &[(&str, &str)] = &[
    ("accepted", "without a log, everything that was accepted is in the statistics"),
    ("append_all", "without a log, there is no disk that `publish_all` could wait for"),
    ("directory", "it is about the log"),
    ("durable", "it is about the log"),
    ("hold", "it is about the log"),
    ("recovery", "it is about the log"),
    ("serve_history", "it is about the log"),
    ("serve_history_on", "it is about the log"),
    ("start", "it is about the log"),
    ("stop", "without a log, no other publisher continues the stream"),
    ("unopened", "it is about the log"),
    ("unsent", "it is about the log"),
];

/// Returns the methods of a type or a trait itself, without those of traits that it implements: their names, and whether they
/// change nothing, so that a reference to it is enough.
fn methods(of: &str) -> BTreeSet<(&'static str, bool)> {
    let mut found = BTreeSet::new();
    let mut is_of_trait = false;
    for line in API.lines() {
        if line.starts_with("impl") {
            is_of_trait = line.contains(" for ");
        }
        let Some((_, method)) = line.split_once("fn ") else {
            is_of_trait &= line.starts_with("impl") || line.starts_with("pub type");
            continue;
        };
        let Some((name, arguments)) = method.strip_prefix(of).and_then(|method| method.split_once('('))
        else {
            continue;
        };
        let name = name.split_once('<').map_or(name, |(name, _)| name);
        let is_plain = name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        if is_plain && !is_of_trait {
            found.insert((name, arguments.starts_with("&self")));
        }
    }
    found
}

fn names(of: &str) -> BTreeSet<&'static str> {
    methods(of).into_iter().map(|(name, _)| name).collect()
}

/// Checks that a difference is excused, and that nothing else is.
fn assert_excused(missing: &BTreeSet<&str>, excused: &[(&str, &str)]) {
    let excused: BTreeSet<_> = excused.iter().map(|(name, _)| *name).collect();
    assert_eq!(*missing, excused, "differences, and those with a reason");
}

/// Whether a method of a publisher publishes, waits for something, or ends the stream: what `blocking` and `publisher` do
/// not replace.
fn acts(name: &str) -> bool {
    ["publish", "try_publish", "wait", "skip", "append"].iter().any(|verb| name.starts_with(verb))
        || ["end", "close", "set_keys", "next_message"].contains(&name)
}

#[test]
fn tokio_can_do_what_a_blocking_subscriber_can() {
    let tokio = names("mcast_stream::tokio::Subscriber::");
    let blocking = methods("mcast_stream::Subscriber::");
    assert!(tokio.contains("next") && blocking.contains(&("statistics", true)), "{tokio:?} {blocking:?}");
    let is_excused = |name: &str| BLOCKING_ONLY.iter().any(|(excused, _)| *excused == name);
    for (name, is_reached) in blocking {
        assert_ne!(is_reached || tokio.contains(name), is_excused(name), "{name}");
    }
}

#[test]
fn every_publisher_can_do_the_same() {
    let all = names("mcast_stream::Publish::");
    let (plain, logged) = (names("mcast_stream::Publisher::"), names("mcast_stream::LoggedPublisher::"));
    assert!(all.contains("publish") && plain.contains("publish") && logged.contains("stop"), "{all:?}");

    // What the trait has, the publisher has under the same name; the one with a log has it by the trait alone.
    assert_excused(&all.difference(&plain).copied().collect(), &[("publisher", "it is the publisher")]);
    assert_excused(&plain.difference(&all).filter(|name| acts(name)).copied().collect(), NOT_FOR_A_LOG);
    assert_excused(&logged.difference(&plain).copied().collect(), ONLY_FOR_A_LOG);
    assert!(API.contains("impl mcast_stream::Publish for mcast_stream::LoggedPublisher\n"));
    assert_eq!(logged.intersection(&all).collect::<Vec<_>>(), Vec::<&&str>::new(), "declared twice");
}

#[test]
fn tokio_can_do_what_a_blocking_publisher_can() {
    let tokio = names("mcast_stream::tokio::Publisher::");
    let plain = methods("mcast_stream::Publisher::");
    let all = names("mcast_stream::Publish::");
    assert!(tokio.contains("publish") && plain.contains(&("statistics", true)), "{tokio:?} {plain:?}");
    // What does not wait, `blocking` reaches.
    let reached = ["end", "next_message", "set_keys"];
    let needed = all.iter().filter(|name| acts(name) && !reached.contains(name));
    assert_excused(&needed.filter(|name| !tokio.contains(*name)).copied().collect(), NOT_FOR_TOKIO);
}
