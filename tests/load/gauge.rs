//! What the kernel says the gateway uses.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::{DEADLINE, GatewayProcess};

/// Resident memory in KiB.
pub fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

/// Open descriptors.
pub fn descriptors(gateway: &GatewayProcess<'_>) -> usize {
    let folder = format!("/proc/{}/fd", gateway.pid());
    fs::read_dir(folder).unwrap().count()
}

/// Waits until the gateway has no more descriptors than `baseline`. The kernel tells nobody
/// when that is, so this looks again and again.
pub fn wait_descriptors(gateway: &GatewayProcess<'_>, baseline: usize) {
    let deadline = Instant::now() + DEADLINE;
    while descriptors(gateway) > baseline {
        assert!(
            Instant::now() < deadline,
            "{} descriptors, {baseline} before",
            descriptors(gateway)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
