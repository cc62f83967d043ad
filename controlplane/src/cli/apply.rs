//! `apply`: all documents are read, then all tried by the server in a dry run (of many of a kind, those that are not [`Sound`]), then all written; eight at a time.

use std::cell::Cell;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use futures::{StreamExt, TryStreamExt, stream};

use super::change::{Change, Lives, Manner, Outcome, Sound, Step};
use super::connection::Connection;
use super::count::Count;
use super::error::Error;
use super::kind::Kinds;
use super::{ConnectionArgs, manifest, print, source};

/// Requests under way at once.
pub(super) const IN_FLIGHT: usize = 8;

const EXAMPLES: &str = "\
Examples:
  torch-remote apply -f machines/                 every manifest of a folder; -R: and of its folders
  torch-remote apply -f a.yaml -f b.yaml -n team
  torch-remote apply -f https://example.org/machines.yaml
  torch-remote apply -f a.yaml --dry-run          only ask whether the control plane would accept it
  torch-remote apply -f a.yaml --server-side      the server merges, and says which fields others own";

/// `torch-remote apply`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ApplyArgs {
    /// File, folder, https address, or `-` for standard input. Repeat for more.
    #[arg(long = "filename", short = 'f', required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folders with all folders in them.
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Write nothing: `server` asks the control plane what would be, `client` only reads; alone it means `server`.
    #[arg(long, value_name = "WHO", num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "server", hide_default_value = true)]
    dry_run: DryRun,
    /// Manner.
    #[command(flatten)]
    manner: MannerArgs,
    /// Connection.
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Who merges, and under which name.
#[derive(Debug, Args)]
pub struct MannerArgs {
    /// The server merges by the fields that each manager owns, and refuses to take a field over from another.
    #[arg(long)]
    server_side: bool,
    /// Take fields over from other managers.
    #[arg(long, requires = "server_side")]
    force_conflicts: bool,
    /// Name under which the fields are owned.
    #[arg(long, value_name = "NAME", default_value = "torch-remote")]
    field_manager: String,
}

impl From<MannerArgs> for Manner {
    fn from(args: MannerArgs) -> Self {
        Self { server_side: args.server_side, force: args.force_conflicts, manager: args.field_manager }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DryRun {
    None,
    Client,
    Server,
}

pub(super) async fn run(args: ApplyArgs, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let documents = manifest::documents(&source::read(&args.files, args.recursive).await?)?;
    let connection = Connection::open(&args.connection).await?;
    let kinds = Kinds::discover(&connection).await?;
    let changes = Change::all(&connection, &kinds, &documents)?;
    let apply = Apply { connection: &connection, manner: args.manner.into(), changes: &changes };
    let note = match args.dry_run {
        DryRun::None => "",
        DryRun::Client => " (dry run)",
        DryRun::Server => " (server dry run)",
    };
    let steps = apply.judge(args.dry_run).await?;
    if args.dry_run == DryRun::None {
        return apply.write(steps, out).await;
    }
    for (change, step) in changes.iter().zip(&steps) {
        print(out, format_args!("{}{note}\n", line(change, step.outcome())))?;
    }
    Ok(())
}

fn line(change: &Change<'_>, outcome: Outcome) -> String {
    format!("{}/{} {}", change.kind.title(), change.document.name, outcome.text())
}

struct Apply<'a> {
    connection: &'a Connection,
    manner: Manner,
    changes: &'a [Change<'a>],
}

impl Apply<'_> {
    /// What must be sent for each document, the server having accepted it in a dry run or being certain to (unless all is only read).
    async fn judge(&self, dry: DryRun) -> Result<Vec<Step>, Error> {
        let lives = Lives::list(self.connection, self.changes).await?;
        let lives = &lives;
        let sound =
            if dry == DryRun::None { Some(Sound::of(self.connection, self.changes, lives).await) } else { None };
        let sound = sound.as_ref();
        let mut count = Count::of(self.changes.len(), "tried");
        let judged = self.changes.iter().map(|change| async move {
            let mut step = change.step(self.connection, &self.manner, lives).await?;
            if dry != DryRun::Client && !sound.is_some_and(|sound| sound.is(change, &step, lives)) {
                change.judge(self.connection, &self.manner, &mut step, self.changes).await?;
            }
            Ok(step)
        });
        stream::iter(judged).buffered(IN_FLIGHT).inspect_ok(|_| count.step()).try_collect().await
    }

    /// Writes each document, those first that others need, and prints in the order of the documents. The first that is refused is the last that is sent.
    async fn write(&self, steps: Vec<Step>, out: &mut (dyn Write + Send)) -> Result<(), Error> {
        let mut report = Report { changes: self.changes, outcomes: vec![None; steps.len()], printed: 0 };
        let mut count = Count::of(steps.len(), "written");
        let mut turns: Vec<(usize, Step)> = steps.into_iter().enumerate().collect();
        turns.sort_by_key(|(index, _)| self.changes[*index].rank());
        let (refused, stop) = (Cell::new(None), Cell::new(false));
        for turn in turns.chunk_by(|one, other| self.changes[one.0].rank() == self.changes[other.0].rank()) {
            let sent = turn.iter().map(|(index, step)| {
                let (change, mut step, stop) = (&self.changes[*index], step.clone(), &stop);
                async move {
                    let outcome = match stop.get() {
                        true => None,
                        false => Some(change.write(self.connection, &self.manner, &mut step).await),
                    };
                    (*index, outcome)
                }
            });
            let mut sent = stream::iter(sent).buffer_unordered(IN_FLIGHT);
            while let Some((index, outcome)) = sent.next().await {
                match outcome {
                    None => {}
                    Some(Ok(outcome)) => {
                        count.step();
                        report.outcomes[index] = Some(outcome);
                        count.clear();
                        report.print(out)?;
                    }
                    Some(Err(error)) if !stop.replace(true) => refused.set(Some(error)),
                    Some(Err(_)) => {}
                }
            }
        }
        drop(count);
        match refused.take() {
            None => Ok(()),
            Some(source) => Err(report.interrupted(source, out)?),
        }
    }
}

/// What was written so far, printed in the order of the documents.
struct Report<'a> {
    changes: &'a [Change<'a>],
    outcomes: Vec<Option<Outcome>>,
    printed: usize,
}

impl Report<'_> {
    /// Prints as far as there is no gap.
    fn print(&mut self, out: &mut (dyn Write + Send)) -> Result<(), Error> {
        while let Some(Some(outcome)) = self.outcomes.get(self.printed) {
            print(out, format_args!("{}\n", line(&self.changes[self.printed], *outcome)))?;
            self.printed += 1;
        }
        Ok(())
    }

    /// Prints what is behind the gap too, and says how much was written.
    fn interrupted(&self, source: Error, out: &mut (dyn Write + Send)) -> Result<Error, Error> {
        for (change, outcome) in self.changes.iter().zip(&self.outcomes).skip(self.printed) {
            if let Some(outcome) = outcome {
                print(out, format_args!("{}\n", line(change, *outcome)))?;
            }
        }
        let written = self.outcomes.iter().flatten().count();
        Ok(match written {
            0 => source,
            _ => Error::Interrupted { written, all: self.changes.len(), source: Box::new(source) },
        })
    }
}
