//! Pictures of a terminal. Of a moving one, all frames are in one SVG, one below the other, and a browser shows one at a time.

use std::fmt::Write;

use snapbox::{IntoData, data::DataFormat};

/// The height of a line, and the room around the text, in the SVG of `snapbox`.
const LINE: usize = 18;
const ROOM: usize = 10;
/// Where the first line begins: its letters reach below the position of the line.
const TOP: usize = ROOM + 4;

/// Dark colours of a terminal that can hardly be read on black, and what is shown instead.
const READABLE: [(&str, &str); 3] = [("#0000AA", "#5F87FF"), ("#AA0000", "#FF6B6B"), ("#AA00AA", "#E07BE0")];

/// Returns the SVG of a text with the colours of a terminal.
pub(crate) fn still(text: String) -> String {
    let svg = text.raw().coerce_to(DataFormat::TermSvg).to_string();
    READABLE.iter().fold(svg, |svg, (dark, bright)| svg.replace(dark, bright))
}

/// Returns the SVG of these frames: how long each is shown in seconds, and its text with the colours of a terminal. Where motion is not
/// wanted, the last one is shown.
pub(crate) fn film(frames: &[(f64, String)]) -> String {
    let tallest = frames.iter().map(|(_, text)| text.lines().count()).max().unwrap_or(0);
    let strip = frames.iter().map(|(_, text)| padded(text, tallest)).collect::<Vec<_>>().join("\n");
    let still = still(strip);
    let height = tallest * LINE;
    let total: f64 = frames.iter().map(|(seconds, _)| seconds).sum();
    let (mut motion, mut at) = (String::new(), 0.0);
    for (number, (seconds, _)) in frames.iter().enumerate() {
        let _ = write!(
            motion,
            " {:.2}% {{ transform: translateY(-{}px) }}",
            at / total * 100.0,
            TOP + number * height
        );
        at += seconds;
    }
    let last = TOP + frames.len().saturating_sub(1) * height;
    let style = format!(
        "    .film {{ transform: translateY(-{last}px) }}\n    \
         @media (prefers-reduced-motion: no-preference) {{ .film {{ animation: film {total:.1}s step-end infinite }} }}\n    \
         @keyframes film {{{motion} }}\n  </style>"
    );
    let whole = format!("height=\"{}px\"", frames.len() * height + 2 * ROOM);
    assert!(still.contains(&whole), "{whole}");
    still
        .replacen(&whole, &format!("height=\"{}px\"", height + 2 * ROOM), 1)
        .replacen("  </style>", &style, 1)
        .replacen("  <text ", &format!("  <svg y=\"{TOP}px\" height=\"{height}px\" overflow=\"hidden\">\n  <g class=\"film\">\n  <text "), 1)
        .replacen("  </text>", "  </text>\n  </g>\n  </svg>", 1)
}

/// A text of this number of lines.
fn padded(text: &str, lines: usize) -> String {
    let missing = lines - text.lines().count();
    text.trim_end_matches('\n').to_owned() + &"\n".repeat(missing)
}
