//! Manifests: texts to documents, each with its place for error texts.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::Error;
use super::source::Text;

/// One object of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// `machines.yaml: document 2`.
    pub place: String,
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, if it has one.
    pub namespace: Option<String>,
    /// The whole object.
    pub body: Value,
}

/// All documents of the texts.
///
/// # Errors
/// The first that is not an object; that there is none at all; that two are the same.
pub fn documents(texts: &[Text]) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    for text in texts {
        parse(&text.place, &text.text, &mut documents)?;
    }
    if documents.is_empty() {
        let files = texts.iter().map(|text| text.place.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::Nothing { files });
    }
    refuse_twice(&documents)?;
    Ok(documents)
}

fn parse(file: &str, text: &str, documents: &mut Vec<Document>) -> Result<(), Error> {
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        let failed = |source| Error::Syntax { file: file.to_owned(), number, source };
        // Through YAML's own tree first: it refuses a key given twice, JSON's would take the last.
        let tree = serde_yaml::Value::deserialize(document).map_err(failed)?;
        if tree.is_null() {
            continue;
        }
        let body: Value = serde_yaml::from_value(tree).map_err(failed)?;
        expand(&format!("{file}: document {number}"), body, documents)?;
    }
    Ok(())
}

/// A `List` counts as its items.
fn expand(place: &str, body: Value, documents: &mut Vec<Document>) -> Result<(), Error> {
    let is_list = body["kind"] == "List" && body["apiVersion"] == "v1";
    let Some(items) = body["items"].as_array().filter(|_| is_list) else {
        documents.push(document(place.to_owned(), body)?);
        return Ok(());
    };
    for (index, item) in items.iter().enumerate() {
        documents.push(document(format!("{place}, item {}", index + 1), item.clone())?);
    }
    Ok(())
}

fn document(place: String, mut body: Value) -> Result<Document, Error> {
    if !body.is_object() {
        let problem = "is no object: a mapping with apiVersion, kind and metadata is expected".to_owned();
        return Err(Error::NotAnObject { place, problem });
    }
    drop_nulls(&mut body);
    let text = |pointer: &str| match body.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        found => {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            let problem = if found.is_some() { "must be a text" } else { "is missing" };
            Err(Error::NotAnObject { place: place.clone(), problem: format!("{field} {problem}") })
        }
    };
    let (api_version, kind, name) = (text("/apiVersion")?, text("/kind")?, text("/metadata/name")?);
    let namespace = body.pointer("/metadata/namespace").map(|_| text("/metadata/namespace")).transpose()?;
    Ok(Document { place, api_version, kind, name, namespace, body })
}

/// An empty value in YAML is null, and means "not given".
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn refuse_twice(documents: &[Document]) -> Result<(), Error> {
    let mut seen = HashMap::new();
    for document in documents {
        let key = (&document.api_version, &document.kind, &document.namespace, &document.name);
        if let Some(first) = seen.insert(key, &document.place) {
            let object = format!("{} {:?}", document.kind, document.name);
            return Err(Error::Twice { first: first.clone(), second: document.place.clone(), object });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "apiVersion: torchremote.dev/v1alpha1\nkind: RemoteMachine\nmetadata: {name: NAME}\n";

    fn machine(name: &str) -> String {
        MACHINE.replace("NAME", name)
    }

    fn read_text(text: &str) -> Result<Vec<Document>, Error> {
        documents(&[Text { place: "m.yaml".into(), text: text.into() }])
    }

    fn message(error: &Error) -> String {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text.strip_prefix("m.yaml: ").map_or(text.clone(), str::to_owned)
    }

    #[test]
    fn documents_keep_their_number_and_empty_ones_are_skipped() {
        let text = format!("---\n{}---\n# nothing\n---\n{}", machine("a"), machine("b"));
        let documents = read_text(&text).expect("two documents");
        let names: Vec<_> =
            documents.iter().map(|d| (d.name.as_str(), d.place.rsplit(' ').next().expect("a number"))).collect();
        assert_eq!(names, [("a", "1"), ("b", "3")]);
    }

    #[test]
    fn errors_name_the_document() {
        let second =
            |text: &str| message(&read_text(&format!("{}---\n{text}", machine("a"))).expect_err("it is wrong"));
        assert!(second("a: [1, 2").starts_with("document 2 is not YAML"), "{}", second("a: [1, 2"));
        assert!(second("a: 1\na: 2\n").contains("duplicate entry"), "{}", second("a: 1\na: 2\n"));
        assert_eq!(
            second("just a text\n"),
            "document 2: is no object: a mapping with apiVersion, kind and metadata is expected"
        );
        assert_eq!(second("apiVersion: v1\nkind: Namespace\n"), "document 2: metadata.name is missing");
        assert_eq!(second("apiVersion: v1\nkind: 7\nmetadata: {name: x}\n"), "document 2: kind must be a text");
        let twice = second(&machine("a"));
        assert!(twice.ends_with("document 2 are both RemoteMachine \"a\""), "{twice}");
    }

    #[test]
    fn a_list_is_its_items() {
        let list = r#"{"apiVersion":"v1","kind":"List","items":[
            {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"first"}},
            {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"second"}}]}"#;
        let names: Vec<String> = read_text(list).expect("two").into_iter().map(|document| document.name).collect();
        assert_eq!(names, ["first", "second"]);
    }

    #[test]
    fn nothing_at_all_is_an_error() {
        assert!(matches!(read_text("# nothing\n"), Err(Error::Nothing { .. })));
    }
}
