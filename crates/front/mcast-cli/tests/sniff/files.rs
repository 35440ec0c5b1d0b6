//! Files: written, read, piped, and read by other programs.

use std::process::{Command, Stdio};

use mcast_capture::CaptureFile;
use mcast_packet::{MacAddress, UdpFrame};
use mcast_sim::Dice;
use tempfile::tempdir;

use crate::schemas::assert_valid;
use crate::support::{Lan, MCAST, eventually, mcast, packets_received, send};
use crate::{GROUP, sniff};

/// A file with three datagrams of both families, and its folder.
fn captured() -> (tempfile::TempDir, String) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("all.pcapng").to_str().unwrap().to_owned();
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &["-w", &path, "--port", "5000,5001", "-c", "3"]);
    send(&lan.a, &[GROUP, "one"]);
    send(&lan.a, &["239.255.1.3:5001", "two"]);
    send(&lan.a, &["[ff15::1]:5000", "three", "-i", "eth0"]);
    let ended = sniffer.end().succeeded();
    assert_eq!(ended.text(), "", "what is written is not printed");
    assert!(ended.stderr.contains("3 packets written to "), "{}", ended.stderr);
    (folder, path)
}

#[test]
fn packets_before_the_end_are_written() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("ended.pcapng").to_str().unwrap().to_owned();
    // The kernel collects frames in blocks if they are only written.
    for _ in 0..5 {
        let sniffer = sniff(&lan.b, &["-i", "eth0", "-w", &path, GROUP]);
        let before = packets_received(&lan.b);
        send(&lan.a, &[GROUP, "last"]);
        // On a busy machine, the kernel delivers it a while after it was sent.
        eventually("the packet comes in", || packets_received(&lan.b) > before);
        let ended = sniffer.signalled(2);
        assert!(ended.stderr.contains("1 packet written to "), "{}", ended.stderr);
        assert_eq!(lines(&plain(&["sniff", "-r", &path])).len(), 1);
    }
}

fn plain(arguments: &[&str]) -> std::process::Output {
    Command::new(MCAST).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn lines(output: &std::process::Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_written_file_is_read_with_the_same_filters() {
    let (_folder, path) = captured();
    let all = plain(&["sniff", "-r", &path]);
    assert_eq!((all.status.code(), lines(&all).len()), (Some(0), 3), "{all:?}");
    assert!(lines(&all)[0].contains("eth0 in  Ether / IP / UDP 10.0.0.1:"), "{all:?}");
    let count = |arguments: &[&str]| lines(&plain(&[&["sniff", "-r", &path], arguments].concat())).len();
    assert_eq!(count(&["239.255.1.2"]), 1);
    assert_eq!(count(&["239.255.1.3%eth0:5001"]), 1);
    assert_eq!(count(&["239.255.1.3%eth9:5001"]), 0);
    assert_eq!(count(&["-i", "eth0", "-6"]), 1);
    assert_eq!(count(&["-i", "eth9"]), 0);
    assert_eq!(count(&["-c", "2"]), 2);
    assert_eq!(plain(&["sniff", "-r", &path, "-c", "4"]).status.code(), Some(1));
    // Reading a file needs no capability.
    assert_eq!(plain(&["sniff", "-r", &path, "-i", "10.0.0.1"]).status.code(), Some(2));
}

#[test]
fn a_file_is_filtered_into_another_that_keeps_names_and_times() {
    let (folder, path) = captured();
    let other = folder.path().join("one.pcapng");
    let output = plain(&["sniff", "-r", &path, "239.255.1.2:5000", "-w", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut original = CaptureFile::open(&path).unwrap();
    let expected = original.next().unwrap().map(|frame| (frame.bytes.to_vec(), frame.time)).unwrap();
    let mut filtered = CaptureFile::open(&other).unwrap();
    let frame = filtered.next().unwrap().unwrap();
    assert_eq!((frame.bytes.to_vec(), frame.time), expected);
    assert!(filtered.next().unwrap().is_none());
    assert_eq!(filtered.interfaces()[0].name.as_deref(), Some("eth0"));
}

#[test]
fn the_names_of_interfaces_in_a_file_are_escaped() {
    let (_folder, path) = captured();
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes.windows(4).position(|window| window == b"eth0").unwrap();
    bytes[place..place + 4].copy_from_slice(b"\x1b[2J");
    std::fs::write(&path, bytes).unwrap();
    let all = plain(&["sniff", "-r", &path]);
    let text = String::from_utf8_lossy(&all.stdout);
    assert!(!text.contains('\x1b') && text.contains("\\x1b[2J"), "{text}");
}

#[test]
fn the_rate_of_a_file_is_that_of_its_packets() {
    let (_folder, path) = captured();
    let mut file = CaptureFile::open(&path).unwrap();
    let mut times = Vec::new();
    while let Some(frame) = file.next().unwrap() {
        times.push(frame.time);
    }
    let span = times[2].duration_since(times[0]).unwrap();
    let all = plain(&["sniff", "-r", &path, "--discard", "--json"]);
    let summary: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    assert!((summary["seconds"].as_f64().unwrap() - span.as_secs_f64()).abs() < 1e-6, "{summary}");
}

/// A tcpdump capture on a veth link. The sender left the UDP checksum to offload, which veth does not compute, so the
/// field contains the sum of the pseudo-header.
const OFFLOADED: &str = "01005e010203ba03b7577c20080045000020\
    06b84000011178100a000001ef0102030fa01388000cfb2268616c66";

/// A pcap file of one Ethernet frame, which names no interface.
fn pcap(folder: &tempfile::TempDir, frame: &[u8]) -> String {
    pcap_of(folder, &[frame.to_vec()])
}

fn pcap_of(folder: &tempfile::TempDir, frames: &[Vec<u8>]) -> String {
    let path = folder.path().join("one.pcap");
    let mut bytes = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        bytes.extend([1_700_000_000, 0, length, length].map(u32::to_le_bytes).concat());
        bytes.extend(frame);
    }
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Returns frames with RTP to port 5001, with its reports to port 5003, and with a payload that only resembles RTP to 5005.
fn rtp_on_odd_ports() -> Vec<Vec<u8>> {
    let frame = |destination_port: u16, payload: &[u8]| {
        let mut frame = [0; 200];
        let datagram = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 9]),
            source: [10, 0, 0, 5].into(),
            source_port: 4000,
            group: "239.1.2.3".parse().unwrap(),
            destination_port,
            hop_limit: 4,
            payload,
        };
        let length = datagram.emit(&mut frame).unwrap();
        frame[..length].to_vec()
    };
    let packet = |number: u16, ssrc: u32| {
        let [high, low] = number.to_be_bytes();
        [&[0x80, 96, high, low, 0, 0, high, low][..], &ssrc.to_be_bytes(), b"picture"].concat()
    };
    let report = [
        &[0x80, 201, 0, 1][..],
        &7_u32.to_be_bytes(),
        &[0x81, 202, 0, 3],
        &7_u32.to_be_bytes(),
        b"\x01\x02me\0\0\0\0",
    ]
    .concat();
    let each = |n: u16| {
        [
            frame(5001, &packet(65_530_u16.wrapping_add(n), 7)),
            frame(5003, &report),
            frame(5005, &packet(n, n.into())),
        ]
    };
    (0..10).flat_map(each).collect()
}

fn object(output: &std::process::Output) -> serde_json::Value {
    serde_json::from_str(&lines(output)[0]).unwrap()
}

#[test]
fn all_records_of_mdns_are_found_in_lines_details_and_json() {
    let folder = tempdir().unwrap();
    let message = b"\0\0\x84\0\0\0\0\x02\0\0\0\x01\
        \x04host\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\0\0\x05\
        \x0b_googlecast\x04_tcp\xc0\x11\0\x0c\0\x01\0\0\x11\x94\0\x0e\x0bLiving Room\xc0\x26\
        \xc0\x43\0\x10\x80\x01\0\0\x11\x94\0\x05\x04id=7";
    let mut frame = [0; 400];
    let datagram = UdpFrame {
        mac: MacAddress([2, 0, 0, 0, 0, 9]),
        source: [10, 0, 0, 5].into(),
        source_port: 5353,
        group: "224.0.0.251".parse().unwrap(),
        destination_port: 5353,
        hop_limit: 255,
        payload: message,
    };
    let length = datagram.emit(&mut frame).unwrap();
    let path = pcap(&folder, &frame[..length]);

    let line = lines(&plain(&["sniff", "-r", &path]));
    assert!(line[0].contains("_googlecast._tcp.local PTR Living Room._googlecast._tcp.local"), "{line:?}");
    let details = lines(&plain(&["sniff", "-r", &path, "-v"]));
    assert_eq!(
        details[1..3],
        [
            "    answer host.local A 10.0.0.5",
            "    answer _googlecast._tcp.local PTR Living Room._googlecast._tcp.local"
        ]
    );
    assert_eq!(details[3], "    additional Living Room._googlecast._tcp.local TXT \"id=7\"");
    let packet = object(&plain(&["sniff", "-r", &path, "--json"]));
    assert_valid("packet", &packet);
    let dns = &packet["dns"];
    assert_eq!(dns["answers"][0]["address"], "10.0.0.5");
    assert_eq!(dns["answers"][1]["target"], "Living Room._googlecast._tcp.local");
    assert_eq!(dns["additional"][0]["texts"], serde_json::json!(["id=7"]));
    // A pcap file contains no interface names, so the index is shown.
    assert_eq!(packet["interface"], "#1");
    assert_eq!(object(&plain(&["top", "-r", &path, "--json"]))["interface"], "#1");
}

#[test]
fn checksums_left_to_offload_are_not_bad() {
    let folder = tempdir().unwrap();
    let frame: Vec<_> = (0..OFFLOADED.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&OFFLOADED[place..place + 2], 16).unwrap())
        .collect();
    let path = &pcap(&folder, &frame);

    let text = lines(&plain(&["sniff", "-r", path]));
    let json = lines(&plain(&["sniff", "-r", path, "--json"]));
    let summary = lines(&plain(&["sniff", "-r", path, "--json", "--discard"]));
    let stream = lines(&plain(&["top", "-r", path, "--json"]));

    assert!(text.len() == 1 && !text[0].contains("checksum"), "{text:?}");
    let packet: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!(packet["checksum"], "not-computed");
    let summary: serde_json::Value = serde_json::from_str(&summary[0]).unwrap();
    assert_eq!(summary["bad_checksums"], 0);
    let stream: serde_json::Value = serde_json::from_str(&stream[0]).unwrap();
    assert_eq!((&stream["datagrams"], &stream["bad_checksums"]), (&1.into(), &0.into()));
}

#[test]
fn files_are_read_and_written_through_pipes() {
    let (folder, path) = captured();
    let pcap = folder.path().join("all.pcap");
    assert!(plain(&["sniff", "-r", &path, "-w", pcap.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read(&pcap).unwrap()[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    let mut writes = Command::new(MCAST);
    let mut writes =
        writes.args(["sniff", "-q", "-r", &path, "-w", "-"]).stdout(Stdio::piped()).spawn().unwrap();
    let reads =
        Command::new(MCAST).args(["sniff", "-r", "-"]).stdin(writes.stdout.take().unwrap()).output().unwrap();
    assert!(writes.wait().unwrap().success());
    assert_eq!(lines(&reads).len(), 3, "{reads:?}");
}

#[test]
fn a_full_disk_leaves_complete_packets_in_the_file() {
    let (folder, path) = captured();
    let old = folder.path().join("old");
    std::fs::write(&old, [b'x'; 300]).unwrap();
    // A limit of file sizes, in 512 bytes, acts as a full disk does: part of what is written fits.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" sniff -q -r \"$1\" -w - >> \"$2\"";
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", script, MCAST, &path]).arg(&old).output().unwrap();

    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let content = std::fs::read(&old).unwrap();
    let (before, ours) = content.split_at_checked(300).unwrap_or_default();
    assert_eq!(before, [b'x'; 300]);
    std::fs::write(&old, ours).unwrap();
    let mut file = CaptureFile::open(&old).unwrap();
    while file.next().unwrap().is_some() {}
}

#[test]
fn only_packets_in_the_file_are_reported_as_written() {
    let folder = tempdir().unwrap();
    let payloads: Vec<_> = rtp_on_odd_ports().into_iter().cycle().take(300).collect();
    let path = pcap_of(&folder, &payloads);
    let full = folder.path().join("full.pcapng");
    let script = "trap '' XFSZ; ulimit -f 20; exec \"$0\" sniff -r \"$1\" -w \"$2\" 2>&1 | cat";
    let output = Command::new("sh").args(["-c", script, MCAST, &path]).arg(&full).output().unwrap();
    let mut file = CaptureFile::open(&full).unwrap();
    let mut written = 0;
    while file.next().unwrap().is_some() {
        written += 1;
    }
    let text = lines(&output).join("\n");
    assert!((1..300).contains(&written), "{written}");
    assert!(text.contains(&format!("{written} packets written to ")), "{written} {text}");
    assert!(text.contains(&format!("{} packets could not be written", 300 - written)), "{written} {text}");
}

#[test]
fn a_truncated_file_is_read_up_to_its_end() {
    let (_folder, path) = captured();
    let bytes = std::fs::read(&path).unwrap();
    let end = bytes.len() - 150;
    std::fs::write(&path, &bytes[..end]).unwrap();
    let output = plain(&["sniff", "-r", &path]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(lines(&output).len() < 3 && !lines(&output).is_empty(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("the file ends within the record") && text.contains("have been read"), "{text}");
}

/// Returns whether tshark is installed; prints a note if not.
fn has_tshark() -> bool {
    mcast_lab::has_program("tshark", "--version", "agreement with tshark")
}

#[test]
fn tshark_reads_the_same_packets() {
    if !has_tshark() {
        return;
    }
    let (_folder, path) = captured();
    let fields =
        ["-e", "ip.dst", "-e", "ipv6.dst", "-e", "udp.dstport", "-e", "frame.len", "-e", "frame.time_epoch"];
    let output =
        Command::new("tshark").args(["-r", &path, "-T", "fields", "-E", "separator=,"]).args(fields).output();
    let theirs = lines(&output.unwrap());
    let ours = plain(&["sniff", "-r", &path, "--json"]);
    assert_eq!(theirs.len(), 3);
    for (theirs, ours) in theirs.iter().zip(lines(&ours)) {
        let theirs: Vec<&str> = theirs.split(',').collect();
        let ours: serde_json::Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(ours["group"], format!("{}{}", theirs[0], theirs[1]));
        assert_eq!(
            (ours["port"].to_string(), ours["frame_length"].to_string()),
            (theirs[2].into(), theirs[3].into())
        );
        let fraction = theirs[4].split('.').nth(1).unwrap();
        assert!(ours["time"].as_str().unwrap().contains(&format!(".{fraction}Z")), "{ours} {theirs:?}");
    }
}

#[test]
fn rtp_on_an_odd_port_is_named_as_tshark_decodes_it() {
    let folder = tempdir().unwrap();
    let path = pcap_of(&folder, &rtp_on_odd_ports());
    let output = lines(&plain(&["sniff", "-r", &path, "--json"]));
    let packets: Vec<serde_json::Value> =
        output.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let to = |port: u16| packets.iter().filter(move |packet| packet["port"] == port).collect::<Vec<_>>();
    let formats = |port| to(port).iter().map(|packet| packet["payload_format"].clone()).collect::<Vec<_>>();
    // Three packets are not conclusive.
    assert_eq!(
        formats(5001)[..3],
        [serde_json::Value::Null, serde_json::Value::Null, serde_json::Value::Null]
    );
    assert!(formats(5001)[3..].iter().all(|format| format == "RTP"), "{output:#?}");
    assert!(formats(5003).iter().all(|format| format == "RTCP"), "{output:#?}");
    assert!(formats(5005).iter().all(serde_json::Value::is_null), "{output:#?}");
    let text = lines(&plain(&["sniff", "-r", &path, "--port", "5001"]));
    assert!(text[9].contains("/ RTP PT 96, seq 3, timestamp 3, SSRC 0x00000007"), "{text:#?}");

    if !has_tshark() {
        return;
    }
    let ours = to(5001)[3..].iter().map(|packet| packet["sequence"].to_string()).collect::<Vec<_>>();
    let arguments = ["-r", &path, "-d", "udp.port==5001,rtp", "-Y", "rtp", "-T", "fields", "-e", "rtp.seq"];
    let theirs = lines(&Command::new("tshark").args(arguments).output().unwrap());
    assert_eq!(theirs[3..], ours);
    let arguments = ["-r", &path, "-d", "udp.port==5003,rtcp", "-Y", "rtcp"];
    assert_eq!(lines(&Command::new("tshark").args(arguments).output().unwrap()).len(), to(5003).len());
}

#[test]
fn hostile_files_do_not_cause_a_panic() {
    let (folder, path) = captured();
    let good = std::fs::read(&path).unwrap();
    let broken = folder.path().join("broken.pcapng").to_str().unwrap().to_owned();
    let mut dice = Dice::new(1);
    for _ in 0..40 {
        let mut bytes = good.clone();
        for _ in 0..8 {
            let place = dice.below(bytes.len() as u64) as usize;
            bytes[place] = dice.next() as u8;
        }
        std::fs::write(&broken, &bytes).unwrap();
        let output = plain(&["sniff", "-r", &broken, "--hexdump", "-v"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!([Some(0), Some(4)].contains(&output.status.code()) && !text.contains("panicked"), "{text}");
    }
    assert_eq!(mcast(&Lan::new().a, &["sniff", "-r", "/proc/self/cmdline"]).status, Some(4));
}
