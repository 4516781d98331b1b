//! What may have been meant.

/// Words that other programs use for ours.
const ELSEWHERE: &[(&str, &str)] = &[
    ("backend", "origin"),
    ("upstream", "origin"),
    ("server", "origin"),
    ("redis", "valkey"),
    ("cache", "store"),
    ("ttl", "soft_ttl"),
    ("max_age", "soft_ttl"),
    ("s_maxage", "soft_ttl"),
    ("grace", "hard_ttl"),
    ("stale_while_revalidate", "hard_ttl"),
    ("surrogate_keys", "tags"),
    ("invalidates", "on_write"),
    ("bind", "listen"),
    ("address", "listen"),
    ("password", "token"),
    ("pattern", "path"),
    ("uri", "path"),
    ("domain", "host"),
    ("lock", "collapse"),
    ("coalesce", "collapse"),
];

/// The candidate that was probably meant, as a sentence.
pub(super) fn did_you_mean<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    let lower = word.to_lowercase().replace('-', "_");
    let ours = ELSEWHERE.iter().find(|(theirs, _)| *theirs == lower).map(|(_, ours)| *ours);
    let close = candidates
        .clone()
        .map(|candidate| (distance(&lower, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= slips(candidate.len().min(lower.len())))
        .min_by_key(|(distance, _)| *distance);
    let meant = close.map(|(_, candidate)| candidate);
    let meant = meant.or_else(|| candidates.clone().find(|candidate| Some(*candidate) == ours));
    meant.map(|candidate| format!("did you mean `{candidate}`?"))
}

/// How many slips are forgiven in a word of this length.
const fn slips(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    }
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Long words are no slips of ours; and the table below grows with their product.
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            let swapped = i > 0 && j > 0 && a[i - 1] == *y && b[j - 1] == *x;
            if swapped {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        let rows = [
            ("", "", 0),
            ("", "abc", 3),
            ("timeout", "tiemout", 1),
            ("tag", "tags", 1),
            ("a", "b", 1),
        ];
        for (a, b, expected) in rows {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_word_is_offered_and_nothing_far_away() {
        let keys = ["soft_ttl", "hard_ttl", "tags", "timeout", "on_write", "key.headers", "url"];
        let rows = [
            ("sotf_ttl", Some("soft_ttl")),
            ("soft-ttl", Some("soft_ttl")),
            ("Tags", Some("tags")),
            ("tag", Some("tags")),
            ("ttl", Some("soft_ttl")),
            ("grace", Some("hard_ttl")),
            ("key.header", Some("key.headers")),
            ("colour", None),
            ("x", None),
        ];
        for (word, expected) in rows {
            let expected = expected.map(|word| format!("did you mean `{word}`?"));
            assert_eq!(did_you_mean(word, keys.into_iter()), expected, "{word}");
        }
    }
}
