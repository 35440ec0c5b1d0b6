//! Live captures in a lab: several interfaces at once, and a comparison with tcpdump.

use std::net::UdpSocket;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast_capture::{Capture, CaptureOptions, CaptureWriter, ErrorKind, Filter, WriteFormat};
use mcast_lab::{Lab, Offload};
use mcast_packet::Packet;
use tempfile::tempdir;

use crate::support::{index, read};

const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn frames_of_several_interfaces_are_in_time_order() {
    const EACH: usize = 100;
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let (_, b0) = lab.link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"]).unwrap();
    let (_, b1) = lab.link(&a, "eth1", &["10.0.1.1/24"], &b, "eth1", &["10.0.1.2/24"]).unwrap();
    let options = CaptureOptions::on(index(b0.index)).and_on_name("eth1").filter(Filter::UdpPort(5000));
    let mut capture = b.run(|| Capture::open(options)).unwrap().unwrap();
    let names: Vec<_> = capture.interfaces().map(|interface| interface.name.to_owned()).collect();
    assert_eq!(names, ["eth0", "eth1"]);

    let sockets = ["10.0.0.1:0", "10.0.1.1:0"].map(|from| a.run(|| UdpSocket::bind(from).unwrap()).unwrap());
    for number in 0..EACH {
        for socket in &sockets {
            socket.send_to(&number.to_be_bytes(), ("239.1.2.3", 5000)).unwrap();
        }
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("both.pcapng");
    let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
    writer.describe_all(capture.interfaces()).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let mut seen = Vec::new();
    while seen.len() < 2 * EACH {
        assert!(Instant::now() < deadline, "received only {} frames", seen.len());
        if let Some(frame) = capture.next(Some(TIMEOUT)).unwrap() {
            writer.write(&frame).unwrap();
            seen.push((frame.time, frame.interface.number()));
        }
    }
    assert!(seen.is_sorted_by_key(|(time, _)| *time));
    for port in [&b0, &b1] {
        assert_eq!(seen.iter().filter(|(_, interface)| *interface == port.index).count(), EACH);
        let all = capture.interface_statistics().unwrap();
        let (_, statistics) = all.iter().find(|(interface, _)| interface.number() == port.index).unwrap();
        assert_eq!((statistics.frames, statistics.dropped), (EACH as u64, 0));
        writer.write_statistics(index(port.index), statistics).unwrap();
    }
    assert_eq!(capture.statistics().unwrap().frames, 2 * EACH as u64);
    drop(writer);

    let frames = read(&path);
    assert_eq!(frames.len(), 2 * EACH);
    for frame in frames {
        // The checksum that a virtual cable's end leaves to the device is filled in.
        assert_eq!(
            Packet::ethernet(&frame.bytes).udp().unwrap().checksum,
            mcast_packet::ChecksumStatus::Valid
        );
    }
}

#[test]
fn interface_going_down_does_not_stop_the_others() {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"]).unwrap();
    lab.link(&a, "eth1", &["10.0.1.1/24"], &b, "eth1", &["10.0.1.2/24"]).unwrap();
    let options = CaptureOptions::on_name("eth0").and_on_name("eth1").filter(Filter::UdpPort(5000));
    let mut capture = b.run(|| Capture::open(options)).unwrap().unwrap();
    b.set_down("eth0").unwrap();
    let error = loop {
        match capture.next(Some(TIMEOUT)) {
            Ok(frame) => assert!(frame.is_some(), "the interface going down was not reported"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.interface()), (ErrorKind::InterfaceDown, "eth0"));
    let socket = a.run(|| UdpSocket::bind("10.0.1.1:0").unwrap()).unwrap();
    socket.send_to(b"still there", ("239.1.2.3", 5000)).unwrap();
    let frame = capture.next(Some(TIMEOUT)).unwrap().unwrap();
    assert_eq!(frame.packet().udp().unwrap().payload, b"still there");
}

#[test]
fn tcpdump_captures_the_same_frames() {
    const SENT: usize = 20;
    if !mcast_lab::has_program("tcpdump", "--version", "agreement with tcpdump") {
        return;
    }
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    lab.link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"]).unwrap();
    // tcpdump's file cannot mark checksums as left to the device.
    a.offload("eth0", Offload::none()).unwrap();
    let folder = tempdir().unwrap();
    let path = folder.path().join("theirs.pcap");
    let options = CaptureOptions::on_name("eth0").filter(Filter::UdpPort(5000));
    let mut capture = b.run(|| Capture::open(options)).unwrap().unwrap();
    let mut command = b.command("tcpdump").unwrap();
    command.args(["-i", "eth0", "-n", "-U", "--nano", "-Z", "root", "-c"]).arg(SENT.to_string());
    command.arg("-w").arg(&path).args(["udp", "port", "5000"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut tcpdump = command.spawn().unwrap();
    let mut stderr = std::io::BufReader::new(tcpdump.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut stderr, &mut line).unwrap() > 0, "tcpdump did not start");
    }
    let socket = a.run(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    for number in 0..SENT {
        socket.send_to(&number.to_be_bytes(), ("239.1.2.3", 5000)).unwrap();
    }
    assert!(tcpdump.wait().unwrap().success());
    let theirs = read(&path);
    assert_eq!(theirs.len(), SENT);
    for theirs in theirs {
        let ours = capture.next(Some(TIMEOUT)).unwrap().unwrap();
        assert_eq!((ours.bytes, ours.time), (&theirs.bytes[..], theirs.time));
    }
}
