//! The claims of the README about speed, which are written from the figures.

use anyhow::{Context, Result};

use super::outdated;
use super::results::Results;

const BEGIN: &str = "<!-- figures: `cargo bench-peers render` writes this -->\n";
const END: &str = "<!-- end of figures -->\n";

const WORDS: [&str; 21] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

/// Returns the README with the claims that these figures support.
pub(super) fn updated(readme: &str, results: &Results) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("README.md lacks the beginning of the figures")?;
    let (_, after) = rest.split_once(END).context("README.md lacks the end of the figures")?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", text(results)))
}

fn text(results: &Results) -> String {
    let sentences = [receiving(results), messages(results)];
    sentences.into_iter().flatten().map(|sentence| format!("- {sentence}\n")).collect()
}

/// The range of the ratios to C, over all links and sizes.
fn receiving(results: &Results) -> Option<String> {
    let range = |name: &str| {
        let tables = results.tables().filter(|figures| figures.reference == "c-trains");
        let ratios = tables.filter(|figures| figures.table.starts_with("receive-"));
        let ratios = ratios.filter_map(|figures| figures.ratio(name, "c-trains", "rate"));
        let mut medians: Vec<_> = ratios.map(|spread| spread.median).collect();
        medians.sort_by(f64::total_cmp);
        Some(format!("{:.2} to {:.2}", medians.first()?, medians.last()?))
    };
    Some(format!(
        "A loop over `Reader::next` receives {} times as many datagrams per second as C with the same calls, and `recv_batch` \
         {} times (`--table receive`).",
        range("mcast-reader")?,
        range("mcast-batches")?
    ))
}

fn messages(results: &Results) -> Option<String> {
    let ratio = |table: &str, name: &str, to: &str| {
        results.table(table)?.ratio(name, to, "goodput").map(|spread| spread.median)
    };
    let plain = ratio("messages-plain-1344", "mcast-stream", "aeron")?;
    let lossy = ratio("messages-lossy-1", "mcast-stream, 1 %", "aeron-tuned, 1 %")?;
    let is_now = !outdated::contestants(results).iter().any(|outdated| outdated.name == "mcast-stream");
    let (call, measured) = if is_now {
        ("With `publish`, a call per message, messages", "")
    } else {
        ("Messages", ", measured on an earlier commit, with a call that `publish` has replaced")
    };
    Some(format!(
        "{call} of 1,344 bytes arrive {} as fast as Aeron's without loss, and {} against Aeron with a tuned NAK delay at 1 % loss \
         (`--table messages`{measured}).",
        times(plain),
        times(lossy)
    ))
}

/// Returns a factor in words, rounded down, so that no claim exceeds its figure.
fn times(factor: f64) -> String {
    match WORDS.get(factor as usize) {
        Some(word) if factor >= 2.0 => format!("{word} times"),
        Some(_) => format!("{:.2} times", (factor * 100.0).floor() / 100.0),
        None => format!("{:.0} times", factor.floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_not_more_than_its_figure() {
        assert_eq!([8.99, 13.2, 2.0].map(times), ["eight times", "thirteen times", "two times"]);
        assert_eq!(
            [1.459, 0.999, 20.9, 66.4].map(times),
            ["1.45 times", "0.99 times", "twenty times", "66 times"]
        );
    }

    #[test]
    fn only_the_marked_part_of_the_readme_is_written() {
        let readme = format!("# mcast\n\n{BEGIN}\nA hundred times as fast.\n{END}\n## Next\n");
        let updated = updated(&readme, &Results::stored().unwrap()).unwrap();
        assert!(updated.starts_with(&format!("# mcast\n\n{BEGIN}\n- ")), "{updated}");
        assert!(updated.ends_with(&format!(".\n\n{END}\n## Next\n")), "{updated}");
        assert!(!updated.contains("hundred"), "{updated}");
        assert!(super::updated("# mcast\n", &Results::stored().unwrap()).is_err());
    }
}
