//! Times as kubectl shows them: `5m`, `2d3h`.

use chrono::{DateTime, TimeDelta, Utc};

/// The time since `instant`, or `<unknown>` when there is none.
pub fn since(instant: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    instant.map_or_else(|| "<unknown>".to_owned(), |instant| human(now - instant))
}

/// The time until `instant`; `0s` when it is past.
pub fn until(instant: DateTime<Utc>, now: DateTime<Utc>) -> String {
    human((instant - now).max(TimeDelta::zero()))
}

/// A duration in at most two units, as Kubernetes' `HumanDuration` writes it. More than a second below zero is `<invalid>`.
pub fn human(duration: TimeDelta) -> String {
    let seconds = duration.num_seconds();
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    if duration < TimeDelta::zero() {
        return "0s".to_owned();
    }
    let (minutes, hours) = (duration.num_minutes(), duration.num_hours());
    let days = hours / 24;
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else if days < 365 * 2 {
        format!("{days}d")
    } else if days < 365 * 8 {
        two(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit}{small}{small_unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_kubectl() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (10 * MINUTE + 5, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (7 * HOUR + 59 * MINUTE, "7h59m"),
            (8 * HOUR + 59 * MINUTE, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + 3 * HOUR, "2d3h"),
            (8 * DAY + 3 * HOUR, "8d"),
            (729 * DAY, "729d"),
            (730 * DAY, "2y"),
            (731 * DAY, "2y1d"),
            (8 * 365 * DAY, "8y"),
        ] {
            assert_eq!(human(TimeDelta::seconds(seconds)), text, "{seconds}");
        }
        assert_eq!(human(TimeDelta::milliseconds(-500)), "0s");
        assert_eq!(since(None, DateTime::UNIX_EPOCH), "<unknown>");
        assert_eq!(until(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::seconds(9)), "0s");
    }
}
