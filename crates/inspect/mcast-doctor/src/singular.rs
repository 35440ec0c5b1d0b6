//! Nouns and verbs that agree with their number.

/// What the doctor counts.
const NOUNS: [&str; 10] = [
    "datagrams",
    "packets",
    "frames",
    "messages",
    "fragments",
    "queries",
    "groups",
    "sources",
    "entries",
    "memberships",
];

/// Verbs behind them, and the same in the singular.
const VERBS: [(&str, &str); 6] = [
    ("were", "was"),
    ("are", "is"),
    ("have", "has"),
    ("wait", "waits"),
    ("carry", "carries"),
    ("contain", "contains"),
];

/// Returns a text with `1 datagram was` instead of `1 datagrams were`. The sentences about numbers, of which few are ever
/// 1, are written in the plural. What is quoted in backticks, such as a rule, stays as its author wrote it.
pub(crate) fn agreeing(text: impl Into<String>) -> String {
    let text = text.into();
    if !text.contains("1 ") {
        return text;
    }
    let mut agreeing = String::with_capacity(text.len());
    let (mut is_one, mut needs_verb, mut is_quoted) = (false, false, false);
    for word in text.split_inclusive(' ') {
        let marks = word.matches('`').count();
        if is_quoted || marks > 0 {
            is_quoted ^= marks % 2 == 1;
            (is_one, needs_verb) = (false, false);
            agreeing += word;
            continue;
        }
        let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric());
        let noun = NOUNS.contains(&bare).then(|| singular(bare)).filter(|_| is_one);
        let verb = VERBS.iter().find(|(plural, _)| needs_verb && *plural == bare);
        needs_verb =
            (noun.is_some() || needs_verb && verb.is_none()) && !word.trim_end().ends_with(['.', ';', ':']);
        is_one = word.trim_start_matches('(') == "1 ";
        match noun.or_else(|| verb.map(|(_, singular)| (*singular).to_owned())) {
            Some(other) => agreeing += &word.replacen(bare, &other, 1),
            None => agreeing += word,
        }
    }
    agreeing
}

fn singular(noun: &str) -> String {
    match noun.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => noun.trim_end_matches('s').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evidence, EvidenceKind, Finding, Id, LayerObservation, OpenQuestion};

    #[test]
    fn one_is_singular_with_its_verb() {
        for (plural, singular) in [
            ("1 datagrams", "1 datagram"),
            (
                "its receive buffer is full, and 1 datagrams to 239.1.2.3:5000 were dropped",
                "its receive buffer is full, and 1 datagram to 239.1.2.3:5000 was dropped",
            ),
            ("1 of 1 packets (1 messages): they are lost", "1 of 1 packet (1 message): they are lost"),
            ("1 entries, 1 queries", "1 entry, 1 query"),
            ("what 1 frames contain", "what 1 frame contains"),
        ] {
            assert_eq!(agreeing(plural), singular);
        }
        for other in [
            "11 datagrams were lost",
            "1 of 2 datagrams were lost",
            "eth1 frames",
            "2,001 datagrams",
            "1 of them are",
            "`limit 1 packets drop` drops",
            "drops: `1 packets were`",
        ] {
            assert_eq!(agreeing(other), other);
        }
    }

    #[test]
    fn whatever_the_doctor_reports_agrees_with_its_numbers() {
        for noun in NOUNS {
            let (plural, one) = (format!("1 {noun} were lost"), format!("1 {} was lost", singular(noun)));
            assert_eq!(Finding::fault(Id::NoRoute, &plural).cause, one);
            assert_eq!(LayerObservation::new("wire", &plural).message, one);
            let question = OpenQuestion::new(&plural, &plural);
            assert_eq!((question.question, question.reason), (one.clone(), one.clone()));
            let evidence = Evidence::change(EvidenceKind::Packet, "eth0", &plural, &plural);
            assert_eq!((evidence.previous_value, evidence.value), (Some(one.clone()), one));
        }
    }
}
