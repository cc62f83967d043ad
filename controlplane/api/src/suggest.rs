//! "Did you mean": the allowed values nearest to a wrong one.

/// The values of `allowed` that `value` may have been meant as, none if nothing is near.
/// A value with a size in its name (`A100-40GB`) is also near to its base (`A100`).
pub fn nearest<'a>(value: &str, allowed: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wrong = value.to_ascii_lowercase();
    if wrong.is_empty() {
        return Vec::new();
    }
    let limit = (wrong.chars().count() / 2).clamp(1, 3);
    let mut best = limit + 1;
    let mut found = Vec::new();
    for candidate in allowed {
        let lower = candidate.to_ascii_lowercase();
        let base = lower.split('-').next().unwrap_or(&lower);
        let distance = distance(&wrong, &lower).min(distance_to_base(&wrong, base, &lower));
        if distance < best {
            best = distance;
            found.clear();
        }
        if distance == best && best <= limit {
            found.push(candidate);
        }
    }
    found
}

/// `"A"`, `"A" or "B"`, `"A", "B" or "C"`.
pub fn either(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

fn distance_to_base(wrong: &str, base: &str, whole: &str) -> usize {
    if base == whole { usize::MAX } else { distance(wrong, base) }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::GpuType;

    fn gpu(value: &str) -> Vec<&'static str> {
        nearest(value, GpuType::ALL.iter().map(|gpu| gpu.as_str()))
    }

    #[test]
    fn a_gpu_without_its_size_means_both_sizes() {
        assert_eq!(gpu("A100"), ["A100-40GB", "A100-80GB"]);
        assert_eq!(gpu("A1000"), ["A100-40GB", "A100-80GB"]);
        assert_eq!(gpu("a100-80gb"), ["A100-80GB"]);
        assert_eq!(gpu("A10"), ["A10G"].into_iter().chain(["A100-40GB", "A100-80GB"]).collect::<Vec<_>>());
        assert_eq!(gpu("h10"), ["H100"]);
        assert_eq!(gpu("quantum"), Vec::<&str>::new());
    }

    #[test]
    fn choices_read_as_a_sentence() {
        assert_eq!(either(&["a"]), r#""a""#);
        assert_eq!(either(&["a", "b", "c"]), r#""a", "b" or "c""#);
    }
}
