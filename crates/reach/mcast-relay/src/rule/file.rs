//! Files of rules.

use super::words::without_comment;
use super::{Rule, RuleFileError};

/// Parses a file of rules: one per line; empty lines and what follows a `#` are ignored.
///
/// ```
/// let rules = mcast_relay::parse_rules("# Printers\nmdns between eth0 and eth1 allow ipp\n")?;
/// assert_eq!(rules.len(), 1);
/// # Ok::<(), mcast_relay::RuleFileError>(())
/// ```
///
/// # Errors
/// Returns the first line that is not a valid rule.
pub fn parse_rules(text: &str) -> Result<Vec<Rule>, RuleFileError> {
    let lines = text.lines().map(without_comment).map(str::trim).zip(1..);
    lines
        .filter(|(rule, _)| !rule.is_empty())
        .map(|(rule, line)| rule.parse().map_err(|error| RuleFileError { line, error }))
        .collect()
}
