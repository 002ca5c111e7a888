//! What an agent reads.

use super::{builder, policy};
use crate::name::{AgentName, Host, Origin};
use crate::policy::fixture::{denying, methods, pairs, paths, request, rule};
use crate::policy::rule::{Agents as RuleAgents, Rule, Schemes};
use crate::policy::{Admission, Decision, Policy, Request, Scheme};

fn sentence(policy: &Policy, request: Request) -> String {
    match policy.decide(&builder(), request) {
        Decision::Allow(_) => panic!("the request is allowed"),
        Decision::Deny(denied) => denied.refusal.sentence,
    }
}

fn github() -> Policy {
    let mut repos = rule("repos", &["api.github.com"]);
    repos.methods = methods(&["GET", "HEAD"]);
    repos.paths = paths(&["/repos/**", "/user"]);
    let mut graphql = rule("graphql", &["api.github.com"]);
    graphql.methods = methods(&["POST"]);
    graphql.paths = paths(&["/graphql"]);
    let mut other = rule("other", &["api.github.com"]);
    other.agents = RuleAgents::These(vec![AgentName::new("tester")]);
    other.paths = paths(&["/of-another-agent"]);
    let mut refs = rule("refs", &["github.com"]);
    refs.methods = methods(&["GET"]);
    refs.paths = paths(&["/*/*/info/refs"]);
    refs.query = pairs(&[("service", "git-upload-pack")]);
    refs.headers = vec![(
        "git-protocol".parse().unwrap(),
        "secret-value".parse().unwrap(),
    )];
    let mut push = denying(
        rule("no-push", &["github.com"]),
        "pushing goes through review",
    );
    push.query = pairs(&[("service", "git-receive-pack")]);
    policy(vec![repos, graphql, other, push, refs])
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn refusals_say_what_was_asked_and_what_is_allowed() {
    const HERE: &str = "; allowed here: GET|HEAD /repos/**, GET|HEAD /user, POST /graphql";
    const REFS: &str =
        "; allowed here: GET /*/*/info/refs?service=git-upload-pack with header git-protocol";
    let policy = github();
    for (method, authority, target, expected) in [
        (
            "DELETE",
            "api.github.com",
            "/repos/a",
            format!("no rule allows DELETE on api.github.com for agent builder{HERE}"),
        ),
        (
            "GET",
            "api.github.com",
            "/orgs?secret",
            format!("no rule allows GET on this path of api.github.com for agent builder{HERE}"),
        ),
        (
            "GET",
            "api.github.com",
            "/repos/a%2Fb",
            format!("no rule allows GET with an encoded slash (%2F) in the path on api.github.com for agent builder{HERE}"),
        ),
        (
            "GET",
            "github.com",
            "/a/b/info/refs?service=x",
            format!("no rule allows GET on this path with this query on github.com for agent builder{REFS}"),
        ),
        (
            "GET",
            "github.com",
            "/a/b/info/refs?service=git-upload-pack",
            format!("no rule allows GET on this path with these headers on github.com for agent builder{REFS}"),
        ),
        (
            "GET",
            "github.com",
            "/a/b/info/refs?service=git-receive-pack",
            "rule no-push denies this: pushing goes through review".to_owned(),
        ),
        (
            "GET",
            "evil.test",
            "/",
            "no rule allows agent builder to reach evil.test".to_owned(),
        ),
        (
            "GET",
            "github.com:8443",
            "/",
            "no rule allows agent builder to reach https://github.com:8443; allowed is https://github.com".to_owned(),
        ),
        ("TRACE", "github.com", "/", "TRACE is never passed on".to_owned()),
    ] {
        assert_eq!(sentence(&policy, request(method, authority, target)), expected);
    }
    let long = request(&"LONG".repeat(100), "github.com", "/");
    assert_eq!(
        sentence(&policy, long),
        format!("no rule allows this method on github.com for agent builder{REFS}")
    );
}

#[test]
fn connections_get_the_like() {
    let mut clear = rule("clear", &["clear.test"]);
    clear.schemes = Schemes {
        https: false,
        http: true,
    };
    clear.ports = vec![8080];
    let policy = policy(vec![clear, denying(rule("denied", &["evil.test"]), "no")]);
    let page = |host: &str, port: u16| {
        let host = Host::from_config(host).unwrap();
        let origin = Origin(([192, 0, 2, 1], port).into());
        match policy.admit(&builder(), Scheme::Https, Some(&host), origin) {
            Admission::Page(refusal) => refusal.sentence,
            Admission::Intercept | Admission::Splice(_) | Admission::Refuse(_) => {
                panic!("{host} gets a page")
            }
        }
    };
    assert_eq!(
        page("a.test", 443),
        "no rule allows agent builder to reach a.test"
    );
    assert_eq!(
        page("clear.test", 443),
        "no rule allows agent builder to reach clear.test; allowed is http://clear.test:8080"
    );
    assert_eq!(
        page("evil.test", 8443),
        "no rule allows agent builder to reach https://evil.test:8443"
    );
}

#[test]
fn what_is_allowed_is_listed_within_bounds() {
    let many = |paths_of: &dyn Fn(usize) -> String| {
        let rules = (0..1000).map(|number| {
            let mut one = rule(&format!("r{number}"), &["good.test"]);
            one.methods = methods(&["GET"]);
            one.paths = paths(&[&paths_of(number)]);
            one
        });
        let policy = policy(rules.collect::<Vec<Rule>>());
        sentence(&policy, request("PUT", "good.test", "/"))
    };
    let start = "no rule allows PUT on good.test for agent builder";
    assert_eq!(
        many(&|number| format!("/{number}")),
        format!("{start}; allowed here: GET /0, GET /1, GET /2, GET /3, GET /4, GET /5 and more")
    );
    assert_eq!(
        many(&|_| "/same".to_owned()),
        format!("{start}; allowed here: GET /same")
    );
    let long = many(&|number| format!("/{number}{}", "x".repeat(120)));
    assert!(long.ends_with(" and more") && long.len() < 400, "{long}");
    assert_eq!(many(&|_| format!("/{}", "x".repeat(500))), start);
}
