//! The kernel's multicast routing tables.

use std::net::IpAddr;

use crate::snapshot::MulticastRoute;

/// Parses `/proc/net/ip_mr_cache` with the interface names from `/proc/net/ip_mr_vif`.
pub(super) fn parse_v4(cache: &str, interfaces: &str) -> Vec<MulticastRoute> {
    let names = parse_interfaces(interfaces);
    let address = |word: &str| {
        let number = u32::from_str_radix(word, 16).ok().filter(|_| word.len() == 8)?;
        // The kernel prints the big-endian address as a native number.
        Some(IpAddr::from(number.to_ne_bytes()))
    };
    cache.lines().skip(1).filter_map(|line| parse_line(line, &names, address)).collect()
}

/// Parses `/proc/net/ip6_mr_cache` with the interface names from `/proc/net/ip6_mr_vif`.
pub(super) fn parse_v6(cache: &str, interfaces: &str) -> Vec<MulticastRoute> {
    let names = parse_interfaces(interfaces);
    let address = |word: &str| word.parse().ok().filter(IpAddr::is_ipv6);
    cache.lines().skip(1).filter_map(|line| parse_line(line, &names, address)).collect()
}

/// Parses lines `NUMBER NAME …`.
fn parse_interfaces(table: &str) -> Vec<(usize, String)> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    };
    table.lines().skip(1).filter_map(entry).collect()
}

/// Parses a line `GROUP ORIGIN IIF PACKETS BYTES WRONG OIF:TTL…`.
fn parse_line(
    line: &str,
    names: &[(usize, String)],
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Option<MulticastRoute> {
    let name = |number: usize| names.iter().find(|(each, _)| *each == number).map(|(_, name)| name.clone());
    let mut words = line.split_ascii_whitespace();
    let (group, source) = (address(words.next()?)?, address(words.next()?)?);
    let from = words.next()?.parse().ok().and_then(name);
    let packets = words.next()?.parse().ok()?;
    let wrong_interface = words.nth(1)?.parse().ok()?;
    let to = words.filter_map(|word| {
        let (number, threshold) = word.split_once(':')?;
        Some((name(number.parse().ok()?)?, threshold.parse().ok()?))
    });
    Some(MulticastRoute { group, source, from, packets, wrong_interface, to: to.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERFACES: &str = "Interface      BytesIn  PktsIn  BytesOut PktsOut Flags Local    Remote\n \
        0 va             1     1         1       1 00008 00000002 00000000\n \
        1 vb             1     1         1       1 00008 00000003 00000000\n";

    #[test]
    fn routes_are_parsed_with_names_and_thresholds() {
        let word = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
        let cache = format!(
            "Group    Origin   Iif     Pkts    Bytes    Wrong Oifs\n{} {} 0         12      512       10  1:3  \n",
            word([239, 1, 2, 3]),
            word([10, 0, 0, 1])
        );
        let [route] = &parse_v4(&cache, INTERFACES)[..] else { panic!("{cache}") };
        assert_eq!((route.group, route.source), ("239.1.2.3".parse().unwrap(), "10.0.0.1".parse().unwrap()));
        assert_eq!((route.from.as_deref(), route.packets, route.wrong_interface), (Some("va"), 12, 10));
        assert_eq!(route.to, [("vb".to_owned(), 3)]);
    }

    #[test]
    fn ipv6_routes_are_parsed() {
        let cache = "Group                            Origin                           Iif      Pkts  Bytes     Wrong  Oifs\n\
            ff15:0000:0000:0000:0000:0000:0000:0001 fd00:0000:0000:0000:0000:0000:0000:0001 0  5  7 0  1:1\n";
        let [route] = &parse_v6(cache, INTERFACES)[..] else { panic!("{cache}") };
        assert_eq!((route.group, route.packets), ("ff15::1".parse().unwrap(), 5));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(table in "[0-9A-Fa-f:\\s\\PC]{0,200}") {
            let _ = (parse_v4(&table, &table), parse_v6(&table, &table));
        }
    }
}
