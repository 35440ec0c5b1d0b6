//! Agreement with tshark: it reads our files, we read its files, and both decode every packet alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mcast_capture::{CaptureWriter, Direction, WriteFormat};
use mcast_packet::gmp::{
    Address, GmpMessage, Query, Record, RecordKind, RouterDiscovery, SourceQuery, Sources,
};
use mcast_packet::payload::{AmtMac, AmtMessage, MoldUdp64, Ptp, PtpKind, Rtp, TsPacket};
use mcast_packet::pim::{
    Assert, Bootstrap, CandidateRp, DfElection, DfStep, EncodedGroup, EncodedSource, GroupMapping, GroupSet,
    HelloOption, JoinPrune, Metric, PimMessage, Register, RendezvousPoint,
};
use mcast_packet::{
    ControlFrame, ControlPacket, Cooked, CookedKind, LinkType, MacAddress, PimFrame, UdpPacket, ether_type,
};
use tempfile::tempdir;

use crate::support::{OwnedFrame, at, datagram, datagram_to, index, read, write};

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const HOST_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);
const GROUP: Ipv4Addr = Ipv4Addr::new(232, 1, 2, 3);
const GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff3e, 0, 0, 0, 0, 0, 0x8000, 1);
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 7));

/// Returns whether tshark is installed; prints a notice if not.
fn has_tshark() -> bool {
    mcast_lab::has_program("tshark", "--version", "agreement with tshark")
}

/// Returns tshark's output: a line per packet with tab-separated fields. It reports PIM groups twice, once as
/// text, so only the first value of those is requested.
fn fields(path: &Path, fields: &[&str]) -> Vec<String> {
    let is_pim = fields.iter().any(|field| field.starts_with("pim."));
    let occurrence = if is_pim { "occurrence=f" } else { "occurrence=a" };
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(path).args(["-T", "fields", "-E", occurrence, "-E", "aggregator=,"]);
    command.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
    command.args([
        "-d",
        "udp.port==5004,rtp",
        "-d",
        "udp.port==26477,moldudp64",
        "-d",
        "udp.port==1234,mp2t",
    ]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Writes the frames, and compares the fields that tshark finds in each with the expected ones.
fn assert_tshark_finds(names: &[&str], expected: &[(Vec<u8>, &[&str])]) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("frames.pcapng");
    let frames: Vec<_> =
        (0..).zip(expected).map(|(number, (bytes, _))| OwnedFrame::new(bytes.clone(), number)).collect();
    write(&path, WriteFormat::PcapNg, &frames);
    let malformed = fields(&path, &["_ws.malformed", "_ws.expert.message"]);
    let found = fields(&path, names);
    assert_eq!(found.len(), expected.len());
    for (position, (bytes, values)) in expected.iter().enumerate() {
        assert_eq!(found[position], values.join("\t"), "{}", mcast_packet::summary(bytes));
        assert!(!malformed[position].contains("Malformed"), "{}", malformed[position]);
    }
}

#[test]
fn tshark_agrees_on_frame_metadata() {
    if !has_tshark() {
        return;
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("frames.pcapng");
    let mut writer = CaptureWriter::create(&path, WriteFormat::PcapNg).unwrap();
    writer.describe(index(3), "eth0", LinkType::Ethernet).unwrap();
    writer.describe(index(4), "tun0", LinkType::Ip).unwrap();
    let mut frames: Vec<_> = (0..3).map(|number| OwnedFrame::new(datagram(b"hello"), number)).collect();
    frames.iter_mut().for_each(|frame| frame.interface = 3);
    frames[1].interface = 4;
    frames[1].link_type = LinkType::Ip;
    frames[1].bytes.drain(..14);
    frames[1].original_length = 100;
    frames[2].direction = Direction::Outgoing;
    frames[2].time = at(1_700_000_000, 1);
    for frame in &frames {
        writer.write(&frame.frame()).unwrap();
    }
    writer
        .write_statistics(
            index(3),
            &mcast_capture::CaptureStatistics { frames: 2, dropped: 3, unreadable: 0 },
        )
        .unwrap();
    drop(writer);
    let names = [
        "frame.time_epoch",
        "frame.len",
        "frame.cap_len",
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.packet_flags_reception_type",
        "udp.checksum.status",
    ];
    let good = [
        "1700000000.123456789\t47\t47\teth0\t0x00000001\t2\t1",
        "1700000000.124456789\t100\t33\ttun0\t0x00000001\t2\t1",
    ];
    let found = fields(&path, &names);
    assert_eq!(found[..2], good);
    assert_eq!(found[2], "1700000000.000000001\t47\t47\teth0\t0x00000002\t0\t1");
}

#[test]
fn tshark_files_are_read() {
    if !has_tshark() {
        return;
    }
    let folder = tempdir().unwrap();
    let ours = folder.path().join("ours.pcapng");
    let frames: Vec<_> = (0..50)
        .map(|number| OwnedFrame {
            direction: Direction::Unknown,
            ..OwnedFrame::new(datagram(&[3; 99]), number)
        })
        .collect();
    write(&ours, WriteFormat::PcapNg, &frames);
    for format in ["pcap", "nsecpcap", "pcapng"] {
        let theirs = folder.path().join(format);
        let output = Command::new("tshark")
            .arg("-r")
            .arg(&ours)
            .arg("-w")
            .arg(&theirs)
            .args(["-F", format])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected: Vec<_> = frames
            .iter()
            .map(|frame| {
                let time = frame.time.duration_since(std::time::UNIX_EPOCH).unwrap();
                let micros = Duration::new(time.as_secs(), time.subsec_micros() * 1000);
                let time = if format == "pcap" { std::time::UNIX_EPOCH + micros } else { frame.time };
                OwnedFrame { time, ..frame.clone() }
            })
            .collect();
        assert_eq!(read(&theirs), expected, "{format}");
    }
    let ours = folder.path().join("ours.pcap");
    write(&ours, WriteFormat::Pcap, &frames);
    assert_eq!(fields(&ours, &["frame.time_epoch"]).len(), frames.len());
    assert_eq!(fields(&ours, &["frame.time_epoch"])[0], "1700000000.123456789");
}

fn control<A: Address>(source: A, message: GmpMessage<'_, A>) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let length = ControlFrame { mac: MAC, source, message }.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn query<'a, A: Address>(group: Option<A>, sources: &'a [A]) -> GmpMessage<'a, A> {
    GmpMessage::Query(Query {
        group,
        max_response_time: Duration::from_secs(10),
        source_query: Some(SourceQuery {
            suppress: true,
            robustness: 2,
            interval: Duration::from_secs(125),
            sources: sources.into(),
        }),
    })
}

#[test]
fn tshark_agrees_on_igmp() {
    if !has_tshark() {
        return;
    }
    let sources = [HOST, Ipv4Addr::new(10, 0, 0, 7)];
    let records = [
        Record { kind: RecordKind::AllowNewSources, group: GROUP, sources: (&sources).into() },
        Record {
            kind: RecordKind::ChangeToExclude,
            group: Ipv4Addr::new(239, 9, 9, 9),
            sources: Sources::none(),
        },
    ];
    let names =
        ["igmp.type", "igmp.maddr", "igmp.record_type", "igmp.saddr", "igmp.num_src", "igmp.checksum.status"];
    assert_tshark_finds(
        &names,
        &[
            (control(HOST, GmpMessage::V1Report { group: GROUP }), &["0x12", "232.1.2.3", "", "", "", "1"]),
            (control(HOST, GmpMessage::Report { group: GROUP }), &["0x16", "232.1.2.3", "", "", "", "1"]),
            (control(HOST, GmpMessage::Leave { group: GROUP }), &["0x17", "232.1.2.3", "", "", "", "1"]),
            (
                control(HOST, query(Some(GROUP), &sources)),
                &["0x11", "232.1.2.3", "", "10.0.0.5,10.0.0.7", "2", "1"],
            ),
            (
                control(HOST, GmpMessage::V3Report((&records).into())),
                &["0x22", "232.1.2.3,239.9.9.9", "5,4", "10.0.0.5,10.0.0.7", "2,0", "1"],
            ),
        ],
    );
}

/// tshark 4.0 shows the types of router discovery messages, but decodes them only by the numbers of an older
/// draft.
#[test]
fn tshark_agrees_on_router_discovery_types() {
    if !has_tshark() {
        return;
    }
    let advertisement = RouterDiscovery::Advertisement {
        interval: Duration::from_secs(20),
        query_interval: Duration::from_secs(125),
        robustness: 2,
    };
    let message = |discovery| control(HOST, GmpMessage::RouterDiscovery(discovery));
    assert_tshark_finds(
        &["ip.dst", "ip.ttl", "igmp.type"],
        &[
            (message(advertisement), &["224.0.0.106", "1", "0x30"]),
            (message(RouterDiscovery::Solicitation), &["224.0.0.2", "1", "0x31"]),
            (message(RouterDiscovery::Termination), &["224.0.0.106", "1", "0x32"]),
        ],
    );
}

#[test]
fn tshark_agrees_on_mld() {
    if !has_tshark() {
        return;
    }
    let sources = [HOST_6];
    let records = [Record { kind: RecordKind::BlockOldSources, group: GROUP_6, sources: (&sources).into() }];
    let names = [
        "icmpv6.type",
        "icmpv6.mld.multicast_address",
        "icmpv6.mldr.mar.record_type",
        "icmpv6.mldr.mar.multicast_address",
        "icmpv6.mldr.mar.source_address",
        "icmpv6.mld.source_address",
        "icmpv6.checksum.status",
    ];
    let group = GROUP_6.to_string();
    let termination = GmpMessage::RouterDiscovery(RouterDiscovery::Termination);
    assert_tshark_finds(
        &names,
        &[
            (control(HOST_6, GmpMessage::Report { group: GROUP_6 }), &["131", &group, "", "", "", "", "1"]),
            (control(HOST_6, GmpMessage::Leave { group: GROUP_6 }), &["132", &group, "", "", "", "", "1"]),
            (control(HOST_6, query(Some(GROUP_6), &sources)), &["130", &group, "", "", "", "fe80::5", "1"]),
            (control(HOST_6, query(None, &[])), &["130", "::", "", "", "", "", "1"]),
            (
                control(HOST_6, GmpMessage::V3Report((&records).into())),
                &["143", "", "6", &group, "fe80::5", "", "1"],
            ),
            (control(HOST_6, termination), &["153", "", "", "", "", "", "1"]),
        ],
    );
}

fn router(message: PimMessage<'_>, source: IpAddr) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let length = PimFrame::to_neighbors(MAC, source, message).emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn tshark_agrees_on_pim() {
    if !has_tshark() {
        return;
    }
    let options = [
        HelloOption::HoldTime(105),
        HelloOption::LanPruneDelay { tracking: true, propagation_delay: 500, override_interval: 2500 },
        HelloOption::DrPriority(7),
        HelloOption::GenerationId(0x1234),
        HelloOption::BidirectionalCapable,
    ];
    let hello = PimMessage::Hello((&options).into());
    let (joined, pruned) = ([EncodedSource::of_source(SOURCE)], [EncodedSource::any_through(ROUTER)]);
    let group = EncodedGroup::single(GROUP.into());
    let groups = [GroupSet { group, joined: (&joined).into(), pruned: (&pruned).into() }];
    let join = JoinPrune { upstream_neighbor: ROUTER, hold_time: 210, groups: (&groups).into() };
    let points = [RendezvousPoint { address: SOURCE, hold_time: 150, priority: 192 }];
    let mappings = [GroupMapping { groups: group, total: 1, rendezvous_points: (&points).into() }];
    let bootstrap = Bootstrap {
        fragment_tag: 7,
        hash_mask_length: 30,
        priority: 64,
        router: ROUTER,
        mappings: (&mappings).into(),
    };
    let metric = Metric { preference: 110, metric: 20 };
    let assert = Assert { group, source: SOURCE, rendezvous_tree: false, metric };
    let packet = &datagram(b"inside")[14..];
    let register = Register { border: false, null: false, packet };
    let candidate = CandidateRp {
        priority: 192,
        hold_time: 150,
        address: SOURCE,
        groups: std::slice::from_ref(&group).into(),
    };
    let election = DfElection { rendezvous_point: SOURCE, metric, step: DfStep::Offer };
    let (group_text, source_text) = (GROUP.to_string(), SOURCE.to_string());
    let names = [
        "pim.type",
        "pim.cksum.status",
        "pim.holdtime",
        "pim.dr_priority",
        "pim.generation_id",
        "pim.group",
        "pim.numjoins",
        "pim.numprunes",
        "pim.upstream_neighbor",
        "pim.metric",
        "pim.bsr",
        "pim.rp",
    ];
    let router_6: IpAddr = HOST_6.into();
    assert_tshark_finds(
        &names,
        &[
            (router(hello, ROUTER), &["0", "1", "105", "7", "4660", "", "", "", "", "", "", ""]),
            (router(hello, router_6), &["0", "1", "105", "7", "4660", "", "", "", "", "", "", ""]),
            (
                router(PimMessage::Register(register), ROUTER),
                &["1", "1", "", "", "", "", "", "", "", "", "", ""],
            ),
            (
                router(PimMessage::Register(register), router_6),
                &["1", "1", "", "", "", "", "", "", "", "", "", ""],
            ),
            (
                router(PimMessage::RegisterStop { group, source: SOURCE }, ROUTER),
                &["2", "1", "", "", "", &group_text, "", "", "", "", "", ""],
            ),
            (
                router(PimMessage::JoinPrune(join), ROUTER),
                &["3", "1", "210", "", "", &group_text, "1", "1", "10.0.0.1", "", "", ""],
            ),
            (
                router(PimMessage::Bootstrap(bootstrap), ROUTER),
                &["4", "1", "150", "", "", &group_text, "", "", "", "", "10.0.0.1", &source_text],
            ),
            (
                router(PimMessage::Assert(assert), ROUTER),
                &["5", "1", "", "", "", &group_text, "", "", "", "20", "", ""],
            ),
            (
                router(PimMessage::CandidateRp(candidate), ROUTER),
                &["8", "1", "150", "", "", &group_text, "", "", "", "", "", &source_text],
            ),
            (
                router(PimMessage::DfElection(election), ROUTER),
                &["10", "1", "", "", "", "", "", "", "", "20", "", &source_text],
            ),
        ],
    );
}

fn payload(emit: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut buffer = vec![0; 1400];
    let length = emit(&mut buffer);
    buffer.truncate(length);
    buffer
}

#[test]
fn tshark_agrees_on_payloads() {
    if !has_tshark() {
        return;
    }
    let cells: Vec<u8> = [(256, 3), (257, 4)]
        .into_iter()
        .flat_map(|(pid, continuity)| {
            payload(|buffer| TsPacket::new(pid, continuity, &[0; 184]).emit(buffer).unwrap())
        })
        .collect();
    let rtp = Rtp {
        marker: true,
        payload_type: 96,
        sequence: 4711,
        timestamp: 90_000,
        ssrc: 0xfeed,
        csrc_count: 0,
        extension: None,
        payload: b"sound",
    };
    let ptp = Ptp {
        kind: PtpKind::Announce,
        minor_version: 0,
        length: 64,
        domain: 24,
        flags: 0,
        correction: 0,
        clock: 0x11,
        clock_port: 1,
        sequence: 4712,
        log_interval: 1,
    };
    let question = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x04_ipp\x04_tcp\x05local\0\0\x0c\x80\x01";
    let search = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nST: ssdp:all\r\n\r\n";
    let rtp_bytes = payload(|buffer| rtp.emit(buffer).unwrap());
    let mold = payload(|buffer| MoldUdp64::emit(*b"000007841A", 99, &[b"a", b"bc"], buffer).unwrap());
    let ptp_bytes = payload(|buffer| ptp.emit(buffer).unwrap());
    let group = [239, 1, 2, 3];
    let names = [
        "rtp.seq",
        "rtp.p_type",
        "rtp.ssrc",
        "mp2t.pid",
        "mp2t.cc",
        "moldudp64.session",
        "moldudp64.sequence",
        "moldudp64.count",
        "ptp.v2.sequenceid",
        "ptp.v2.domainnumber",
        "dns.qry.name",
        "http.request.method",
    ];
    assert_tshark_finds(
        &names,
        &[
            (
                datagram_to(group, 5004, &rtp_bytes),
                &["4711", "96", "0x0000feed", "", "", "", "", "", "", "", "", ""],
            ),
            (
                datagram_to(group, 1234, &cells),
                &["", "", "", "0x00000100,0x00000101", "3,4", "", "", "", "", "", "", ""],
            ),
            (
                datagram_to(group, 26477, &mold),
                &["", "", "", "", "", "000007841A", "99", "2", "", "", "", ""],
            ),
            (
                datagram_to([224, 0, 1, 129], 320, &ptp_bytes),
                &["", "", "", "", "", "", "", "", "4712", "24", "", ""],
            ),
            (
                datagram_to([224, 0, 0, 251], 5353, question),
                &["", "", "", "", "", "", "", "", "", "", "_ipp._tcp.local", ""],
            ),
            (
                datagram_to([239, 255, 255, 250], 1900, search),
                &["", "", "", "", "", "", "", "", "", "", "", "M-SEARCH"],
            ),
        ],
    );
}

/// An IP packet with a message of IGMP or MLD, as AMT carries it.
fn packet<A: Address>(source: A, message: GmpMessage<'_, A>) -> Vec<u8> {
    payload(|buffer| ControlPacket { source, message }.emit(buffer).unwrap())
}

#[test]
fn tshark_agrees_on_all_messages_of_amt() {
    if !has_tshark() {
        return;
    }
    let (mac, nonce) = (AmtMac([1, 2, 3, 4, 5, 6]), 0x0102_0304);
    let gateway = "192.0.2.9:4660".parse().unwrap();
    let sources = [Ipv4Addr::new(10, 0, 1, 7)];
    let records = [Record { kind: RecordKind::ModeIsInclude, group: GROUP, sources: (&sources).into() }];
    let (igmp, mld) = (packet(HOST, query(None, &[])), packet(HOST_6, query(None, &[])));
    let report = packet(HOST, GmpMessage::V3Report((&records).into()));
    let udp = UdpPacket {
        source: (SOURCE, 4_000).into(),
        // tshark takes 5000 for TAPA.
        destination: (GROUP, 9_000).into(),
        hop_limit: 7,
        traffic_class: 0,
        payload: b"data",
    };
    let data = payload(|buffer| udp.emit(buffer).unwrap());
    let emit = |message: AmtMessage<'_>| {
        let bytes = payload(|buffer| message.emit(buffer).unwrap());
        // tshark goes by the port alone.
        datagram_to([239, 0, 0, 9], AmtMessage::PORT, &bytes)
    };
    let query =
        |is_full, packet, gateway| emit(AmtMessage::MembershipQuery { is_full, mac, nonce, packet, gateway });
    let names = [
        "amt.type",
        "amt.discovery_nonce",
        "amt.relay_address.ipv4",
        "amt.relay_address.ipv6",
        "amt.request_nonce",
        "amt.request.p",
        "amt.membership_query.l",
        "amt.membership_query.g",
        "amt.response_mac",
        "amt.gateway.port_number",
        "amt.gateway.ip_address",
        "igmp.type",
        "icmpv6.type",
        "udp.port",
    ];
    let (number, code) = ("0x01020304", "0x0000010203040506");
    let outer = "4000,2268";
    let relay_6 = "2001:db8::1".parse().unwrap();
    let (port, address) = ("4660", "::192.0.2.9");
    assert_tshark_finds(
        &names,
        &[
            (
                emit(AmtMessage::RelayDiscovery { nonce }),
                &["1", number, "", "", "", "", "", "", "", "", "", "", "", outer],
            ),
            (
                emit(AmtMessage::RelayAdvertisement { nonce, relay: SOURCE }),
                &["2", number, "10.0.1.7", "", "", "", "", "", "", "", "", "", "", outer],
            ),
            (
                emit(AmtMessage::RelayAdvertisement { nonce, relay: relay_6 }),
                &["2", number, "", "2001:db8::1", "", "", "", "", "", "", "", "", "", outer],
            ),
            (
                emit(AmtMessage::Request { nonce, wants_mld: true }),
                &["3", "", "", "", number, "1", "", "", "", "", "", "", "", outer],
            ),
            (
                query(false, &igmp, Some(gateway)),
                &["4", "", "", "", number, "", "0", "1", code, port, address, "0x11", "", outer],
            ),
            (
                query(true, &mld, None),
                &["4", "", "", "", number, "", "1", "0", code, "", "", "", "130", outer],
            ),
            (
                emit(AmtMessage::MembershipUpdate { mac, nonce, packet: &report }),
                &["5", "", "", "", number, "", "", "", code, "", "", "0x22", "", outer],
            ),
            (
                emit(AmtMessage::MulticastData { packet: &data }),
                &["6", "", "", "", "", "", "", "", "", "", "", "", "", "4000,2268,4000,9000"],
            ),
            (
                emit(AmtMessage::Teardown { mac, nonce, gateway }),
                &["7", "", "", "", number, "", "", "", code, port, address, "", "", outer],
            ),
        ],
    );
}

#[test]
fn tshark_agrees_on_cooked_headers() {
    if !has_tshark() {
        return;
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("cooked.pcapng");
    let frames: Vec<_> = [None, Some(7)]
        .into_iter()
        .map(|interface| {
            let cooked = Cooked::new(CookedKind::Multicast, MAC, ether_type::IPV4, interface);
            let mut bytes = payload(|buffer| cooked.emit(buffer).unwrap());
            bytes.extend_from_slice(&datagram(b"x")[14..]);
            OwnedFrame { link_type: cooked.link_type(), ..OwnedFrame::new(bytes, 0) }
        })
        .collect();
    write(&path, WriteFormat::PcapNg, &frames);
    let found = fields(&path, &["sll.pkttype", "sll.src.eth", "sll.ifindex", "ip.dst", "udp.dstport"]);
    assert_eq!(
        found,
        ["2\t02:00:00:00:00:01\t\t239.1.2.3\t5000", "2\t02:00:00:00:00:01\t7\t239.1.2.3\t5000"]
    );
}
