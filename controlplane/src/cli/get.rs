//! `get`: the server's table, or objects as YAML, JSON or names; and the same again at each change.

use std::io::Write;

use clap::{Args, ValueEnum};
use futures::StreamExt;
use serde_json::{Value, json};

use super::connection::{Call, Connection, TABLE};
use super::error::Error;
use super::kind::{Kind, Kinds};
use super::table::{Look, Table};
use super::target::{Target, TargetArgs, encode};
use super::wait::RETRY;
use super::{ConnectionArgs, StructuredOutput, print, structured};

const EXAMPLE: &str = "torch-remote get machines";
const EXAMPLES: &str = "\
Examples:
  torch-remote get machines                    a table
  torch-remote get machine trainer -o yaml     one object, whole
  torch-remote get machines,leases -A -o wide  all namespaces, more columns
  torch-remote get leases -w                   and every change, until Ctrl-C

Anything else, such as jsonpath or sorting: kubectl get, with the same kubeconfig.";

/// Code of the answer to a watch from a version that is forgotten.
const GONE: u16 = 410;

/// `torch-remote get`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GetArgs {
    /// Objects.
    #[command(flatten)]
    target: TargetArgs,
    /// All namespaces.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How to print.
    #[arg(long, short, value_name = "FORMAT")]
    output: Option<Output>,
    /// Go on with every change.
    #[arg(long, short)]
    watch: bool,
    /// Print no header.
    #[arg(long)]
    no_headers: bool,
    /// Connection.
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table with more columns.
    Wide,
    /// Whole objects as YAML.
    Yaml,
    /// Whole objects as JSON.
    Json,
    /// KIND/NAME lines.
    Name,
}

pub(super) async fn run(args: GetArgs, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let connection = Connection::open(&args.connection).await?;
    let kinds = Kinds::discover(&connection).await?;
    let targets = args.target.resolve(&kinds, EXAMPLE)?;
    if args.watch && (targets.len() != 1 || targets[0].names.len() > 1) {
        let problem = "--watch goes with one kind, and at most one name".to_owned();
        return Err(Error::Usage { problem, example: "torch-remote get machines -w" });
    }
    let view = View { args: &args, connection: &connection, several: targets.len() > 1 };
    match args.output {
        None | Some(Output::Wide) => view.tables(&targets, out).await,
        Some(Output::Name) => view.names(&targets, out).await,
        Some(Output::Yaml) => view.objects(&targets, StructuredOutput::Yaml, out).await,
        Some(Output::Json) => view.objects(&targets, StructuredOutput::Json, out).await,
    }
}

struct View<'a> {
    args: &'a GetArgs,
    connection: &'a Connection,
    several: bool,
}

impl View<'_> {
    async fn tables(&self, targets: &[Target<'_>], out: &mut (dyn Write + Send)) -> Result<(), Error> {
        let mut printed = 0;
        for target in targets {
            let mut table = Table::default();
            let title = target.kind.title();
            let look = self.look(target.kind, &title);
            let mut answers = Vec::new();
            for path in self.paths(target) {
                answers.push(self.connection.call(Call::get(path).accept(TABLE)).await?);
            }
            for answer in &answers {
                let rows = answer["rows"].as_array().map_or(0, Vec::len);
                if rows == 0 {
                    continue;
                }
                let gap = if printed > 0 && self.several && !self.args.no_headers { "\n" } else { "" };
                print(out, format_args!("{gap}{}", table.render(answer, look)))?;
                printed += rows;
            }
            if self.args.watch {
                return self.watch(target, &answers, &mut table, out).await;
            }
        }
        if printed == 0 {
            let namespace = if self.args.all_namespaces || targets.iter().all(|target| !target.kind.namespaced) {
                String::new()
            } else {
                format!(" in {} namespace", self.connection.namespace)
            };
            eprintln!("No resources found{namespace}.");
        }
        Ok(())
    }

    /// Prints each change. A connection that ends is opened again where it ended; one that cannot go on there starts over.
    async fn watch(
        &self,
        target: &Target<'_>,
        first: &[Value],
        table: &mut Table,
        out: &mut (dyn Write + Send),
    ) -> Result<(), Error> {
        let title = target.kind.title();
        let look = self.look(target.kind, &title);
        let mut version = first.first().map(version_of).unwrap_or_default();
        loop {
            let name = target.names.first().map(|name| format!("&fieldSelector=metadata.name%3D{}", encode(name)));
            let path = format!(
                "{}?watch=true&allowWatchBookmarks=true&resourceVersion={version}{}{}",
                target.kind.path(self.namespace()),
                name.unwrap_or_default(),
                self.args.target.query()
            );
            let mut events = match self.connection.watch(Call::get(path).accept(TABLE)).await {
                Err(error) if error.code() == Some(GONE) => {
                    version = self.start_over(target, table, out).await?;
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                events => events?,
            };
            while let Some(event) = events.next().await {
                let Ok(event) = event else { break };
                let object = &event["object"];
                match event["type"].as_str() {
                    Some("ERROR") if object["code"] == GONE => {
                        version = self.start_over(target, table, out).await?;
                        break;
                    }
                    Some("ERROR") => {
                        let status = serde_json::from_value(object.clone()).unwrap_or_default();
                        return Err(Error::Server { context: None, status: Box::new(status) });
                    }
                    Some("BOOKMARK") => {}
                    _ => print(out, format_args!("{}", table.render(object, look)))?,
                }
                let seen = object["rows"][0]["object"]["metadata"]["resourceVersion"].as_str();
                version = seen.map_or_else(|| version_of(object), str::to_owned);
            }
            // A server, or what stands before it, may end each watch at once.
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The history since the last version is forgotten: prints the state as it is, and returns the version from which to go on.
    async fn start_over(
        &self,
        target: &Target<'_>,
        table: &mut Table,
        out: &mut (dyn Write + Send),
    ) -> Result<String, Error> {
        let title = target.kind.title();
        let mut version = String::new();
        for path in self.paths(target) {
            let answer = self.connection.call(Call::get(path).accept(TABLE)).await?;
            print(out, format_args!("{}", table.render(&answer, self.look(target.kind, &title))))?;
            version = version_of(&answer);
        }
        Ok(version)
    }

    async fn objects(
        &self,
        targets: &[Target<'_>],
        format: StructuredOutput,
        out: &mut (dyn Write + Send),
    ) -> Result<(), Error> {
        let mut items = self.fetch(targets).await?;
        for item in &mut items {
            if let Some(metadata) = item["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
        }
        let single = targets.len() == 1 && targets[0].names.len() == 1;
        let value = match items.pop() {
            Some(only) if single => only,
            last => {
                items.extend(last);
                json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
            }
        };
        print(out, format_args!("{}", structured(&value, format)))
    }

    async fn names(&self, targets: &[Target<'_>], out: &mut (dyn Write + Send)) -> Result<(), Error> {
        for target in targets {
            for item in self.fetch(std::slice::from_ref(target)).await? {
                let name = item["metadata"]["name"].as_str().unwrap_or_default();
                print(out, format_args!("{}/{name}\n", target.kind.title()))?;
            }
        }
        Ok(())
    }

    async fn fetch(&self, targets: &[Target<'_>]) -> Result<Vec<Value>, Error> {
        let mut items = Vec::new();
        for target in targets {
            for path in self.paths(target) {
                let answer = self.connection.call(Call::get(path)).await?;
                match answer["items"].as_array() {
                    Some(list) => items.extend(list.iter().map(|item| with_type(item, &answer))),
                    None => items.push(answer),
                }
            }
        }
        Ok(items)
    }

    /// One path per name, or the collection's.
    fn paths(&self, target: &Target<'_>) -> Vec<String> {
        if target.names.is_empty() {
            let query = self.args.target.query();
            return vec![format!("{}?limit=0{query}", target.kind.path(self.namespace()))];
        }
        target.names.iter().map(|name| target.kind.object_path(&self.connection.namespace, name)).collect()
    }

    fn namespace(&self) -> Option<&str> {
        (!self.args.all_namespaces).then_some(self.connection.namespace.as_str())
    }

    fn look<'b>(&self, kind: &Kind, title: &'b str) -> Look<'b> {
        Look {
            wide: self.args.output == Some(Output::Wide),
            namespaces: self.args.all_namespaces && kind.namespaced,
            headless: self.args.no_headers,
            prefix: self.several.then_some(title),
        }
    }
}

fn version_of(answer: &Value) -> String {
    answer["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

/// Items of a list may leave their kind out: it is the list's, less `List`.
fn with_type(item: &Value, list: &Value) -> Value {
    let kind = list["kind"].as_str().unwrap_or_default().trim_end_matches("List");
    let mut typed = json!({"apiVersion": list["apiVersion"], "kind": kind});
    if let (Some(typed), Some(fields)) = (typed.as_object_mut(), item.as_object()) {
        typed.extend(fields.clone());
    }
    typed
}
