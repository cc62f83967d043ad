use proptest::prelude::*;
use torch_remote_api::condition::{self, READY, RECONCILING, STALLED};

use super::*;

fn at(second: i64) -> Time {
    chrono::DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a valid second")
}

fn desired(min: u32, max: u32, template: &str) -> Desired {
    Desired { name: "train".to_owned(), generation: 1, deleting: false, min, max, template: template.to_owned() }
}

/// Machines in memory that start, are leased and go as the test says.
#[derive(Debug, Clone)]
struct World {
    members: Vec<Member>,
    status: MachinePoolStatus,
    made: i64,
}

impl World {
    fn new() -> Self {
        Self { members: vec![], status: MachinePoolStatus::default(), made: 0 }
    }

    fn observe(&self) -> Observation {
        let taken = self.members.iter().map(|member| member.name.clone()).collect();
        Observation { members: self.members.clone(), taken, status: self.status.clone() }
    }

    fn plan(&self, desired: &Desired) -> Vec<Action> {
        plan(desired, &self.observe(), at(1000))
    }

    fn apply(&mut self, desired: &Desired, action: &Action) {
        match action {
            Action::Create { name } if self.members.iter().all(|member| member.name != *name) => {
                self.made += 1;
                self.members.push(Member {
                    name: name.clone(),
                    uid: Uid(format!("uid-{}", self.made)),
                    template: desired.template.clone(),
                    deleting: false,
                    standing: Standing::Starting,
                    leased: Observed::Known(false),
                    created_at: at(self.made),
                });
            }
            Action::Create { .. } => {}
            Action::Delete { uid, .. } => {
                let member = self.members.iter_mut().find(|member| member.uid == *uid);
                member.into_iter().for_each(|member| member.deleting = true);
            }
            Action::Report(status) => self.status = (**status).clone(),
        }
    }

    /// What was asked for comes about: what starts is ready, what is to go is gone.
    fn pass(&mut self) {
        self.members.retain(|member| !member.deleting);
        for member in &mut self.members {
            if member.standing == Standing::Starting {
                member.standing = Standing::Ready;
            }
        }
    }

    /// Until nothing is left to do. Returns the fewest machines that stand seen on the way.
    fn settle(&mut self, desired: &Desired) -> usize {
        let mut fewest = usize::MAX;
        for _ in 0..200 {
            let actions = self.plan(desired);
            actions.iter().for_each(|action| self.apply(desired, action));
            assert!(self.members.len() <= desired.max as usize, "never more than max: {:?}", self.members);
            let stands = |member: &&Member| member.standing >= Standing::Resting && !member.deleting;
            fewest = fewest.min(self.members.iter().filter(stands).count());
            let before = self.members.clone();
            self.pass();
            if actions.is_empty() && before == self.members {
                return fewest;
            }
        }
        panic!("does not settle: {:?}", self.members)
    }

    fn names(&self) -> Vec<&str> {
        self.members.iter().map(|member| member.name.as_str()).collect()
    }
}

fn holds(world: &World, kind: &str) -> bool {
    condition::holds(&world.status.conditions, kind)
}

#[test]
fn what_is_missing_is_made_and_the_status_says_when_it_is_ready() {
    let (mut world, wish) = (World::new(), desired(2, 3, "a"));
    for action in world.plan(&wish) {
        world.apply(&wish, &action);
    }
    assert_eq!(world.names(), ["train-0", "train-1"]);
    let status = plan(&wish, &world.observe(), at(0));
    let Some(Action::Report(status)) = status.last() else { panic!("{status:?}") };
    assert!(condition::holds(&status.conditions, RECONCILING) && !condition::holds(&status.conditions, READY));
    world.settle(&wish);
    assert!(holds(&world, READY) && !holds(&world, RECONCILING) && !holds(&world, STALLED));
    assert_eq!((world.status.replicas, world.status.ready, world.status.warm), (Some(2), Some(2), Some(2)));
}

#[test]
fn a_name_that_somebody_else_has_is_passed_over() {
    let mut observed = World::new().observe();
    observed.taken.insert("train-0".to_owned());
    let actions = plan(&desired(1, 1, "a"), &observed, at(0));
    assert_eq!(actions[0], Action::Create { name: "train-1".to_owned() });
}

#[test]
fn of_too_many_go_those_that_are_not_ready_and_then_the_youngest_and_none_that_a_lease_holds() {
    let mut world = World::new();
    world.settle(&desired(4, 4, "a"));
    world.members[3].standing = Standing::Starting;
    world.members[1].leased = Observed::Known(true);
    let gone = |world: &World, min| {
        let actions = world.plan(&desired(min, 4, "a"));
        let names = actions.into_iter().filter_map(|action| match action {
            Action::Delete { name, cause, .. } => Some((name, cause)),
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    let surplus = |name: &str| (name.to_owned(), Cause::Surplus);
    assert_eq!(gone(&world, 3), [surplus("train-3")]);
    assert_eq!(gone(&world, 2), [surplus("train-3"), surplus("train-2")]);
    assert_eq!(gone(&world, 0), [surplus("train-3"), surplus("train-2"), surplus("train-0")]);
    world.members[0].leased = Observed::Unknown;
    assert_eq!(gone(&world, 0), [surplus("train-3"), surplus("train-2")], "nothing is destroyed on Unknown");
}

#[test]
fn another_template_replaces_machines_while_as_many_stand_as_are_asked_for() {
    let mut world = World::new();
    world.settle(&desired(3, 4, "a"));
    let fewest = world.settle(&desired(3, 4, "b"));
    assert_eq!(fewest, 3);
    assert!(world.members.len() == 3 && world.members.iter().all(|member| member.template == "b"));
}

#[test]
fn machines_that_rest_are_replaced_as_those_that_are_ready() {
    let mut world = World::new();
    world.settle(&desired(4, 5, "a"));
    world.members.iter_mut().for_each(|member| member.standing = Standing::Resting);
    assert_eq!(world.settle(&desired(4, 5, "b")), 4);
    assert!(world.members.len() == 4 && world.members.iter().all(|member| member.template == "b"));
}

#[test]
fn a_big_pool_grows_and_shrinks_in_steps() {
    let mut world = World::new();
    let steps = |actions: &[Action]| actions.iter().filter(|action| !matches!(action, Action::Report(_))).count();
    for (wish, least) in [(desired(120, 120, "a"), 120), (desired(3, 120, "a"), 3)] {
        assert_eq!(steps(&world.plan(&wish)), MOST);
        world.settle(&wish);
        assert_eq!(world.members.len(), least);
    }
}

#[test]
fn without_room_for_one_more_machines_are_replaced_one_at_a_time() {
    let mut world = World::new();
    world.settle(&desired(3, 3, "a"));
    let fewest = world.settle(&desired(3, 3, "b"));
    assert_eq!(fewest, 2);
    assert!(world.members.len() == 3 && world.members.iter().all(|member| member.template == "b"));
}

#[test]
fn a_leased_machine_of_an_older_template_stays_until_its_lease_ends() {
    let mut world = World::new();
    world.settle(&desired(2, 3, "a"));
    world.members[0].leased = Observed::Known(true);
    let kept = world.members[0].uid.clone();
    let new = desired(2, 3, "b");
    world.settle(&new);
    assert!(world.members.iter().any(|member| member.uid == kept));
    assert!(holds(&world, READY) && !holds(&world, RECONCILING));
    let ready = condition::find(&world.status.conditions, READY).expect("written");
    assert_eq!(ready.message, "1 machines of an older template are kept until no lease holds them");
    world.members.iter_mut().for_each(|member| member.leased = Observed::Known(false));
    world.settle(&new);
    assert!(world.members.len() == 2 && world.members.iter().all(|member| member.template == "b"));
}

#[test]
fn a_machine_whose_time_is_over_is_replaced_and_one_that_failed_stalls_the_pool() {
    let (mut world, wish) = (World::new(), desired(2, 2, "a"));
    world.settle(&wish);
    world.members[0].standing = Standing::Over;
    let over = world.members[0].uid.clone();
    world.members[1].standing = Standing::Failed;
    world.settle(&wish);
    assert!(world.members.len() == 2 && world.members.iter().all(|member| member.uid != over));
    assert!(holds(&world, STALLED));
    // Another template is another chance.
    world.settle(&desired(2, 2, "b"));
    assert!(!holds(&world, STALLED) && holds(&world, READY));
}

#[test]
fn with_the_last_old_machine_that_can_go_goes_what_was_to_stand_in_for_it() {
    let mut world = World::new();
    world.settle(&desired(3, 3, "a"));
    world.members[0].standing = Standing::Resting;
    world.members[1].standing = Standing::Failed;
    world.members[1].template = "b".to_owned();
    world.members[2].leased = Observed::Known(true);
    let gone = world.plan(&desired(1, 2, "b"));
    let gone = gone.iter().filter(|action| matches!(action, Action::Delete { .. })).count();
    assert_eq!(gone, 2, "the old one that rests, and the one made beyond `min` while there was an old one");
}

#[test]
fn a_pool_that_is_being_deleted_makes_and_deletes_nothing() {
    let mut wish = desired(2, 3, "a");
    wish.deleting = true;
    let actions = World::new().plan(&wish);
    assert!(matches!(&actions[..], [Action::Report(_)]), "{actions:?}");
}

fn member() -> impl Strategy<Value = Member> {
    let standing = prop::sample::select(vec![
        Standing::Failed,
        Standing::Over,
        Standing::Starting,
        Standing::Resting,
        Standing::Ready,
    ]);
    let leased = prop::sample::select(vec![
        Observed::Known(false),
        Observed::Known(false),
        Observed::Known(true),
        Observed::Unknown,
    ]);
    let template = prop::sample::select(vec!["a", "b"]);
    (standing, leased, template, any::<bool>(), 0..100i64).prop_map(|(standing, leased, template, deleting, age)| {
        Member {
            name: String::new(),
            uid: Uid(String::new()),
            template: template.to_owned(),
            deleting,
            standing,
            leased,
            created_at: at(age),
        }
    })
}

fn world() -> impl Strategy<Value = (World, Desired)> {
    (prop::collection::vec(member(), 0..7), 0..6u32, 0..4u32).prop_map(|(mut members, min, more)| {
        for (number, member) in members.iter_mut().enumerate() {
            member.name = format!("train-{number}");
            member.uid = Uid(format!("first-{number}"));
        }
        (World { members, ..World::new() }, desired(min, min + more, "b"))
    })
}

proptest! {
    #[test]
    fn planning_after_applying_gives_nothing((mut world, wish) in world()) {
        for action in world.plan(&wish) {
            world.apply(&wish, &action);
        }
        // The status tells of what was done, and no more.
        for action in world.plan(&wish) {
            prop_assert!(matches!(action, Action::Report(_)), "{:?}", action);
            world.apply(&wish, &action);
        }
        prop_assert_eq!(world.plan(&wish), []);
    }

    #[test]
    fn the_same_input_gives_the_same_plan((world, wish) in world()) {
        prop_assert_eq!(world.plan(&wish), world.plan(&wish));
    }

    #[test]
    fn from_any_prefix_of_a_plan_it_comes_to_what_is_asked((mut world, wish) in world(), prefix in 0..8usize) {
        for action in world.plan(&wish).iter().take(prefix) {
            world.apply(&wish, action);
        }
        world.pass();
        for _ in 0..100 {
            for action in world.plan(&wish) {
                world.apply(&wish, &action);
            }
            world.pass();
        }
        prop_assert_eq!(world.plan(&wish), []);
        let counted = || world.members.iter().filter(|member| member.standing != Standing::Over);
        let busy = counted().filter(|member| !member.idle()).count();
        let room = world.members.len() < wish.max as usize;
        prop_assert!(world.members.len() >= wish.min as usize || !room, "{:?}", world.members);
        // A template whose machines fail replaces no others.
        if world.members.iter().all(|member| member.standing != Standing::Failed) {
            prop_assert!(counted().count() <= busy.max(wish.min as usize), "{:?}", world.members);
            let old = world.members.iter().any(|member| member.idle() && member.outdated(&wish));
            prop_assert!(!old, "{:?}", world.members);
        }
    }

    #[test]
    fn nothing_goes_that_a_lease_holds_or_may_hold((world, wish) in world()) {
        for action in world.plan(&wish) {
            if let Action::Delete { uid, .. } = action {
                let member = world.members.iter().find(|member| member.uid == uid).expect("one of its own");
                prop_assert_eq!(member.leased, Observed::Known(false));
                prop_assert!(!member.deleting);
            }
        }
    }

    #[test]
    fn there_are_never_more_than_max_by_its_own_doing((world, wish) in world()) {
        let made = world.plan(&wish).into_iter().filter(|action| matches!(action, Action::Create { .. })).count();
        prop_assert!(made == 0 || world.members.len() + made <= wish.max as usize);
    }
}
