//! The table of memberships.

use mcast::joined::{Holder, Holding, SocketHolder};

use super::text::{name, other_holder, processes, remarks, sources};
use crate::console::Console;
use crate::output::{Cell, Palette, Table, count};

/// Longer names are cut without `-v`.
const NAME_WIDTH: usize = 24;

pub(super) fn table(holdings: &[&Holding], console: &Console) -> Table {
    let palette = console.palette();
    let titles =
        ["group", "name", "interface", "version", "sources", "process", "port", "buffer", "drops", "note"];
    let mut table = Table::new(&titles, palette.heading);
    for holding in holdings {
        let (group, interface) = (holding.group.to_string(), &holding.interface_name);
        let head = [
            Cell::new(group).style(palette.group),
            Cell::new(shown_name(holding, console.is_verbose())).style(palette.dim),
            Cell::new(interface).style(palette.interface),
            Cell::new(holding.version.map_or_else(|| "?".into(), |version| version.to_string())),
        ];
        let rest = match &holding.holder {
            Holder::Socket(held) => socket(holding, held, console.is_verbose(), palette),
            holder => other(holder, palette),
        };
        table.row(head.into_iter().chain(rest));
    }
    table
}

fn socket(holding: &Holding, held: &SocketHolder, more: bool, palette: &Palette) -> Vec<Cell> {
    let socket = &held.socket;
    let drops = socket.drops.unwrap_or(0);
    let drops_style = if drops > 0 { palette.bad } else { palette.dim };
    vec![
        Cell::of_lines(sources(&held.filter)).style(palette.address),
        Cell::of_lines(processes(socket)),
        Cell::new(socket.port().map(|port| port.to_string()).unwrap_or_default()).right(),
        Cell::new(count(socket.receive_buffer as u64)).right(),
        Cell::new(socket.drops.map(|drops| count(drops.into())).unwrap_or_default())
            .right()
            .style(drops_style),
        Cell::of_lines(remarks(holding, held, more)).style(palette.warning),
    ]
}

fn other(holder: &Holder, palette: &Palette) -> Vec<Cell> {
    let style = if *holder == Holder::Kernel { palette.dim } else { palette.warning };
    vec![Cell::default(), Cell::new(other_holder(holder)).style(style)]
}

fn shown_name(holding: &Holding, whole: bool) -> String {
    let name = name(holding).unwrap_or_default();
    if whole || name.chars().count() <= NAME_WIDTH {
        return name.to_owned();
    }
    let cut: String = name.chars().take(NAME_WIDTH - 1).collect();
    format!("{}…", cut.trim_end())
}
