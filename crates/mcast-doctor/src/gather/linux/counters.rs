//! The counters of the IP layer.

/// Parses a table of line pairs (names, then values): `/proc/net/snmp` and `/proc/net/netstat`.
pub(super) fn pairs(table: &str) -> Vec<(String, u64)> {
    let mut counters = Vec::new();
    let mut lines = table.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let Some((prefix, names)) = names.split_once(':') else { continue };
        let Some((_, values)) = values.split_once(':') else { continue };
        let pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        counters
            .extend(pairs.filter_map(|(name, value)| Some((format!("{prefix}{name}"), value.parse().ok()?))));
    }
    counters
}

/// Parses a table with one name and value per line: `/proc/net/snmp6`.
pub(super) fn lines(table: &str) -> Vec<(String, u64)> {
    let counter = |line: &str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    table.lines().filter_map(counter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_formats_use_nstat_names() {
        let read = pairs("Ip: InReceives InDelivers\nIp: 10 9\nIpExt: InMcastPkts\nIpExt: 7\n");
        let named = |name: &str, value| (name.to_owned(), value);
        assert_eq!(read, [named("IpInReceives", 10), named("IpInDelivers", 9), named("IpExtInMcastPkts", 7)]);
        let read = lines("Ip6InReceives                   \t2\nbroken\n");
        assert_eq!(read, [named("Ip6InReceives", 2)]);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(table in "[A-Z:0-9 \\n\\PC]{0,200}") {
            let _ = (pairs(&table), lines(&table));
        }
    }
}
