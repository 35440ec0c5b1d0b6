//! Words and lists, in which quotation marks protect spaces and commas.

use std::fmt;

/// Splits a text at spaces. A comma at the end of a word continues the list with the next word.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in split(text, char::is_whitespace).into_iter().filter(|word| !word.is_empty()) {
        match words.last_mut().filter(|last| last.ends_with(',') || word.starts_with(',')) {
            Some(last) => last.push_str(word),
            None => words.push(word.to_owned()),
        }
    }
    words
}

/// Splits a list at commas.
pub(super) fn items(list: &str) -> Vec<&str> {
    split(list, |character| character == ',')
}

/// Returns the text before a `#` outside quotation marks.
pub(super) fn without_comment(line: &str) -> &str {
    split(line, |character| character == '#').first().copied().unwrap_or_default()
}

fn split(text: &str, is_separator: impl Fn(char) -> bool) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && is_separator(character) => {
                parts.push(&text[start..position]);
                start = position + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Items with a separator between them.
pub(super) struct Separated<'a, T>(pub(super) &'static str, pub(super) &'a [T]);

impl<T: fmt::Display> fmt::Display for Separated<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.1.iter().enumerate() {
            if position > 0 {
                f.write_str(self.0)?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}
