//! The lines of a playlist that describe what follows them.

/// The longest name or label, in characters.
const MAX_NAME: usize = 128;

/// What the line `#EXTINF` says about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Info {
    /// The duration and the attributes, as they are.
    pub(super) attributes: String,
    pub(super) name: Option<String>,
}

impl Info {
    /// Reads what follows `#EXTINF:`.
    pub(super) fn parse(text: &str) -> Self {
        let comma = comma_in(text).map(|first| {
            // Some lists have one after the duration, too.
            let rest = &text[first + 1..];
            let next = comma_in(rest).filter(|_| starts_with_attribute(rest));
            next.map_or(first, |next| first + 1 + next)
        });
        // If a quotation mark is not closed, only the last comma can be the one.
        let comma = comma.or_else(|| text.rfind(','));
        let (attributes, name) = comma.map_or((text, ""), |comma| (&text[..comma], &text[comma + 1..]));
        let attributes = printable(attributes);
        let name = Some(clean(name)).filter(|name| !name.is_empty());
        let name =
            name.or_else(|| attribute(&attributes, "tvg-name").map(clean)).filter(|name| !name.is_empty());
        Self { attributes, name }
    }
}

/// Returns the place of the first comma that is not in the value of an attribute.
fn comma_in(text: &str) -> Option<usize> {
    let mut is_quoted = false;
    text.find(|sign| {
        is_quoted ^= sign == '"';
        sign == ',' && !is_quoted
    })
}

fn starts_with_attribute(text: &str) -> bool {
    let name = text.trim_start().split_once("=\"").map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// Returns the value of an attribute.
pub(super) fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = attributes.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// Returns what follows this start, whatever its case.
pub(super) fn after<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    let given = line.get(..start.len())?;
    given.eq_ignore_ascii_case(start).then(|| &line[start.len()..])
}

/// Returns a name that is one line, and not too long.
pub(super) fn clean(name: &str) -> String {
    printable(name).chars().take(MAX_NAME).collect()
}

/// Returns a text that is one line for every program: lines end at different signs.
pub(super) fn printable(text: &str) -> String {
    let is_end = |sign: char| sign.is_control() || matches!(sign, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.replace(is_end, "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_the_attributes_however_they_are_quoted() {
        for (text, attributes, name) in [
            ("-1,News", "-1", Some("News")),
            (
                "-1 tvg-logo=\"a,b.png\" group-title=\"x\",News, at \"ten\"",
                "-1 tvg-logo=\"a,b.png\" group-title=\"x\"",
                Some("News, at \"ten\""),
            ),
            ("-1 tvg-logo=\"a.png,News", "-1 tvg-logo=\"a.png", Some("News")),
            ("-1 tvg-name=\"The news\",", "-1 tvg-name=\"The news\"", Some("The news")),
            (" 0 ,\tNews\u{2028}\u{85}\r ", "0", Some("News")),
            (
                "-1, group-title=\"a,b\" tvg-id=\"c\",News, at ten",
                "-1, group-title=\"a,b\" tvg-id=\"c\"",
                Some("News, at ten"),
            ),
            ("-1 News", "-1 News", None),
            ("", "", None),
        ] {
            let info = Info::parse(text);
            assert_eq!((info.attributes.as_str(), info.name.as_deref()), (attributes, name), "{text}");
        }
        assert_eq!(clean(&"x".repeat(1_000)).len(), MAX_NAME);
    }
}
