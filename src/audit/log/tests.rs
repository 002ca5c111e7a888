//! The log against disks that fill up, files that were cut off, and gateways that die.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::error::Reason;

const LONG: Duration = Duration::from_secs(20);

/// A disk that takes what it has room for.
#[derive(Clone)]
struct Disk(Arc<Mutex<Platter>>);

struct Platter {
    bytes: Vec<u8>,
    /// Bytes that still fit.
    room: usize,
    sync_fails: bool,
    defect: bool,
}

impl Disk {
    fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            bytes: Vec::new(),
            room,
            sync_fails: false,
            defect: false,
        })))
    }

    fn make_room(&self, room: usize) {
        self.0.lock().room = room;
    }

    fn records(&self) -> Vec<Value> {
        parse(std::str::from_utf8(&self.0.lock().bytes).unwrap())
    }
}

impl Sink for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock();
        assert!(!disk.defect, "a defect");
        if disk.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(disk.room);
        disk.bytes.extend_from_slice(&bytes[..count]);
        disk.room -= count;
        Ok(count)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.0.lock().sync_fails {
            return Err(io::Error::other("I/O error"));
        }
        Ok(())
    }

    fn ends_mid_line(&self) -> bool {
        self.0
            .lock()
            .bytes
            .last()
            .is_some_and(|&byte| byte != b'\n')
    }
}

/// Every line as a record; a line that is none fails the test.
fn parse(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "cut off: {text:?}");
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn kinds(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["portreeve.record.kind"].as_str().unwrap())
        .collect()
}

fn sequences(records: &[Value]) -> Vec<u64> {
    records
        .iter()
        .map(|record| record["portreeve.record.sequence"].as_u64().unwrap())
        .collect()
}

fn settings(path: &Path, queue: usize, when_unwritable: WhenUnwritable) -> Settings {
    Settings {
        path: path.to_owned(),
        queue,
        when_unwritable,
    }
}

fn on(disk: &Disk, queue: usize, when_unwritable: WhenUnwritable) -> Log {
    let pace = Pace {
        gather: Duration::ZERO,
        sync: Duration::from_millis(1),
        retry_first: Duration::from_millis(1),
        retry_most: Duration::from_millis(4),
    };
    let settings = settings(Path::new("unused"), queue, when_unwritable);
    Log::start(settings, Tail::default(), Box::new(disk.clone()), pace).unwrap()
}

fn in_folder(folder: &TempDir) -> Log {
    Log::open(settings(
        &folder.path().join("audit.jsonl"),
        64,
        WhenUnwritable::Deny,
    ))
    .unwrap()
}

fn request(path: &str) -> Record {
    Record {
        path: Some(path.to_owned()),
        ..Record::new(Kind::Request)
    }
}

/// Waits for the writer thread, however long this machine takes.
fn until(log: &Log, what: &str, reached: impl Fn(&State) -> bool) {
    let deadline = Instant::now() + LONG;
    while !reached(&log.state()) {
        assert!(Instant::now() < deadline, "never {what}: {:?}", log.state());
        thread::sleep(Duration::from_millis(1));
    }
}

fn refusal(log: &Log) -> Option<Reason> {
    log.reserve().err().map(|refusal| refusal.reason)
}

#[test]
fn a_run_is_start_records_stop_and_the_next_goes_on_counting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    for run in 0..2_u64 {
        let log = in_folder(&folder);
        for path in ["/a", "/b"] {
            log.reserve().unwrap().write(&mut request(path));
        }
        assert_eq!(log.close(LONG), Ok(()));
        assert_eq!(log.state().written, 4);
        assert_eq!(refusal(&log), Some(Reason::Draining));
        let records = parse(&fs::read_to_string(&path).unwrap());
        assert_eq!(sequences(&records), (1..=4 * (run + 1)).collect::<Vec<_>>());
    }
    let records = parse(&fs::read_to_string(&path).unwrap());
    let run = ["start", "request", "request", "stop"];
    assert_eq!(kinds(&records), [run, run].concat());
    assert_eq!(records[1]["url.path"], "/a");
    assert!(records.iter().all(|record| record["time"].is_string()));
    assert!(
        records
            .iter()
            .all(|record| record["portreeve.record.id"].is_string())
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn i12_a_killed_gateway_leaves_a_gap_record_and_no_broken_line() {
    for (torn, unfinished) in [
        (true, "{\"portreeve.record.sequence\":3,\"url.pa"),
        (false, ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let log = in_folder(&folder);
        log.reserve().unwrap().write(&mut request("/a"));
        log.close(LONG).unwrap();
        // As if it had been killed before the stop record.
        let text = fs::read_to_string(&path).unwrap();
        let kept: Vec<_> = text.lines().take(2).collect();
        fs::write(&path, kept.join("\n") + "\n" + unfinished).unwrap();

        in_folder(&folder).close(LONG).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let whole = text.replace(&format!("{unfinished}\n"), if torn { "" } else { "\n" });
        let records = parse(&whole);
        assert_eq!(
            kinds(&records),
            ["start", "request", "gap", "start", "stop"]
        );
        assert_eq!(records[2]["portreeve.gap.cause"], "killed");
        assert_eq!(records[2]["portreeve.gap.last_sequence"], 2);
        assert_eq!(records[2]["portreeve.gap.torn"], torn);
        // The torn record keeps its number.
        let first = if torn { 4 } else { 3 };
        assert_eq!(sequences(&records), [1, 2, first, first + 1, first + 2]);
    }
}

#[test]
fn i12_a_full_device_closes_the_gate() {
    let log = Log::open(settings(Path::new("/dev/full"), 4, WhenUnwritable::Deny)).unwrap();
    assert!(log.state().unwritable_since.is_some());
    assert_eq!(refusal(&log), Some(Reason::AuditUnwritable));
    assert_eq!(log.state().refused, 1);
    assert_eq!(log.close(Duration::ZERO), Err(Unwritten { records: 1 }));
    assert_eq!(log.state().lost, 1);
}

#[test]
fn a_full_device_lets_pass_what_the_operator_wants_to_pass() {
    let log = Log::open(settings(
        Path::new("/dev/full"),
        4,
        WhenUnwritable::Continue,
    ))
    .unwrap();
    for _ in 0..10 {
        log.reserve().unwrap().write(&mut request("/a"));
    }
    let state = log.state();
    // The start record and three requests fill the queue.
    assert_eq!((state.queued, state.lost), (4, 7));
    assert_eq!(log.close(Duration::ZERO), Err(Unwritten { records: 4 }));
}

#[test]
fn i12_a_write_that_fails_in_the_middle_goes_on_where_it_failed() {
    let disk = Disk::new(10_000);
    let log = on(&disk, 8, WhenUnwritable::Deny);
    let running = [log.reserve().unwrap(), log.reserve().unwrap()];
    disk.make_room(31);
    for slot in running {
        slot.write(&mut request("/a"));
    }
    until(&log, "unwritable", |state| state.unwritable_since.is_some());
    assert_eq!(refusal(&log), Some(Reason::AuditUnwritable));
    assert_eq!(log.state().queued, 2);
    for _ in 0..20 {
        disk.make_room(7);
        thread::yield_now();
    }
    disk.make_room(10_000);
    until(&log, "writable", |state| state.unwritable_since.is_none());
    log.reserve().unwrap().write(&mut request("/b"));
    log.close(LONG).unwrap();
    let records = disk.records();
    assert_eq!(
        kinds(&records),
        ["start", "request", "request", "request", "stop"]
    );
    assert_eq!(sequences(&records), [1, 2, 3, 4, 5]);
    assert_eq!(log.state().lost, 0);
}

#[test]
fn i9_there_are_only_so_many_slots() {
    let disk = Disk::new(usize::MAX);
    let log = on(&disk, 2, WhenUnwritable::Deny);
    until(&log, "started", |state| state.queued == 0);
    let first = log.reserve().unwrap();
    let second = log.reserve().unwrap();
    assert_eq!(refusal(&log), Some(Reason::AuditFull));
    drop(first);
    assert_eq!((log.state().abandoned, log.state().reserved), (1, 1));
    let third = log.reserve().unwrap();
    second.write(&mut request("/a"));
    third.write(&mut request("/b"));
    until(&log, "written", |state| state.queued == 0);
    assert_eq!(
        (
            log.state().written,
            log.state().reserved,
            log.state().refused
        ),
        (3, 0, 1)
    );
}

#[test]
fn i12_dropped_records_are_holes_and_a_gap_record_counts_them() {
    let disk = Disk::new(0);
    let log = on(&disk, 3, WhenUnwritable::Continue);
    for _ in 0..5 {
        log.reserve().unwrap().write(&mut request("/a"));
    }
    assert_eq!(log.state().lost, 3);
    disk.make_room(usize::MAX);
    until(&log, "told", |state| state.written == 4);
    log.close(LONG).unwrap();
    let records = disk.records();
    assert_eq!(
        kinds(&records),
        ["start", "request", "request", "gap", "stop"]
    );
    assert_eq!(sequences(&records), [1, 2, 3, 7, 8]);
    assert_eq!(records[3]["portreeve.gap.cause"], "dropped");
    assert_eq!(records[3]["portreeve.gap.lost"], 3);
}

#[test]
fn rotation_goes_on_in_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (
        folder.path().join("audit.jsonl"),
        folder.path().join("audit.jsonl.1"),
    );
    let log = in_folder(&folder);
    log.reserve().unwrap().write(&mut request("/a"));
    until(&log, "written", |state| state.written == 2);
    fs::rename(&path, &old).unwrap();
    log.reopen().unwrap();
    log.reserve().unwrap().write(&mut request("/b"));
    log.close(LONG).unwrap();
    let (old, new) = (
        fs::read_to_string(&old).unwrap(),
        fs::read_to_string(&path).unwrap(),
    );
    assert_eq!(kinds(&parse(&old)), ["start", "request"]);
    assert_eq!(kinds(&parse(&new)), ["rotate", "request", "stop"]);
    assert_eq!(sequences(&parse(&new)), [3, 4, 5]);
}

#[test]
fn a_failed_rotation_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let path = gone.join("audit.jsonl");
    let log = Log::open(settings(&path, 4, WhenUnwritable::Deny)).unwrap();
    let kept = fs::File::open(&path).unwrap();
    fs::remove_dir_all(&gone).unwrap();
    let error = log.reopen().unwrap_err().to_string();
    assert!(
        error.contains("audit.jsonl") && error.contains("create it"),
        "{error}"
    );
    log.reserve().unwrap().write(&mut request("/a"));
    log.close(LONG).unwrap();
    assert_eq!(
        kinds(&parse(&io::read_to_string(kept).unwrap())),
        ["start", "request", "stop"]
    );
}

#[test]
fn a_new_file_begins_with_a_whole_line() {
    let full = Disk::new(10_000);
    let log = on(&full, 8, WhenUnwritable::Deny);
    let slot = log.reserve().unwrap();
    until(&log, "started", |state| state.written == 1);
    full.make_room(20);
    slot.write(&mut request("/a"));
    until(&log, "unwritable", |state| state.unwritable_since.is_some());
    let empty = Disk::new(usize::MAX);
    empty
        .0
        .lock()
        .bytes
        .extend_from_slice(b"\"a foreign line without its end\"");
    log.0.queue.switch(Box::new(empty.clone()));
    log.close(LONG).unwrap();
    assert_eq!(
        full.0.lock().bytes.split(|&byte| byte == b'\n').count() - 1,
        1
    );
    let text = String::from_utf8(empty.0.lock().bytes.clone()).unwrap();
    let records = parse(&text);
    assert_eq!(kinds(&records[1..]), ["request", "stop"]);
    assert_eq!(sequences(&records[1..]), [2, 3]);
}

#[test]
fn closing_waits_for_the_slots_that_are_out() {
    let disk = Disk::new(usize::MAX);
    let log = on(&disk, 8, WhenUnwritable::Deny);
    let slot = log.reserve().unwrap();
    thread::scope(|scope| {
        let closed = scope.spawn(|| log.close(LONG));
        let deadline = Instant::now() + LONG;
        while refusal(&log) != Some(Reason::Draining) {
            assert!(Instant::now() < deadline, "never closing");
        }
        assert_eq!(kinds(&disk.records()), ["start"]);
        slot.write(&mut request("/slow"));
        assert_eq!(closed.join().unwrap(), Ok(()));
    });
    assert_eq!(kinds(&disk.records()), ["start", "request", "stop"]);
}

#[test]
fn i12_what_still_runs_at_the_deadline_is_counted() {
    let disk = Disk::new(usize::MAX);
    let log = on(&disk, 8, WhenUnwritable::Deny);
    let stuck = log.reserve().unwrap();
    log.0.queue.close(Instant::now());
    assert_eq!(log.close(LONG), Ok(()));
    // Comes too late, and is not written after the stop record.
    stuck.write(&mut request("/stuck"));
    let records = disk.records();
    assert_eq!(kinds(&records), ["start", "gap", "stop"]);
    assert_eq!(records[1]["portreeve.gap.cause"], "unfinished");
    assert_eq!(records[1]["portreeve.gap.lost"], 1);
    assert_eq!(log.state().lost, 1);
}

#[test]
fn closing_tries_once_more_whatever_the_pause() {
    let disk = Disk::new(0);
    let pace = Pace {
        retry_first: LONG * 10,
        ..Pace::default()
    };
    let settings = settings(Path::new("unused"), 8, WhenUnwritable::Deny);
    let log = Log::start(settings, Tail::default(), Box::new(disk.clone()), pace).unwrap();
    disk.make_room(usize::MAX);
    log.0.queue.close(Instant::now());
    assert_eq!(log.close(LONG), Ok(()));
    assert_eq!(kinds(&disk.records()), ["start", "stop"]);
}

#[test]
fn a_disk_that_keeps_nothing_closes_the_gate() {
    let disk = Disk::new(usize::MAX);
    disk.0.lock().sync_fails = true;
    let log = on(&disk, 8, WhenUnwritable::Deny);
    until(&log, "unwritable", |state| state.unwritable_since.is_some());
    assert_eq!(refusal(&log), Some(Reason::AuditUnwritable));
    disk.0.lock().sync_fails = false;
    until(&log, "writable", |state| state.unwritable_since.is_none());
    log.close(LONG).unwrap();
    let records = disk.records();
    assert_eq!(kinds(&records), ["start", "gap", "stop"]);
    assert_eq!(records[1]["portreeve.gap.cause"], "unsynced");
}

#[test]
fn i12_a_writer_that_dies_closes_the_gate() {
    let disk = Disk::new(usize::MAX);
    let log = on(&disk, 8, WhenUnwritable::Deny);
    let slot = log.reserve().unwrap();
    disk.0.lock().defect = true;
    slot.write(&mut request("/a"));
    until(&log, "lost", |state| state.lost == 1);
    assert_eq!(refusal(&log), Some(Reason::AuditUnwritable));
    assert_eq!(log.close(LONG), Err(Unwritten { records: 1 }));
}

#[test]
fn i12_no_record_is_lost_or_doubled_while_the_disk_comes_and_goes() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let disk = Disk::new(0);
    let log = on(&disk, 64, WhenUnwritable::Deny);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for number in 0..EACH {
                    let slot = loop {
                        match log.reserve() {
                            Ok(slot) => break slot,
                            Err(_) => thread::yield_now(),
                        }
                    };
                    slot.write(&mut request(&format!("/{thread}/{number}")));
                }
            });
        }
        // Room in uneven pieces, so that writes end anywhere in a line.
        for piece in (1..).map(|round: usize| round * 131 % 977) {
            if log.state().written >= (THREADS * EACH) as u64 {
                break;
            }
            disk.make_room(piece);
            thread::sleep(Duration::from_micros(200));
        }
        disk.make_room(usize::MAX);
    });
    log.close(LONG).unwrap();
    let records = disk.records();
    assert_eq!(
        sequences(&records),
        (1..=records.len() as u64).collect::<Vec<_>>()
    );
    let mut paths: Vec<_> = records
        .iter()
        .filter_map(|record| record["url.path"].as_str())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), THREADS * EACH);
    assert_eq!(records.len(), THREADS * EACH + 2);
}

#[test]
fn a_log_that_nobody_holds_closes_itself() {
    let disk = Disk::new(usize::MAX);
    let log = on(&disk, 8, WhenUnwritable::Deny);
    let queue = Arc::clone(&log.0.queue);
    drop(log);
    queue.wait_closed(Instant::now() + LONG);
    assert_eq!(kinds(&disk.records()), ["start", "stop"]);
}

#[test]
fn what_cannot_be_opened_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("state/audit.jsonl");
    let error = Log::open(settings(&missing, 4, WhenUnwritable::Deny))
        .err()
        .unwrap()
        .to_string();
    let named = folder.path().join("state");
    assert!(
        error.contains(&format!("{} does not exist", named.display())),
        "{error}"
    );
    let error = Log::open(settings(folder.path(), 4, WhenUnwritable::Deny))
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains(&folder.path().display().to_string()),
        "{error}"
    );
    let error = Log::open(settings(&missing, 0, WhenUnwritable::Deny))
        .err()
        .unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
