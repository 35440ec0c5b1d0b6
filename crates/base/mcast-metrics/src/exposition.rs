//! The text format of Prometheus, version 0.0.4: writing it, and reading what was written.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display, Write};
use core::slice;

use crate::{Figure, FigureValue};

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only increases.
    Counter,
    /// Increases and decreases.
    Gauge,
}

/// The value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// A whole number.
    Whole(u64),
    /// Any number, such as one of seconds.
    Real(f64),
}

/// Metrics: numbers with their names and labels, by name in the order in which the names were added.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    families: Vec<MetricFamily>,
}

/// The samples of one name.
#[derive(Clone, Debug)]
pub struct MetricFamily {
    name: String,
    kind: MetricKind,
    help: String,
    samples: Vec<MetricSample>,
}

/// A number with its labels.
#[derive(Clone, Debug)]
pub struct MetricSample {
    labels: Labels,
    value: MetricValue,
}

impl Exposition {
    /// The content type of the text.
    #[cfg(feature = "server")]
    pub(crate) const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Starts a metric family, or returns the one with this name.
    pub fn family(&mut self, name: &str, kind: MetricKind, help: &str) -> &mut MetricFamily {
        let position = self.families.iter().position(|family| family.name == name);
        let position = position.unwrap_or_else(|| {
            let (name, help) = (name.to_owned(), help.to_owned());
            self.families.push(MetricFamily { name, kind, help, samples: Vec::new() });
            self.families.len() - 1
        });
        &mut self.families[position]
    }

    /// Adds figures with these labels. `prefix` stands before the name of each metric; `_total` stands behind that of a
    /// number that only grows, and `_seconds` behind that of a time.
    pub fn add_figures(
        &mut self,
        prefix: &str,
        labels: &[(&str, &dyn Display)],
        figures: impl IntoIterator<Item = Figure>,
    ) {
        for Figure { metric, help, value, .. } in figures {
            let (kind, suffix, value) = match value {
                FigureValue::Count(count) => (MetricKind::Counter, "_total", count.into()),
                FigureValue::Level(level) => (MetricKind::Gauge, "", level.into()),
                FigureValue::Time(time) => {
                    (MetricKind::Gauge, "_seconds", MetricValue::Real(time.as_secs_f64()))
                }
            };
            self.family(&[prefix, metric, suffix].concat(), kind, help).sample(labels, value);
        }
    }

    /// Returns all families.
    pub fn families(&self) -> slice::Iter<'_, MetricFamily> {
        self.families.iter()
    }

    /// Returns the text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for family in &self.families {
            // Writing to a string does not fail.
            let _ = family.write(&mut text);
        }
        text
    }
}

impl MetricFamily {
    /// Adds a sample with these labels.
    pub fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Into<MetricValue>) {
        let labels = labels.iter().map(|(label, text)| ((*label).to_owned(), text.to_string())).collect();
        self.samples.push(MetricSample { labels, value: value.into() });
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its type.
    #[must_use]
    pub const fn kind(&self) -> MetricKind {
        self.kind
    }

    /// Returns its description.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Returns all samples.
    pub fn samples(&self) -> slice::Iter<'_, MetricSample> {
        self.samples.iter()
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let Self { name, help, .. } = self;
        let kind = match self.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", Escaped { text: help, quotes: false })?;
        for MetricSample { labels, value } in &self.samples {
            text.write_str(name)?;
            let mut before = '{';
            for (label, of_label) in labels {
                write!(text, "{before}{label}=\"{}\"", Escaped { text: of_label, quotes: true })?;
                before = ',';
            }
            writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" })?;
        }
        Ok(())
    }
}

impl MetricSample {
    /// Returns its labels with their values.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(label, text)| (label.as_str(), text.as_str()))
    }

    /// Returns its value.
    #[must_use]
    pub const fn value(&self) -> MetricValue {
        self.value
    }
}

impl MetricValue {
    /// Returns the value as a floating-point number, which is rounded if it is large.
    #[must_use]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }
}

impl Display for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
        }
    }
}

impl From<u64> for MetricValue {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for MetricValue {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<u8> for MetricValue {
    fn from(number: u8) -> Self {
        Self::Whole(number.into())
    }
}

impl From<f64> for MetricValue {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// Text with escaped line breaks and, in labels, escaped quotes.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' if self.quotes => f.write_str("\\\""),
            _ => f.write_char(character),
        })
    }
}

/// Labels with their values.
type Labels = Vec<(String, String)>;

/// Returns the labels and values of the counters with this name. Lines that are not valid are omitted.
pub fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (Labels, u64)> + 'a {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        Some((labels, value.strip_prefix(' ')?.parse().ok()?))
    })
}

/// Parses labels behind the opening brace. Returns them and what follows the closing brace.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    loop {
        let (label, value) = rest.split_once("=\"")?;
        let mut characters = value.char_indices();
        let mut text = String::new();
        let end = loop {
            match characters.next()? {
                (end, '"') => break end,
                (_, '\\') => text.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => text.push(other),
            }
        };
        labels.push((label.to_owned(), text));
        let behind = &value[end + 1..];
        match behind.strip_prefix('}') {
            Some(behind) => return Some((labels, behind)),
            None => rest = behind.strip_prefix(',')?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_names_labels_and_values() {
        let mut exposition = Exposition::default();
        let family = exposition.family("a_total", MetricKind::Counter, "How many.");
        family.sample(&[("group", &"239.1.2.3"), ("name", &"say \"hi\" \\ \n")], 7_u64);
        family.sample(&[], 0.5);
        exposition.family("b", MetricKind::Gauge, "Two\nlines.").sample(&[("x", &1)], 2_u64);
        let expected = "\
# HELP a_total How many.
# TYPE a_total counter
a_total{group=\"239.1.2.3\",name=\"say \\\"hi\\\" \\\\ \\n\"} 7
a_total 0.5
# HELP b Two\\nlines.
# TYPE b gauge
b{x=\"1\"} 2
";
        assert_eq!(exposition.to_text(), expected);
    }

    #[test]
    fn figures_of_several_are_samples_of_one_family_with_the_suffix_of_their_kind() {
        crate::figures! {
            /// Counts.
            struct Queue {
                /// Items added.
                count added as "added_items": u64,
                /// Items in it.
                level length: usize,
                /// The age of the oldest.
                time age: core::time::Duration,
            }
        }
        let mut exposition = Exposition::default();
        for (name, added) in [("a", 7), ("b", 9)] {
            let queue = Queue { added, length: 2, age: core::time::Duration::from_millis(500) };
            exposition.add_figures("queue_", &[("name", &name)], queue.figures());
        }
        let expected = "\
# HELP queue_added_items_total Items added.
# TYPE queue_added_items_total counter
queue_added_items_total{name=\"a\"} 7
queue_added_items_total{name=\"b\"} 9
# HELP queue_length Items in it.
# TYPE queue_length gauge
queue_length{name=\"a\"} 2
queue_length{name=\"b\"} 2
# HELP queue_age_seconds The age of the oldest.
# TYPE queue_age_seconds gauge
queue_age_seconds{name=\"a\"} 0.5
queue_age_seconds{name=\"b\"} 0.5
";
        assert_eq!(exposition.to_text(), expected);
    }

    #[test]
    fn samples_are_read_as_they_were_written() {
        let text = "say \"hi\" \\ \n, {x}=";
        let mut exposition = Exposition::default();
        let family = exposition.family("a_total", MetricKind::Counter, "How many.");
        family.sample(&[("rule", &text), ("reason", &"b")], 7_u64);
        family.sample(&[], 9_u64);
        exposition.family("a_total_b", MetricKind::Counter, "Another name.").sample(&[], 3_u64);
        let written = exposition.to_text();
        let labels = vec![("rule".to_owned(), text.to_owned()), ("reason".to_owned(), "b".to_owned())];
        assert_eq!(samples(&written, "a_total").collect::<Vec<_>>(), [(labels, 7), (Vec::new(), 9)]);
    }

    #[test]
    fn invalid_lines_are_omitted() {
        let text =
            "a{b=\"c\" 1\na{b=\"c\\\na{b\na{} 1\na{b=\"c\"}1\na -1\na 1.5\na{b=\"c\"x=\"d\"} 1\na{b=\"ü\\";
        assert_eq!(samples(text, "a").collect::<Vec<_>>(), []);
    }
}
