//! SIGHUP: rules and secrets change as one, or not at all.

use crate::common::world::SERVER;
use crate::common::{GatewayProcess, Upstream, World, inside};
use crate::{RULES, SECRET, assert_works, gateway, get, server};

/// The status of `/allowed` and of `/other`, and which secret came with the former.
fn state(
    world: &World,
    gateway: &GatewayProcess<'_>,
    server: &Upstream,
) -> (u16, u16, Option<String>) {
    let status = |path| get(world, gateway, SERVER[0], "good.test", path).status;
    let (allowed, other) = (status("/allowed"), status("/other"));
    let requests = server.requests();
    let with = |path: &str| {
        let mut of_path = requests.iter().filter(|request| request.target == path);
        let last = of_path.next_back()?;
        last.header("x-api-key").map(str::to_owned)
    };
    (allowed, other, with("/allowed"))
}

fn generation(gateway: &GatewayProcess<'_>) -> f64 {
    gateway.metric("portreeve_policy_generation", &[])
}

fn last_reload_was_good(gateway: &GatewayProcess<'_>) -> bool {
    gateway.metric("portreeve_last_reload_successful", &[]) > 0.5
}

#[test]
fn a_reload_changes_rules_and_secrets() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let gateway = gateway(&world);
        let secret = |text: &str| Some(text.to_owned());
        assert_eq!(state(&world, &gateway, &server), (200, 403, secret(SECRET)));
        let first = generation(&gateway);

        gateway.write_rule("rules.toml", &RULES.replace("/allowed", "/other"));
        // Written is not in force.
        assert_eq!(state(&world, &gateway, &server), (200, 403, secret(SECRET)));
        gateway.reload();
        let (allowed, other, _) = state(&world, &gateway, &server);
        assert_eq!((allowed, other), (403, 200));
        assert!(generation(&gateway) > first);

        gateway.write_rule("rules.toml", RULES);
        gateway.write_secret("canary", "canary-second");
        gateway.reload();
        assert_eq!(
            state(&world, &gateway, &server),
            (200, 403, secret("canary-second"))
        );
        assert!(last_reload_was_good(&gateway));
        // I6: not on a connection that was made for the first secret.
        let requests = server.requests();
        let connections = |secret: &str| -> Vec<usize> {
            let with =
                |request: &&crate::common::Request| request.header("x-api-key") == Some(secret);
            requests
                .iter()
                .filter(with)
                .map(|request| request.connection)
                .collect()
        };
        let old = connections(SECRET);
        assert!(
            connections("canary-second")
                .iter()
                .all(|connection| !old.contains(connection)),
            "{requests:#?}"
        );
    });
}

#[test]
fn i1_a_failed_reload_keeps_the_last_good_rules() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let gateway = gateway(&world);
        let first = generation(&gateway);
        for (bad, word) in [
            ("[[rule]\n", "rules.toml"),
            ("[[rule]]\nname = \"x\"\nhots = [\"evil.test\"]\n", "hots"),
            (
                "[[rule]]\nname = \"all\"\nagents = [\"nobody\"]\nany_host = true\n",
                "nobody",
            ),
        ] {
            gateway.write_rule("rules.toml", bad);
            gateway.reload();
            gateway.wait_log(word);
            assert!(!last_reload_was_good(&gateway), "{bad}");
            assert!((generation(&gateway) - first).abs() < 0.5, "{bad}");
            assert_works(&world, &gateway, &server);
            let denied = get(&world, &gateway, SERVER[0], "bad.test", "/allowed");
            assert_eq!(denied.status, 403, "{bad}");
        }
        // Nothing is a policy, too: the one that allows nothing.
        gateway.write_rule("rules.toml", "");
        gateway.reload();
        assert!(last_reload_was_good(&gateway));
        let before = server.requests().len();
        let denied = get(&world, &gateway, SERVER[1], "good.test", "/allowed");
        assert_eq!(denied.status, 403);
        assert_eq!(server.requests().len(), before);
    });
}

#[test]
fn a_connection_that_is_open_obeys_the_new_rules() {
    use crate::common::client::{H1, Tls};
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let gateway = gateway(&world);
        let tls = Tls::new(&gateway.ca_pem(), &["http/1.1"]);
        let request = "GET /allowed HTTP/1.1\r\nHost: good.test\r\n\r\n";
        let (mut connection, first) = world.agent.block_on(async move {
            let stream = tls.connect((SERVER[0], 443), "good.test").await.unwrap();
            let mut connection = H1::new(stream);
            let first = connection.exchange(request).await.unwrap().status;
            (connection, first)
        });
        gateway.write_rule("rules.toml", "");
        gateway.reload();
        let second = world
            .agent
            .block_on(async move { connection.exchange(request).await.unwrap().status });
        assert_eq!((first, second), (200, 403));
        assert_eq!(server.requests().len(), 1);
    });
}
