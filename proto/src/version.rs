//! Protocol numbers, what changed with each, and what a message may take; and which versions of torch fit each other.

/// Spoken by this build on the data path. 1: first. 2: a signature says the default dtype and which arguments are written.
pub const DATA_PROTOCOL: u32 = 2;
/// Spoken by this build on the control path. 1: first.
pub const CONTROL_PROTOCOL: u32 = 1;

/// Longest event on the control path, bytes: an agent sends none that is longer, and a control plane takes none. What does not fit goes in several reports.
pub const MAX_EVENT_BYTES: usize = 4 << 20;

/// Whether two versions of torch (`2.13.0`, `2.13.1+cu130`) share major and minor: operator schemas may differ otherwise.
pub fn torch_fits(one: &str, other: &str) -> bool {
    match (minor(one), minor(other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => false,
    }
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::torch_fits;

    #[test]
    fn versions_of_torch_fit_by_major_and_minor() {
        assert!(torch_fits("2.13.0", "2.13.1+cu130"));
        assert!(!torch_fits("2.13.0", "2.12.0"));
        assert!(!torch_fits("2.13.0", "3.13.0"));
        assert!(!torch_fits("", "2.13.0"));
    }
}
