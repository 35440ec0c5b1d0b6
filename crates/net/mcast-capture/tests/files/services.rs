//! Agreement with tshark on the protocols of routers, hosts and discovery: both name each message alike and read the same fields.

use std::path::Path;
use std::process::Command;

use mcast_capture::WriteFormat;
use mcast_packet::{MacAddress, Packet, UdpFrame, ether_type};
use tempfile::tempdir;

use crate::support::{OwnedFrame, write};

/// A message, the end of its line in `mcast sniff`, and what tshark reads in it.
struct Case {
    frame: Vec<u8>,
    line: &'static str,
    /// The name of the protocol in tshark's column.
    name: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn udp(group: &str, port: u16, payload: &[u8]) -> Vec<u8> {
    let group: mcast_group::Group = group.parse().unwrap();
    let source = if group.addr().is_ipv4() { "10.0.0.1" } else { "fe80::1" };
    let frame = UdpFrame {
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        source: source.parse().unwrap(),
        source_port: port,
        group,
        destination_port: port,
        hop_limit: 1,
        payload,
    };
    let mut buffer = vec![0; 2000];
    let length = frame.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// Returns an IPv4 packet of another protocol, without a checksum.
fn ip(group: [u8; 4], number: u8, payload: &[u8]) -> Vec<u8> {
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header =
        [&[0x45, 0xc0], &length[..], &[0, 0, 0, 0, 1, number, 0, 0, 10, 0, 0, 1], &group].concat();
    let sum: u32 = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&folded.to_be_bytes());
    let to = [0x01, 0x00, 0x5e, group[1] & 0x7f, group[2], group[3]];
    [&to[..], &mac.0, &ether_type::IPV4.to_be_bytes(), &header, payload].concat()
}

/// Returns an ICMPv6 packet to all nodes.
fn icmpv6(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let source = hex("fe800000000000000000000000000001");
    let to = hex("ff020000000000000000000000000001");
    let ethernet = hex("333300000001 020000000001 86dd");
    [&ethernet[..], &[0x60, 0, 0, 0], &length, &[58, 255], &source, &to, payload].concat()
}

fn sacn() -> Vec<u8> {
    let mut bytes = hex("0010 0000 4153432d45312e3137000000 7279 00000004");
    bytes.extend([7; 16]);
    bytes.extend(hex("7263 00000002"));
    bytes.extend([b"desk".as_slice(), &[0; 60]].concat());
    bytes.extend(hex("64 0000 2a 00 0009 7210 02 a1 0000 0001 0005 00 01020304"));
    bytes
}

fn cases() -> Vec<Case> {
    let case = |frame, line, name, fields| Case { frame, line, name, fields };
    vec![
        case(
            ip([224, 0, 0, 18], 112, &hex("31 07 c8 01 0064 0000 0a0000fe")),
            "VRRPv3 router 7, priority 200, every 1000 ms, 10.0.0.254",
            "VRRP",
            &[("vrrp.virt_rtr_id", "7"), ("vrrp.prio", "200"), ("vrrp.short_adver_int", "100"), ("vrrp.ip_addr", "10.0.0.254")],
        ),
        case(
            ip([224, 0, 0, 18], 112, &hex("21 09 64 01 00 02 0000 0a0000fd 0000000000000000")),
            "VRRPv2 router 9, priority 100, every 2 s, 10.0.0.253",
            "VRRP",
            &[("vrrp.virt_rtr_id", "9"), ("vrrp.adver_int", "2")],
        ),
        case(
            ip(
                [224, 0, 0, 5],
                89,
                &hex("02 01 002c 01010101 00000005 0000 0000 0000000000000000 ffffff00 000a 12 01 00000028 0a000001 0a000002"),
            ),
            "OSPFv2 Hello, router 1.1.1.1, area 0.0.0.5, every 10 s, DR 10.0.0.1, BDR 10.0.0.2",
            "OSPF",
            &[("ospf.srcrouter", "1.1.1.1"), ("ospf.area_id", "0.0.0.5"), ("ospf.hello.hello_interval", "10"), ("ospf.hello.designated_router", "10.0.0.1")],
        ),
        case(
            ip([224, 0, 0, 10], 88, &hex("02 05 0000 00000000 00000000 00000000 0000 0064")),
            "EIGRP hello, AS 100",
            "EIGRP",
            &[("eigrp.opcode", "5"), ("eigrp.as", "100")],
        ),
        case(
            icmpv6(&hex("86 00 0000 40 00 0708 00000000 00000000")),
            "NDP router advertisement, lifetime 1800 s, hop limit 64",
            "ICMPv6",
            &[("icmpv6.nd.ra.router_lifetime", "1800"), ("icmpv6.nd.ra.cur_hop_limit", "64")],
        ),
        case(
            udp("224.0.0.2", 1985, &hex("00 00 10 03 0a 78 05 00 636973636f000000 0a0000fe")),
            "HSRP hello, group 5, active, priority 120, 10.0.0.254",
            "HSRP",
            &[("hsrp.group", "5"), ("hsrp.priority", "120"), ("hsrp.state", "16"), ("hsrp.virt_ip", "10.0.0.254")],
        ),
        case(
            udp("224.0.0.9", 520, &hex("02 02 0000 0002 0000 c0a80000 ffffff00 00000000 00000003")),
            "RIPv2 response, 1 entry",
            "RIPv2",
            &[("rip.command", "2"), ("rip.metric", "3")],
        ),
        case(
            udp("224.0.1.1", 123, &[hex("25 03 06 ec"), vec![0; 44]].concat()),
            "NTPv4 broadcast, stratum 3",
            "NTP",
            &[("ntp.stratum", "3"), ("ntp.flags.mode", "5")],
        ),
        case(
            udp("ff02::1:2", 547, &hex("01 123456 0008 0002 0000")),
            "DHCPv6 Solicit, transaction 0x123456",
            "DHCPv6",
            &[("dhcpv6.msgtype", "1"), ("dhcpv6.xid", "0x123456")],
        ),
        case(
            udp("224.0.0.252", 5355, &hex("1234 0000 0001 0000 0000 0000 0468 6f73 7400 0001 0001")),
            "LLMNR query: host A",
            "LLMNR",
            &[("dns.qry.name", "host")],
        ),
        case(
            udp(
                "224.2.127.254",
                9875,
                &[&hex("20 00 1234 0a000001")[..], b"application/sdp\0v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=News\r\nt=0 0\r\n"].concat(),
            ),
            "SAP announcement, hash 0x1234, from 10.0.0.1, session News",
            "SAP/SDP",
            &[("sap.message_identifier_hash", "0x1234"), ("sdp.session_name", "News")],
        ),
        case(
            udp(
                "239.1.2.3",
                5005,
                &hex("80 c8 0006 01020304 0000000100000002 00000003 00000004 00000005 81 ca 0002 01020304 00000000"),
            ),
            "RTCP sender report, source description, SSRC 0x01020304",
            "RTCP",
            &[("rtcp.senderssrc", "0x01020304")],
        ),
        case(
            udp("224.0.1.187", 5683, &hex("50 01 1234 bb 2e77656c6c2d6b6e6f776e 04 636f7265")),
            "CoAP NON GET, message 4660, /.well-known/core",
            "CoAP",
            &[("coap.mid", "4660"), ("coap.opt.uri_path_recon", "/.well-known/core")],
        ),
        case(
            udp("239.255.0.1", 7400, &hex("52545053 0203 010f 000102030405060708090a0b 0901 0800 0000000000000000")),
            "RTPS 2.3, participant 000102030405060708090a0b, INFO_TS",
            "RTPS",
            &[("rtps.guidPrefix.src", "000102030405060708090a0b"), ("rtps.sm.id", "0x09")],
        ),
        case(
            udp("239.255.0.9", 5568, &sacn()),
            "sACN universe 9, number 42, priority 100, 4 slots, source desk",
            "ACN",
            &[("acn.dmx.universe", "9"), ("acn.dmx.priority", "100"), ("acn.dmx.source_name", "desk")],
        ),
        case(
            udp("239.1.2.3", 6454, &hex("4172742d4e657400 0050 000e 2a 00 0300 0002 ff00")),
            "Art-Net DMX, universe 3, number 42, 2 slots",
            "DMX Channels",
            &[("artnet.output.sequence", "42"), ("artnet.output.length", "2")],
        ),
        case(
            udp("224.0.0.102", 3222, &hex("01 00 0064 0000 020000000001")),
            "GLBP group 100, from 02:00:00:00:00:01",
            "GLBP",
            &[("glbp.group", "100"), ("glbp.ownerid", "02:00:00:00:00:01")],
        ),
        case(
            udp("224.0.0.184", 3784, &hex("20 c0 03 18 00000001 00000002 000f4240 000f4240 00000000")),
            "BFD Up, detection multiplier 3, discriminators 0x00000001, 0x00000002",
            "BFD Control",
            &[("bfd.detect_time_multiplier", "3"), ("bfd.my_discriminator", "0x00000001")],
        ),
        case(
            [hex("0180c200000e 020000000001 88cc 0207 04 020000000001 0404 05 676531 0602 0078 0a02 7377 0000"), vec![0; 20]].concat(),
            "LLDP ge1 of sw",
            "LLDP",
            &[("lldp.tlv.system.name", "sw"), ("lldp.time_to_live", "120")],
        ),
    ]
}

#[test]
fn lines_name_the_protocol_and_its_fields() {
    for Case { frame, line, .. } in cases() {
        let shown = Packet::ethernet(&frame).to_string();
        assert!(shown.trim_end_matches(" / Padding").ends_with(&format!("/ {line}")), "{shown}\n{line}");
    }
}

#[test]
fn tshark_names_the_same_protocols_and_reads_the_same_fields() {
    if !mcast_lab::has_program("tshark", "--version", "agreement with tshark") {
        return;
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("services.pcapng");
    let cases = cases();
    let frames: Vec<_> =
        (0..).zip(&cases).map(|(number, case)| OwnedFrame::new(case.frame.clone(), number)).collect();
    write(&path, WriteFormat::PcapNg, &frames);
    let mut differences = Vec::new();
    for (number, case) in (1..).zip(&cases) {
        let names: Vec<_> = case.fields.iter().map(|(name, _)| *name).collect();
        let shown = tshark(&path, number, &names);
        if shown[0] != case.name {
            differences.push(format!("{}: {} is not {}", case.line, shown[0], case.name));
        }
        let differ = case.fields.iter().zip(&shown[1..]).filter(|((_, value), shown)| shown != value);
        differences.extend(
            differ.map(|((name, value), shown)| format!("{}: {name} is {shown}, not {value}", case.line)),
        );
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Returns the name of the protocol of a packet, and these fields.
fn tshark(path: &Path, number: u32, names: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command
        .arg("-n")
        .args(["--enable-heuristic", "acn", "-o", "acn.dmx_enable:TRUE", "-r"])
        .arg(path)
        .args(["-Y", &format!("frame.number=={number}")]);
    command.args(["-T", "fields", "-E", "occurrence=f", "-e", "_ws.col.Protocol"]);
    for name in names {
        command.args(["-e", name]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_end_matches('\n').split('\t').map(str::to_owned).collect()
}
