//! What agents may do, and that it is all: each of their accounts, by a token of its own, against everything that the
//! API server has.

use std::collections::BTreeSet;

use testkit::cluster::Client;

mod agents;
mod requests;
mod review;
mod world;

use super::stage::Stage;
use agents::{AGENTS, Agent, FAR};
use requests::{Forbidden, Places};
use review::Question;
use world::World;

#[test]
fn no_account_of_an_agent_may_do_more_than_its_work() {
    let Some(stage) = Stage::new("rights", &[]) else {
        return;
    };
    let other = stage.cluster().create_namespace("rights-other");
    let third = stage.cluster().create_namespace("rights-third");
    let world = World {
        stage,
        other,
        third,
    };
    world.set_up();
    let (own, other) = (world.stage.name(), world.other.name());
    let pod = "alone";
    let places = Places { own, other, pod };
    let forbidden = requests::all(&places);
    let commands = requests::commands(&places);
    let admin = world.stage.cluster().client();
    for request in forbidden.iter().chain(&commands) {
        request.assert_is_meant(&admin);
    }
    let third = world.third.name();
    let questions = review::questions(&admin, &[own, other, third]);
    assert!(questions.len() > 1000, "{}", questions.len());
    // What everybody may do who is let in at all.
    let nobody = world.third.client_of("nobody");
    let everybodys = review::rules(&nobody, third);
    let asked = Asked {
        third,
        everybodys,
        questions,
        forbidden,
        commands,
    };
    for agent in AGENTS {
        let client = world.stage.namespace().client_of(agent.account);
        asked.of(agent, &client, (own, other));
        world.assert_works(agent, &client, &admin);
    }
    let client = world.other.client_of(FAR.account);
    asked.of(&FAR, &client, (other, own));
    world.assert_works(&FAR, &client, &admin);
}

/// What every account is asked.
struct Asked<'a> {
    /// A namespace in which nobody has rights.
    third: &'a str,
    everybodys: BTreeSet<String>,
    questions: Vec<Question>,
    forbidden: Vec<Forbidden>,
    commands: Vec<Forbidden>,
}

impl Asked<'_> {
    /// All that there is.
    fn of(&self, agent: &Agent, client: &Client, (own, far): (&str, &str)) {
        let mut expected = BTreeSet::new();
        for (namespace, lines) in [
            (own, agent.own),
            (far, agent.far),
            (self.third, &[][..]),
            ("default", &[][..]),
        ] {
            let rules: BTreeSet<String> =
                lines.iter().map(|line| line.replace("OWN", own)).collect();
            let found = review::rules(client, namespace);
            let more: BTreeSet<String> = found.difference(&self.everybodys).cloned().collect();
            assert_eq!(more, rules, "{} in {namespace}", agent.title);
            expected.extend(rules.iter().flat_map(|rule| unnamed(rule, namespace)));
        }
        let everybodys: Vec<String> = self
            .everybodys
            .iter()
            .flat_map(|rule| unnamed(rule, ""))
            .collect();
        let allowed = review::allowed(client, &self.questions);
        let allowed: BTreeSet<String> = allowed
            .into_iter()
            .map(Question::line)
            .filter(|line| {
                !everybodys
                    .iter()
                    .any(|prefix| line.starts_with(prefix.as_str()))
            })
            .collect();
        assert_eq!(allowed, expected, "{}", agent.title);
        for request in &self.forbidden {
            request.assert_refused(client, agent.title);
        }
        for command in self.commands.iter().filter(|_| !agent.runs_commands) {
            command.assert_refused(client, agent.title);
        }
        requests::assert_is_nobody_else(client, agent.title);
    }
}

/// What a rule allows for objects of any name: `verb resource in namespace`, and without a namespace only the
/// beginning of that.
fn unnamed(rule: &str, namespace: &str) -> Vec<String> {
    let Some((what, verbs)) = rule
        .split_once(": ")
        .filter(|(what, _)| !what.contains(' '))
    else {
        return Vec::new();
    };
    let line = |verb| match namespace {
        "" => format!("{verb} {what} "),
        namespace => format!("{verb} {what} in {namespace}"),
    };
    verbs.split(' ').map(line).collect()
}
