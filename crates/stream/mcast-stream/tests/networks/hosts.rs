//! On a network without multicast, a stream is sent to listed hosts, or as broadcasts, with the same guarantees.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Family, HostAddr};
use mcast_lab::{Impairment, Lab, Switch, SwitchOptions};
use mcast_stream::seal::Keys;
use mcast_stream::subscriber::{Item, Start};
use mcast_stream::wire::MessageNumber;
use mcast_stream::{
    HostStatus, PathChange, Publisher, PublisherBuilder, Snapshot, SnapshotFetcher, StreamError, Subscriber,
    SubscriberBuilder, find_stream,
};

use crate::net::{Net, TIMEOUT, digest, message, receive_stream};

/// Makes a switch drop all multicast. Broadcasts, which ARP needs, pass.
fn drop_multicast(switch: &Switch) {
    const RULES: &str = "table bridge filter {\n\
        chain forward {\n\
            type filter hook forward priority 0;\n\
            ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 ether daddr != ff:ff:ff:ff:ff:ff drop\n\
        }\n\
    }";
    let applied = switch.inside().command("nft").unwrap().arg(RULES).output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

fn address(family: Family, last: usize) -> HostAddr {
    let text = match family {
        Family::V4 => format!("10.0.0.{last}:7000"),
        Family::V6 => format!("[fd00::{last}]:7000"),
    };
    text.parse().unwrap()
}

impl Net {
    /// Publishes to hosts: the first subscriber is 2.
    fn publisher_to(
        &self,
        hosts: impl IntoIterator<Item = HostAddr>,
        settings: impl FnOnce(PublisherBuilder) -> PublisherBuilder + Send,
    ) -> Publisher {
        let hosts: Vec<_> = hosts.into_iter().collect();
        let builder = || hosts.into_iter().fold(settings(Publisher::builder()), PublisherBuilder::to_host);
        self.publisher.run(|| builder().build().unwrap()).unwrap()
    }

    fn listener(
        &self,
        number: usize,
        settings: impl FnOnce(SubscriberBuilder) -> SubscriberBuilder + Send,
    ) -> Subscriber {
        let build = || settings(Subscriber::builder()).build().unwrap();
        self.subscribers[number].0.run(build).unwrap()
    }
}

fn any(builder: SubscriberBuilder) -> SubscriberBuilder {
    builder.listen("0.0.0.0:7000".parse().unwrap())
}

/// Publishes `count` messages to all, and returns after each has received all.
fn everything_arrives(publisher: &Publisher, subscribers: &mut [Subscriber], count: u64) {
    thread::scope(|scope| {
        let receivers = subscribers.len();
        let receiving: Vec<_> = subscribers
            .iter_mut()
            .map(|subscriber| scope.spawn(|| receive_stream(subscriber, message)))
            .collect();
        assert!(publisher.wait_for(receivers, TIMEOUT), "{:?}", publisher.statistics());
        for number in 0..count {
            assert_eq!(publisher.publish(&message(number)).unwrap().0, number);
        }
        let closing = publisher.close(TIMEOUT);
        assert_eq!((closing.complete, &closing.behind[..]), (receivers, &[][..]), "{closing:?}");
        for one in receiving {
            let received = one.join().unwrap();
            assert_eq!((received.first, received.messages), (Some(0), count), "{:?}", received.events);
        }
    });
}

#[test]
fn fan_out_to_five_at_five_percent_loss_where_multicast_is_dropped() {
    let net = Net::new(Family::V4, 5, Impairment { loss: 0.05, ..Impairment::default() });
    drop_multicast(&net.switch);
    let mut subscribers: Vec<_> = (0..5).map(|number| net.listener(number, any)).collect();
    let publisher = net.publisher_to((2..7).map(|last| address(Family::V4, last)), |settings| settings);
    everything_arrives(&publisher, &mut subscribers, 1_000);
    let statistics = publisher.statistics();
    assert!(statistics.repair_bytes > 0, "{statistics:?}");
    assert!(publisher.hosts().iter().all(|host| host.is_reachable && host.skipped == 0));
}

#[test]
fn fan_out_over_ipv6_to_an_address_and_a_link_local_one() {
    let net = Net::new(Family::V6, 2, Impairment { loss: 0.02, ..Impairment::default() });
    let link_local = net.subscribers[1].0.addresses("eth0").unwrap();
    let link_local =
        link_local.iter().map(ToString::to_string).find(|text| text.starts_with("fe80:")).unwrap();
    let link_local = link_local.split('/').next().unwrap();
    let at: HostAddr = format!("[{link_local}%eth0]:7000").parse().unwrap();
    let mut subscribers = [
        net.listener(0, |builder| builder.listen("[::]:7000".parse().unwrap())),
        net.listener(1, |builder| builder.listen(at.clone())),
    ];
    let publisher = net.publisher_to([address(Family::V6, 2), at.clone()], |settings| settings);
    everything_arrives(&publisher, &mut subscribers, 500);
}

#[test]
fn a_group_and_hosts_are_paths_of_one_stream() {
    let net = Net::new(Family::V4, 3, Impairment { loss: 0.02, ..Impairment::default() });
    let mut subscribers =
        [net.subscriber(0, |settings| settings), net.listener(1, any), net.subscriber(2, any)];
    let publisher =
        net.publisher(|settings| settings.to_host(address(Family::V4, 3)).to_host(address(Family::V4, 4)));
    everything_arrives(&publisher, &mut subscribers, 500);
    let both = subscribers[2].paths();
    assert!(both.len() == 2 && both.iter().all(|path| path.received > 0), "{both:?}");
}

/// Waits for changes until all these hosts were reported as unreachable.
fn wait_for_unreachable(publisher: &Publisher, hosts: &[SocketAddr]) {
    let deadline = Instant::now() + TIMEOUT;
    let mut missing = hosts.to_vec();
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "not reported: {missing:?}; {:?}", publisher.hosts());
        match publisher.path_change() {
            Some(PathChange::HostUnreachable { host, .. }) => missing.retain(|other| *other != host),
            Some(other) => panic!("{other:?}"),
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn unreachable_hosts_delay_nobody_and_are_counted() {
    let net = Net::new(Family::V4, 3, Impairment::default());
    drop_multicast(&net.switch);
    // Nothing listens on the third subscriber's host, and nobody has the other addresses.
    let mut subscribers = [net.listener(0, any), net.listener(1, any)];
    let dead = [4, 77, 78, 79].map(|last| address(Family::V4, last));
    let hosts = dead.iter().cloned().chain([2, 3].map(|last| address(Family::V4, last)));
    let publisher = net.publisher_to(hosts, |settings| settings);
    let dead: Vec<SocketAddr> = dead.iter().map(Into::into).collect();
    thread::scope(|scope| {
        let receiving: Vec<_> = subscribers
            .iter_mut()
            .map(|subscriber| scope.spawn(|| receive_stream(subscriber, message)))
            .collect();
        assert!(publisher.wait_for(2, TIMEOUT));
        let mut slowest = Duration::ZERO;
        let mut number = 0;
        let mut publish = || {
            let began = Instant::now();
            assert_eq!(publisher.publish(&message(number)).unwrap().0, number);
            slowest = slowest.max(began.elapsed());
            number += 1;
        };
        (0..500).for_each(|_| publish());
        wait_for_unreachable(&publisher, &dead);
        (0..500).for_each(|_| publish());
        assert!(slowest < Duration::from_secs(2), "a call took {slowest:?}");
        let closing = publisher.close(TIMEOUT);
        assert_eq!((closing.complete, &closing.behind[..]), (2, &[][..]), "{closing:?}");
        for one in receiving {
            assert_eq!(one.join().unwrap().messages, 1_000);
        }
    });
    for HostStatus { address, is_reachable, skipped, .. } in publisher.hosts() {
        assert_eq!(
            (is_reachable, skipped > 0),
            (!dead.contains(&address), dead.contains(&address)),
            "{address}"
        );
    }
}

#[test]
fn a_receiver_that_restarts_is_sent_the_stream_again() {
    let net = Net::new(Family::V4, 2, Impairment::default());
    drop_multicast(&net.switch);
    let hosts = [2, 3].map(|last| address(Family::V4, last));
    let publisher = net.publisher_to(hosts.clone(), |settings| settings.eviction(Duration::from_secs(2)));
    let mut constant = net.listener(0, any);
    let mut restarted = net.listener(1, any);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive_stream(&mut constant, message));
        // A subscriber joins while it is used.
        let deadline = Instant::now() + TIMEOUT;
        while !publisher.wait_for(2, Duration::ZERO) {
            assert!(Instant::now() < deadline, "{:?}", publisher.hosts());
            restarted.keep_alive(Duration::from_millis(5)).unwrap();
        }
        (0..100).for_each(|number| _ = publisher.publish(&message(number)).unwrap());
        until_message(&mut restarted, 99);
        drop(restarted);
        // While it is gone, its port is closed, which its host reports.
        let mut number = 100;
        while publisher.hosts().iter().all(|host| host.is_reachable) {
            publisher.publish(&message(number)).unwrap();
            number += 1;
            thread::sleep(Duration::from_millis(1));
        }
        let mut restarted = net.listener(1, |builder| any(builder).start(Start::Oldest));
        // It reads from now on, so that it is not evicted on a busy machine.
        let received = scope.spawn(move || receive_stream(&mut restarted, message));
        let last = number + 200;
        (number..last).for_each(|number| _ = publisher.publish(&message(number)).unwrap());
        let deadline = Instant::now() + TIMEOUT;
        while publisher.hosts().iter().any(|host| !host.is_reachable) {
            assert!(Instant::now() < deadline, "{:?}", publisher.hosts());
            thread::sleep(Duration::from_millis(5));
        }
        assert!(publisher.wait_for(2, TIMEOUT), "{:?}", publisher.hosts());
        let closing = publisher.close(TIMEOUT);
        assert_eq!(closing.behind, [], "{closing:?}");
        assert_eq!(receiving.join().unwrap().messages, last);
        let received = received.join().unwrap();
        assert_eq!((received.first, received.messages), (Some(0), last), "{:?}", received.events);
    });
}

fn until_message(subscriber: &mut Subscriber, last: u64) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match subscriber.next_timeout(left).unwrap() {
            Some(Item::Message(message)) if message.number.0 == last => return,
            None => panic!("message {last} did not arrive: {:?}", subscriber.statistics()),
            _ => {}
        }
    }
}

#[test]
fn the_rate_counts_the_copies_to_all_hosts() {
    const LENGTH: usize = 1_000;
    let net = Net::new(Family::V4, 4, Impairment::default());
    let mut subscribers: Vec<_> = (0..4).map(|number| net.listener(number, any)).collect();
    let hosts = (2..6).map(|last| address(Family::V4, last));
    // 400 KB/s are 100 KB/s for each; 64 KiB may be sent at once.
    let publisher = net.publisher_to(hosts, |settings| settings.rate(400_000));
    thread::scope(|scope| {
        for subscriber in &mut subscribers {
            scope.spawn(|| receive_stream(subscriber, |_| vec![7; LENGTH]));
        }
        assert!(publisher.wait_for(4, TIMEOUT));
        let began = Instant::now();
        (0..200).for_each(|_| _ = publisher.publish(&[7; LENGTH]).unwrap());
        let closing = publisher.close(TIMEOUT);
        assert_eq!(closing.complete, 4, "{closing:?}");
        assert!(began.elapsed() > Duration::from_millis(1_300), "{:?}", began.elapsed());
    });
}

#[test]
fn broadcasts_reach_the_subscribers_of_their_subnet() {
    let lab = Lab::new().unwrap();
    let lans =
        [0, 1].map(|number| lab.switch_with(&format!("lan{number}"), SwitchOptions::default()).unwrap());
    lans.iter().for_each(drop_multicast);
    let publisher_host = lab.host("publisher").unwrap();
    publisher_host.connect("eth0", &lans[0], &["10.0.0.1/24"]).unwrap();
    publisher_host.connect("eth1", &lans[1], &["10.1.0.1/24"]).unwrap();
    let host = |name: &str, lan: usize, last: u8| {
        let host = lab.host(name).unwrap();
        host.connect("eth0", &lans[lan], &[&format!("10.{lan}.0.{last}/24")]).unwrap();
        host
    };
    let (near, both, far) = (host("near", 0, 2), host("both", 0, 3), host("far", 1, 2));
    let listen = |builder: SubscriberBuilder| builder.listen(HostAddr::broadcast(7000)).build().unwrap();
    // Two on one host share the port.
    let mut subscribers: Vec<Subscriber> = [&near, &near, &both]
        .into_iter()
        .map(|host| host.run(|| listen(Subscriber::builder())).unwrap())
        .collect();
    let mut elsewhere = far.run(|| listen(Subscriber::builder())).unwrap();

    let limited = HostAddr::broadcast(7000).on("eth0".parse().unwrap());
    let build = |to: HostAddr| Publisher::builder().broadcast(true).to_host(to).build().unwrap();
    let publisher = publisher_host.run(|| build(limited)).unwrap();
    everything_arrives(&publisher, &mut subscribers, 300);
    assert!(elsewhere.next_timeout(Duration::ZERO).unwrap().is_none(), "{:?}", elsewhere.statistics());

    let publisher = publisher_host.run(|| build("10.1.0.255:7000".parse().unwrap())).unwrap();
    everything_arrives(&publisher, std::slice::from_mut(&mut elsewhere), 300);
}

#[test]
fn a_broadcast_must_be_allowed() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    let publisher =
        net.publisher_to([HostAddr::broadcast(7000).on("eth0".parse().unwrap())], |settings| settings);
    let error = publisher.failure().unwrap();
    assert_eq!(error.kind(), mcast::ErrorKind::Permission);
    assert!(error.to_string().contains("a broadcast address must be allowed"), "{error}");
}

#[test]
fn a_named_stream_with_snapshots_is_found_without_multicast() {
    let net = Net::new(Family::V4, 1, Impairment::default());
    drop_multicast(&net.switch);
    let publisher = net.publisher_to([address(Family::V4, 2)], |settings| settings.announce("prices"));
    let _server = net
        .publisher
        .run(|| {
            let at = SocketAddr::new(publisher.interface_address().unwrap(), 0);
            let capture = || Snapshot { message: MessageNumber(50), bytes: digest(50) };
            publisher.serve_snapshots(at, capture).unwrap()
        })
        .unwrap();
    (0..50).for_each(|number| _ = publisher.publish(&message(number)).unwrap());
    net.subscribers[0].0.run(|| receive_with_snapshot(&publisher)).unwrap();
}

fn receive_with_snapshot(publisher: &Publisher) {
    let found = find_stream("prices", Family::V4, None, &Keys::none(), TIMEOUT).unwrap();
    assert_eq!((found.hosts.len(), found.paths.len()), (1, 0), "{found:?}");
    let mut subscriber = found.subscriber().unwrap().start(Start::Snapshot).build().unwrap();
    let mut snapshots = SnapshotFetcher::new(found, Keys::none());
    let deadline = Instant::now() + TIMEOUT;
    let mut next = None;
    while next != Some(60) {
        assert!(Instant::now() < deadline, "{next:?}");
        if let Some(snapshot) = snapshots.fetched() {
            let snapshot = snapshot.unwrap();
            assert_eq!(snapshot.bytes, digest(50));
            subscriber.resume(snapshot.message);
            next = Some(50);
            (50..60).for_each(|number| _ = publisher.publish(&message(number)).unwrap());
        }
        match subscriber.next_timeout(Duration::from_millis(10)) {
            Ok(Some(Item::Message(one))) => {
                assert_eq!((next, one.bytes), (Some(one.number.0), &message(one.number.0)[..]));
                next = Some(one.number.0 + 1);
            }
            Ok(Some(Item::Event(event))) => snapshots.handle(&event, &subscriber).unwrap(),
            Ok(None) | Err(StreamError::Woken) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(publisher.hosts()[0].is_reachable);
}
