//! Reading the text format of Prometheus, as far as [`Exposition`](crate::Exposition) writes it.

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
    use crate::{Exposition, MetricKind};

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
