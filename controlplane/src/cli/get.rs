//! `get` and `watch`: the server's table, or objects as YAML, JSON or names.

mod follow;

use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::connection::{Call, Connection, TABLE};
use super::error::Error;
use super::kind::{Kind, Kinds};
use super::paint::Paint;
use super::table::{Look, Table};
use super::target::{Target, TargetArgs, encode};
use super::{ConnectionArgs, StructuredOutput, print, structured};

const EXAMPLE: &str = "torch-remote get machines";
const EXAMPLES: &str = "\
Examples:
  torch-remote get machines                    a table
  torch-remote get machine trainer -o yaml     one object, whole
  torch-remote get machines,leases -A -o wide  all namespaces, more columns
  torch-remote get leases -w                   and every change, until Ctrl-C

Anything else, such as jsonpath or sorting: kubectl get, with the same kubeconfig.";

const WATCH_EXAMPLES: &str = "\
Examples:
  torch-remote watch leases                    every lease, and every change, until Ctrl-C
  torch-remote watch machine trainer -o json";

/// `torch-remote get`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GetArgs {
    /// What is shown.
    #[command(flatten)]
    shown: ShownArgs,
    /// Go on with every change.
    #[arg(long, short)]
    watch: bool,
}

/// `torch-remote watch`.
#[derive(Debug, Args)]
#[command(after_help = WATCH_EXAMPLES)]
pub struct WatchArgs {
    /// What is shown.
    #[command(flatten)]
    shown: ShownArgs,
}

/// Which objects are shown, and how.
#[derive(Debug, Args)]
pub struct ShownArgs {
    /// Objects.
    #[command(flatten)]
    target: TargetArgs,
    /// Only objects with these fields: `status.phase=Ready,spec.provider!=local`.
    #[arg(long, value_name = "SELECTOR")]
    field_selector: Option<String>,
    /// All namespaces.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How to print.
    #[arg(long, short, value_name = "FORMAT")]
    output: Option<Output>,
    /// No error for what does not exist.
    #[arg(long)]
    ignore_not_found: bool,
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

/// `get`, and on with every change with `--watch`.
pub(super) async fn run(args: GetArgs, paint: Paint, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    show(args.shown, args.watch, paint, out).await
}

/// `watch`: `get --watch` by a name of its own.
pub(super) async fn watch(args: WatchArgs, paint: Paint, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    show(args.shown, true, paint, out).await
}

async fn show(args: ShownArgs, watch: bool, paint: Paint, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let connection = Connection::open(&args.connection).await?;
    let kinds = Kinds::discover(&connection).await?;
    let targets = args.target.resolve(&kinds, EXAMPLE)?;
    if watch && (targets.len() != 1 || targets[0].names.len() > 1) {
        let problem = "--watch goes with one kind, and at most one name".to_owned();
        return Err(Error::Usage { problem, example: "torch-remote get machines -w" });
    }
    let view = View { args: &args, connection: &connection, several: targets.len() > 1, paint };
    match (watch, args.output) {
        (true, _) => view.follow(&targets[0], out).await,
        (false, None | Some(Output::Wide)) => view.tables(&targets, out).await,
        (false, Some(Output::Name)) => view.names(&targets, out).await,
        (false, Some(Output::Yaml)) => view.objects(&targets, StructuredOutput::Yaml, out).await,
        (false, Some(Output::Json)) => view.objects(&targets, StructuredOutput::Json, out).await,
    }
}

struct View<'a> {
    args: &'a ShownArgs,
    connection: &'a Connection,
    several: bool,
    paint: Paint,
}

impl View<'_> {
    async fn tables(&self, targets: &[Target<'_>], out: &mut (dyn Write + Send)) -> Result<(), Error> {
        let mut printed = 0;
        for target in targets {
            let mut table = Table::default();
            let title = target.kind.title();
            let look = self.look(target.kind, &title);
            for path in self.paths(target) {
                let Some(answer) = self.read(Call::get(path).accept(TABLE)).await? else { continue };
                let rows = answer["rows"].as_array().map_or(0, Vec::len);
                if rows == 0 {
                    continue;
                }
                let gap = if printed > 0 && self.several && !self.args.no_headers { "\n" } else { "" };
                print(out, format_args!("{gap}{}", table.render(&answer, look)))?;
                printed += rows;
            }
        }
        if printed == 0 && !self.args.ignore_not_found {
            let namespace = if self.args.all_namespaces || targets.iter().all(|target| !target.kind.namespaced) {
                String::new()
            } else {
                format!(" in {} namespace", self.connection.namespace)
            };
            eprintln!("No resources found{namespace}.");
        }
        Ok(())
    }

    async fn objects(
        &self,
        targets: &[Target<'_>],
        format: StructuredOutput,
        out: &mut (dyn Write + Send),
    ) -> Result<(), Error> {
        let mut items = self.fetch(targets).await?;
        items.iter_mut().for_each(trim);
        let single = targets.len() == 1 && targets[0].names.len() == 1;
        if single && items.is_empty() {
            return Ok(());
        }
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
                let Some(answer) = self.read(Call::get(path)).await? else { continue };
                match answer["items"].as_array() {
                    Some(list) => items.extend(list.iter().map(|item| with_type(item, &answer))),
                    None => items.push(answer),
                }
            }
        }
        Ok(items)
    }

    /// The answer, or none where there is no such object and that is no error.
    async fn read(&self, call: Call) -> Result<Option<Value>, Error> {
        match self.connection.call(call).await {
            Err(error) if error.code() == Some(404) && self.args.ignore_not_found => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// One path per name, or the collection's.
    fn paths(&self, target: &Target<'_>) -> Vec<String> {
        if target.names.is_empty() {
            return vec![format!("{}?limit=0{}", target.kind.path(self.namespace()), self.query())];
        }
        target.names.iter().map(|name| target.kind.object_path(&self.connection.namespace, name)).collect()
    }

    /// Both selectors as query parameters, with `&` in front.
    fn query(&self) -> String {
        let fields = self.args.field_selector.as_deref();
        let fields = fields.map(|fields| format!("&fieldSelector={}", encode(fields))).unwrap_or_default();
        format!("{}{fields}", self.args.target.query())
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
            paint: self.paint,
        }
    }
}

/// Leaves out what only tools read.
fn trim(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}

/// Items of a list may leave their kind out: it is the list's, less `List`.
pub(super) fn with_type(item: &Value, list: &Value) -> Value {
    let kind = list["kind"].as_str().unwrap_or_default().trim_end_matches("List");
    let mut typed = json!({"apiVersion": list["apiVersion"], "kind": kind});
    if let (Some(typed), Some(fields)) = (typed.as_object_mut(), item.as_object()) {
        typed.extend(fields.clone());
    }
    typed
}
