//! Which remedies can be had here: those whose program is there.

use std::env;
use std::path::Path;

use mcast_doctor::{Lasts, Remedy, Tool};

/// The remedies for this machine: those of programs that it has, or all of a kind where it has none.
pub(super) fn for_here(remedies: &[Remedy]) -> Vec<&Remedy> {
    let mut chosen = Vec::new();
    for lasts in [Lasts::Now, Lasts::ForGood] {
        let all = || remedies.iter().filter(|remedy| remedy.lasts == lasts && remedy.command().is_some());
        let here: Vec<_> = all().filter(|remedy| is_here(remedy.tool)).collect();
        if here.is_empty() { chosen.extend(all()) } else { chosen.extend(here) }
    }
    chosen.extend(remedies.iter().filter(|remedy| remedy.command().is_none()));
    chosen
}

/// Whether a command can change this machine by itself, and its program is there.
pub(super) fn is_applicable(remedy: &Remedy) -> bool {
    let changes_this_machine =
        !matches!(remedy.tool, Tool::Mcast | Tool::Program | Tool::Network | Tool::Container);
    remedy.command().is_some() && changes_this_machine && is_here(remedy.tool)
}

fn is_here(tool: Tool) -> bool {
    program_of(tool).is_none_or(is_installed)
}

/// The program that says whether the tool is there; `None` where there is no question.
fn program_of(tool: Tool) -> Option<&'static str> {
    Some(match tool {
        Tool::Sysctl => "sysctl",
        Tool::Ip => "ip",
        Tool::Tc => "tc",
        Tool::Bridge => "bridge",
        Tool::Ethtool => "ethtool",
        Tool::Nft => "nft",
        Tool::Firewalld => "firewall-cmd",
        Tool::Ufw => "ufw",
        Tool::Networkd => "networkctl",
        Tool::NetworkManager => "nmcli",
        Tool::Route => "route",
        Tool::Ifconfig => "ifconfig",
        Tool::Netsh => "netsh.exe",
        _ => return None,
    })
}

fn is_installed(program: &str) -> bool {
    // Where ordinary users look and where they don't: what helps is run by root.
    let folders = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Path::new);
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
        || usual.iter().any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_left_out_unless_nothing_is() {
        let now = |tool| Remedy::now(tool, "x");
        let (missing, there) = (now(Tool::Netsh), now(Tool::Container));
        let advice = Remedy::advice(Tool::Network, "y");
        assert!(!is_installed("netsh.exe"));

        let chosen = [missing.clone(), there.clone(), advice.clone()];
        assert_eq!(for_here(&chosen), [&there, &advice]);
        assert_eq!(for_here(std::slice::from_ref(&missing)), [&missing]);
        assert!(!is_applicable(&missing) && !is_applicable(&there) && !is_applicable(&advice));
    }
}
