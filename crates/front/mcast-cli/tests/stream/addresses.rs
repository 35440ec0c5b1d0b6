//! A publisher whose interface has no usable address yet.

use crate::support::{Lan, eventually, program};
use crate::{publisher, subscriber};

/// The only address is not ready yet in the second after the link came up.
#[test]
fn a_publisher_waits_for_the_ipv6_address_of_a_link_that_has_just_come_up() {
    let lan = Lan::new();
    let subscribing = subscriber(&lan.b, &["[ff15::1:3]:7000"]);
    let shell = |script: &str| program(&lan.a, "sh", &["-c", script], false).end().succeeded();
    shell(
        "for each in all eth0; do echo 1 > /proc/sys/net/ipv6/conf/$each/accept_dad; done; \
         ip link set eth0 down; ip link set eth0 up",
    );
    eventually("an address", || !shell("ip -6 -o address show dev eth0 scope link").text().is_empty());
    let ended = publisher(&lan.a, &["[ff15::1:3]:7000", "--wait-for", "1", "hello"]).end().succeeded();
    assert!(ended.stderr.contains("waiting for the IPv6 address of eth0"), "{ended:?}");
    assert_eq!(subscribing.end().succeeded().text(), "hello\n");
}
