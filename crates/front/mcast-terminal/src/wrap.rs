//! Text wrapped to lines of a readable length.

use anstream::adapter::strip_str;

use crate::console;

/// The maximum width of running text, on any terminal.
const MOST: usize = 96;
/// The minimum width, on any terminal.
const LEAST: usize = 40;

/// Returns the width of running text on standard output.
pub fn text_width() -> usize {
    console::width().unwrap_or(MOST).clamp(LEAST, MOST)
}

/// Breaks a text at spaces into lines of at most `width` columns. Escape sequences have no width.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut taken = 0;
    for word in text.split(' ') {
        let length = columns(word);
        match lines.last_mut() {
            Some(line) if line.is_empty() => {
                line.push_str(word);
                taken = length;
            }
            Some(line) if taken + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
                taken += 1 + length;
            }
            _ => {
                lines.push(word.to_owned());
                taken = length;
            }
        }
    }
    lines
}

/// Returns the number of terminal columns that a text takes: its characters without styles. Every character counts
/// as one column; wide ones (in some scripts) only shift what follows.
pub fn columns(text: &str) -> usize {
    strip_str(text).map(|part| part.chars().count()).sum()
}

/// Breaks a long line after at most `width` columns; the rest continues below, indented.
pub fn fit_line(line: &str, width: Option<usize>) -> String {
    const HANGING: &str = "\n    ";

    let Some(width) = width.map(|width| width.max(LEAST)) else { return line.to_owned() };
    if columns(line) <= width {
        return line.to_owned();
    }
    let mut lines = wrap(line, width).into_iter();
    let first = lines.next().unwrap_or_default();
    let rest = lines.collect::<Vec<_>>().join(" ");
    let rest = wrap(&rest, width - (HANGING.len() - 1));
    [&[first], &rest[..]].concat().join(HANGING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensibilities", 7), ["incomprehensibilities"]);
        assert_eq!(wrap("", 7), [""]);
    }

    #[test]
    fn a_long_line_continues_below() {
        let line = "a line of words that is longer than the terminal is wide and more";
        assert_eq!(fit_line(line, None), line);
        assert_eq!(
            fit_line(line, Some(44)),
            "a line of words that is longer than the\n    terminal is wide and more"
        );
    }

    #[test]
    fn styles_take_no_columns() {
        assert_eq!(columns("\x1b[1mone\x1b[0m two"), 7);
        assert_eq!(wrap("\x1b[1mone\x1b[0m two three", 7), ["\x1b[1mone\x1b[0m two", "three"]);
    }
}
