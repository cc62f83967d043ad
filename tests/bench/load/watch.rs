//! Many watchers, each on a connection of its own, and how late they see changes: from the sending of a patch until the bytes of its event are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::client::{Api, MACHINES};
use crate::fill;
use crate::times::Times;

/// Holds the nanoseconds since the epoch at which its patch was sent.
const SENT: &[u8] = b"\"bench-sent\":";
/// TLS handshakes at once.
const OPENING: usize = 32;
/// After the last write.
const LATE: Duration = Duration::from_secs(10);

/// How many watch what.
pub struct Plan {
    pub watchers: u32,
    pub time: Duration,
    /// Writes a second.
    pub rate: u32,
    /// Each the machines of one namespace, instead of all.
    pub own: bool,
}

#[derive(Default)]
struct Shared {
    seen: AtomicU64,
    wanted: AtomicU64,
    open: AtomicU32,
}

pub async fn run(api: &Api, plan: Plan) -> Value {
    let (shared, opening) = (Arc::new(Shared::default()), Arc::new(Semaphore::new(OPENING)));
    let begun = Instant::now();
    let from = start(api).await;
    let watchers: Vec<_> = (0..plan.watchers)
        .map(|number| {
            let collection = match plan.own {
                true => fill::collection(number),
                false => format!("{MACHINES}/remotemachines"),
            };
            let path = format!("{collection}?watch=1&allowWatchBookmarks=true&resourceVersion={from}");
            tokio::spawn(watch(api.clone(), path.into(), shared.clone(), opening.clone()))
        })
        .collect();
    while shared.open.load(Ordering::Acquire) < plan.watchers {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let opened = begun.elapsed();
    let writes = plan.rate * u32::try_from(plan.time.as_secs()).expect("not for ever");
    let each = u64::from(if plan.own { plan.watchers.div_ceil(fill::NAMESPACES) } else { plan.watchers });
    shared.wanted.store(u64::from(writes) * each, Ordering::Release);
    let mut writers: Vec<_> = Vec::new();
    let begin = Instant::now();
    for first in 0..4 {
        let api = api.clone();
        writers.push(tokio::spawn(async move {
            let mut connection = api.connect().await;
            for number in (first..writes).step_by(4) {
                tokio::time::sleep_until(begin + Duration::from_secs(1) / plan.rate * number).await;
                let patch = json!({"metadata": {"annotations": {"bench-sent": now().to_string()}}});
                connection.patch(&fill::path(number % 1000), &patch).await;
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    let wrote = begin.elapsed();
    let late = Instant::now() + LATE;
    while shared.seen.load(Ordering::Acquire) < shared.wanted.load(Ordering::Acquire) && Instant::now() < late {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut times = Times::default();
    for watcher in watchers {
        watcher.abort();
        drop(watcher.await);
    }
    times.append(std::mem::take(&mut *TIMES.lock().expect("times")));
    json!({
        "watchers": plan.watchers, "opening seconds": opened.as_secs_f64(), "writes": writes, "writing seconds": wrote.as_secs_f64(),
        "events wanted": shared.wanted.load(Ordering::Acquire), "events seen": shared.seen.load(Ordering::Acquire), "lag": times.summary(),
    })
}

static TIMES: std::sync::Mutex<Times> = std::sync::Mutex::new(Times::new());

async fn watch(api: Api, path: Arc<str>, shared: Arc<Shared>, opening: Arc<Semaphore>) {
    let permit = opening.acquire().await.expect("never closed");
    let (mut stream, mut text) = api.endless(&path).await;
    drop(permit);
    shared.open.fetch_add(1, Ordering::AcqRel);
    let sent = memmem::Finder::new(SENT);
    loop {
        assert!(stream.read_buf(&mut text).await.expect("the watch goes on") > 0, "the watch ended");
        let Some(end) = memchr::memrchr(b'\n', &text) else { continue };
        let at = now();
        let lags: Vec<Duration> =
            sent.find_iter(&text[..end]).map(|place| lag(&text[place + SENT.len()..], at)).collect();
        text.drain(..=end);
        let mut times = TIMES.lock().expect("times");
        lags.iter().for_each(|lag| times.add(*lag));
        drop(times);
        shared.seen.fetch_add(lags.len() as u64, Ordering::AcqRel);
    }
}

/// The newest version, from an empty page.
async fn start(api: &Api) -> String {
    let page = api.connect().await.get("/api/v1/namespaces?limit=1").await;
    let list: Value = serde_json::from_slice(&page).expect("JSON");
    list["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

/// From the time at which the patch of an event was sent, which the text begins with, until `at`.
fn lag(text: &[u8], at: u64) -> Duration {
    let digits = text.iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
    let sent = digits.fold(0, |sum, digit| 10 * sum + u64::from(digit - b'0'));
    Duration::from_nanos(at.saturating_sub(sent))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}
