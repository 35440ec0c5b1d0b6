//! Charts as SVG: bars from zero on a linear axis, or dots on a logarithmic one, with quartiles, labels and units.

use mcast_lab::drawing::{Anchor, Drawing, Ink};

use super::statistics::Spread;

/// Width of the image; a page of the guide is as wide.
const WIDTH: f64 = 760.0;
/// Width of a character of the labels, at most as a rule.
const CHARACTER: f64 = 7.6;
/// Characters of a line of the title.
const TITLE: usize = 76;
const VALUES: f64 = 72.0;
const ROW: f64 = 20.0;
const BETWEEN_GROUPS: f64 = 6.0;
const MARGIN: f64 = 14.0;
/// About how many intervals a linear axis has.
const INTERVALS: f64 = 5.0;

/// Colours for both themes. The image has its own background, so that it can be read on any page.
const STYLE: &str = "\
    .b{fill:#ffffff}text{fill:#1f2328}.m{fill:#59636e}.g{stroke:#d1d9e0}.a{stroke:#59636e}\
    .o{fill:#1f7a4d}.t{fill:#8c99a6}.q{stroke:#1f2328;stroke-width:1.5}\
    @media(prefers-color-scheme:dark){.b{fill:#151b23}text{fill:#e6edf3}.m{fill:#a5b0bb}.g{stroke:#323b45}\
    .a{stroke:#a5b0bb}.o{fill:#3fb97a}.t{fill:#6e7b88}.q{stroke:#e6edf3}}";

/// An image: panels below each other, each with its own axis.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) panels: Vec<Panel>,
}

/// Groups of marks on one axis.
#[derive(Debug)]
pub(super) struct Panel {
    /// What distinguishes it from the other panels, if there are any.
    pub(super) heading: String,
    /// What the axis shows, with its unit.
    pub(super) axis: String,
    pub(super) scale: Scale,
    pub(super) notation: fn(f64) -> String,
    pub(super) groups: Vec<Group>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Bars, which begin at zero: their lengths compare.
    Linear,
    /// Dots, because a length from an arbitrary beginning would mean nothing.
    Logarithmic,
}

/// The marks of one contestant.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) marks: Vec<Mark>,
}

/// A bar or a dot.
#[derive(Debug)]
pub(super) struct Mark {
    /// What distinguishes it from others of the group, if there are any.
    pub(super) label: String,
    pub(super) spread: Spread,
}

impl Chart {
    /// Draws it; `None` if there is nothing to draw.
    pub(super) fn svg(&self) -> Option<String> {
        let panels: Vec<_> = self.panels.iter().filter(|panel| !panel.groups.is_empty()).collect();
        if panels.is_empty() {
            return None;
        }
        let longest = |texts: &mut dyn Iterator<Item = &str>| {
            texts.map(|text| text.chars().count()).max().unwrap_or(0) as f64 * CHARACTER
        };
        let groups = || panels.iter().flat_map(|panel| &panel.groups);
        let names = longest(&mut groups().map(|group| group.name.as_str()));
        let labels = longest(&mut groups().flat_map(|group| &group.marks).map(|mark| mark.label.as_str()));
        let left = MARGIN + names + if labels > 0.0 { labels + 10.0 } else { 0.0 } + 8.0;
        let area = Area { names: MARGIN + names, left, right: WIDTH - MARGIN - VALUES };
        let mut drawing = Drawing::default();
        let mut y = 6.0;
        for title in wrapped(&self.title, TITLE) {
            y += 20.0;
            let attributes = " font-weight=\"bold\" font-size=\"15\"";
            drawing.text_with((MARGIN, y), Anchor::Start, attributes, &title);
        }
        for panel in &panels {
            y = panel.draw(&mut drawing, &area, &Axis::of(panel, &panels), y + 8.0);
        }
        Some(drawing.to_svg_with(&self.title, (WIDTH, y + 4.0), STYLE))
    }
}

/// Where things are from left to right.
struct Area {
    /// Where the names of groups end.
    names: f64,
    left: f64,
    right: f64,
}

impl Panel {
    /// Draws it from here down; returns where it ends.
    fn draw(&self, svg: &mut Drawing, area: &Area, axis: &Axis, top: f64) -> f64 {
        let place = |value: f64| area.left + (area.right - area.left) * axis.part(value);
        let mut y = top;
        if !self.heading.is_empty() {
            y += 16.0;
            svg.heading((MARGIN, y), Anchor::Start, &self.heading);
        }
        y += 6.0;
        let rows: usize = self.groups.iter().map(|group| group.marks.len()).sum();
        let bottom = y + rows as f64 * ROW + self.groups.len() as f64 * BETWEEN_GROUPS;
        for tick in &axis.ticks {
            let x = place(*tick);
            svg.line_with((x, y), (x, bottom), "g", "");
            let label = tick_label(*tick, self.notation);
            svg.text((x, bottom + 16.0), Anchor::Middle, Ink::Muted, &label);
        }
        for group in &self.groups {
            y += BETWEEN_GROUPS / 2.0;
            let middle = y + ROW * group.marks.len() as f64 / 2.0;
            svg.text((area.names, middle + 4.5), Anchor::End, Ink::Plain, &group.name);
            for mark in &group.marks {
                self.mark(svg, area, (y, &place), (group, mark));
                y += ROW;
            }
            y += BETWEEN_GROUPS / 2.0;
        }
        svg.line_with((area.left, bottom), (area.right, bottom), "a", "");
        let middle = f64::midpoint(area.left, area.right);
        svg.text((middle, bottom + 34.0), Anchor::Middle, Ink::Plain, &self.axis);
        bottom + 42.0
    }

    fn mark(
        &self,
        svg: &mut Drawing,
        area: &Area,
        (y, place): (f64, &dyn Fn(f64) -> f64),
        (group, mark): (&Group, &Mark),
    ) {
        let Mark { label, spread } = mark;
        let (middle, at) = (y + ROW / 2.0, place(spread.median));
        let class = if group.is_ours() { "o" } else { "t" };
        let baseline = middle + 4.5;
        svg.text((area.left - 6.0, baseline), Anchor::End, Ink::Muted, label);
        let (from, to) = (place(spread.lower), place(spread.upper));
        if self.scale == Scale::Linear {
            let (x, width) = (area.left, (at - area.left).max(1.0));
            svg.add(format_args!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
                y + 3.0,
                ROW - 6.0
            ));
        }
        if to - from >= 1.0 {
            svg.line_with((from, middle), (to, middle), "q", "");
        }
        if self.scale == Scale::Logarithmic {
            svg.add(format_args!("<circle class=\"{class}\" cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"5\"/>"));
        }
        let value = (self.notation)(spread.median);
        svg.text((to.max(at) + 8.0, baseline), Anchor::Start, Ink::Plain, &value);
    }
}

impl Group {
    /// Whether it is one of this project.
    fn is_ours(&self) -> bool {
        ["mcast", "pymcast", "perf-", "wire-", "command"].iter().any(|start| self.name.starts_with(start))
    }
}

/// The range of a panel, and where it is labelled.
struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    ticks: Vec<f64>,
}

impl Axis {
    /// The axis of a panel; those on logarithmic ones are the same for all, so that the panels compare.
    fn of(panel: &Panel, all: &[&Panel]) -> Self {
        let panels = if panel.scale == Scale::Logarithmic { all } else { &[panel] };
        let groups = || panels.iter().flat_map(|panel| &panel.groups);
        let spreads = || groups().flat_map(|group| &group.marks).map(|mark| mark.spread);
        let high = spreads().map(|spread| spread.upper).fold(0.0, f64::max);
        let low = spreads().map(|spread| spread.lower).filter(|low| *low > 0.0).fold(f64::INFINITY, f64::min);
        match panel.scale {
            Scale::Logarithmic if low.is_finite() => {
                let (low, high) = (low.log10().floor() as i32, high.log10().ceil() as i32);
                let high = high.max(low + 1);
                let ticks = (low..=high).map(|power| 10_f64.powi(power)).collect();
                Self { low: 10_f64.powi(low), high: 10_f64.powi(high), scale: panel.scale, ticks }
            }
            _ => {
                let high = if high > 0.0 { high } else { 1.0 };
                let step = step(high / INTERVALS);
                let ticks =
                    (0..=(high / step).floor() as u32).map(|number| f64::from(number) * step).collect();
                Self { low: 0.0, high, scale: Scale::Linear, ticks }
            }
        }
    }

    /// Where a value is, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => value / self.high,
            Scale::Logarithmic => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        part.clamp(0.0, 1.0)
    }
}

/// The next greater one of 1, 2 and 5 times a power of ten.
fn step(atleast: f64) -> f64 {
    let power = 10_f64.powf(atleast.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|step| *step >= atleast);
    step.unwrap_or(10.0 * power)
}

/// A round number without the zeros of its notation: `5 M`, not `5.00 M`.
fn tick_label(value: f64, notation: fn(f64) -> String) -> String {
    let text = notation(value);
    let (number, unit) = text.split_once(' ').map_or((&*text, ""), |(number, unit)| (number, unit));
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

/// Breaks a text into lines of at most this number of characters, where its words permit.
fn wrapped(text: &str, longest: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= longest => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::numbers;

    fn chart(scale: Scale, values: &[f64]) -> Chart {
        let groups = values.iter().map(|value| Group {
            name: "mcast & <C>".to_owned(),
            marks: Spread::of([*value])
                .map(|spread| Mark { label: String::new(), spread })
                .into_iter()
                .collect(),
        });
        let panel = Panel {
            heading: String::new(),
            axis: "messages per second".to_owned(),
            scale,
            notation: numbers::rate,
            groups: groups.collect(),
        };
        Chart { title: "Messages".to_owned(), panels: vec![panel] }
    }

    fn widths(svg: &str) -> Vec<f64> {
        let bars = svg.lines().filter(|line| line.starts_with("<rect class=\"o\""));
        bars.filter_map(|bar| bar.split(" width=\"").nth(1)?.split('"').next()?.parse().ok()).collect()
    }

    #[test]
    fn the_lengths_of_bars_are_in_the_ratio_of_their_values() {
        let svg = chart(Scale::Linear, &[1e5, 4e5]).svg().unwrap();
        let [short, long] = widths(&svg)[..] else { panic!("{svg}") };
        assert!((long / short - 4.0).abs() < 0.01, "{svg}");
    }

    #[test]
    fn a_logarithmic_axis_has_dots_and_no_bars() {
        let svg = chart(Scale::Logarithmic, &[30.0, 600_000.0]).svg().unwrap();
        assert_eq!((widths(&svg).len(), svg.matches("<circle").count()), (0, 2));
    }

    #[test]
    fn a_chart_names_itself_and_its_axis_and_has_colours_for_dark_pages() {
        let svg = chart(Scale::Linear, &[2.5e6]).svg().unwrap();
        for expected in
            [">Messages</text>", ">messages per second</text>", ">500 k</text>", "mcast &amp; &lt;C&gt;"]
        {
            assert!(svg.contains(expected), "{expected}: {svg}");
        }
        assert!(svg.contains("prefers-color-scheme:dark"));
        assert!(chart(Scale::Linear, &[]).svg().is_none());
    }

    #[test]
    fn a_long_title_has_several_lines() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!([step(0.3), step(2.0), step(2.1), step(70.0)], [0.5, 2.0, 5.0, 100.0]);
        assert_eq!(tick_label(500_000.0, numbers::rate), "500 k");
        assert_eq!(tick_label(5e6, numbers::rate), "5 M");
    }
}
