//! Prometheus metrics.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use mcast_lab::Host;

use crate::streams::{GROUP, rtp, socket, top};
use crate::support::{Lan, Running, eventually};

/// Returns the listen address that the running command reports.
fn address(running: &Running) -> String {
    running.stderr.wait_for("/metrics");
    let text = running.stderr.text();
    let start = text.find("http://").unwrap() + "http://".len();
    text[start..].split('/').next().unwrap().to_owned()
}

fn fetch(host: &Host, address: &str) -> String {
    host.run(|| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .unwrap()
}

/// Parses the samples by name and labels; fails at invalid lines.
fn samples(answer: &str) -> HashMap<String, f64> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let mut samples = HashMap::new();
    let mut name = "";
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            assert!(["HELP", "TYPE"].contains(&words.next().unwrap()), "{line}");
            name = words.next().unwrap();
            continue;
        }
        let (key, value) = line.rsplit_once(' ').unwrap();
        assert_eq!(key.split('{').next().unwrap(), name, "{line} is not under its name");
        assert!(samples.insert(key.to_owned(), value.parse().unwrap()).is_none(), "{key} came twice");
    }
    samples
}

fn labels(sender: u16) -> String {
    format!(
        "{{group=\"239.1.2.3\",port=\"5000\",source=\"10.0.0.1\",source_port=\"{sender}\",interface=\"eth0\",vlan=\"\"}}"
    )
}

#[test]
fn metrics_are_served_without_a_terminal_until_a_signal() {
    let lan = Lan::new();
    let running = top(&lan.b, &["--metrics", "127.0.0.1:0", "239.1.2.3"]);
    let address = address(&running);
    let sender = socket(&lan.a);
    for number in (0..100).filter(|number| number % 10 != 5) {
        sender.send_to(&rtp(number), GROUP).unwrap();
    }
    let labels = labels(sender.local_addr().unwrap().port());
    let mut found = HashMap::new();
    eventually("all datagrams in the figures", || {
        found = samples(&fetch(&lan.b, &address));
        found.get(&format!("mcast_stream_datagrams_total{labels}")) == Some(&90.0)
    });

    assert_eq!(found[&format!("mcast_stream_bytes_total{labels}")], 90.0 * 212.0);
    assert_eq!(found[&format!("mcast_stream_missing{labels}")], 10.0);
    assert_eq!(found[&format!("mcast_stream_received_total{labels}")], 90.0);
    assert_eq!(found[&format!("mcast_stream_hop_limit{labels}")], 1.0);
    let info = labels.replace('}', ",name=\"\",payload=\"RTP\",unit=\"datagrams\"}");
    assert_eq!(found[&format!("mcast_stream_info{info}")], 1.0);
    assert_eq!((found["mcast_streams"], found["mcast_streams_evicted_total"]), (1.0, 0.0));
    assert_eq!(found["mcast_capture_dropped_total"], 0.0);
    let ended = running.signalled(15);
    assert_eq!((ended.status, ended.text()), (Some(143), ""));
}

#[test]
fn a_port_alone_means_both_families_whatever_bindv6only_says() {
    let lan = Lan::new();
    for v6_only in ["0", "1"] {
        lan.b.sysctl("net/ipv6/bindv6only", v6_only).unwrap();
        let running = top(&lan.b, &["--metrics", ":0"]);
        let listening = address(&running);
        let (_, port) = listening.rsplit_once(':').unwrap();
        for host in ["10.0.0.2", "[fd00::2]"] {
            samples(&fetch(&lan.b, &format!("{host}:{port}")));
        }
        let refused = crate::support::mcast(&lan.b, &["top", "--metrics", &format!(":{port}")]);
        assert_eq!(refused.status, Some(4), "{refused:?}");
    }
}

#[test]
fn a_port_in_use_is_reported() {
    let lan = Lan::new();
    let first = top(&lan.b, &["--metrics", "127.0.0.1:0"]);
    let refused = crate::support::mcast(&lan.b, &["top", "--metrics", &address(&first)]);
    assert_eq!(refused.status, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("cannot serve metrics at 127.0.0.1:"), "{refused:?}");
    assert!(refused.stderr.contains("remedy: name a free port"), "{refused:?}");
}
