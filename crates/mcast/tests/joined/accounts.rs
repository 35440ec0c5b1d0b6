//! The sum: what the kernel itself has joined, and that nothing is missing.

use mcast::joined::Holder;

use crate::host::{holdings_of, host_on_two_lans, join, look, sockets_of};

#[test]
fn what_the_kernel_joins_by_itself_is_its_own() {
    let (_lab, host) = host_on_two_lans();

    let snapshot = look(&host);

    for group in ["224.0.0.1", "ff02::1", "ff01::1", "ff02::1:ff00:1"] {
        let holdings: Vec<_> =
            holdings_of(&snapshot, group).into_iter().filter(|held| held.interface_name == "eth0").collect();
        let [holding] = holdings[..] else { panic!("{group}: {snapshot:#?}") };
        assert_eq!(holding.holder, Holder::Kernel, "{group}");
    }
    assert!(snapshot.holdings.iter().all(|holding| holding.holder == Holder::Kernel), "{snapshot:#?}");
}

#[test]
fn a_socket_that_joins_the_kernels_group_stands_beside_it() {
    let (_lab, host) = host_on_two_lans();
    let _receiver = join(&host, ["224.0.0.1%eth0:7000", "[ff02::1%eth0]:7000"]);

    let snapshot = look(&host);

    for group in ["224.0.0.1", "ff02::1"] {
        let holders: Vec<_> = holdings_of(&snapshot, group)
            .into_iter()
            .filter(|held| held.interface_name == "eth0")
            .map(|held| &held.holder)
            .collect();
        assert!(matches!(holders[..], [Holder::Socket(_), Holder::Kernel]), "{holders:#?}");
    }
}

#[test]
fn holdings_stand_in_order() {
    let (_lab, host) = host_on_two_lans();
    let _receivers =
        ["239.1.2.3%eth1:7002", "239.1.2.3%eth0:7001", "239.0.0.1%eth0:7003", "239.1.2.3%eth1:7000"]
            .map(|membership| join(&host, [membership]));

    let snapshot = look(&host);

    let places: Vec<_> = snapshot.holdings.iter().map(|holding| (holding.group, holding.interface)).collect();
    assert!(places.is_sorted());
    assert_eq!(sockets_of(&snapshot, "239.1.2.3").len(), 3);
}
