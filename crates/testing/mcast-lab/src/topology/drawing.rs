//! A picture of a network.

use super::{PlannedHost, Topology};
use crate::drawing::{Anchor, Drawing, Ink};
use crate::{CidrAddress, Impairment, SwitchOptions};

/// The width of the place of a host, and of its box.
const PLACE: f64 = 190.0;
const BOX: f64 = 174.0;
const MARGIN: f64 = 12.0;
/// The height of a line in a box, and of a switch.
const LINE: f64 = 17.0;
const SWITCH: f64 = 40.0;
/// Between hosts and switches.
const CABLE: f64 = 42.0;
/// Of more switches, the order of the file is kept.
const MOST_ORDERED: usize = 6;

/// A host with the middle of its box.
struct Placed<'a> {
    host: &'a PlannedHost,
    middle: f64,
    lines: Vec<String>,
}

impl Topology {
    /// Draws the network as SVG: switches in a row, hosts of one switch below it, hosts of several above them, and cables between hosts.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let order = self.order();
        let mut left = MARGIN;
        let bars: Vec<(usize, f64, f64)> = order
            .iter()
            .map(|index| {
                let width = PLACE * self.below(&self.switches[*index].0).count().max(1) as f64;
                left += width;
                (*index, left - width, width)
            })
            .collect();
        let middle = |name: &str| {
            let bar = bars.iter().find(|(index, ..)| self.switches[*index].0 == name);
            bar.map(|(_, left, width)| left + width / 2.0)
        };
        let mut upper = self.upper(&middle);
        let unattached = self.hosts.iter().filter(|host| host.interfaces.is_empty());
        let right = upper.last().map_or(MARGIN, |last| last.middle + PLACE / 2.0).max(MARGIN);
        upper.extend(unattached.zip(0..).map(|(host, number)| {
            // A cable between hosts needs room for what it does.
            let middle = PLACE.mul_add(0.5 + 1.6 * f64::from(number), right);
            Placed { host, middle, lines: self.lines(host) }
        }));
        let width = upper.iter().map(|placed| placed.middle + PLACE / 2.0).fold(left, f64::max) + MARGIN;
        let tallest = |lines: &mut dyn Iterator<Item = usize>| lines.max().map_or(0.0, box_height);
        let bar_top = match tallest(&mut upper.iter().map(|placed| placed.lines.len())) {
            0.0 => MARGIN,
            height => MARGIN + height + if bars.is_empty() { 0.0 } else { CABLE },
        };
        let host_top = bar_top + if bars.is_empty() { 0.0 } else { SWITCH + CABLE };
        let mut drawing = Drawing::default();
        for placed in &upper {
            let bottom = MARGIN + box_height(placed.lines.len());
            for interface in &placed.host.interfaces {
                let Some(to) = middle(&interface.switch) else { continue };
                let from = placed.middle + (to - placed.middle).clamp(-BOX / 2.5, BOX / 2.5);
                let x = to + (placed.middle - to).clamp(-PLACE / 3.0, PLACE / 3.0);
                cable(&mut drawing, ((from, bottom), (x, bar_top)), interface.impairment.as_ref());
            }
            draw(&mut drawing, placed, MARGIN);
        }
        for link in &self.links {
            let place = |end: &super::PlannedEnd| upper.iter().find(|placed| placed.host.name == end.host);
            let [Some(one), Some(other)] = link.ends.each_ref().map(place) else { continue };
            let y = MARGIN + box_height(one.lines.len()) / 2.0;
            let ends = ((one.middle + BOX / 2.0, y), (other.middle - BOX / 2.0, y));
            cable(&mut drawing, ends, link.impairment.as_ref());
        }
        for (index, left, width) in &bars {
            let (name, options) = &self.switches[*index];
            let size = (width - PLACE + BOX, SWITCH);
            let lines = [name.as_str(), of_switch(options)];
            let lines = if lines[1].is_empty() { &lines[..1] } else { &lines[..] };
            drawing.labelled_box((left + (PLACE - BOX) / 2.0, bar_top), size, Ink::Good, lines);
            for (number, host) in self.below(name).enumerate() {
                let middle = PLACE.mul_add(number as f64 + 0.5, *left);
                let ends = ((middle, bar_top + SWITCH), (middle, host_top));
                cable(&mut drawing, ends, host.interfaces.iter().find_map(|it| it.impairment.as_ref()));
                draw(&mut drawing, &Placed { host, middle, lines: self.lines(host) }, host_top);
            }
        }
        for trunk in &self.trunks {
            if let [Some(one), Some(other)] = trunk.each_ref().map(|name| middle(name)) {
                let y = bar_top + SWITCH / 2.0;
                drawing.line_with(
                    (one, y),
                    (other, y),
                    "bar",
                    " stroke-width=\"3\" stroke-dasharray=\"6 4\"",
                );
            }
        }
        let lower =
            self.hosts.iter().filter(|host| self.switches.iter().any(|(name, _)| is_only_on(host, name)));
        let height = match tallest(&mut lower.map(|host| self.lines(host).len())) {
            0.0 if bars.is_empty() => bar_top + MARGIN,
            0.0 => bar_top + SWITCH + MARGIN,
            height => host_top + height + MARGIN,
        };
        drawing.to_svg(&self.description, (width, height))
    }

    /// Returns the hosts that are only on this switch.
    fn below<'a>(&'a self, switch: &'a str) -> impl Iterator<Item = &'a PlannedHost> {
        self.hosts.iter().filter(move |host| is_only_on(host, switch))
    }

    /// Places the hosts of several switches above these, side by side.
    fn upper(&self, middle: &dyn Fn(&str) -> Option<f64>) -> Vec<Placed<'_>> {
        let is_upper =
            |host: &&PlannedHost| host.interfaces.first().is_some_and(|one| !is_only_on(host, &one.switch));
        let place = |host: &'_ PlannedHost| {
            let middles: Vec<f64> = host.interfaces.iter().filter_map(|it| middle(&it.switch)).collect();
            middles.iter().sum::<f64>() / middles.len().max(1) as f64
        };
        let mut placed: Vec<_> = self
            .hosts
            .iter()
            .filter(is_upper)
            .map(|host| Placed { host, middle: place(host), lines: self.lines(host) })
            .collect();
        placed.sort_by(|one, other| one.middle.total_cmp(&other.middle));
        let mut free = MARGIN;
        for each in &mut placed {
            each.middle = each.middle.max(free + PLACE / 2.0);
            free = each.middle + PLACE / 2.0;
        }
        placed
    }

    /// Returns the order of switches in which hosts of several switches have the shortest cables.
    fn order(&self) -> Vec<usize> {
        let in_file: Vec<usize> = (0..self.switches.len()).collect();
        if in_file.len() > MOST_ORDERED {
            return in_file;
        }
        let length = |order: &[usize]| -> usize {
            let place = |name: &str| order.iter().position(|index| self.switches[*index].0 == name);
            let span = |host: &PlannedHost| {
                let places: Vec<_> = host.interfaces.iter().filter_map(|it| place(&it.switch)).collect();
                places.iter().max().zip(places.iter().min()).map_or(0, |(last, first)| last - first)
            };
            self.hosts.iter().map(span).sum()
        };
        let mut orders = vec![Vec::new()];
        for index in &in_file {
            let with = |order: &Vec<usize>| {
                let order = order.clone();
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, *index);
                    longer
                })
            };
            orders = orders.iter().flat_map(with).collect();
        }
        // Of several, the one that is nearest to the file.
        orders.into_iter().min_by_key(|order| (length(order), order.clone())).unwrap_or(in_file)
    }

    /// Returns what the box of a host says: its name, its addresses, and what it runs.
    fn lines(&self, host: &PlannedHost) -> Vec<String> {
        let mut lines = vec![host.name.clone()];
        for interface in &host.interfaces {
            lines.push(interface_line(&interface.name, &interface.addresses));
        }
        for end in self.links.iter().flat_map(|link| &link.ends).filter(|end| end.host == host.name) {
            lines.push(interface_line(&end.interface, &end.addresses));
        }
        let mut commands = Vec::new();
        for program in self.programs.iter().filter(|program| program.host == host.name) {
            let Some((_, rest)) = program.command.rsplit_once("mcast ") else { continue };
            let command = rest.split_whitespace().next().unwrap_or_default().to_owned();
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        if !commands.is_empty() {
            lines.push(format!("mcast {}", commands.join(", ")));
        }
        lines
    }
}

/// Whether all interfaces of a host are on this switch.
fn is_only_on(host: &PlannedHost, switch: &str) -> bool {
    !host.interfaces.is_empty() && host.interfaces.iter().all(|interface| interface.switch == switch)
}

/// An interface with its first address; others belong to the other family.
fn interface_line(name: &str, addresses: &[CidrAddress]) -> String {
    addresses.first().map_or_else(|| name.to_owned(), |address| format!("{name} {address}"))
}

fn box_height(lines: usize) -> f64 {
    LINE.mul_add(lines as f64, 14.0)
}

fn draw(drawing: &mut Drawing, placed: &Placed<'_>, top: f64) {
    let lines: Vec<&str> = placed.lines.iter().map(String::as_str).collect();
    let size = (BOX, box_height(lines.len()));
    drawing.labelled_box((placed.middle - BOX / 2.0, top), size, Ink::Plain, &lines);
}

type Ends = ((f64, f64), (f64, f64));

fn cable(drawing: &mut Drawing, (from, to): Ends, impairment: Option<&Impairment>) {
    let Some(impairment) = impairment else { return drawing.line(from, to, Ink::Plain) };
    drawing.line(from, to, Ink::Bad);
    let (x, y) = (f64::midpoint(from.0, to.0), f64::midpoint(from.1, to.1));
    let texts = of_impairment(impairment);
    if (from.1 - to.1).abs() < 1.0 {
        let lines = [-6.0, 18.0];
        for (text, offset) in texts.iter().zip(lines) {
            drawing.text((x, y + offset), Anchor::Middle, Ink::Bad, text);
        }
    } else {
        drawing.text((x + 6.0, y + 4.5), Anchor::Start, Ink::Bad, &texts.join(", "));
    }
}

fn of_impairment(impairment: &Impairment) -> Vec<String> {
    let percent = |part: f64| (part * 1e4).round() / 100.0;
    let parts =
        [("loses", impairment.loss), ("doubles", impairment.duplicate), ("reorders", impairment.reorder)];
    let mut texts: Vec<String> = parts
        .iter()
        .filter(|(_, part)| *part > 0.0)
        .map(|(verb, part)| format!("{verb} {} %", percent(*part)))
        .collect();
    if !impairment.delay.is_zero() {
        texts.push(format!("{} ms", impairment.delay.as_millis()));
    }
    texts
}

fn of_switch(options: &SwitchOptions) -> &'static str {
    match (options.is_snooping(), options.sends_queries()) {
        (true, true) => "snooping, querier",
        (true, false) => "snooping",
        (false, true) => "querier",
        (false, false) => "",
    }
}
