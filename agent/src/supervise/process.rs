//! An executor process: how it is started, spoken to, killed and reaped.
//!
//! Invariants: it inherits the slot's listening sockets, its link and the standard streams, and nothing else; its environment is what torch's loader needs; it dies
//! with the supervisor, and killing it kills all it started.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::link::{self, FromExecutor, LINK_FD, LISTENER_FD, PUBLIC_FD, ToExecutor};

/// How executors are started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executor's binary.
    pub path: PathBuf,
    /// For the loader: `LD_LIBRARY_PATH`.
    pub library_path: Option<String>,
    /// Log filter, as the supervisor's own.
    pub log: String,
    /// The supervisor's own `CUDA_VISIBLE_DEVICES`: the GPUs that whoever started it lets it use.
    pub gpus: Option<String>,
}

/// The sockets of a slot.
#[derive(Debug)]
pub struct Sockets {
    /// Its own.
    pub slot: OwnedFd,
    /// The one that other hosts reach.
    pub public: Option<OwnedFd>,
}

impl Program {
    /// What makes the machine's `gpu`th device the only one that an executor sees.
    ///
    /// # Errors
    /// The supervisor may use fewer.
    fn visible(&self, gpu: u32) -> io::Result<String> {
        let Some(gpus) = &self.gpus else { return Ok(gpu.to_string()) };
        // As CUDA reads it: what follows -1 is not seen.
        let seen = gpus.split(',').map(str::trim).take_while(|name| *name != "-1" && !name.is_empty());
        let found = usize::try_from(gpu).ok().and_then(|index| seen.clone().nth(index));
        found.map(str::to_owned).ok_or_else(|| {
            let why = format!(
                "the slot is of GPU {gpu}, and CUDA_VISIBLE_DEVICES={gpus} lets the agent use {}: lease the machine with more, or give it fewer slots",
                seen.count()
            );
            io::Error::new(io::ErrorKind::NotFound, why)
        })
    }
}

/// A running executor.
#[derive(Debug)]
pub struct Process {
    group: Pid,
    speaker: mpsc::Sender<ToExecutor>,
}

/// What a process does.
#[derive(Debug)]
pub enum Event {
    /// It spoke.
    Said(FromExecutor),
    /// It is reaped: last event.
    Reaped(String),
}

/// For an executor whose link is closed to end by itself.
const ENDING: Duration = Duration::from_millis(200);
/// Messages that may wait for an executor: it reads them at once, or is about to die.
const WAITING: usize = 64;

impl Process {
    /// Starts an executor for a slot. `gpu`: the device it may see. Events carry `tag`.
    ///
    /// Call it from the thread that lives as long as the supervisor: the kernel ends children with the thread that made them.
    ///
    /// # Errors
    /// The binary is missing, or no process can be made.
    pub fn start<T>(
        program: &Program,
        sockets: Sockets,
        gpu: Option<u32>,
        tag: T,
        events: mpsc::Sender<(T, Event)>,
    ) -> io::Result<Process>
    where
        T: Copy + Send + 'static,
    {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let link = UnixStream::from_std(ours)?;
        let gpu = gpu.map(|gpu| program.visible(gpu)).transpose()?;
        let mut command = command(program, sockets, theirs.into(), gpu);
        let mut child = command.spawn()?;
        // The executor's ends live in `command`, which must go for the link to close with the child.
        drop(command);
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = pid.ok_or_else(|| io::Error::other("the executor has no process id"))?;
        let (mut listener, mut writer) = link::split(link);
        let (speaker, mut messages) = mpsc::channel::<ToExecutor>(WAITING);
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                if let Err(error) = writer.say(&message).await {
                    tracing::debug!(%error, "an executor is gone before it was told");
                    break;
                }
            }
        });
        tokio::spawn(async move {
            loop {
                match listener.next::<FromExecutor>().await {
                    Ok(Some(said)) => {
                        if events.send((tag, Event::Said(said))).await.is_err() {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, "an executor's link broke: it ended with words unread");
                        break;
                    }
                }
            }
            // Without a link it serves no purpose. It is ending by itself, or must be made to.
            let waited = match tokio::time::timeout(ENDING, child.wait()).await {
                Ok(waited) => waited,
                Err(_) => {
                    kill(group);
                    child.wait().await
                }
            };
            let status = match waited {
                Ok(status) => status.to_string(),
                Err(error) => format!("its end is unknown: {error}"),
            };
            // What it started must not outlive it either.
            kill(group);
            if events.send((tag, Event::Reaped(status))).await.is_err() {
                tracing::debug!("the supervisor ended before its executor was reaped");
            }
        });
        Ok(Process { group, speaker })
    }

    /// Tells it something. One that does not listen is killed.
    pub fn tell(&self, message: ToExecutor) {
        if self.speaker.try_send(message).is_err() {
            self.kill();
        }
    }

    /// Ends it and all it started, at once.
    pub fn kill(&self) {
        kill(self.group);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn kill(group: Pid) {
    // No such group: it is gone already.
    match rustix::process::kill_process_group(group, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => tracing::error!(%error, "an executor cannot be killed"),
    }
}

fn command(program: &Program, sockets: Sockets, link: OwnedFd, gpu: Option<String>) -> Command {
    let parent = rustix::process::getpid();
    let mut command = std::process::Command::new(&program.path);
    command.env_clear().env("TORCH_REMOTE_LOG", &program.log).stdin(Stdio::null());
    if let Some(path) = &program.library_path {
        command.env("LD_LIBRARY_PATH", path);
    }
    if let Some(gpu) = gpu {
        command.env("CUDA_VISIBLE_DEVICES", gpu);
    }
    command.process_group(0);
    let prepare = move || inherit(&sockets, &link, parent);
    // SAFETY: between fork and exec `inherit` makes system calls only; it does not allocate.
    unsafe { command.pre_exec(prepare) };
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    command
}

/// In the child: die with the parent, and keep no descriptor but those handed over.
fn inherit(sockets: &Sockets, link: &OwnedFd, parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above took effect.
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: system calls on descriptors of this process, which runs nothing else. Moved above the targets first, so that none overwrites another.
    unsafe {
        let high = |descriptor: &OwnedFd| libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD, PUBLIC_FD + 1);
        let (listener, link, public) = (high(&sockets.slot), high(link), sockets.public.as_ref().map(high));
        let moved = listener >= 0
            && link >= 0
            && libc::dup2(listener, LISTENER_FD) >= 0
            && libc::dup2(link, LINK_FD) >= 0
            && public.is_none_or(|public| public >= 0 && libc::dup2(public, PUBLIC_FD) >= 0);
        let rest = if public.is_some() { PUBLIC_FD + 1 } else { PUBLIC_FD };
        // The rest closes at exec and not before: the standard library reports a failed exec through one of them.
        let closes_at_exec: libc::c_uint = 4;
        let closed = libc::syscall(libc::SYS_close_range, rest as libc::c_uint, libc::c_uint::MAX, closes_at_exec) == 0;
        if !moved || !closed {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Program;

    #[test]
    fn an_executor_sees_one_of_the_gpus_that_its_supervisor_may_use_and_no_other() {
        let visible = |gpus: Option<&str>, gpu| {
            let gpus = gpus.map(str::to_owned);
            let program = Program { path: "executor".into(), library_path: None, log: String::new(), gpus };
            program.visible(gpu).map_err(|error| error.to_string())
        };
        assert_eq!(visible(None, 3), Ok("3".to_owned()));
        assert_eq!(visible(Some("5, 7"), 1), Ok("7".to_owned()));
        assert_eq!(visible(Some("GPU-8932f937"), 0), Ok("GPU-8932f937".to_owned()));
        for gpus in ["", "5", "5,-1,7"] {
            let refused = visible(Some(gpus), 1).expect_err("that GPU is another's");
            assert!(refused.contains("CUDA_VISIBLE_DEVICES"), "{refused}");
        }
    }
}
