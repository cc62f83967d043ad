//! Every change, until Ctrl-C: a connection that ends is opened again where it ended; one that cannot go on there starts over.

use std::io::Write;

use futures::StreamExt;
use serde_json::Value;

use super::super::connection::{Call, TABLE};
use super::super::error::Error;
use super::super::table::Table;
use super::super::target::{Target, encode};
use super::super::wait::RETRY;
use super::super::{StructuredOutput, print, structured};
use super::{Output, View, trim, with_type};

/// Code of the answer to a watch from a version that is forgotten.
const GONE: u16 = 410;

impl View<'_> {
    /// Prints the state, then each change.
    pub(super) async fn follow(&self, target: &Target<'_>, out: &mut (dyn Write + Send)) -> Result<(), Error> {
        let title = target.kind.title();
        let mut printer = Printer { view: self, title: &title, target, table: Table::default(), documents: 0 };
        let mut version = self.state(target, &mut printer, out).await?;
        loop {
            let name = target.names.first().map(|name| format!("&fieldSelector=metadata.name%3D{}", encode(name)));
            let path = format!(
                "{}?watch=true&allowWatchBookmarks=true&resourceVersion={version}{}{}",
                target.kind.path(self.namespace()),
                name.unwrap_or_default(),
                self.query()
            );
            let mut events = match self.connection.watch(self.ask(path)).await {
                Err(error) if error.code() == Some(GONE) => {
                    version = self.state(target, &mut printer, out).await?;
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
                        version = self.state(target, &mut printer, out).await?;
                        break;
                    }
                    Some("ERROR") => {
                        let status = serde_json::from_value(object.clone()).unwrap_or_default();
                        return Err(Error::Server { context: None, status: Box::new(status) });
                    }
                    Some("BOOKMARK") => {}
                    _ => printer.print(object, out)?,
                }
                let seen = object["rows"][0]["object"]["metadata"]["resourceVersion"].as_str();
                version = seen.map_or_else(|| version_of(object), str::to_owned);
            }
            // A server, or what stands before it, may end each watch at once.
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Prints the state as it is, and returns the version from which to go on.
    async fn state(
        &self,
        target: &Target<'_>,
        printer: &mut Printer<'_>,
        out: &mut (dyn Write + Send),
    ) -> Result<String, Error> {
        let mut version = String::new();
        for path in self.paths(target) {
            let answer = self.connection.call(self.ask(path)).await?;
            printer.print(&answer, out)?;
            version = version_of(&answer);
        }
        Ok(version)
    }

    fn ask(&self, path: String) -> Call {
        match self.args.output {
            None | Some(Output::Wide) => Call::get(path).accept(TABLE),
            Some(Output::Yaml | Output::Json | Output::Name) => Call::get(path),
        }
    }
}

/// Prints what comes, each object by itself.
struct Printer<'a> {
    view: &'a View<'a>,
    title: &'a str,
    target: &'a Target<'a>,
    table: Table,
    documents: usize,
}

impl Printer<'_> {
    /// An object, a list of them, or a table.
    fn print(&mut self, answer: &Value, out: &mut (dyn Write + Send)) -> Result<(), Error> {
        if let None | Some(Output::Wide) = self.view.args.output {
            if answer["rows"].as_array().is_none_or(Vec::is_empty) {
                return Ok(());
            }
            let look = self.view.look(self.target.kind, self.title);
            return print(out, format_args!("{}", self.table.render(answer, look)));
        }
        match answer["items"].as_array() {
            Some(items) => items.iter().try_for_each(|item| self.object(with_type(item, answer), out)),
            None => self.object(answer.clone(), out),
        }
    }

    fn object(&mut self, mut object: Value, out: &mut (dyn Write + Send)) -> Result<(), Error> {
        trim(&mut object);
        let between = if self.documents > 0 { "---\n" } else { "" };
        self.documents += 1;
        match self.view.args.output {
            Some(Output::Json) => print(out, format_args!("{}", structured(&object, StructuredOutput::Json))),
            Some(Output::Name) => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                print(out, format_args!("{}/{name}\n", self.title))
            }
            _ => print(out, format_args!("{between}{}", structured(&object, StructuredOutput::Yaml))),
        }
    }
}

fn version_of(answer: &Value) -> String {
    answer["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}
