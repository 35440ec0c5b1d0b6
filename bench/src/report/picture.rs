//! A picture of one table: a bar for each row, with its quartiles, on a logarithmic scale.

use std::fmt::Write;

use super::figures::Figures;
use super::statistics::Spread;

const LABELS: f64 = 190.0;
const BARS: f64 = 430.0;
const VALUES: f64 = 90.0;
const ROW: f64 = 22.0;
const TOP: f64 = 34.0;

/// The drawing as SVG; `None` where there is nothing to draw.
#[must_use]
pub(super) fn svg(figures: &Figures, notation: fn(f64) -> String) -> Option<String> {
    let rows: Vec<(&str, Spread)> = figures
        .rows
        .iter()
        .filter_map(|row| Some((row.name.as_str(), row.spread(&figures.main)?)))
        .filter(|(_, spread)| spread.lower > 0.0)
        .collect();
    let scale = Scale::around(rows.iter().map(|(_, spread)| *spread))?;
    let (width, height) = (LABELS + BARS + VALUES, TOP + ROW * rows.len() as f64 + 8.0);
    let mut svg = String::new();
    let head = "font-family=\"sans-serif\" font-size=\"12\"";
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" {head}>\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        escaped(&figures.title)
    );
    for decade in scale.decades() {
        grid(&mut svg, scale.place(decade), height, &notation(decade));
    }
    for (number, (name, spread)) in rows.iter().enumerate() {
        let at = TOP + ROW * number as f64;
        bar(&mut svg, at, name, *spread, &scale, &notation(spread.median));
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// Whole decades around all that is drawn.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn around(spreads: impl Iterator<Item = Spread>) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for spread in spreads {
            (low, high) = (low.min(spread.lower), high.max(spread.upper));
        }
        if !low.is_finite() {
            return None;
        }
        let (low, high) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        Some(Self { low, high: high.max(low + 1) })
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|power| 10_f64.powi(power))
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        LABELS + BARS * part.clamp(0.0, 1.0)
    }
}

fn grid(svg: &mut String, x: f64, height: f64, label: &str) {
    let _ = write!(
        svg,
        "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{height}\" stroke=\"#ddd\"/>\n\
         <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#777\">{label}</text>\n",
        TOP - 10.0
    );
}

fn bar(svg: &mut String, y: f64, name: &str, spread: Spread, scale: &Scale, value: &str) {
    let colour = if name.starts_with("mcast-") { "#2b7a4b" } else { "#9aa5b1" };
    let (end, middle) = (scale.place(spread.median), y + ROW / 2.0);
    let (from, to) = (scale.place(spread.lower), scale.place(spread.upper));
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
         <rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\n\
         <line x1=\"{from:.1}\" y1=\"{middle:.1}\" x2=\"{to:.1}\" y2=\"{middle:.1}\" stroke=\"black\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\">{value}</text>\n",
        LABELS - 8.0,
        middle + 4.0,
        escaped(name),
        y + 4.0,
        end - LABELS,
        ROW - 8.0,
        to.max(end) + 6.0,
        middle + 4.0,
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
