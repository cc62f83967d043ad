//! Acting as another: the headers `Impersonate-*`, for callers who have the verb `impersonate` on whom they name.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use torch_remote_api::rbac::{AUTHENTICATED, Action, Decision, Policy, Target};
use torch_remote_api::status::Status;

use super::failure::Failure;
use crate::auth::Caller;

const EXTRA: &str = "impersonate-extra-";
/// Name of callers who have not said who they are.
const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ACCOUNT: &str = "system:serviceaccount:";

/// Whom the caller acts as; none without such headers.
///
/// # Errors
/// 400: the headers name no user; 403: the caller may not act as one of those they name.
pub fn impersonated(policy: &Policy, caller: &Caller, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(None);
    }
    let wish = Wish::read(headers)?;
    for asked in wish.asks() {
        let action = Action { verb: "impersonate", target: asked };
        if let Decision::Denied(why) = policy.decide(caller.user(), &action) {
            return Err(Status::denied(&caller.name, &action, &why).into());
        }
    }
    Ok(Some(Caller { actor: Some(Arc::new(caller.clone())), ..wish.caller() }))
}

struct Wish {
    user: String,
    groups: Vec<String>,
    uid: Option<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wish {
    fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let (mut user, mut groups, mut uid, mut extra) = (None, Vec::new(), None, BTreeMap::<_, Vec<_>>::new());
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("impersonate-")) {
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| malformed(name.as_str()))?.to_owned();
            match name.as_str() {
                "impersonate-user" => once(name.as_str(), &mut user, text)?,
                "impersonate-uid" => once(name.as_str(), &mut uid, text)?,
                "impersonate-group" => groups.push(text),
                other => {
                    let key = other.strip_prefix(EXTRA).and_then(decoded).filter(|key| !key.is_empty());
                    extra.entry(key.ok_or_else(|| malformed(other))?).or_default().push(text);
                }
            }
        }
        match user.filter(|user: &String| !user.is_empty()) {
            Some(user) => Ok(Self { user, groups, uid, extra }),
            None => Err(Failure::bad_request(
                "groups, a uid or extras were requested without impersonating a user: add the header Impersonate-User"
                    .to_owned(),
            )),
        }
    }

    fn account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.user.strip_prefix(ACCOUNT)?.split_once(':')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
    }

    /// What the caller must be allowed to impersonate, one by one.
    fn asks(&self) -> Vec<Target<'_>> {
        let of = |group, resource, subresource, namespace, name| Target::Resource {
            group,
            resource,
            subresource,
            namespace,
            name,
        };
        let user = match self.account() {
            Some((namespace, name)) => of("", "serviceaccounts", "", namespace, name),
            None => of("", "users", "", "", &self.user),
        };
        let mut asks = vec![user];
        asks.extend(self.groups.iter().map(|group| of("", "groups", "", "", group)));
        asks.extend(self.uid.iter().map(|uid| of("authentication.k8s.io", "uids", "", "", uid)));
        for (key, values) in &self.extra {
            asks.extend(values.iter().map(|value| of("authentication.k8s.io", "userextras", key, "", value)));
        }
        asks
    }

    fn caller(self) -> Caller {
        let mut groups = self.groups.clone();
        if let Some((namespace, _)) = self.account().filter(|_| groups.is_empty()) {
            groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        }
        let said = |group: &str| groups.iter().any(|given| given == group);
        let more = if self.user == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        if !said(AUTHENTICATED) && !said(UNAUTHENTICATED) {
            groups.push(more.to_owned());
        }
        Caller { name: self.user, groups, uid: self.uid, extra: self.extra, actor: None }
    }
}

fn malformed(header: &str) -> Failure {
    Failure::bad_request(format!("the header {header} is not one that says whom to act as"))
}

fn once(header: &str, place: &mut Option<String>, text: String) -> Result<(), Failure> {
    match place.replace(text) {
        None => Ok(()),
        Some(_) => Err(malformed(header)),
    }
}

/// Resolves `%2F` and the like.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).expect("a name"), HeaderValue::from_str(value).expect("a value"))
        };
        list.iter().map(pair).collect()
    }

    fn policy() -> Policy {
        let rules = json!([
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"]},
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["vision"]},
            {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/a/b"]},
        ]);
        let subjects = json!([{"kind": "User", "name": "ana"}]);
        Policy::new([
            &json!({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": rules}),
            &json!({"kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": subjects}),
        ])
    }

    fn as_seen(list: &[(&str, &str)]) -> Result<Option<Caller>, Failure> {
        let ana = Caller { name: "ana".into(), ..Caller::default() };
        impersonated(&policy(), &ana, &headers(list))
    }

    #[test]
    fn who_may_act_as_another_is_the_other() {
        assert_eq!(as_seen(&[("accept", "*/*")]).unwrap(), None);
        let bob =
            as_seen(&[("Impersonate-User", "bob"), ("Impersonate-Group", "vision"), ("Impersonate-Extra-a%2fb", "c")])
                .unwrap()
                .unwrap();
        assert_eq!((bob.name.as_str(), &bob.groups[..]), ("bob", &["vision".to_owned(), AUTHENTICATED.to_owned()][..]));
        assert_eq!(bob.extra, BTreeMap::from([("a/b".to_owned(), vec!["c".to_owned()])]));
        let root = Caller { name: "root".into(), groups: vec!["system:masters".into()], ..Caller::default() };
        let bot = impersonated(&policy(), &root, &headers(&[("impersonate-user", "system:serviceaccount:team:bot")]))
            .unwrap()
            .unwrap();
        assert_eq!(bot.groups, ["system:serviceaccounts", "system:serviceaccounts:team", AUTHENTICATED]);
    }

    #[test]
    fn all_that_is_named_must_be_allowed() {
        for (list, says) in [
            (
                vec![("impersonate-user", "eve")],
                r#"users "eve" is forbidden: User "ana" cannot impersonate resource "users" in API group "" at the cluster scope"#,
            ),
            (
                vec![("impersonate-user", "bob"), ("impersonate-group", "system:masters")],
                r#"groups "system:masters" is forbidden: User "ana" cannot impersonate resource "groups" in API group "" at the cluster scope"#,
            ),
            (
                vec![("impersonate-user", "system:serviceaccount:team:bot")],
                r#"serviceaccounts "bot" is forbidden: User "ana" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "team""#,
            ),
            (
                vec![("impersonate-user", "bob"), ("impersonate-uid", "7")],
                r#"uids.authentication.k8s.io "7" is forbidden: User "ana" cannot impersonate resource "uids" in API group "authentication.k8s.io" at the cluster scope"#,
            ),
            (
                vec![("impersonate-user", "bob"), ("impersonate-extra-scopes", "x")],
                r#"userextras.authentication.k8s.io "x" is forbidden: User "ana" cannot impersonate resource "userextras/scopes" in API group "authentication.k8s.io" at the cluster scope"#,
            ),
        ] {
            let refused = as_seen(&list).unwrap_err();
            assert_eq!((refused.status().http_code(), refused.status().message.as_str()), (403, says));
        }
        for list in [
            vec![("impersonate-group", "vision")],
            vec![("impersonate-user", "bob"), ("impersonate-user", "eve")],
            vec![("impersonate-user", "bob"), ("impersonate-else", "x")],
            vec![("impersonate-user", "bob"), ("impersonate-extra-%2", "x")],
        ] {
            assert_eq!(as_seen(&list).unwrap_err().status().http_code(), 400, "{list:?}");
        }
    }
}
