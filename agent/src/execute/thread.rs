//! The executor's thread: loads torch, waits for a lease, then runs its batches until the process ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use torch_remote_agent::clock;
use torch_remote_agent::link::{Configuration, FromExecutor};
use torch_remote_proto::server::{Incarnation, Input};

use crate::boxed::{self, Device};
use crate::executor::{Executor, Limits, Stop};
use crate::queue;
use crate::session::{Answers, Session};

/// What the thread needs of its lease.
#[derive(Debug)]
pub struct Work {
    /// Where batches come from and answers go.
    pub session: Arc<Session>,
    /// Limit of device memory, bytes.
    pub memory_bytes: u64,
    /// Longest inline read, bytes.
    pub inline_read_bytes: u64,
    /// To the supervisor.
    pub says: mpsc::Sender<FromExecutor>,
}

/// Between two reports of storages.
const REPORT: Duration = Duration::from_millis(500);

/// The thread's whole life.
pub fn run(configuration: &Configuration, ready: oneshot::Sender<Result<Device, boxed::Error>>, work: &Receiver<Work>) {
    let device = Device::begin(configuration.cuda, configuration.threads);
    if let Ok(device) = &device {
        device.enter_thread();
    }
    let begun = device.clone().ok();
    if ready.send(device).is_err() {
        return;
    }
    let (Some(device), Ok(work)) = (begun, work.recv()) else { return };
    device.limit(work.memory_bytes);
    execute(device, &work);
}

fn execute(device: Device, work: &Work) {
    let session = &work.session;
    let limits = Limits { memory_bytes: work.memory_bytes, inline_read_bytes: work.inline_read_bytes };
    let answers = Answers { session: Arc::clone(session), incarnation: Incarnation(0) };
    let mut executor = Executor::new(device, limits, Arc::clone(&session.transfers), answers);
    let mut reported = clock::boot();
    loop {
        match session.queue.pop(REPORT) {
            Some(queue::Work::Begin(incarnation)) => {
                executor.outlet().incarnation = incarnation;
                executor.begin(incarnation.0);
            }
            Some(queue::Work::Batch { incarnation, seq, commands }) => {
                session.input(Input::Taken(incarnation, seq));
                match executor.run(&commands) {
                    Ok(()) | Err(Stop::Superseded) => {}
                    // A mistake of a process that no longer holds the session harms nobody.
                    Err(Stop::Violation(_)) if session.transfers.incarnation() != incarnation.0 => {}
                    Err(Stop::Violation(violation)) => return session.violated(&violation),
                    Err(Stop::Fatal(message)) => return session.crashed(&message),
                }
            }
            None => {}
        }
        publish(session, &mut executor);
        let now = clock::boot();
        if now.saturating_sub(reported) >= REPORT {
            reported = now;
            session.counts.memory_used.store(device.memory_used(), Ordering::Relaxed);
            let (appeared, vanished) = executor.table().differences(now);
            let nothing = appeared.is_empty() && vanished.is_empty();
            if !nothing && work.says.blocking_send(FromExecutor::Storages { appeared, vanished }).is_err() {
                return;
            }
        }
    }
}

/// What others read of this thread's counts.
fn publish(session: &Session, executor: &mut Executor<Answers>) {
    let operators = executor.operators();
    let table = executor.table();
    session.counts.storages.store(table.len() as u64, Ordering::Relaxed);
    session.counts.bytes.store(table.bytes(), Ordering::Relaxed);
    session.counts.operators.store(operators, Ordering::Relaxed);
    session.counts.highest.store(table.highest(), Ordering::Release);
}
