//! Suggestions for misspelled words.

/// Returns the most similar word, if one is similar enough.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MIN_SIMILARITY: f64 = 0.6;

    let word = word.to_lowercase();
    let rated = known.into_iter().map(|known| (strsim::normalized_damerau_levenshtein(&word, known), known));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(similarity, _)| *similarity >= MIN_SIMILARITY).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_words_are_recognized_and_other_words_are_not() {
        let closest = |word| closest(word, ["mdns", "ssdp", "ptp", "no-querier"]);
        assert_eq!(closest("mdsn"), Some("mdns"));
        assert_eq!(closest("SDSP"), Some("ssdp"));
        assert_eq!(closest("no-queirer"), Some("no-querier"));
        assert_eq!(closest("weather"), None);
    }
}
