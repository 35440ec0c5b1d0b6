//! Splits Rust sources into prose (comments and string literals) and names of types and modules.

/// The prose and the declared names of a source file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    /// Each comment or string with its first line number. Comments on consecutive lines are joined.
    pub(super) prose: Vec<(usize, String)>,
    pub(super) names: Vec<Name>,
}

/// A type or module that is declared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) line: usize,
    pub(super) name: String,
    /// Declared with plain `pub`.
    pub(super) is_public: bool,
    pub(super) is_module: bool,
}

const DECLARATIONS: [&str; 6] = ["struct", "enum", "union", "trait", "type", "mod"];

pub(super) fn read(source: &str) -> Source {
    let (code, prose) = split(source);
    let names = code.iter().enumerate().filter_map(|(index, line)| name(index + 1, line)).collect();
    Source { prose, names }
}

fn name(line: usize, code: &str) -> Option<Name> {
    // Associated types are excluded below, because the trait determines their names. They are indented and not public.
    let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '(' || c == ')'));
    let mut is_public = false;
    let kind = loop {
        match words.next()? {
            "pub" => is_public = true,
            "unsafe" | "" => {}
            word if word.starts_with("pub(") => {}
            word if word.starts_with('(') || word.ends_with(')') => {}
            word if DECLARATIONS.contains(&word) => break word,
            _ => return None,
        }
    };
    let name = words.next()?.split('(').next().filter(|name| !name.is_empty())?;
    let is_associated = kind == "type" && code.starts_with(' ') && !code.trim_start().starts_with("pub");
    (!is_associated).then(|| Name { line, name: name.to_owned(), is_public, is_module: kind == "mod" })
}

/// Splits a source into lines of code without comments and the contents of strings, and these as prose.
fn split(source: &str) -> (Vec<String>, Vec<(usize, String)>) {
    let mut code = vec![String::new()];
    let mut prose: Vec<(usize, String)> = Vec::new();
    // The line of the last comment, and where in `prose` it is.
    let mut last_comment = None;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let line = code.len();
        let length = match first {
            '/' if rest.starts_with("//") => {
                let length = rest.find('\n').unwrap_or(rest.len());
                let text = rest[..length].trim_start_matches(['/', '!']).trim();
                let index = last_comment.filter(|(last, _)| last + 1 == line).map(|(_, index)| index);
                match index.and_then(|index: usize| prose.get_mut(index)) {
                    Some((_, comment)) => comment.extend([" ", text]),
                    None => prose.push((line, text.to_owned())),
                }
                last_comment = Some((line, index.unwrap_or(prose.len() - 1)));
                length
            }
            '"' => string(rest, "\"", true, line, &mut prose),
            'r' if is_raw_string(rest) && !ends_in_name(&code) => {
                let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
                let closing = format!("\"{}", "#".repeat(hashes));
                1 + hashes + string(&rest[1 + hashes..], &closing, false, line, &mut prose)
            }
            // A character literal; a lifetime falls through to the last case.
            '\'' if rest[1..].starts_with('\\') => 2 + rest[2..].find('\'').map_or(0, |at| at.max(1) + 1),
            '\'' => match rest[1..].chars().next() {
                Some(c) if rest[1 + c.len_utf8()..].starts_with('\'') => 2 + c.len_utf8(),
                _ => 1,
            },
            _ => {
                if let Some(line) = code.last_mut()
                    && first != '\n'
                {
                    line.push(first);
                }
                first.len_utf8()
            }
        };
        let length = length.min(rest.len());
        let new_lines = rest[..length].matches('\n').count();
        code.extend((0..new_lines).map(|_| String::new()));
        rest = &rest[length..];
    }
    (code, prose)
}

fn is_raw_string(rest: &str) -> bool {
    rest[1..].trim_start_matches('#').starts_with('"')
}

fn ends_in_name(code: &[String]) -> bool {
    code.last().and_then(|line| line.chars().last()).is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Reads a string literal that starts at `rest`; returns its length including both quotation marks.
fn string(
    rest: &str,
    closing: &str,
    has_escapes: bool,
    line: usize,
    prose: &mut Vec<(usize, String)>,
) -> usize {
    let mut end = 1;
    while end < rest.len() && !rest[end..].starts_with(closing) {
        let escape = has_escapes && rest[end..].starts_with('\\');
        end += rest[end..].chars().take(if escape { 2 } else { 1 }).map(char::len_utf8).sum::<usize>();
    }
    let text = rest[1..end].replace("\\n", " ").replace("\\\n", " ");
    prose.push((line, text.split_whitespace().collect::<Vec<_>>().join(" ")));
    end + closing.len()
}

#[cfg(test)]
mod checks {
    use super::*;

    fn prose(source: &str) -> Vec<(usize, String)> {
        read(source).prose
    }

    #[test]
    fn comments_and_strings_are_prose() {
        let source = "//! One\n//! two.\n\nfn f() {\n    print(\"th\\\"ree\"); // four\n}\n";
        let expected = [(1, "One two."), (5, "th\\\"ree"), (5, "four")];
        assert_eq!(prose(source), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_quotation_mark_in_a_character_literal_does_not_start_a_string() {
        assert_eq!(prose("let c = '\"'; let d = '\\''; let e = \"x\";"), [(1, "x".to_owned())]);
        assert_eq!(prose("fn f<'a>(x: &'a str) {} // y"), [(1, "y".to_owned())]);
    }

    #[test]
    fn raw_strings_end_at_the_matching_delimiter() {
        assert_eq!(
            prose("r#\"a \"quoted\" word\"# // b"),
            [(1, "a \"quoted\" word".to_owned()), (1, "b".to_owned())]
        );
    }

    #[test]
    fn declarations_are_names_and_uses_are_not() {
        let source = "pub struct Wanted(u8);\npub(crate) enum Look { A }\nmod desk;\nlet x: Place = y;\n// struct Ear\n";
        let names: Vec<_> = read(source).names;
        let short: Vec<_> =
            names.iter().map(|n| (n.line, n.name.as_str(), n.is_public, n.is_module)).collect();
        assert_eq!(short, [(1, "Wanted", true, false), (2, "Look", false, false), (3, "desk", false, true)]);
    }

    #[test]
    fn associated_types_are_excluded() {
        let names = read("impl Iterator for X {\n    type Item = u8;\n}\npub type Place = u8;\n").names;
        assert_eq!(names.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["Place"]);
    }
}
