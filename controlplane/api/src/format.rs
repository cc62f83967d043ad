//! Names, labels and label values, judged in Kubernetes' texts. Each function returns what is wrong, nothing if all is well.

use std::sync::LazyLock;

use regex::Regex;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// A DNS-1123 label: names of namespaces.
pub fn label(text: &str) -> Vec<String> {
    static REGEX: LazyLock<Regex> = LazyLock::new(|| whole(LABEL));
    let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
    judge(text, 63, &REGEX, message, LABEL, &["my-name", "123-abc"])
}

/// A DNS-1123 subdomain: names of objects.
pub fn subdomain(text: &str) -> Vec<String> {
    static REGEX: LazyLock<Regex> = LazyLock::new(|| whole(SUBDOMAIN));
    let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
    judge(text, 253, &REGEX, message, SUBDOMAIN, &["example.com"])
}

/// A part of a URL's path: names of roles and bindings.
pub fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|part| text.contains(**part)).map(|part| format!("may not contain '{part}'")).collect()
}

/// A qualified name: keys of labels and annotations, finalizers.
pub fn qualified_name(text: &str) -> Vec<String> {
    static REGEX: LazyLock<Regex> = LazyLock::new(|| whole(QUALIFIED));
    let message = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let examples = ["MyName", "my.name", "123-abc"];
    let mut wrong = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(subdomain(prefix).into_iter().map(|text| format!("prefix part {text}")));
            }
            name
        }
        _ => {
            let text = explain(message, QUALIFIED, &examples);
            return vec![format!(
                "a qualified name {text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push("name part must be no more than 63 characters".to_owned());
    }
    if !REGEX.is_match(name) {
        wrong.push(format!("name part {}", explain(message, QUALIFIED, &examples)));
    }
    wrong
}

/// A value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    static REGEX: LazyLock<Regex> = LazyLock::new(|| whole(VALUE));
    let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    judge(text, 63, &REGEX, message, VALUE, &["MyValue", "my_value", "12345"])
}

fn judge(text: &str, longest: usize, regex: &Regex, message: &str, pattern: &str, examples: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > longest {
        wrong.push(format!("must be no more than {longest} characters"));
    }
    if !regex.is_match(text) {
        wrong.push(explain(message, pattern, examples));
    }
    wrong
}

fn whole(pattern: &str) -> Regex {
    Regex::new(&format!("^(?:{pattern})$")).expect("constant patterns are valid")
}

/// Kubernetes writes a comma and two spaces between examples; kept, because clients compare texts.
fn explain(message: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{pattern}')", examples.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        assert!(label("team-a").is_empty());
        assert!(subdomain("gpu-0.team-a").is_empty());
        assert!(qualified_name("torchremote.dev/machine").is_empty());
        assert!(label_value("").is_empty());
        assert!(label_value("A_b.c-1").is_empty());
    }

    #[test]
    fn wrong_names_are_explained_as_kubernetes_does() {
        assert_eq!(
            label("Team"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(
            subdomain("a_b"),
            [
                r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(subdomain(&"a".repeat(254)), ["must be no more than 253 characters"]);
        assert_eq!(
            label_value("a b"),
            [
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ]
        );
        assert_eq!(qualified_name("/x"), ["prefix part must be non-empty"]);
        assert_eq!(qualified_name("a/")[0..1], ["name part must be non-empty"]);
        assert_eq!(
            qualified_name("a/b/c"),
            [
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ]
        );
        assert_eq!(qualified_name(&"n".repeat(64)), ["name part must be no more than 63 characters"]);
    }
}
