//! The rules of the stream protocol, the relay, tunnels, bridges and the log, and how to break each.

mod bridge;
mod composed;
mod log;
mod relay;
mod stream;

use super::package::Package;

/// A rule of a state machine.
pub(super) struct Rule {
    /// The rule.
    pub(super) name: &'static str,
    /// The package that implements it.
    pub(super) package: &'static Package,
    /// The code that implements it, which is found in the sources of the package by its shape and its names.
    pub(super) code: &'static str,
    /// The replacement that breaks it.
    pub(super) broken: &'static str,
}

impl Package {
    /// Returns a rule of this package.
    const fn rule(&'static self, name: &'static str, code: &'static str, broken: &'static str) -> Rule {
        Rule { name, package: self, code, broken }
    }
}

/// Returns all rules.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    [composed::RULES, stream::RULES, relay::RULES, bridge::RULES, log::RULES].into_iter().flatten()
}
