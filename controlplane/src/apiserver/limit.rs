//! How much one caller may ask for: a bucket of tokens each, refilled at a rate; a lane of its own for what keeps leases alive; a number of watches.
//!
//! Pure but for the mutexes: time comes in. Administrators are not limited, once they are known to be such; so that they can be known while somebody else floods,
//! the guard looks at credentials that were good lately, and at those of callers on this machine, whatever their address has used up. Bounded: callers that
//! are quiet are forgotten.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Callers remembered; beyond, those with a full bucket are forgotten.
const REMEMBERED: usize = 10_000;
/// Requests of one caller at once: the places of all are few enough that eight callers would not fill them.
pub const REQUESTS_AT_ONCE: usize = 64;
/// Renewals and calls for tokens of one caller at once.
pub const RENEWALS_AT_ONCE: usize = 32;
/// Between two looks for those that can be forgotten.
const SWEEP: Duration = Duration::from_secs(1);
/// How often a caller that is refused again and again leaves a row in the audit.
const TOLD: Duration = Duration::from_secs(1);

/// What each caller may ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Requests.
    pub requests: Rate,
    /// Renewals of leases and calls for tokens, which the former do not use up.
    pub renewals: Rate,
    /// Calls of one address that do not say believably whose they are.
    pub failures: Rate,
    /// Watches at once.
    pub watches: usize,
}

/// So many per second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// On average.
    pub per_second: f64,
    /// At once after a pause.
    pub burst: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requests: Rate { per_second: 200.0, burst: 1000.0 },
            renewals: Rate { per_second: 100.0, burst: 500.0 },
            failures: Rate { per_second: 20.0, burst: 100.0 },
            watches: 2000,
        }
    }
}

/// Which bucket a call takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Most calls.
    Requests,
    /// Renewals and tokens.
    Renewals,
    /// Calls that did not say believably whose they are, by address.
    Failures,
}

/// Asked for too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch {
    /// A try before is in vain.
    pub retry_after: Duration,
    /// For the audit, now and then: how often it was refused since it was told last.
    pub tell: Option<u32>,
}

/// All callers' buckets.
#[derive(Debug)]
pub struct Limits {
    settings: Settings,
    callers: Mutex<Buckets>,
    /// Of the lane of failures, apart: nobody has to be known to fill it.
    addresses: Mutex<Buckets>,
    held: Mutex<HashMap<(Held, String), usize>>,
}

#[derive(Debug, Default)]
struct Buckets {
    of: HashMap<(Lane, String), Bucket>,
    swept: Option<Instant>,
}

impl Buckets {
    /// With all places taken, forgets those who are quiet: now and then, as it looks at each.
    fn sweep(&mut self, rate: impl Fn(Lane) -> Rate, now: Instant) {
        if self.of.len() < REMEMBERED || self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.of.retain(|(lane, _), bucket| {
            let rate = rate(*lane);
            bucket.refill(rate, now);
            bucket.tokens < rate.burst
        });
    }
}

/// What a caller has only so many of at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Held {
    /// Watches.
    Watch,
    /// Requests that are not answered yet, their bodies perhaps still on the way.
    Request,
    /// Renewals and calls for tokens that are not answered yet.
    Renewal,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
    refused: u32,
    told: Option<Instant>,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, at: now, refused: 0, told: None }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst);
        self.at = now;
    }

    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), TooMuch> {
        self.look(rate, now)?;
        self.tokens -= 1.0;
        Ok(())
    }

    fn look(&mut self, rate: Rate, now: Instant) -> Result<(), TooMuch> {
        self.refill(rate, now);
        if self.tokens >= 1.0 {
            return Ok(());
        }
        self.refused += 1;
        let quiet = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD);
        let tell = quiet.then(|| std::mem::take(&mut self.refused));
        if quiet {
            self.told = Some(now);
        }
        let wait = (1.0 - self.tokens) / rate.per_second.max(0.001);
        Err(TooMuch { retry_after: Duration::from_secs_f64(wait), tell })
    }
}

impl Limits {
    /// With full buckets.
    pub fn new(settings: Settings) -> Self {
        Self { settings, callers: Mutex::default(), addresses: Mutex::default(), held: Mutex::default() }
    }

    fn rate(&self, lane: Lane) -> Rate {
        match lane {
            Lane::Requests => self.settings.requests,
            Lane::Renewals => self.settings.renewals,
            Lane::Failures => self.settings.failures,
        }
    }

    fn buckets(&self, lane: Lane) -> MutexGuard<'_, Buckets> {
        let buckets = if lane == Lane::Failures { &self.addresses } else { &self.callers };
        buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a token from the bucket of this caller.
    ///
    /// # Errors
    /// It is empty.
    pub fn take(&self, lane: Lane, who: &str, now: Instant) -> Result<(), TooMuch> {
        let rate = self.rate(lane);
        let mut buckets = self.buckets(lane);
        buckets.sweep(|lane| self.rate(lane), now);
        // With all places taken, by callers that were not quiet a second ago, a new one is judged as if it came after a pause.
        let room = buckets.of.len() < REMEMBERED;
        match buckets.of.entry((lane, who.to_owned())) {
            Entry::Occupied(mut bucket) => bucket.get_mut().take(rate, now),
            Entry::Vacant(place) if room => place.insert(Bucket::full(rate, now)).take(rate, now),
            Entry::Vacant(_) => Ok(()),
        }
    }

    /// Whether there is a token in the bucket of this caller, which stays there.
    ///
    /// # Errors
    /// It is empty.
    pub fn look(&self, lane: Lane, who: &str, now: Instant) -> Result<(), TooMuch> {
        let mut buckets = self.buckets(lane);
        match buckets.of.get_mut(&(lane, who.to_owned())) {
            Some(bucket) => bucket.look(self.rate(lane), now),
            None => Ok(()),
        }
    }

    /// A place for one more of this caller, given back when it is dropped; none when it has as many as it may.
    pub fn hold(self: &Arc<Self>, what: Held, who: &str, unlimited: bool) -> Option<Place> {
        let most = match what {
            Held::Watch => self.settings.watches,
            Held::Request => REQUESTS_AT_ONCE,
            Held::Renewal => RENEWALS_AT_ONCE,
        };
        let key = (what, who.to_owned());
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let open = held.entry(key.clone()).or_default();
        if *open >= most && !unlimited {
            return None;
        }
        *open += 1;
        Some(Place { limits: self.clone(), key })
    }
}

/// A place among those of its caller.
#[derive(Debug)]
pub struct Place {
    limits: Arc<Limits>,
    key: (Held, String),
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.limits.held.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.key.0, std::mem::take(&mut self.key.1));
        if let Entry::Occupied(mut open) = held.entry(key) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// What counts as one address: of IPv6 the first 64 bits, since whoever has one of them has them all.
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let small = Rate { per_second: 2.0, burst: 3.0 };
        Limits::new(Settings { requests: small, renewals: small, failures: small, watches: 2 })
    }

    #[test]
    fn who_has_used_up_its_tokens_waits_for_the_next_and_others_do_not() {
        let (limits, start) = (limits(), Instant::now());
        for _ in 0..3 {
            assert_eq!(limits.take(Lane::Requests, "ana", start), Ok(()));
        }
        let refused = limits.take(Lane::Requests, "ana", start).unwrap_err();
        assert_eq!((refused.retry_after, refused.tell), (Duration::from_millis(500), Some(1)));
        assert_eq!(limits.take(Lane::Requests, "ana", start).unwrap_err().tell, None, "told a moment ago");
        assert_eq!(limits.take(Lane::Requests, "bob", start), Ok(()));
        assert_eq!(limits.take(Lane::Renewals, "ana", start), Ok(()), "leases are kept alive all the same");
        assert_eq!(limits.take(Lane::Requests, "ana", start + Duration::from_millis(500)), Ok(()));
        let later = start + Duration::from_millis(1100);
        assert_eq!(limits.take(Lane::Requests, "ana", later), Ok(()));
        assert_eq!(limits.take(Lane::Requests, "ana", later).unwrap_err().tell, Some(2), "with what was not told");
    }

    #[test]
    fn a_look_takes_nothing_and_says_when_there_is_nothing() {
        let (limits, start) = (limits(), Instant::now());
        for _ in 0..3 {
            assert_eq!(limits.look(Lane::Failures, "here", start), Ok(()));
            assert_eq!(limits.take(Lane::Failures, "here", start), Ok(()));
        }
        assert!(limits.look(Lane::Failures, "here", start).is_err());
        assert_eq!(limits.look(Lane::Failures, "elsewhere", start), Ok(()));
        assert_eq!(limits.look(Lane::Failures, "here", start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:a:b:c:d"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[test]
    fn callers_that_are_quiet_are_forgotten_and_those_that_are_not_are_not() {
        let (limits, start) = (limits(), Instant::now());
        for caller in 0..REMEMBERED {
            limits.take(Lane::Requests, &caller.to_string(), start).unwrap();
        }
        assert_eq!(limits.take(Lane::Requests, "new", start), Ok(()), "nobody is locked out");
        assert_eq!(limits.callers.lock().unwrap().of.len(), REMEMBERED);
        for _ in 0..3 {
            limits.take(Lane::Failures, "here", start).unwrap();
        }
        assert!(limits.take(Lane::Failures, "here", start).is_err(), "addresses have their own places");
        limits.take(Lane::Requests, "new", start + Duration::from_secs(10)).unwrap();
        assert_eq!(limits.callers.lock().unwrap().of.len(), 1);
    }

    #[test]
    fn a_caller_has_so_many_watches_at_once_and_no_more() {
        let limits = Arc::new(limits());
        let watch = |who, unlimited| limits.hold(Held::Watch, who, unlimited);
        let held = [watch("ana", false), watch("ana", false)];
        assert!(held.iter().all(Option::is_some));
        assert!(watch("ana", false).is_none());
        assert!(watch("ana", true).is_some());
        assert!(watch("bob", false).is_some());
        assert!(limits.hold(Held::Request, "ana", false).is_some(), "of each its own number");
        drop(held);
        assert!(watch("ana", false).is_some());
        assert!(limits.held.lock().unwrap().is_empty());
    }
}
