//! Guarantee 6: more groups, sources and interfaces than the kernel allows per socket.

use std::collections::HashSet;

use mcast::{InterfaceSelector, Membership, SourceFilter};

use crate::net::{Net, both_families, next, texts_until};

both_families!(
    twenty_one_groups,
    ten_thousand_groups,
    eleven_sources,
    seventy_excluded_sources,
    twenty_five_interfaces,
    groups_are_joined_and_left_beyond_the_limit,
    groups_that_were_left_take_no_descriptors,
);

fn twenty_one_groups(net: &Net) {
    let memberships: Vec<_> = (0..21).map(|number| net.on("eth0", net.group(number))).collect();
    let receiver = net.joined(&memberships);
    for number in 0..21 {
        net.send("eth0", net.group(number), b"");
        assert_eq!(next(&receiver).arrival.group(), Some(net.group(number)));
    }
}

fn ten_thousand_groups(net: &Net) {
    const GROUPS: u16 = 10_000;
    let memberships: Vec<_> = (0..GROUPS).map(|number| net.on("eth0", net.group(number))).collect();
    let receiver = net.joined(&memberships);
    assert!(receiver.memberships().iter().all(mcast::MembershipStatus::is_joined));

    let sent: Vec<u16> = (0..GROUPS).step_by(97).chain([GROUPS - 1]).collect();
    net.send_with(
        |builder| builder.interface(InterfaceSelector::Name("eth0".into())),
        |sender| sent.iter().for_each(|number| sender.send_to(b"x", net.group(*number)).unwrap()),
    );

    let received: HashSet<_> = sent.iter().map(|_| next(&receiver).arrival.group().unwrap()).collect();
    assert_eq!(received, sent.iter().map(|number| net.group(*number)).collect());
    net.receiver.run(|| receiver.leave(&memberships[97])).unwrap().unwrap();
    net.send("eth0", net.group(97), b"left");
    net.send("eth0", net.group(0), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn eleven_sources(net: &Net) {
    let sources: Vec<_> = (1..=11).map(|number| net.another_source(number)).collect();
    let unwanted = net.another_source(12);
    let filter = SourceFilter::Include(sources.iter().copied().collect());
    let receiver = net.joined(&[net.on("eth0", net.group(1)).from_sources(filter)]);

    for source in &sources {
        net.send_from(unwanted, net.group(1), b"unwanted");
        net.send_from(*source, net.group(1), b"wanted");
        let received = next(&receiver);
        assert_eq!((&*received.text, received.arrival.source.ip()), ("wanted", *source));
    }

    let fewer = SourceFilter::Include(sources[..3].iter().copied().collect());
    let before = receiver.memberships()[0].membership.clone();
    net.receiver.run(|| receiver.set_sources(&before, fewer)).unwrap().unwrap();
    net.send_from(sources[7], net.group(1), b"no longer");
    net.send_from(sources[1], net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn seventy_excluded_sources(net: &Net) {
    let unwanted = net.another_source(70);
    let excluded = (1..70).map(|number| match net.family {
        mcast::Family::V4 => format!("192.0.2.{number}").parse().unwrap(),
        mcast::Family::V6 => format!("2001:db8::{number}").parse().unwrap(),
    });
    let filter = SourceFilter::Exclude(excluded.chain([unwanted]).collect());
    let receiver = net.joined(&[net.on("eth0", net.group(1)).from_sources(filter)]);

    net.send_from(unwanted, net.group(1), b"unwanted");
    net.send("eth0", net.group(1), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
}

fn twenty_five_interfaces(net: &Net) {
    for number in 0..25 {
        let address = format!("10.1.{number}.1/24");
        net.receiver.macvlan(&format!("sub{number}"), "eth1", &[&address]).unwrap();
    }
    let memberships: Vec<_> = (0..25).map(|number| net.on(&format!("sub{number}"), net.group(1))).collect();
    let receiver = net.joined(&memberships);

    net.send("eth0", net.group(1), b"not there");
    net.send("eth1", net.group(1), b"copy");

    let by: HashSet<_> = (0..25)
        .map(|_| {
            let received = next(&receiver);
            assert_eq!(received.text, "copy");
            received.arrival.interface
        })
        .collect();
    assert_eq!(by, (0..25).map(|number| net.index(&net.receiver, &format!("sub{number}"))).collect());
}

fn groups_are_joined_and_left_beyond_the_limit(net: &Net) {
    let receiver = net.joined(&[net.on("eth0", net.group(0))]);
    net.receiver
        .run(|| (1..200).for_each(|number| receiver.join(net.on("eth0", net.group(number))).unwrap()))
        .unwrap();
    for number in [0, 1, 63, 64, 65, 150, 199] {
        net.send("eth0", net.group(number), b"x");
        assert_eq!(next(&receiver).arrival.group(), Some(net.group(number)));
    }

    net.receiver
        .run(|| (0..150).for_each(|number| receiver.leave(&net.on("eth0", net.group(number))).unwrap()))
        .unwrap();
    net.send("eth0", net.group(0), b"left");
    net.send("eth0", net.group(149), b"left");
    net.send("eth0", net.group(150), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    assert_eq!(receiver.memberships().len(), 50);

    let rest: Vec<Membership> = receiver.memberships().into_iter().map(|status| status.membership).collect();
    net.receiver.run(|| rest.iter().for_each(|membership| receiver.leave(membership).unwrap())).unwrap();
    assert_eq!(receiver.memberships().len(), 0);
    let table = if net.family == mcast::Family::V4 { "igmp" } else { "igmp6" };
    let joined = net.receiver.read_proc_net(table).unwrap();
    let ours = if net.family == mcast::Family::V4 { "01EF" } else { "ff150000000000000000000000" };
    assert!(!joined.contains(ours), "{joined}");
}

fn groups_that_were_left_take_no_descriptors(net: &Net) {
    let memberships: Vec<_> = (0..100).map(|number| net.on("eth0", net.group(number))).collect();
    let receiver = net.joined(&memberships);
    let most = receiver.socket_count();
    for membership in &memberships[1..] {
        net.receiver.run(|| receiver.leave(membership)).unwrap().unwrap();
    }
    let last = receiver.socket_count();
    assert!(last <= 2 && last < most, "{last} sockets for one group, {most} for a hundred");
    net.send("eth0", net.group(0), b"end");
    assert_eq!(texts_until(&receiver, "end"), ["end"]);
    net.receiver.run(|| receiver.leave(&memberships[0])).unwrap().unwrap();
    assert_eq!(receiver.socket_count(), 0);
}
