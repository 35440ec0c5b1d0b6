//! Participants of DDS, such as nodes of ROS, that announce themselves, and what keeps them apart.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use mcast_doctor::{Report, ServiceTarget, examine_service};
use mcast_lab::Host;
use socket2::{Domain, Socket, Type};

use crate::net::{Net, Stream, assert_healthy, briefly, has_programs};
use crate::treatment::{examine_and_treat, on};

crate::table::cases! {
    other_domain: DifferentDdsDomain, "a node of ROS in domain 42, those of the receiver in domain 0", || {
        examined(&[robot().domain(42)], &[pc().domain(0)])
    };
    other_tag: DifferentDdsDomain, "a node with a domain tag, those of the receiver without", || {
        examined(&[robot().text(0x4014, "alpha")], &[pc()])
    };
    best_effort_writer: DdsMismatch, "a best-effort writer, a reliable reader on the receiver", || {
        examined(&[robot(), robot().writer("rt/scan", 1)], &[pc(), pc().reader("rt/scan", 2)])
    };
    address_of_a_container: UnreachableAddress, "a node announces 192.0.2.7, to which no route leads", || {
        examined(&[node(1).unicast("192.0.2.7")], &[pc()])
    };
    own_address_of_a_container: UnreachableAddress, "the nodes of the receiver announce 192.0.2.7", || {
        examined(&[robot()], &[node(2).unicast("192.0.2.7")])
    };
    own_nodes_elsewhere: AnnouncedElsewhere, "the nodes of the receiver use `eth1`, a node is announced on `eth0`", || {
        let net = Net::new();
        let other = net.lab.switch("other").unwrap();
        let _second = net.receiver.connect("eth1", &other, &["10.8.0.2/24"]).unwrap();
        let _robot = announce(&net.sender, "eth0", &[robot()]);
        let _pc = announce(&net.receiver, "eth1", &[pc()]);
        examine(&net.receiver)
    };
}

/// The discovery data of a participant, or of a reader or writer of it.
#[derive(Clone)]
struct Sample {
    prefix: [u8; 12],
    writer: u32,
    parameters: Vec<u8>,
}

fn node(number: u8) -> Sample {
    let sample = Sample { prefix: [number; 12], writer: 0x0001_00c2, parameters: Vec::new() };
    sample.guid(0x50, 0x0000_01c1).text(0x62, if number == 1 { "talker" } else { "other" })
}

fn robot() -> Sample {
    node(1).unicast("10.9.0.1")
}

fn pc() -> Sample {
    node(2).unicast("10.9.0.2")
}

impl Sample {
    fn parameter(mut self, id: u16, value: &[u8]) -> Self {
        let padded = value.len().next_multiple_of(4);
        self.parameters.extend(id.to_le_bytes());
        self.parameters.extend((padded as u16).to_le_bytes());
        self.parameters.extend_from_slice(value);
        self.parameters.extend(std::iter::repeat_n(0, padded - value.len()));
        self
    }

    fn guid(self, id: u16, entity: u32) -> Self {
        let value = [&self.prefix[..], &entity.to_be_bytes()].concat();
        self.parameter(id, &value)
    }

    fn text(self, id: u16, text: &str) -> Self {
        let value = [&(text.len() as u32 + 1).to_le_bytes()[..], text.as_bytes(), &[0]].concat();
        self.parameter(id, &value)
    }

    fn domain(self, domain: u32) -> Self {
        self.parameter(0x0f, &domain.to_le_bytes())
    }

    fn unicast(self, address: &str) -> Self {
        let IpAddr::V4(address) = address.parse().unwrap() else { panic!("{address} is not IPv4") };
        let head = [1_u32.to_le_bytes(), 7411_u32.to_le_bytes()].concat();
        self.parameter(0x31, &[&head[..], &[0; 12], &address.octets()].concat())
    }

    /// Returns a writer or reader of a topic. Reliability is 1 for best effort, 2 for reliable.
    fn end(&self, writer: u32, entity: u32, topic: &str, reliability: u32) -> Self {
        let end = Self { prefix: self.prefix, writer, parameters: Vec::new() };
        let end = end.guid(0x5a, entity).text(0x05, topic).text(0x07, "demo::Scan");
        end.parameter(0x1a, &[&reliability.to_le_bytes()[..], &[0; 8]].concat())
    }

    fn writer(&self, topic: &str, reliability: u32) -> Self {
        self.end(0x0000_03c2, 0x103, topic, reliability)
    }

    fn reader(&self, topic: &str, reliability: u32) -> Self {
        self.end(0x0000_04c2, 0x104, topic, reliability)
    }

    fn submessage(&self) -> Vec<u8> {
        let mut body = vec![0, 0, 16, 0, 0, 0, 0, 0];
        body.extend(self.writer.to_be_bytes());
        body.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0]);
        body.extend_from_slice(&self.parameters);
        body.extend([1, 0, 0, 0]);
        [&[0x15, 5][..], &(body.len() as u16).to_le_bytes(), &body].concat()
    }
}

/// Announces a participant and what belongs to it on an interface, until it is dropped.
fn announce(host: &Host, interface: &'static str, samples: &[Sample]) -> Stream {
    let open = move || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
        socket.bind_device(Some(interface.as_bytes())).unwrap();
        UdpSocket::from(socket)
    };
    let mut message = b"RTPS\x02\x05\x01\x10".to_vec();
    message.extend(samples[0].prefix);
    samples.iter().for_each(|sample| message.extend(sample.submessage()));
    Stream::of(host.run(open).unwrap(), (Ipv4Addr::new(239, 255, 0, 1), 7400).into(), move |_| {
        message.clone()
    })
}

fn examine(host: &Host) -> Report {
    let target = ServiceTarget::new("talker");
    examine_and_treat(host, || {
        on(host, || {
            examine_service(&target, &briefly(), &mut |_| std::ops::ControlFlow::Continue(())).unwrap()
        })
    })
}

/// Looks for the node `talker` of the sender, beside these nodes of the receiver.
fn examined(there: &[Sample], here: &[Sample]) -> Report {
    let net = Net::new();
    let _there = announce(&net.sender, "eth0", there);
    let _here = announce(&net.receiver, "eth0", here);
    examine(&net.receiver)
}

#[test]
pub(crate) fn nodes_of_one_domain_whose_topics_match() {
    if !has_programs() {
        return;
    }
    let there = [robot().domain(0), robot().writer("rt/scan", 2)];
    let here = [pc().domain(0), pc().reader("rt/scan", 2)];
    assert_healthy(&examined(&there, &here));
}
