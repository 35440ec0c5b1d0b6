//! Publishers and subscribers serve their metrics and their health.

use std::io::{Read, Write};
use std::net::TcpStream;

use mcast_lab::Host;

use crate::support::{Lan, MCAST, eventually, program};
use crate::{GROUP, subscriber};

/// Returns what is at this path; nothing while nobody listens.
pub(crate) fn get(host: &Host, path: &str) -> String {
    let Ok(mut client) = host.run(|| TcpStream::connect("127.0.0.1:9481")).unwrap() else {
        return String::new();
    };
    let mut text = String::new();
    client.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn metrics_of_a_stream_are_served_at_both_ends() {
    let lan = Lan::new();
    let metrics = ["--metrics", "127.0.0.1:9481"];
    let running = subscriber(&lan.b, &[&[GROUP][..], &metrics].concat());
    eventually("a subscriber that waits", || {
        get(&lan.b, "/ready").ends_with("\r\n\r\nnot ready: no publisher is there\n")
    });
    let arguments = ["publish", "-i", "eth0", GROUP, "--wait-for", "1", "--metrics", "127.0.0.1:9481"];
    let mut publisher = program(&lan.a, MCAST, &arguments, true);
    publisher.child.stdin.as_mut().unwrap().write_all(b"one\ntwo\nthree\n").unwrap();
    let has = |host: &Host, name: &str, value: &str| {
        let text = get(host, "/metrics");
        let is_sample = |line: &str| line.starts_with(&format!("{name}{{stream=")) && line.ends_with(value);
        text.contains(&format!("# HELP {name} ")) && text.lines().any(is_sample)
    };
    eventually("figures of the publisher", || {
        has(&lan.a, "mcast_stream_publisher_messages_total", "} 3")
            && has(&lan.a, "mcast_stream_publisher_subscribers", "} 1")
    });
    eventually("figures of the subscriber", || has(&lan.b, "mcast_stream_subscriber_messages_total", "} 3"));
    assert!(
        get(&lan.a, "/ready").starts_with("HTTP/1.1 200 ")
            && get(&lan.b, "/ready").starts_with("HTTP/1.1 200 ")
    );
    drop(publisher.child.stdin.take());
    publisher.end().succeeded();
    running.end().succeeded();
}
