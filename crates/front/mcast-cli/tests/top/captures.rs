//! Capture files from mirror ports, tunnels, several interfaces and clocks that were set: what `top` says of them.

use std::net::IpAddr;
use std::process::{Command, Output};

use mcast_packet::UdpPacket;
use serde_json::Value;

use crate::streams::rtp;
use crate::support::MCAST;

/// The data in a fragment, as with an MTU of 1,500.
const PIECE: usize = 1_480;

fn datagram(source: &str, destination: &str, port: u16, payload: &[u8]) -> Vec<u8> {
    let packet = UdpPacket {
        source: (source.parse::<IpAddr>().unwrap(), 4000).into(),
        destination: (destination.parse::<IpAddr>().unwrap(), port).into(),
        hop_limit: 4,
        traffic_class: 0,
        payload,
    };
    let mut bytes = vec![0; payload.len() + 60];
    let length = packet.emit(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

fn stream(number: u16) -> Vec<u8> {
    datagram("10.1.0.1", "239.1.2.3", 5000, &rtp(number))
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    [&[1, 0, 0x5e, 1, 2, 3, 2, 0, 0, 0, 0, 1, 8, 0], packet].concat()
}

/// Writes these frames with their times in milliseconds, and returns the streams and the summary in JSON, and the text.
fn top(link: u32, frames: &[(u64, Vec<u8>)]) -> (Vec<Value>, Value, String) {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    bytes.extend(link.to_le_bytes());
    for (time, frame) in frames {
        let length = frame.len() as u32;
        for word in [1_700_000_000 + (time / 1_000) as u32, (time % 1_000) as u32 * 1_000, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcap");
    std::fs::write(&path, bytes).unwrap();
    let run = |arguments: &[&str]| -> Output {
        let output = Command::new(MCAST).args(["top", "-r"]).arg(&path).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        output
    };
    let json = run(&["--json", "--sort", "group"]);
    let mut records: Vec<Value> = std::str::from_utf8(&json.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for record in &records {
        crate::schemas::assert_valid(&format!("top-{}", record["event"].as_str().unwrap()), record);
    }
    let summary = records.pop().unwrap();
    records.retain(|record| record["event"] == "stream");
    let text = run(&["--once"]);
    (records, summary, String::from_utf8([text.stdout, text.stderr].concat()).unwrap())
}

fn fragments(identification: u16, datagram: &[u8]) -> Vec<Vec<u8>> {
    let (headers, data) = datagram.split_at(20);
    let last = data.chunks(PIECE).count() - 1;
    let fragment = |(number, part): (usize, &[u8])| {
        let mut bytes = headers.to_vec();
        let position = (number * PIECE / 8) as u16 | (u16::from(number < last) << 13);
        bytes[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        bytes[4..6].copy_from_slice(&identification.to_be_bytes());
        bytes[6..8].copy_from_slice(&position.to_be_bytes());
        ethernet(&[&bytes, part].concat())
    };
    data.chunks(PIECE).enumerate().map(fragment).collect()
}

#[test]
fn datagram_without_all_its_fragments_is_lost() {
    let mut frames = Vec::new();
    for number in 0..200_u16 {
        let payload = [rtp(number), vec![7; 8_000]].concat();
        let mut pieces = fragments(number, &datagram("10.1.0.1", "239.1.2.3", 5000, &payload));
        if number % 8 == 5 {
            pieces.remove(usize::from(number % 5) + 1);
        }
        frames.extend(pieces.into_iter().map(|frame| (u64::from(number) * 10, frame)));
    }
    let (streams, summary, text) = top(1, &frames);
    let of = |name: &str| streams[0][name].as_u64().unwrap();
    assert_eq!((of("datagrams"), of("fragmented"), of("incomplete")), (175, 175, 25));
    assert_eq!((of("received"), of("lost"), of("bad_checksums")), (175, 25, 0));
    assert_eq!(summary["incomplete"], 25);
    assert!(text.contains("25 datagrams incomplete, because fragments are missing"), "{text}");
}

#[test]
fn stream_that_ended_early_and_clocks_that_were_set_hide_nothing() {
    let numbers = || (0..110_u16).filter(|number| !(50..60).contains(number));
    let other = |time| (time, ethernet(&datagram("10.1.0.1", "239.9.9.9", 5000, b"other")));
    let early: Vec<_> = numbers()
        .map(|number| (u64::from(number) * 10, ethernet(&stream(number))))
        .chain([other(1_200_000)])
        .collect();
    // Set back by an hour, by a day, by 10 s, and forward again.
    let steps =
        |number: u16| 200_000_000 - [0, 3_600_000, 86_400_000, 86_410_000, 1_000][usize::from(number) / 25];
    let set: Vec<_> = numbers()
        .map(|number| (steps(number) + u64::from(number) * 10, ethernet(&stream(number))))
        .chain([other(1)])
        .collect();
    for frames in [early, set] {
        let (streams, _, text) = top(1, &frames);
        assert_eq!(streams.len(), 2, "{text}");
        assert_eq!((&streams[0]["datagrams"], &streams[0]["lost"]), (&100.into(), &10.into()));
        assert!(text.contains("239.1.2.3:5000") && text.contains("239.9.9.9:5000"), "{text}");
    }
}

#[test]
fn interfaces_of_a_capture_on_all_of_them_hide_no_loss() {
    let second = |interface: u32, kind: u8| {
        [&[8, 0, 0, 0][..], &interface.to_be_bytes(), &[0, 1, kind, 6], &[2, 0, 0, 0, 0, kind, 0, 0]].concat()
    };
    let first = |kind: u8| [&[0, kind, 0, 1, 0, 6, 2, 0, 0, 0, 0, kind, 0, 0, 8, 0][..]].concat();
    for (link, heads) in [(276, [second(2, 2), second(7, 4)]), (113, [first(2), first(4)])] {
        let mut frames = Vec::new();
        for number in 0..100_u16 {
            for (leg, head) in heads.iter().enumerate() {
                if leg == 0 || number % 10 != 5 {
                    frames.push((u64::from(number) * 10, [head, &stream(number)[..]].concat()));
                }
            }
        }
        let (streams, _, text) = top(link, &frames);
        let mut counts: Vec<_> = streams
            .iter()
            .map(|stream| ["received", "lost", "duplicated"].map(|name| stream[name].as_u64().unwrap()))
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [[90, 10, 0], [100, 0, 0]], "{text}");
        assert_ne!(streams[0]["interface"], streams[1]["interface"]);
    }
}

#[test]
fn streams_in_tunnels_are_shown_and_tunnels_are_separate() {
    let vxlan = |network: u8, inner: &[u8]| {
        let payload = [&[8, 0, 0, 0, 0, 0, network, 0], inner].concat();
        ethernet(&datagram("192.0.2.1", "192.0.2.2", 4789, &payload))
    };
    let mut frames = Vec::new();
    for number in 0..50_u16 {
        frames.push((u64::from(number) * 10, vxlan(77, &ethernet(&stream(number)))));
        if number % 10 != 5 {
            frames.push((u64::from(number) * 10, vxlan(78, &ethernet(&stream(number)))));
        }
    }
    let mut secret = datagram("192.0.2.1", "192.0.2.2", 1, &[1; 40]);
    secret[9] = 50;
    frames.extend((0..20).map(|_| (500, ethernet(&secret))));
    let (streams, summary, text) = top(1, &frames);
    let mut lost: Vec<_> = streams
        .iter()
        .map(|stream| (stream["tunnel"].as_str().unwrap().to_owned(), stream["lost"].as_u64().unwrap()))
        .collect();
    lost.sort();
    let tunnel = |network: u8| format!("VXLAN {network} 192.0.2.1 > 192.0.2.2");
    assert_eq!(lost, [(tunnel(77), 0), (tunnel(78), 5)]);
    assert_eq!(summary["unexamined"], 20);
    assert_eq!(summary["unexamined_by_reason"][0]["protocol"], "ESP");
    assert!(
        text.contains("20 frames with inner packets that were not examined: 20 ESP (encrypted)"),
        "{text}"
    );
}

#[test]
fn order_copies_and_faults_of_the_encoder_are_told_from_loss() {
    let ts = |number: u16, continuity: u16| {
        let mut packet = vec![0x47, 0x01, 0, 0x10 | (continuity as u8 & 15)];
        packet.resize(188, number as u8);
        let header = [0x80, 33, (number >> 8) as u8, number as u8, 0, 0, 0, 0, 0, 0, 0, 1];
        ethernet(&datagram("10.1.0.1", "239.1.2.3", 5000, &[&header[..], &packet].concat()))
    };
    let mut frames: Vec<_> =
        (0..400_u16).map(|number| (u64::from(number) * 10, ts(number, number + number / 200))).collect();
    let (_, _, text) = top(1, &frames);
    assert!(text.contains("1 continuity error in the transport stream, although nothing was lost"), "{text}");
    (0..400).step_by(5).for_each(|number| {
        let (first, second) = (frames[number].1.clone(), frames[number + 1].1.clone());
        (frames[number].1, frames[number + 1].1) = (second, first);
    });
    let (streams, _, text) = top(1, &frames);
    assert_eq!((&streams[0]["lost"], &streams[0]["reordered"]), (&0.into(), &80.into()));
    assert!(text.contains("80 of 400 datagrams arrived out of order; they are not lost"), "{text}");
    let copies: Vec<_> = frames.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
    assert!(top(1, &copies).2.contains("400 of 800 datagrams are copies of others"));
}
