//! `nft verify --status-file` by the root timer, and what the daemon exports of it.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use portreeve::nft::{STATUS_FILE, VERIFY_PERIOD};

use crate::common::{GatewayProcess, World, inside};
use crate::gateway;

/// A `/run` of the test's own, in its own mount namespace.
fn own_run_folder() {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "run", "/run"])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(mounted.success());
    std::fs::create_dir("/run/portreeve").unwrap();
}

/// What the timer's unit does; returns its exit code.
fn verify(world: &World, gateway: &GatewayProcess<'_>) -> Option<i32> {
    let snapshot = world.snapshot();
    let snapshot = snapshot.to_str().unwrap();
    let arguments = [
        "nft",
        "verify",
        "--snapshot",
        snapshot,
        "--status-file",
        STATUS_FILE,
    ];
    gateway.command(&arguments).status.code()
}

fn exported(gateway: &GatewayProcess<'_>) -> bool {
    gateway.metric("portreeve_nft_table_correct", &[]) > 0.5
}

#[test]
fn the_gateway_exports_what_the_verify_timer_found() {
    inside(|| {
        own_run_folder();
        let world = World::new();
        let gateway = gateway(&world);
        assert!(!exported(&gateway), "nobody has verified yet");
        assert_eq!(verify(&world, &gateway), Some(0));
        assert!(exported(&gateway));
        // Changed by somebody: a rule more ...
        let rule = "insert rule inet portreeve prerouting_redirect accept\n";
        let chain = chain_of(&world);
        world
            .gateway
            .nft(&rule.replace("prerouting_redirect", &chain));
        assert_eq!(verify(&world, &gateway), Some(1));
        assert!(!exported(&gateway));
        // ... put right again ...
        let snapshot = world.snapshot();
        let apply = ["nft", "apply", "--snapshot", snapshot.to_str().unwrap()];
        assert!(gateway.command(&apply).status.success());
        assert_eq!(verify(&world, &gateway), Some(0));
        assert!(exported(&gateway));
        // ... and gone.
        world.flush_ruleset();
        assert_eq!(verify(&world, &gateway), Some(1));
        assert!(!exported(&gateway));
    });
}

/// Some chain of the table.
fn chain_of(world: &World) -> String {
    let mut command = Command::new(crate::common::world::tool("nft"));
    command.args(["-j", "list", "chains", "inet"]);
    let listing: serde_json::Value =
        serde_json::from_slice(&world.gateway.output(command).stdout).unwrap();
    let objects = listing["nftables"].as_array().unwrap();
    let ours = |object: &serde_json::Value| {
        let chain = &object["chain"];
        (chain["table"] == "portreeve").then(|| chain["name"].as_str().unwrap().to_owned())
    };
    objects.iter().find_map(ours).unwrap()
}

#[test]
fn a_verdict_that_is_old_or_unreadable_is_no_good_news() {
    inside(|| {
        own_run_folder();
        let world = World::new();
        let gateway = gateway(&world);
        assert_eq!(verify(&world, &gateway), Some(0));
        assert!(exported(&gateway));
        let text = std::fs::read_to_string(STATUS_FILE).unwrap();
        let mut status: serde_json::Value = serde_json::from_str(&text).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let old = now.checked_sub(VERIFY_PERIOD * 3).unwrap();
        status["checked_at"] = old.as_secs().into();
        std::fs::write(STATUS_FILE, status.to_string()).unwrap();
        assert!(!exported(&gateway), "older than two periods");
        assert_eq!(verify(&world, &gateway), Some(0));
        assert!(exported(&gateway));
        std::fs::write(STATUS_FILE, "{").unwrap();
        assert!(!exported(&gateway), "half a file");
        // What cannot be verified is not correct either.
        assert_eq!(verify(&world, &gateway), Some(0));
        let config = gateway.folder().join("portreeve.toml");
        std::fs::write(config, "rules = 1\n").unwrap();
        assert_eq!(verify(&world, &gateway), Some(2));
        assert!(!exported(&gateway));
    });
}
