//! A user's token in a file, replaced at half its life.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::auth::Keys;
use crate::kubeconfig::write_secret;

/// How long a token is good for, seconds.
const LIFE_SECONDS: i64 = 3600;
const LIFE: Duration = Duration::from_secs(LIFE_SECONDS.unsigned_abs());
/// Between two looks at the clock: short, for the timer stands still while a laptop sleeps.
const LOOK: Duration = Duration::from_secs(15);

/// Keeps one user's token fresh in one file, mode 0600.
#[derive(Debug)]
pub struct TokenFile {
    keys: Keys,
    user: String,
    groups: Vec<String>,
    path: PathBuf,
}

impl TokenFile {
    /// A token of `user` with `groups`, at `path`. Nothing is written yet.
    pub fn new(keys: Keys, user: &str, groups: &[&str], path: PathBuf) -> Self {
        Self { keys, user: user.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect(), path }
    }

    /// Writes a new token in one step.
    ///
    /// # Errors
    /// It cannot be signed, or the file cannot be written.
    pub fn write(&self) -> Result<(), Error> {
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        let token = self.keys.api_token(&self.user, &groups, LIFE_SECONDS).map_err(Error::Keys)?;
        // Without a line break: not every client cuts it off.
        write_secret(&self.path, &token).map_err(Error::Kubeconfig)
    }

    /// Replaces the token at half its life until told to stop. A write that fails is tried again.
    pub async fn keep(self, stop: CancellationToken) {
        let mut state = State { written: SystemTime::now(), known: self.keys.jwks(), failed: false };
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
                // After an emergency nothing that was signed before is accepted.
                () = self.keys.changed(&state.known) => {}
            }
            if !state.wants(SystemTime::now(), self.keys.jwks()) {
                continue;
            }
            let result = self.write();
            state.wrote(SystemTime::now(), result.is_ok());
            if let Err(error) = result {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    path = %self.path.display(),
                    "cannot replace the administrator's token; clients are refused when the old one ends"
                );
            }
        }
    }
}

/// What the file holds, as far as is known.
#[derive(Debug)]
struct State {
    written: SystemTime,
    /// Keys that were looked at: news of the same ones wakes nobody, also when the write after them failed.
    known: Value,
    failed: bool,
}

impl State {
    /// Whether to write now.
    fn wants(&mut self, now: SystemTime, keys: Value) -> bool {
        let new = keys != self.known;
        self.known = keys;
        new || self.failed || due(self.written, now)
    }

    fn wrote(&mut self, now: SystemTime, fine: bool) {
        self.failed = !fine;
        if fine {
            self.written = now;
        }
    }
}

/// True at half the life of a token, and when the clock was set back to before it was written: it is not valid yet then.
fn due(written: SystemTime, now: SystemTime) -> bool {
    now.duration_since(written).map_or(true, |age| age >= LIFE / 2)
}

#[cfg(test)]
mod tests {
    use torch_remote_api::token::{API_AUDIENCE, API_TYPE, ApiClaims};

    use super::*;
    use crate::auth::Sealer;
    use crate::postgres::Postgres;

    #[test]
    fn a_token_is_replaced_at_half_its_life_and_when_the_clock_was_set_back() {
        let written = SystemTime::UNIX_EPOCH + 1000 * LIFE;
        assert!(!due(written, written));
        assert!(!due(written, written + LIFE / 2 - Duration::from_secs(1)));
        assert!(due(written, written + LIFE / 2));
        assert!(due(written, written + 100 * LIFE), "after a night asleep");
        assert!(due(written, written - Duration::from_secs(1)));
    }

    #[test]
    fn a_write_that_failed_is_tried_again_at_the_next_look_and_not_at_once() {
        let now = SystemTime::UNIX_EPOCH + 1000 * LIFE;
        let mut state = State { written: now, known: Value::from(1), failed: false };
        assert!(!state.wants(now, Value::from(1)));
        assert!(state.wants(now, Value::from(2)), "after an emergency");
        state.wrote(now, false);
        assert_eq!(state.known, 2, "the same keys are no news");
        assert!(state.wants(now, Value::from(2)));
        state.wrote(now, true);
        assert!(!state.wants(now, Value::from(2)));
    }

    #[tokio::test]
    async fn each_token_written_is_a_new_one_and_accepted() {
        let pool = Postgres::scratch().await.expect("a database").pool().await.expect("a pool");
        crate::store::migrate(&pool).await.expect("the schema");
        let dir = tempfile::tempdir().expect("a folder");
        let sealer = Sealer::open_or_make(&dir.path().join("key")).expect("a key");
        let keys = Keys::load(pool, sealer, "https://test").await.expect("keys");
        let path = dir.path().join("token");
        let file = TokenFile::new(keys.clone(), "admin", &["system:masters"], path.clone());
        let mut seen = Vec::new();
        for _ in 0..2 {
            file.write().expect("it can be written");
            let token = std::fs::read_to_string(&path).expect("it is there");
            assert!(!token.contains('\n'), "not every client cuts off a line break");
            let judged = keys.verify::<ApiClaims>(API_TYPE, API_AUDIENCE, &token).await.expect("it is accepted");
            assert_eq!(judged.groups, ["system:masters"]);
            seen.push(token);
        }
        assert_ne!(seen[0], seen[1]);
    }
}
