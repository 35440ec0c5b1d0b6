//! Volumes by flow as text.

use std::hash::Hash;

use mcast_terminal::Console;
use mcast_watch::FlowVolumes;

use crate::output::{Cell, Palette, Table, count, count_of};

/// Flows shown in a summary without `-v`.
const SHOWN: usize = 20;

/// Returns the busiest flows as a table. `unit` is what is counted, such as "packet"; `name` returns the group,
/// interface and source of a flow.
pub(crate) fn flow_table<F: Copy + Eq + Hash + Ord>(
    flows: &FlowVolumes<F>,
    unit: &str,
    console: &Console,
    mut name: impl FnMut(&F) -> [String; 3],
) -> String {
    let Palette { heading, group, interface, address, .. } = *console.palette_for_notes();
    let units = format!("{unit}s");
    let mut table = Table::new(&["  group", "interface", "source", &units, "bytes"], heading);
    let busiest = flows.busiest_first();
    let shown = if console.is_verbose() { busiest.len() } else { SHOWN };
    for (flow, volume) in busiest.iter().take(shown) {
        let [group_text, interface_text, source] = name(flow);
        table.row([
            Cell::new(format!("  {group_text}")).style(group),
            Cell::new(interface_text).style(interface),
            Cell::new(source).style(address),
            Cell::new(count(volume.count)).right(),
            Cell::new(count(volume.bytes)).right(),
        ]);
    }
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = table.write(&mut text);
    let mut text = String::from_utf8_lossy(&text).trim_end().to_owned();
    if busiest.len() > shown {
        text += &format!("\n  and {} more (-v shows them)", count((busiest.len() - shown) as u64));
    }
    if flows.others().count > 0 {
        text += &format!("\n  and {} from further sources", count_of(flows.others().count, unit));
    }
    text
}
