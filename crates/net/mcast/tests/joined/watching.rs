//! Watching joins and leaves.

use std::time::{Duration, Instant};

use mcast::joined::{MembershipChange, Watcher};
use mcast::{Membership, Sender, SourceFilter};
use mcast_lab::Host;

use crate::host::{TIMEOUT, host_on_two_lans, join, socket, sources};

/// Watches on the host, calls `happens` once watching has started, and waits for a change that is
/// `wanted`.
fn watch_for(
    host: &Host,
    happens: impl FnOnce() + Send,
    wanted: impl Fn(&MembershipChange) -> bool + Sync,
) -> MembershipChange {
    let watch = || {
        let mut watcher = Watcher::new().unwrap();
        happens();
        let deadline = Instant::now() + TIMEOUT;
        let mut others = Vec::new();
        while let Some(changes) =
            watcher.wait(Some(deadline.saturating_duration_since(Instant::now()))).unwrap()
        {
            if let Some(found) = changes.iter().find(|change| wanted(change)) {
                return found.clone();
            }
            others.extend(changes);
        }
        panic!("the change was not reported, but these were: {others:#?}");
    };
    host.run(watch).unwrap()
}

fn group_of(change: &MembershipChange) -> String {
    match change {
        MembershipChange::Joined(holding)
        | MembershipChange::Left(holding)
        | MembershipChange::Changed { now: holding, .. } => holding.group.to_string(),
        _ => String::new(),
    }
}

#[test]
fn joins_and_leaves_are_reported() {
    let (_lab, host) = host_on_two_lans();
    let receiver = join(&host, ["239.0.0.1%eth0:7000"]);
    for group in ["239.1.2.3%eth0:7000", "[ff15::1%eth0]:7000"] {
        let membership: Membership = group.parse().unwrap();
        let is_group = |change: &MembershipChange| group_of(change) == membership.address.group.to_string();

        let change = watch_for(&host, || receiver.join(membership.clone()).unwrap(), is_group);
        assert!(
            matches!(&change, MembershipChange::Joined(holding) if socket(&holding.holder).is_some()),
            "{change:?}"
        );

        let change = watch_for(&host, || receiver.leave(&membership).unwrap(), is_group);
        assert!(matches!(change, MembershipChange::Left(_)), "{change:?}");
    }
}

/// No notice reports it, because the interface's own membership does not change.
#[test]
fn a_second_socket_for_the_same_group_is_reported() {
    let (_lab, host) = host_on_two_lans();
    let _first = join(&host, ["239.1.2.3%eth0:7000"]);
    let mut second = None;
    let change = watch_for(
        &host,
        || second = Some(join(&host, ["239.1.2.3%eth0:7001"])),
        |change| group_of(change) == "239.1.2.3",
    );
    let MembershipChange::Joined(holding) = change else { panic!("{change:?}") };
    assert_eq!(socket(&holding.holder).unwrap().socket.port(), Some(7001));
}

#[test]
fn changed_sources_are_reported_before_and_after() {
    let (_lab, host) = host_on_two_lans();
    let membership: Membership = "10.0.0.7@232.1.2.3%eth0:7000".parse().unwrap();
    let receiver = join(&host, ["10.0.0.7@232.1.2.3%eth0:7000"]);
    let more = SourceFilter::Include(sources(["10.0.0.7", "10.0.0.8"]));

    let change = watch_for(
        &host,
        || receiver.set_sources(&membership, more.clone()).unwrap(),
        |change| group_of(change) == "232.1.2.3",
    );

    let MembershipChange::Changed { before, now } = change else { panic!("{change:?}") };
    let filter = |holder| socket(holder).unwrap().filter.clone();
    assert_eq!(filter(&before.holder), SourceFilter::Include(sources(["10.0.0.7"])));
    assert_eq!(filter(&now.holder), more);
}

#[test]
fn growing_drops_are_reported() {
    let (_lab, host) = host_on_two_lans();
    let receiver = host
        .run(|| {
            let membership = "239.1.2.3%eth0:7000".parse().unwrap();
            mcast::Receiver::builder().join(membership).receive_buffer(4096).build().unwrap()
        })
        .unwrap();
    let sender = host.run(|| Sender::to("239.1.2.3%eth0:7000".parse().unwrap()).unwrap()).unwrap();
    let change = watch_for(
        &host,
        || (0..200).for_each(|_| sender.send(&[0; 1000]).unwrap()),
        |change| matches!(change, MembershipChange::Changed { now, .. } if socket(&now.holder).is_some_and(|holder| holder.socket.drops > Some(0))),
    );
    assert_eq!(group_of(&change), "239.1.2.3");
    drop(receiver);
}

#[test]
fn nothing_is_reported_while_nothing_happens() {
    let (_lab, host) = host_on_two_lans();
    let changes = host
        .run(|| {
            let mut watcher = Watcher::new().unwrap();
            // First wait until the interfaces' own memberships are complete.
            while watcher.wait(Some(Duration::from_millis(1500))).unwrap().is_some() {}
            watcher.wait(Some(Duration::from_millis(100))).unwrap()
        })
        .unwrap();
    assert_eq!(changes, None);
}
