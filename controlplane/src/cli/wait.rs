//! `wait`: until objects have a condition or are gone, with a word on the way when a person watches.

mod goal;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use futures::{Stream, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::connection::{Call, Connection};
use super::error::Error;
use super::kind::{Kind, Kinds};
use super::target::{TargetArgs, encode};
use super::{ConnectionArgs, print};
use crate::config::parse_duration;
use crate::explain::plain;

pub use goal::Goal;

const EXAMPLE: &str = "torch-remote wait machine/trainer --for=condition=Ready --timeout=5m";
const EXAMPLES: &str = "\
Examples:
  torch-remote wait machine/trainer --for=condition=Ready --timeout=5m
  torch-remote wait lease/mine --for=condition=Bound=True
  torch-remote wait machine/trainer --for=jsonpath='{.status.phase}'=Ready
  torch-remote wait machine/trainer --for=delete";

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(3);
/// Between two watches: before the next one when the server has ended one, and between two attempts when the connection is lost on the way.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// `torch-remote wait`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WaitArgs {
    /// Objects.
    #[command(flatten)]
    target: TargetArgs,
    /// `condition=TYPE[=STATUS]`, `jsonpath={.PATH}[=VALUE]`, `create` or `delete`.
    #[arg(long = "for", value_name = "WHAT")]
    goal: Goal,
    /// All objects of the kind in the namespace.
    #[arg(long)]
    all: bool,
    /// Longest wait for each object, such as 90s or 15m.
    #[arg(long, value_parser = parse_duration, default_value = "30s", value_name = "DURATION")]
    timeout: Duration,
    /// Connection.
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// An object that is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// Its kind.
    pub kind: &'a Kind,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

pub(super) async fn run(args: WaitArgs, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let connection = Connection::open(&args.connection).await?;
    let kinds = Kinds::discover(&connection).await?;
    let namespace = connection.namespace.as_str();
    for target in args.target.resolve(&kinds, EXAMPLE)? {
        let mut names = target.names;
        if names.is_empty() {
            if !args.all && args.target.selector.is_none() {
                let problem = "give names, a selector with -l, or --all".to_owned();
                return Err(Error::Usage { problem, example: EXAMPLE });
            }
            let path = format!("{}?limit=0{}", target.kind.path(Some(namespace)), args.target.query());
            let answer = connection.call(Call::get(path)).await?;
            let items = answer["items"].as_array().into_iter().flatten();
            names = items.filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect();
            if names.is_empty() && args.goal != Goal::Gone {
                let problem = format!("there are no {} in namespace {namespace}", target.kind.plural());
                return Err(Error::Usage { problem, example: EXAMPLE });
            }
        }
        for name in &names {
            let object = Watched { kind: target.kind, namespace, name };
            if !until(&connection, &object, &args.goal, args.timeout).await? {
                let path = target.kind.object_path(namespace, name);
                // Not there and never was: the server's own words.
                connection.call(Call::get(path)).await?;
            }
            print(out, format_args!("{}/{name} condition met\n", target.kind.title()))?;
        }
    }
    Ok(())
}

/// Waits for `goal`. False when the object does not exist, and that is not the goal. A connection lost on the way is made anew until the time is over.
///
/// # Errors
/// The first request failed, the server refuses, or the time is over.
pub(super) async fn until(
    connection: &Connection,
    object: &Watched<'_>,
    goal: &Goal,
    timeout: Duration,
) -> Result<bool, Error> {
    let deadline = Instant::now() + timeout;
    let mut watch = Watch { connection, object, goal, last: None, progress: Progress::new(object, goal) };
    let mut first = true;
    loop {
        let attempt = tokio::time::timeout_at(deadline, watch.attempt()).await;
        match attempt {
            Ok(Ok(Some(reached))) => return Ok(reached),
            Ok(Ok(None)) => first = false,
            Ok(Err(Error::NoControlPlane { .. })) if !first => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let what = goal.text();
                let name = format!("{}/{}", object.kind.plural(), object.name);
                let state = watch.last.as_ref().and_then(|last| goal.state(last));
                return Err(Error::TimedOut { what, object: name, state });
            }
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + RETRY)).await;
    }
}

struct Watch<'a> {
    connection: &'a Connection,
    object: &'a Watched<'a>,
    goal: &'a Goal,
    last: Option<Value>,
    progress: Progress<'a>,
}

impl Watch<'_> {
    /// One list and the watch after it. None when the server ended the watch: then the state is read anew.
    async fn attempt(&mut self) -> Result<Option<bool>, Error> {
        let path = self.object.kind.path(Some(self.object.namespace));
        let selector = format!("fieldSelector=metadata.name%3D{}", encode(self.object.name));
        let list = self.connection.call(Call::get(format!("{path}?{selector}"))).await?;
        self.last = list["items"].as_array().and_then(|items| items.first()).cloned();
        if let Some(decided) = self.judge()? {
            return Ok(Some(decided));
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let path = format!("{path}?watch=true&resourceVersion={version}&{selector}");
        let events = self.connection.watch(Call::get(path)).await?;
        self.follow(events).await
    }

    /// True when the goal is reached, false when there is no object, none when it is worth waiting.
    fn judge(&self) -> Result<Option<bool>, Error> {
        if self.goal.reached(self.last.as_ref()) {
            return Ok(Some(true));
        }
        let Some(object) = &self.last else {
            return Ok((*self.goal != Goal::There).then_some(false));
        };
        match self.goal.hopeless(object) {
            Some(why) => {
                let object = format!("{}/{}", self.object.kind.plural(), self.object.name);
                Err(Error::Hopeless { what: self.goal.text(), object, why })
            }
            None => Ok(None),
        }
    }

    async fn follow(
        &mut self,
        mut events: impl Stream<Item = Result<Value, Error>> + Unpin,
    ) -> Result<Option<bool>, Error> {
        let mut tick = tokio::time::interval(PROGRESS);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = tick.tick() => {
                    self.progress.show(self.last.as_ref());
                    continue;
                }
            };
            let Some(Ok(event)) = event else { return Ok(None) };
            match event["type"].as_str() {
                Some("ERROR") => return Ok(None),
                Some("DELETED") => self.last = None,
                _ => self.last = Some(event["object"].clone()),
            }
            if let Some(decided) = self.judge()? {
                return Ok(Some(decided));
            }
        }
    }
}

/// Lines on standard error while a person waits.
struct Progress<'a> {
    object: &'a Watched<'a>,
    goal: &'a Goal,
    began: Instant,
    shown: bool,
}

impl<'a> Progress<'a> {
    fn new(object: &'a Watched<'a>, goal: &'a Goal) -> Self {
        Self { object, goal, began: Instant::now(), shown: std::io::stderr().is_terminal() }
    }

    fn show(&self, object: Option<&Value>) {
        let Some(state) = object.and_then(|object| self.goal.state(object)).filter(|_| self.shown) else { return };
        let state = plain(&state);
        eprintln!("{}/{}: {state}, {} s", self.object.kind.plural(), self.object.name, self.began.elapsed().as_secs());
    }
}
