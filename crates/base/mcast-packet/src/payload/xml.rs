//! A scan of XML from the network: elements and their text, in the order of the document.

/// A scan of an XML document, which is not checked for being well-formed.
///
/// Names are without their prefix, attributes are skipped, and references such as `&amp;` are left as they are. A document type
/// ends the scan, so that no entity is ever expanded. The work is linear in the length of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XmlScan<'a> {
    rest: &'a [u8],
    /// The element that has just started and has no content.
    empty: Option<&'a [u8]>,
}

/// A part of an XML document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XmlToken<'a> {
    /// The start of the element with this name.
    Start(&'a [u8]),
    /// The end of the element with this name.
    End(&'a [u8]),
    /// Text, without white space around it. It is never empty.
    Text(&'a [u8]),
}

impl<'a> XmlScan<'a> {
    /// Creates a scan of this document.
    #[must_use]
    pub const fn new(document: &'a [u8]) -> Self {
        Self { rest: document, empty: None }
    }

    /// Splits the bytes before `end` from those after it. Without an end, the document is truncated, and nothing is left.
    fn take_until(&mut self, end: &[u8]) -> &'a [u8] {
        let at = find(self.rest, end);
        let taken = self.rest.get(..at.unwrap_or(self.rest.len())).unwrap_or_default();
        self.rest = at.and_then(|at| self.rest.get(at + end.len()..)).unwrap_or_default();
        taken
    }

    /// Splits a tag, up to the `>` that is not quoted.
    fn take_tag(&mut self) -> Option<&'a [u8]> {
        let mut quote = None;
        let end = self.rest.iter().position(|&byte| {
            match quote {
                Some(open) if byte == open => quote = None,
                None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
                _ => {}
            }
            byte == b'>' && quote.is_none()
        });
        let Some(end) = end else {
            self.rest = &[];
            return None;
        };
        let tag = self.rest.get(..end);
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        tag
    }
}

impl<'a> Iterator for XmlScan<'a> {
    type Item = XmlToken<'a>;

    fn next(&mut self) -> Option<XmlToken<'a>> {
        if let Some(name) = self.empty.take() {
            return Some(XmlToken::End(name));
        }
        loop {
            let text = match self.rest.strip_prefix(b"<") {
                None if self.rest.is_empty() => return None,
                None => {
                    let end = self.rest.iter().position(|byte| *byte == b'<').unwrap_or(self.rest.len());
                    let (text, rest) = self.rest.split_at_checked(end)?;
                    self.rest = rest;
                    text
                }
                Some(rest) => {
                    self.rest = rest;
                    if let Some(rest) = rest.strip_prefix(b"![CDATA[") {
                        self.rest = rest;
                        self.take_until(b"]]>")
                    } else if rest.starts_with(b"!--") {
                        self.take_until(b"-->");
                        continue;
                    } else if rest.starts_with(b"?") {
                        self.take_until(b"?>");
                        continue;
                    } else if rest.starts_with(b"!") {
                        self.rest = &[];
                        return None;
                    } else {
                        let tag = self.take_tag()?;
                        if let Some(name) = tag.strip_prefix(b"/") {
                            return Some(XmlToken::End(local_name(name)));
                        }
                        let name = local_name(tag);
                        self.empty = tag.ends_with(b"/").then_some(name);
                        return Some(XmlToken::Start(name));
                    }
                }
            };
            if !text.trim_ascii().is_empty() {
                return Some(XmlToken::Text(text.trim_ascii()));
            }
        }
    }
}

/// Returns the name at the start of a tag, without its prefix.
fn local_name(tag: &[u8]) -> &[u8] {
    let end = tag.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'/').unwrap_or(tag.len());
    let name = tag.get(..end).unwrap_or_default();
    match name.iter().position(|byte| *byte == b':') {
        Some(colon) => name.get(colon + 1..).unwrap_or_default(),
        None => name,
    }
}

/// Returns where `what`, which is short, first occurs.
pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    fn tokens(document: &str) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown: Vec<String> = XmlScan::new(document.as_bytes())
            .map(|token| match token {
                XmlToken::Start(name) => format!("<{}>", text(name)),
                XmlToken::End(name) => format!("</{}>", text(name)),
                XmlToken::Text(content) => text(content),
            })
            .collect();
        shown.join(" ")
    }

    #[test]
    fn a_scan_yields_elements_and_text_and_expands_nothing() {
        for (document, expected) in [
            ("<?xml version='1.0'?><a:b c='1'>x &amp; y</a:b>", "<b> x &amp; y </b>"),
            ("<a><b/><c d=\"/>\" /></a>", "<a> <b> </b> <c> </c> </a>"),
            ("<a><!-- <b>no</b> --> t </a>", "<a> t </a>"),
            ("<a><![CDATA[<b>]]></a>", "<a> <b> </a>"),
            // A document type could define entities.
            ("<!DOCTYPE a [<!ENTITY b 'bbbb'>]><a>&b;</a>", ""),
            ("<a>text", "<a> text"),
            ("<a", ""),
            ("<a b='>", ""),
            ("<!-- <a>", ""),
            ("", ""),
            ("<>x</>", "<> x </>"),
        ] {
            assert_eq!(tokens(document), expected, "{document}");
        }
    }
}
