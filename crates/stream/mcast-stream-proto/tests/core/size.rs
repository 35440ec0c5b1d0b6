//! The size of the core: an engineer reads its order, repair and flow control in an afternoon.

use std::fs;
use std::path::Path;

/// The most lines of code, without options, tests, comments and blank lines.
const MOST: usize = 10_000;

#[test]
fn the_core_is_small_enough_to_be_read() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lines = lines_of(&sources.join("lib.rs"), &sources);
    assert!(lines <= MOST, "the protocol without its options has {lines} lines of code");
    assert!(lines > MOST / 2, "modules are missing in the count: {lines} lines of code");
}

/// Returns the lines of code of a module, and of those inside it, as they are compiled without features. Its modules are in
/// `folder`.
fn lines_of(file: &Path, folder: &Path) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let (mut count, mut path) = (0, None);
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if code.is_empty() || code.starts_with("//") {
            continue;
        }
        if is_option_or_test(code) {
            skip_item(&mut lines);
            continue;
        }
        count += 1;
        if let Some(of_next) = code.strip_prefix("#[path = \"") {
            path = of_next.strip_suffix("\"]");
        }
        let declared = code.strip_suffix(';').and_then(|code| code.split_once("mod "));
        if let Some((_, name)) = declared.filter(|(before, _)| before.is_empty() || before.starts_with("pub"))
        {
            let inside = folder.join(name);
            let alone =
                path.take().map_or_else(|| folder.join(format!("{name}.rs")), |path| folder.join(path));
            let file = if alone.exists() { alone } else { inside.join("mod.rs") };
            count += lines_of(&file, &inside);
        }
    }
    count
}

fn is_option_or_test(attribute: &str) -> bool {
    let condition = attribute.strip_prefix("#[cfg(").unwrap_or_default();
    let of_several = condition.strip_prefix("any(").or_else(|| condition.strip_prefix("all("));
    let first = of_several.unwrap_or(condition);
    first.starts_with("feature") || first.starts_with("test")
}

/// Skips what an attribute belongs to: one line, or all up to the bracket that closes it.
fn skip_item<'t>(lines: &mut impl Iterator<Item = &'t str>) {
    let is_head = |line: &&str| !line.trim_start().starts_with("#[") && !line.trim_start().starts_with("//");
    let Some(head) = lines.find(is_head) else { return };
    let indentation = head.len() - head.trim_start().len();
    let closes = |line: &str| {
        line.len() > indentation
            && line.get(..indentation).is_some_and(|space| space.trim().is_empty())
            && line[indentation..].starts_with(['}', ')'])
    };
    if !head.ends_with([';', ',', '}']) {
        lines.find(|line| closes(line));
    }
}
