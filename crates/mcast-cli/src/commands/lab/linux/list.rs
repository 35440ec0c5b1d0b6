//! The built-in networks.

use std::io::Write;

use mcast_lab::Topology;
use mcast_lab::topology::SHIPPED;
use serde::Serialize;

use super::failure::failed;
use super::source::{names_listed, shipped};
use super::{ListArguments, ShowArguments};
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::output::{text_width, wrap, write_record};

/// A network as JSON.
#[derive(Serialize)]
struct NetworkRecord<'a> {
    name: &'a str,
    description: &'a str,
    hosts: Vec<&'a str>,
}

pub(in super::super) fn list(list: &ListArguments, console: &Console) -> anyhow::Result<Outcome> {
    let mut output = console.output();
    let (heading, dim) = (console.palette().heading, console.palette().dim);
    for (name, text) in SHIPPED {
        let topology = Topology::parse(text).map_err(failed)?;
        let (description, hosts) = (topology.description(), topology.hosts().collect::<Vec<_>>());
        if list.json {
            write_record(&mut output, "network", &NetworkRecord { name, description, hosts })?;
            continue;
        }
        writeln!(output, "{heading}{name}{heading:#}  {dim}{}{dim:#}", hosts.join(", "))?;
        wrap(description, text_width() - 2).iter().try_for_each(|line| writeln!(output, "  {line}"))?;
    }
    output.flush()?;
    Ok(Outcome::Yes)
}

pub(in super::super) fn show(show: &ShowArguments, console: &Console) -> anyhow::Result<Outcome> {
    let Some(text) = shipped(&show.name) else {
        let unknown = Failure::usage(format!("mcast has no built-in network '{}'", show.name));
        return Err(unknown.remedy(format!("the built-in networks are {}", names_listed())).into());
    };
    let mut output = console.output();
    output.write_all(text.as_bytes())?;
    output.flush()?;
    Ok(Outcome::Yes)
}
