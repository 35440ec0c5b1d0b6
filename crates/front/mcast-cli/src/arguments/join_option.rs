//! `--join` of the commands that capture: memberships that make switches forward the groups.

use std::convert::Infallible;

use mcast::Membership;
use mcast_terminal::Console;

use super::{Families, read_targets};
use crate::exit::Failure;

/// Groups to join while capturing.
#[derive(Debug, clap::Args)]
pub(crate) struct JoinOption {
    /// Also join the given groups, or with --join=MEMBERSHIP that one, so that switches forward them; repeatable
    #[arg(
        long,
        value_name = "MEMBERSHIP",
        value_parser = parse,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "read"
    )]
    join: Vec<JoinTarget>,
}

#[derive(Clone, Debug)]
enum JoinTarget {
    /// `--join` alone: the groups that the command shows.
    Shown,
    Membership(String),
}

fn parse(text: &str) -> Result<JoinTarget, Infallible> {
    Ok(if text.is_empty() { JoinTarget::Shown } else { JoinTarget::Membership(text.into()) })
}

impl JoinOption {
    pub(crate) fn is_given(&self) -> bool {
        !self.join.is_empty()
    }

    /// Returns what to join, without duplicates. `shown` are the groups that the command shows.
    pub(crate) fn memberships(
        &self,
        shown: &[String],
        families: Families,
        console: &Console,
    ) -> anyhow::Result<Vec<Membership>> {
        let mut texts = Vec::new();
        for target in &self.join {
            match target {
                JoinTarget::Shown if shown.is_empty() => {
                    return Err(Failure::usage("--join needs a group to join")
                        .remedy("name groups or memberships, or write --join=MEMBERSHIP")
                        .into());
                }
                JoinTarget::Shown => texts.extend_from_slice(shown),
                JoinTarget::Membership(text) => texts.push(text.clone()),
            }
        }
        let mut memberships: Vec<Membership> = Vec::new();
        for target in read_targets(&texts, families, console)? {
            for membership in target.memberships()? {
                // Ports do not matter: switches do not know them.
                let key =
                    |each: &Membership| (each.address.group, each.interface.clone(), each.sources.clone());
                if !memberships.iter().any(|known| key(known) == key(&membership)) {
                    memberships.push(membership);
                }
            }
        }
        Ok(memberships)
    }
}
