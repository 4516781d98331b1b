//! Breadth first: every state once, and the shortest way to what must not be.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::scenario::Scenario;
use crate::world::{Event, World};

/// What came of it.
#[derive(Debug)]
pub(crate) struct Explored {
    /// Distinct ones.
    pub(crate) states: usize,
    /// All within the bounds of the scenario were seen.
    pub(crate) complete: bool,
    /// What was violated, and how.
    pub(crate) violation: Option<Counterexample>,
}

#[derive(Debug)]
pub(crate) struct Counterexample {
    pub(crate) what: String,
    pub(crate) steps: Vec<Event>,
}

/// The digests are good hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }
}

/// Visits up to `most` distinct states.
pub(crate) fn explore(scenario: &Scenario, most: usize) -> Explored {
    let first = World::new(scenario);
    let mut seen: HashSet<u128, BuildHasherDefault<AsIs>> = HashSet::default();
    seen.insert(first.digest());
    // Where each came from, and by which of the events there.
    let mut ways: Vec<(u32, u8)> = vec![(0, 0)];
    let mut level = vec![(0_u32, first)];
    while !level.is_empty() {
        let mut next = Vec::new();
        for (at, world) in std::mem::take(&mut level) {
            let events = world.events(scenario);
            let quiet = !events.iter().any(|event| event.is_progress());
            if quiet && let Err(what) = world.check_rest(scenario) {
                let steps = way(scenario, &ways, at, None);
                let violation = Some(Counterexample { what, steps });
                return Explored { states: seen.len(), complete: false, violation };
            }
            for (number, event) in (0_u8..).zip(events) {
                match world.after(scenario, event) {
                    Err(what) => {
                        let steps = way(scenario, &ways, at, Some(event));
                        let violation = Some(Counterexample { what, steps });
                        return Explored { states: seen.len(), complete: false, violation };
                    }
                    Ok(world) => {
                        if seen.insert(world.digest()) {
                            ways.push((at, number));
                            next.push((u32::try_from(ways.len() - 1).unwrap(), world));
                        }
                    }
                }
            }
            if seen.len() >= most {
                return Explored { states: seen.len(), complete: false, violation: None };
            }
        }
        level = next;
    }
    Explored { states: seen.len(), complete: true, violation: None }
}

/// From the beginning to `at`, and then `last`.
fn way(scenario: &Scenario, ways: &[(u32, u8)], mut at: u32, last: Option<Event>) -> Vec<Event> {
    let mut numbers = Vec::new();
    while at != 0 {
        let (before, number) = ways[at as usize];
        numbers.push(number);
        at = before;
    }
    let mut world = World::new(scenario);
    let mut steps = Vec::new();
    for number in numbers.into_iter().rev() {
        let event = world.events(scenario)[usize::from(number)];
        steps.push(event);
        world = world.after(scenario, event).unwrap();
    }
    steps.extend(last);
    steps
}

impl Counterexample {
    /// Numbered, in plain words.
    pub(crate) fn story(&self, scenario: &Scenario) -> String {
        let before = scenario.before.iter().map(|step| format!("       {step}\n"));
        let before: String = before.collect();
        let steps = (1..).zip(&self.steps).map(|(n, step)| format!("{n:3}. {step}\n"));
        format!("{before}{}     => {}\n", steps.collect::<String>(), self.what)
    }
}
