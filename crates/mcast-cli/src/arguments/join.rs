//! `--join`, as the commands that capture have it: memberships that are held so that switches forward the groups.

use std::convert::Infallible;

use mcast::Membership;

use super::{Families, read_targets};
use crate::console::Console;
use crate::exit::Failure;

/// Groups to join while capturing.
#[derive(Debug, clap::Args)]
pub(crate) struct Join {
    /// Also join the groups given, or with `=` this membership, so that switches forward them; repeatable
    #[arg(
        long,
        value_name = "MEMBERSHIP",
        value_parser = parse,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "read"
    )]
    join: Vec<Wish>,
}

#[derive(Clone, Debug)]
enum Wish {
    /// What the command was given to look at.
    Given,
    Membership(String),
}

fn parse(text: &str) -> Result<Wish, Infallible> {
    Ok(if text.is_empty() { Wish::Given } else { Wish::Membership(text.into()) })
}

impl Join {
    pub(crate) fn is_wanted(&self) -> bool {
        !self.join.is_empty()
    }

    /// What to join, each once; `given` is what the command was given to look at.
    pub(crate) fn memberships(
        &self,
        given: &[String],
        families: Families,
        console: &Console,
    ) -> anyhow::Result<Vec<Membership>> {
        let mut texts = Vec::new();
        for wish in &self.join {
            match wish {
                Wish::Given if given.is_empty() => {
                    return Err(Failure::usage("--join needs a group to join")
                        .remedy("name groups or memberships, or write --join=MEMBERSHIP")
                        .into());
                }
                Wish::Given => texts.extend_from_slice(given),
                Wish::Membership(text) => texts.push(text.clone()),
            }
        }
        let mut memberships: Vec<Membership> = Vec::new();
        for target in read_targets(&texts, families, console)? {
            for membership in target.memberships()? {
                // Whatever the port: switches do not know it.
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
