//! The short names of groups.

use std::io;

use mcast::Group;
use mcast::group::WellKnown;
use serde::Serialize;

use crate::console::{Console, Output};
use crate::output::{Cell, Table, as_text, write_record};

/// Lists the names, one row or object per group.
pub(super) fn list(json: bool, console: &Console, out: &mut Output) -> io::Result<()> {
    if json {
        return WellKnown::all()
            .iter()
            .try_for_each(|known| write_record(out, "name", &NameRecord::new(known)));
    }
    let palette = console.palette();
    let mut table = Table::new(&["name", "group", "ports", "reference"], palette.heading);
    for known in WellKnown::all() {
        let ports: Vec<String> = known.ports.iter().map(ToString::to_string).collect();
        table.row([
            Cell::new(known.name).style(palette.group),
            Cell::new(known.group.to_string()),
            Cell::new(ports.join(", ")),
            Cell::new(known.reference.to_string()).style(palette.dim),
        ]);
    }
    table.write(out)
}

/// A group and its name as JSON: `schemas/name.json`.
#[derive(Serialize)]
struct NameRecord {
    name: &'static str,
    #[serde(serialize_with = "as_text")]
    group: Group,
    ports: &'static [u16],
    hop_limit: Option<u8>,
    reference: String,
}

impl NameRecord {
    fn new(known: &WellKnown) -> Self {
        let WellKnown { name, group, ports, hop_limit, reference, .. } = *known;
        Self { name, group, ports, hop_limit, reference: reference.to_string() }
    }
}
