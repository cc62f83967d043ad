//! What the control plane knows of an open lease that its session cannot know: its end, when the machine is gone and nobody answers any more.
//!
//! The agent's word goes first: a session that is connected is never ended from here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pyo3::prelude::*;
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;
use torch_remote_proto::client::Ending;

use super::background::Background;
use super::connection::Connection;
use crate::session::{Order, Session};

/// Between two looks at a session whose lease is over, and two tries to reach the control plane.
const PAUSE: Duration = Duration::from_secs(1);

/// A background task beside one lease's sessions; ends with them, or when dropped.
#[pyclass(frozen, module = "torch_remote._C")]
pub struct Vigil {
    task: Background,
}

impl Vigil {
    pub(super) fn start(
        connection: Arc<Connection>,
        collection: String,
        name: String,
        uid: String,
        sessions: Vec<&'static Session>,
    ) -> Self {
        let task = Background::start(async move {
            while let Some(ending) = wait_for_end(&connection, &collection, &name, &uid, &sessions).await {
                lose_unconnected(&sessions, &ending);
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { task }
    }
}

#[pymethods]
impl Vigil {
    /// Ends it. Safe to repeat.
    fn stop(&self) {
        self.task.stop();
    }
}

/// Why the lease is over; None when all its sessions have ended by themselves.
async fn wait_for_end(
    connection: &Connection,
    collection: &str,
    name: &str,
    uid: &str,
    sessions: &[&'static Session],
) -> Option<Ending> {
    while sessions.iter().any(|session| session.open()) {
        let (sender, mut receiver) = unbounded_channel();
        let following = connection.follow(collection, name, sender);
        let looking = async {
            while let Some(text) = receiver.recv().await {
                if let Some(ending) = ending(&text, name, uid) {
                    return Some(ending);
                }
            }
            None
        };
        let seen = tokio::select! {
            ending = looking => ending,
            // The control plane is away or refuses: nothing is known, and the session goes on.
            _ = following => None,
        };
        if seen.is_some() {
            return seen;
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

fn ending(text: &str, name: &str, uid: &str) -> Option<Ending> {
    let lease: Value = serde_json::from_str(text).ok()?;
    let gone = lease["metadata"]["uid"] != uid;
    let phase = lease["status"]["phase"].as_str().unwrap_or("");
    if !gone && !matches!(phase, "Releasing" | "Ended" | "Lost" | "Failed") {
        return None;
    }
    let conditions = lease["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let ended = conditions.iter().find(|condition| condition["type"] == "Ended");
    let text = |field: &str| ended.and_then(|condition| condition[field].as_str()).filter(|text| !text.is_empty());
    Some(Ending {
        reason: text("reason").unwrap_or(if gone { "Deleted" } else { phase }).to_owned(),
        message: text("message")
            .map_or_else(|| format!("the control plane says that lease {name} is over"), str::to_owned),
    })
}

fn lose_unconnected(sessions: &[&'static Session], ending: &Ending) {
    for session in sessions {
        if session.open() && !session.connected.load(Ordering::Relaxed) {
            session.tell(Order::Abandon(ending.clone()));
        }
    }
}
