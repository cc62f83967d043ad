//! The objects a command is about, as arguments name them: `KIND`, `KIND NAME...`, `KIND/NAME...`, `KIND,KIND`.

use clap::Args;

use super::error::Error;
use super::kind::{Kind, Kinds};

/// Arguments that name objects.
#[derive(Debug, Clone, Args)]
pub struct TargetArgs {
    /// `KIND [NAME...]`, `KIND/NAME...` or `KIND,KIND`.
    #[arg(value_name = "KIND [NAME]")]
    names: Vec<String>,
    /// Only objects with these labels: `team=vision,stage!=test`.
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
}

/// One kind, and which of its objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Target<'a> {
    /// The kind.
    pub kind: &'a Kind,
    /// Names; all objects when empty.
    pub names: Vec<String>,
}

impl TargetArgs {
    /// True when nothing is named.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Resolves the arguments.
    ///
    /// # Errors
    /// An unknown kind, forms that do not mix, or nothing at all.
    pub fn resolve<'a>(&self, kinds: &'a Kinds, example: &'static str) -> Result<Vec<Target<'a>>, Error> {
        let usage = |problem: &str| Error::Usage { problem: problem.to_owned(), example };
        let Some((first, rest)) = self.names.split_first() else {
            return Err(usage("say which kind of object"));
        };
        if self.selector.is_some() && (first.contains('/') || !rest.is_empty()) {
            return Err(usage("give names or a selector, not both"));
        }
        if !first.contains('/') {
            if rest.iter().any(|name| name.contains('/')) {
                return Err(usage("KIND/NAME and KIND NAME do not mix"));
            }
            let named = first.split(',').filter(|kind| !kind.is_empty()).map(|kind| kinds.named(kind));
            return named.map(|kind| Ok(Target { kind: kind?, names: rest.to_vec() })).collect();
        }
        let mut targets: Vec<Target<'a>> = Vec::new();
        for argument in &self.names {
            let (kind, name) = argument.split_once('/').ok_or_else(|| usage("KIND/NAME and KIND NAME do not mix"))?;
            if name.is_empty() {
                return Err(usage("a name is missing after the slash"));
            }
            let kind = kinds.named(kind)?;
            match targets.iter_mut().find(|target| target.kind == kind) {
                Some(target) => target.names.push(name.to_owned()),
                None => targets.push(Target { kind, names: vec![name.to_owned()] }),
            }
        }
        Ok(targets)
    }

    /// The selector as a query parameter, with `&` in front.
    pub fn query(&self) -> String {
        self.selector.as_deref().map(|selector| format!("&labelSelector={}", encode(selector))).unwrap_or_default()
    }
}

/// Percent-encodes what a path segment or a query value cannot hold: what a person typed may be anything.
pub fn encode(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
