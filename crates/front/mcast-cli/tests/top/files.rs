//! Capture files instead of the wire.

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;
use mcast_capture::{CaptureWriter, Direction, Frame, WriteFormat};
use mcast_packet::{Checksums, LinkType, MacAddress, UdpFrame};
use serde_json::Value;
use snapbox::{assert_data_eq, file};

use crate::film::{film, still};
use crate::streams::rtp;
use crate::support::{MCAST, eventually};

/// A file of two interfaces: on `left` RTP with every tenth missing for ten seconds, on `right` two
/// datagrams.
fn write(path: &Path) {
    write_some(path, (0..=1_000).filter(|number| number % 10 != 5));
}

/// Such a file with these numbers of RTP, a hundred per second.
fn write_some(path: &Path, numbers: impl Iterator<Item = u16>) {
    let mut writer = CaptureWriter::create(path, WriteFormat::PcapNg).unwrap();
    for (number, name) in [(1, "left"), (2, "right")] {
        writer.describe(InterfaceIndex::new(number).unwrap(), name, LinkType::Ethernet).unwrap();
    }
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut put = |milliseconds, interface, group: &str, payload: &[u8]| {
        let mut buffer = [0; 400];
        let datagram = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            source: IpAddr::from([10, 0, 0, 1]),
            source_port: 4000,
            group: group.parse().unwrap(),
            destination_port: 5000,
            hop_limit: 8,
            payload,
        };
        let length = datagram.emit(&mut buffer).unwrap();
        let frame = Frame {
            bytes: &buffer[..length],
            original_length: length,
            link_type: LinkType::Ethernet,
            interface: InterfaceIndex::new(interface).unwrap(),
            interface_name: None,
            direction: Direction::Unknown,
            time: start + Duration::from_millis(milliseconds),
            checksums: Checksums::Computed,
            resegmented: false,
        };
        writer.write(&frame).unwrap();
    };
    for number in numbers {
        put(u64::from(number) * 10, 1, "239.255.2.3", &rtp(number));
    }
    put(5_000, 2, "239.255.9.9", b"alone");
    put(5_001, 2, "239.255.10.1", b"neither sACN nor DDS, which use other ports");
    writer.flush().unwrap();
}

fn top(arguments: &[&str]) -> Output {
    Command::new(MCAST).arg("top").args(arguments).output().unwrap()
}

fn streams(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let objects = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    objects
        .inspect(|object| {
            crate::schemas::assert_valid(&format!("top-{}", object["event"].as_str().unwrap()), object);
        })
        .filter(|object| object["event"] == "stream")
        .collect()
}

#[test]
fn rates_of_a_file_are_over_its_whole_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.pcapng");
    write(&path);
    let path = path.to_str().unwrap();

    let output = top(&["-r", path, "--json", "--sort", "group"]);

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let streams = streams(&output);
    assert_eq!(streams.len(), 3);
    assert_eq!((&streams[2]["group"], &streams[2]["name"]), (&"239.255.10.1".into(), &Value::Null));
    assert_eq!((&streams[0]["interface"], &streams[1]["interface"]), (&"left".into(), &"right".into()));
    assert_eq!((&streams[0]["datagrams"], &streams[0]["lost"]), (&901.into(), &100.into()));
    assert_eq!(streams[0]["datagrams_per_second"], 90.1);
    assert_eq!(streams[0]["time"], "2023-11-14T22:13:30.000000000Z");
    assert_eq!(streams[0]["processes"], serde_json::json!([]));

    let table = top(&["-r", path, "--once", "--sort", "group"]);
    let text = String::from_utf8(table.stdout).unwrap();
    let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..6], ["239.255.2.3:5000", "10.0.0.1", "left", "90.1", "153k", "9.99%"]);
}

#[test]
fn an_interface_of_the_file_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.pcapng");
    write(&path);
    let path = path.to_str().unwrap();
    let on = |interface| {
        let output = top(&["-r", path, "--json", "-i", interface]);
        streams(&output).iter().map(|stream| stream["group"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(on("right"), ["239.255.10.1", "239.255.9.9"]);
    assert_eq!(on("left"), ["239.255.2.3"]);
    assert_eq!(on("none"), [""; 0]);
    assert_eq!((on("1"), on("2")), (on("left"), on("right")), "by number in the file");
    assert_eq!(top(&["-r", path, "239.255.9.9%left:5000"]).status.code(), Some(1));
}

#[test]
fn the_readable_part_of_a_damaged_file_is_shown_before_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcapng");
    write(&path);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();

    let output = top(&["-r", path.to_str().unwrap(), "--json"]);

    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_eq!(streams(&output)[0]["datagrams"], 901);
    assert!(String::from_utf8(output.stderr).unwrap().contains("the file ends within the record at byte"));
}

#[test]
fn a_file_that_is_not_a_capture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    std::fs::write(&path, "hello, this is not a capture file").unwrap();
    let refused = top(&["-r", path.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("not a pcap or pcapng file"));
    assert_eq!(top(&["-r", "/nowhere/at.all"]).status.code(), Some(4));
}

#[test]
fn a_pipe_without_data_can_be_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.pcapng");
    write(&path);
    let mut command = Command::new(MCAST);
    command.args(["top", "-r", "-", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(&std::fs::read(&path).unwrap()).unwrap();
    let signals = format!("/proc/{}/status", running.id());
    // It runs once it catches SIGINT (bit 1).
    eventually("Ctrl-C is caught", || {
        let status = std::fs::read_to_string(&signals).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&caught, 16).unwrap() & 0b10 != 0
    });
    let interrupt = ["-INT".to_owned(), running.id().to_string()];
    assert!(Command::new("kill").args(interrupt).status().unwrap().success());
    let output = running.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(!output.stdout.is_empty());
}

#[test]
fn chosen_columns_are_printed_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.pcapng");
    write(&path);
    let path = path.to_str().unwrap();
    let output = top(&["--once", "-r", path, "--sort", "group", "--columns", "loss,group,loss-trend"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["loss", "group", "lost"]);
    assert_eq!(lines[1][..2], ["9.99%", "239.255.2.3:5000"]);
    assert!(lines[1][2].chars().all(|bar| bar == '█'), "{text}");
    assert_eq!(lines[2], ["–", "239.255.9.9:5000"]);
    for refused in [["--columns", "losses"], ["--bad-loss", "101%"]] {
        assert_eq!(top(&[&["--once", "-r", path], &refused[..]].concat()).status.code(), Some(2));
    }
}

/// The picture of the README.
#[test]
fn the_picture_shows_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.pcapng");
    write(&path);
    let mut command = Command::new(MCAST);
    command.args(["top", "--once", "--sort", "group", "-r"]).arg(&path).env("CLICOLOR_FORCE", "1");
    let output = command.env("COLUMNS", "110").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_data_eq!(
        still(text.trim_end().to_owned()),
        file!["../../../../../docs/pictures/top.term.svg": Text].raw()
    );
}

/// The second picture of the README: after five seconds, the stream begins to lose every fourth packet.
#[test]
fn the_film_shows_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let frame = |seconds: u16| {
        let path = folder.path().join(format!("{seconds}.pcapng"));
        write_some(&path, (0..seconds * 100).filter(|number| *number < 500 || number % 4 != 1));
        let mut command = Command::new(MCAST);
        command.args(["top", "--once", "--sort", "group", "-r"]).arg(&path).env("CLICOLOR_FORCE", "1");
        let output = command.env("COLUMNS", "110").output().unwrap();
        (1.0, String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    };
    let frames: Vec<_> = [2, 4, 5, 6, 7, 8, 9, 10].map(frame).into();
    assert_data_eq!(film(&frames), file!["../../../../../docs/pictures/top-film.svg": Text].raw());
}
