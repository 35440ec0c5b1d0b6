//! Drawings as SVG, for light and dark pages: boxes, lines, arrows and labels.

use std::fmt::Write;

/// Colours for both themes. A drawing has its own background, so that it can be read on any page.
const STYLE: &str = "\
    .b{fill:#ffffff}text{fill:#1f2328}.m{fill:#59636e}.o{fill:#1a6b42}.l{fill:#b3261e}\
    .box{fill:#f6f8fa;stroke:#8c99a6}.good{fill:#dff3e6;stroke:#1f7a4d}.bad{fill:#fde7e5;stroke:#b3261e}\
    .line{stroke:#59636e}.bar{stroke:#1f7a4d}.loss{stroke:#b3261e}\
    @media(prefers-color-scheme:dark){.b{fill:#151b23}text{fill:#e6edf3}.m{fill:#a5b0bb}.o{fill:#5fd395}.l{fill:#ff8a80}\
    .box{fill:#212a34;stroke:#6e7b88}.good{fill:#163524;stroke:#3fb97a}.bad{fill:#43201d;stroke:#ff8a80}\
    .line{stroke:#a5b0bb}.bar{stroke:#3fb97a}.loss{stroke:#ff8a80}}";

/// A point, from the left and from the top.
pub type Point = (f64, f64);

/// The colour of a text, a box or a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Neutral.
    Plain,
    /// What matters less.
    Muted,
    /// What arrives, works or holds.
    Good,
    /// What is lost, fails or is over.
    Bad,
}

/// Where a text stands at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A drawing.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    body: String,
}

impl Drawing {
    /// Adds a text.
    pub fn text(&mut self, at: Point, anchor: Anchor, ink: Ink, text: &str) {
        let class = match ink {
            Ink::Plain => "",
            Ink::Muted => " class=\"m\"",
            Ink::Good => " class=\"o\"",
            Ink::Bad => " class=\"l\"",
        };
        self.text_with(at, anchor, class, text);
    }

    /// Adds a bold text.
    pub fn heading(&mut self, at: Point, anchor: Anchor, text: &str) {
        self.text_with(at, anchor, " font-weight=\"bold\"", text);
    }

    /// Adds a text with attributes of SVG, each with a space before it. An empty text adds nothing.
    pub fn text_with(&mut self, (x, y): Point, anchor: Anchor, attributes: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{attributes}>{text}</text>"
        ));
    }

    /// Adds a box with these lines of text in its middle, the first one bold.
    pub fn labelled_box(&mut self, (x, y): Point, (width, height): (f64, f64), ink: Ink, lines: &[&str]) {
        let class = match ink {
            Ink::Plain | Ink::Muted => "box",
            Ink::Good => "good",
            Ink::Bad => "bad",
        };
        self.add(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"5\"/>"
        ));
        let middle = x + width / 2.0;
        let first = y + height / 2.0 + 4.5 - 8.5 * lines.len().saturating_sub(1) as f64;
        for (number, line) in lines.iter().enumerate() {
            let at = (middle, 17.0f64.mul_add(number as f64, first));
            match number {
                0 => self.heading(at, Anchor::Middle, line),
                _ => self.text(at, Anchor::Middle, Ink::Muted, line),
            }
        }
    }

    /// Adds a line.
    pub fn line(&mut self, from: Point, to: Point, ink: Ink) {
        self.line_with(from, to, stroke(ink), " stroke-width=\"1.5\"");
    }

    /// Adds a thick line: a period of time.
    pub fn bar(&mut self, from: Point, to: Point, ink: Ink) {
        self.line_with(from, to, stroke(ink), " stroke-width=\"10\"");
    }

    /// Adds an arrow. Its head is at the second point.
    pub fn arrow(&mut self, from: Point, to: Point, ink: Ink) {
        self.line(from, to, ink);
        let angle = (to.1 - from.1).atan2(to.0 - from.0);
        for turn in [2.7, -2.7] {
            let (sine, cosine) = (angle + turn).sin_cos();
            self.line(to, (9.0f64.mul_add(cosine, to.0), 9.0f64.mul_add(sine, to.1)), ink);
        }
    }

    /// Adds a cross: here something ends.
    pub fn cross(&mut self, (x, y): Point) {
        self.line((x - 6.0, y - 6.0), (x + 6.0, y + 6.0), Ink::Bad);
        self.line((x - 6.0, y + 6.0), (x + 6.0, y - 6.0), Ink::Bad);
    }

    /// Adds a line of this class of the style, with attributes of SVG, each with a space before it.
    pub fn line_with(&mut self, (x1, y1): Point, (x2, y2): Point, class: &str, attributes: &str) {
        self.add(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"{attributes}/>"
        ));
    }

    /// Adds an element of SVG.
    pub fn add(&mut self, element: impl std::fmt::Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }

    /// Returns the SVG.
    #[must_use]
    pub fn to_svg(&self, title: &str, size: (f64, f64)) -> String {
        self.to_svg_with(title, size, STYLE)
    }

    /// Returns the SVG with another style.
    #[must_use]
    pub fn to_svg_with(&self, title: &str, (width, height): (f64, f64), style: &str) -> String {
        let (title, body) = (escaped(title), &self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"system-ui,sans-serif\" font-size=\"13\">\n\
             <title>{title}</title>\n<style>{style}</style>\n\
             <rect class=\"b\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n{body}</svg>\n"
        )
    }
}

fn stroke(ink: Ink) -> &'static str {
    match ink {
        Ink::Plain | Ink::Muted => "line",
        Ink::Good => "bar",
        Ink::Bad => "loss",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_names_itself_and_has_colours_for_dark_pages() {
        let mut drawing = Drawing::default();
        drawing.text((1.0, 2.0), Anchor::End, Ink::Bad, "a < b & c");
        let svg = drawing.to_svg("Losses", (100.0, 50.0));
        for expected in ["<title>Losses</title>", ">a &lt; b &amp; c</text>", "prefers-color-scheme:dark"] {
            assert!(svg.contains(expected), "{expected}: {svg}");
        }
    }

    #[test]
    fn the_head_of_an_arrow_is_behind_its_point() {
        let mut drawing = Drawing::default();
        drawing.arrow((0.0, 10.0), (100.0, 10.0), Ink::Plain);
        let svg = drawing.to_svg("", (120.0, 20.0));
        assert_eq!(svg.matches("x1=\"100.0\" y1=\"10.0\" x2=\"91.9\"").count(), 2, "{svg}");
    }
}
