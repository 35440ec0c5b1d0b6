//! `mcast pick`: a good group for a name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write;

use mcast::group::{PickOptions, Scope, pick};
use mcast::{Family, Group};
use mcast_terminal::Console;
use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::output::write_record;

/// Choose a good group for a name
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, long_about = ABOUT)]
pub(crate) struct Arguments {
    /// The purpose of the group; the same name gives the same group everywhere
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// How far it may reach: local, organization or global; for IPv6 also interface, link, realm,
    /// admin or site
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,

    /// Choose an IPv6 group
    #[arg(short = '6', long = "ipv6", visible_alias = "v6")]
    v6: bool,

    /// Choose a source-specific group, which receivers join with a source
    #[arg(long)]
    ssm: bool,

    /// Avoid this group, which is already in use, and all that share its Ethernet address
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    in_use: Vec<Group>,

    /// Print one JSON object per name
    #[arg(long)]
    json: bool,
}

const ABOUT: &str = "\
Choose a good group for a name

The choice is a hash of the name: the same on every machine and in every version. It avoids groups \
that are registered or in common use, control groups, and groups that share an Ethernet address with \
any of these. (Streaming ACN, the lighting protocol on port 5568, may use nearly all of \
239.255.0.0/16 and is not considered; `mcast explain` reports where it uses a group.) Several names \
get groups that avoid each other.";

const EXAMPLES: &str = "\
Examples:
  mcast pick weather                         one of 239.255.0.0/16, the local scope
  mcast pick weather --scope organization    one of 239.192.0.0/14
  mcast pick weather -6 --scope site       an IPv6 group
  mcast pick weather --ssm                   a source-specific group
  mcast pick weather --in-use 239.255.1.2    another one, if that is in use
  mcast explain $(mcast pick weather)        explain the choice";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let family = if arguments.v6 { Family::V6 } else { Family::V4 };
    let mut options =
        PickOptions { family, source_specific: arguments.ssm, in_use: arguments.in_use.clone() };
    let scope = arguments.scope.unwrap_or_else(|| options.default_scope());
    if arguments.scope.is_none() {
        console.note(format_args!("scope {scope} (--scope chooses another)"));
    }
    let mut out = console.output();
    let mut picked = HashMap::new();
    for name in &arguments.names {
        let group = match picked.entry(name) {
            Entry::Occupied(earlier) => *earlier.get(),
            Entry::Vacant(new) => {
                let group = pick(name, scope, &options).map_err(|error| Failure::usage(error.to_string()))?;
                options.in_use.push(group);
                *new.insert(group)
            }
        };
        if arguments.json {
            write_record(
                &mut out,
                "pick",
                &PickRecord { name, group, scope, source_specific: arguments.ssm },
            )?;
        } else if arguments.names.len() > 1 {
            writeln!(out, "{group} {name}")?;
        } else {
            writeln!(out, "{group}")?;
        }
    }
    out.flush()?;
    Ok(Outcome::Yes)
}

/// One object per name.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct PickRecord<'a> {
    /// Name given on the command line
    name: &'a str,
    /// Group for the name
    #[serde(serialize_with = "crate::output::as_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    group: Group,
    /// Scope of the group
    #[serde(serialize_with = "crate::output::as_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    scope: Scope,
    /// Whether receivers join the group with a source (SSM)
    source_specific: bool,
}

mcast_json::schemas! { pub(super),
    RecordSchema::new::<PickRecord<'_>>("pick", "Group for a purpose (`mcast pick --json`)").event("pick"),
}
