//! Charts to choose by: questions below each other, each with the answer that ends them. `SNAPSHOTS=overwrite` draws them again.

use std::fmt::Write;

use snapbox::{assert_data_eq, file};

/// A question, the reply to it that ends the chart, and where that leads; the other reply leads to the next question.
struct Question {
    asked: &'static str,
    reply: &'static str,
    answer: [&'static str; 2],
}

/// Questions in order, and the answer if none of them has ended the chart.
struct Chart {
    title: &'static str,
    questions: &'static [Question],
    otherwise: [&'static str; 2],
}

const POLICY: Chart = Chart {
    title: "Which policy for which data",
    questions: &[
        Question {
            asked: "Does only the latest value of each key count?",
            reply: "yes",
            answer: ["--policy latest", "start with --from snapshot"],
        },
        Question {
            asked: "Is a message useless when it is late?",
            reply: "yes",
            answer: ["--policy deadline=TIME", "TIME: what a player buffers"],
        },
        Question {
            asked: "May messages be missing?",
            reply: "yes",
            answer: ["--policy best-effort", "no repairs; losses are reported"],
        },
        Question {
            asked: "Must the publisher know what has arrived?",
            reply: "yes",
            answer: ["--policy reliable", "and --ack at the publisher"],
        },
    ],
    otherwise: ["--policy reliable", "the default: every message, in order"],
};

const KIND: Chart = Chart {
    title: "Is multicast right for this?",
    questions: &[
        Question {
            asked: "Do all want the same, at the same time?",
            reply: "no",
            answer: ["Unicast", "such as video on demand"],
        },
        Question {
            asked: "Should only one of several servers answer?",
            reply: "yes",
            answer: ["Anycast", "or a load balancer"],
        },
        Question {
            asked: "Must messages be kept or shared among workers?",
            reply: "yes",
            answer: ["A broker", "beside a group: a bridge"],
        },
        Question {
            asked: "Are there only two or three receivers?",
            reply: "yes",
            answer: ["Unicast to each", "easier to operate"],
        },
        Question {
            asked: "Does the network carry multicast to them all?",
            reply: "no",
            answer: ["A relay or a tunnel", "around what does not carry it"],
        },
    ],
    otherwise: ["Multicast", "every message counts: the message layer"],
};

/// Colours for both themes, as in the plots of benchmarks.
const STYLE: &str = "\
    .b{fill:#ffffff}text{fill:#1f2328}.m{fill:#59636e}.q{fill:#f6f8fa;stroke:#59636e}.a{fill:#dff3e7;stroke:#1f7a4d}\
    path{stroke:#59636e;fill:none}\
    @media(prefers-color-scheme:dark){.b{fill:#151b23}text{fill:#e6edf3}.m{fill:#a5b0bb}.q{fill:#1f2630;stroke:#a5b0bb}\
    .a{fill:#15321f;stroke:#3fb97a}path{stroke:#a5b0bb}}";

const WIDTH: usize = 760;
const MARGIN: usize = 14;
const TITLE: usize = 26;
/// From one question to the next.
const STEP: usize = 72;
const BOX: usize = 46;
/// The left edges and widths of questions and answers.
const QUESTIONS: (usize, usize) = (MARGIN, 400);
const ANSWERS: (usize, usize) = (470, WIDTH - MARGIN - 470);

impl Chart {
    fn svg(&self) -> String {
        let height = MARGIN + TITLE + self.questions.len() * STEP + BOX + MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"system-ui,sans-serif\" font-size=\"14\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"b\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n",
            self.title
        );
        text(&mut svg, (MARGIN, MARGIN + 14), "font-weight=\"bold\" font-size=\"15\"", self.title);
        let mut top = MARGIN + TITLE;
        for Question { asked, reply, answer } in self.questions {
            let other = if *reply == "yes" { "no" } else { "yes" };
            let (right, middle, below) = (QUESTIONS.0 + QUESTIONS.1, top + BOX / 2, top + BOX);
            rectangle(&mut svg, "q", QUESTIONS, top);
            text(&mut svg, (QUESTIONS.0 + 12, middle + 5), "", asked);
            arrow(&mut svg, (right, middle), (ANSWERS.0, middle));
            text(&mut svg, (right + 18, middle - 6), "class=\"m\"", reply);
            self::answer(&mut svg, answer, ANSWERS, top);
            arrow(&mut svg, (40, below), (40, top + STEP));
            text(&mut svg, (50, below + 18), "class=\"m\"", other);
            top += STEP;
        }
        self::answer(&mut svg, &self.otherwise, QUESTIONS, top);
        svg + "</svg>\n"
    }
}

fn rectangle(svg: &mut String, class: &str, (left, width): (usize, usize), top: usize) {
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{BOX}\" rx=\"6\"/>"
    );
}

fn text(svg: &mut String, (x, y): (usize, usize), attributes: &str, text: &str) {
    let attributes = if attributes.is_empty() { String::new() } else { format!(" {attributes}") };
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\"{attributes}>{text}</text>");
}

fn answer(svg: &mut String, [first, second]: &[&str; 2], place: (usize, usize), top: usize) {
    rectangle(svg, "a", place, top);
    text(svg, (place.0 + 12, top + 20), "font-weight=\"bold\"", first);
    text(svg, (place.0 + 12, top + 37), "class=\"m\" font-size=\"13\"", second);
}

/// An arrow to the right or down.
fn arrow(svg: &mut String, from: (usize, usize), to: (usize, usize)) {
    let ((x, y), (end_x, end_y)) = (from, to);
    let head = if y == end_y { "m-7 -4 7 4 -7 4" } else { "m-4 -7 4 7 4 -7" };
    let _ = writeln!(svg, "<path d=\"M{x} {y} L{end_x} {end_y} {head}\"/>");
}

#[test]
fn the_chart_of_policies_is_that_of_the_guide() {
    let picture = file!["../../../../../docs/pictures/choose-a-policy.svg": Text];
    assert_data_eq!(POLICY.svg(), picture.raw());
}

#[test]
fn the_chart_of_kinds_is_that_of_the_guide() {
    let picture = file!["../../../../../docs/pictures/which-kind.svg": Text];
    assert_data_eq!(KIND.svg(), picture.raw());
}

/// Letters are 7 to 8 wide on average in the fonts of systems.
#[test]
fn the_texts_of_charts_fit_into_their_boxes() {
    for chart in [POLICY, KIND] {
        for question in chart.questions {
            assert!(question.asked.len() * 8 < QUESTIONS.1 - 24, "{}", question.asked);
            let [first, second] = question.answer;
            assert!(first.len().max(second.len()) * 8 < ANSWERS.1 - 24, "{first}");
        }
        let page = std::fs::read_to_string(crate::markdown::top().join("how-to/choose-a-policy.md")).unwrap();
        let options = chart.questions.iter().map(|question| question.answer[0]);
        for option in options.filter_map(|option| option.strip_prefix("--policy ")) {
            assert!(page.contains(&format!("| `{option}` |")), "{option}");
        }
    }
}
