//! On networks without multicast: datagrams to hosts and broadcasts, received only by those that listen for them.

use std::net::SocketAddr;

use mcast::{ErrorKind, Family, HostAddr, InterfaceSelector, Outgoing, ReceiverBuilder, Sender};

use crate::net::{Net, PORT, TIMEOUT, both_families, next, texts_until};

both_families!(
    a_host_receives_what_is_sent_to_its_address,
    an_address_or_interface_excludes_others,
    a_batch_to_each_of_several_hosts_arrives_in_order,
    a_reply_comes_from_the_port_that_listens,
    a_group_and_a_host_share_a_port_in_one_receiver,
    an_unreachable_port_is_counted,
    a_port_is_not_shared_unless_requested,
);

impl Net {
    /// Returns the address of the host `receiver` on a network.
    fn host(&self, network: u8) -> HostAddr {
        HostAddr::new(self.address(network, 2), PORT).unwrap()
    }

    fn any(&self) -> HostAddr {
        let text = if self.family == Family::V4 { "0.0.0.0:7000" } else { "[::]:7000" };
        text.parse().unwrap()
    }

    fn send_to_host(&self, to: HostAddr, payload: &[u8]) {
        self.send_with(|builder| builder.to_host(to), |sender| sender.send(payload).unwrap());
    }
}

fn eth(number: u8) -> InterfaceSelector {
    InterfaceSelector::Name(format!("eth{number}"))
}

fn a_host_receives_what_is_sent_to_its_address(net: &Net) {
    let receiver = net.receiver(|builder| builder.listen(net.any()));
    // The default hop limit of groups, 1, is not that of hosts.
    net.send_to_host(net.host(1), b"hello");
    let received = next(&receiver);
    assert_eq!(received.text, "hello");
    let arrival = received.arrival;
    assert_eq!(arrival.destination, SocketAddr::from(&net.host(1)));
    assert_eq!((arrival.group(), arrival.interface), (None, net.index(&net.receiver, "eth1")));
    assert_eq!(arrival.source.ip(), net.address(1, 1));
    assert!(arrival.hop_limit.unwrap() > 1, "{arrival:?}");
    net.send_with(
        |builder| builder.to_host(net.host(0)).hop_limit(9),
        |sender| sender.send(b"nine").unwrap(),
    );
    assert_eq!(next(&receiver).arrival.hop_limit, Some(9));
}

fn an_address_or_interface_excludes_others(net: &Net) {
    let by_address = net.receiver(|builder| builder.listen(net.host(0)));
    let group = net.receiver(|builder| builder.share_ports(true).join(net.on("eth0", net.group(1))));
    net.send_to_host(net.host(0), b"0");
    assert_eq!(texts_until(&by_address, "0"), ["0"]);
    drop(by_address);
    let by_interface = net.receiver(|builder| builder.listen(net.any().on(eth(1))).share_ports(true));
    net.send_to_host(net.host(0), b"1");
    net.send_to_host(net.host(1), b"2");
    assert_eq!(texts_until(&by_interface, "2"), ["2"]);
    net.send("eth0", net.group(1), b"3");
    assert_eq!(texts_until(&group, "3"), ["3"], "a receiver of groups receives no unicast");
}

fn a_batch_to_each_of_several_hosts_arrives_in_order(net: &Net) {
    let receivers = [0, 1].map(|network| net.receiver(|builder| builder.listen(net.host(network))));
    let texts: Vec<String> = (0..200).map(|number| format!("datagram {number:03}")).collect();
    net.send_with(
        |builder| builder,
        |sender| {
            for network in [0, 1] {
                let to = |text| Outgoing::new(str::as_bytes(text)).to_address((&net.host(network)).into());
                let batch: Vec<_> = texts.iter().map(|text| to(text)).collect();
                assert_eq!(sender.send_batch(&batch).unwrap(), batch.len());
            }
            assert!(sender.statistics().trains > 0, "{:?}", sender.statistics());
        },
    );
    for receiver in &receivers {
        assert_eq!(texts_until(receiver, "datagram 199"), texts);
    }
    let both = net.send_with(
        |builder| builder.to_host(net.host(0)).to_host(net.host(1)),
        |sender| (sender.send(b"both").unwrap(), sender.statistics().datagrams).1,
    );
    assert_eq!(both, 2);
    receivers.iter().for_each(|receiver| assert_eq!(next(receiver).text, "both"));
}

fn a_reply_comes_from_the_port_that_listens(net: &Net) {
    let receiver = net.receiver(|builder| builder.listen(net.any()));
    net.send_with(
        |builder| builder.to_host(net.host(0)),
        |sender| {
            sender.send(b"who?").unwrap();
            receiver.reply(&next(&receiver).arrival, b"me").unwrap();
            let mut buffer = [0; 64];
            let reply = sender.recv_answer(net.family, &mut buffer, TIMEOUT).unwrap().expect("no reply");
            assert_eq!((reply.payload, reply.source), (&b"me"[..], SocketAddr::from(&net.host(0))));
        },
    );
}

fn a_group_and_a_host_share_a_port_in_one_receiver(net: &Net) {
    let receiver = net.receiver(|builder| builder.listen(net.any()).join(net.on("eth0", net.group(1))));
    net.send("eth0", net.group(1), b"group");
    net.send("eth0", net.group(2), b"another group");
    net.send_to_host(net.host(0), b"host");
    assert_eq!(texts_until(&receiver, "host"), ["group", "host"]);
    receiver.leave(&net.on("eth0", net.group(1))).unwrap();
    net.send("eth0", net.group(1), b"left");
    net.send_to_host(net.host(0), b"again");
    assert_eq!(texts_until(&receiver, "again"), ["again"]);
}

fn an_unreachable_port_is_counted(net: &Net) {
    net.send_with(
        |builder| builder.to_host(net.host(0)),
        |sender| {
            let deadline = std::time::Instant::now() + TIMEOUT;
            while sender.statistics().unreachable == 0 {
                assert!(std::time::Instant::now() < deadline, "{:?}", sender.statistics());
                sender.send(b"anybody?").unwrap();
                sender.wait_answer(net.family, Some(std::time::Duration::from_millis(10))).unwrap();
            }
        },
    );
}

fn a_port_is_not_shared_unless_requested(net: &Net) {
    let listen = |builder: ReceiverBuilder| builder.listen(net.any());
    let first = net.receiver(listen);
    let refused = net.try_receiver(listen).unwrap_err();
    assert_eq!((refused.kind(), refused.address()), (ErrorKind::AddressInUse, Some((&net.any()).into())));
    drop(first);
    let _shared = [(); 2].map(|()| net.receiver(|builder| listen(builder.share_ports(true))));
}

#[test]
fn broadcasts_reach_every_listener_and_take_no_unicast() {
    let net = Net::new(Family::V4);
    let other = net.receiver(|builder| builder.listen(net.any()).share_ports(true));
    let both = net.receiver(|builder| builder.listen(HostAddr::broadcast(PORT)));
    let only_eth1 = net.receiver(|builder| builder.listen(HostAddr::broadcast(PORT).on(eth(1))));
    let broadcast = |to: HostAddr, payload: &[u8]| {
        let to = |builder: mcast::SenderBuilder| builder.broadcast(true).to_host(to);
        net.send_with(to, |sender| sender.send(payload).unwrap());
    };
    broadcast(HostAddr::broadcast(PORT).on(eth(0)), b"limited 0");
    broadcast("10.0.0.255:7000".parse().unwrap(), b"subnet 0");
    net.send_to_host(net.host(0), b"unicast");
    broadcast(HostAddr::broadcast(PORT).on(eth(1)), b"limited 1");
    broadcast("10.0.1.255:7000".parse().unwrap(), b"subnet 1");
    broadcast(HostAddr::broadcast(PORT + 1).on(eth(1)), b"another port");
    broadcast("10.0.1.255:7000".parse().unwrap(), b"last");
    let received = texts_until(&both, "last");
    let mut sorted = received.clone();
    sorted.sort();
    assert_eq!(sorted, ["last", "limited 0", "limited 1", "subnet 0", "subnet 1"]);
    let mut on_eth1 = texts_until(&only_eth1, "last");
    on_eth1.sort();
    assert_eq!(on_eth1, ["last", "limited 1", "subnet 1"]);
    assert!(texts_until(&other, "last").contains(&"unicast".to_owned()), "any address receives both");
}

#[test]
fn what_is_no_destination_is_refused() {
    let net = Net::new(Family::V4);
    let refused = |to: &str, broadcast: bool| {
        let to: HostAddr = to.parse().unwrap();
        net.sender
            .run(|| {
                let sender = Sender::builder().broadcast(broadcast).to_host(to).build()?;
                sender.send(b"x")
            })
            .unwrap()
            .unwrap_err()
    };
    for to in ["255.255.255.255%eth0:7000", "10.0.0.255:7000"] {
        let error = refused(to, false);
        assert_eq!(error.kind(), ErrorKind::Permission);
        assert!(error.remedy().unwrap().contains("--broadcast"), "{error}");
    }
    assert_eq!(refused("0.0.0.0:7000", true).kind(), ErrorKind::Mismatch);
    assert_eq!(refused("10.9.9.9:7000", true).kind(), ErrorKind::NoRoute);
    let down = net.try_receiver(|builder| builder.listen("10.9.9.9:7000".parse().unwrap())).unwrap_err();
    assert_eq!(down.kind(), ErrorKind::AddressNotAvailable);
    assert!(down.to_string().contains("10.9.9.9:7000"), "{down}");
}
