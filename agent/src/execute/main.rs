//! `torch-remote-executor`: one process per slot and lease, started by the supervisor with two descriptors and no environment.
//!
//! Loads torch, says Ready, waits for a lease, then accepts on the slot's socket. Threads: this one for IO, one for commands, torch's own for kernels.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use torch_remote_agent::link::{
    self, Configuration, FromExecutor, LINK_FD, LISTENER_FD, Lease, Listener, PUBLIC_FD, Speaker, ToExecutor,
};
use torch_remote_agent::pinned::Identity;
use torch_remote_agent::services::data_plane_server::DataPlaneServer;
use torch_remote_agent::socket::{self, Connection, Listening};
use torch_remote_agent::token::Verifier;
use torch_remote_agent::traces::Traces;
use torch_remote_api::token::SlotEpoch;
use torch_remote_proto::server::{Input, Offer};
use torch_remote_proto::v1::Notice;

mod allowlist;
mod boxed;
mod dataplane;
mod executor;
mod look;
mod queue;
mod session;
mod storage;
mod thread;
mod transfer;

use boxed::Device;
use queue::Queue;
use session::{Bound, Over, Session};
use thread::Work;
use transfer::Transfers;

/// Bytes of batches that may wait for the executor.
const UNACKNOWLEDGED: u64 = 16 << 20;
/// Larger writes are WriteBulk.
const INLINE_WRITE: u64 = 1 << 20;
/// Larger reads are ReadBulk.
const INLINE_READ: u64 = 1 << 20;
/// Uploads that may wait unread.
const STAGING: u64 = 256 << 20;
/// Longest frame taken: a batch, and room for what is around it.
const LONGEST_FRAME: usize = 4 << 20;
/// Between two pulses when nothing changes.
const PULSE: Duration = Duration::from_millis(500);
/// For the last frames to leave.
const FLUSH: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Parser)]
struct Arguments {
    /// Which logs to write.
    #[arg(long, env = "TORCH_REMOTE_LOG", default_value = "info")]
    log: String,
}

fn main() -> ! {
    let arguments = <Arguments as clap::Parser>::parse();
    // A bug on the executor's thread must not leave a session that hangs: the supervisor sees the process end, and the client RemoteLost.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("cannot make a reactor").and_then(|runtime| {
        runtime.block_on(async {
            // Spans end at the supervisor: an executor has no business with a collector.
            let _traces = Traces::begin(&arguments.log, None)?;
            run().await
        })
    });
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the executor ends");
            1
        }
    };
    // SAFETY: ends the process at once. Not through main's end: kernels may still run on torch's threads while its destructors take their memory away.
    unsafe { libc::_exit(code) }
}

async fn run() -> anyhow::Result<()> {
    // SAFETY: the supervisor hands both descriptors over open, and nothing else in this process owns them.
    let (listener, link) = unsafe { (OwnedFd::from_raw_fd(LISTENER_FD), OwnedFd::from_raw_fd(LINK_FD)) };
    let link = std::os::unix::net::UnixStream::from(link);
    link.set_nonblocking(true).context("the link is no socket")?;
    let (mut commands, mut speaker) =
        link::split(tokio::net::UnixStream::from_std(link).context("the link is no socket")?);
    let Some(ToExecutor::Configure(configuration)) = commands.next().await? else {
        anyhow::bail!("the supervisor's first word is not Configure");
    };
    let (work, waiting) = std::sync::mpsc::channel();
    let (ready, loaded) = oneshot::channel();
    let thread = configuration.clone();
    std::thread::Builder::new().name("executor".to_owned()).spawn(move || thread::run(&thread, ready, &waiting))?;
    let device = loaded.await.context("the executor's thread ended")?.context("cannot load torch")?;
    let memory_bytes = memory(device);
    let name = if configuration.cuda { "CUDA" } else { "CPU" };
    speaker
        .say(&FromExecutor::Ready { torch: boxed::torch_version().to_owned(), memory_bytes, name: name.to_owned() })
        .await?;
    let Some(lease) = bound(&mut commands).await? else { return Ok(()) };
    serve(Serving { configuration, lease, device, memory_bytes }, Listening::from(listener), work, (commands, speaker))
        .await
}

/// Waits for a lease; `None` when the supervisor is gone. What else it says before does not concern an executor without one.
async fn bound(commands: &mut Listener) -> anyhow::Result<Option<Lease>> {
    while let Some(command) = commands.next().await? {
        match command {
            ToExecutor::Bind(lease) => return Ok(Some(lease)),
            ToExecutor::End { .. } => return Ok(None),
            ToExecutor::Configure(_) | ToExecutor::Keys(_) | ToExecutor::Notice { .. } => {}
        }
    }
    Ok(None)
}

struct Serving {
    configuration: Configuration,
    lease: Lease,
    device: Device,
    memory_bytes: u64,
}

async fn serve(
    serving: Serving,
    listening: Listening,
    work: std::sync::mpsc::Sender<Work>,
    (commands, speaker): (Listener, Speaker),
) -> anyhow::Result<()> {
    let session = Arc::new(session(&serving)?);
    let (says, told) = mpsc::channel(64);
    let limit = if serving.lease.memory_bytes == 0 { serving.memory_bytes } else { serving.lease.memory_bytes };
    work.send(Work {
        session: Arc::clone(&session),
        memory_bytes: limit,
        inline_read_bytes: INLINE_READ,
        says: says.clone(),
    })
    .map_err(|_| anyhow::anyhow!("the executor's thread ended"))?;
    let service = DataPlaneServer::new(dataplane::Service::new(Arc::clone(&session)))
        .max_decoding_message_size(LONGEST_FRAME)
        .max_encoding_message_size(usize::MAX);
    let incoming = incoming(listening, serving.configuration.identity.as_ref())?;
    let server = socket::grpc().add_service(service).serve_with_incoming(incoming);
    tracing::info!(lease = serving.lease.name, epoch = serving.lease.epoch, "accepting");
    let mut over = session.over();
    tokio::spawn(look::out(Arc::clone(&session)));
    let heard = serving.configuration.hears_refusals;
    let mut writer = tokio::spawn(speak(Arc::clone(&session), speaker, told, heard));
    let over = tokio::select! {
        result = server => anyhow::bail!("the DataPlane service ended: {result:?}"),
        over = over.wait_for(Option::is_some) => over?.clone().context("there is a reason")?,
        result = listen(&session, &serving.configuration, commands) => {
            result?;
            // The supervisor is gone: nobody judges this lease any more.
            return Ok(());
        }
        result = &mut writer => result?.context("the link broke")?,
    };
    // The server was dropped with the select, its connections live on in tasks of their own: let them flush.
    let Over { reason, message } = over;
    says.send(FromExecutor::Finished { reason, message }).await.ok().context("the link broke")?;
    tokio::time::sleep(FLUSH).await;
    Ok(())
}

/// Connections of this host, and of others where there is an identity for them.
fn incoming(
    listening: Listening,
    identity: Option<&Identity>,
) -> anyhow::Result<impl Stream<Item = io::Result<Connection>> + use<>> {
    let near = listening.accept()?.connections();
    let Some(identity) = identity else { return Ok(near.left_stream()) };
    // SAFETY: with an identity the supervisor hands this descriptor over, open, and nothing else in this process owns it.
    let public = unsafe { std::net::TcpListener::from_raw_fd(PUBLIC_FD) };
    public.set_nonblocking(true)?;
    let far = identity.connections(tokio::net::TcpListener::from_std(public)?)?;
    Ok(futures::stream::select(near, far).right_stream())
}

fn session(serving: &Serving) -> anyhow::Result<Session> {
    let lease = &serving.lease;
    let offer = Offer {
        lease_uid: lease.uid.clone(),
        device: serving.device.name().to_owned(),
        torch: boxed::torch_version().to_owned(),
        max_unacknowledged_bytes: UNACKNOWLEDGED,
        inline_write_bytes: INLINE_WRITE,
        inline_read_bytes: INLINE_READ,
        memory_bytes: lease.memory_bytes,
        staging_bytes: STAGING,
    };
    let verifier = Verifier::new(&lease.keys.jwks, &lease.keys.issuer, &serving.configuration.machine_uid)?;
    let slot = SlotEpoch { slot: serving.configuration.slot, epoch: lease.epoch };
    Ok(Session::new(Bound { offer, slot, verifier }, Arc::new(Queue::default()), Arc::new(Transfers::new(STAGING))))
}

/// Does what the supervisor says, until it is gone.
async fn listen(session: &Session, configuration: &Configuration, mut commands: Listener) -> anyhow::Result<()> {
    while let Some(command) = commands.next().await? {
        match command {
            ToExecutor::Keys(keys) => {
                session.trust(Verifier::new(&keys.jwks, &keys.issuer, &configuration.machine_uid)?)
            }
            ToExecutor::Notice { reason, message, deadline_ms } => {
                session.input(Input::Notice(Notice { reason, message, deadline_ms }))
            }
            ToExecutor::End { reason, message } => session.input(Input::End { reason, message }),
            ToExecutor::Configure(_) | ToExecutor::Bind(_) => {
                anyhow::bail!("the supervisor said twice what it may say once")
            }
        }
    }
    Ok(())
}

/// Tells the supervisor how the session stands, at each change and twice a second, and what the executor's thread reports; before either, where it is heard, what was refused.
async fn speak(
    session: Arc<Session>,
    mut speaker: Speaker,
    mut told: mpsc::Receiver<FromExecutor>,
    heard: bool,
) -> anyhow::Result<Over> {
    let mut changed = session.changed();
    let mut beats = tokio::time::interval(PULSE);
    loop {
        let word = tokio::select! {
            said = told.recv() => said.context("nobody speaks any more")?,
            _ = beats.tick() => FromExecutor::Pulse(session.pulse()),
            change = changed.changed() => {
                change?;
                FromExecutor::Pulse(session.pulse())
            }
        };
        if heard && let Some(refusal) = session.refused.take() {
            speaker.say(&FromExecutor::Refused(refusal)).await?;
        }
        speaker.say(&word).await?;
    }
}

/// Memory of the device in bytes; on CPU that of the machine.
fn memory(device: Device) -> u64 {
    let (total, _) = device.memory();
    if total != 0 {
        return total;
    }
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.map_or(0, |kibibytes| kibibytes * 1024)
}
