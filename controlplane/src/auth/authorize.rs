//! What no role decides: a lease belongs to its holder.

use super::Caller;

/// Whether the caller may renew or end a lease, or have its token.
pub fn may_use_lease(caller: &Caller, holder: Option<&str>) -> bool {
    caller.administrator() || holder == Some(caller.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::ADMINISTRATORS;
    use super::*;

    #[test]
    fn a_lease_is_its_holder_s_and_the_administrators() {
        let caller = |name: &str, groups: &[&str]| Caller {
            name: name.into(),
            groups: groups.iter().map(|group| (*group).into()).collect(),
            ..Caller::default()
        };
        assert!(may_use_lease(&caller("ana", &[]), Some("ana")));
        assert!(!may_use_lease(&caller("bob", &["system:authenticated"]), Some("ana")));
        assert!(may_use_lease(&caller("root", &[ADMINISTRATORS]), Some("ana")));
        assert!(!may_use_lease(&caller("", &[]), None));
    }
}
