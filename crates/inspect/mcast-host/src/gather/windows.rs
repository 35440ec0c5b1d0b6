//! Windows: what `netsh` reports in English; output in other languages is ignored.

use crate::snapshot::HostSnapshot;

/// Returns what `netsh` reports, which `run` runs with its arguments; everything else is empty.
pub(super) fn query(run: impl Fn(&str, &[&str]) -> String) -> HostSnapshot {
    HostSnapshot {
        firewall: blocking_profile(&run("netsh", &["advfirewall", "show", "currentprofile"])),
        settings: igmp(&run("netsh", &["interface", "ipv4", "show", "global"])).into_iter().collect(),
        ..HostSnapshot::default()
    }
}

/// Returns the active profile and its policy, if the firewall is on and blocks by default, from
/// `netsh advfirewall show currentprofile`.
fn blocking_profile(output: &str) -> Option<String> {
    let profile = output.lines().find_map(|line| line.trim().strip_suffix("Profile Settings:"))?.trim();
    let value = |name: &str| output.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let on = value("State")? == "ON";
    let policy = value("Firewall Policy")?;
    let blocks = policy.split(',').any(|word| word.trim().starts_with("BlockInbound"));
    (on && blocks).then(|| format!("profile {profile}: {policy}"))
}

/// Returns the level and version of IGMP from `netsh interface ipv4 show global`, which calls them MLD in
/// both families.
fn igmp(output: &str) -> Vec<(String, String)> {
    let setting = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let key = match name.trim() {
            "MLD Level" => "netsh.ipv4.mldlevel",
            "MLD Version" => "netsh.ipv4.mldversion",
            _ => return None,
        };
        Some((key.to_owned(), value.trim().trim_start_matches("version").to_owned()))
    };
    output.lines().filter_map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\r\nPublic Profile Settings: \r\n------------------------------\r\n\
        State                                 ON\r\n\
        Firewall Policy                       BlockInbound,AllowOutbound\r\n\
        LocalFirewallRules                    N/A (GPO-store only)\r\n";
    const GLOBAL: &str = "General Global Parameters\r\nDefault Hop Limit                     : 128 hops\r\n\
        MLD Level                             : all\r\nMLD Version                           : version2\r\n";

    fn machine(profile: &str) -> HostSnapshot {
        query(|_, arguments| if arguments[0] == "advfirewall" { profile } else { GLOBAL }.to_owned())
    }

    #[test]
    fn blocking_firewall_is_parsed() {
        let firewall = machine(PROFILE).firewall;
        assert_eq!(firewall.as_deref(), Some("profile Public: BlockInbound,AllowOutbound"));
        assert_eq!(machine(&PROFILE.replace("ON", "OFF")).firewall, None);
        assert_eq!(machine(&PROFILE.replace("BlockInbound", "AllowInbound")).firewall, None);
        assert_eq!(machine("Einstellungen").firewall, None);
    }

    #[test]
    fn igmp_version_is_parsed() {
        let settings = machine(PROFILE).settings;
        let expected = [("netsh.ipv4.mldlevel", "all"), ("netsh.ipv4.mldversion", "2")];
        assert_eq!(settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
