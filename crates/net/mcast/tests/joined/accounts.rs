//! The number of holders: the kernel's own memberships, and none missing.

use mcast::joined::Holder;

use crate::host::{holdings_of, host_on_two_lans, join, sockets_of, survey};

#[test]
fn the_groups_that_the_kernel_joins_are_its_own() {
    let (_lab, host) = host_on_two_lans();

    let memberships = survey(&host);

    for group in ["224.0.0.1", "ff02::1", "ff01::1", "ff02::1:ff00:1"] {
        let holdings: Vec<_> = holdings_of(&memberships, group)
            .into_iter()
            .filter(|holding| holding.interface_name == "eth0")
            .collect();
        let [holding] = holdings[..] else { panic!("{group}: {memberships:#?}") };
        assert_eq!(holding.holder, Holder::Kernel, "{group}");
    }
    assert!(memberships.holdings.iter().all(|holding| holding.holder == Holder::Kernel), "{memberships:#?}");
}

#[test]
fn a_socket_that_joins_the_kernels_group_is_listed_beside_it() {
    let (_lab, host) = host_on_two_lans();
    let _receiver = join(&host, ["224.0.0.1%eth0:7000", "[ff02::1%eth0]:7000"]);

    let memberships = survey(&host);

    for group in ["224.0.0.1", "ff02::1"] {
        let holders: Vec<_> = holdings_of(&memberships, group)
            .into_iter()
            .filter(|holding| holding.interface_name == "eth0")
            .map(|holding| &holding.holder)
            .collect();
        assert!(matches!(holders[..], [Holder::Socket(_), Holder::Kernel]), "{holders:#?}");
    }
}

#[test]
fn holdings_are_sorted() {
    let (_lab, host) = host_on_two_lans();
    let _receivers =
        ["239.1.2.3%eth1:7002", "239.1.2.3%eth0:7001", "239.0.0.1%eth0:7003", "239.1.2.3%eth1:7000"]
            .map(|membership| join(&host, [membership]));

    let memberships = survey(&host);

    let keys: Vec<_> =
        memberships.holdings.iter().map(|holding| (holding.group, holding.interface)).collect();
    assert!(keys.is_sorted());
    assert_eq!(sockets_of(&memberships, "239.1.2.3").len(), 3);
}
