//! `delete`: objects by name, by selector or by manifest; returns when they are gone.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::connection::{Call, Connection};
use super::error::Error;
use super::kind::{Kind, Kinds};
use super::target::TargetArgs;
use super::wait::{Watched, until};
use super::{ConnectionArgs, manifest, print, source};
use crate::config::parse_duration;

const EXAMPLE: &str = "torch-remote delete machine trainer";
const EXAMPLES: &str = "\
Examples:
  torch-remote delete machine trainer
  torch-remote delete -f machines/
  torch-remote delete leases --all --wait=false";

/// How long a deletion may take when no timeout is given.
const FOREVER: Duration = Duration::from_secs(7 * 86_400);

/// `torch-remote delete`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DeleteArgs {
    /// Objects.
    #[command(flatten)]
    target: TargetArgs,
    /// The objects that a file, folder or https address describes; `-`: standard input.
    #[arg(long = "filename", short = 'f', num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folders with all folders in them.
    #[arg(long, short = 'R')]
    recursive: bool,
    /// All objects of the kind in the namespace.
    #[arg(long)]
    all: bool,
    /// No error for what does not exist.
    #[arg(long)]
    ignore_not_found: bool,
    /// What becomes of the objects that these own.
    #[arg(long, value_name = "HOW", default_value = "background")]
    cascade: Cascade,
    /// Delete nothing; only say whether it could be.
    #[arg(long, value_name = "WHO", num_args = 0..=1, require_equals = true, default_missing_value = "server")]
    dry_run: Option<DryRun>,
    /// Return when the objects are gone, not when their deletion has begun.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    wait: bool,
    /// Longest wait, such as 90s or 15m. [default: no end]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// Connection.
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cascade {
    /// They are deleted after these.
    Background,
    /// They are deleted before these.
    Foreground,
    /// They stay.
    Orphan,
}

impl Cascade {
    fn policy(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DryRun {
    /// The control plane is asked.
    Server,
}

pub(super) async fn run(args: DeleteArgs, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    if args.files.is_empty() == args.target.is_empty() {
        let problem = "say what to delete: either -f FILE or a kind and names".to_owned();
        return Err(Error::Usage { problem, example: EXAMPLE });
    }
    let documents = match args.files.as_slice() {
        [] => Vec::new(),
        files => manifest::documents(&source::read(files, args.recursive).await?)?,
    };
    let connection = Connection::open(&args.connection).await?;
    let kinds = Kinds::discover(&connection).await?;
    let mut doomed: Vec<(&Kind, String, String)> = Vec::new();
    // What was made last goes first: an object before its namespace.
    for document in documents.iter().rev() {
        let kind = kinds.of_document(&document.api_version, &document.kind, &document.place)?;
        let namespace = document.namespace.clone().unwrap_or_else(|| connection.namespace.clone());
        doomed.push((kind, namespace, document.name.clone()));
    }
    if !args.target.is_empty() {
        for target in args.target.resolve(&kinds, EXAMPLE)? {
            let names =
                if target.names.is_empty() { list(&args, &connection, target.kind).await? } else { target.names };
            doomed.extend(names.into_iter().map(|name| (target.kind, connection.namespace.clone(), name)));
        }
    }
    let note = if args.dry_run.is_some() { " (server dry run)" } else { "" };
    let mut going = Vec::new();
    for (kind, namespace, name) in &doomed {
        let path = kind.object_path(namespace, name);
        let mut options = json!({"propagationPolicy": args.cascade.policy()});
        if args.dry_run.is_some() {
            options["dryRun"] = json!(["All"]);
        }
        match connection.call(Call::delete(&path, &options)).await {
            Ok(_) => print(out, format_args!("{} {name:?} deleted{note}\n", kind.title()))?,
            Err(error) if error.code() == Some(404) && (args.ignore_not_found) => continue,
            Err(error) => return Err(error),
        }
        going.push(Watched { kind, namespace, name });
    }
    if args.wait && args.dry_run.is_none() {
        let timeout = args.timeout.unwrap_or(FOREVER);
        for object in &going {
            until(&connection, object, &super::wait::Goal::Gone, timeout).await?;
        }
    }
    Ok(())
}

/// Names of all objects that the selector or `--all` means.
async fn list(args: &DeleteArgs, connection: &Connection, kind: &Kind) -> Result<Vec<String>, Error> {
    if !args.all && args.target.selector.is_none() {
        let problem = "give names, a selector with -l, or --all".to_owned();
        return Err(Error::Usage { problem, example: EXAMPLE });
    }
    let path = format!("{}?limit=0{}", kind.path(Some(&connection.namespace)), args.target.query());
    let answer = connection.call(Call::get(path)).await?;
    let items = answer["items"].as_array().into_iter().flatten();
    Ok(items.filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect())
}
