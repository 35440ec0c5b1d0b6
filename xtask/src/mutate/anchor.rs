//! Finds the code of a rule in the sources of its package, whatever its file, its layout and its names have become.
//!
//! A rule quotes the code that it breaks. Quoted as text, each renaming and each moved file would break the rule itself.
//! Therefore it is looked for token by token: layout and comments do not count, and a name may have become another, as long
//! as it became the same one everywhere in the quotation. If several places have that shape, the one that shares most names
//! with the quotation is meant; if two share as many, the rule has to quote more.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Result, ensure};

/// A token of Rust, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    kind: Kind,
    range: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A name that may be changed: no keyword, and nothing of the language's prelude.
    Name,
    /// Anything else, which must stay what it is.
    Fixed,
}

/// Words that a renaming cannot concern.
const FIXED_WORDS: [&str; 40] = [
    "as", "break", "const", "continue", "else", "enum", "false", "fn", "for", "if", "impl", "in", "let",
    "loop", "match", "move", "mut", "pub", "ref", "return", "self", "Self", "static", "struct", "super",
    "true", "type", "unsafe", "use", "where", "while", "Some", "None", "Ok", "Err", "bool", "u32", "u64",
    "usize", "Default",
];

/// A source file, as tokens.
pub(super) struct Source {
    pub(super) text: String,
    tokens: Vec<Token>,
}

/// Where the code of a rule stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Anchor<'code> {
    /// Index of the source.
    pub(super) source: usize,
    range: Range<usize>,
    /// What each name of the quotation has become.
    names: HashMap<&'code str, String>,
}

impl Source {
    pub(super) fn new(text: String) -> Self {
        let tokens = tokens(&text);
        Self { text, tokens }
    }

    /// Returns this source with the code at `place` replaced by `broken`, whose names are renamed as those of the code were.
    pub(super) fn replaced(&self, place: &Anchor<'_>, broken: &str) -> String {
        let mut renamed = String::new();
        let mut end = 0;
        for token in tokens(broken) {
            let text = &broken[token.range.clone()];
            renamed.push_str(&broken[end..token.range.start]);
            renamed.push_str(place.names.get(text).map_or(text, String::as_str));
            end = token.range.end;
        }
        renamed.push_str(&broken[end..]);
        [&self.text[..place.range.start], renamed.trim(), &self.text[place.range.end..]].concat()
    }

    /// Returns this source with the first name at `place` replaced by `name` everywhere.
    #[cfg(test)]
    pub(super) fn with_renamed(&self, place: &Anchor<'_>, name: &str) -> Self {
        let first = self
            .tokens
            .iter()
            .find(|token| token.kind == Kind::Name && token.range.start >= place.range.start);
        let Some(first) = first else { return Self::new(self.text.clone()) };
        let (old, mut text, mut end) = (&self.text[first.range.clone()], String::new(), 0);
        for token in self.tokens.iter().filter(|token| &self.text[token.range.clone()] == old) {
            text.push_str(&self.text[end..token.range.start]);
            text.push_str(name);
            end = token.range.end;
        }
        text.push_str(&self.text[end..]);
        Self::new(text)
    }

    /// Matches `code` at the token `at`; returns the number of names that are the same, and what the names have become.
    fn matches<'code>(
        &self,
        at: usize,
        code: &'code str,
        quoted: &[Token],
    ) -> Option<(usize, HashMap<&'code str, String>)> {
        let here = self.tokens.get(at..at + quoted.len())?;
        // Nearly all places differ at once: this comparison decides how long a search takes.
        let fixed = quoted.iter().position(|token| token.kind == Kind::Fixed).unwrap_or(0);
        let (expected, is) = (&quoted[fixed], &here[fixed]);
        if is.kind != expected.kind
            || (is.kind == Kind::Fixed && self.text[is.range.clone()] != code[expected.range.clone()])
        {
            return None;
        }
        let mut names: HashMap<&str, String> = HashMap::new();
        let mut same = 0;
        for (quoted, token) in quoted.iter().zip(here) {
            let (quoted_text, text) = (&code[quoted.range.clone()], &self.text[token.range.clone()]);
            if quoted.kind != token.kind || (quoted.kind == Kind::Fixed && quoted_text != text) {
                return None;
            }
            if quoted.kind == Kind::Name {
                let known = names.entry(quoted_text).or_insert_with(|| text.to_owned());
                if known != text {
                    return None;
                }
                same += usize::from(quoted_text == text);
            }
        }
        Some((same, names))
    }
}

/// Finds the one place of `code` in `sources`.
pub(super) fn find<'code, F>(sources: &[(F, Source)], code: &'code str) -> Result<Anchor<'code>> {
    let quoted = tokens(code);
    ensure!(!quoted.is_empty(), "the rule quotes no code");
    let mut best: Option<(usize, Anchor<'_>)> = None;
    let mut is_tie = false;
    for (index, (_, source)) in sources.iter().enumerate() {
        for at in 0..source.tokens.len() {
            let Some((same, names)) = source.matches(at, code, &quoted) else { continue };
            let range = source.tokens[at].range.start..source.tokens[at + quoted.len() - 1].range.end;
            match best.as_ref().map_or(std::cmp::Ordering::Greater, |(most, _)| same.cmp(most)) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => is_tie = true,
                std::cmp::Ordering::Greater => {
                    best = Some((same, Anchor { source: index, range, names }));
                    is_tie = false;
                }
            }
        }
    }
    let (same, place) = best.ok_or_else(|| anyhow::anyhow!("nothing has the shape of `{code}`"))?;
    let names = quoted.iter().filter(|token| token.kind == Kind::Name).count();
    ensure!(!is_tie, "two places are as similar to `{code}`");
    // Where most names differ, another piece of code of the same shape is more likely than several renamings.
    ensure!(
        2 * same >= names,
        "`{code}` is nowhere, and what has its shape shares only {same} of {names} names"
    );
    Ok(place)
}

/// Divides `text` into tokens without comments. Punctuation is one character a token.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, is_token) = match first {
            _ if first.is_whitespace() => (first.len_utf8(), false),
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => (rest.find("*/").map_or(rest.len(), |end| end + 2), false),
            '"' => (quoted_length(rest, '"'), true),
            '\'' => (character_length(rest), true),
            _ if is_of_word(first) => (rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()), true),
            _ => (first.len_utf8(), true),
        };
        let range = at..at + length;
        if is_token {
            let word = &text[range.clone()];
            let is_name =
                first != '\'' && is_of_word(first) && !first.is_ascii_digit() && !FIXED_WORDS.contains(&word);
            found.push(Token { kind: if is_name { Kind::Name } else { Kind::Fixed }, range });
        }
        at += length;
    }
    found
}

fn is_of_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// Returns the length of a string that starts `rest`, with its quotation marks.
fn quoted_length(rest: &str, mark: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == mark => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns the length of a character or a lifetime that starts `rest`.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), _) => quoted_length(rest, '\''),
        (_, Some((at, '\''))) => at + 1,
        _ => 1 + rest[1..].find(|c| !is_of_word(c)).unwrap_or(rest.len() - 1),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn broken(sources: &[&str], code: &str, broken: &str) -> Result<String> {
        let sources: Vec<_> = sources.iter().map(|text| ((), Source::new((*text).to_owned()))).collect();
        let place = find(&sources, code)?;
        Ok(sources[place.source].1.replaced(&place, broken))
    }

    const CODE: &str = "if self.held >= limit {\n    return None;\n}";
    const BROKEN: &str = "if self.held >= limit + limit {\n    return None;\n}";

    #[test]
    fn code_is_found_in_another_layout_and_beside_comments() {
        let source = "fn f() { if self.held\n  >= limit { // enough\n return None; } }";
        assert_eq!(
            broken(&[source], CODE, BROKEN).unwrap(),
            "fn f() { if self.held >= limit + limit {\n    return None;\n} }"
        );
    }

    #[test]
    fn a_renamed_name_is_renamed_in_what_breaks_the_rule() {
        assert_eq!(
            broken(&["if self.held >= most { return None; }"], CODE, BROKEN).unwrap(),
            "if self.held >= most + most {\n    return None;\n}"
        );
    }

    #[test]
    fn a_name_that_became_two_is_no_renaming() {
        assert!(broken(&["a(one, two)"], "a(x, x)", "").is_err());
    }

    #[test]
    fn the_place_that_shares_most_names_is_meant_and_two_that_share_as_many_are_refused() {
        let (same, similar) = ("self.held.clear();", "self.lost.clear();");
        assert_eq!(broken(&[similar, same], "self.held.clear();", "").unwrap(), "");
        let error = broken(&[same, similar, same], "self.held.clear();", "").unwrap_err();
        assert!(error.to_string().contains("two places"), "{error}");
    }

    #[test]
    fn code_of_the_same_shape_with_other_names_is_not_the_rule() {
        let error = broken(&["other.thing.start();"], "self.held.clear();", "").unwrap_err();
        assert!(error.to_string().contains("nothing has the shape"), "{error}");
        let error = broken(&["one.two.three.four()"], "held.lost.late.clear()", "").unwrap_err();
        assert!(error.to_string().contains("shares only 0 of 4"), "{error}");
    }

    #[test]
    fn numbers_keywords_and_strings_must_stay() {
        for other in ["f(2, true, \"a\")", "f(1, false, \"a\")", "f(1, true, \"b\")"] {
            assert!(broken(&[other], "f(1, true, \"a\")", "").is_err(), "{other}");
        }
        assert!(broken(&["g(1, true, \"a\")  f(1)"], "f(1, true, \"a\")", "").is_err());
    }

    #[test]
    fn strings_characters_lifetimes_and_comments_are_told_apart() {
        let text = r#"'a' '\'' &'b str "x \" // y" /* z */ w // v"#;
        let words: Vec<_> = tokens(text).into_iter().map(|token| &text[token.range]).collect();
        assert_eq!(words, ["'a'", r"'\''", "&", "'b", "str", r#""x \" // y""#, "w"]);
    }
}
