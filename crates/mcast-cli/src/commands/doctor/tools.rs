//! Selects the remedies whose programs are installed on this machine.

use std::env;
use std::path::Path;

use mcast_doctor::{Persistence, Remedy, Tool};

/// Returns the remedies for this machine: those whose programs are installed, or all of a kind if none is.
pub(super) fn for_here(remedies: &[Remedy]) -> Vec<&Remedy> {
    let mut chosen = Vec::new();
    for lasts in [Persistence::Now, Persistence::ForGood] {
        let all =
            || remedies.iter().filter(|remedy| remedy.persistence == lasts && !remedy.actions().is_empty());
        let here: Vec<_> = all().filter(|remedy| is_here(remedy.tool)).collect();
        if here.is_empty() { chosen.extend(all()) } else { chosen.extend(here) }
    }
    chosen.extend(remedies.iter().filter(|remedy| remedy.actions().is_empty()));
    chosen
}

/// Returns whether a remedy is a command that changes this machine, and its program is installed.
pub(super) fn is_applicable(remedy: &Remedy) -> bool {
    let changes_this_machine =
        !matches!(remedy.tool, Tool::Mcast | Tool::Program | Tool::Network | Tool::Container);
    !remedy.actions().is_empty() && changes_this_machine && is_here(remedy.tool)
}

fn is_here(tool: Tool) -> bool {
    match tool {
        Tool::Mcast => true,
        Tool::Netsh => is_installed("netsh.exe"),
        other => other.program().is_none_or(is_installed),
    }
}

fn is_installed(program: &str) -> bool {
    // Also in folders that are not in the PATH of ordinary users: root runs the remedies.
    let folders = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Path::new);
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
        || usual.iter().any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This program accepts its own commands that the doctor suggests, in both families.
    #[test]
    fn suggested_commands_of_mcast_are_accepted() {
        for (to, source) in [("239.1.2.3:5000", "10.0.0.7"), ("[ff15::1234]:5000", "fd00::7")] {
            let sources = [source.parse().unwrap(), source.parse().unwrap()];
            for words in mcast_doctor::suggestions(to.parse().unwrap(), &sources, "eth0") {
                let line = ["mcast".to_owned()].into_iter().chain(words.clone()).map(Into::into);
                assert!(crate::cli::parse(line).is_ok(), "{words:?}");
                for group in words.iter().filter(|word| word.ends_with(":5000")) {
                    group.parse::<mcast::Membership>().unwrap();
                }
            }
        }
    }

    #[test]
    fn remedies_of_missing_programs_are_omitted_unless_all_are_missing() {
        let now = |tool| Remedy::now(tool, ["x"]);
        let (missing, there) = (now(Tool::Netsh), now(Tool::Container));
        let advice = Remedy::advice(Tool::Network, "y");
        assert!(!is_installed("netsh.exe"));

        let chosen = [missing.clone(), there.clone(), advice.clone()];
        assert_eq!(for_here(&chosen), [&there, &advice]);
        assert_eq!(for_here(std::slice::from_ref(&missing)), [&missing]);
        assert!(!is_applicable(&missing) && !is_applicable(&there) && !is_applicable(&advice));
    }
}
