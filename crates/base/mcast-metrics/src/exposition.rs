//! The text format of Prometheus, version 0.0.4: writing it, and reading what was written.

use std::fmt::{Display, Write};

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only increases.
    Counter,
    /// Increases and decreases.
    Gauge,
}

/// Numbers with their names and labels, as text.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// The samples of one name.
#[derive(Debug)]
pub struct MetricFamily<'a> {
    exposition: &'a mut Exposition,
    name: &'a str,
}

impl Exposition {
    /// The content type of the text.
    pub(crate) const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Starts a metric family. Each name is used once.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: MetricKind, help: &str) -> MetricFamily<'a> {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        self.put(format_args!(
            "# HELP {name} {}\n# TYPE {name} {kind}\n",
            Escaped { text: help, quotes: false }
        ));
        MetricFamily { exposition: self, name }
    }

    /// Returns the text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn put(&mut self, text: impl Display) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "{text}");
    }
}

impl MetricFamily<'_> {
    /// Adds a sample with these labels.
    pub fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.exposition.put(self.name);
        let mut before = '{';
        for (label, text) in labels {
            let text = text.to_string();
            self.exposition
                .put(format_args!("{before}{label}=\"{}\"", Escaped { text: &text, quotes: true }));
            before = ',';
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.exposition.put(format_args!("{end} {value}\n"));
    }
}

/// Text with escaped line breaks and, in labels, escaped quotes.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        let mut family = exposition.family("a_total", MetricKind::Counter, "How many.");
        family.sample(&[("group", &"239.1.2.3"), ("name", &"say \"hi\" \\ \n")], 7);
        family.sample(&[], 0.5);
        exposition.family("b", MetricKind::Gauge, "Two\nlines.").sample(&[("x", &1)], 2);
        let expected = "\
# HELP a_total How many.
# TYPE a_total counter
a_total{group=\"239.1.2.3\",name=\"say \\\"hi\\\" \\\\ \\n\"} 7
a_total 0.5
# HELP b Two\\nlines.
# TYPE b gauge
b{x=\"1\"} 2
";
        assert_eq!(exposition.into_text(), expected);
    }

    #[test]
    fn samples_are_read_as_they_were_written() {
        let text = "say \"hi\" \\ \n, {x}=";
        let mut exposition = Exposition::default();
        let mut family = exposition.family("a_total", MetricKind::Counter, "How many.");
        family.sample(&[("rule", &text), ("reason", &"b")], 7);
        family.sample(&[], 9);
        exposition.family("a_total_b", MetricKind::Counter, "Another name.").sample(&[], 3);
        let written = exposition.into_text();
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
