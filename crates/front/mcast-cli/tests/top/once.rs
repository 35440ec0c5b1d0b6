//! Tables and JSON without a screen.

use std::process::Stdio;

use mcast::{GroupAddr, Outgoing, Sender};

use crate::streams::{GROUP, Television, objects, rtp, send_query, socket, top};
use crate::support::{Lan, MCAST, mcast, program, recv};

#[test]
fn a_stream_is_shown_with_its_loss_and_members() {
    let lan = Lan::new();
    let here = recv(&lan.b, &[GROUP, "--discard"]);
    let watching = top(&lan.b, &["--once", "--json", "-W", "6"]);
    let there = recv(&lan.c, &[GROUP, "--discard"]);
    let sender = socket(&lan.a);
    for number in (0..100).filter(|number| number % 10 != 5) {
        sender.send_to(&rtp(number), GROUP).unwrap();
    }

    let ended = watching.end().succeeded();

    let streams = objects(&ended, "stream");
    let stream = streams.iter().find(|stream| stream["group"] == "239.1.2.3").unwrap();
    assert_eq!((&stream["port"], &stream["source"]), (&5000.into(), &"10.0.0.1".into()));
    assert_eq!(stream["source_port"], sender.local_addr().unwrap().port());
    assert_eq!((&stream["interface"], &stream["ttl"]), (&"eth0".into(), &1.into()));
    assert_eq!((&stream["datagrams"], &stream["bytes"]), (&90.into(), &(90 * 212).into()));
    assert_eq!(stream["datagrams_per_second"], 15.0);
    assert_eq!(stream["bits_per_second"], 15.0 * 212.0 * 8.0);
    assert_eq!((&stream["payload_format"], &stream["unit"]), (&"RTP".into(), &"datagrams".into()));
    assert_eq!(
        (&stream["received"], &stream["lost"], &stream["lost_in_interval"]),
        (&90.into(), &10.into(), &10.into())
    );
    assert_eq!(stream["processes"][0]["pid"], here.child.id());
    assert_eq!(stream["processes"][0]["port"], 5000);
    assert_eq!(stream["members"], serde_json::json!(["10.0.0.3"]));
    assert_eq!(stream["this_machine"], false);
    let members = objects(&ended, "member");
    assert!(
        members.iter().any(|member| member["host"] == "10.0.0.3" && member["version"] == 3),
        "{members:?}"
    );
    let summary = &objects(&ended, "summary")[0];
    assert_eq!((&summary["not_captured"], &summary["streams_evicted"]), (&0.into(), &0.into()));
    drop((here, there));
}

#[test]
fn the_table_has_a_row_per_stream() {
    let lan = Lan::new();
    let watching = top(&lan.b, &["--once", "-W", "4", "-i", "all"]);
    let sender = socket(&lan.a);
    for number in 0..20 {
        sender.send_to(&rtp(number), GROUP).unwrap();
    }
    for _ in 0..8 {
        sender.send_to(b"M-SEARCH * HTTP/1.1\r\n\r\n", "239.255.255.250:1900").unwrap();
    }

    let ended = watching.end().succeeded();

    let rows: Vec<Vec<&str>> = ended.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..6], ["group", "name", "source", "iface", "dgram/s", "bit/s"]);
    assert_eq!(rows[1][..6], ["239.1.2.3:5000", "10.0.0.1", "eth0", "5", "8.5k", "0"]);
    let ssdp = ["239.255.255.250:1900", "ssdp", "10.0.0.1", "eth0", "2", "368", "–"];
    assert!(rows.iter().any(|row| row.starts_with(&ssdp)), "{rows:?}");
    assert!(ended.stderr.contains(" streams, 7 datagrams/s"), "{}", ended.stderr);
}

#[test]
fn segmented_buffers_count_as_their_datagrams() {
    let lan = Lan::new();
    let watching = top(&lan.b, &["--once", "--json", "-W", "4", "--seq", "0:2"]);
    let group: GroupAddr = GROUP.parse().unwrap();
    let sent = lan.a.run(|| {
        let sender = Sender::builder().build().unwrap();
        let payloads: Vec<Vec<u8>> =
            (0..200_u16).map(|n| [&n.to_be_bytes()[..], &[0; 998]].concat()).collect();
        let outgoing: Vec<_> = payloads.iter().map(|payload| Outgoing::new(payload).to(group)).collect();
        sender.send_batch(&outgoing).unwrap()
    });
    assert_eq!(sent.unwrap(), 200);

    let streams = objects(&watching.end().succeeded(), "stream");

    assert_eq!((&streams[0]["datagrams"], &streams[0]["bytes"]), (&200.into(), &200_000.into()));
    assert_eq!((&streams[0]["received"], &streams[0]["lost"]), (&200.into(), &0.into()));
    assert_eq!(streams[0]["payload_format"], "numbered");
}

#[test]
fn only_named_streams_are_shown_and_their_absence_is_status_1() {
    let lan = Lan::new();
    let cases: [&[&str]; 8] = [
        &["239.1.2.3"],
        &["239.1.0.0/16"],
        &["239.1.2.3+2:5000", "239.2.0.1:6000"],
        &["239.1.2.3:5001"],
        &["10.0.0.1@239.1.2.3%eth0:5000"],
        &["10.0.0.9@239.1.2.3:5000"],
        &["-s", "!10.0.0.1"],
        &["-6"],
    ];
    let watching = cases.map(|wanted| top(&lan.b, &[&["--once", "--json", "-W", "4"], wanted].concat()));
    let sender = socket(&lan.a);
    for group in ["239.1.2.3:5000", "239.1.2.4:5000", "239.2.0.1:6000"] {
        sender.send_to(b"x", group).unwrap();
    }
    let watched = watching.map(|watching| {
        let ended = watching.end();
        let mut groups: Vec<_> = objects(&ended, "stream")
            .iter()
            .map(|stream| format!("{}:{}", stream["group"].as_str().unwrap(), stream["port"]))
            .filter(|group| group.starts_with("239"))
            .collect();
        groups.sort();
        (ended.status, groups.join(" "))
    });
    let expected = [
        (0, "239.1.2.3:5000"),
        (0, "239.1.2.3:5000 239.1.2.4:5000"),
        (0, "239.1.2.3:5000 239.1.2.4:5000 239.2.0.1:6000"),
        (1, ""),
        (0, "239.1.2.3:5000"),
        (1, ""),
        (0, ""),
        (0, ""),
    ];
    assert_eq!(watched, expected.map(|(status, groups)| (Some(status), groups.to_owned())));
}

#[test]
fn on_loopback_a_datagram_counts_once() {
    let lan = Lan::new();
    let watching = top(&lan.a, &["--once", "--json", "-W", "4", "-i", "lo", "239.1.2.3"]);
    crate::support::send(&lan.a, &[GROUP, "-i", "lo", "x"]);
    let streams = objects(&watching.end().succeeded(), "stream");
    assert_eq!((streams.len(), &streams[0]["datagrams"]), (1, &1.into()));
}

#[test]
fn streams_of_this_machine_are_marked() {
    let lan = Lan::new();
    let watching = top(&lan.a, &["--once", "--json", "-W", "4", "239.1.2.3"]);
    socket(&lan.a).send_to(b"x", GROUP).unwrap();
    let streams = objects(&watching.end().succeeded(), "stream");
    assert_eq!((&streams[0]["this_machine"], &streams[0]["datagrams"]), (&true.into(), &1.into()));
}

#[test]
fn queriers_are_listed() {
    let lan = Lan::new();
    let watching = top(&lan.b, &["--once", "--json", "-W", "6"]);
    send_query(&lan.a);
    let queriers = objects(&watching.end().succeeded(), "querier");
    assert_eq!(queriers.len(), 1);
    let querier = &queriers[0];
    assert_eq!((&querier["protocol"], &querier["version"]), (&"igmp".into(), &3.into()));
    assert_eq!((&querier["address"], &querier["interface"]), (&"10.0.0.254".into(), &"eth0".into()));
    assert_eq!((&querier["elected"], &querier["interval_seconds"]), (&true.into(), &60.0.into()));
}

#[test]
fn it_prints_at_each_interval_until_the_timeout_or_ctrl_c() {
    let lan = Lan::new();
    let television = Television::start(&lan.a, GROUP);
    let ended = top(&lan.b, &["--json", "--interval", "0.5", "-W", "2", "239.1.2.3"]).end().succeeded();
    let streams = objects(&ended, "stream");
    assert_eq!((streams.len(), objects(&ended, "summary").len()), (4, 4));
    let counts: Vec<_> = streams.iter().map(|stream| stream["datagrams"].as_u64().unwrap()).collect();
    assert!(counts.is_sorted() && counts[3] > counts[0], "{counts:?}");
    drop(television);

    let shorter_than_an_interval = top(&lan.b, &["--json", "-W", "0.3"]).end().succeeded();
    assert_eq!(objects(&shorter_than_an_interval, "summary").len(), 1);
    let no_whole_number_of_them = top(&lan.b, &["--json", "--interval", "0.4", "-W", "1"]).end().succeeded();
    assert_eq!(objects(&no_whole_number_of_them, "summary").len(), 2);

    let watching = top(&lan.b, &["--json", "--interval", "100"]);
    socket(&lan.a).send_to(b"x", GROUP).unwrap();
    let interrupted = watching.signalled(2);
    assert_eq!(interrupted.status, Some(130));
    assert_eq!(objects(&interrupted, "summary").len(), 1);
}

#[test]
fn a_flood_of_forged_groups_is_bounded_and_reported() {
    let lan = Lan::new();
    let watching = top(&lan.b, &["--once", "-W", "4", "--max-streams", "50"]);
    let sender = socket(&lan.a);
    for number in 0..2_000_u32 {
        let group = std::net::Ipv4Addr::from_bits(0xef01_0000 + number);
        sender.send_to(b"x", (group, 5000)).unwrap();
    }
    let ended = watching.end().succeeded();
    assert_eq!(ended.lines().len(), 51);
    assert!(ended.stderr.contains("warning: 1,9"), "{}", ended.stderr);
    assert!(ended.stderr.contains("streams omitted: the table is full"), "{}", ended.stderr);
}

#[test]
fn without_the_right_to_capture_the_error_names_alternatives() {
    let lan = Lan::new();
    let drop = ["--bounding-set=-net_raw", "--inh-caps=-net_raw", MCAST, "top", "--once"];
    let refused = program(&lan.b, "setpriv", &drop, false).end();
    assert_eq!((refused.status, refused.text()), (Some(3), ""));
    assert!(
        refused.stderr.contains("cannot capture on eth0: it needs permission to capture (CAP_NET_RAW)"),
        "{refused:?}"
    );
    for works in ["sudo setcap cap_net_raw+ep", "mcast recv --discard", "mcast groups", "mcast top -r FILE"] {
        assert!(refused.stderr.contains(works), "{works} in {refused:?}");
    }
}

#[test]
fn invalid_combinations_are_refused() {
    let lan = Lan::new();
    let status = |arguments: &[&str]| mcast(&lan.b, &[&["top", "--once"], arguments].concat()).status;
    assert_eq!(status(&["10.0.0.1:5000"]), Some(2));
    assert_eq!(status(&["239.1.2.3:99999"]), Some(2));
    assert_eq!(status(&["--seq", "4"]), Some(2));
    assert_eq!(status(&["-s", "nobody"]), Some(2));
    assert_eq!(status(&["-s", "10.0.0.1,!10.0.0.2"]), Some(2));
    assert_eq!(status(&["--interval", "0"]), Some(2));
    assert_eq!(status(&["--interval", "1ms"]), Some(2));
    assert_eq!(status(&["-W", "0"]), Some(2));
    assert_eq!(status(&["--forget-after", "9999999999999999"]), Some(2));
    assert_eq!(status(&["--metrics", "127.0.0.1:9477"]), Some(2));
    assert_eq!(status(&["-i", "eth7"]), Some(4));
}

#[test]
fn a_closed_pipe_ends_it() {
    let lan = Lan::new();
    let mut command = lan.b.command("sh").unwrap();
    command.args(["-c", "\"$0\" top -q --interval 50ms -W 20 | head -n 1", MCAST]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
