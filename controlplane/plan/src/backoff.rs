//! How long to wait after failures in a row.

use std::time::Duration;

/// Shortest wait.
pub const FIRST: Duration = Duration::from_secs(1);
/// Longest wait, before jitter.
pub const LONGEST: Duration = Duration::from_secs(300);

/// 1 s, doubled with each failure after the first, at most 5 min, times 0.75 to 1.25. `jitter` is from 0 to 1. No failure: no wait.
pub fn delay(failures: u32, jitter: f64) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => {
            let doublings = (n - 1).min(16);
            FIRST.saturating_mul(1 << doublings).min(LONGEST).mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stay_within_their_bounds() {
        assert_eq!(delay(0, 0.5), Duration::ZERO);
        assert_eq!(delay(1, 0.5), Duration::from_secs(1));
        assert_eq!(delay(4, 0.5), Duration::from_secs(8));
        assert_eq!(delay(u32::MAX, 0.5), LONGEST);
        assert_eq!(delay(1, 0.0), Duration::from_millis(750));
        assert_eq!(delay(u32::MAX, 7.0), LONGEST.mul_f64(1.25));
    }
}
