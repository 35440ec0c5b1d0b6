//! Output of `sysctl NAME…` on macOS and FreeBSD.

/// Parses lines `NAME: VALUE`. Errors about unknown names go to standard error and are not part of it.
pub(crate) fn settings(output: &str) -> Vec<(String, String)> {
    let setting = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    output.lines().filter_map(setting).collect()
}

/// Returns whether the macOS application firewall is on, from `socketfilterfw --getglobalstate`.
pub(crate) fn is_firewall_on(output: &str) -> bool {
    output.contains("(State = 1)") || output.contains("(State = 2)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_firewall_state_are_parsed() {
        let read = settings("net.inet.igmp.default_version: 3\nkern.ipc.maxsockbuf: 8388608\nnothing\n");
        let expected = [("net.inet.igmp.default_version", "3"), ("kern.ipc.maxsockbuf", "8388608")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(is_firewall_on("Firewall is enabled. (State = 1)\n"));
        assert!(!is_firewall_on("Firewall is disabled. (State = 0)\n"));
    }
}
